/* SPDX-License-Identifier: MIT */
/*
 * test_step_barrier.c - a process is killed at every instruction of each call.
 *
 * Others are at the barrier with it.  If they still wait after the kill, as many come
 * as a meeting without the victim takes.  Within two seconds all of them must have
 * returned and agree: all have met, or none has.  After a reset the barrier must be as
 * new.
 */
#include "support/test.h"

#include <sched.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include <mp/mp.h>

#include "roles.h"
#include "shm/member.h"

#define OTHERS_MAX 6

/* What a wait returned, and GOT; 0 before that. */
#define GOT 1000

/* Outside libmp, so that a bug in it cannot hide here. */
struct ledger {
    unsigned others; /* who were started: */
    pid_t pids[OTHERS_MAX];
    _Atomic int got[OTHERS_MAX];
    _Atomic unsigned index[OTHERS_MAX];
    _Atomic int victim_got;
    _Atomic int actions;                      /* of act, that came to their end */
    _Atomic int action_begun, action_may_end; /* of act_until_told */
    _Atomic int slow_ready, slow_may_begin;
};

struct barrier_case {
    unsigned parties;
    unsigned before; /* who sleep at the barrier when the victim begins */
    mp_action_fn *action;
    int timeout_ms;     /* the victim's */
    bool broken_before; /* when the victim begins */
    bool mends;         /* the victim's call is a reset */
    int expected;       /* what the others get if the victim gets through */
};

static struct ledger *ledger;
static mp_barrier *barrier;

static int act(void *arg)
{
    (void)arg;
    sched_yield();
    atomic_fetch_add(&ledger->actions, 1);
    return 0;
}

static int act_and_fail(void *arg)
{
    (void)arg;
    return ENOSPC;
}

static int act_until_told(void *arg)
{
    (void)arg;
    atomic_store(&ledger->action_begun, 1);
    while (!atomic_load(&ledger->action_may_end))
        usleep(1000);
    return 0;
}

static int other_body(void *arg)
{
    unsigned number = (unsigned)(uintptr_t)arg, index = 0;
    int err = mp_barrier_wait(barrier, MP_FOREVER, &index);

    atomic_store(&ledger->index[number], index);
    atomic_store(&ledger->got[number], GOT + err);
    return 0;
}

/* One more who comes to the barrier.  Its number. */
static unsigned start_other(void)
{
    unsigned number = ledger->others++;
    ledger->pids[number] = start_helper(other_body, (void *)(uintptr_t)number);
    return number;
}

static bool have_arrived(void *arg)
{
    return mp_barrier_n_waiting(barrier) == *(unsigned *)arg;
}

static void make(void *how)
{
    const struct barrier_case *c = how;

    memset(ledger, 0, sizeof *ledger);
    if (mp_barrier_new(&barrier, c->parties, MP_BARRIER_OPTIONS(.action = c->action)) !=
        0)
        abort();
    if (c->broken_before)
        mp_barrier_abort(barrier);
}

static void discard(void)
{
    mp_barrier_free(barrier);
}

static void let_some_come(void *how)
{
    const struct barrier_case *c = how;
    unsigned before = c->before;

    for (unsigned i = 0; i < before; i++)
        if (!process_sleeps(ledger->pids[start_other()], ROLES_START_MS))
            abort();
    if (!eventually(have_arrived, &before, ROLES_START_MS))
        abort();
}

static bool has_returned(void *arg)
{
    return ledger->got[*(unsigned *)arg] != 0;
}

/* The victim sleeps, and lives: with another one there are enough. */
static void let_another_come(void *arg)
{
    (void)arg;
    unsigned number = start_other();
    if (!eventually(has_returned, &number, ROLES_START_MS))
        abort();
}

static void let_action_end(void *arg)
{
    (void)arg;
    atomic_store(&ledger->action_may_end, 1);
}

/* --- what must be true afterwards ------------------------------------------------- */

/* An action that fails cancels the meeting, for the one whom it is told as well. */
static int meaning(int err)
{
    return err == ENOSPC ? ECANCELED : err;
}

/* What all others got, and GOT; or 0 if they don't agree. */
static int what_others_got(void)
{
    int agreed = 0;
    unsigned indexes = 0;

    for (unsigned i = 0; i < ledger->others; i++) {
        while (!atomic_load(&ledger->got[i]))
            pause_shortly();
        int got = GOT + meaning(ledger->got[i] - GOT);
        unsigned place = 1u << ledger->index[i];
        if ((agreed && got != agreed) || (got == GOT && indexes & place))
            return 0;
        agreed = got;
        indexes |= place;
    }
    return agreed;
}

static int meet_body(void *arg)
{
    (void)arg;
    return meaning(mp_barrier_wait(barrier, MP_FOREVER, NULL));
}

/* As many as the barrier takes come to it: what all of them get, or -1. */
static int meet(unsigned parties)
{
    pid_t pids[8];

    for (unsigned i = 1; i < parties; i++)
        pids[i] = start_helper(meet_body, NULL);
    int err = meet_body(NULL);
    for (unsigned i = 1; i < parties; i++)
        if (wait_helper(pids[i], ROLES_START_MS) != err)
            return -1;
    return err;
}

static bool works_after_reset(const struct barrier_case *c)
{
    int expected = c->action == act_and_fail ? ECANCELED : 0;

    atomic_store(&ledger->action_may_end, 1);
    for (int round = 0; round < 2; round++) {
        if (mp_barrier_reset(barrier) != 0 || mp_barrier_broken(barrier) ||
            mp_barrier_n_waiting(barrier) != 0 || meet(c->parties) != expected)
            return false;
    }
    return true;
}

static bool is_likely(const struct barrier_case *c, int got)
{
    bool met = got == GOT;

    note_effect(met);
    if (ledger->victim_got && got != GOT + c->expected)
        return false;
    /* Nobody leaves before the action, which is run once. */
    if (c->action == act && (met ? ledger->actions != 1 : ledger->actions > 1))
        return false;
    return mp_barrier_broken(barrier) == (!met && !c->mends);
}

static bool check(void *how)
{
    const struct barrier_case *c = how;
    unsigned waiting = mp_barrier_n_waiting(barrier), started = ledger->others;

    /* They wait for more: then more come. */
    for (unsigned i = waiting; waiting && i < c->parties; i++)
        start_other();
    int got = what_others_got();
    while (ledger->others > started)
        wait_helper(ledger->pids[--ledger->others], ROLES_START_MS);
    if (got != GOT && got != GOT + ECANCELED)
        return false;
    return is_likely(c, got) && works_after_reset(c);
}

/* --- the victims ------------------------------------------------------------------ */

/* What it gets is for the checks to judge. */
static bool wait_for_others(void *how)
{
    const struct barrier_case *c = how;

    int err = mp_barrier_wait(barrier, c->timeout_ms, NULL);
    atomic_store(&ledger->victim_got, GOT + err);
    return true;
}

static bool reset(void *how)
{
    (void)how;
    mp_barrier_reset(barrier);
    atomic_store(&ledger->victim_got, GOT);
    return true;
}

static bool break_it(void *how)
{
    (void)how;
    mp_barrier_abort(barrier);
    atomic_store(&ledger->victim_got, GOT);
    return true;
}

/* --- wait ------------------------------------------------------------------------- */

/* What all have in common that wait beside others. */
static struct role_case wait_case(const char *name, struct barrier_case *how)
{
    return (struct role_case){.name = name,
                              .how = how,
                              .paused = let_some_come,
                              .operate = wait_for_others,
                              .check = check};
}

/* The meeting takes place or not: it depends on the point.  Of few points where the
   death is to be noticed, which takes a while. */
static void expect_both_ends(struct role_case c, unsigned limit)
{
    c.limit = limit;
    c.both_ends = true;
    expect_no_failure(&c, BURIED);
    c.limit = 12;
    c.both_ends = false;
    expect_no_failure(&c, NOT_BURIED);
}

static void test_last(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 3, .before = 2, .timeout_ms = MP_FOREVER};
    struct role_case c = wait_case("the last", &how);

    expect_both_ends(c, 40);
    c.name = "join, and be the last";
    c.newcomer = true;
    c.limit = 10;
    expect_no_failure(&c, NOT_BURIED);
}

static void test_last_acts(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .before = 2, .timeout_ms = MP_FOREVER, .action = act};
    struct role_case c = wait_case("the last acts", &how);

    c.limit = 35;
    c.both_ends = true;
    expect_no_failure(&c, BURIED);
    how.action = act_and_fail;
    how.expected = ECANCELED;
    c.name = "the last acts and fails";
    c.limit = 12;
    c.both_ends = false;
    expect_no_failure(&c, NOT_BURIED);
}

/* It sleeps until another one comes, and is woken. */
static void test_waiter(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 3, .before = 1, .timeout_ms = MP_FOREVER};
    struct role_case c = wait_case("a waiter", &how);

    c.unblock = let_another_come;
    expect_both_ends(c, 40);
}

static void test_waiter_is_not_in_time(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .before = 1, .timeout_ms = 80, .expected = ECANCELED};
    struct role_case c = wait_case("a waiter, not in time", &how);

    c.limit = 15;
    expect_no_failure(&c, BURIED);
    how.timeout_ms = MP_NOWAIT;
    c.name = "a waiter without time";
    c.limit = 12;
    c.both_ends = true;
    expect_no_failure(&c, NOT_BURIED);
}

/*
 * Two meet and one of them acts when the victim comes, who is one too many.  Its time
 * ends, here or in the next meeting.
 */
static bool is_acting(void *arg)
{
    (void)arg;
    return ledger->action_begun;
}

static void let_two_meet(void *how)
{
    (void)how;
    start_other();
    start_other();
    if (!eventually(is_acting, NULL, ROLES_START_MS))
        abort();
}

static bool check_the_two(void *how)
{
    let_action_end(how);
    return what_others_got() == GOT && works_after_reset(how);
}

static void test_one_too_many(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 2, .timeout_ms = 120, .action = act_until_told};
    struct role_case c = {.name = "one too many",
                          .how = &how,
                          .paused = let_two_meet,
                          .operate = wait_for_others,
                          .unblock = let_action_end,
                          .check = check_the_two,
                          .limit = 15};

    expect_no_failure(&c, BURIED);
    how.timeout_ms = MP_NOWAIT;
    c.name = "one too many, without time";
    c.limit = 12;
    expect_no_failure(&c, NOT_BURIED);
}

/* --- who finds the dead ----------------------------------------------------------- */

static void leave_a_dead_one(void *how)
{
    (void)how;
    unsigned one = 1;

    pid_t pid = ledger->pids[start_other()];
    if (!eventually(have_arrived, &one, ROLES_START_MS))
        abort();
    end_helper(pid);
    ledger->others = 0;
}

/* Whoever comes now finds it as well. */
static bool check_who_comes(void *how)
{
    if (ledger->victim_got && ledger->victim_got != GOT + ECANCELED)
        return false;
    if (mp_barrier_n_waiting(barrier) != 0 || meet_body(NULL) != ECANCELED)
        return false;
    return works_after_reset(how);
}

static void test_who_finds_the_dead(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 2, .timeout_ms = MP_FOREVER};
    struct role_case c = {.name = "the last finds a dead one",
                          .how = &how,
                          .prepare = leave_a_dead_one,
                          .operate = wait_for_others,
                          .check = check_who_comes,
                          .limit = 12};

    expect_no_failure(&c, BURIED);
    how.parties = 3;
    c.name = "a waiter finds a dead one";
    expect_no_failure(&c, NOT_BURIED);
}

/* --- reset and abort -------------------------------------------------------------- */

static void expect_no_failure_by_anyone(struct role_case c, const char *by_stranger)
{
    c.paused = let_some_come;
    c.check = check;
    c.limit = 25;
    c.both_ends = true;
    expect_no_failure(&c, BURIED);
    c.name = by_stranger;
    c.newcomer = true;
    c.limit = 12;
    expect_no_failure(&c, NOT_BURIED);
}

static void test_reset(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .before = 2, .mends = true, .expected = ECANCELED};
    struct role_case c = {.name = "reset", .how = &how, .operate = reset};

    expect_no_failure_by_anyone(c, "reset by a stranger");
}

static void test_abort(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 3, .before = 2, .expected = ECANCELED};
    struct role_case c = {.name = "abort", .how = &how, .operate = break_it};

    expect_no_failure_by_anyone(c, "abort by a stranger");
}

/* Broken or mended: nobody is in it, and the check's own reset repeats it. */
static bool check_nobody(void *how)
{
    const struct barrier_case *c = how;

    if (mp_barrier_n_waiting(barrier) != 0 ||
        (ledger->victim_got && mp_barrier_broken(barrier)))
        return false;
    if (mp_barrier_broken(barrier) && meet(c->parties) != ECANCELED)
        return false;
    return works_after_reset(c);
}

static void test_reset_of_broken(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 3, .broken_before = true, .mends = true};
    struct role_case c = {.name = "reset, it was broken",
                          .how = &how,
                          .operate = reset,
                          .check = check_nobody,
                          .limit = 12};

    expect_no_failure(&c, BURIED);
}

/* --- who stands still, and comes too late ----------------------------------------- */

static int slow_body(void *arg)
{
    (void)arg;
    if (mp__join() != 0)
        return 1;
    atomic_store(&ledger->slow_ready, 1);
    while (!atomic_load(&ledger->slow_may_begin))
        sched_yield(); /* to who may have to wait for this very processor */
    stepkill_begin();
    int err = mp_barrier_wait(barrier, MP_FOREVER, NULL);
    atomic_store(&ledger->victim_got, GOT + err);
    for (;;)
        pause();
    return 0;
}

static bool slow_is_ready(void *arg)
{
    (void)arg;
    return ledger->slow_ready != 0;
}

static bool slow_has_returned(void *arg)
{
    (void)arg;
    return ledger->victim_got != 0;
}

/* To where it begins, and `steps` further.  False if it cannot be had there. */
static bool stop_slow_at(pid_t pid, unsigned steps)
{
    enum stepkill_stop stop;

    if (!eventually(slow_is_ready, NULL, ROLES_START_MS) || !stepkill_seize(pid))
        return false;
    atomic_store(&ledger->slow_may_begin, 1);
    do
        stop = stepkill_step(pid);
    while (stop == STEP_DONE);
    if (stop != STEP_MARK)
        return false;
    for (unsigned i = 0; i < steps; i++)
        if (stepkill_step(pid) != STEP_DONE)
            return false;
    return true;
}

/*
 * One stands still after `steps` steps while three come, at a barrier of two.  Whether
 * it has arrived or not, it goes on when a meeting has ended and somebody waits for
 * another: that one must be met.  Whether it had arrived.
 */
static bool meet_with_slow(unsigned steps)
{
    struct barrier_case how = {.parties = 2};
    unsigned one = 1;

    roles_prepare(&how);
    pid_t pid = child_start(slow_body, NULL);
    assert_true(stop_slow_at(pid, steps));
    bool arrived = mp_barrier_n_waiting(barrier) == 1;
    unsigned first = start_other();
    if (!arrived) {
        unsigned second = start_other();
        assert_true(eventually(has_returned, &second, ROLES_START_MS));
    }
    assert_true(eventually(has_returned, &first, ROLES_START_MS));
    start_other();
    assert_true(eventually(have_arrived, &one, ROLES_START_MS));
    if (arrived)
        start_other();
    ptrace(PTRACE_DETACH, pid, NULL, NULL);

    bool met = eventually(slow_has_returned, NULL, ROLES_START_MS) &&
               ledger->victim_got == GOT;
    for (unsigned i = 0; i < ledger->others; i++)
        met = eventually(has_returned, &i, ROLES_START_MS) && ledger->got[i] == GOT &&
              met;
    stepkill_kill(pid);
    roles_clean();
    if (!met)
        fail_msg("stopped after %u steps: not all have met", steps);
    return arrived;
}

static void test_who_is_slow(void **state)
{
    (void)state;
    unsigned steps = 0;

    while (!meet_with_slow(steps))
        steps++;
    fprintf(stderr, "who is slow arrives after %u steps\n", steps);
    for (unsigned more = 1; more < 10; more++)
        meet_with_slow(steps + more);
}

int main(void)
{
    static const struct role_object object = {make, discard};
    static const struct CMUnitTest step_barrier[] = {
        TEST(test_last),         TEST(test_last_acts),
        TEST(test_waiter),       TEST(test_waiter_is_not_in_time),
        TEST(test_one_too_many), TEST(test_who_finds_the_dead),
        TEST(test_reset),        TEST(test_reset_of_broken),
        TEST(test_abort),        TEST(test_who_is_slow),
    };

    ledger = shared_page(sizeof *ledger);
    return roles_begin(&object) ? TEST_MAIN(step_barrier) : SKIPPED;
}
