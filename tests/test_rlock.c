/* SPDX-License-Identifier: MIT */
/* test_rlock.c - recursive locks between processes and threads. */
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

/* What the processes of a test share. */
struct account {
    mp_rlock *lock;
    _Atomic long balance;
    _Atomic int inside, ready, go;
};

static struct account *open_account(void)
{
    struct account *account = mp_shared_alloc(sizeof *account);

    assert_non_null(account);
    assert_int_equal(mp_rlock_new(&account->lock, NULL), 0);
    return account;
}

static void close_account(struct account *account)
{
    mp_rlock_free(account->lock);
    mp_shared_free(account);
}

static void test_bad_input(void **state)
{
    (void)state;
    mp_rlock *lock;

    assert_int_equal(mp_rlock_new(NULL, NULL), EINVAL);
    assert_int_equal(mp_rlock_acquire(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_rlock_release(NULL), EINVAL);
    assert_false(mp_rlock_locked(NULL));
    assert_int_equal(mp_rlock_owner(NULL), 0);
    mp_rlock_free(NULL);
    assert_int_equal(mp_rlock_new(&lock, MP_RLOCK_OPTIONS()), 0);
    assert_true(mp_shared_contains(lock));
    assert_int_equal(mp_rlock_acquire(lock, -2), EINVAL);
    assert_int_equal(mp_rlock_release(lock), EPERM);
    assert_int_equal(mp_rlock_acquire(lock, MP_NOWAIT), 0);
    /* The holder is not let off either. */
    assert_int_equal(mp_rlock_acquire(lock, INT32_MIN), EINVAL);
    assert_int_equal(mp_rlock_release(lock), 0);
    assert_int_equal(mp_rlock_release(lock), EPERM);
    mp_rlock_free(lock);
}

static int try_it(void *arg)
{
    mp_rlock *lock = ((struct account *)arg)->lock;
    int err = mp_rlock_acquire(lock, MP_NOWAIT);

    return err ? err : mp_rlock_release(lock);
}

static void test_recursion(void **state)
{
    (void)state;
    struct account *account = open_account();
    mp_rlock *lock = account->lock;

    for (int round = 0; round < 3; round++) {
        assert_false(mp_rlock_locked(lock));
        assert_int_equal(mp_rlock_owner(lock), 0);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(mp_rlock_acquire(lock, i % 2 ? MP_FOREVER : MP_NOWAIT), 0);
        assert_true(mp_rlock_locked(lock));
        assert_int_equal(mp_rlock_owner(lock), getpid());
        for (int i = 0; i < 999; i++)
            assert_int_equal(mp_rlock_release(lock), 0);
        assert_int_equal(child_run(try_it, account), ETIMEDOUT);
        assert_int_equal(mp_rlock_release(lock), 0);
        assert_int_equal(child_run(try_it, account), 0);
    }
    assert_int_equal(mp_rlock_release(lock), EPERM);
    close_account(account);
}

/* Everything a process that is not the holder may try in vain. */
static int try_all(void *arg)
{
    mp_rlock *lock = ((struct account *)arg)->lock;

    if (mp_rlock_release(lock) != EPERM || !mp_rlock_locked(lock))
        return 1;
    if (mp_rlock_owner(lock) != getppid())
        return 2;
    if (mp_rlock_acquire(lock, MP_NOWAIT) != ETIMEDOUT)
        return 3;
    if (mp_rlock_acquire(lock, 50) != ETIMEDOUT)
        return 4;
    return mp_rlock_release(lock) == EPERM ? 0 : 5;
}

static int try_all_with_a_number(void *arg)
{
    struct account *account = arg;
    mp_rlock *other;

    /* Of a thread that is known, and has held locks, in this process and before it. */
    if (mp_rlock_new(&other, NULL) || mp_rlock_acquire(other, MP_NOWAIT))
        return 10;
    int failed = try_all(account);
    if (mp_rlock_release(other))
        return 11;
    mp_rlock_free(other);
    return failed;
}

/* The child of a holder is a process of its own, and not the holder's twin. */
static void test_child_of_holder(void **state)
{
    (void)state;
    struct account *account = open_account();

    for (int depth = 1; depth < 4; depth++) {
        assert_int_equal(mp_rlock_acquire(account->lock, MP_FOREVER), 0);
        assert_int_equal(child_run(try_all, account), 0);
        assert_int_equal(child_run(try_all_with_a_number, account), 0);
    }
    for (int depth = 1; depth < 4; depth++)
        assert_int_equal(mp_rlock_release(account->lock), 0);
    assert_int_equal(mp_rlock_release(account->lock), EPERM);
    close_account(account);
}

static void *try_in_thread(void *arg)
{
    mp_rlock *lock = ((struct account *)arg)->lock;

    if (mp_rlock_release(lock) != EPERM)
        return arg;
    if (mp_rlock_acquire(lock, MP_NOWAIT) != ETIMEDOUT)
        return arg;
    return mp_rlock_release(lock) == EPERM ? NULL : arg;
}

static void test_another_thread_is_not_the_holder(void **state)
{
    (void)state;
    struct account *account = open_account();
    pthread_t thread;
    void *failed;

    leak_ignore_maps();
    assert_int_equal(mp_rlock_acquire(account->lock, MP_FOREVER), 0);
    assert_int_equal(mp_rlock_acquire(account->lock, MP_FOREVER), 0);
    /* More than one, for threads get the stacks of those that ended. */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(pthread_create(&thread, NULL, try_in_thread, account), 0);
        pthread_join(thread, &failed);
        assert_null(failed);
    }
    assert_int_equal(mp_rlock_release(account->lock), 0);
    assert_int_equal(mp_rlock_release(account->lock), 0);
    close_account(account);
}

/* Deposits, at a depth that changes. */
static bool deposit_often(struct account *account, int times)
{
    for (int i = 0; i < times; i++) {
        int depth = 1 + i % 3;
        for (int k = 0; k < depth; k++)
            if (mp_rlock_acquire(account->lock, MP_FOREVER) != 0)
                return false;
        if (atomic_fetch_add(&account->inside, 1) != 0)
            return false;
        atomic_store(&account->balance, atomic_load(&account->balance) + 1);
        atomic_fetch_sub(&account->inside, 1);
        for (int k = 0; k < depth; k++)
            if (mp_rlock_release(account->lock) != 0)
                return false;
    }
    return true;
}

static void *deposit_in_thread(void *arg)
{
    return deposit_often(arg, 5000) ? NULL : arg;
}

static int deposit(void *arg)
{
    return deposit_often(arg, 10000) ? 0 : 1;
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    struct account *account = open_account();
    pthread_t threads[3];
    pid_t pids[3];
    void *failed;

    leak_ignore_maps();
    for (int i = 0; i < 3; i++)
        pids[i] = child_start(deposit, account);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, deposit_in_thread, account),
                         0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    assert_int_equal(account->balance, 45000);
    close_account(account);
}

static int hold_until_killed(void *arg)
{
    struct account *account = arg;

    for (int i = 0; i < 3; i++)
        if (mp_rlock_acquire(account->lock, MP_FOREVER) != 0)
            return 1;
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

static void test_in_time(void **state)
{
    (void)state;
    struct account *account = open_account();
    pid_t pid = start_holder(account);

    int64_t start = now_ms();
    assert_int_equal(mp_rlock_acquire(account->lock, 150), ETIMEDOUT);
    assert_true(now_ms() - start >= 149);
    assert_true(now_ms() - start < scaled(1000));
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    close_account(account);
}

static void test_holder_is_killed(void **state)
{
    (void)state;
    struct account *account = open_account();

    for (int round = 0; round < 10; round++) {
        pid_t pid = start_holder(account);
        assert_int_equal(mp_rlock_owner(account->lock), pid);
        assert_int_equal(mp_rlock_acquire(account->lock, MP_NOWAIT), ETIMEDOUT);
        kill(pid, SIGKILL);
        assert_int_equal(child_wait(pid, 5000), -SIGKILL);
        /* Told once, and held once, however often the dead one held it. */
        assert_int_equal(mp_rlock_acquire(account->lock, scaled(2000)), EOWNERDEAD);
        assert_int_equal(mp_rlock_acquire(account->lock, MP_NOWAIT), 0);
        assert_int_equal(mp_rlock_release(account->lock), 0);
        assert_int_equal(mp_rlock_release(account->lock), 0);
        assert_int_equal(child_run(try_it, account), 0);
    }
    close_account(account);
}

static int wait_for_death(void *arg)
{
    struct account *account = arg;
    int err = mp_rlock_acquire(account->lock, scaled(10000));

    if (err == EOWNERDEAD)
        atomic_fetch_add(&account->ready, 1);
    else if (err)
        return 1;
    atomic_fetch_add(&account->balance, 1);
    return mp_rlock_release(account->lock);
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
    assert_int_equal(account->ready, 1);
    assert_int_equal(account->balance, 5);
    close_account(account);
}

static void test_stopped_holder_is_alive(void **state)
{
    (void)state;
    struct account *account = open_account();
    pid_t pid = start_holder(account);

    kill(pid, SIGSTOP);
    assert_int_equal(mp_rlock_acquire(account->lock, 300), ETIMEDOUT);
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    assert_int_equal(mp_rlock_acquire(account->lock, scaled(2000)), EOWNERDEAD);
    assert_int_equal(mp_rlock_release(account->lock), 0);
    close_account(account);
}

static void test_hundreds_of_waiters(void **state)
{
    (void)state;
    enum { WAITERS = 200 };
    struct account *account = open_account();
    pid_t pids[WAITERS];

    assert_int_equal(mp_rlock_acquire(account->lock, MP_FOREVER), 0);
    for (int i = 0; i < WAITERS; i++)
        pids[i] = child_start(wait_for_death, account);
    assert_true(process_sleeps(pids[WAITERS - 1], 5000));
    assert_int_equal(mp_rlock_release(account->lock), 0);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(child_wait(pids[i], 20000), 0);
    assert_int_equal(account->balance, WAITERS);
    assert_int_equal(account->ready, 0);
    close_account(account);
}

int main(void)
{
    static const struct CMUnitTest rlock[] = {
        TEST(test_bad_input),
        TEST(test_recursion),
        TEST(test_child_of_holder),
        TEST(test_another_thread_is_not_the_holder),
        TEST(test_one_at_a_time),
        TEST(test_in_time),
        TEST(test_holder_is_killed),
        TEST(test_sleepers_when_holder_is_killed),
        TEST(test_stopped_holder_is_alive),
        TEST(test_hundreds_of_waiters),
    };

    return TEST_MAIN(rlock);
}
