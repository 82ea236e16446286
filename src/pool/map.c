/* SPDX-License-Identifier: MIT */
/* map.c - cutting a map into windows, moving their bytes, and collecting them: map.h. */
#include "pool/map.h"

#include <errno.h>
#include <mp/shared.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/sys.h"
#include "pool/job.h"
#include "pool/result.h"

/* Small enough to stay in a processor's cache between copying and computing. */
#define WINDOW_BYTES ((size_t)256 << 10)
/* Half of them keep the workers busy while the caller moves the bytes of the others. */
#define WINDOWS_UNDER_WAY 12

struct window {
    uint64_t number;
    struct mp__task *task;
    struct mp__job *job;
    char *block; /* copies of items, results and errors, as far as they are needed */
    size_t start;
    uint32_t count;
};

struct mp__map {
    mp_task_fn *task;
    void *context;
    const char *items;
    size_t count;
    size_t item_size;
    char *results;
    size_t result_size;
    int *errors;
    size_t chunk;
    struct mp__limits limits;
    unsigned retries;
    bool stops;     /* at the first failure */
    bool cancelled; /* no more windows */
    uint64_t call;  /* for mp_task_seed */
    int64_t began;
    uint64_t failed; /* items of collected windows */
    bool copies_items;
    bool copies_results;
    bool copies_errors;
    size_t window_items;
    size_t window_count;
    size_t submitted;
    size_t collected;
    mp_task_failure failure; /* of the lowest index so far; its error is 0 if none */
    size_t slots;            /* windows that `windows` has room for, reused in turn */
    struct window windows[];
};

static size_t aligned(size_t size)
{
    return (size + MP__CACHE_LINE - 1) & ~(size_t)(MP__CACHE_LINE - 1);
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

    layout.results = map->copies_items ? aligned(count * map->item_size) : 0;
    layout.errors =
        layout.results + (map->copies_results ? aligned(count * map->result_size) : 0);
    layout.attempts = layout.errors + (map->copies_errors ? count * sizeof(int) : 0);
    layout.size = layout.attempts + (map->retries ? count : 0);
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

static int new_map(struct mp__map **out, const struct mp__map *plan, unsigned workers,
                   bool in_turn)
{
    size_t window_items = choose_window(plan, workers, in_turn);
    if (window_items > plan->count)
        window_items = plan->count ? plan->count : 1;
    size_t window_count = (plan->count + window_items - 1) / window_items;
    size_t slots = window_count;

    if (in_turn && slots > WINDOWS_UNDER_WAY)
        slots = WINDOWS_UNDER_WAY;
    struct mp__map *map = mp__sys_calloc(1, sizeof(*map) + slots * sizeof(struct window));
    if (!map)
        return ENOMEM;
    *map = *plan;
    map->window_items = window_items;
    map->window_count = window_count;
    map->slots = slots;
    *out = map;
    return 0;
}

/* A job that no worker is with any more, or a new one. */
static struct mp__job *get_job(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;

    for (struct mp__job **link = &pool->idle_jobs; *link; link = &(*link)->next) {
        struct mp__job *job = *link;
        bool used = false;
        for (unsigned i = 0; i < shared->place_count && !used; i++)
            used = (atomic_load(&shared->workers[i].current) & ~MP__DOOMED) ==
                   job->number + 1;
        if (!used) {
            *link = job->next;
            return job;
        }
    }
    return mp__job_new(shared);
}

static void put_job(mp_pool *pool, struct mp__job *job, uint64_t number)
{
    job->number = number;
    job->next = pool->idle_jobs;
    pool->idle_jobs = job;
}

static void fill_job(const struct mp__map *map, struct window *window, unsigned shares)
{
    struct layout layout = block_layout(map, map->window_items);
    struct mp__job *job = window->job;
    size_t start = window->start;

    job->task = map->task;
    job->context = map->context;
    job->item_size = map->item_size;
    job->result_size = map->result_size;
    job->first = start;
    job->chunk = map->chunk < MP__JOB_ITEMS_MAX ? (uint32_t)map->chunk : MP__JOB_ITEMS_MAX;
    job->call = map->call;
    job->limits = map->limits;
    job->stops = map->stops;
    job->retries = (uint8_t)map->retries;
    job->attempts = NULL;
    if (map->retries) {
        job->attempts = (uint8_t *)window->block + layout.attempts;
        memset(job->attempts, 0, window->count);
    }
    job->items = NULL;
    if (map->items)
        job->items = map->copies_items ? window->block : map->items + start * map->item_size;
    job->results = NULL;
    if (map->results)
        job->results = map->copies_results ? window->block + layout.results
                                           : map->results + start * map->result_size;
    job->errors = NULL;
    if (map->errors)
        job->errors = map->copies_errors
                          ? (int *)(void *)(window->block + layout.errors)
                          : map->errors + start;
    if (map->copies_items)
        memcpy(window->block, map->items + start * map->item_size,
               window->count * map->item_size);
    if (job->errors)
        memset(job->errors, 0, window->count * sizeof(int));
    mp__job_deal(job, window->count, shares);
}

/* Publish a window whose job is filled. */
static int publish(mp_pool *pool, const struct mp__map *map, struct window *window)
{
    int err = mp__pool_accepts(pool);
    if (!err)
        err = mp__queue_reserve(pool, &window->number, &window->task);
    if (err)
        return err;
    window->task->task = map->task;
    window->task->block = NULL;
    window->task->text = NULL;
    window->task->error = 0;
    window->task->job = window->job;
    mp__queue_publish(pool, window->number, window->task, true);
    return 0;
}

static int submit_window(mp_pool *pool, struct mp__map *map)
{
    struct window *window = &map->windows[map->submitted % map->slots];
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
    window->job = get_job(pool);
    pthread_mutex_unlock(&pool->mutex);
    if (!window->job)
        return ENOMEM;
    fill_job(map, window, atomic_load(&pool->shared->wanted));

    pthread_mutex_lock(&pool->mutex);
    int err = publish(pool, map, window);
    if (err)
        put_job(pool, window->job, UINT64_MAX - 1);
    else
        pool->submitted += window->count;
    pthread_mutex_unlock(&pool->mutex);
    if (!err)
        map->submitted++;
    return err;
}

/* Wait for the oldest window that is under way, and take what it brought. */
static int collect_window(mp_pool *pool, struct mp__map *map, int64_t deadline)
{
    struct window *window = &map->windows[map->collected % map->slots];
    struct layout layout = block_layout(map, map->window_items);
    int err = mp__task_wait(pool, window->task, deadline);
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
    put_job(pool, window->job, window->number);
    mp__queue_release(pool, window->number);
    pthread_mutex_unlock(&pool->mutex);
    map->collected++;
    return 0;
}

/*
 * Every window is under way.  Wait for the one in the middle, by when those before it are
 * mostly done too: so the caller sleeps and is woken once for several windows, and the
 * workers have work while it moves their bytes.
 */
static int collect_half(mp_pool *pool, struct mp__map *map)
{
    size_t target = map->collected + (map->slots + 1) / 2;
    int err = mp__task_wait(pool, map->windows[(target - 1) % map->slots].task, MP__NEVER);

    while (!err && map->collected < target)
        err = collect_window(pool, map, MP__NEVER);
    return err;
}

static void free_map(struct mp__map *map)
{
    for (size_t i = 0; i < map->slots; i++)
        mp_shared_free(map->windows[i].block);
    free(map);
}

int mp__map_wait(mp_pool *pool, struct mp__map *map, int64_t deadline)
{
    while (map->collected < map->submitted) {
        int err = collect_window(pool, map, deadline);
        if (err)
            return err;
    }
    return 0;
}

int mp__map_get(struct mp__map *map, void *value, size_t size)
{
    if (value && size < map->count * map->result_size)
        return EMSGSIZE;
    if (value && map->results && !map->failure.error)
        memcpy(value, map->results, map->count * map->result_size);
    return map->failure.error;
}

/* The windows that are under way. */
static struct window *window_at(struct mp__map *map, size_t number)
{
    return &map->windows[number % map->slots];
}

void mp__map_cancel(mp_pool *pool, struct mp__map *map)
{
    map->cancelled = true;
    for (size_t i = map->collected; i < map->submitted; i++) {
        struct window *window = window_at(map, i);
        mp__job_cancel(window->job);
        if (mp__job_done(window->job))
            mp__task_settle(pool->shared, window->task);
        else
            mp__task_end(pool->shared, window->number);
    }
}

void mp__map_progress(const struct mp__map *map, mp_progress *progress)
{
    *progress = (mp_progress){.total = map->count,
                              .failed = map->failed,
                              .elapsed_ms = (mp__now() - map->began) / MP__MILLISECOND};
    for (size_t i = map->collected; i < map->submitted; i++) {
        const struct window *window = &map->windows[i % map->slots];
        progress->done += mp__job_settled(window->job);
        progress->failed += atomic_load(&window->job->failed);
    }
    size_t collected = map->collected * map->window_items;
    progress->done += collected < map->count ? collected : map->count;
}

void mp__map_failure(const struct mp__map *map, mp_task_failure *failure)
{
    *failure = map->failure;
}

void mp__map_free(mp_pool *pool, struct mp__map *map)
{
    mp__map_wait(pool, map, MP__NEVER);
    free_map(map);
}

void mp__map_forget(struct mp__map *map)
{
    free(map);
}

/* Check the arguments that both kinds of map have in common, and put them together. */
static int make_plan(struct mp__map *plan, mp_task_failure **failure, const mp_pool *pool,
                     mp_task_fn *task, const void *items, size_t count, size_t item_size,
                     void *results, size_t result_size, const mp_map_options *options)
{
    mp_map_options known;
    struct mp__limits limits;
    int err = mp__pool_check(pool);
    if (!err)
        err = mp__options_read(&known, sizeof(known), options);
    if (!err)
        err = mp__limits_read(&limits, pool, known.time_limit_ms, known.soft_time_limit_ms,
                              known.retries);
    if (err)
        return err;
    if (!task || !items != !item_size || (!results && result_size) || known.reserved ||
        known.progress_ms < 0)
        return EINVAL;
    if ((item_size && count > SIZE_MAX / 4 / item_size) ||
        (result_size && count > SIZE_MAX / 4 / result_size))
        return EOVERFLOW;
    *plan = (struct mp__map){
        .task = task,
        .context = known.context ? known.context : pool->shared->options.context,
        .items = items,
        .count = count,
        .item_size = item_size,
        .results = result_size ? results : NULL,
        .result_size = results ? result_size : 0,
        .errors = known.errors,
        .chunk = known.chunk_size,
        .limits = limits,
        .retries = (unsigned)known.retries,
        .stops = known.stop_at_failure != 0,
        .began = mp__now(),
        .copies_items = items && !mp_shared_contains(items),
        .copies_results = result_size && !mp_shared_contains(results),
        .copies_errors = known.errors && !mp_shared_contains(known.errors),
    };
    *failure = known.failure;
    return mp__pool_accepts(pool);
}

int mp_pool_map(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                size_t item_size, void *results, size_t result_size,
                const mp_map_options *options)
{
    struct mp__map plan, *map;
    mp_task_failure *failure;
    int err = make_plan(&plan, &failure, pool, task, items, count, item_size, results,
                        result_size, options);
    if (!err)
        err = new_map(&map, &plan, atomic_load(&pool->shared->wanted), true);
    if (err)
        return err;

    while (!err && map->submitted < map->window_count && !map->cancelled) {
        if (map->submitted - map->collected == map->slots)
            err = collect_half(pool, map);
        else
            err = submit_window(pool, map);
    }
    mp__map_wait(pool, map, MP__NEVER);
    if (!err)
        err = map->failure.error;
    if (failure)
        *failure = map->failure;
    free_map(map);
    return err;
}

int mp_pool_map_async(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                      size_t item_size, void *results, size_t result_size,
                      const mp_map_options *options, mp_async_result **out)
{
    struct mp__map plan, *map;
    mp_task_failure *failure;
    int err = out ? make_plan(&plan, &failure, pool, task, items, count, item_size, results,
                              result_size, options)
                  : EINVAL;
    if (err)
        return err;
    mp_async_result *result = mp__sys_calloc(1, sizeof(*result));
    if (!result)
        return ENOMEM;
    err = new_map(&map, &plan, atomic_load(&pool->shared->wanted), false);
    if (err) {
        free(result);
        return err;
    }
    while (!err && map->submitted < map->window_count)
        err = submit_window(pool, map);
    if (err) {
        mp__map_free(pool, map);
        free(result);
        return err;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->results++;
    pthread_mutex_unlock(&pool->mutex);
    *result = (mp_async_result){.pool = pool, .map = map};
    *out = result;
    return 0;
}
