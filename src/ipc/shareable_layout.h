/* SPDX-License-Identifier: MIT */
/* shareable_layout.h - a ShareableList as bytes, wherever they are. */
#ifndef MP_IPC_SHAREABLE_LAYOUT_H
#define MP_IPC_SHAREABLE_LAYOUT_H

#include "mp/shareable_list.h"

/*
 * A list in memory that others may write to at any time.  What stands here is this
 * process's own, was checked when the list was opened, and does not change.
 */
struct mp__shareable {
    unsigned char *memory;
    size_t count; /* of items */
    size_t data;  /* where the data area begins */
    size_t room;  /* how large that is */
};

/* A format as Python's struct module has it, with a zero byte behind it. */
typedef char mp__shareable_format[9];

/* How many bytes a list of these items takes: EINVAL, EOVERFLOW. */
int mp__shareable_measure(const mp_shareable_item *items, size_t count, size_t *size);

/*
 * Write a list of items that were measured to `size` bytes that are all zero, and open it:
 * EINVAL if the items have changed since.
 */
int mp__shareable_write(struct mp__shareable *list, void *memory, size_t size,
                        const mp_shareable_item *items, size_t count);

/* A list of `size` bytes, whatever they are; `memory` is aligned to 8 bytes: EPROTO. */
int mp__shareable_open(struct mp__shareable *list, void *memory, size_t size);

/* As the public calls of these names; `list`, `item` and `index` are checked here. */
int mp__shareable_get(const struct mp__shareable *list, size_t index,
                      mp_shareable_item *item, void *buffer, size_t capacity);
int mp__shareable_set(const struct mp__shareable *list, size_t index,
                      const mp_shareable_item *item);

/* The first item from `*index` on that is equal to `item`: ENOENT, EPROTO, EINVAL. */
int mp__shareable_find(const struct mp__shareable *list, const mp_shareable_item *item,
                       size_t *index);

int mp__shareable_format_of(const struct mp__shareable *list, size_t index,
                            mp__shareable_format format);

#endif
