/* SPDX-License-Identifier: MIT */
/* parcel.h - bytes that show where they belong: of any size, from a seed. */
#ifndef TEST_PARCEL_H
#define TEST_PARCEL_H

#include "test.h"

/* The sizes at which something changes: none, words, the least slabs, beyond all that
   is kept. */
static const size_t parcel_sizes[] = {
    0,     1,     7,     8,     9,     16384,   65464,    65465,
    65472, 65473, 65535, 65536, 65537, 1 << 20, 20 << 20,
};

#define PARCEL_SIZES (sizeof parcel_sizes / sizeof *parcel_sizes)
#define PARCEL_MOST  ((size_t)20 << 20)

static inline uint64_t parcel_start(uint64_t seed)
{
    return (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static inline void parcel_fill(void *bytes, size_t size, uint64_t seed)
{
    uint64_t state = parcel_start(seed);
    unsigned char *to = bytes;

    for (size_t i = 0; i < size; i += sizeof state) {
        next_random(&state);
        memcpy(to + i, &state, size - i < sizeof state ? size - i : sizeof state);
    }
}

static inline bool parcel_is(const void *bytes, size_t size, uint64_t seed)
{
    uint64_t state = parcel_start(seed);
    const unsigned char *from = bytes;

    for (size_t i = 0; i < size; i += sizeof state) {
        next_random(&state);
        if (memcmp(from + i, &state, size - i < sizeof state ? size - i : sizeof state))
            return false;
    }
    return true;
}

#endif
