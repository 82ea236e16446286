/* SPDX-License-Identifier: MIT */
/*
 * test_stopped.c - a worker that is stopped holds up what it has, and nobody else.
 *
 * Where it is stopped can't be chosen from outside: what it had written until then is
 * written here in its name.
 */
#include "support/pool_tasks.h"

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#include "pool/hand.h"
#include "sync/park.h"

#define SOON    scaled(5000)
#define WORKERS 3
#define SHARE   8
#define ITEMS   (WORKERS * SHARE)

static struct ledger {
    _Atomic pid_t first[WORKERS]; /* who runs the first item of each share */
    _Atomic int go[WORKERS];      /* that item may end */
    _Atomic int runs[ITEMS];
} * ledger;

/* Each worker waits in the first item of its share. */
static int hold_first(const void *arg, void *result, void *context)
{
    int item = *(const int *)arg, share = item / SHARE;

    guard_child();
    atomic_fetch_add(&ledger->runs[item], 1);
    if (item % SHARE == 0) {
        atomic_store(&ledger->first[share], getpid());
        while (!atomic_load(&ledger->go[share]))
            sleep_us(50);
    }
    return square(arg, result, context);
}

static unsigned place_of(const mp_pool *pool, pid_t pid)
{
    for (unsigned i = 0; i < pool->shared->place_count; i++)
        if (atomic_load(&pool->shared->workers[i].pid) == pid)
            return i;
    fail_msg("no worker is process %d", (int)pid);
    return 0;
}

static bool all_hold(void *arg)
{
    (void)arg;
    for (int i = 0; i < WORKERS; i++)
        if (!atomic_load(&ledger->first[i]))
            return false;
    return true;
}

static bool is_stopped(void *pid)
{
    return process_state(*(pid_t *)pid) == 'T';
}

static void stop(pid_t pid)
{
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_true(eventually(is_stopped, &pid, SOON));
}

struct idler {
    const mp_pool *pool;
    unsigned place;
};

static bool is_idle(void *arg)
{
    const struct idler *idler = arg;
    uint64_t idle = atomic_load(&idler->pool->shared->idle[idler->place / 64]);

    return idle >> idler->place % 64 & 1;
}

static bool all_idle(void *pool)
{
    struct idler idler = {.pool = pool};

    for (idler.place = 0; idler.place < idler.pool->shared->place_count; idler.place++)
        if (!is_idle(&idler))
            return false;
    return true;
}

static struct mp__job *newest_job(const mp_pool *pool)
{
    uint64_t number = atomic_load(&pool->shared->tail) - 1;

    return mp__queue_task(pool->shared, number)->job;
}

/* The thief of share 0 is stopped.  Who has nothing else to take goes to sleep. */
static void test_thief_is_stopped(void **state)
{
    (void)state;
    int items[ITEMS], results[ITEMS];
    mp_pool *pool;
    mp_async_result *map;

    memset(ledger, 0, sizeof *ledger);
    for (int i = 0; i < ITEMS; i++)
        items[i] = i;
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = WORKERS)), 0);
    assert_int_equal(mp_pool_map_async(pool, hold_first, items, ITEMS, sizeof *items,
                                       results, sizeof *results,
                                       MP_MAP_OPTIONS(.chunk_size = 1), &map),
                     0);
    assert_true(eventually(all_hold, NULL, SOON));

    pid_t thief = ledger->first[2];
    struct mp__hand *victim =
        mp__hand_of(newest_job(pool), place_of(pool, ledger->first[0]), MP__OWNED);
    assert_non_null(victim);
    stop(thief);
    atomic_store(&victim->thief, place_of(pool, thief) + 1);

    struct idler other = {.pool = pool, .place = place_of(pool, ledger->first[1])};
    atomic_store(&ledger->go[1], 1);
    assert_true(eventually(is_idle, &other, SOON));
    for (int i = 1; i < SHARE; i++) {
        assert_int_equal(ledger->runs[i], 0);
        assert_int_equal(ledger->runs[SHARE + i], 1);
        assert_int_equal(ledger->runs[2 * SHARE + i], 1);
    }

    atomic_store(&victim->thief, 0);
    kill(thief, SIGCONT);
    atomic_store(&ledger->go[0], 1);
    atomic_store(&ledger->go[2], 1);
    assert_int_equal(mp_async_result_get(map, NULL, 0, SOON), 0);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(results[i], i * i);
        assert_int_equal(ledger->runs[i], 1);
    }
    mp_async_result_free(map);
    mp_pool_free(pool);
}

/* The one that spins for work is stopped.  The other is woken, and so it goes on. */
static void test_spinner_is_stopped(void **state)
{
    (void)state;
    mp_pool *pool;

    mp__slice_factor = 100000;
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    for (unsigned place = 0; place < 2; place++) {
        pid_t pid = atomic_load(&pool->shared->workers[place].pid);
        assert_true(eventually(all_idle, pool, SOON));
        stop(pid);
        mp__queue_idle_clear(pool->shared, place);
        assert_true(mp__queue_spin_begin(pool->shared, place));
        for (int i = 0; i < 20; i++) {
            mp_async_result *result;
            int square_of = 0;
            assert_int_equal(mp_pool_apply_async(pool, square, &i, sizeof i, sizeof i,
                                                 NULL, &result),
                             0);
            assert_int_equal(
                mp_async_result_get(result, &square_of, sizeof square_of, SOON), 0);
            assert_int_equal(square_of, i * i);
            mp_async_result_free(result);
        }
        kill(pid, SIGCONT);
        mp__queue_ring_all(pool->shared);
    }
    mp_pool_free(pool);
    mp__slice_factor = 1;
}

/* The one that is woken for work is stopped: the supervisor sees that it was not done. */
static void test_woken_worker_is_stopped(void **state)
{
    (void)state;
    mp_pool *pool;
    mp_async_result *result;
    int item = 7, square_of = 0;

    mp__slice_factor = 100000;
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    assert_true(eventually(all_idle, pool, SOON));
    pid_t first = atomic_load(&pool->shared->workers[0].pid);
    stop(first);
    assert_int_equal(mp_pool_apply_async(pool, square, &item, sizeof item, sizeof item,
                                         NULL, &result),
                     0);
    assert_int_equal(mp_async_result_get(result, &square_of, sizeof square_of, SOON), 0);
    assert_int_equal(square_of, item * item);
    mp_async_result_free(result);
    kill(first, SIGCONT);
    mp_pool_free(pool);
    mp__slice_factor = 1;
}

int main(void)
{
    static const struct CMUnitTest stopped[] = {
        TEST(test_thief_is_stopped),
        TEST(test_spinner_is_stopped),
        TEST(test_woken_worker_is_stopped),
    };

    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(stopped);
}
