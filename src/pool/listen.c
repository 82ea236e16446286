/* SPDX-License-Identifier: MIT */
/*
 * listen.c - waiting for any of several: parked, or in the program's own event loop.
 *
 * The descriptor of mp_pool_fileno is the read end of a pipe.  Only the supervisor and the
 * workers have the write end, so that it is readable also when all of them have died.  The
 * client itself, if it settles something, has the supervisor write.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/thread_local.h"
#include "pool/result.h"
#include "proc/fork.h"
#include "sync/park.h"

/* To be called before looking: what is settled after that look is then told. */
static uint32_t listen(struct mp__pool_shared *shared)
{
    uint32_t heard = atomic_load(&shared->heard);

    atomic_store(&shared->listens, 1);
    atomic_thread_fence(memory_order_seq_cst);
    return heard;
}

struct awaited {
    struct mp__pool_shared *shared;
    uint32_t heard;
};

static bool is_heard(void *arg)
{
    const struct awaited *awaited = arg;

    return atomic_load(&awaited->shared->heard) != awaited->heard;
}

bool mp__pool_spin(const mp_pool *pool, struct mp__spin *spin, int64_t deadline,
                   bool (*done)(void *arg), void *arg)
{
    return mp__queue_awake(pool->shared) < mp__spin_cpus() &&
           mp__spin_until(spin, deadline, done, arg);
}

/* Wait until anything was settled since listen() returned `heard`, or might have been. */
static int wait_until_heard(mp_pool *pool, struct mp__sleep *sleep, uint32_t heard,
                            bool spins)
{
    static MP__THREAD_LOCAL struct mp__spin spin;
    struct mp__pool_shared *shared = pool->shared;
    struct awaited awaited = {.shared = shared, .heard = heard};
    int err = 0;

    if (!spins || !mp__pool_spin(pool, &spin, sleep->deadline, is_heard, &awaited))
        err = mp__park(sleep, &shared->heard, heard, atomic_load(&shared->supervisor));
    mp__pool_watch(pool);
    return err;
}

int mp__look_until(mp_pool *pool, int64_t deadline, int (*look)(void *arg),
                   bool (*glance)(void *arg), void *arg)
{
    static MP__THREAD_LOCAL struct mp__spin spin;
    struct mp__sleep sleep = mp__sleep_until(deadline);
    int err = look(arg);

    if (err == ETIMEDOUT && !deadline) {
        mp__pool_watch(pool);
        return look(arg);
    }
    if (err == ETIMEDOUT && glance && mp__pool_spin(pool, &spin, deadline, glance, arg))
        err = look(arg);
    while (err == ETIMEDOUT) {
        uint32_t heard = listen(pool->shared);
        err = look(arg);
        if (err == ETIMEDOUT && wait_until_heard(pool, &sleep, heard, !glance))
            return look(arg);
    }
    return err;
}

/* Any, and all */

struct any {
    mp_async_result *const *results;
    size_t count;
    size_t index; /* of the one that is settled and was submitted first */
};

static int look_for_any(void *arg)
{
    struct any *any = arg;
    uint64_t lowest = UINT64_MAX;

    for (size_t i = 0; i < any->count; i++) {
        const mp_async_result *result = any->results[i];
        if (!result || result->number >= lowest || !mp__result_settled(result))
            continue;
        lowest = result->number;
        any->index = i;
    }
    return lowest == UINT64_MAX ? ETIMEDOUT : 0;
}

/* The pool that all of them are of. */
static int find_pool(mp_async_result *const *results, size_t count, mp_pool **out)
{
    mp_pool *pool = NULL;

    if (!results && count)
        return EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!results[i])
            continue;
        if (pool && results[i]->pool != pool)
            return EINVAL;
        pool = results[i]->pool;
    }
    *out = pool;
    return pool ? mp__pool_check(pool) : EPIPE;
}

int mp_async_result_wait_any(mp_async_result *const *results, size_t count, int timeout_ms,
                             size_t *index)
{
    struct any any = {.results = results, .count = count};
    int64_t deadline;
    mp_pool *pool;
    int err = index ? mp__deadline(timeout_ms, &deadline) : EINVAL;
    if (!err)
        err = find_pool(results, count, &pool);
    if (!err)
        err = mp__look_until(pool, deadline, look_for_any, NULL, &any);
    if (err)
        return err;
    *index = any.index;
    mp__callback_run(results[any.index]);
    return 0;
}

int mp_async_result_wait_all(mp_async_result *const *results, size_t count, int timeout_ms)
{
    int64_t deadline;
    int err = results || !count ? mp__deadline(timeout_ms, &deadline) : EINVAL;

    for (size_t i = 0; !err && i < count; i++) {
        if (!results[i])
            continue;
        err = mp__result_wait(results[i], deadline);
        if (!err)
            mp__callback_run(results[i]);
    }
    return err;
}

/* The pipe */

int mp__heed_open(mp_pool *pool)
{
    int *fds = pool->shared->heed;

    if (!pool->shared->options.pollable)
        return 0;
    int err = mp__fork_pipe(fds);
    if (err)
        return err;
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) || fcntl(fds[1], F_SETFL, O_NONBLOCK))
        return errno;
    atomic_store(&pool->shared->armed, 1);
    return 0;
}

void mp__heed_forked(mp_pool *pool)
{
    int writes = pool->shared->heed[1];

    mp__fork_close(&writes);
}

void mp__heed_close(mp_pool *pool)
{
    if (pool->shared)
        mp__fork_close(&pool->shared->heed[0]);
    mp__fork_close(&pool->silence);
}

/*
 * All who had the write end are gone, and the pipe would be readable for ever: have it
 * replaced by one into which nobody writes.
 */
static void fall_silent(mp_pool *pool)
{
    int fds[2];

    pthread_mutex_lock(&pool->mutex);
    if (pool->ended && pool->silence < 0 && !mp__fork_pipe(fds)) {
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        if (dup2(fds[0], pool->shared->heed[0]) >= 0)
            fcntl(pool->shared->heed[0], F_SETFD, FD_CLOEXEC);
        mp__fork_close(&fds[0]);
        pool->silence = fds[1];
    }
    pthread_mutex_unlock(&pool->mutex);
}

/* Make it unreadable; what is settled from now on makes it readable again. */
static void heed(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;
    char bytes[64];
    ssize_t count;

    if (shared->heed[0] < 0)
        return;
    do
        count = read(shared->heed[0], bytes, sizeof(bytes));
    while (count > 0 || (count < 0 && errno == EINTR));
    if (count == 0) {
        mp__pool_watch(pool);
        fall_silent(pool);
        return;
    }
    /* Another value each time: who still has to do with the last one must not take it. */
    uint32_t armed = atomic_load(&shared->armed);
    while (!atomic_compare_exchange_weak(&shared->armed, &armed, (armed + 2) | 1))
        continue;
    atomic_thread_fence(memory_order_seq_cst);
}

int mp_pool_fileno(mp_pool *pool, int *fd)
{
    int err = fd ? mp__pool_check(pool) : EINVAL;
    if (err)
        return err;
    if (pool->shared->heed[0] < 0)
        return ENOTSUP;
    *fd = pool->shared->heed[0];
    return 0;
}

static int look_for_callbacks(void *pool)
{
    return mp__callbacks_run(pool);
}

int mp_pool_poll(mp_pool *pool, int timeout_ms)
{
    int64_t deadline;
    int err = mp__pool_check(pool);
    if (!err)
        err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;
    /* A callback may free the pool. */
    pthread_mutex_lock(&pool->mutex);
    pool->results++;
    pthread_mutex_unlock(&pool->mutex);
    heed(pool);
    err = mp__look_until(pool, deadline, look_for_callbacks, NULL, pool);
    pthread_mutex_lock(&pool->mutex);
    mp__pool_release(pool);
    return err;
}
