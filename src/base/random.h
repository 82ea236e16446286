/* SPDX-License-Identifier: MIT */
/* random.h - random bytes that nobody can foretell. */
#ifndef MP_BASE_RANDOM_H
#define MP_BASE_RANDOM_H

#include <stddef.h>

/*
 * Fill `out` with random bytes of the kernel's.  They are asked for anew each time: what
 * was kept from one call to the next would come twice after a fork.  Returns 0 or what
 * the system said; `out` is then not to be used.
 */
int mp__random(void *out, size_t size);

#endif
