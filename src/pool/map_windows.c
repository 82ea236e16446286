/* SPDX-License-Identifier: MIT */
/* map_windows.c - a map is cut into windows, which are submitted and collected: map.h. */
#include <errno.h>
#include <mp/shared.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "base/sys.h"
#include "pool/job.h"
#include "pool/map.h"

/* Small enough to stay in a processor's cache between copying and computing. */
#define WINDOW_BYTES ((size_t)256 << 10)
/* Half of them keep the workers busy while the caller moves the bytes of the others. */
#define WINDOWS_UNDER_WAY 12

/* Bytes of a part of a window's block, if the part is there. */
static size_t part(bool there, size_t bytes)
{
    return there ? mp__round_up(bytes, MP__CACHE_LINE) : 0;
}

/* Where results, errors and attempts begin in a window's block, and its size. */
struct layout {
    size_t results;
    size_t errors;
    size_t attempts;
    size_t size;
};

static struct layout block_layout(const struct mp__map *map, size_t count)
{
    struct layout layout;

    layout.results = part(map->copies_items, count * map->item_size);
    layout.errors = layout.results + part(map->copies_results, count * map->result_size);
    layout.attempts = layout.errors + (map->copies_errors ? count * sizeof(int) : 0);
    layout.size = layout.attempts + (map->call.retries ? count : 0);
    return layout;
}

/* How many items a window has: as many as a job can, or as copying in turn suggests. */
static size_t choose_window(const struct mp__map *map, unsigned workers, bool in_turn)
{
    size_t bytes = (map->copies_items ? map->item_size : 0) +
                   (map->copies_results ? map->result_size : 0);
    size_t items = MP__JOB_ITEMS_MAX;

    if (in_turn && bytes) {
        items = WINDOW_BYTES / bytes;
        if (items < 2 * (size_t)workers)
            items = 2 * (size_t)workers;
        if (items > MP__JOB_ITEMS_MAX)
            items = MP__JOB_ITEMS_MAX;
    }
    return items;
}

int mp__map_new(struct mp__map **out, const struct mp__map *plan, unsigned workers,
                   bool in_turn)
{
    size_t window_items = choose_window(plan, workers, in_turn);
    if (window_items > plan->count)
        window_items = plan->count ? plan->count : 1;
    size_t window_count =
        plan->count / window_items + (plan->count % window_items != 0);
    size_t slots = window_count;

    if (in_turn && slots > WINDOWS_UNDER_WAY)
        slots = WINDOWS_UNDER_WAY;
    size_t size = sizeof(struct mp__map) + slots * sizeof(struct mp__window);
    struct mp__map *map = mp__sys_calloc(1, size);
    if (!map)
        return ENOMEM;
    *map = *plan;
    if (plan->stops) {
        map->stop = mp_shared_alloc(sizeof(*map->stop));
        if (!map->stop) {
            free(map);
            return ENOMEM;
        }
    }
    pthread_mutex_init(&map->mutex, NULL);
    map->window_items = window_items;
    map->window_count = window_count;
    map->slots = slots;
    *out = map;
    return 0;
}

static void fill_job(const struct mp__map *map, struct mp__window *window, unsigned shares)
{
    struct layout layout = block_layout(map, map->window_items);
    struct mp__job *job = window->job;
    char *block = window->block;
    size_t start = window->start;

    job->items = NULL;
    if (map->items)
        job->items = map->copies_items ? block : map->items + start * map->item_size;
    job->item_size = map->item_size;
    job->results = NULL;
    if (map->results)
        job->results = map->copies_results ? block + layout.results
                                           : map->results + start * map->result_size;
    job->result_size = map->result_size;
    job->errors = NULL;
    if (map->errors)
        job->errors = map->copies_errors ? (int *)(void *)(block + layout.errors)
                                         : map->errors + start;
    if (map->copies_items)
        memcpy(block, map->items + start * map->item_size, window->count * map->item_size);
    job->chunk = map->chunk < MP__JOB_ITEMS_MAX ? (uint32_t)map->chunk : MP__JOB_ITEMS_MAX;
    job->stop = map->stop;
    job->fold = map->fold;
    atomic_store_explicit(&job->crowd, !map->may_be_short, memory_order_relaxed);
    mp__window_deal(window, &map->call, block ? block + layout.attempts : NULL, shares);
}

/* Otherwise the tasks are held until the map is freed, for others may look at them. */
static bool reuses_slots(const struct mp__map *map)
{
    return map->slots < map->window_count;
}

/* With the mutex: a map of several windows is accepted with its first one. */
static int may_submit(mp_pool *pool, struct mp__map *map)
{
    if (map->feeds)
        return mp__pool_takes(pool->shared) ? 0 : EPIPE;
    if (map->window_count == 1)
        return mp__pool_accepts(pool);
    int err = mp__pool_feed_begin(pool);
    map->feeds = !err;
    return err;
}

void mp__map_feed_end(mp_pool *pool, struct mp__map *map)
{
    if (map->feeds)
        mp__pool_feed_end(pool);
    map->feeds = false;
}

int mp__map_submit(mp_pool *pool, struct mp__map *map)
{
    struct mp__window *window = mp__map_window(map, map->submitted);
    struct layout layout = block_layout(map, map->window_items);
    size_t left = map->count - map->submitted * map->window_items;

    window->start = map->submitted * map->window_items;
    window->count = (uint32_t)(left < map->window_items ? left : map->window_items);
    if (layout.size && !window->block) {
        window->block = mp_shared_alloc(layout.size);
        if (!window->block)
            return ENOMEM;
    }
    pthread_mutex_lock(&pool->mutex);
    if (!map->submitted)
        map->call.number = pool->calls++;
    window->job = mp__window_job(pool);
    pthread_mutex_unlock(&pool->mutex);
    if (!window->job)
        return ENOMEM;
    fill_job(map, window, atomic_load(&pool->shared->wanted));

    pthread_mutex_lock(&pool->mutex);
    int err = may_submit(pool, map);
    if (!err)
        err = mp__window_publish(pool, window);
    if (err)
        mp__window_put_job(pool, window->job, MP__NO_TASK);
    else
        pool->submitted += window->count;
    pthread_mutex_unlock(&pool->mutex);
    if (!err)
        map->submitted++;
    return err;
}

/* The last call, of all items, is made at the end. */
void mp__map_tell(struct mp__map *map)
{
    mp_progress progress;
    int64_t now = map->progress ? mp__now() : 0;

    if (!map->progress || now < map->tell_at)
        return;
    map->tell_at = now + map->progress_ns;
    mp__map_progress(map, &progress);
    if (progress.done < progress.total)
        map->progress(&progress, map->progress_arg);
}

/* As mp__task_wait, in pieces if there is somebody who is to be told meanwhile. */
static int wait_telling(mp_pool *pool, struct mp__map *map, struct mp__task *task,
                        int64_t deadline)
{
    for (;;) {
        bool tells = map->progress && map->tell_at < deadline;
        int err = mp__task_wait(pool, task, tells ? map->tell_at : deadline);
        if (err != ETIMEDOUT || !tells)
            return err;
        mp__map_tell(map);
    }
}

/* Wait for the oldest window that is under way, and take what it brought. */
static int collect_window(mp_pool *pool, struct mp__map *map, int64_t deadline)
{
    struct mp__window *window = mp__map_window(map, map->collected);
    struct layout layout = block_layout(map, map->window_items);
    int err = wait_telling(pool, map, window->task, deadline);
    if (err)
        return err;
    if (map->copies_results)
        memcpy(map->results + window->start * map->result_size,
               window->block + layout.results, window->count * map->result_size);
    if (map->copies_errors)
        memcpy(map->errors + window->start, window->block + layout.errors,
               window->count * sizeof(int));
    if (!map->failure.error)
        mp__job_failure(window->job, &map->failure);
    map->failed += atomic_load(&window->job->failed);
    if (map->stops && map->failure.error)
        map->cancelled = true;
    pthread_mutex_lock(&pool->mutex);
    mp__window_put_job(pool, window->job, window->number);
    if (reuses_slots(map))
        mp__queue_release(pool, window->number);
    pthread_mutex_unlock(&pool->mutex);
    map->collected++;
    return 0;
}

/*
 * Wait for the one in the middle, by when those before it are mostly done too: so the
 * caller sleeps and is woken once for several windows, and the workers have work while it
 * moves their bytes.
 */
int mp__map_collect_half(mp_pool *pool, struct mp__map *map)
{
    size_t target = map->collected + (map->slots + 1) / 2;
    int err = wait_telling(pool, map, mp__map_window(map, target - 1)->task, MP__NEVER);

    while (!err && map->collected < target)
        err = collect_window(pool, map, MP__NEVER);
    return err;
}

void mp__map_discard(mp_pool *pool, struct mp__map *map)
{
    pthread_mutex_lock(&pool->mutex);
    for (size_t i = 0; !reuses_slots(map) && i < map->submitted; i++)
        mp__queue_release(pool, mp__map_window(map, i)->number);
    pthread_mutex_unlock(&pool->mutex);
    pthread_mutex_destroy(&map->mutex);
    mp_shared_free(map->stop);
    for (size_t i = 0; i < map->slots; i++)
        mp_shared_free(map->windows[i].block);
    free(map);
}

int mp__map_wait(mp_pool *pool, struct mp__map *map, int64_t deadline)
{
    size_t next;

    /* Another thread may cancel it, ask how far it is, or wait for it in a callback. */
    while ((next = map->collected) < map->submitted) {
        int err = wait_telling(pool, map, mp__map_window(map, next)->task, deadline);
        if (err)
            return err;
        pthread_mutex_lock(&map->mutex);
        if (map->collected == next)
            collect_window(pool, map, deadline);
        pthread_mutex_unlock(&map->mutex);
    }
    return 0;
}

bool mp__map_settled(struct mp__map *map)
{
    size_t collected = map->collected;

    /* The last one is the last to be settled, as a rule. */
    for (size_t i = map->submitted; i > collected; i--)
        if (!mp__task_settled(mp__map_window(map, i - 1)->task))
            return false;
    return true;
}

uint64_t mp__map_number(struct mp__map *map)
{
    return map->submitted ? mp__map_window(map, map->submitted - 1)->number : 0;
}

int mp__map_get(struct mp__map *map, void *value, size_t size)
{
    if (value && size < map->count * map->result_size)
        return EMSGSIZE;
    if (value && map->results && !map->failure.error)
        memcpy(value, map->results, map->count * map->result_size);
    return map->failure.error;
}

void mp__map_cancel(mp_pool *pool, struct mp__map *map)
{
    pthread_mutex_lock(&map->mutex);
    map->cancelled = true;
    for (size_t i = map->collected; i < map->submitted; i++) {
        struct mp__window *window = mp__map_window(map, i);
        if (!mp__task_drop_items(pool->shared, window->task, window->job, window->number))
            mp__task_end(pool->shared, window->number);
    }
    pthread_mutex_unlock(&map->mutex);
}

void mp__map_progress(struct mp__map *map, mp_progress *progress)
{
    pthread_mutex_lock(&map->mutex);
    *progress = (mp_progress){.total = map->count,
                              .failed = map->failed,
                              .elapsed_ms = (mp__now() - map->began) / MP__MILLISECOND};
    for (size_t i = map->collected; i < map->submitted; i++) {
        const struct mp__window *window = mp__map_window(map, i);
        progress->done += mp__job_settled(window->job);
        progress->failed += atomic_load(&window->job->failed);
    }
    size_t collected = map->collected * map->window_items;
    progress->done += collected < map->count ? collected : map->count;
    pthread_mutex_unlock(&map->mutex);
}

void mp__map_failure(const struct mp__map *map, mp_task_failure *failure)
{
    *failure = map->failure;
}

void mp__map_free(mp_pool *pool, struct mp__map *map)
{
    mp__map_wait(pool, map, MP__NEVER);
    mp__map_discard(pool, map);
}

void mp__map_forget(struct mp__map *map)
{
    free(map);
}
