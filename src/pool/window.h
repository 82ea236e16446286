/* SPDX-License-Identifier: MIT */
/*
 * window.h - a stretch of the items of a map or an imap that is one job (job.h).
 *
 * Jobs are used again for later windows, when no worker can be with them any more.  All
 * calls are the client's; the pool's mutex is held.
 */
#ifndef MP_POOL_WINDOW_H
#define MP_POOL_WINDOW_H

#include "pool/pool.h"

/* The number of no task. */
#define MP__NO_TASK (UINT64_MAX - 1)

struct mp__window {
    uint64_t number;
    struct mp__task *task;
    struct mp__job *job;
    char *block; /* copies of items, results and errors, as far as they are needed */
    size_t start;
    uint32_t count;
};

/* A job to be filled and dealt, or NULL. */
struct mp__job *mp__window_job(mp_pool *pool);

/* Give it back: it was for task `number`, which may still be to settle, or MP__NO_TASK. */
void mp__window_put_job(mp_pool *pool, struct mp__job *job, uint64_t number);

/* Fill in what every job has, and deal it.  `attempts` has room for each item, and is not
   needed if there are no retries. */
void mp__window_deal(struct mp__window *window, const struct mp__call *call, void *attempts,
                     unsigned shares);

/* Publish a window whose job is filled; the task is held.  0, ENOMEM or EAGAIN. */
int mp__window_publish(mp_pool *pool, struct mp__window *window);

#endif
