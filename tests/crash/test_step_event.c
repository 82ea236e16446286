/* SPDX-License-Identifier: MIT */
/*
 * test_step_event.c - a process is killed at every instruction of set, clear and wait.
 *
 * After each kill those who wait for an event that is set must wake without help, and
 * the event must go on working.
 */
#include "support/test.h"

#include <mp/mp.h>

#include "roles.h"

struct event_case {
    bool set;   /* the event is set before the victim begins */
    bool pulse; /* what wakes the victim is set and cleared at once */
};

static mp_event *event;

static void make(void *how)
{
    const struct event_case *c = how;

    if (mp_event_new(&event, NULL) != 0 || (c->set && mp_event_set(event) != 0))
        abort();
}

static void discard(void)
{
    mp_event_free(event);
}

static bool set(void *how)
{
    (void)how;
    return mp_event_set(event) == 0;
}

static bool clear(void *how)
{
    (void)how;
    return mp_event_clear(event) == 0;
}

static bool wait_for_it(void *how)
{
    (void)how;
    return mp_event_wait(event, MP_FOREVER) == 0;
}

static void set_for_victim(void *how)
{
    const struct event_case *c = how;

    if (!set(how) || (c->pulse && !clear(how)))
        abort();
}

/* --- what others find ------------------------------------------------------------- */

static int answer_nobody(void *arg)
{
    return wait_for_it(arg) ? 0 : 1;
}

/* An event that somebody was killed with goes on working, sleepers and all. */
static bool still_works(void)
{
    if (mp_event_clear(event) != 0 || mp_event_is_set(event) ||
        mp_event_wait(event, MP_NOWAIT) != ETIMEDOUT)
        return false;
    pid_t pid = start_helper(answer_nobody, NULL);
    bool slept = process_sleeps(pid, ROLES_START_MS);
    if (mp_event_set(event) != 0 || !mp_event_is_set(event))
        return false;
    return wait_helper(pid, ROLES_START_MS) == 0 && slept &&
           mp_event_wait(event, MP_NOWAIT) == 0;
}

/* Whether the event is set, now or by us: those who wait must wake. */
static bool check_set(void *how)
{
    const struct event_case *c = how;
    bool done = mp_event_is_set(event);

    if (!done && (c->set || !set(how)))
        return false;
    return all_sleepers_got_in() && is_plausible(done) && still_works();
}

static bool check_clear(void *how)
{
    (void)how;
    return is_plausible(!mp_event_is_set(event)) && still_works();
}

/* Others waited beside the victim. */
static bool check_wait(void *how)
{
    const struct event_case *c = how;

    if (!roles->unblocked && !c->set) {
        if (roles->got || roles->finished || mp_event_is_set(event))
            return false;
        set_for_victim(how);
    }
    return all_sleepers_got_in() && mp_event_is_set(event) == !c->pulse &&
           still_works();
}

/* --- set and clear ---------------------------------------------------------------- */

static void test_set(void **state)
{
    (void)state;
    struct event_case how = {.set = false};
    struct role_case c = {.name = "set",
                          .how = &how,
                          .operate = set,
                          .check = check_set,
                          .ordered = true};

    expect_no_failure_either_way(&c);
    how.set = true;
    c.name = "set, set already";
    c.ordered = false;
    expect_no_failure(&c, NOT_BURIED);
}

static void test_set_with_sleepers(void **state)
{
    (void)state;
    struct event_case how = {.set = false};
    struct role_case c = {.name = "set, two sleep",
                          .how = &how,
                          .sleeper = wait_for_it,
                          .sleepers = 2,
                          .operate = set,
                          .check = check_set,
                          .ordered = true};

    expect_no_failure_either_way(&c);
    /* Who is no member joins first, or nobody would know that it died. */
    c.name = "join and set, two sleep";
    c.newcomer = true;
    c.ordered = false;
    c.limit = 16;
    expect_no_failure_either_way(&c);
}

static void test_clear(void **state)
{
    (void)state;
    struct event_case how = {.set = true};
    struct role_case c = {.name = "clear",
                          .how = &how,
                          .newcomer = true,
                          .operate = clear,
                          .check = check_clear,
                          .ordered = true};

    expect_no_failure_either_way(&c);
}

/* --- wait ------------------------------------------------------------------------- */

static void test_wait_when_set(void **state)
{
    (void)state;
    struct event_case how = {.set = true};
    struct role_case c = {.name = "wait, set",
                          .how = &how,
                          .newcomer = true,
                          .operate = wait_for_it,
                          .check = check_wait};

    expect_no_failure_either_way(&c);
}

static void test_wait(void **state)
{
    (void)state;
    struct event_case how = {.set = false};
    struct role_case c = {.name = "wait, another waits",
                          .how = &how,
                          .sleeper = wait_for_it,
                          .sleepers = 1,
                          .operate = wait_for_it,
                          .unblock = set_for_victim,
                          .check = check_wait,
                          .limit = 8};

    expect_no_failure_either_way(&c);
    how.pulse = true;
    c.name = "wait, set and cleared";
    expect_no_failure_either_way(&c);
    how.pulse = false;
    c.name = "join and wait, another waits";
    c.newcomer = true;
    expect_no_failure(&c, NOT_BURIED);
}

int main(void)
{
    static const struct role_object object = {make, discard};
    static const struct CMUnitTest step_event[] = {
        TEST(test_set),   TEST(test_set_with_sleepers),
        TEST(test_clear), TEST(test_wait_when_set),
        TEST(test_wait),
    };

    return roles_begin(&object) ? TEST_MAIN(step_event) : SKIPPED;
}
