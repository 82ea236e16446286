/* SPDX-License-Identifier: MIT */
/*
 * bench_map.c - mp_pool_map beside loops of OpenMP, of bare processes, and Python.
 *
 * All of them call the same task through a pointer.  Results are wiped before every
 * call and looked at after it, outside the measured time.
 */
#include <errno.h>
#include <math.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

/* A kind of item, and what is done with it. */
struct work {
    mp_task_fn *task;
    void (*fill)(void *items, size_t count);
    bool (*is_right)(const void *items, const void *results, size_t count);
    size_t item_size;
    size_t result_size;
    size_t count;
    size_t quick_count;
    size_t repeats; /* calls of a round that are measured */
    size_t chunk_size;
};

/* The one who runs it; `run` gets the arrays that `start` allocated. */
struct engine {
    int (*start)(const struct work *work);
    int (*run)(const struct work *work);
};

struct entry {
    const struct work *work;
    const struct engine *engine;
};

static mp_pool *pool;
static void *own_items;
static void *own_results;
static size_t own_count;

/* Squares of ints below 2^15 are ints. */
static int square(const void *arg, void *result, void *context)
{
    const int *x = arg;

    (void)context;
    *(int *)result = *x * *x;
    return 0;
}

static void fill_ints(void *items, size_t count)
{
    int *x = items;

    for (size_t i = 0; i < count; i++)
        x[i] = (int)(i % 32768) + 1;
}

static bool are_squares(const void *items, const void *results, size_t count)
{
    const int *x = items;
    const int *y = results;
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++)
        wrong += y[i] != x[i] * x[i];
    return wrong == 0;
}

static int root(const void *arg, void *result, void *context)
{
    (void)context;
    *(double *)result = sqrt(*(const double *)arg);
    return 0;
}

static void fill_doubles(void *items, size_t count)
{
    double *x = items;

    for (size_t i = 0; i < count; i++)
        x[i] = (double)i + 1;
}

static bool are_roots(const void *items, const void *results, size_t count)
{
    const double *x = items;
    const double *y = results;
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++)
        wrong += !(fabs(y[i] * y[i] - x[i]) <= x[i] * 1e-14);
    return wrong == 0;
}

/* Busy for as many seconds as the item says, whatever the processor's speed. */
static int spin(const void *arg, void *result, void *context)
{
    double length = *(const double *)arg;
    double end = bench_now() + length;

    (void)context;
    while (bench_now() < end)
        ;
    *(double *)result = length;
    return 0;
}

/*
 * Lengths by a power law from 5 us up to 5 ms: most items take next to nothing, and a
 * few take most of the time.  The sequence is the same in every run.
 */
static void fill_lengths(void *items, size_t count)
{
    double *length = items;
    uint64_t state = 88172645463325252;

    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        double uniform = ((double)(state >> 11) + 1) / 9007199254740992.0;
        length[i] = fmin(5e-6 * pow(uniform, -1 / 1.1), 5e-3);
    }
}

static bool are_same(const void *items, const void *results, size_t count)
{
    return memcmp(items, results, count * sizeof(double)) == 0;
}

static int allocate(const struct work *work, void *(*take)(size_t size))
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

static int start_arena(const struct work *work)
{
    int err = allocate(work, mp_shared_alloc);

    return err ? err : start_pool();
}

/* The workers are made first: what they then get, they cannot have inherited. */
static int start_ordinary(const struct work *work)
{
    int err = start_pool();

    return err ? err : allocate(work, malloc);
}

static int run_pool(const struct work *work)
{
    return mp_pool_map(pool, work->task, own_items, own_count, work->item_size,
                       own_results, work->result_size,
                       MP_MAP_OPTIONS(.chunk_size = work->chunk_size));
}

static int start_private(const struct work *work)
{
    return allocate(work, malloc);
}

static int run_guided(const struct work *work)
{
    return bench_openmp_guided(work->task, own_items, own_count, work->item_size,
                               own_results, work->result_size);
}

static int run_dynamic(const struct work *work)
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

static void toil(const struct work *work)
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

static void serve_crew(const struct work *work)
{
    for (;;) {
        if (sem_wait(&own_crew->go))
            continue;
        toil(work);
        sem_post(&own_crew->done);
    }
}

static int start_crew(const struct work *work)
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

static int run_crew(const struct work *work)
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

static int prepare(const void *argument)
{
    const struct entry *entry = argument;

    return entry->engine->start(entry->work);
}

static int measure(const struct entry *entry, double *elapsed)
{
    const struct work *work = entry->work;

    memset(own_results, 0, own_count * work->result_size);
    double before = bench_now();
    int err = entry->engine->run(work);
    *elapsed = bench_now() - before;
    if (!err && !work->is_right(own_items, own_results, own_count))
        err = BENCH_WRONG;
    return err;
}

/* Figure 0 is items per second, figure 1 seconds for a call. */
static int map_round(const void *argument, double *figures)
{
    enum { MOST_REPEATS = 1000 };
    const struct entry *entry = argument;
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

/* What nobody can do better: all processes busy all the time. */
static int ideal_round(const void *argument, double *figures)
{
    const struct entry *entry = argument;
    const double *length = own_items;
    double sum = 0, longest = 0;

    (void)entry;
    for (size_t i = 0; i < own_count; i++) {
        sum += length[i];
        longest = fmax(longest, length[i]);
    }
    figures[1] = fmax(sum / BENCH_PROCESSES, longest);
    figures[0] = (double)own_count / figures[1];
    return 0;
}

static const struct engine arena_engine = {start_arena, run_pool};
static const struct engine ordinary_engine = {start_ordinary, run_pool};
static const struct engine guided_engine = {start_private, run_guided};
static const struct engine dynamic_engine = {start_private, run_dynamic};
static const struct engine crew_engine = {start_crew, run_crew};

/* Ten million items. */

static const struct work squares = {
    .task = square,
    .fill = fill_ints,
    .is_right = are_squares,
    .item_size = sizeof(int),
    .result_size = sizeof(int),
    .count = 10000000,
    .quick_count = 1000,
    .repeats = 3,
};
static const struct entry squares_arena = {&squares, &arena_engine};
static const struct entry squares_ordinary = {&squares, &ordinary_engine};
static const struct entry squares_guided = {&squares, &guided_engine};

static const bench_contestant squares_contestants[] = {
    {"libmp, arena", prepare, map_round, &squares_arena},
    {"libmp, ordinary", prepare, map_round, &squares_ordinary},
    {"OpenMP guided", prepare, map_round, &squares_guided},
    {"Python Pool.map", bench_python_prepare, bench_python_round, "map"},
};
static const bench_row squares_rows[] = {
    {"map: x*x of 10^7 ints, arena", "M/s", 0, 2, 0, BENCH_AT_LEAST, 0.9},
    {"map: x*x of 10^7 ints, ordinary memory", "M/s", 1, 2, 0, BENCH_AT_LEAST, 0.5},
    {"map: x*x of 10^7 ints, arena", "M/s", 0, 3, 0, BENCH_AT_LEAST, 50},
    {"map: x*x of 10^7 ints, ordinary memory", "M/s", 1, 3, 0, BENCH_AT_LEAST, 50},
};

static const struct work roots = {
    .task = root,
    .fill = fill_doubles,
    .is_right = are_roots,
    .item_size = sizeof(double),
    .result_size = sizeof(double),
    .count = 10000000,
    .quick_count = 1000,
    .repeats = 3,
};
static const struct entry roots_arena = {&roots, &arena_engine};
static const struct entry roots_ordinary = {&roots, &ordinary_engine};
static const struct entry roots_guided = {&roots, &guided_engine};

static const bench_contestant roots_contestants[] = {
    {"libmp, arena", prepare, map_round, &roots_arena},
    {"libmp, ordinary", prepare, map_round, &roots_ordinary},
    {"OpenMP guided", prepare, map_round, &roots_guided},
};
static const bench_row roots_rows[] = {
    {"map: sqrt of 10^7 doubles, arena", "ms", 0, 2, 1, BENCH_INFO, 0},
    {"map: sqrt of 10^7 doubles, ordinary", "ms", 1, 2, 1, BENCH_INFO, 0},
};

/* One item at a time. */

static const struct work singles = {
    .task = square,
    .fill = fill_ints,
    .is_right = are_squares,
    .item_size = sizeof(int),
    .result_size = sizeof(int),
    .count = 1000000,
    .quick_count = 1000,
    .repeats = 3,
    .chunk_size = 1,
};
static const struct entry singles_arena = {&singles, &arena_engine};
static const struct entry singles_dynamic = {&singles, &dynamic_engine};
static const struct entry singles_crew = {&singles, &crew_engine};

static const bench_contestant singles_contestants[] = {
    {"libmp", prepare, map_round, &singles_arena},
    {"OpenMP dynamic,1", prepare, map_round, &singles_dynamic},
    {"bare forks and fetch_add", prepare, map_round, &singles_crew},
};
static const bench_row singles_rows[] = {
    {"map: x*x of 10^6 ints, chunk_size 1", "M/s", 0, 1, 0, BENCH_INFO, 0},
    {"map: x*x of 10^6 ints, chunk_size 1", "M/s", 0, 2, 0, BENCH_INFO, 0},
};

/* Items of very different lengths. */

static const struct work lengths = {
    .task = spin,
    .fill = fill_lengths,
    .is_right = are_same,
    .item_size = sizeof(double),
    .result_size = sizeof(double),
    .count = 5000,
    .quick_count = 100,
    .repeats = 1,
};
static const struct entry lengths_arena = {&lengths, &arena_engine};
static const struct entry lengths_dynamic = {&lengths, &dynamic_engine};

static const bench_contestant lengths_contestants[] = {
    {"libmp", prepare, map_round, &lengths_arena},
    {"ideal: half of the sum", prepare, ideal_round, &lengths_dynamic},
    {"OpenMP dynamic,1", prepare, map_round, &lengths_dynamic},
};
static const bench_row lengths_rows[] = {
    {"map: 5000 uneven items, makespan", "ms", 0, 1, 1, BENCH_INFO, 0},
    {"map: 5000 uneven items, makespan", "ms", 0, 2, 1, BENCH_INFO, 0},
};

/* A call so short that what it costs to begin and to end is all there is. */

static const struct work few = {
    .task = square,
    .fill = fill_ints,
    .is_right = are_squares,
    .item_size = sizeof(int),
    .result_size = sizeof(int),
    .count = 1000,
    .quick_count = 1000,
    .repeats = 501,
};
static const struct entry few_arena = {&few, &arena_engine};
static const struct entry few_ordinary = {&few, &ordinary_engine};
static const struct entry few_guided = {&few, &guided_engine};

static const bench_contestant few_contestants[] = {
    {"libmp, arena", prepare, map_round, &few_arena},
    {"libmp, ordinary", prepare, map_round, &few_ordinary},
    {"OpenMP guided", prepare, map_round, &few_guided},
};
static const bench_row few_rows[] = {
    {"map: a call of 1000 items, arena", "us", 0, BENCH_NOBODY, 1, BENCH_AT_MOST, 10},
    {"map: a call of 1000 items, arena", "us", 0, 2, 1, BENCH_INFO, 0},
    {"map: a call of 1000 items, ordinary", "us", 1, 2, 1, BENCH_INFO, 0},
};

const bench_contest bench_map_contests[] = {
    BENCH_CONTEST("map squares", squares_contestants, squares_rows, 0),
    BENCH_CONTEST("map roots", roots_contestants, roots_rows, 0),
    BENCH_CONTEST("map singles", singles_contestants, singles_rows, 0),
    BENCH_CONTEST("map uneven", lengths_contestants, lengths_rows, 0),
    BENCH_CONTEST("map few", few_contestants, few_rows, 0),
    {.name = NULL},
};
