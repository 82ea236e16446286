/* SPDX-License-Identifier: MIT */
/* shared_memory.h - blocks with a name, for what is kept in one. */
#ifndef MP_IPC_SHARED_MEMORY_H
#define MP_IPC_SHARED_MEMORY_H

#include "mp/shared_memory.h"

/*
 * Writes what a new block holds, before it has its name where that can be done: 0, or the
 * error that there is no block for.  May be called once more, for another buffer, which
 * then is the block's.
 */
typedef int mp__shared_memory_fill_fn(void *buffer, size_t size, void *arg);

/* mp_shared_memory_new, of a block that `fill`, if not NULL, has filled.  `name` may be
   NULL. */
int mp__shared_memory_new(mp_shared_memory **out, size_t size, const char *name,
                          mp__shared_memory_fill_fn *fill, void *arg);

/* mp_shared_memory_attach. */
int mp__shared_memory_attach(mp_shared_memory **out, const char *name, bool read_only,
                             bool any_owner);

#endif
