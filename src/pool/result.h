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

#endif
