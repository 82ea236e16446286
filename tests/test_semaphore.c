/* SPDX-License-Identifier: MIT */
/* test_semaphore.c - semaphores between processes. */
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#define OWNED            MP_SEMAPHORE_OPTIONS(.owned = 1)
#define OWNED_UP_TO(max) MP_SEMAPHORE_OPTIONS(.owned = 1, .max_value = (max))

/* What the processes of a test share. */
struct table {
    mp_semaphore *places;
    mp_semaphore *free, *filled; /* of a producer and a consumer */
    int wanted;
    _Atomic int inside, most, ready, got, told, overflows;
    _Atomic long moment_us;
};

static struct table *open_table(unsigned value, const mp_semaphore_options *options)
{
    struct table *table = mp_shared_alloc(sizeof *table);

    assert_non_null(table);
    assert_int_equal(mp_semaphore_new(&table->places, value, options), 0);
    return table;
}

static void close_table(struct table *table)
{
    mp_semaphore_free(table->places);
    mp_semaphore_free(table->free);
    mp_semaphore_free(table->filled);
    mp_shared_free(table);
}

static void count_down_and_up(mp_semaphore *semaphore, unsigned value)
{
    for (unsigned left = value; left > 0; left--) {
        assert_int_equal(mp_semaphore_value(semaphore), left);
        assert_false(mp_semaphore_locked(semaphore));
        assert_int_equal(
            mp_semaphore_acquire(semaphore, left % 2 ? MP_NOWAIT : MP_FOREVER), 0);
    }
    assert_int_equal(mp_semaphore_value(semaphore), 0);
    assert_true(mp_semaphore_locked(semaphore));
    assert_int_equal(mp_semaphore_acquire(semaphore, MP_NOWAIT), ETIMEDOUT);
    for (unsigned left = 0; left < value; left++) {
        assert_int_equal(mp_semaphore_value(semaphore), left);
        assert_int_equal(mp_semaphore_release(semaphore), 0);
    }
    assert_int_equal(mp_semaphore_value(semaphore), value);
}

static void test_counts(void **state)
{
    (void)state;
    mp_semaphore *semaphore;

    for (unsigned value = 0; value < 20; value++) {
        assert_int_equal(mp_semaphore_new(&semaphore, value, NULL), 0);
        assert_true(mp_shared_contains(semaphore));
        count_down_and_up(semaphore, value);
        count_down_and_up(semaphore, value);
        /* More than there were at first. */
        assert_int_equal(mp_semaphore_release(semaphore), 0);
        assert_int_equal(mp_semaphore_value(semaphore), value + 1);
        mp_semaphore_free(semaphore);
    }
}

static void test_bounded(void **state)
{
    (void)state;
    mp_semaphore *semaphore;

    assert_int_equal(
        mp_semaphore_new(&semaphore, 2, MP_SEMAPHORE_OPTIONS(.max_value = 2)), 0);
    count_down_and_up(semaphore, 2);
    assert_int_equal(mp_semaphore_release(semaphore), EOVERFLOW);
    assert_int_equal(mp_semaphore_value(semaphore), 2);
    mp_semaphore_free(semaphore);

    assert_int_equal(
        mp_semaphore_new(&semaphore, 1, MP_SEMAPHORE_OPTIONS(.max_value = 3)), 0);
    assert_int_equal(mp_semaphore_release(semaphore), 0);
    assert_int_equal(mp_semaphore_release(semaphore), 0);
    assert_int_equal(mp_semaphore_release(semaphore), EOVERFLOW);
    mp_semaphore_free(semaphore);
}

static void test_largest(void **state)
{
    (void)state;
    mp_semaphore *semaphore;

    assert_int_equal(mp_semaphore_new(&semaphore, INT32_MAX, NULL), 0);
    assert_int_equal(mp_semaphore_value(semaphore), INT32_MAX);
    assert_int_equal(mp_semaphore_release(semaphore), EOVERFLOW);
    assert_int_equal(mp_semaphore_acquire(semaphore, MP_NOWAIT), 0);
    assert_int_equal(mp_semaphore_release(semaphore), 0);
    assert_int_equal(mp_semaphore_release(semaphore), EOVERFLOW);
    mp_semaphore_free(semaphore);

    assert_int_equal(mp_semaphore_new(&semaphore, 65535, OWNED), 0);
    assert_int_equal(mp_semaphore_value(semaphore), 65535);
    for (int i = 0; i < 65535; i++)
        assert_int_equal(mp_semaphore_acquire(semaphore, MP_NOWAIT), 0);
    assert_int_equal(mp_semaphore_acquire(semaphore, MP_NOWAIT), ETIMEDOUT);
    assert_int_equal(mp_semaphore_release(semaphore), 0);
    assert_int_equal(mp_semaphore_value(semaphore), 1);
    mp_semaphore_free(semaphore);
}

static void test_bad_values(void **state)
{
    (void)state;
    mp_semaphore *made = NULL;
    struct {
        mp_semaphore_options options;
        size_t newer;
    } newer = {{.struct_size = sizeof newer}, 1};

    assert_int_equal(mp_semaphore_new(NULL, 1, NULL), EINVAL);
    assert_int_equal(mp_semaphore_new(&made, 1, &newer.options), EINVAL);
    assert_int_equal(mp_semaphore_new(&made, (unsigned)INT32_MAX + 1, NULL), EINVAL);
    assert_int_equal(mp_semaphore_new(&made, (unsigned)-1, NULL), EINVAL);
    assert_int_equal(mp_semaphore_new(&made, 3, MP_SEMAPHORE_OPTIONS(.max_value = 2)),
                     EINVAL);
    assert_int_equal(
        mp_semaphore_new(&made, 3, MP_SEMAPHORE_OPTIONS(.max_value = 0x80000000u)),
        EINVAL);
    assert_int_equal(mp_semaphore_new(&made, 0, OWNED), EINVAL);
    assert_int_equal(mp_semaphore_new(&made, 65536, OWNED), EINVAL);
    assert_int_equal(mp_semaphore_new(&made, 2, OWNED_UP_TO(3)), EINVAL);
    assert_int_equal(mp_semaphore_new(&made, 2, OWNED_UP_TO(1)), EINVAL);
    assert_null(made);
    assert_int_equal(mp_semaphore_new(&made, 2, OWNED_UP_TO(2)), 0);
    mp_semaphore_free(made);
}

static void test_bad_calls(void **state)
{
    (void)state;
    mp_semaphore *semaphore;

    assert_int_equal(mp_semaphore_acquire(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_semaphore_release(NULL), EINVAL);
    assert_int_equal(mp_semaphore_value(NULL), 0);
    assert_false(mp_semaphore_locked(NULL));
    mp_semaphore_free(NULL);
    for (int owned = 0; owned < 2; owned++) {
        assert_int_equal(
            mp_semaphore_new(&semaphore, 1, MP_SEMAPHORE_OPTIONS(.owned = owned)), 0);
        assert_int_equal(mp_semaphore_acquire(semaphore, -2), EINVAL);
        assert_int_equal(mp_semaphore_acquire(semaphore, INT32_MIN), EINVAL);
        assert_int_equal(mp_semaphore_value(semaphore), 1);
        mp_semaphore_free(semaphore);
    }
}

static void test_in_time(void **state)
{
    (void)state;
    mp_semaphore *semaphore;

    for (int owned = 0; owned < 2; owned++) {
        assert_int_equal(
            mp_semaphore_new(&semaphore, 1, MP_SEMAPHORE_OPTIONS(.owned = owned)), 0);
        assert_int_equal(mp_semaphore_acquire(semaphore, MP_NOWAIT), 0);
        int64_t start = now_ms();
        assert_int_equal(mp_semaphore_acquire(semaphore, 150), ETIMEDOUT);
        assert_true(now_ms() - start >= 149);
        assert_true(now_ms() - start < scaled(1000));
        /* What a waiter left behind who gave up disturbs nothing. */
        for (int i = 0; i < 3; i++) {
            assert_int_equal(mp_semaphore_release(semaphore), 0);
            assert_int_equal(mp_semaphore_value(semaphore), 1);
            assert_int_equal(mp_semaphore_acquire(semaphore, MP_NOWAIT), 0);
        }
        mp_semaphore_free(semaphore);
    }
}

static int sit_down_often(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < 5000; i++) {
        assert_int_equal(mp_semaphore_acquire(table->places, MP_FOREVER), 0);
        int now = atomic_fetch_add(&table->inside, 1) + 1;
        int most = atomic_load(&table->most);
        while (now > most && !atomic_compare_exchange_weak(&table->most, &most, now))
            continue;
        atomic_fetch_sub(&table->inside, 1);
        assert_int_equal(mp_semaphore_release(table->places), 0);
    }
    return 0;
}

static void test_never_more(void **state)
{
    (void)state;

    for (int owned = 0; owned < 2; owned++)
        for (unsigned value = 1; value <= 3; value++) {
            struct table *table = open_table(
                value, MP_SEMAPHORE_OPTIONS(.owned = owned, .max_value = value));
            pid_t pids[5];

            for (int i = 0; i < 5; i++)
                pids[i] = child_start(sit_down_often, table);
            for (int i = 0; i < 5; i++)
                assert_int_equal(child_wait(pids[i], 20000), 0);
            assert_in_range(table->most, 1, value);
            assert_int_equal(mp_semaphore_value(table->places), value);
            close_table(table);
        }
}

static void *sit_down_in_thread(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < 5000; i++) {
        if (mp_semaphore_acquire(table->places, MP_FOREVER) != 0)
            return table;
        if (atomic_fetch_add(&table->inside, 1) >= 2)
            return table;
        atomic_fetch_sub(&table->inside, 1);
        if (mp_semaphore_release(table->places) != 0)
            return table;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;

    leak_ignore_maps();
    for (int owned = 0; owned < 2; owned++) {
        struct table *table = open_table(2, MP_SEMAPHORE_OPTIONS(.owned = owned));
        pthread_t threads[4];
        void *failed;

        for (int i = 0; i < 4; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, sit_down_in_thread, table), 0);
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], &failed);
            assert_null(failed);
        }
        assert_int_equal(mp_semaphore_value(table->places), 2);
        close_table(table);
    }
}

enum { ITEMS = 20000 };

static int consume(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(mp_semaphore_acquire(table->filled, scaled(20000)), 0);
        assert_in_range(atomic_fetch_sub(&table->inside, 1), 1, 4);
        assert_int_equal(mp_semaphore_release(table->free), 0);
    }
    return 0;
}

/* Those who release have not acquired. */
static void test_producer_and_consumer(void **state)
{
    (void)state;
    struct table *table = open_table(0, NULL);

    assert_int_equal(mp_semaphore_new(&table->free, 4, NULL), 0);
    assert_int_equal(mp_semaphore_new(&table->filled, 0, NULL), 0);
    pid_t pid = child_start(consume, table);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(mp_semaphore_acquire(table->free, scaled(20000)), 0);
        atomic_fetch_add(&table->inside, 1);
        assert_int_equal(mp_semaphore_release(table->filled), 0);
    }
    assert_int_equal(child_wait(pid, 20000), 0);
    assert_int_equal(mp_semaphore_value(table->free), 4);
    assert_int_equal(mp_semaphore_value(table->filled), 0);
    close_table(table);
}

static int release_many(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < 3000; i++)
        if (mp_semaphore_release(table->places) == EOVERFLOW)
            atomic_fetch_add(&table->overflows, 1);
    return 0;
}

/* Python's check of the limit is a race. */
static void test_limit_is_exact(void **state)
{
    (void)state;
    struct table *table = open_table(0, MP_SEMAPHORE_OPTIONS(.max_value = 7000));
    pid_t pids[3];

    for (int i = 0; i < 3; i++)
        pids[i] = child_start(release_many, table);
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(pids[i], 10000), 0);
    assert_int_equal(mp_semaphore_value(table->places), 7000);
    assert_int_equal(table->overflows, 2000);
    close_table(table);
}

static int take_one(void *arg)
{
    struct table *table = arg;
    int err = mp_semaphore_acquire(table->places, scaled(20000));

    if (err == EOWNERDEAD)
        atomic_fetch_add(&table->told, 1);
    else if (err)
        return 1;
    atomic_fetch_add(&table->got, 1);
    return 0;
}

static int take_one_and_return_it(void *arg)
{
    struct table *table = arg;
    return take_one(table) ? 1 : mp_semaphore_release(table->places);
}

static bool all_got(void *arg)
{
    struct table *table = arg;
    return table->got == table->wanted;
}

enum { CROWD = 200 };

/* As many get through as there are tokens released, and not one more. */
static void test_crowd(void **state)
{
    (void)state;
    struct table *table = open_table(0, NULL);
    pid_t pids[CROWD];

    for (int i = 0; i < CROWD; i++)
        pids[i] = child_start(take_one, table);
    for (int i = 0; i < CROWD; i++)
        assert_true(process_sleeps(pids[i], 5000));
    /* So long that none of them will look again for seconds if it is not woken. */
    usleep(150000);
    int64_t start = now_ms();
    for (table->wanted = 1; table->wanted <= 10; table->wanted++) {
        assert_int_equal(mp_semaphore_release(table->places), 0);
        assert_true(eventually(all_got, table, 5000));
    }
    for (table->wanted = 10; table->wanted < CROWD; table->wanted++)
        assert_int_equal(mp_semaphore_release(table->places), 0);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(child_wait(pids[i], 10000), 0);
    assert_true(now_ms() - start < scaled(3000));
    assert_int_equal(table->got, CROWD);
    assert_int_equal(mp_semaphore_value(table->places), 0);
    close_table(table);
}

/* The same with owned tokens, which are passed on from each to the next. */
static void test_crowd_of_owners(void **state)
{
    (void)state;
    struct table *table = open_table(2, OWNED);
    pid_t pids[CROWD];

    assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), 0);
    assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), 0);
    for (int i = 0; i < CROWD; i++)
        pids[i] = child_start(take_one_and_return_it, table);
    for (int i = 0; i < CROWD; i++)
        assert_true(process_sleeps(pids[i], 5000));
    assert_int_equal(mp_semaphore_release(table->places), 0);
    assert_int_equal(mp_semaphore_release(table->places), 0);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(child_wait(pids[i], 10000), 0);
    assert_int_equal(table->got, CROWD);
    assert_int_equal(table->told, 0);
    assert_int_equal(mp_semaphore_value(table->places), 2);
    close_table(table);
}

static void test_waiter_is_killed(void **state)
{
    (void)state;

    for (int owned = 0; owned < 2; owned++) {
        struct table *table = open_table(1, MP_SEMAPHORE_OPTIONS(.owned = owned));
        pid_t pids[4];

        assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), 0);
        for (int i = 0; i < 4; i++) {
            pids[i] = child_start(take_one_and_return_it, table);
            assert_true(process_sleeps(pids[i], 5000));
        }
        for (int i = 0; i < 4; i += 2) {
            kill(pids[i], SIGKILL);
            assert_int_equal(child_wait(pids[i], 5000), -SIGKILL);
        }
        assert_int_equal(mp_semaphore_release(table->places), 0);
        for (int i = 1; i < 4; i += 2)
            assert_int_equal(child_wait(pids[i], 5000), 0);
        assert_int_equal(table->got, 2);
        assert_int_equal(mp_semaphore_value(table->places), 1);
        close_table(table);
    }
}

static int hold_until_killed(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < table->wanted; i++)
        if (mp_semaphore_acquire(table->places, MP_FOREVER) != 0)
            return 1;
    atomic_store(&table->ready, 1);
    for (;;)
        pause();
    return 0;
}

static bool is_ready(void *arg)
{
    return ((struct table *)arg)->ready != 0;
}

static pid_t start_owner(struct table *table, int tokens)
{
    table->ready = 0;
    table->wanted = tokens;
    pid_t pid = child_start(hold_until_killed, table);
    assert_true(eventually(is_ready, table, 5000));
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
}

/* It was reaped by the host, not by libmp; each token is told once. */
static void test_owner_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table(3, OWNED);

    for (int round = 0; round < 20; round++) {
        pid_t pid = start_owner(table, 2);
        assert_int_equal(mp_semaphore_value(table->places), 1);
        end_child(pid);
        assert_int_equal(mp_semaphore_value(table->places), 3);
        assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), 0);
        assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), EOWNERDEAD);
        assert_int_equal(mp_semaphore_acquire(table->places, scaled(2000)), EOWNERDEAD);
        assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), ETIMEDOUT);
        for (int i = 0; i < 3; i++)
            assert_int_equal(mp_semaphore_release(table->places), 0);
        assert_int_equal(mp_semaphore_release(table->places), EPERM);
    }
    close_table(table);
}

static void test_sleepers_when_owner_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table(2, OWNED);
    pid_t first = start_owner(table, 1), second = start_owner(table, 1), waiters[6];

    for (int i = 0; i < 6; i++) {
        waiters[i] = child_start(take_one_and_return_it, table);
        assert_true(process_sleeps(waiters[i], 5000));
    }
    int64_t start = now_ms();
    end_child(second);
    for (int i = 0; i < 6; i++)
        assert_int_equal(child_wait(waiters[i], 10000), 0);
    assert_true(now_ms() - start < scaled(1000));
    assert_int_equal(table->told, 1); /* one of them was told, and only one */
    assert_int_equal(mp_semaphore_value(table->places), 1);
    end_child(first);
    close_table(table);
}

static void test_stopped_owner_is_alive(void **state)
{
    (void)state;
    struct table *table = open_table(1, OWNED);
    pid_t pid = start_owner(table, 1);

    kill(pid, SIGSTOP);
    assert_int_equal(mp_semaphore_acquire(table->places, 400), ETIMEDOUT);
    assert_true(mp_semaphore_locked(table->places));
    end_child(pid);
    assert_false(mp_semaphore_locked(table->places));
    assert_int_equal(mp_semaphore_acquire(table->places, scaled(2000)), EOWNERDEAD);
    assert_int_equal(mp_semaphore_release(table->places), 0);
    close_table(table);
}

/* By contract: an anonymous token that its taker dies with does not come back. */
static void test_anonymous_token_is_gone(void **state)
{
    (void)state;
    struct table *table = open_table(2, NULL);

    assert_int_equal(child_run(take_one, table), 0);
    assert_int_equal(mp_semaphore_value(table->places), 1);
    assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), 0);
    assert_int_equal(mp_semaphore_acquire(table->places, 100), ETIMEDOUT);
    close_table(table);
}

static int release_once(void *arg)
{
    return mp_semaphore_release(((struct table *)arg)->places);
}

static void test_not_yours(void **state)
{
    (void)state;
    struct table *table = open_table(2, OWNED);

    assert_int_equal(mp_semaphore_release(table->places), EPERM);
    assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), 0);
    /* A child is a process of its own, and not its parent's twin. */
    assert_int_equal(child_run(release_once, table), EPERM);
    assert_int_equal(mp_semaphore_value(table->places), 1);
    assert_int_equal(child_run(take_one_and_return_it, table), 0);
    assert_int_equal(mp_semaphore_value(table->places), 1);
    assert_int_equal(mp_semaphore_release(table->places), 0);
    assert_int_equal(mp_semaphore_release(table->places), EPERM);
    close_table(table);
}

/* Whoever has taken a token may release one, whatever other threads do meanwhile. */
static void *juggle(void *arg)
{
    struct table *table = arg;

    for (int i = 0; i < 20000; i++)
        if (mp_semaphore_acquire(table->places, MP_FOREVER) != 0 ||
            mp_semaphore_release(table->places) != 0)
            return table;
    return NULL;
}

static void test_threads_share_tokens(void **state)
{
    (void)state;
    struct table *table = open_table(5, OWNED);
    pthread_t threads[3];
    void *failed;

    leak_ignore_maps();
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, juggle, table), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(mp_semaphore_value(table->places), 5);
    close_table(table);
}

/* Owners are killed at random while they come and go: all tokens come back. */
static int come_and_go(void *arg)
{
    struct table *table = arg;

    for (;;) {
        int err = mp_semaphore_acquire(table->places, MP_FOREVER);
        if (err == EOWNERDEAD)
            atomic_fetch_add(&table->told, 1);
        else if (err)
            return 1;
        if (mp_semaphore_release(table->places) != 0)
            return 2;
    }
}

static void test_owners_come_and_die(void **state)
{
    (void)state;
    struct table *table = open_table(2, OWNED);
    pid_t pids[4];
    int kills = 0;

    for (int i = 0; i < 4; i++)
        pids[i] = child_start(come_and_go, table);
    for (int64_t end = now_ms() + 1000; now_ms() < end; kills++) {
        usleep(2000);
        end_child(pids[kills % 4]);
        pids[kills % 4] = child_start(come_and_go, table);
    }
    for (int i = 0; i < 4; i++)
        end_child(pids[i]);
    assert_true(table->told <= kills);
    assert_int_equal(mp_semaphore_value(table->places), 2);
    for (int i = 0; i < 2; i++) {
        int err = mp_semaphore_acquire(table->places, MP_NOWAIT);
        assert_true(err == 0 || err == EOWNERDEAD);
    }
    assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), ETIMEDOUT);
    close_table(table);
}

static struct table *in_handler;
static volatile sig_atomic_t handler_result;

static void release_in_handler(int signal_number)
{
    (void)signal_number;
    errno = 4711;
    handler_result = mp_semaphore_release(in_handler->places);
    if (errno != 4711)
        handler_result = -2;
}

/* The process that waits is interrupted, and its own handler gives it the token. */
static void test_release_in_signal_handler(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = release_in_handler}, old;
    struct itimerval soon = {{0, 0}, {0, 30000}};

    in_handler = open_table(0, NULL);
    sigaction(SIGALRM, &action, &old);
    for (int i = 0; i < 5; i++) {
        handler_result = -1;
        setitimer(ITIMER_REAL, &soon, NULL);
        assert_int_equal(mp_semaphore_acquire(in_handler->places, scaled(10000)), 0);
        assert_int_equal(handler_result, 0);
    }
    assert_int_equal(mp_semaphore_value(in_handler->places), 0);
    sigaction(SIGALRM, &old, NULL);
    close_table(in_handler);
}

/* A child that is no member yet wakes a sleeper from a handler. */
static int release_in_handler_of_stranger(void *arg)
{
    in_handler = arg;
    signal(SIGUSR1, release_in_handler);
    raise(SIGUSR1);
    return handler_result;
}

static void test_stranger_releases_in_handler(void **state)
{
    (void)state;
    struct table *table = open_table(0, NULL);
    pid_t waiter = child_start(take_one, table);

    assert_true(process_sleeps(waiter, 5000));
    assert_int_equal(child_run(release_in_handler_of_stranger, table), 0);
    assert_int_equal(child_wait(waiter, 5000), 0);
    close_table(table);
}

static void test_sleeping_costs_no_time(void **state)
{
    (void)state;

    for (int owned = 0; owned < 2; owned++) {
        struct table *table = open_table(1, MP_SEMAPHORE_OPTIONS(.owned = owned));
        struct rusage before, after;

        assert_int_equal(mp_semaphore_acquire(table->places, MP_NOWAIT), 0);
        getrusage(RUSAGE_SELF, &before);
        assert_int_equal(mp_semaphore_acquire(table->places, 600), ETIMEDOUT);
        getrusage(RUSAGE_SELF, &after);
        long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
                  after.ru_utime.tv_usec - before.ru_utime.tv_usec;
        assert_true(us < 50000);
        close_table(table);
    }
}

/* A token is handed on by a wake, and not when the sleeper happens to look. */
static int note_moment(void *arg)
{
    struct table *table = arg;
    struct timespec now;

    if (mp_semaphore_acquire(table->places, MP_FOREVER) != 0)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &now);
    table->moment_us = now.tv_sec * 1000000 + now.tv_nsec / 1000;
    return mp_semaphore_release(table->places);
}

static long wake_latency_us(struct table *table)
{
    struct timespec now;

    assert_int_equal(mp_semaphore_acquire(table->places, MP_FOREVER), 0);
    pid_t pid = child_start(note_moment, table);
    assert_true(process_sleeps(pid, 5000));
    clock_gettime(CLOCK_MONOTONIC, &now);
    assert_int_equal(mp_semaphore_release(table->places), 0);
    assert_int_equal(child_wait(pid, 5000), 0);
    return table->moment_us - (now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

static void test_release_wakes(void **state)
{
    (void)state;

    for (int owned = 0; owned < 2; owned++) {
        struct table *table = open_table(1, MP_SEMAPHORE_OPTIONS(.owned = owned));
        long best = wake_latency_us(table);

        /* The best of some, for the machine may be busy with other things. */
        for (int i = 0; i < 9; i++) {
            long latency = wake_latency_us(table);
            best = latency < best ? latency : best;
        }
        assert_true(best < 5000);
        close_table(table);
    }
}

int main(void)
{
    static const struct CMUnitTest semaphore_tests[] = {
        TEST(test_counts),
        TEST(test_bounded),
        TEST(test_largest),
        TEST(test_bad_values),
        TEST(test_bad_calls),
        TEST(test_in_time),
        TEST(test_never_more),
        TEST(test_threads),
        TEST(test_producer_and_consumer),
        TEST(test_limit_is_exact),
        TEST(test_crowd),
        TEST(test_crowd_of_owners),
        TEST(test_waiter_is_killed),
        TEST(test_owner_is_killed),
        TEST(test_sleepers_when_owner_is_killed),
        TEST(test_stopped_owner_is_alive),
        TEST(test_anonymous_token_is_gone),
        TEST(test_not_yours),
        TEST(test_threads_share_tokens),
        TEST(test_owners_come_and_die),
        TEST(test_release_in_signal_handler),
        TEST(test_stranger_releases_in_handler),
        TEST(test_sleeping_costs_no_time),
        TEST(test_release_wakes),
    };
    return TEST_MAIN(semaphore_tests);
}
