/* SPDX-License-Identifier: MIT */
/* status.c - how a pool is, from what its processes count for themselves. */
#include <errno.h>
#include <stdio.h>

#include "pool/pool.h"

static uint64_t at_most(uint64_t number, uint64_t most)
{
    return number < most ? number : most;
}

static void count_workers(const struct mp__pool_shared *shared, mp_pool_status *status)
{
    for (unsigned i = 0; i < shared->place_count; i++) {
        const struct mp__worker *worker = &shared->workers[i];
        status->done += atomic_load_explicit(&worker->done, memory_order_relaxed);
        status->failed += atomic_load_explicit(&worker->failed, memory_order_relaxed);
        if (!atomic_load(&worker->pid))
            continue;
        status->alive++;
        status->busy += atomic_load(&worker->current) != 0;
    }
    uint64_t unrun = atomic_load(&shared->unrun);
    status->done += unrun;
    status->failed += unrun;
}

/* Each is counted by itself, and a kill may count an item twice: they are made to fit. */
static void count_items(mp_pool_status *status)
{
    status->done = at_most(status->done, status->submitted);
    status->failed = at_most(status->failed, status->done);
    status->running = at_most(status->busy, status->submitted - status->done);
    status->queued = status->submitted - status->done - status->running;
}

static void describe_state(const struct mp__pool_shared *shared, mp_pool_status *status)
{
    switch (atomic_load(&shared->state)) {
    case MP__POOL_OPEN:
        break;
    case MP__POOL_CLOSED:
        status->error = EPIPE;
        break;
    case MP__POOL_TERMINATED:
        status->error = ECANCELED;
        break;
    default:
        status->error = EOWNERDEAD;
        snprintf(status->text, sizeof(status->text), "%s",
                 *shared->reason ? shared->reason : "the supervisor died");
    }
}

int mp_pool_get_status(mp_pool *pool, mp_pool_status *status)
{
    int err = status ? mp__pool_check(pool) : EINVAL;
    if (err)
        return err;
    mp__pool_watch(pool);

    const struct mp__pool_shared *shared = pool->shared;
    *status = (mp_pool_status){
        .processes = atomic_load(&shared->wanted),
        .deaths = atomic_load(&shared->deaths),
    };
    count_workers(shared, status);
    /* After what is done: what was submitted later can't be done before. */
    pthread_mutex_lock(&pool->mutex);
    status->submitted = pool->submitted;
    pthread_mutex_unlock(&pool->mutex);
    count_items(status);
    describe_state(shared, status);
    return 0;
}
