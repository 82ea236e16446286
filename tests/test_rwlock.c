/* SPDX-License-Identifier: MIT */
/* test_rwlock.c - locks for many readers or one writer. */
#include "support/test.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

typedef int acquire_fn(mp_rwlock *lock, int timeout_ms);

/* What the processes of a test share. */
struct table {
    mp_rwlock *lock;
    long left, right; /* guarded by the lock: always equal */
    _Atomic int writing, reading, most_reading;
    _Atomic int ready, go, told, passed, failed;
    _Atomic long moment;
};

static struct table *open_table(void)
{
    struct table *table = mp_shared_alloc(sizeof *table);

    assert_non_null(table);
    assert_int_equal(mp_rwlock_new(&table->lock, NULL), 0);
    return table;
}

static void close_table(struct table *table)
{
    mp_rwlock_free(table->lock);
    mp_shared_free(table);
}

static bool try_and_release(mp_rwlock *lock, acquire_fn *acquire, int timeout_ms)
{
    int err = acquire(lock, timeout_ms);
    if (err == 0)
        assert_int_equal(mp_rwlock_release(lock), 0);
    else
        assert_int_equal(err, ETIMEDOUT);
    return err == 0;
}

static int get_read(void *arg)
{
    struct table *table = arg;
    return !try_and_release(table->lock, mp_rwlock_acquire_read, MP_NOWAIT);
}

static int get_write(void *arg)
{
    struct table *table = arg;
    return !try_and_release(table->lock, mp_rwlock_acquire_write, MP_NOWAIT);
}

/* Whether another process could read, or write, at this moment. */
static bool others_read(struct table *table)
{
    return child_run(get_read, table) == 0;
}

static bool others_write(struct table *table)
{
    return child_run(get_write, table) == 0;
}

/* Nobody holds it, and nothing is left to be told. */
static void assert_free(struct table *table)
{
    assert_int_equal(mp_rwlock_release(table->lock), EPERM);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_NOWAIT), 0);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_NOWAIT), 0);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
}

/* --- alone ------------------------------------------------------------------------ */

static void test_acquire_and_release(void **state)
{
    (void)state;
    mp_rwlock *lock;

    assert_int_equal(mp_rwlock_new(&lock, NULL), 0);
    assert_true(mp_shared_contains(lock));
    for (int i = 0; i < 1000; i++) {
        int timeout_ms = i % 2 ? MP_FOREVER : MP_NOWAIT;
        assert_int_equal(mp_rwlock_acquire_read(lock, timeout_ms), 0);
        assert_int_equal(mp_rwlock_release(lock), 0);
        assert_int_equal(mp_rwlock_acquire_write(lock, timeout_ms), 0);
        assert_int_equal(mp_rwlock_release(lock), 0);
    }
    assert_int_equal(mp_rwlock_release(lock), EPERM);
    mp_rwlock_free(lock);
}

static void test_bad_input(void **state)
{
    (void)state;
    struct table *table = open_table();
    mp_rwlock *lock = (mp_rwlock *)table;

    struct {
        mp_rwlock_options known;
        size_t newer;
    } options = {{sizeof options}, 1};
    assert_int_equal(mp_rwlock_new(NULL, NULL), EINVAL);
    assert_int_equal(mp_rwlock_new(&lock, &options.known), EINVAL);
    assert_ptr_equal(lock, table);
    assert_int_equal(mp_rwlock_acquire_read(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_rwlock_acquire_write(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_rwlock_release(NULL), EINVAL);
    mp_rwlock_free(NULL);
    assert_int_equal(mp_rwlock_new(&lock, MP_RWLOCK_OPTIONS()), 0);
    mp_rwlock_free(lock);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, -2), EINVAL);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, -2), EINVAL);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, INT32_MIN), EINVAL);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, INT32_MIN), EINVAL);
    /* The bad calls took nothing. */
    assert_free(table);
    close_table(table);
}

static void test_many_reads_at_once(void **state)
{
    (void)state;
    struct table *table = open_table();

    for (int i = 0; i < 65535; i++)
        assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), EOVERFLOW);
    assert_true(others_read(table));
    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_NOWAIT), ETIMEDOUT);
    for (int i = 0; i < 65535; i++) {
        if (i % 8192 == 0)
            assert_false(others_write(table));
        assert_int_equal(mp_rwlock_release(table->lock), 0);
    }
    assert_free(table);
    close_table(table);
}

static void assert_times_out(mp_rwlock *lock, acquire_fn *acquire)
{
    assert_int_equal(acquire(lock, MP_NOWAIT), ETIMEDOUT);
    int64_t start = now_ms();
    assert_int_equal(acquire(lock, 120), ETIMEDOUT);
    assert_true(now_ms() - start >= 119);
    assert_true(now_ms() - start < scaled(1000));
}

static void test_not_for_both(void **state)
{
    (void)state;
    struct table *table = open_table();

    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_FOREVER), 0);
    assert_times_out(table->lock, mp_rwlock_acquire_read);
    assert_times_out(table->lock, mp_rwlock_acquire_write);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    assert_times_out(table->lock, mp_rwlock_acquire_write);
    /* A claim that was given up stops nobody. */
    assert_true(others_read(table));
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_free(table);
    close_table(table);
}

/* --- processes -------------------------------------------------------------------- */

static void test_others(void **state)
{
    (void)state;
    struct table *table = open_table();

    assert_true(others_read(table));
    assert_true(others_write(table));
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    assert_true(others_read(table));
    assert_false(others_write(table));
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_FOREVER), 0);
    assert_false(others_read(table));
    assert_false(others_write(table));
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_free(table);
    close_table(table);
}

static bool write_once(struct table *table)
{
    if (mp_rwlock_acquire_write(table->lock, MP_FOREVER) != 0)
        return false;
    bool alone = atomic_fetch_add(&table->writing, 1) == 0 && table->reading == 0;
    table->left++;
    if (table->left % 8 == 0)
        sched_yield();
    table->right++;
    atomic_fetch_sub(&table->writing, 1);
    return mp_rwlock_release(table->lock) == 0 && alone;
}

static bool read_once(struct table *table)
{
    if (mp_rwlock_acquire_read(table->lock, MP_FOREVER) != 0)
        return false;
    int reading = atomic_fetch_add(&table->reading, 1) + 1;
    if (reading > table->most_reading)
        table->most_reading = reading;
    bool whole = table->writing == 0 && table->left == table->right;
    sched_yield();
    whole = whole && table->writing == 0 && table->left == table->right;
    atomic_fetch_sub(&table->reading, 1);
    return mp_rwlock_release(table->lock) == 0 && whole;
}

static int write_often(void *arg)
{
    for (int i = 0; i < 4000; i++)
        if (!write_once(arg))
            return 1;
    return 0;
}

static int read_often(void *arg)
{
    for (int i = 0; i < 4000; i++)
        if (!read_once(arg))
            return 1;
    return 0;
}

static void test_readers_and_writers(void **state)
{
    (void)state;
    struct table *table = open_table();
    pid_t pids[6];

    for (int i = 0; i < 6; i++)
        pids[i] = child_start(i % 3 == 0 ? write_often : read_often, table);
    for (int i = 0; i < 6; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    assert_int_equal(table->left, 8000);
    assert_int_equal(table->right, 8000);
    assert_true(table->most_reading > 1);
    assert_free(table);
    close_table(table);
}

/* Some of a process's reads inside others of its own, against writers of all kinds. */
static void *mix_in_thread(void *arg)
{
    struct table *table = arg;
    bool right = true;

    for (int i = 0; i < 1500 && right; i++) {
        right = i % 5 ? read_once(table) : write_once(table);
        if (!right || mp_rwlock_acquire_read(table->lock, MP_FOREVER) != 0)
            return table;
        right = read_once(table) && mp_rwlock_release(table->lock) == 0;
    }
    return right ? NULL : table;
}

static int mix(void *arg)
{
    return mix_in_thread(arg) ? 1 : 0;
}

static void test_threads(void **state)
{
    (void)state;
    struct table *table = open_table();
    pthread_t threads[4];
    void *failed;

    leak_ignore_maps();
    pid_t pids[] = {child_start(mix, table), child_start(mix, table)};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, mix_in_thread, table), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(child_wait(pids[0], 30000), 0);
    assert_int_equal(child_wait(pids[1], 30000), 0);
    assert_int_equal(table->left, 6 * 300);
    assert_free(table);
    close_table(table);
}

/* What a process acquires and then does not release. */
struct hold {
    struct table *table;
    acquire_fn *acquire;
};

static int hold_until_killed(void *arg)
{
    struct hold *hold = arg;

    assert_int_equal(hold->acquire(hold->table->lock, MP_FOREVER), 0);
    atomic_fetch_add(&hold->table->ready, 1);
    for (;;)
        pause();
    return 0;
}

static bool one_is_ready(void *arg)
{
    return ((struct table *)arg)->ready > 0;
}

static pid_t start_holder(struct table *table, acquire_fn *acquire)
{
    struct hold hold = {table, acquire};

    table->ready = 0;
    pid_t pid = child_start(hold_until_killed, &hold);
    assert_true(eventually(one_is_ready, table, 5000));
    return pid;
}

static void kill_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
}

/* Acquires, notes whether it was told of a death, when it came in, and that it did. */
static int pass(void *arg)
{
    struct hold *hold = arg;
    struct table *table = hold->table;
    struct timespec now;
    int err = hold->acquire(table->lock, scaled(20000));

    clock_gettime(CLOCK_MONOTONIC, &now);
    table->moment = now.tv_sec * 1000000 + now.tv_nsec / 1000;
    if (err == EOWNERDEAD)
        atomic_fetch_add(&table->told, 1);
    else if (err)
        return err;
    atomic_fetch_add(&table->passed, 1);
    return mp_rwlock_release(table->lock);
}

static pid_t start_sleeper(struct table *table, acquire_fn *acquire)
{
    struct hold hold = {table, acquire};
    pid_t pid = child_start(pass, &hold);

    assert_true(process_sleeps(pid, 5000));
    return pid;
}

static void test_readers_give_way(void **state)
{
    (void)state;
    struct table *table = open_table();

    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    pid_t writer = start_sleeper(table, mp_rwlock_acquire_write);
    assert_false(others_read(table));
    /* Who reads already does not: it would wait for itself. */
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_NOWAIT), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(table->passed, 0);
        assert_int_equal(mp_rwlock_release(table->lock), 0);
    }
    assert_int_equal(child_wait(writer, 5000), 0);
    assert_int_equal(table->passed, 1);
    assert_free(table);
    close_table(table);
}

/* Readers that wait behind a writer go in together when it does not want any more. */
static int write_in_vain(void *arg)
{
    struct table *table = arg;
    return mp_rwlock_acquire_write(table->lock, scaled(600)) == ETIMEDOUT ? 0 : 1;
}

static void test_writer_gives_up(void **state)
{
    (void)state;
    struct table *table = open_table();
    pid_t readers[3];

    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    pid_t writer = child_start(write_in_vain, table);
    assert_true(process_sleeps(writer, 5000));
    for (int i = 0; i < 3; i++)
        readers[i] = start_sleeper(table, mp_rwlock_acquire_read);
    assert_int_equal(table->passed, 0);
    assert_int_equal(child_wait(writer, 5000), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(readers[i], 5000), 0);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_free(table);
    close_table(table);
}

static void test_release_wakes_all_kinds(void **state)
{
    (void)state;
    struct table *table = open_table();
    pid_t pids[6];

    for (int round = 0; round < 5; round++) {
        table->passed = 0;
        assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_FOREVER), 0);
        for (int i = 0; i < 6; i++)
            pids[i] = start_sleeper(table, i % 2 ? mp_rwlock_acquire_write
                                                 : mp_rwlock_acquire_read);
        int64_t start = now_ms();
        assert_int_equal(mp_rwlock_release(table->lock), 0);
        for (int i = 0; i < 6; i++)
            assert_int_equal(child_wait(pids[i], 5000), 0);
        assert_true(now_ms() - start < scaled(1000));
        assert_int_equal(table->passed, 6);
    }
    assert_free(table);
    close_table(table);
}

/* A change is passed on by a wake, and not when the sleeper happens to look. */
static long wake_latency_us(struct table *table, acquire_fn *held, acquire_fn *wanted)
{
    struct timespec now;

    assert_int_equal(held(table->lock, MP_FOREVER), 0);
    pid_t pid = start_sleeper(table, wanted);
    clock_gettime(CLOCK_MONOTONIC, &now);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_int_equal(child_wait(pid, 5000), 0);
    return table->moment - (now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

static void test_wakes_are_quick(void **state)
{
    (void)state;
    struct table *table = open_table();
    acquire_fn *const kinds[] = {mp_rwlock_acquire_read, mp_rwlock_acquire_write};

    /* The best of some, for the machine may be busy with other things. */
    for (int kind = 1; kind < 4; kind++) {
        long best = LONG_MAX;
        for (int i = 0; i < 8; i++) {
            long us = wake_latency_us(table, kinds[kind & 1], kinds[kind >> 1]);
            best = us < best ? us : best;
        }
        assert_true(best < 5000);
    }
    close_table(table);
}

/* --- fairness --------------------------------------------------------------------- */

static int read_until_told(void *arg)
{
    struct table *table = arg;

    while (!table->go)
        if (!read_once(table))
            return 1;
    return 0;
}

static int write_until_told(void *arg)
{
    struct table *table = arg;

    while (!table->go)
        if (!write_once(table))
            return 1;
    return 0;
}

static void many_against_one(child_body *many, acquire_fn *one)
{
    struct table *table = open_table();
    pid_t pids[3];

    for (int i = 0; i < 3; i++)
        pids[i] = child_start(many, table);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(one(table->lock, scaled(5000)), 0);
        assert_int_equal(mp_rwlock_release(table->lock), 0);
    }
    table->go = 1;
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(pids[i], 10000), 0);
    assert_free(table);
    close_table(table);
}

static void test_writer_is_not_starved(void **state)
{
    (void)state;
    many_against_one(read_until_told, mp_rwlock_acquire_write);
}

static void test_reader_is_not_starved(void **state)
{
    (void)state;
    many_against_one(write_until_told, mp_rwlock_acquire_read);
}

/* --- deaths ----------------------------------------------------------------------- */

static void test_writer_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table();

    for (int round = 0; round < 20; round++) {
        acquire_fn *next = round % 2 ? mp_rwlock_acquire_write : mp_rwlock_acquire_read;
        pid_t pid = start_holder(table, mp_rwlock_acquire_write);
        assert_int_equal(next(table->lock, MP_NOWAIT), ETIMEDOUT);
        kill_child(pid);
        /* Told once, and held for writing, whatever was asked for. */
        int timeout_ms = round % 4 < 2 ? scaled(2000) : MP_NOWAIT;
        assert_int_equal(next(table->lock, timeout_ms), EOWNERDEAD);
        assert_false(others_read(table));
        assert_false(others_write(table));
        assert_int_equal(mp_rwlock_release(table->lock), 0);
        assert_free(table);
    }
    close_table(table);
}

/* Who was told and died before it had put things right leaves that to the next. */
static int exit_repairing(void *arg)
{
    struct hold *hold = arg;
    return hold->acquire(hold->table->lock, MP_FOREVER) == EOWNERDEAD ? 0 : 1;
}

static void test_repairer_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table();
    struct hold hold = {.table = table};

    kill_child(start_holder(table, mp_rwlock_acquire_write));
    for (int i = 0; i < 6; i++) {
        hold.acquire = i % 2 ? mp_rwlock_acquire_write : mp_rwlock_acquire_read;
        assert_int_equal(child_run(exit_repairing, &hold), 0);
    }
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_NOWAIT), EOWNERDEAD);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_free(table);
    close_table(table);
}

static void test_sleepers_when_writer_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table();
    pid_t writer = start_holder(table, mp_rwlock_acquire_write), sleepers[6];

    for (int i = 0; i < 6; i++)
        sleepers[i] = start_sleeper(table, i % 2 ? mp_rwlock_acquire_write
                                                 : mp_rwlock_acquire_read);
    int64_t start = now_ms();
    kill_child(writer);
    for (int i = 0; i < 6; i++)
        assert_int_equal(child_wait(sleepers[i], 10000), 0);
    assert_true(now_ms() - start < scaled(2000));
    assert_int_equal(table->told, 1); /* one of them was told, and only one */
    assert_int_equal(table->passed, 6);
    assert_free(table);
    close_table(table);
}

static void test_reader_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table();

    for (int round = 0; round < 20; round++) {
        pid_t pid = start_holder(table, mp_rwlock_acquire_read);
        assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_NOWAIT), ETIMEDOUT);
        kill_child(pid);
        assert_free(table);
    }
    close_table(table);
}

static void test_sleeper_when_readers_are_killed(void **state)
{
    (void)state;
    struct table *table = open_table();
    pid_t readers[3];

    for (int i = 0; i < 3; i++)
        readers[i] = start_holder(table, mp_rwlock_acquire_read);
    pid_t writer = start_sleeper(table, mp_rwlock_acquire_write);
    pid_t behind = start_sleeper(table, mp_rwlock_acquire_read);
    kill_child(readers[2]);
    kill_child(readers[0]);
    assert_int_equal(table->passed, 0);
    int64_t start = now_ms();
    kill_child(readers[1]);
    assert_int_equal(child_wait(writer, 5000), 0);
    assert_int_equal(child_wait(behind, 5000), 0);
    assert_true(now_ms() - start < scaled(1000));
    assert_int_equal(table->told, 0);
    assert_free(table);
    close_table(table);
}

/* A writer that still waited has written nothing. */
static void test_waiting_writer_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table();

    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    for (int round = 0; round < 5; round++) {
        pid_t writer = start_sleeper(table, mp_rwlock_acquire_write);
        pid_t next = start_sleeper(table, mp_rwlock_acquire_write);
        pid_t behind = start_sleeper(table, mp_rwlock_acquire_read);
        kill_child(writer);
        kill_child(next);
        assert_int_equal(child_wait(behind, 5000), 0);
        assert_true(others_read(table));
    }
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_int_equal(table->told, 0);
    assert_free(table);
    close_table(table);
}

static void test_waiting_reader_is_killed(void **state)
{
    (void)state;
    struct table *table = open_table();

    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_FOREVER), 0);
    pid_t first = start_sleeper(table, mp_rwlock_acquire_read);
    pid_t second = start_sleeper(table, mp_rwlock_acquire_read);
    kill_child(first);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_int_equal(child_wait(second, 5000), 0);
    assert_free(table);
    close_table(table);
}

static void test_stopped_holder_is_alive(void **state)
{
    (void)state;
    struct table *table = open_table();

    pid_t pid = start_holder(table, mp_rwlock_acquire_write);
    kill(pid, SIGSTOP);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, 200), ETIMEDOUT);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, 200), ETIMEDOUT);
    kill_child(pid);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, scaled(2000)), EOWNERDEAD);
    assert_int_equal(mp_rwlock_release(table->lock), 0);

    pid = start_holder(table, mp_rwlock_acquire_read);
    kill(pid, SIGSTOP);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, 300), ETIMEDOUT);
    kill_child(pid);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, scaled(2000)), 0);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    close_table(table);
}

/* Numbers of members are used again: the counts of the dead are not the next one's. */
static int exit_reading(void *arg)
{
    struct table *table = arg;

    if (mp_rwlock_acquire_read(table->lock, MP_NOWAIT) != 0 ||
        mp_rwlock_acquire_read(table->lock, MP_NOWAIT) != 0 ||
        mp_rwlock_release(table->lock) != 0)
        return 1;
    return 0;
}

static int release_nothing(void *arg)
{
    struct table *table = arg;

    assert_int_equal(mp_rwlock_release(table->lock), EPERM);
    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_NOWAIT), 0);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    return mp_rwlock_release(table->lock) == EPERM ? 0 : 1;
}

static void test_numbers_used_again(void **state)
{
    (void)state;
    struct table *table = open_table();

    for (int i = 0; i < 100; i++) {
        assert_int_equal(child_run(exit_reading, table), 0);
        if (i % 3 == 0)
            assert_int_equal(child_run(release_nothing, table), 0);
    }
    assert_free(table);
    close_table(table);
}

/* The child of a holder is a process of its own, and not the holder's twin. */
static void test_child_of_holder(void **state)
{
    (void)state;
    struct table *table = open_table();

    assert_int_equal(mp_rwlock_acquire_read(table->lock, MP_FOREVER), 0);
    assert_int_equal(child_run(release_nothing, table), 0);
    assert_false(others_write(table));
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_FOREVER), 0);
    assert_false(others_read(table));
    assert_int_equal(mp_rwlock_acquire_read(table->lock, 100), ETIMEDOUT);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    assert_free(table);
    close_table(table);
}

/* --- signals, cost, numbers ------------------------------------------------------- */

static struct table *in_handler;
static volatile sig_atomic_t handler_result;

static void release_in_handler(int signal_number)
{
    (void)signal_number;
    handler_result = mp_rwlock_release(in_handler->lock);
}

static void test_release_in_signal_handler(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = release_in_handler}, old;

    in_handler = open_table();
    sigaction(SIGUSR1, &action, &old);
    assert_int_equal(mp_rwlock_acquire_write(in_handler->lock, MP_FOREVER), 0);
    raise(SIGUSR1);
    assert_int_equal(handler_result, 0);
    assert_int_equal(mp_rwlock_acquire_read(in_handler->lock, MP_FOREVER), 0);
    raise(SIGUSR1);
    assert_int_equal(handler_result, 0);
    raise(SIGUSR1);
    assert_int_equal(handler_result, EPERM);
    sigaction(SIGUSR1, &old, NULL);
    assert_free(in_handler);
    close_table(in_handler);
}

static long cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec;
}

static void test_sleeping_costs_no_time(void **state)
{
    (void)state;
    struct table *table = open_table();

    pid_t pid = start_holder(table, mp_rwlock_acquire_read);
    long before = cpu_us();
    assert_int_equal(mp_rwlock_acquire_write(table->lock, 500), ETIMEDOUT);
    assert_true(cpu_us() - before < 50000);
    kill_child(pid);
    pid = start_holder(table, mp_rwlock_acquire_write);
    before = cpu_us();
    assert_int_equal(mp_rwlock_acquire_read(table->lock, 500), ETIMEDOUT);
    assert_true(cpu_us() - before < 50000);
    kill_child(pid);
    close_table(table);
}

enum { HUNDREDS = 300 };

static bool all_read(void *arg)
{
    return ((struct table *)arg)->reading == HUNDREDS;
}

static int read_with_hundreds(void *arg)
{
    struct table *table = arg;

    if (mp_rwlock_acquire_read(table->lock, scaled(20000)) != 0)
        return 1;
    atomic_fetch_add(&table->reading, 1);
    while (!table->go)
        usleep(20000);
    atomic_fetch_sub(&table->reading, 1);
    return mp_rwlock_release(table->lock);
}

/* More than have words in the lock itself; half of them don't live to release it. */
static void test_hundreds_of_readers(void **state)
{
    (void)state;
    struct table *table = open_table();
    static pid_t pids[HUNDREDS];

    for (int i = 0; i < HUNDREDS; i++)
        pids[i] = child_start(read_with_hundreds, table);
    assert_true(eventually(all_read, table, 20000));
    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_NOWAIT), ETIMEDOUT);
    pid_t writer = start_sleeper(table, mp_rwlock_acquire_write);
    for (int i = 0; i < HUNDREDS; i += 2)
        kill_child(pids[i]);
    assert_int_equal(table->passed, 0);
    atomic_store(&table->go, 1);
    for (int i = 1; i < HUNDREDS; i += 2)
        assert_int_equal(child_wait(pids[i], 20000), 0);
    assert_int_equal(child_wait(writer, 5000), 0);
    assert_free(table);
    close_table(table);
}

/* All of them asleep, and let in together. */
static void test_hundreds_of_waiters(void **state)
{
    (void)state;
    struct table *table = open_table();
    static pid_t pids[HUNDREDS];
    struct hold reads = {table, mp_rwlock_acquire_read};
    struct hold writes = {table, mp_rwlock_acquire_write};

    assert_int_equal(mp_rwlock_acquire_write(table->lock, MP_FOREVER), 0);
    for (int i = 0; i < HUNDREDS; i++)
        pids[i] = child_start(pass, i % 3 ? &reads : &writes);
    assert_true(process_sleeps(pids[HUNDREDS - 1], 5000));
    for (int i = 0; i < HUNDREDS; i += 10)
        kill_child(pids[i]);
    assert_int_equal(mp_rwlock_release(table->lock), 0);
    for (int i = 0; i < HUNDREDS; i++)
        if (i % 10)
            assert_int_equal(child_wait(pids[i], 20000), 0);
    assert_int_equal(table->passed, HUNDREDS - HUNDREDS / 10);
    assert_free(table);
    close_table(table);
}

static void test_many_locks(void **state)
{
    (void)state;
    enum { LOCKS = 2000 };
    static mp_rwlock *locks[LOCKS];

    for (int i = 0; i < LOCKS; i++) {
        assert_int_equal(mp_rwlock_new(&locks[i], NULL), 0);
        acquire_fn *acquire = i % 2 ? mp_rwlock_acquire_read : mp_rwlock_acquire_write;
        assert_int_equal(acquire(locks[i], MP_NOWAIT), 0);
    }
    for (int i = 0; i < LOCKS; i++) {
        assert_int_equal(mp_rwlock_release(locks[i]), 0);
        mp_rwlock_free(locks[i]);
    }
}

int main(void)
{
    static const struct CMUnitTest rwlock_tests[] = {
        TEST(test_acquire_and_release),
        TEST(test_bad_input),
        TEST(test_many_reads_at_once),
        TEST(test_not_for_both),
        TEST(test_others),
        TEST(test_readers_and_writers),
        TEST(test_threads),
        TEST(test_readers_give_way),
        TEST(test_writer_gives_up),
        TEST(test_release_wakes_all_kinds),
        TEST(test_wakes_are_quick),
        TEST(test_writer_is_not_starved),
        TEST(test_reader_is_not_starved),
        TEST(test_writer_is_killed),
        TEST(test_repairer_is_killed),
        TEST(test_sleepers_when_writer_is_killed),
        TEST(test_reader_is_killed),
        TEST(test_sleeper_when_readers_are_killed),
        TEST(test_waiting_writer_is_killed),
        TEST(test_waiting_reader_is_killed),
        TEST(test_stopped_holder_is_alive),
        TEST(test_numbers_used_again),
        TEST(test_child_of_holder),
        TEST(test_release_in_signal_handler),
        TEST(test_sleeping_costs_no_time),
        TEST(test_hundreds_of_readers),
        TEST(test_hundreds_of_waiters),
        TEST(test_many_locks),
    };
    return TEST_MAIN(rwlock_tests);
}
