/* SPDX-License-Identifier: MIT */
/* test_context.c - how many processors may be used. */
#include "support/test.h"

#include <sched.h>
#include <unistd.h>

#include <mp/mp.h>

static void test_counts_are_sane(void **state)
{
    (void)state;
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    assert_int_equal(mp_processor_count(), online);
    assert_true(mp_cpu_count() >= 1);
    assert_true(mp_cpu_count() <= mp_processor_count());
}

static int pinned_to_one(void *arg)
{
    (void)arg;
    cpu_set_t set, one;

    sched_getaffinity(0, sizeof set, &set);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set)) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(mp_cpu_count(), 1);
    assert_int_equal(mp_processor_count(), sysconf(_SC_NPROCESSORS_ONLN));
    return 0;
}

static void test_affinity_is_respected(void **state)
{
    (void)state;
#ifdef MP_PORTABLE
    skip(); /* POSIX has no affinity */
#endif
    assert_int_equal(child_run(pinned_to_one, NULL), 0);
}

static int with_variable(void *arg)
{
    (void)arg;
    unsetenv("MP_CPU_COUNT");
    unsigned otherwise = mp_cpu_count();

    setenv("MP_CPU_COUNT", "7", 1);
    assert_int_equal(mp_cpu_count(), 7);
    setenv("MP_CPU_COUNT", "65535", 1);
    assert_int_equal(mp_cpu_count(), 65535);

    /* What is no number from 1 to 65535 does not count. */
    static const char *const bad[] = {"0", "-3", "65536",         "many",
                                      "",  "3x", "99999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("MP_CPU_COUNT", bad[i], 1);
        assert_int_equal(mp_cpu_count(), otherwise);
    }
    return 0;
}

static void test_variable_overrides(void **state)
{
    (void)state;
    assert_int_equal(child_run(with_variable, NULL), 0);
}

int main(void)
{
    static const struct CMUnitTest context[] = {
        TEST(test_counts_are_sane),
        TEST(test_affinity_is_respected),
        TEST(test_variable_overrides),
    };
    return TEST_MAIN(context);
}
