/* SPDX-License-Identifier: MIT */
/*
 * test_worker_kills.c - workers are killed at random moments while maps run.
 *
 * Every map returns, every item that was lost is reported once, all others are right,
 * and nothing is left behind.  `test_worker_kills [kills [seed]]`.
 */
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#define ITEMS   400
#define WORKERS 4
#define MAP_MS  20000

/* Workers write down their pids here, and each item how often it was begun. */
struct ledger {
    _Atomic pid_t running[64];
    _Atomic int started[ITEMS];
};

static struct ledger *ledger;
static unsigned long kills_wanted;
static uint64_t seed;

/* A few microseconds of work, of a length that differs from item to item. */
static int work(const void *arg, void *result, void *context)
{
    (void)context;
    int item = *(const int *)arg;
    pid_t me = getpid();

    atomic_fetch_add(&ledger->started[item], 1);
    atomic_store(&ledger->running[me % 64], me);
    unsigned sum = 0;
    for (int i = 0; i < 2000 + item * 37 % 4000; i++)
        sum = sum * 31 + (unsigned)item;
    *(unsigned *)result = sum;
    return 0;
}

static unsigned expected(int item)
{
    unsigned sum = 0;
    for (int i = 0; i < 2000 + item * 37 % 4000; i++)
        sum = sum * 31 + (unsigned)item;
    return sum;
}

struct killer {
    pthread_t thread;
    _Atomic bool stop;
    _Atomic unsigned long kills;
};

/* Only processes that are below this one are killed, whatever the ledger says. */
static bool is_worker(pid_t pid)
{
    pid_t below[64];
    size_t count = descendants(getpid(), below, 64);

    for (size_t i = 0; i < count; i++)
        if (below[i] == pid)
            return true;
    return false;
}

static void *kill_at_random(void *arg)
{
    struct killer *killer = arg;

    while (!atomic_load(&killer->stop)) {
        long wait = (long)(next_random(&seed) % 3000000) >> (next_random(&seed) % 12);
        nanosleep(&(struct timespec){.tv_nsec = wait}, NULL);
        size_t slot = next_random(&seed) % 64;
        pid_t pid = 0;
        for (size_t i = 0; i < 64 && pid == 0; i++)
            pid = atomic_exchange(&ledger->running[(slot + i) % 64], 0);
        if (pid != 0 && is_worker(pid) && kill(pid, SIGKILL) == 0)
            atomic_fetch_add(&killer->kills, 1);
    }
    return NULL;
}

static int compare_numbers(const int *errors, const unsigned *results)
{
    int lost = 0;

    for (int i = 0; i < ITEMS; i++) {
        if (errors[i] == EOWNERDEAD) {
            lost++;
            assert_true(ledger->started[i] <= 1);
            continue;
        }
        assert_int_equal(errors[i], 0);
        assert_int_equal(ledger->started[i], 1);
        assert_int_equal(results[i], expected(i));
    }
    return lost;
}

/* One map under fire: returns how many items were lost. */
static int map_once(mp_pool *pool, const int *items)
{
    static int errors[ITEMS];
    static unsigned results[ITEMS];
    mp_async_result *result;
    mp_task_failure failure;

    for (int i = 0; i < ITEMS; i++) {
        errors[i] = -1;
        atomic_store(&ledger->started[i], 0);
    }
    assert_int_equal(mp_pool_map_async(pool, work, items, ITEMS, sizeof *items, results,
                                       sizeof *results,
                                       MP_MAP_OPTIONS(.errors = errors), &result),
                     0);
    assert_int_equal(mp_async_result_wait(result, scaled(MAP_MS)), 0);
    int err = mp_async_result_get(result, NULL, 0, MP_NOWAIT);
    assert_int_equal(mp_async_result_failure(result, &failure), 0);
    int lost = compare_numbers(errors, results);
    assert_int_equal(err, lost ? EOWNERDEAD : 0);
    assert_int_equal(failure.error, err);
    if (lost) {
        assert_int_equal(errors[failure.index], EOWNERDEAD);
        assert_int_equal(failure.exitcode, -SIGKILL);
    }
    mp_async_result_free(result);
    return lost;
}

static void test_maps_under_fire(void **state)
{
    (void)state;
    mp_pool *pool;
    struct killer killer = {.stop = false};
    int items[ITEMS];
    unsigned long lost = 0, maps = 0;

    leak_ignore_maps();
    for (int i = 0; i < ITEMS; i++)
        items[i] = i;
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = WORKERS)), 0);
    assert_int_equal(pthread_create(&killer.thread, NULL, kill_at_random, &killer), 0);
    for (; killer.kills < kills_wanted; maps++)
        lost += (unsigned long)map_once(pool, items);
    atomic_store(&killer.stop, true);
    pthread_join(killer.thread, NULL);
    fprintf(stderr, "%lu kills, %lu maps, %lu items lost\n", killer.kills, maps, lost);
    /* A worker runs one item at a time, so no kill costs more than one. */
    assert_true(lost <= killer.kills);
    assert_true(lost > 0);

    /* Peace: everything works as before. */
    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(map_once(pool, items), 0);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, scaled(5000)), 0);
    mp_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest worker_kills[] = {TEST(test_maps_under_fire)};

    kills_wanted = argc > 1                           ? strtoul(argv[1], NULL, 10)
                   : env_number("MP_TEST_NIGHTLY", 0) ? 10000
                                                      : 1000;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20240229;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(worker_kills);
}
