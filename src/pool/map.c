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
#include "pool/window.h"
#include "sync/park.h"

/* Small enough to stay in a processor's cache between copying and computing. */
#define WINDOW_BYTES ((size_t)256 << 10)
/* Half of them keep the workers busy while the caller moves the bytes of the others. */
#define WINDOWS_UNDER_WAY 12
/* Waking a worker costs about as much. */
#define MOMENT_NS INT64_C(5000)
/* Of calls of `progress`, unless the caller says how often. */
#define PROGRESS_MS 100

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
    bool may_be_short; /* who waits for it calls others when it is not */
    bool stops;             /* at the first failure */
    _Atomic uint32_t *stop; /* in the arena: an item has failed; NULL: `stops` is not set */
    bool cancelled;         /* no more windows */
    struct mp__fold *fold;  /* a reduction; or NULL */
    uint64_t call;  /* for mp_task_seed */
    int64_t began;
    mp_progress_fn *progress; /* or NULL */
    void *progress_arg;
    int64_t progress_ns;
    int64_t tell_at; /* when `progress` is to be called next */
    uint64_t failed; /* items of collected windows */
    bool copies_items;
    bool copies_results;
    bool copies_errors;
    size_t window_items;
    size_t window_count;
    size_t submitted;
    _Atomic size_t collected;
    pthread_mutex_t mutex;   /* of who collects, cancels or counts windows */
    mp_task_failure failure; /* of the lowest index so far; its error is 0 if none */
    size_t slots;            /* windows that `windows` has room for, reused in turn */
    struct mp__window windows[];
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
    size_t start = window->start;

    job->task = map->task;
    job->context = map->context;
    job->item_size = map->item_size;
    job->result_size = map->result_size;
    job->first = start;
    job->chunk = map->chunk < MP__JOB_ITEMS_MAX ? (uint32_t)map->chunk : MP__JOB_ITEMS_MAX;
    job->call = map->call;
    job->limits = map->limits;
    atomic_store_explicit(&job->crowd, !map->may_be_short, memory_order_relaxed);
    job->stop = map->stop;
    job->fold = map->fold;
    job->retries = (uint8_t)map->retries;
    job->attempts = NULL;
    if (map->retries) {
        job->attempts = (uint8_t *)window->block + layout.attempts;
        memset(job->attempts, 0, window->count);
    }
    job->items = NULL;
    if (map->items)
        job->items =
            map->copies_items ? window->block : map->items + start * map->item_size;
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

/* The windows that are under way. */
static struct mp__window *window_at(struct mp__map *map, size_t number)
{
    return &map->windows[number % map->slots];
}

/* Otherwise the tasks are held until the map is freed, for others may look at them. */
static bool reuses_slots(const struct mp__map *map)
{
    return map->slots < map->window_count;
}

static int submit_window(mp_pool *pool, struct mp__map *map)
{
    struct mp__window *window = &map->windows[map->submitted % map->slots];
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
        map->call = pool->calls++;
    window->job = mp__window_job(pool);
    pthread_mutex_unlock(&pool->mutex);
    if (!window->job)
        return ENOMEM;
    fill_job(map, window, atomic_load(&pool->shared->wanted));

    pthread_mutex_lock(&pool->mutex);
    int err = mp__pool_accepts(pool);
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

/* Call `progress` if it is time.  The last call, of all items, is made at the end. */
static void tell_progress(struct mp__map *map)
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
        tell_progress(map);
    }
}

/* Wait for the oldest window that is under way, and take what it brought. */
static int collect_window(mp_pool *pool, struct mp__map *map, int64_t deadline)
{
    struct mp__window *window = &map->windows[map->collected % map->slots];
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
 * Every window is under way.  Wait for the one in the middle, by when those before it are
 * mostly done too: so the caller sleeps and is woken once for several windows, and the
 * workers have work while it moves their bytes.
 */
static int collect_half(mp_pool *pool, struct mp__map *map)
{
    size_t target = map->collected + (map->slots + 1) / 2;
    int err = wait_telling(pool, map, window_at(map, target - 1)->task, MP__NEVER);

    while (!err && map->collected < target)
        err = collect_window(pool, map, MP__NEVER);
    return err;
}

static void free_map(mp_pool *pool, struct mp__map *map)
{
    pthread_mutex_lock(&pool->mutex);
    for (size_t i = 0; !reuses_slots(map) && i < map->submitted; i++)
        mp__queue_release(pool, map->windows[i].number);
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
        int err = wait_telling(pool, map, window_at(map, next)->task, deadline);
        if (err)
            return err;
        pthread_mutex_lock(&map->mutex);
        if (map->collected == next)
            collect_window(pool, map, deadline);
        pthread_mutex_unlock(&map->mutex);
    }
    return 0;
}

bool mp__map_settled(const struct mp__map *map)
{
    size_t collected = map->collected;

    /* The last one is the last to be settled, as a rule. */
    for (size_t i = map->submitted; i > collected; i--)
        if (!mp__task_settled(map->windows[(i - 1) % map->slots].task))
            return false;
    return true;
}

uint64_t mp__map_number(const struct mp__map *map)
{
    return map->submitted ? map->windows[(map->submitted - 1) % map->slots].number : 0;
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
        struct mp__window *window = window_at(map, i);
        mp__job_cancel(window->job);
        if (mp__job_done(window->job))
            mp__task_settle(pool->shared, window->task, window->number);
        else
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
        const struct mp__window *window = &map->windows[i % map->slots];
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
    free_map(pool, map);
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
    if (!err && known.failure)
        *known.failure = (mp_task_failure){0};
    if (!err)
        err = mp__limits_read(&limits, pool, known.time_limit_ms, known.soft_time_limit_ms,
                              known.retries);
    if (err)
        return err;
    if (!task || !items != !item_size || (!results && result_size) || known.reserved ||
        known.progress_ms < 0)
        return EINVAL;
    if ((item_size && count > SIZE_MAX / 4 / item_size) ||
        (result_size && count > SIZE_MAX / 4 / result_size) ||
        (known.errors && count > SIZE_MAX / 4 / sizeof(int)))
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
        .progress = known.progress,
        .progress_arg = known.progress_arg,
        .progress_ns = (known.progress_ms ? known.progress_ms : PROGRESS_MS) *
                       MP__MILLISECOND,
        .copies_items = items && !mp_shared_contains(items),
        .copies_results = result_size && !mp_shared_contains(results),
        .copies_errors = known.errors && !mp_shared_contains(known.errors),
    };
    plan->tell_at = plan->began + plan->progress_ns;
    *failure = known.failure;
    return mp__pool_accepts(pool);
}

/* Submit windows and collect them in turn, until all are submitted or it is stopped. */
static int move_windows(mp_pool *pool, struct mp__map *map)
{
    int err = 0;

    while (!err && map->submitted < map->window_count && !map->cancelled &&
           !(map->stop && atomic_load(map->stop))) {
        if (map->submitted - map->collected == map->slots)
            err = collect_half(pool, map);
        else
            err = submit_window(pool, map);
        tell_progress(map);
    }
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
                const mp_map_options *options, struct mp__fold *fold)
{
    struct mp__map plan, *map;
    mp_task_failure *failure;
    int err = make_plan(&plan, &failure, pool, task, items, count, item_size, results,
                        result_size, options);
    if (err)
        return err;
    plan.fold = fold;
    plan.stops |= fold != NULL;
    err = new_map(&map, &plan, atomic_load(&pool->shared->wanted), true);
    if (err)
        return err;

    map->may_be_short = map->window_count == 1 && !map->chunk && mp__spin_cpus() > 1;
    err = move_windows(pool, map);
    if (!err && map->may_be_short && map->submitted)
        give_it_a_moment(&map->windows[0]);
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
    if (failure)
        *failure = map->failure;
    free_map(pool, map);
    return err;
}

int mp_pool_map(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                size_t item_size, void *results, size_t result_size,
                const mp_map_options *options)
{
    return mp__map_run(pool, task, items, count, item_size, results, result_size, options,
                       NULL);
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
    mp_map_options known;
    if (!err)
        err = mp__options_read(&known, sizeof(known), options);
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
    *result = (mp_async_result){.pool = pool, .map = map, .number = mp__map_number(map)};
    pthread_mutex_lock(&pool->mutex);
    mp__result_give(result, known.callback, known.callback_arg, out);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}
