/* SPDX-License-Identifier: MIT */
/*
 * bench_death.c - what it costs when workers die, and how long it takes to end those
 * that do not want to.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { ITEMS = 1000000, QUICK_ITEMS = 1000, CROWD = 64, QUICK_CROWD = 4 };

/* The item that kills whoever runs it; no other one is 0. */
enum { DOOM = 0 };

static mp_pool *pool;
static uint32_t *own_items;
static uint32_t *own_results;
static int *own_errors;

/* Some hundred nanoseconds of work. */
static uint32_t stir(uint32_t x)
{
    for (int i = 0; i < 100; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    return x;
}

static int stir_or_die(const void *arg, void *result, void *context)
{
    uint32_t x = *(const uint32_t *)arg;

    (void)context;
    if (x == DOOM)
        kill(getpid(), SIGKILL);
    *(uint32_t *)result = stir(x);
    return 0;
}

static uint32_t item(size_t index)
{
    return (uint32_t)index + 1;
}

static int prepare_items(const void *argument)
{
    (void)argument;
    own_items = mp_shared_alloc(ITEMS * sizeof(*own_items));
    own_results = mp_shared_alloc(ITEMS * sizeof(*own_results));
    own_errors = calloc(ITEMS, sizeof(*own_errors));
    if (!own_items || !own_results || !own_errors)
        return ENOMEM;
    for (size_t i = 0; i < ITEMS; i++)
        own_items[i] = item(i);
    return mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = BENCH_PROCESSES));
}

/* Every item but the doomed one, if there is one, must have its result. */
static int look_through(size_t count, size_t doomed)
{
    for (size_t i = 0; i < count; i++) {
        int expected = i == doomed ? EOWNERDEAD : 0;

        if (own_errors[i] != expected)
            return BENCH_WRONG;
        if (!expected && own_results[i] != stir(own_items[i]))
            return BENCH_WRONG;
    }
    return 0;
}

/* A `doomed` of `count` dooms nobody. */
static int map_once(size_t count, size_t doomed, double *elapsed)
{
    int expected = doomed < count ? EOWNERDEAD : 0;

    if (expected)
        own_items[doomed] = DOOM;
    memset(own_results, 0, count * sizeof(*own_results));
    double before = bench_now();
    int err = mp_pool_map(pool, stir_or_die, own_items, count, sizeof(*own_items),
                          own_results, sizeof(*own_results),
                          MP_MAP_OPTIONS(.errors = own_errors));
    *elapsed = bench_now() - before;
    if (expected)
        own_items[doomed] = item(doomed);
    if (err != expected)
        return err ? err : BENCH_WRONG;
    return look_through(count, doomed);
}

/* Figure 0 is seconds of the map in which a worker dies, figure 1 what it took longer.
 */
static int killed_round(const void *argument, double *figures)
{
    size_t count = bench_size(ITEMS, QUICK_ITEMS);
    double calm = 0;

    (void)argument;
    int err = map_once(count, count, &calm);
    if (!err)
        err = map_once(count, count / 2, &figures[0]);
    figures[1] = figures[0] - calm;
    return err;
}

static int calm_round(const void *argument, double *figures)
{
    size_t count = bench_size(ITEMS, QUICK_ITEMS);
    double first;

    (void)argument;
    int err = map_once(count, count, &first);
    return err ? err : map_once(count, count, &figures[0]);
}

/* Where those who shall be ended say that they have begun. */
static atomic_size_t *own_begun;

/* Every other one is stopped, and the rest computes. */
static void refuse_to_end(size_t index)
{
    atomic_fetch_add(own_begun, 1);
    if (index % 2)
        raise(SIGSTOP);
    while (atomic_load(own_begun) > 0)
        ;
}

static int be_difficult(const void *arg, void *result, void *context)
{
    (void)result, (void)context;
    refuse_to_end(*(const size_t *)arg);
    return 0;
}

static int prepare_crowd(const void *argument)
{
    (void)argument;
    own_begun = bench_shared(sizeof(*own_begun));
    return own_begun ? 0 : ENOMEM;
}

static void wait_for_crowd(size_t count)
{
    while (atomic_load(own_begun) < count)
        bench_sleep(0.001);
}

static int terminate_crowd(mp_pool *crowd, mp_async_result **results, size_t count,
                           double *elapsed)
{
    double before = bench_now();
    int err = mp_pool_terminate(crowd);
    if (!err)
        err = mp_pool_join(crowd, MP_FOREVER);
    *elapsed = bench_now() - before;
    for (size_t i = 0; i < count; i++) {
        int fate = mp_async_result_get(results[i], NULL, 0, MP_NOWAIT);

        if (!err && fate != ECANCELED)
            err = BENCH_WRONG;
        mp_async_result_free(results[i]);
    }
    return err;
}

static int terminate_round(const void *argument, double *figures)
{
    size_t count = bench_size(CROWD, QUICK_CROWD);
    mp_async_result *results[CROWD] = {NULL};
    mp_pool *crowd;

    (void)argument;
    atomic_store(own_begun, 0);
    int err = mp_pool_new(&crowd, MP_POOL_OPTIONS(.processes = (unsigned)count));
    if (err)
        return err;
    for (size_t i = 0; i < count && !err; i++)
        err = mp_pool_apply_async(crowd, be_difficult, &i, sizeof(i), 0, NULL,
                                  &results[i]);
    if (!err) {
        wait_for_crowd(count);
        err = terminate_crowd(crowd, results, count, &figures[0]);
    }
    mp_pool_free(crowd);
    return err;
}

/* Without a SIGTERM to begin with, which is more than the pool may do. */
static int kill_round(const void *argument, double *figures)
{
    size_t count = bench_size(CROWD, QUICK_CROWD);
    pid_t self = getpid();
    pid_t pids[CROWD];

    (void)argument;
    atomic_store(own_begun, 0);
    for (size_t i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            return errno;
        if (pids[i] == 0) {
            bench_end_with(self);
            refuse_to_end(i);
            _exit(0);
        }
    }
    wait_for_crowd(count);
    double before = bench_now();
    for (size_t i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    for (size_t i = 0; i < count; i++)
        waitpid(pids[i], NULL, 0);
    figures[0] = bench_now() - before;
    return 0;
}

static const bench_contestant deaths[] = {
    {"libmp", prepare_items, killed_round, NULL},
    {"libmp, nobody killed", prepare_items, calm_round, NULL},
};
static const bench_row death_rows[] = {
    {"map of 10^6 items, a worker killed", "ms", 0, 1, 0, BENCH_INFO, 0},
    {"map of 10^6 items, delay by the kill", "ms", 0, BENCH_NOBODY, 1, BENCH_AT_MOST,
     100},
};

static const bench_contestant ends[] = {
    {"libmp", prepare_crowd, terminate_round, NULL},
    {"bare forks, SIGKILL, wait", prepare_crowd, kill_round, NULL},
};
static const bench_row end_rows[] = {
    {"terminate: 64 busy, half stopped", "ms", 0, BENCH_NOBODY, 0, BENCH_AT_MOST, 1000},
    {"terminate: 64 busy, half stopped", "ms", 0, 1, 0, BENCH_INFO, 0},
};

const bench_contest bench_death_contests[] = {
    BENCH_CONTEST("pool death", deaths, death_rows, 0),
    BENCH_CONTEST("pool terminate", ends, end_rows, 7),
    {.name = NULL},
};
