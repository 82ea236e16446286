/* SPDX-License-Identifier: MIT */
/* size.h - sizes of what lies one behind the other in a block of memory. */
#ifndef MP_BASE_SIZE_H
#define MP_BASE_SIZE_H

#include <stddef.h>

/* The next multiple of `unit`, which is a power of two. */
static inline size_t mp__round_up(size_t size, size_t unit)
{
    return (size + unit - 1) & ~(unit - 1);
}

#endif
