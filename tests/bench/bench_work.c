/* SPDX-License-Identifier: MIT */
/*
 * bench_work.c - who does the work, and how it is measured.
 *
 * All of them call the same task through a pointer.  Results are wiped before every
 * call and looked at after it, outside the measured time.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_work.h"

static mp_pool *pool;
static void *own_items;
static void *own_results;
static size_t own_count;

static int allocate(const struct bench_work *work, void *(*take)(size_t size))
{
    own_count = bench_size(work->count, work->quick_count);
    own_items = take(own_count * work->item_size);
    own_results = take(own_count * work->result_size);
    if (!own_items || !own_results)
        return ENOMEM;
    work->fill(own_items, own_count);
    memset(own_results, 0, own_count * work->result_size);
    return 0;
}

static int start_pool(void)
{
    return mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = BENCH_PROCESSES));
}

static int start_arena(const struct bench_work *work)
{
    int err = allocate(work, mp_shared_alloc);

    return err ? err : start_pool();
}

/* The workers are made first: what they then get, they cannot have inherited. */
static int start_ordinary(const struct bench_work *work)
{
    int err = start_pool();

    return err ? err : allocate(work, malloc);
}

static int run_pool(const struct bench_work *work)
{
    return mp_pool_map(pool, work->task, own_items, own_count, work->item_size,
                       own_results, work->result_size,
                       MP_MAP_OPTIONS(.chunk_size = work->chunk_size));
}

static int start_private(const struct bench_work *work)
{
    return allocate(work, malloc);
}

static int run_guided(const struct bench_work *work)
{
    return bench_openmp_guided(work->task, own_items, own_count, work->item_size,
                               own_results, work->result_size);
}

static int run_dynamic(const struct bench_work *work)
{
    return bench_openmp_dynamic(work->task, own_items, own_count, work->item_size,
                                own_results, work->result_size);
}

/* Bare processes that take one item at a time from a shared cursor. */
struct crew {
    _Alignas(64) atomic_size_t next;
    _Alignas(64) sem_t go;
    _Alignas(64) sem_t done;
    atomic_int failures;
};

static struct crew *own_crew;

static void toil(const struct bench_work *work)
{
    mp_task_fn *volatile task = work->task;
    const char *items = own_items;
    char *results = own_results;
    int failures = 0;

    for (;;) {
        size_t i = atomic_fetch_add_explicit(&own_crew->next, 1, memory_order_relaxed);

        if (i >= own_count)
            break;
        failures |=
            task(items + i * work->item_size, results + i * work->result_size, NULL);
    }
    atomic_fetch_or(&own_crew->failures, failures);
}

static void serve_crew(const struct bench_work *work)
{
    for (;;) {
        if (sem_wait(&own_crew->go))
            continue;
        toil(work);
        sem_post(&own_crew->done);
    }
}

static int start_crew(const struct bench_work *work)
{
    int err = allocate(work, bench_shared);

    own_crew = bench_shared(sizeof(*own_crew));
    if (err || !own_crew)
        return ENOMEM;
    if (sem_init(&own_crew->go, 1, 0) || sem_init(&own_crew->done, 1, 0))
        return errno;
    for (int i = 0; i < BENCH_PROCESSES; i++) {
        pid_t pid = bench_fork();

        if (pid < 0)
            return errno;
        if (pid == 0)
            serve_crew(work);
    }
    return 0;
}

static int run_crew(const struct bench_work *work)
{
    (void)work;
    atomic_store(&own_crew->next, 0);
    for (int i = 0; i < BENCH_PROCESSES; i++)
        sem_post(&own_crew->go);
    for (int i = 0; i < BENCH_PROCESSES; i++)
        while (sem_wait(&own_crew->done))
            ;
    return atomic_load(&own_crew->failures);
}

int bench_work_prepare(const void *argument)
{
    const struct bench_entry *entry = argument;

    return entry->engine->start(entry->work);
}

static int measure(const struct bench_entry *entry, double *elapsed)
{
    const struct bench_work *work = entry->work;

    memset(own_results, 0, own_count * work->result_size);
    double before = bench_now();
    int err = entry->engine->run(work);
    *elapsed = bench_now() - before;
    if (!err && !work->is_right(own_items, own_results, own_count))
        err = BENCH_WRONG;
    return err;
}

int bench_work_round(const void *argument, double *figures)
{
    enum { MOST_REPEATS = 1000 };
    const struct bench_entry *entry = argument;
    double times[MOST_REPEATS];
    size_t repeats = bench_size(entry->work->repeats, 1);

    /* The first call only makes up for the time in which the others had the machine. */
    int err = measure(entry, &times[0]);
    for (size_t i = 0; i < repeats && !err; i++)
        err = measure(entry, &times[i]);
    if (err)
        return err;
    figures[1] = bench_median(times, repeats);
    figures[0] = (double)own_count / figures[1];
    return 0;
}

const void *bench_work_items(size_t *count)
{
    *count = own_count;
    return own_items;
}

const struct bench_engine bench_arena_engine = {start_arena, run_pool};
const struct bench_engine bench_ordinary_engine = {start_ordinary, run_pool};
const struct bench_engine bench_guided_engine = {start_private, run_guided};
const struct bench_engine bench_dynamic_engine = {start_private, run_dynamic};
const struct bench_engine bench_crew_engine = {start_crew, run_crew};
