/* SPDX-License-Identifier: MIT */
/* map.c - the calls of mp_pool_map and mp_pool_map_async: see map.h. */
#include "pool/map.h"

#include <errno.h>
#include <mp/shared.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/thread_local.h"
#include "pool/job.h"
#include "pool/result.h"
#include "sync/park.h"

/* Waking a worker costs about as much. */
#define MOMENT_NS INT64_C(5000)
/* Of calls of `progress`, unless the caller says how often. */
#define PROGRESS_MS 100

int mp__map_options(mp_map_options *known, const mp_pool *pool,
                    const mp_map_options *options)
{
    int err = mp__pool_check(pool);

    return err ? err : mp__options_read(known, sizeof(*known), options);
}

/* Check the arguments that both kinds of map have in common, and put them together. */
static int make_plan(struct mp__map *plan, const mp_pool *pool, mp_task_fn *task,
                     const void *items, size_t count, size_t item_size, void *results,
                     size_t result_size, const mp_map_options *known)
{
    struct mp__call call;

    if (known->failure)
        *known->failure = (mp_task_failure){0};
    int err = mp__call_read(&call, pool, task, known->context, known->time_limit_ms,
                            known->soft_time_limit_ms, known->retries);
    if (err)
        return err;
    if (!task || !items != !item_size || (!results && result_size) || known->reserved ||
        known->progress_ms < 0)
        return EINVAL;
    if ((item_size && count > SIZE_MAX / 4 / item_size) ||
        (result_size && count > SIZE_MAX / 4 / result_size) ||
        (known->errors && count > SIZE_MAX / 4 / sizeof(int)))
        return EOVERFLOW;
    *plan = (struct mp__map){
        .call = call,
        .items = items,
        .count = count,
        .item_size = item_size,
        .results = result_size ? results : NULL,
        .result_size = results ? result_size : 0,
        .errors = known->errors,
        .chunk = known->chunk_size,
        .stops = known->stop_at_failure != 0,
        .began = mp__now(),
        .progress = known->progress,
        .progress_arg = known->progress_arg,
        .progress_ns = (known->progress_ms ? known->progress_ms : PROGRESS_MS) *
                       MP__MILLISECOND,
        .copies_items = items && !mp_shared_contains(items),
        .copies_results = result_size && !mp_shared_contains(results),
        .copies_errors = known->errors && !mp_shared_contains(known->errors),
    };
    plan->tell_at = plan->began + plan->progress_ns;
    return mp__pool_accepts(pool);
}

/* Of this thread: a map calls `progress`, which may call another. */
struct feeding {
    const mp_pool *pool;
    const struct feeding *outer;
};

static MP__THREAD_LOCAL const struct feeding *feeding;

bool mp__map_is_feeding(const mp_pool *pool)
{
    for (const struct feeding *one = feeding; one; one = one->outer)
        if (one->pool == pool)
            return true;
    return false;
}

/* Submit windows and collect them in turn, until all are submitted or it is stopped. */
static int move_windows(mp_pool *pool, struct mp__map *map)
{
    struct feeding own = {.pool = pool, .outer = feeding};
    int err = 0;

    feeding = &own;
    while (!err && map->submitted < map->window_count && !map->cancelled &&
           !(map->stop && atomic_load(map->stop))) {
        if (map->submitted - map->collected == map->slots)
            err = mp__map_collect_half(pool, map);
        else
            err = mp__map_submit(pool, map);
        mp__map_tell(map);
    }
    feeding = own.outer;
    mp__map_feed_end(pool, map);
    return err;
}

/* Items of windows that were not submitted, because the map was stopped or could not. */
static void cancel_unsubmitted(struct mp__map *map)
{
    for (size_t i = map->submitted * map->window_items; map->errors && i < map->count; i++)
        map->errors[i] = ECANCELED;
}

/*
 * A short map is done by one worker before a second one could be woken: others are
 * called when it turns out not to be.  This process has nothing else to do meanwhile.
 */
static void give_it_a_moment(struct mp__window *window)
{
    int64_t until = mp__now() + MOMENT_NS;

    while (!mp__task_settled(window->task)) {
        for (int i = 0; i < 64; i++)
            mp__cpu_relax();
        if (mp__now() >= until) {
            mp__job_call_others(window->job);
            return;
        }
    }
}

int mp__map_run(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                size_t item_size, void *results, size_t result_size,
                const mp_map_options *known, struct mp__fold *fold)
{
    struct mp__map plan, *map;
    int err = make_plan(&plan, pool, task, items, count, item_size, results, result_size,
                        known);
    if (err)
        return err;
    plan.fold = fold;
    plan.stops |= fold != NULL;
    err = mp__map_new(&map, &plan, atomic_load(&pool->shared->wanted), true);
    if (err)
        return err;

    map->may_be_short = map->window_count == 1 && !map->chunk && mp__spin_cpus() > 1;
    err = move_windows(pool, map);
    if (!err && map->may_be_short && map->submitted)
        give_it_a_moment(mp__map_window(map, 0));
    mp__map_wait(pool, map, MP__NEVER);
    cancel_unsubmitted(map);
    /* What became of items tells more than that no more could be submitted. */
    if (map->failure.error)
        err = map->failure.error;
    if (map->progress) {
        mp_progress progress;
        mp__map_progress(map, &progress);
        map->progress(&progress, map->progress_arg);
    }
    if (known->failure)
        *known->failure = map->failure;
    mp__map_discard(pool, map);
    return err;
}

int mp_pool_map(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                size_t item_size, void *results, size_t result_size,
                const mp_map_options *options)
{
    mp_map_options known;
    int err = mp__map_options(&known, pool, options);

    return err ? err
               : mp__map_run(pool, task, items, count, item_size, results, result_size,
                             &known, NULL);
}

int mp_pool_map_async(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                      size_t item_size, void *results, size_t result_size,
                      const mp_map_options *options, mp_async_result **out)
{
    struct mp__map plan, *map;
    mp_map_options known;
    int err = out ? mp__map_options(&known, pool, options) : EINVAL;
    if (!err)
        err = make_plan(&plan, pool, task, items, count, item_size, results, result_size,
                        &known);
    if (err)
        return err;
    mp_async_result *result = mp__sys_calloc(1, sizeof(*result));
    if (!result)
        return ENOMEM;
    err = mp__map_new(&map, &plan, atomic_load(&pool->shared->wanted), false);
    if (err) {
        free(result);
        return err;
    }
    while (!err && map->submitted < map->window_count)
        err = mp__map_submit(pool, map);
    mp__map_feed_end(pool, map);
    if (err) {
        mp__map_free(pool, map);
        free(result);
        return err;
    }
    *result = (mp_async_result){.pool = pool, .map = map, .number = mp__map_number(map)};
    pthread_mutex_lock(&pool->mutex);
    mp__result_give(result, known.callback, known.callback_arg, out);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}
