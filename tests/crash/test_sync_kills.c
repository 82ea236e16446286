/* SPDX-License-Identifier: MIT */
/*
 * test_sync_kills.c - processes that use one primitive are killed at random moments.
 *
 * sync_kills/harness.h has the picture: workers, a ledger, strikes and the gate.  The
 * files beside it say of each kind of object what the workers do with it.  Checked is
 *
 *   - while they die: that no two hold what only one may, that each death of a holder
 *     is told once, to the next one, and none that never was, that all others get on;
 *   - at each gate: that all who live come within two seconds and that the object is as
 *     if it were new: no token, notification or wake is lost, and none too many;
 *   - in the cycles in which sleepers do not look around: that no wake is lost, for who
 *     misses one hangs; and at the end that few of the other cycles were slow;
 *   - that 99.9 % of the deaths held the others up for less than 100 ms, both of those
 *     that a parent buried and of those that libmp had to notice by itself.
 *
 *     test_sync_kills [kind [kills [seed]]]
 *
 * is one kind of object, such as `rlock`, or `all`; the number of kills of each kind;
 * and the seed.  A failed run prints its kind, seed and kills.  The same three give the
 * same dice again, in the test and in every worker.  The system's scheduler has dice of
 * its own, so a rare failure may take several runs.
 */
#include "crash/sync_kills/harness.h"

#include <string.h>

#define ORDINARY_KILLS 12500 /* of each of eight kinds, 100,000 in all */
#define NIGHTLY_KILLS  125000
#define ORDINARY_LIMIT 30000 /* ms: what sanitizers and busy machines get on with */

static bool is_nightly;

#define SCENE_TESTS(kind)                                                              \
    static void test_##kind##_kills(void **state)                                      \
    {                                                                                  \
        (void)state;                                                                   \
        run_with_kills(&kind##_scene);                                                 \
    }                                                                                  \
                                                                                       \
    static void test_##kind##_in_peace(void **state)                                   \
    {                                                                                  \
        (void)state;                                                                   \
        run_in_peace(&kind##_scene);                                                   \
    }

SCENE_TESTS(lock)
SCENE_TESTS(rlock)
SCENE_TESTS(semaphore)
SCENE_TESTS(owned)
SCENE_TESTS(event)
SCENE_TESTS(barrier)
SCENE_TESTS(rwlock)
SCENE_TESTS(condition)

static void test_holders_that_are_stopped_keep_what_they_have(void **state)
{
    (void)state;
    stop_holders();
}

static void test_holders_that_are_killed_are_followed_at_once(void **state)
{
    (void)state;
    kill_holders(is_nightly ? 3000 : 60);
}

/* Let only the tests of this kind run: false if there is none. */
static bool choose(const char *kind)
{
    static const char *const kinds[] = {"all",       "lock",   "rlock",   "semaphore",
                                        "owned",     "event",  "barrier", "rwlock",
                                        "condition", "holders"};
    static char pattern[32];

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kind, kinds[i]) != 0)
            continue;
        snprintf(pattern, sizeof pattern, "test_%s_*", i == 0 ? "*" : kind);
        cmocka_set_test_filter(pattern);
        return true;
    }
    fprintf(stderr, "no such kind: %s\n", kind);
    return false;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest sync_kills[] = {
        TEST(test_lock_kills),
        TEST(test_lock_in_peace),
        TEST(test_rlock_kills),
        TEST(test_rlock_in_peace),
        TEST(test_semaphore_kills),
        TEST(test_semaphore_in_peace),
        TEST(test_owned_kills),
        TEST(test_owned_in_peace),
        TEST(test_event_kills),
        TEST(test_event_in_peace),
        TEST(test_barrier_kills),
        TEST(test_barrier_in_peace),
        TEST(test_rwlock_kills),
        TEST(test_rwlock_in_peace),
        TEST(test_condition_kills),
        TEST(test_condition_in_peace),
        TEST(test_holders_that_are_stopped_keep_what_they_have),
        TEST(test_holders_that_are_killed_are_followed_at_once),
    };

    is_nightly = env_number("MP_TEST_NIGHTLY", 0);
    if (!choose(argc > 1 ? argv[1] : "all"))
        return 2;
    kills_wanted = argc > 2     ? strtoul(argv[2], NULL, 10)
                   : is_nightly ? NIGHTLY_KILLS
                                : ORDINARY_KILLS;
    time_limit_ms = argc > 2 || is_nightly ? 0 : scaled(ORDINARY_LIMIT);
    seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 20240229;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    return TEST_MAIN(sync_kills);
}
