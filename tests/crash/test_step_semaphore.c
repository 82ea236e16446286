/* SPDX-License-Identifier: MIT */
/*
 * test_step_semaphore.c - a process is killed at every instruction of acquire and
 * release.
 *
 * After each kill nobody may sleep while there is a token, and no token may have come
 * twice.  Anonymous tokens may have gone with the one that took them.  Owned ones must
 * come back, and each death be told at most once.
 */
#include "support/test.h"

#include <mp/mp.h>

#include "roles.h"

struct semaphore_case {
    unsigned value;
    bool owned;
    int given;      /* tokens that are released when the victim has gone to sleep */
    int least_told; /* deaths of owners */
    int most_told;
};

static mp_semaphore *semaphore;

static void make(void *how)
{
    const struct semaphore_case *c = how;

    if (mp_semaphore_new(&semaphore, c->value, MP_SEMAPHORE_OPTIONS(.owned = c->owned)))
        abort();
}

static void discard(void)
{
    mp_semaphore_free(semaphore);
}

static bool acquire(void *how)
{
    (void)how;
    return mp_semaphore_acquire(semaphore, MP_FOREVER) == 0;
}

static bool release(void *how)
{
    (void)how;
    return mp_semaphore_release(semaphore) == 0;
}

/* --- anonymous tokens ------------------------------------------------------------- */

static bool give(int tokens)
{
    while (tokens-- > 0)
        if (mp_semaphore_release(semaphore) != 0)
            return false;
    return true;
}

static void give_tokens(void *how)
{
    const struct semaphore_case *c = how;

    if (!give(c->given))
        abort();
}

static int late_body(void *arg)
{
    return acquire(arg) ? 0 : 1;
}

/* Take all, and pass one on to a sleeper. */
static bool still_works(unsigned value)
{
    if (mp_semaphore_value(semaphore) != value)
        return false;
    for (; value > 0; value--)
        if (mp_semaphore_acquire(semaphore, MP_NOWAIT) != 0)
            return false;
    if (mp_semaphore_acquire(semaphore, MP_NOWAIT) != ETIMEDOUT)
        return false;
    pid_t pid = start_helper(late_body, NULL);
    bool slept = process_sleeps(pid, ROLES_START_MS);
    return give(1) && wait_helper(pid, ROLES_START_MS) == 0 && slept &&
           mp_semaphore_value(semaphore) == 0;
}

/* Two were there, and the victim may have one. */
static bool check_acquire(void *how)
{
    (void)how;
    unsigned value = mp_semaphore_value(semaphore);

    return (value == 1 || value == 2) && is_plausible(value == 1) && still_works(value);
}

/* As long as others sleep no token stays there: then enough are given for all. */
static bool sleepers_are_right(unsigned *left)
{
    while (atomic_load(&roles->got) < roles->sleepers && mp_semaphore_value(semaphore))
        pause_shortly();
    if (!give(roles->sleepers) || !all_sleepers_got_in())
        return false;
    *left = mp_semaphore_value(semaphore);
    return true;
}

/* The victim slept beside others, and tokens were given. */
static bool check_contended(void *how)
{
    const struct semaphore_case *c = how;
    unsigned left, given = (unsigned)c->given;

    if (!roles->unblocked)
        give_tokens(how);
    if (!sleepers_are_right(&left) || (left != given && left + 1 != given))
        return false;
    return is_plausible(left + 1 == given) && still_works(left);
}

static bool check_release(void *how)
{
    (void)how;
    unsigned left;

    return sleepers_are_right(&left) && left <= 1 && is_plausible(left == 1) &&
           still_works(left);
}

static void test_acquire(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 2};
    struct role_case c = {.name = "acquire",
                          .how = &how,
                          .operate = acquire,
                          .check = check_acquire,
                          .ordered = true};

    expect_no_failure_either_way(&c);
}

static void give_token_to_victim(void *how)
{
    start_sleepers(acquire, how, 1);
    give_tokens(how);
}

static bool check_woken(void *how)
{
    if (roles->unblocked)
        return check_contended(how);
    return !roles->finished && still_works(0);
}

/* The one who was there first is woken for the only token, and may never take it. */
static void test_woken(void **state)
{
    (void)state;
    struct semaphore_case how = {.given = 1};
    struct role_case c = {.name = "acquire, woken first of two",
                          .how = &how,
                          .operate = acquire,
                          .unblock = give_token_to_victim,
                          .check = check_woken,
                          .limit = 10,
                          .watched = true};

    expect_no_failure_either_way(&c);
}

/* A token for each: the other gets one anyway. */
static void test_acquire_contended(void **state)
{
    (void)state;
    struct semaphore_case how = {.given = 2};
    struct role_case c = {.name = "acquire, two given for two",
                          .how = &how,
                          .sleeper = acquire,
                          .sleepers = 1,
                          .operate = acquire,
                          .unblock = give_tokens,
                          .check = check_contended,
                          .limit = 8};

    expect_no_failure_either_way(&c);
    c.name = "join and acquire, two for two";
    c.newcomer = true;
    expect_no_failure(&c, NOT_BURIED);
}

static void test_release(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 0};
    struct role_case c = {.name = "release",
                          .how = &how,
                          .operate = release,
                          .check = check_release,
                          .ordered = true};

    expect_no_failure_either_way(&c);
    c.name = "release, two sleep";
    c.sleeper = acquire;
    c.sleepers = 2;
    expect_no_failure_either_way(&c);
    /* Who is no member joins first, or nobody would know that it died. */
    c.name = "join and release, two sleep";
    c.newcomer = true;
    c.ordered = false;
    c.limit = 10;
    expect_no_failure_either_way(&c);
}

/* Those who would be woken gave up: the release takes their mark away. */
static void desert(void *how)
{
    (void)how;
    if (mp_semaphore_acquire(semaphore, 1) != ETIMEDOUT)
        abort();
}

static void test_release_with_nobody_left(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 0};
    struct role_case c = {.name = "release, nobody sleeps any more",
                          .how = &how,
                          .prepare = desert,
                          .operate = release,
                          .check = check_release,
                          .ordered = true};

    expect_no_failure_either_way(&c);
}

/* --- owned tokens: there is one --------------------------------------------------- */

/* Take the token, see that nobody else has it, let go. */
static bool pass_through(void *how)
{
    if (!step_in(mp_semaphore_acquire(semaphore, MP_FOREVER)))
        return false;
    step_out();
    return release(how);
}

/* The victim may get it from a dead owner. */
static bool acquire_owned(void *how)
{
    (void)how;
    int err = mp_semaphore_acquire(semaphore, MP_FOREVER);
    return err == 0 || err == EOWNERDEAD;
}

static int owner_body(void *arg)
{
    if (!acquire(arg))
        return 1;
    hold();
    return release(arg) ? 0 : 1;
}

static void prepare_owned(void *how)
{
    start_holder(owner_body, how);
}

/* It keeps the token until it is killed. */
static int doomed_body(void *arg)
{
    if (!acquire(arg))
        return 1;
    hold_for_good();
    return 1;
}

static void prepare_doomed(void *how)
{
    start_holder(doomed_body, how);
}

static void kill_owner(void *how)
{
    (void)how;
    end_helper(roles->holder);
}

static void prepare_left(void *how)
{
    prepare_doomed(how);
    kill_owner(how);
}

/* Those who wait get the token without help; and it goes on working. */
static bool check_owned(void *how)
{
    const struct semaphore_case *c = how;

    return all_sleepers_got_in() && pass_through(how) && pass_through(how) &&
           mp_semaphore_value(semaphore) == 1 && roles->told >= c->least_told &&
           roles->told <= c->most_told;
}

static bool check_owned_acquire(void *how)
{
    return check_owned(how) && is_plausible(roles->told == 1);
}

static bool check_owned_release(void *how)
{
    return check_owned(how) && is_plausible(roles->told == 0);
}

static bool check_after_owner(void *how)
{
    let_holder_release(how);
    return check_owned_acquire(how);
}

static bool check_after_owner_died(void *how)
{
    if (!roles->unblocked)
        kill(roles->holder, SIGKILL);
    return check_owned(how);
}

static void test_owned_acquire(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 1, .owned = true, .most_told = 1};
    struct role_case c = {.name = "owned: acquire",
                          .how = &how,
                          .operate = acquire,
                          .check = check_owned_acquire,
                          .ordered = true};

    expect_no_failure_either_way(&c);
    c.name = "owned: join and acquire";
    c.newcomer = true;
    c.ordered = false;
    c.limit = 16;
    expect_no_failure(&c, NOT_BURIED);
}

static void test_owned_acquire_contended(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 1, .owned = true, .most_told = 1};
    struct role_case c = {.name = "owned: acquire, two wait",
                          .how = &how,
                          .prepare = prepare_owned,
                          .sleeper = pass_through,
                          .sleepers = 1,
                          .operate = acquire,
                          .unblock = let_holder_release,
                          .check = check_after_owner,
                          .limit = 10};

    expect_no_failure_either_way(&c);
}

/* A token of one who died before: its taker is killed on the way to it, or with it. */
static void test_owned_recover(void **state)
{
    (void)state;
    struct semaphore_case how = {
        .value = 1, .owned = true, .least_told = 1, .most_told = 1};
    struct role_case c = {.name = "owned: acquire from the dead",
                          .how = &how,
                          .prepare = prepare_left,
                          .operate = acquire_owned,
                          .check = check_owned,
                          .limit = 16};

    expect_no_failure_either_way(&c);
}

/* The owner dies while two sleep, of which one is the victim: two deaths at most. */
static void test_owned_recover_contended(void **state)
{
    (void)state;
    struct semaphore_case how = {
        .value = 1, .owned = true, .least_told = 1, .most_told = 2};
    struct role_case c = {.name = "owned: owner dies, two wait",
                          .how = &how,
                          .prepare = prepare_doomed,
                          .sleeper = pass_through,
                          .sleepers = 1,
                          .operate = acquire_owned,
                          .unblock = kill_owner,
                          .check = check_after_owner_died,
                          .limit = 10};

    expect_no_failure_either_way(&c);
}

static void test_owned_release(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 1, .owned = true, .most_told = 1};
    struct role_case c = {.name = "owned: release",
                          .how = &how,
                          .before = acquire,
                          .operate = release,
                          .check = check_owned_release,
                          .ordered = true};

    expect_no_failure_either_way(&c);
    c.name = "owned: release, two sleep";
    c.sleeper = pass_through;
    c.sleepers = 2;
    expect_no_failure_either_way(&c);
}

int main(void)
{
    static const struct role_object object = {make, discard};
    static const struct CMUnitTest step_semaphore[] = {
        TEST(test_acquire),
        TEST(test_woken),
        TEST(test_acquire_contended),
        TEST(test_release),
        TEST(test_release_with_nobody_left),
        TEST(test_owned_acquire),
        TEST(test_owned_acquire_contended),
        TEST(test_owned_recover),
        TEST(test_owned_recover_contended),
        TEST(test_owned_release),
    };

    return roles_begin(&object) ? TEST_MAIN(step_semaphore) : SKIPPED;
}
