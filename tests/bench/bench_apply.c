/* SPDX-License-Identifier: MIT */
/*
 * bench_apply.c - single tasks: how many a second, and how long one takes there and
 * back.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

enum { TASKS = 200000, QUICK_TASKS = 500 };
enum { TRIPS = 2000, QUICK_TRIPS = 20, SLEEPY_TRIPS = 200, QUICK_SLEEPY_TRIPS = 5 };

/* Between two trips of a sleepy route: longer than anybody spins before it sleeps. */
static const double NAP = 0.002;

/* A pipe holds 8192 of these; so many on the way can never block both ends. */
enum { ON_THE_WAY = 1024 };

struct message {
    int x;
    int y;
};

static mp_pool *pool;
static mp_async_result **promises;

/* Below 2^15, so that its square is an int as well. */
static int item(size_t index)
{
    return (int)(index % 32768);
}

static int square(const void *arg, void *result, void *context)
{
    const int *x = arg;

    (void)context;
    *(int *)result = *x * *x;
    return 0;
}

static int prepare_pool(const void *argument)
{
    (void)argument;
    promises = calloc(TASKS, sizeof(*promises));
    if (!promises)
        return ENOMEM;
    return mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = BENCH_PROCESSES));
}

static int submit(size_t count)
{
    int err = 0;

    for (size_t i = 0; i < count && !err; i++) {
        int x = item(i);

        err = mp_pool_apply_async(pool, square, &x, sizeof(x), sizeof(int), NULL,
                                  &promises[i]);
    }
    return err;
}

static int collect(size_t count)
{
    int err = 0;

    for (size_t i = 0; i < count && !err; i++) {
        int y = -1;

        err = mp_async_result_get(promises[i], &y, sizeof(y), MP_FOREVER);
        mp_async_result_free(promises[i]);
        if (!err && y != item(i) * item(i))
            err = BENCH_WRONG;
    }
    return err;
}

static int async_round(const void *argument, double *figures)
{
    size_t count = bench_size(TASKS, QUICK_TASKS);

    (void)argument;
    double before = bench_now();
    int err = submit(count);
    if (!err)
        err = collect(count);
    figures[0] = (double)count / (bench_now() - before);
    return err;
}

/* OpenMP's threads share the caller's memory: they need no messages. */
static int *own_items;
static int *own_results;

static int prepare_openmp(const void *argument)
{
    (void)argument;
    own_items = calloc(TASKS, sizeof(*own_items));
    own_results = calloc(TASKS, sizeof(*own_results));
    if (!own_items || !own_results)
        return ENOMEM;
    for (size_t i = 0; i < TASKS; i++)
        own_items[i] = item(i);
    return 0;
}

static int openmp_round(const void *argument, double *figures)
{
    size_t count = bench_size(TASKS, QUICK_TASKS);

    (void)argument;
    double before = bench_now();
    int err = bench_openmp_tasks(square, own_items, count, sizeof(int), own_results,
                                 sizeof(int));
    figures[0] = (double)count / (bench_now() - before);
    for (size_t i = 0; i < count && !err; i++)
        if (own_results[i] != item(i) * item(i))
            err = BENCH_WRONG;
    return err;
}

/* Two bare processes that read tasks from one pipe and write results to another. */
static int tasks_pipe[2];
static int results_pipe[2];

static void serve_pipe(void)
{
    mp_task_fn *volatile task = square;
    struct message m;

    while (read(tasks_pipe[0], &m, sizeof(m)) == sizeof(m)) {
        task(&m.x, &m.y, NULL);
        if (write(results_pipe[1], &m, sizeof(m)) != sizeof(m))
            break;
    }
    _exit(0);
}

static int prepare_pipe(const void *argument)
{
    (void)argument;
    if (pipe(tasks_pipe) || pipe(results_pipe))
        return errno;
    for (int i = 0; i < BENCH_PROCESSES; i++) {
        pid_t pid = bench_fork();

        if (pid < 0)
            return errno;
        if (pid == 0) {
            close(tasks_pipe[1]);
            serve_pipe();
        }
    }
    return 0;
}

static int take_results(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct message m;

        if (read(results_pipe[0], &m, sizeof(m)) != sizeof(m))
            return errno;
        if (m.y != m.x * m.x)
            return BENCH_WRONG;
    }
    return 0;
}

static int pipe_round(const void *argument, double *figures)
{
    size_t count = bench_size(TASKS, QUICK_TASKS);
    size_t waiting = 0;
    int err = 0;

    (void)argument;
    double before = bench_now();
    for (size_t i = 0; i < count && !err; i++) {
        struct message m = {.x = item(i)};

        if (write(tasks_pipe[1], &m, sizeof(m)) != sizeof(m))
            return errno;
        waiting++;
        if (waiting == ON_THE_WAY) {
            err = take_results(ON_THE_WAY / 2);
            waiting -= ON_THE_WAY / 2;
        }
    }
    if (!err)
        err = take_results(waiting);
    figures[0] = (double)count / (bench_now() - before);
    return err;
}

struct table {
    _Alignas(64) sem_t there;
    _Alignas(64) sem_t back;
    struct message ball;
};

static struct table *own_table;

static void serve_table(void)
{
    for (;;) {
        while (sem_wait(&own_table->there))
            ;
        square(&own_table->ball.x, &own_table->ball.y, NULL);
        sem_post(&own_table->back);
    }
}

static int prepare_table(const void *argument)
{
    (void)argument;
    own_table = bench_shared(sizeof(*own_table));
    if (!own_table || sem_init(&own_table->there, 1, 0) ||
        sem_init(&own_table->back, 1, 0))
        return errno;
    pid_t pid = bench_fork();
    if (pid == 0)
        serve_table();
    return pid < 0 ? errno : 0;
}

static int trip_over_table(int x, int *y)
{
    own_table->ball.x = x;
    sem_post(&own_table->there);
    while (sem_wait(&own_table->back))
        ;
    *y = own_table->ball.y;
    return 0;
}

static int trip_through_pool(int x, int *y)
{
    return mp_pool_apply(pool, square, &x, sizeof(x), y, sizeof(*y), NULL);
}

struct route {
    int (*trip)(int x, int *y);
    bool sleepy;
};

static size_t trip_count(const struct route *route)
{
    return route->sleepy ? bench_size(SLEEPY_TRIPS, QUICK_SLEEPY_TRIPS)
                         : bench_size(TRIPS, QUICK_TRIPS);
}

static int trip_round(const void *argument, double *figures)
{
    const struct route *route = argument;
    size_t count = trip_count(route);
    double times[TRIPS];

    for (size_t i = 0; i < count; i++) {
        int x = item(i);
        int y = -1;

        if (route->sleepy)
            bench_sleep(NAP);
        double before = bench_now();
        int err = route->trip(x, &y);

        times[i] = bench_now() - before;
        if (err)
            return err;
        if (y != x * x)
            return BENCH_WRONG;
    }
    figures[0] = bench_median(times, count);
    return 0;
}

static const struct route pool_route = {trip_through_pool, false};
static const struct route table_route = {trip_over_table, false};
static const struct route sleepy_pool_route = {trip_through_pool, true};
static const struct route sleepy_table_route = {trip_over_table, true};

static const bench_contestant async[] = {
    {"libmp", prepare_pool, async_round, NULL},
    {"TBB task_group", bench_tbb_prepare, bench_program_round, "apply_async"},
    {"OpenMP task", prepare_openmp, openmp_round, NULL},
    {"bare forks and pipes", prepare_pipe, pipe_round, NULL},
    {"Python apply_async", bench_python_prepare, bench_program_round, "apply_async"},
};
static const bench_row async_rows[] = {
    {"apply_async: tasks a second", "M/s", 0, BENCH_NOBODY, 0, BENCH_AT_LEAST, 1.5},
    {"apply_async: tasks a second", "M/s", 0, 1, 0, BENCH_AT_LEAST, 1},
    {"apply_async: tasks a second", "M/s", 0, 2, 0, BENCH_INFO, 0},
    {"apply_async: tasks a second", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"apply_async: tasks a second", "M/s", 0, 4, 0, BENCH_AT_LEAST, 200},
};

static const bench_contestant peers[] = {
    {"libmp", prepare_pool, async_round, NULL},
    {"Python Executor.submit", bench_python_prepare, bench_program_round,
     "executor.apply_async"},
    {"billiard apply_async", bench_python_prepare, bench_program_round,
     "billiard.apply_async"},
    {"joblib, batches of 1", bench_python_prepare, bench_program_round,
     "joblib.apply_async"},
    {"pebble schedule", bench_python_prepare, bench_program_round,
     "pebble.apply_async"},
    {"Perl MCE, chunks of 1", bench_perl_prepare, bench_program_round, "apply_async"},
};
static const bench_row peers_rows[] = {
    {"apply_async: tasks a second", "M/s", 0, 1, 0, BENCH_INFO, 0},
    {"apply_async: tasks a second", "M/s", 0, 2, 0, BENCH_INFO, 0},
    {"apply_async: tasks a second", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"apply_async: tasks a second", "M/s", 0, 4, 0, BENCH_INFO, 0},
    {"apply_async: tasks a second", "M/s", 0, 5, 0, BENCH_INFO, 0},
};

static const bench_contestant trip[] = {
    {"libmp", prepare_pool, trip_round, &pool_route},
    {"Python apply", bench_python_prepare, bench_program_round, "apply"},
    {"sem_t there and back", prepare_table, trip_round, &table_route},
    {"Python submit, result", bench_python_prepare, bench_program_round,
     "executor.apply"},
    {"billiard apply", bench_python_prepare, bench_program_round, "billiard.apply"},
    {"joblib, one item", bench_python_prepare, bench_program_round, "joblib.apply"},
    {"pebble schedule, result", bench_python_prepare, bench_program_round,
     "pebble.apply"},
    {"Perl MCE process", bench_perl_prepare, bench_program_round, "apply"},
};
static const bench_row trip_rows[] = {
    {"apply: there and back", "us", 0, 1, 0, BENCH_AT_MOST, 0.05},
    {"apply: there and back", "us", 0, 2, 0, BENCH_INFO, 0},
    {"apply: there and back", "us", 0, 3, 0, BENCH_INFO, 0},
    {"apply: there and back", "us", 0, 4, 0, BENCH_INFO, 0},
    {"apply: there and back", "us", 0, 5, 0, BENCH_INFO, 0},
    {"apply: there and back", "us", 0, 6, 0, BENCH_INFO, 0},
    {"apply: there and back", "us", 0, 7, 0, BENCH_INFO, 0},
};

static const bench_contestant sleepy[] = {
    {"libmp", prepare_pool, trip_round, &sleepy_pool_route},
    {"sem_t there and back", prepare_table, trip_round, &sleepy_table_route},
    {"Python apply", bench_python_prepare, bench_program_round, "apply_asleep"},
};
static const bench_row sleepy_rows[] = {
    {"apply: there and back, asleep", "us", 0, 1, 0, BENCH_AT_MOST, 1.2},
    {"apply: there and back, asleep", "us", 0, 2, 0, BENCH_INFO, 0},
};

const bench_contest bench_apply_contests[] = {
    BENCH_CONTEST("apply_async", async, async_rows, 0),
    BENCH_CONTEST("apply_async peers", peers, peers_rows, 7),
    BENCH_CONTEST("apply", trip, trip_rows, 0),
    BENCH_CONTEST("apply asleep", sleepy, sleepy_rows, 0),
    {.name = NULL},
};
