/* SPDX-License-Identifier: MIT */
/*
 * test_step_rlock.c - a process is killed at every instruction of acquire and release
 * of a recursive lock.
 *
 * After each kill other processes must get the lock without help, one at a time,
 * at depth one, and must be told at most once that its holder died.
 */
#include "support/test.h"

#include <mp/mp.h>

#include "roles.h"
#include "sync/rlock.h"

struct rlock_case {
    int before; /* how often the victim holds the lock before it begins, */
    int after;  /* and when it got through */
};

static mp_rlock *lock;

static void make(void *how)
{
    (void)how;
    if (mp_rlock_new(&lock, NULL) != 0)
        abort();
}

static void discard(void)
{
    mp_rlock_free(lock);
}

static bool acquire(void *how)
{
    (void)how;
    return mp_rlock_acquire(lock, MP_FOREVER) == 0;
}

static bool release(void *how)
{
    (void)how;
    return mp_rlock_release(lock) == 0;
}

static bool acquire_before(void *how)
{
    const struct rlock_case *c = how;
    bool right = true;

    for (int i = 0; i < c->before; i++)
        right = acquire(how) && right;
    return right;
}

/* Take the lock twice, see that nobody else has it, let go. */
static bool pass_through(void *how)
{
    (void)how;
    if (!step_in(mp_rlock_acquire(lock, MP_FOREVER)))
        return false;
    if (mp_rlock_acquire(lock, MP_NOWAIT) != 0 || mp_rlock_release(lock) != 0)
        return false;
    step_out();
    return mp_rlock_release(lock) == 0 && mp_rlock_release(lock) == EPERM;
}

static int holder_body(void *arg)
{
    if (!step_in(mp_rlock_acquire(lock, MP_FOREVER)) || !acquire(arg))
        return 1;
    hold();
    step_out();
    return release(arg) && release(arg) ? 0 : 1;
}

static void prepare_held(void *how)
{
    start_holder(holder_body, how);
}

/* --- checks ----------------------------------------------------------------------- */

/* The victim held the lock for certain before it began and after it ended. */
static bool is_told_rightly(const struct rlock_case *c)
{
    if (roles->told > 1)
        return false;
    if (c->before && c->after)
        return roles->told == 1;
    return is_plausible((roles->told == 1) == (c->after > 0));
}

static bool check(void *how)
{
    /* Twice: a lock that was put right must go on working. */
    return pass_through(how) && pass_through(how) && all_sleepers_got_in() &&
           is_told_rightly(how);
}

static bool check_contended(void *how)
{
    let_holder_release(how);
    return check(how);
}

/* Somebody may wait who must get it without help: the check only looks on at first. */
static bool check_release(void *how)
{
    return all_sleepers_got_in() && check(how);
}

/* --- acquire ---------------------------------------------------------------------- */

static void test_acquire(void **state)
{
    (void)state;
    struct rlock_case how = {.after = 1};
    struct role_case c = {.name = "acquire, the first of a thread",
                          .how = &how,
                          .operate = acquire,
                          .check = check,
                          .limit = 40};

    expect_no_failure_either_way(&c);
    c.name = "join and acquire";
    c.newcomer = true;
    expect_no_failure_either_way(&c);
}

static void test_acquire_again(void **state)
{
    (void)state;
    struct rlock_case how = {.before = 2, .after = 3};

    expect_no_failure_either_way(&(struct role_case){.name = "acquire, held twice",
                                                     .how = &how,
                                                     .before = acquire_before,
                                                     .operate = acquire,
                                                     .check = check});
}

/* Held by another, who lets go when the victim has gone to sleep; a third one waits. */
static void test_acquire_contended(void **state)
{
    (void)state;
    struct rlock_case how = {.after = 1};
    struct role_case c = {.name = "acquire, held and waited for",
                          .how = &how,
                          .prepare = prepare_held,
                          .sleeper = pass_through,
                          .sleepers = 1,
                          .operate = acquire,
                          .unblock = let_holder_release,
                          .check = check_contended,
                          .limit = 8};

    expect_no_failure_either_way(&c);
}

/* --- release ---------------------------------------------------------------------- */

static void test_release(void **state)
{
    (void)state;
    struct rlock_case how = {.before = 1, .after = 0};
    struct role_case c = {.name = "release",
                          .how = &how,
                          .before = acquire_before,
                          .operate = release,
                          .check = check_release,
                          .ordered = true};

    expect_no_failure_either_way(&c);
    c.name = "release, somebody sleeps";
    c.sleeper = pass_through;
    c.sleepers = 1;
    c.limit = 40;
    expect_no_failure_either_way(&c);
}

static void test_release_of_three(void **state)
{
    (void)state;
    struct rlock_case how = {.before = 3, .after = 2};
    struct role_case c = {.name = "release, held three times",
                          .how = &how,
                          .before = acquire_before,
                          .operate = release,
                          .check = check_release};

    expect_no_failure_either_way(&c);
}

/* What no test can reach by acquiring. */
static void test_count_does_not_overflow(void **state)
{
    (void)state;
    roles_prepare(NULL);
    assert_true(acquire(NULL));
    lock->count = UINT32_MAX - 1;
    assert_int_equal(mp_rlock_acquire(lock, MP_NOWAIT), 0);
    assert_int_equal(mp_rlock_acquire(lock, MP_NOWAIT), EOVERFLOW);
    assert_int_equal(mp_rlock_release(lock), 0);
    assert_int_equal(mp_rlock_acquire(lock, MP_NOWAIT), 0);
    roles_clean();
}

int main(void)
{
    static const struct role_object object = {make, discard};
    static const struct CMUnitTest step_rlock[] = {
        TEST(test_acquire),           TEST(test_acquire_again),
        TEST(test_acquire_contended), TEST(test_release),
        TEST(test_release_of_three),  TEST(test_count_does_not_overflow),
    };

    return roles_begin(&object) ? TEST_MAIN(step_rlock) : SKIPPED;
}
