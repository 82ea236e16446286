/* SPDX-License-Identifier: MIT */
/*
 * test_cycles.c - the same thing thousands of times uses no more than once.
 *
 * Descriptors, mappings and the arena are compared by the checks after each test.
 */
#include "support/test.h"

#include <mp/mp.h>

static unsigned long cycles;

static int target(void *arg)
{
    (void)arg;
    return 3;
}

static int task(const void *arg, void *result, void *context)
{
    (void)context;
    *(int *)result = *(const int *)arg + 1;
    return 0;
}

static void process_cycle(int daemon)
{
    mp_process *p;
    int code;

    assert_int_equal(
        mp_process_new(&p, target, NULL, MP_PROCESS_OPTIONS(.daemon = daemon)), 0);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(mp_process_join(p, scaled(5000)), 0);
    assert_int_equal(mp_process_exitcode(p, &code), 0);
    assert_int_equal(code, 3);
    mp_process_free(p);
}

static void pool_cycle(int number)
{
    mp_pool *pool;
    int result = 0;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    assert_int_equal(
        mp_pool_apply(pool, task, &number, sizeof number, &result, sizeof result, NULL),
        0);
    assert_int_equal(result, number + 1);
    mp_pool_free(pool);
}

static void test_processes(void **state)
{
    (void)state;
    for (unsigned long i = 0; i < cycles; i++)
        process_cycle(i % 2 ? MP_DAEMON_YES : MP_DAEMON_NO);
}

static void test_pools(void **state)
{
    (void)state;
    for (unsigned long i = 0; i < cycles; i++)
        pool_cycle((int)i);
}

static void test_locks_and_blocks(void **state)
{
    (void)state;
    for (unsigned long i = 0; i < cycles; i++) {
        mp_lock *lock;
        assert_int_equal(mp_lock_new(&lock, NULL), 0);
        assert_int_equal(mp_lock_acquire(lock, MP_NOWAIT), 0);
        assert_int_equal(mp_lock_release(lock), 0);
        mp_lock_free(lock);
        void *block = mp_shared_alloc(i * 977 % 200000);
        assert_non_null(block);
        mp_shared_free(block);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest all[] = {
        TEST(test_processes),
        TEST(test_pools),
        TEST(test_locks_and_blocks),
    };

    cycles = argc > 1                           ? strtoul(argv[1], NULL, 10)
             : env_number("MP_TEST_NIGHTLY", 0) ? 10000
                                                : 1000;
    return TEST_MAIN(all);
}
