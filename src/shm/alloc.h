/* SPDX-License-Identifier: MIT */
/* alloc.h - what floors above use of the arena's allocator besides shared.h. */
#ifndef MP_SHM_ALLOC_H
#define MP_SHM_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* Put right what `member` (see member.h) was doing in the allocator when it died. */
void mp__alloc_sweep(uint64_t member);

/* In a forked child: leave the slabs that the parent allocates from to the parent. */
void mp__alloc_after_fork(void);

/*
 * Whether `block` is what mp_shared_alloc returned, and not freed yet.  Who frees an
 * object that names other blocks asks first: one that was freed before, or never was one,
 * names what may be somebody else's by now.
 */
bool mp__alloc_is_block(const void *block);

#endif
