/* SPDX-License-Identifier: MIT */
/* imap.c - maps whose results are taken one by one: see imap.h. */
#include "pool/imap.h"

#include <errno.h>
#include <mp/shared.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/sys.h"
#include "pool/job.h"
#include "pool/result.h"
#include "shm/member.h"

/* What a window has by default: items for each worker, chunks, and bytes at most. */
#define WINDOW_ITEMS 64
#define WINDOW_CHUNKS 4
#define WINDOW_BYTES ((size_t)16 << 20)
/* Each item of a chunk has room for a failure: more would not make it faster. */
#define CHUNK_MOST 4096

/* Making one */

static int read_options(mp_imap *plan, size_t *window, const mp_pool *pool,
                        mp_task_fn *task, const mp_imap_options *options)
{
    mp_imap_options known;
    int err = mp__options_read(&known, sizeof(known), options);
    if (!err)
        err = mp__call_read(&plan->call, pool, task, known.context, known.time_limit_ms,
                            known.soft_time_limit_ms, known.retries);
    if (!err && known.reserved)
        err = EINVAL;
    if (err)
        return err;
    plan->source = known.source;
    plan->source_state = known.source_state;
    size_t chunk = known.chunk_size ? known.chunk_size : 1;
    if (chunk > CHUNK_MOST)
        chunk = CHUNK_MOST;
    if (known.window && chunk > known.window)
        chunk = known.window;
    plan->chunk = (uint32_t)chunk;
    *window = known.window;
    return 0;
}

/* Put what was given together; `*window` is in items. */
static int make_plan(mp_imap *plan, size_t *window, mp_pool *pool, mp_task_fn *task,
                     const void *items, size_t count, size_t item_size, size_t result_size,
                     const mp_imap_options *options)
{
    *plan = (mp_imap){.pool = pool,
                      .items = items,
                      .count = count,
                      .item_size = item_size,
                      .result_size = result_size};
    int err = mp__pool_check(pool);
    if (!err)
        err = read_options(plan, window, pool, task, options);
    if (err)
        return err;
    bool has_input = items || plan->source;
    if (!task || has_input != (item_size != 0) || (items && plan->source))
        return EINVAL;
    if ((items && count > SIZE_MAX / 4 / item_size) ||
        item_size > SIZE_MAX / 16 / CHUNK_MOST || result_size > SIZE_MAX / 16 / CHUNK_MOST)
        return EOVERFLOW;
    plan->epoch = pool->epoch;
    plan->ended = count == 0;
    plan->copies = has_input && !(items && mp_shared_contains(items));
    if (!has_input && plan->chunk == 1) {
        /* A chunk's numbers are made by the workers. */
        plan->copies = true;
        plan->item_size = sizeof(uint64_t);
    }
    return 0;
}

/* How many slots the window has. */
static size_t count_slots(const mp_imap *plan, size_t window, unsigned workers)
{
    size_t bytes = (plan->copies ? plan->item_size : 0) + plan->result_size;
    size_t least = (plan->chunk == 1 ? 2 * (size_t)workers : WINDOW_CHUNKS) * plan->chunk;

    if (!window) {
        window = WINDOW_ITEMS * (size_t)workers;
        if (bytes && window > WINDOW_BYTES / bytes)
            window = WINDOW_BYTES / bytes;
        if (window < least)
            window = least;
    }
    size_t needed = plan->count / plan->chunk + (plan->count % plan->chunk != 0);
    size_t slots = window / plan->chunk;
    if (slots > needed)
        slots = needed;
    return slots ? slots : 1;
}

static int new_imap(mp_imap **out, const mp_imap *plan, size_t slots, unsigned workers)
{
    if (slots > SIZE_MAX / 4 / sizeof(struct mp__slot))
        return ENOMEM;
    mp_imap *map = mp__sys_calloc(1, sizeof(*map) + slots * sizeof(struct mp__slot));
    if (!map)
        return ENOMEM;
    *map = *plan;
    /* Many at a time, as long as the workers have enough of the others. */
    map->refill_at = slots > 4 * (size_t)workers ? slots / 2 : 1;
    for (size_t i = 0; i < slots; i++)
        mp__slot_append(&map->idle, &map->slots[i]);
    *out = map;
    return 0;
}

/* From here on the pool waits for what this imap brings, also after it was closed. */
static int enter_pool(mp_imap *map)
{
    mp_pool *pool = map->pool;

    pthread_mutex_lock(&pool->mutex);
    int err = mp__pool_feed_begin(pool);
    if (!err) {
        map->feeds = true;
        map->call.number = pool->calls++;
        pool->imaps++;
        pool->results++;
    }
    pthread_mutex_unlock(&pool->mutex);
    return err;
}

static int begin(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                 size_t item_size, size_t result_size, const mp_imap_options *options,
                 bool unordered, mp_imap **out)
{
    mp_imap plan, *map;
    size_t window;
    int err = out ? make_plan(&plan, &window, pool, task, items, count, item_size,
                              result_size, options)
                  : EINVAL;
    if (err)
        return err;
    plan.unordered = unordered;
    unsigned workers = atomic_load(&pool->shared->wanted);
    err = new_imap(&map, &plan, count_slots(&plan, window, workers), workers);
    if (err)
        return err;
    err = enter_pool(map);
    if (err) {
        free(map);
        return err;
    }
    err = mp__imap_feed(map);
    if (err && !map->pending.first) {
        mp_imap_free(map);
        return err;
    }
    *out = map;
    return 0;
}

int mp_pool_imap(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                 size_t item_size, size_t result_size, const mp_imap_options *options,
                 mp_imap **out)
{
    return begin(pool, task, items, count, item_size, result_size, options, false, out);
}

int mp_pool_imap_unordered(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                           size_t item_size, size_t result_size,
                           const mp_imap_options *options, mp_imap **out)
{
    return begin(pool, task, items, count, item_size, result_size, options, true, out);
}

/* Waiting */

static bool is_settled(const struct mp__slot *slot)
{
    return slot->error || mp__task_settled(slot->window.task);
}

/*
 * Make settled slots ready; whether there is any.  Tasks that nobody has begun are not
 * looked at unless `all` are: some behind them may be settled when a task was offered
 * again, because its worker died.
 */
static bool collect(mp_imap *map, bool all)
{
    uint64_t head = atomic_load_explicit(&map->pool->shared->head, memory_order_relaxed);
    struct mp__slot *before = NULL;
    struct mp__slot *slot = map->pending.first;

    while (slot && (all || slot->error || slot->window.number < head)) {
        if (is_settled(slot))
            mp__slot_append(&map->ready, mp__slot_remove(&map->pending, before));
        else
            before = slot;
        slot = before ? before->next : map->pending.first;
    }
    return map->ready.first != NULL;
}

static bool collect_begun(void *map)
{
    return collect(map, false);
}

static int collect_all(void *map)
{
    return collect(map, true) ? 0 : ETIMEDOUT;
}

static int wait_for_any(mp_imap *map, int64_t deadline)
{
    if (collect(map, false))
        return 0;
    return mp__look_until(map->pool, deadline, collect_all, collect_begun, map);
}

static int wait_for_first(mp_imap *map, int64_t deadline)
{
    struct mp__slot *slot = map->pending.first;
    int err = slot->error ? 0 : mp__task_wait(map->pool, slot->window.task, deadline);

    if (!err)
        mp__slot_append(&map->ready, mp__slot_remove(&map->pending, NULL));
    return err;
}

/* See to it that a slot is ready. */
static int get_ready(mp_imap *map, int64_t deadline)
{
    int err = 0;

    if (!map->pending.first || map->idle.length + map->spent.length >= map->refill_at)
        err = mp__imap_feed(map);
    if (map->ready.first)
        return 0;
    if (!map->pending.first)
        return err ? err : EPIPE;
    return map->unordered ? wait_for_any(map, deadline) : wait_for_first(map, deadline);
}

/* Taking */

static int take_single(const mp_imap *map, const struct mp__slot *slot, void *result,
                       mp_task_failure *failure)
{
    const struct mp__task *task = slot->window.task;

    if (task->error) {
        mp__task_describe(task, failure);
        return task->error;
    }
    if (result && map->result_size)
        memcpy(result, task->result, map->result_size);
    return 0;
}

static int take_of_chunk(const mp_imap *map, const struct mp__slot *slot, void *result,
                         mp_task_failure *failure)
{
    const struct mp__job *job = slot->window.job;

    if (job->errors[slot->taken]) {
        *failure = job->details[slot->taken];
        return failure->error;
    }
    if (result && map->result_size)
        memcpy(result, job->results + slot->taken * map->result_size, map->result_size);
    return 0;
}

/* An item that the source has failed to make, or that the pool did not take any more. */
static int take_error(const struct mp__slot *slot, mp_task_failure *failure)
{
    failure->error = slot->error;
    failure->kind = slot->kind;
    return slot->error;
}

int mp_imap_next(mp_imap *map, void *result, mp_task_failure *failure, int timeout_ms)
{
    mp_task_failure unwanted;
    int64_t deadline;

    if (!failure)
        failure = &unwanted;
    *failure = (mp_task_failure){0};
    if (!map)
        return EINVAL;
    int err = map->epoch == mp__fork_epoch ? mp__deadline(timeout_ms, &deadline) : EPERM;
    if (!err)
        err = get_ready(map, deadline);
    if (err)
        return err;

    struct mp__slot *slot = map->ready.first;
    if (slot->error)
        err = take_error(slot, failure);
    else if (slot->window.job)
        err = take_of_chunk(map, slot, result, failure);
    else
        err = take_single(map, slot, result, failure);
    failure->index = slot->window.start + slot->taken;
    if (++slot->taken == slot->window.count)
        mp__slot_append(&map->spent, mp__slot_remove(&map->ready, NULL));
    return err;
}

/* Leaving */

/* Let no items be run that no worker has begun. */
static void withdraw(mp_imap *map)
{
    struct mp__pool_shared *shared = map->pool->shared;

    for (struct mp__slot *slot = map->pending.first; slot; slot = slot->next) {
        struct mp__window *window = &slot->window;
        if (!window->task)
            continue;
        if (!window->job) {
            mp__task_withdraw(shared, window->task, window->number);
            continue;
        }
        mp__task_drop_items(shared, window->task, window->job, window->number);
    }
}

/* What still runs goes on without the caller's memory, or is waited for. */
static void abandon(mp_imap *map, struct mp__slot *slot)
{
    struct mp__window *window = &slot->window;

    if (!window->task || mp__task_settled(window->task))
        return;
    if (!map->copies && map->item_size) {
        mp__task_wait(map->pool, window->task, MP__NEVER);
        return;
    }
    /* The memory is given back with the task. */
    window->task->block = window->block;
    window->block = NULL;
}

void mp_imap_free(mp_imap *map)
{
    if (!map)
        return;
    if (map->epoch != mp__fork_epoch) {
        free(map);
        return;
    }
    mp_pool *pool = map->pool;
    mp__imap_feed_end(map);
    withdraw(map);
    for (struct mp__slot *slot = map->pending.first; slot; slot = slot->next)
        abandon(map, slot);

    struct mp__slot_row *const rows[] = {&map->idle, &map->prepared, &map->pending,
                                         &map->ready, &map->spent};
    pthread_mutex_lock(&pool->mutex);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (struct mp__slot *slot = rows[i]->first; slot; slot = slot->next) {
            mp__slot_release(map, slot);
            mp_shared_free(slot->window.block);
        }
    mp__pool_release(pool);
    free(map);
}
