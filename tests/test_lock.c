/* SPDX-License-Identifier: MIT */
/* test_lock.c - locks between processes. */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

/* What the processes of a test share. */
struct account {
    mp_lock *lock;
    _Atomic long balance; /* guarded by the lock, but in one test */
    _Atomic int inside, ready, go;
};

static struct account *open_account(void)
{
    struct account *account = mp_shared_alloc(sizeof *account);

    assert_non_null(account);
    assert_int_equal(mp_lock_new(&account->lock, NULL), 0);
    return account;
}

static void close_account(struct account *account)
{
    mp_lock_free(account->lock);
    mp_shared_free(account);
}

static void test_acquire_and_release(void **state)
{
    (void)state;
    mp_lock *lock;

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_true(mp_shared_contains(lock));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(mp_lock_acquire(lock, i % 2 ? MP_FOREVER : MP_NOWAIT), 0);
        assert_int_equal(mp_lock_release(lock), 0);
    }
    assert_int_equal(mp_lock_release(lock), EOVERFLOW);
    assert_int_equal(mp_lock_acquire(lock, MP_NOWAIT), 0);
    assert_int_equal(mp_lock_release(lock), 0);
    mp_lock_free(lock);
}

static void test_bad_input(void **state)
{
    (void)state;
    mp_lock *lock;

    assert_int_equal(mp_lock_new(NULL, NULL), EINVAL);
    assert_int_equal(mp_lock_acquire(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_lock_release(NULL), EINVAL);
    mp_lock_free(NULL);
    assert_int_equal(mp_lock_new(&lock, MP_LOCK_OPTIONS()), 0);
    assert_int_equal(mp_lock_acquire(lock, -2), EINVAL);
    assert_int_equal(mp_lock_acquire(lock, INT32_MIN), EINVAL);
    /* The bad calls took nothing. */
    assert_int_equal(mp_lock_release(lock), EOVERFLOW);
    mp_lock_free(lock);
}

static void test_not_recursive_and_in_time(void **state)
{
    (void)state;
    mp_lock *lock;

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_int_equal(mp_lock_acquire(lock, MP_FOREVER), 0);
    assert_int_equal(mp_lock_acquire(lock, MP_NOWAIT), ETIMEDOUT);
    int64_t start = now_ms();
    assert_int_equal(mp_lock_acquire(lock, 150), ETIMEDOUT);
    assert_true(now_ms() - start >= 149);
    assert_true(now_ms() - start < scaled(1000));
    assert_int_equal(mp_lock_release(lock), 0);
    mp_lock_free(lock);
}

static int deposit(void *arg)
{
    struct account *account = arg;

    guard_child();
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
        assert_int_equal(atomic_fetch_add(&account->inside, 1), 0);
        account->balance++;
        atomic_fetch_sub(&account->inside, 1);
        assert_int_equal(mp_lock_release(account->lock), 0);
    }
    return 0;
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    struct account *account = open_account();
    pid_t pids[4];

    for (int i = 0; i < 4; i++)
        pids[i] = child_start(deposit, account);
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    assert_int_equal(account->balance, 80000);
    close_account(account);
}

static void *deposit_in_thread(void *arg)
{
    struct account *account = arg;

    for (int i = 0; i < 5000; i++) {
        if (mp_lock_acquire(account->lock, MP_FOREVER) != 0)
            return account;
        account->balance++;
        if (mp_lock_release(account->lock) != 0)
            return account;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct account *account = open_account();
    pthread_t threads[3];
    void *failed;

    leak_ignore_maps();
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, deposit_in_thread, account),
                         0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(account->balance, 15000);
    close_account(account);
}

static int hold_until_killed(void *arg)
{
    struct account *account = arg;

    assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
    atomic_store(&account->ready, 1);
    for (;;)
        pause();
    return 0;
}

static bool is_ready(void *arg)
{
    return ((struct account *)arg)->ready != 0;
}

static pid_t start_holder(struct account *account)
{
    account->ready = 0;
    pid_t pid = child_start(hold_until_killed, account);
    assert_true(eventually(is_ready, account, 5000));
    return pid;
}

static void test_holder_is_killed(void **state)
{
    (void)state;
    struct account *account = open_account();

    for (int round = 0; round < 20; round++) {
        pid_t pid = start_holder(account);
        assert_int_equal(mp_lock_acquire(account->lock, MP_NOWAIT), ETIMEDOUT);
        kill(pid, SIGKILL);
        assert_int_equal(child_wait(pid, 5000), -SIGKILL);
        /* It was reaped by the host, not by libmp; told once, with the lock held. */
        assert_int_equal(mp_lock_acquire(account->lock, scaled(2000)), EOWNERDEAD);
        assert_int_equal(mp_lock_acquire(account->lock, MP_NOWAIT), ETIMEDOUT);
        assert_int_equal(mp_lock_release(account->lock), 0);
        assert_int_equal(mp_lock_acquire(account->lock, MP_NOWAIT), 0);
        assert_int_equal(mp_lock_release(account->lock), 0);
    }
    close_account(account);
}

static int wait_for_death(void *arg)
{
    struct account *account = arg;
    int err = mp_lock_acquire(account->lock, scaled(10000));

    if (err == EOWNERDEAD)
        atomic_fetch_add(&account->ready, 1);
    else if (err)
        return 1;
    atomic_fetch_add(&account->balance, 1);
    return mp_lock_release(account->lock);
}

static void test_sleepers_when_holder_is_killed(void **state)
{
    (void)state;
    struct account *account = open_account();
    pid_t holder = start_holder(account), waiters[5];

    for (int i = 0; i < 5; i++) {
        waiters[i] = child_start(wait_for_death, account);
        assert_true(process_sleeps(waiters[i], 5000));
    }
    account->ready = 0;
    int64_t start = now_ms();
    kill(holder, SIGKILL);
    assert_int_equal(child_wait(holder, 5000), -SIGKILL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(child_wait(waiters[i], 10000), 0);
    assert_true(now_ms() - start < scaled(2000));
    assert_int_equal(account->ready, 1); /* one of them was told, and only one */
    assert_int_equal(account->balance, 5);
    close_account(account);
}

static void test_stopped_holder_is_alive(void **state)
{
    (void)state;
    struct account *account = open_account();
    pid_t pid = start_holder(account);

    kill(pid, SIGSTOP);
    assert_int_equal(mp_lock_acquire(account->lock, 400), ETIMEDOUT);
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    assert_int_equal(mp_lock_acquire(account->lock, scaled(2000)), EOWNERDEAD);
    assert_int_equal(mp_lock_release(account->lock), 0);
    close_account(account);
}

/* A holder that simply ends is as dead as one that was killed. */
static int exit_with_lock(void *arg)
{
    struct account *account = arg;
    return mp_lock_acquire(account->lock, MP_FOREVER);
}

static void test_holder_exits(void **state)
{
    (void)state;
    struct account *account = open_account();

    assert_int_equal(child_run(exit_with_lock, account), 0);
    assert_int_equal(mp_lock_acquire(account->lock, scaled(2000)), EOWNERDEAD);
    assert_int_equal(mp_lock_release(account->lock), 0);
    close_account(account);
}

/* Whoever releases it for a dead holder takes the report away. */
static void test_release_for_dead_holder(void **state)
{
    (void)state;
    struct account *account = open_account();

    assert_int_equal(child_run(exit_with_lock, account), 0);
    assert_int_equal(mp_lock_release(account->lock), 0);
    assert_int_equal(mp_lock_release(account->lock), EOVERFLOW);
    assert_int_equal(mp_lock_acquire(account->lock, MP_NOWAIT), 0);
    assert_int_equal(mp_lock_release(account->lock), 0);
    close_account(account);
}

static int release_for_parent(void *arg)
{
    guard_child();
    return mp_lock_release(((struct account *)arg)->lock);
}

static void test_another_process_releases(void **state)
{
    (void)state;
    struct account *account = open_account();

    assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
    assert_int_equal(child_run(release_for_parent, account), 0);
    assert_int_equal(mp_lock_acquire(account->lock, MP_NOWAIT), 0);
    assert_int_equal(mp_lock_release(account->lock), 0);
    close_account(account);
}

/* The child of a holder is a process of its own, and not the holder's twin. */
static int try_as_child(void *arg)
{
    struct account *account = arg;
    return mp_lock_acquire(account->lock, MP_NOWAIT) == ETIMEDOUT ? 0 : 1;
}

static void test_child_of_holder(void **state)
{
    (void)state;
    struct account *account = open_account();

    assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
    assert_int_equal(child_run(try_as_child, account), 0);
    /* Its death is not the holder's. */
    assert_int_equal(mp_lock_acquire(account->lock, 200), ETIMEDOUT);
    assert_int_equal(mp_lock_release(account->lock), 0);
    close_account(account);
}

static struct account *in_handler;
static volatile sig_atomic_t handler_result;

static void release_in_handler(int signal_number)
{
    (void)signal_number;
    handler_result = mp_lock_release(in_handler->lock);
}

static void test_release_in_signal_handler(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = release_in_handler}, old;

    in_handler = open_account();
    sigaction(SIGUSR1, &action, &old);
    assert_int_equal(mp_lock_acquire(in_handler->lock, MP_FOREVER), 0);
    handler_result = -1;
    raise(SIGUSR1);
    assert_int_equal(handler_result, 0);
    assert_int_equal(mp_lock_acquire(in_handler->lock, MP_NOWAIT), 0);
    assert_int_equal(mp_lock_release(in_handler->lock), 0);
    sigaction(SIGUSR1, &old, NULL);
    close_account(in_handler);
}

static int storm(void *arg)
{
    pid_t target = *(pid_t *)arg;
    for (int i = 0; i < 2000; i++) {
        kill(target, SIGUSR1);
        usleep(100);
    }
    return 0;
}

static void ignore_it(int signal_number)
{
    (void)signal_number;
}

/* EINTR is nobody's business, and a storm of signals does not stretch a wait. */
static void test_signals_do_not_disturb(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore_it}, old;
    struct account *account = open_account();
    pid_t self = getpid();

    sigaction(SIGUSR1, &action, &old);
    assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
    pid_t pid = child_start(storm, &self);
    int64_t start = now_ms();
    assert_int_equal(mp_lock_acquire(account->lock, 300), ETIMEDOUT);
    assert_true(now_ms() - start >= 299);
    assert_true(now_ms() - start < scaled(1500));
    kill(pid, SIGKILL);
    child_wait(pid, 5000);
    sigaction(SIGUSR1, &old, NULL);
    assert_int_equal(mp_lock_release(account->lock), 0);
    close_account(account);
}

static void test_sleeping_costs_no_time(void **state)
{
    (void)state;
    struct account *account = open_account();
    struct rusage before, after;

    assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(mp_lock_acquire(account->lock, 1000), ETIMEDOUT);
    getrusage(RUSAGE_SELF, &after);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
              after.ru_utime.tv_usec - before.ru_utime.tv_usec;
    assert_true(us < 50000);
    assert_int_equal(mp_lock_release(account->lock), 0);
    close_account(account);
}

/* A released lock is handed on by a wake, and not when the sleeper happens to look. */
static int note_moment(void *arg)
{
    struct account *account = arg;
    struct timespec now;

    assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    account->balance = now.tv_sec * 1000000 + now.tv_nsec / 1000;
    return mp_lock_release(account->lock);
}

static long wake_latency_us(struct account *account)
{
    struct timespec now;

    assert_int_equal(mp_lock_acquire(account->lock, MP_FOREVER), 0);
    pid_t pid = child_start(note_moment, account);
    assert_true(process_sleeps(pid, 5000));
    clock_gettime(CLOCK_MONOTONIC, &now);
    assert_int_equal(mp_lock_release(account->lock), 0);
    assert_int_equal(child_wait(pid, 5000), 0);
    return account->balance - (now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

static void test_release_wakes(void **state)
{
    (void)state;
    struct account *account = open_account();
    long best = wake_latency_us(account);

    /* The best of some, for the machine may be busy with other things. */
    for (int i = 0; i < 9; i++) {
        long latency = wake_latency_us(account);
        best = latency < best ? latency : best;
    }
    assert_true(best < 5000);
    close_account(account);
}

static void test_many_locks(void **state)
{
    (void)state;
    enum { LOCKS = 3000 };
    static mp_lock *locks[LOCKS];

    for (int i = 0; i < LOCKS; i++) {
        assert_int_equal(mp_lock_new(&locks[i], NULL), 0);
        assert_int_equal(mp_lock_acquire(locks[i], MP_NOWAIT), 0);
    }
    for (int i = 0; i < LOCKS; i++) {
        assert_int_equal(mp_lock_release(locks[i]), 0);
        mp_lock_free(locks[i]);
    }
}

int main(void)
{
    static const struct CMUnitTest lock_tests[] = {
        TEST(test_acquire_and_release),
        TEST(test_bad_input),
        TEST(test_not_recursive_and_in_time),
        TEST(test_one_at_a_time),
        TEST(test_threads),
        TEST(test_holder_is_killed),
        TEST(test_sleepers_when_holder_is_killed),
        TEST(test_stopped_holder_is_alive),
        TEST(test_holder_exits),
        TEST(test_release_for_dead_holder),
        TEST(test_another_process_releases),
        TEST(test_child_of_holder),
        TEST(test_release_in_signal_handler),
        TEST(test_signals_do_not_disturb),
        TEST(test_sleeping_costs_no_time),
        TEST(test_release_wakes),
        TEST(test_many_locks),
    };
    return TEST_MAIN(lock_tests);
}
