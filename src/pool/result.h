/* SPDX-License-Identifier: MIT */
/* result.h - what an mp_async_result is: a task, or a map. */
#ifndef MP_POOL_RESULT_H
#define MP_POOL_RESULT_H

#include "pool/pool.h"

struct mp__map;

struct mp_async_result {
    mp_pool *pool;
    struct mp__task *task; /* NULL for a map */
    struct mp__map *map;   /* NULL for a task */
    uint64_t number;       /* of the task */
    size_t size;           /* of its result */
};

#define MP__RETRIES_MAX 255

/* The limits of a call's options, or else of the pool's.  EINVAL if they make no sense. */
int mp__limits_read(struct mp__limits *limits, const mp_pool *pool, int hard_ms, int soft_ms,
                    int retries);

#endif
