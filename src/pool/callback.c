/* SPDX-License-Identifier: MIT */
/*
 * callback.c - results whose callback is still to be run, and who runs it.
 *
 * They hang in one of two lists of the pool, under its mutex: `outstanding`, by the
 * numbers of their tasks, or `ripe`, once mp_pool_poll has found them settled.  Whoever
 * takes a result out of its list runs its callback, and nobody else does.
 *
 * A task that no worker has begun is not settled, unless by who cancels it and then runs
 * the callback as well.  So it is enough to look at the list up to there: what is passed
 * over again and again are only the tasks that are running.
 */
#include <errno.h>

#include "pool/map.h"
#include "pool/result.h"
#include "sync/park.h"

bool mp__result_settled(const mp_async_result *result)
{
    return result->map ? mp__map_settled(result->map) : mp__task_settled(result->task);
}

static void insert_behind(struct mp__callbacks *list, mp_async_result *before,
                          mp_async_result *result)
{
    result->list = list;
    result->before = before;
    result->behind = before ? before->behind : list->first;
    *(result->before ? &result->before->behind : &list->first) = result;
    *(result->behind ? &result->behind->before : &list->last) = result;
}

static void take_out(mp_async_result *result)
{
    struct mp__callbacks *list = result->list;

    *(result->before ? &result->before->behind : &list->first) = result->behind;
    *(result->behind ? &result->behind->before : &list->last) = result->before;
    result->list = NULL;
}

static bool none_left(const mp_pool *pool)
{
    return !pool->outstanding.first && !pool->ripe.first;
}

void mp__callback_add(mp_async_result *result)
{
    mp_pool *pool = result->pool;
    mp_async_result *before = pool->outstanding.last;

    /* Tasks come in order; a map comes when all its tasks are there. */
    while (before && before->number > result->number)
        before = before->before;
    insert_behind(&pool->outstanding, before, result);
    /* It was settled before it was listed: always so in a serial pool. */
    if ((result->map || pool->serial) && mp__result_settled(result))
        mp__pool_tell(pool->shared);
}

bool mp__callback_claim(mp_async_result *result)
{
    mp_pool *pool = result->pool;

    if (!result->list)
        return false;
    take_out(result);
    /* Who waits in mp_pool_poll waits for nothing any more. */
    if (none_left(pool) && atomic_exchange(&pool->shared->listens, 0))
        mp__listeners_wake(pool->shared);
    return true;
}

static bool claim_to_run(mp_async_result *result)
{
    result->running = mp__callback_claim(result);
    return result->running;
}

/*
 * Run the callback of a result that is claimed; then the result may be gone.  Whoever
 * frees it meanwhile, the callback itself or another thread, leaves that to be done here.
 */
static void run(mp_async_result *result)
{
    mp_pool *pool = result->pool;

    result->callback(result, result->callback_arg);
    pthread_mutex_lock(&pool->mutex);
    result->running = false;
    bool drop = !result->wanted || result->dropped;
    pthread_mutex_unlock(&pool->mutex);
    if (drop)
        mp_async_result_free(result);
}

void mp__callback_run(mp_async_result *result)
{
    if (!result->callback)
        return;
    pthread_mutex_lock(&result->pool->mutex);
    bool claimed = !result->running && claim_to_run(result);
    pthread_mutex_unlock(&result->pool->mutex);
    if (claimed)
        run(result);
}

static void ripen(mp_pool *pool)
{
    uint64_t begun = mp__queue_begun(pool->shared);
    mp_async_result *behind;

    for (mp_async_result *result = pool->outstanding.first; result; result = behind) {
        behind = result->behind;
        if (mp__result_settled(result)) {
            take_out(result);
            insert_behind(&pool->ripe, pool->ripe.last, result);
        } else if (result->number >= begun) {
            break;
        }
    }
}

int mp__callbacks_run(mp_pool *pool)
{
    mp_async_result *result;

    pthread_mutex_lock(&pool->mutex);
    ripen(pool);
    int err = pool->ripe.first ? 0 : none_left(pool) ? EPIPE : ETIMEDOUT;
    while (!pool->freed && (result = pool->ripe.first)) {
        claim_to_run(result);
        pthread_mutex_unlock(&pool->mutex);
        run(result);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return err;
}

/* Drop those of a list that the caller does not have. */
static void drop_unwanted(mp_pool *pool, struct mp__callbacks *list)
{
    for (;;) {
        mp_async_result *result = list->first;
        while (result && result->wanted)
            result = result->behind;
        if (!result)
            return;
        take_out(result);
        pthread_mutex_unlock(&pool->mutex);
        mp_async_result_free(result);
        pthread_mutex_lock(&pool->mutex);
    }
}

void mp__callbacks_drop(mp_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    drop_unwanted(pool, &pool->outstanding);
    drop_unwanted(pool, &pool->ripe);
    pthread_mutex_unlock(&pool->mutex);
}
