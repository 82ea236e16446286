/* SPDX-License-Identifier: MIT */
/*
 * test_step_event.c - a process is killed at every instruction of set, clear and wait.
 *
 * After each kill those who wait for an event that is set must wake without help, and
 * the event must go on working.
 */
#include "support/test.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/member.h"
#include "stepkill.h"

#define CHECK_MS 2000

enum { WAITERS = 2 };

/* Outside libmp, so that a bug in it cannot hide here. */
struct ledger {
    pid_t waiters[WAITERS];
    _Atomic int woken;       /* waiters whose wait returned 0 */
    _Atomic int failed;      /* waiters whose wait returned something else */
    _Atomic int unblocked;   /* the victim slept, and was to wake */
    _Atomic int finished;    /* the victim got through */
    _Atomic int seen_before; /* by any point so far: it had no effect yet, */
    _Atomic int seen_after;  /* it had */
};

struct event_case {
    bool joined;  /* the victim is a member of the family before it begins */
    bool bury;    /* its parent tells libmp of the death, before it reaps */
    bool set;     /* the event is set before the victim begins */
    bool ordered; /* it takes the same number of steps each time */
    bool pulse;   /* what wakes the victim is set and cleared at once */
    int waiters;
};

static struct ledger *ledger;
static mp_event *event;

static void prepare(void *arg)
{
    const struct event_case *c = arg;
    int before = ledger->seen_before, after = ledger->seen_after;

    memset(ledger, 0, sizeof *ledger);
    ledger->seen_before = before;
    ledger->seen_after = after;
    if (mp_event_new(&event, NULL) != 0 || (c->set && mp_event_set(event) != 0))
        abort();
}

static void clean(void *arg)
{
    (void)arg;
    for (int i = 0; i < WAITERS; i++)
        if (ledger->waiters[i]) {
            kill(ledger->waiters[i], SIGKILL);
            while (waitpid(ledger->waiters[i], NULL, 0) < 0 && errno == EINTR)
                continue;
        }
    mp__member_watch();
    mp_event_free(event);
}

static void died(void *arg, pid_t pid)
{
    const struct event_case *c = arg;
    uint64_t member = mp__member_of_pid(pid);

    if (c->bury && member)
        mp__member_bury(member);
}

static int waiter_body(void *arg)
{
    (void)arg;
    if (mp_event_wait(event, MP_FOREVER) == 0)
        atomic_fetch_add(&ledger->woken, 1);
    else
        atomic_fetch_add(&ledger->failed, 1);
    return 0;
}

static void start_waiters(void *arg, pid_t victim)
{
    const struct event_case *c = arg;

    (void)victim;
    for (int i = 0; i < c->waiters; i++)
        ledger->waiters[i] = child_start(waiter_body, NULL);
    for (int i = 0; i < c->waiters; i++)
        if (!process_sleeps(ledger->waiters[i], 20000))
            abort();
}

static void set_for_victim(void *arg)
{
    const struct event_case *c = arg;

    if (mp_event_set(event) != 0 || (c->pulse && mp_event_clear(event) != 0))
        abort();
    atomic_store(&ledger->unblocked, 1);
}

/* --- what others find ------------------------------------------------------------- */

static void until_woken(const struct event_case *c)
{
    while (atomic_load(&ledger->woken) + atomic_load(&ledger->failed) < c->waiters)
        sched_yield();
}

static int answer_nobody(void *arg)
{
    return mp_event_wait(arg, MP_FOREVER) == 0 ? 0 : 1;
}

/* An event that somebody was killed with goes on working, sleepers and all. */
static bool still_works(void)
{
    if (mp_event_clear(event) != 0 || mp_event_is_set(event) ||
        mp_event_wait(event, MP_NOWAIT) != ETIMEDOUT)
        return false;
    pid_t pid = child_start(answer_nobody, event);
    bool slept = process_sleeps(pid, 1000);
    if (mp_event_set(event) != 0 || !mp_event_is_set(event))
        return false;
    return child_wait(pid, 1000) == 0 && slept && mp_event_wait(event, MP_NOWAIT) == 0;
}

/* What the operation does happens at one point on the way, and not back; and when it
   got through, there is no doubt. */
static bool is_plausible(const struct event_case *c, bool done)
{
    if (done)
        ledger->seen_after = 1;
    else
        ledger->seen_before = 1;
    if (ledger->finished && !done)
        return false;
    return !c->ordered || done || !ledger->seen_after;
}

/* Whether the event is set, now or by us: those who wait must wake. */
static int check_set(void *arg)
{
    const struct event_case *c = arg;
    bool done = mp_event_is_set(event);

    if (!done && mp_event_set(event) != 0)
        return STEPKILL_WRONG;
    until_woken(c);
    if (ledger->failed || !is_plausible(c, done))
        return STEPKILL_WRONG;
    return still_works() ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static int check_clear(void *arg)
{
    bool done = !mp_event_is_set(event);

    if (!is_plausible(arg, done))
        return STEPKILL_WRONG;
    return still_works() ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

/* Others waited beside the victim. */
static int check_wait(void *arg)
{
    const struct event_case *c = arg;

    if (!ledger->unblocked && !c->set) {
        if (ledger->woken || ledger->finished || mp_event_is_set(event))
            return STEPKILL_WRONG;
        set_for_victim(arg);
    }
    until_woken(c);
    if (ledger->failed || mp_event_is_set(event) == c->pulse)
        return STEPKILL_WRONG;
    return still_works() ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void expect_no_failure(struct stepkill_case *c)
{
    ledger->seen_before = ledger->seen_after = 0;
    c->prepare = prepare;
    c->died = died;
    c->clean = clean;
    c->check_ms = CHECK_MS;
    struct stepkill_counts counts = stepkill_run(c);
    assert_true(counts.points > 3);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
}

/* Buried by its parent, and found by those who sleep. */
static void expect_no_failure_either_way(struct stepkill_case *c,
                                         const char *not_buried)
{
    struct event_case *how = c->arg;

    how->bury = true;
    expect_no_failure(c);
    how->bury = false;
    c->name = not_buried;
    expect_no_failure(c);
}

/* --- set and clear ---------------------------------------------------------------- */

static void set_victim(void *arg)
{
    const struct event_case *c = arg;

    if (c->joined && mp__join() != 0)
        return;
    stepkill_begin();
    if (mp_event_set(event) != 0)
        abort();
    ledger->finished = 1;
    stepkill_end();
}

static void clear_victim(void *arg)
{
    (void)arg;
    stepkill_begin();
    if (mp_event_clear(event) != 0)
        abort();
    ledger->finished = 1;
    stepkill_end();
}

static void test_set(void **state)
{
    (void)state;
    struct event_case how = {.joined = true, .ordered = true};
    struct stepkill_case c = {
        .name = "set", .arg = &how, .victim = set_victim, .check = check_set};

    expect_no_failure_either_way(&c, "set, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
    how.set = true;
    c.name = "set, set already";
    expect_no_failure(&c);
}

static void test_set_with_sleepers(void **state)
{
    (void)state;
    struct event_case how = {.joined = true, .ordered = true, .waiters = 2};
    struct stepkill_case c = {.name = "set, two sleep",
                              .arg = &how,
                              .victim = set_victim,
                              .paused = start_waiters,
                              .check = check_set};

    expect_no_failure_either_way(&c, "set, two sleep, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
}

/* Who is no member joins first, or nobody would know that it died. */
static void test_stranger_sets(void **state)
{
    (void)state;
    struct event_case how = {.waiters = 2};
    struct stepkill_case c = {.name = "join and set, two sleep",
                              .arg = &how,
                              .victim = set_victim,
                              .paused = start_waiters,
                              .check = check_set,
                              .limit = stepkill_limit(16)};

    expect_no_failure_either_way(&c, "the same, not buried");
}

static void test_clear(void **state)
{
    (void)state;
    struct event_case how = {.set = true, .ordered = true};
    struct stepkill_case c = {
        .name = "clear", .arg = &how, .victim = clear_victim, .check = check_clear};

    expect_no_failure_either_way(&c, "clear, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
}

/* --- wait ------------------------------------------------------------------------- */

static void wait_victim(void *arg)
{
    const struct event_case *c = arg;

    if (c->joined && mp__join() != 0)
        return;
    stepkill_begin();
    if (mp_event_wait(event, MP_FOREVER) != 0)
        abort();
    ledger->finished = 1;
    stepkill_end();
}

static void test_wait_when_set(void **state)
{
    (void)state;
    struct event_case how = {.set = true};
    struct stepkill_case c = {
        .name = "wait, set", .arg = &how, .victim = wait_victim, .check = check_wait};

    expect_no_failure_either_way(&c, "wait, set, not buried");
}

static void test_wait(void **state)
{
    (void)state;
    struct event_case how = {.joined = true, .waiters = 1};
    struct stepkill_case c = {.name = "wait, another waits",
                              .arg = &how,
                              .victim = wait_victim,
                              .paused = start_waiters,
                              .unblock = set_for_victim,
                              .check = check_wait,
                              .limit = stepkill_limit(8)};

    expect_no_failure_either_way(&c, "the same, not buried");
    how.joined = false;
    c.name = "join and wait, another waits";
    expect_no_failure(&c);
}

static void test_wait_for_pulse(void **state)
{
    (void)state;
    struct event_case how = {.joined = true, .pulse = true, .waiters = 1};
    struct stepkill_case c = {.name = "wait, set and cleared",
                              .arg = &how,
                              .victim = wait_victim,
                              .paused = start_waiters,
                              .unblock = set_for_victim,
                              .check = check_wait,
                              .limit = stepkill_limit(8)};

    expect_no_failure_either_way(&c, "the same, not buried");
}

int main(void)
{
    static const struct CMUnitTest step_event[] = {
        TEST(test_set),
        TEST(test_set_with_sleepers),
        TEST(test_stranger_sets),
        TEST(test_clear),
        TEST(test_wait_when_set),
        TEST(test_wait),
        TEST(test_wait_for_pulse),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_event);
}
