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
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/member.h"
#include "stepkill.h"

#define CHECK_MS   2000
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
    _Atomic int seen_met, seen_canceled; /* by any point so far */
};

struct barrier_case {
    unsigned parties;
    unsigned before; /* who sleep at the barrier when the victim begins */
    mp_action_fn *action;
    int timeout_ms;     /* the victim's */
    bool first;         /* the victim is no member of the family before it begins */
    bool bury;          /* its parent tells libmp of the death, before it reaps */
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
    ledger->pids[number] = child_start(other_body, (void *)(uintptr_t)number);
    return number;
}

static bool have_arrived(void *arg)
{
    return mp_barrier_n_waiting(barrier) == *(unsigned *)arg;
}

static void prepare(void *arg)
{
    const struct barrier_case *c = arg;
    int met = ledger->seen_met, canceled = ledger->seen_canceled;

    memset(ledger, 0, sizeof *ledger);
    ledger->seen_met = met;
    ledger->seen_canceled = canceled;
    if (mp_barrier_new(&barrier, c->parties, MP_BARRIER_OPTIONS(.action = c->action)) !=
        0)
        abort();
    if (c->broken_before)
        mp_barrier_abort(barrier);
}

/* Those who are there before do not see the victim join. */
static void paused(void *arg, pid_t pid)
{
    const struct barrier_case *c = arg;
    unsigned before = c->before;

    (void)pid;
    for (unsigned i = 0; i < before; i++)
        if (!process_sleeps(ledger->pids[start_other()], 20000))
            abort();
    if (!c->broken_before && !eventually(have_arrived, &before, 20000))
        abort();
}

static void clean(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ledger->others; i++) {
        kill(ledger->pids[i], SIGKILL);
        waitpid(ledger->pids[i], NULL, 0);
    }
    mp__member_watch();
    mp_barrier_free(barrier);
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
    if (!eventually(has_returned, &number, 20000))
        abort();
}

static void let_action_end(void *arg)
{
    (void)arg;
    atomic_store(&ledger->action_may_end, 1);
}

static void died(void *arg, pid_t pid)
{
    const struct barrier_case *c = arg;
    uint64_t member = mp__member_of_pid(pid);

    if (c->bury && member)
        mp__member_bury(member);
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
            sched_yield();
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
        pids[i] = child_start(meet_body, NULL);
    int err = meet_body(NULL);
    for (unsigned i = 1; i < parties; i++)
        if (child_wait(pids[i], 1000) != err)
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

static bool is_plausible(const struct barrier_case *c, int got)
{
    bool met = got == GOT;

    if (met)
        ledger->seen_met = 1;
    else
        ledger->seen_canceled = 1;
    if (ledger->victim_got && got != GOT + c->expected)
        return false;
    /* Nobody leaves before the action, which is run once. */
    if (c->action == act && (met ? ledger->actions != 1 : ledger->actions > 1))
        return false;
    return mp_barrier_broken(barrier) == (!met && !c->mends);
}

static int check(void *arg)
{
    const struct barrier_case *c = arg;
    unsigned waiting = mp_barrier_n_waiting(barrier), started = ledger->others;

    /* They wait for more: then more come. */
    for (unsigned i = waiting; waiting && i < c->parties; i++)
        start_other();
    int got = what_others_got();
    while (ledger->others > started)
        child_wait(ledger->pids[--ledger->others], 1000);
    if (got != GOT && got != GOT + ECANCELED)
        return STEPKILL_WRONG;
    return is_plausible(c, got) && works_after_reset(c) ? STEPKILL_RIGHT
                                                        : STEPKILL_WRONG;
}

/* --- the victims ------------------------------------------------------------------ */

static void begin(const struct barrier_case *c)
{
    if (!c->first && mp__join() != 0)
        abort();
    stepkill_begin();
}

static void wait_victim(void *arg)
{
    const struct barrier_case *c = arg;

    begin(c);
    int err = mp_barrier_wait(barrier, c->timeout_ms, NULL);
    atomic_store(&ledger->victim_got, GOT + err);
    stepkill_end();
}

static void reset_victim(void *arg)
{
    begin(arg);
    mp_barrier_reset(barrier);
    atomic_store(&ledger->victim_got, GOT);
    stepkill_end();
}

static void abort_victim(void *arg)
{
    begin(arg);
    mp_barrier_abort(barrier);
    atomic_store(&ledger->victim_got, GOT);
    stepkill_end();
}

static void expect_no_failure(struct stepkill_case c, struct barrier_case how,
                              unsigned limit)
{
    ledger->seen_met = ledger->seen_canceled = 0;
    c.arg = &how;
    c.prepare = c.prepare ? c.prepare : prepare;
    c.victim = c.victim ? c.victim : wait_victim;
    c.paused = c.paused ? c.paused : paused;
    c.died = died;
    c.check = c.check ? c.check : check;
    c.clean = clean;
    c.check_ms = CHECK_MS;
    c.limit = stepkill_limit(limit);
    struct stepkill_counts counts = stepkill_run(&c);
    assert_true(counts.points > 3);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
}

static void expect_both_ends(void)
{
    assert_true(ledger->seen_met && ledger->seen_canceled);
}

/* --- wait ------------------------------------------------------------------------- */

static void test_last(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .before = 2, .timeout_ms = MP_FOREVER, .bury = true};

    expect_no_failure((struct stepkill_case){.name = "the last"}, how, 40);
    expect_both_ends();
    how.bury = false;
    expect_no_failure((struct stepkill_case){.name = "the last, not buried"}, how, 12);
    how.first = true;
    expect_no_failure((struct stepkill_case){.name = "join, and be the last"}, how, 10);
}

static void test_last_acts(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 3,
                               .before = 2,
                               .timeout_ms = MP_FOREVER,
                               .bury = true,
                               .action = act};

    expect_no_failure((struct stepkill_case){.name = "the last acts"}, how, 35);
    expect_both_ends();
    how.bury = false;
    how.action = act_and_fail;
    how.expected = ECANCELED;
    expect_no_failure((struct stepkill_case){.name = "the last acts and fails"}, how,
                      12);
}

/* It sleeps until another one comes, and is woken. */
static void test_waiter(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .before = 1, .timeout_ms = MP_FOREVER, .bury = true};
    struct stepkill_case c = {.name = "a waiter", .unblock = let_another_come};

    expect_no_failure(c, how, 40);
    expect_both_ends();
    how.bury = false;
    c.name = "a waiter, not buried";
    expect_no_failure(c, how, 12);
}

static void test_waiter_is_not_in_time(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 3,
                               .before = 1,
                               .timeout_ms = 80,
                               .bury = true,
                               .expected = ECANCELED};

    expect_no_failure((struct stepkill_case){.name = "a waiter, not in time"}, how, 15);
    how.timeout_ms = MP_NOWAIT;
    how.bury = false;
    expect_no_failure((struct stepkill_case){.name = "a waiter without time"}, how, 12);
    expect_both_ends();
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

static void let_two_meet(void *arg, pid_t victim)
{
    (void)arg;
    (void)victim;
    start_other();
    start_other();
    if (!eventually(is_acting, NULL, 20000))
        abort();
}

static int check_the_two(void *arg)
{
    const struct barrier_case *c = arg;

    let_action_end(NULL);
    return what_others_got() == GOT && works_after_reset(c) ? STEPKILL_RIGHT
                                                            : STEPKILL_WRONG;
}

static void test_one_too_many(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 2, .timeout_ms = 120, .bury = true, .action = act_until_told};
    struct stepkill_case c = {.name = "one too many",
                              .paused = let_two_meet,
                              .unblock = let_action_end,
                              .check = check_the_two};

    expect_no_failure(c, how, 15);
    how.bury = false;
    how.timeout_ms = MP_NOWAIT;
    c.name = "one too many, without time";
    expect_no_failure(c, how, 12);
}

/* --- who finds the dead ----------------------------------------------------------- */

static void leave_a_dead_one(void *arg)
{
    unsigned one = 1;

    prepare(arg);
    pid_t pid = ledger->pids[start_other()];
    if (!eventually(have_arrived, &one, 20000))
        abort();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    ledger->others = 0;
}

static void nothing_else(void *arg, pid_t victim)
{
    (void)arg;
    (void)victim;
}

/* Whoever comes now finds it as well. */
static int check_who_comes(void *arg)
{
    const struct barrier_case *c = arg;

    if (ledger->victim_got && ledger->victim_got != GOT + ECANCELED)
        return STEPKILL_WRONG;
    if (mp_barrier_n_waiting(barrier) != 0 || meet_body(NULL) != ECANCELED)
        return STEPKILL_WRONG;
    return works_after_reset(c) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void test_who_finds_the_dead(void **state)
{
    (void)state;
    struct barrier_case how = {.parties = 2, .timeout_ms = MP_FOREVER, .bury = true};
    struct stepkill_case c = {.name = "the last finds a dead one",
                              .prepare = leave_a_dead_one,
                              .paused = nothing_else,
                              .check = check_who_comes};

    expect_no_failure(c, how, 12);
    how.parties = 3;
    how.bury = false;
    c.name = "a waiter finds a dead one";
    expect_no_failure(c, how, 12);
}

/* --- reset and abort -------------------------------------------------------------- */

static void test_reset(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .before = 2, .bury = true, .mends = true, .expected = ECANCELED};
    struct stepkill_case c = {.name = "reset", .victim = reset_victim};

    expect_no_failure(c, how, 25);
    expect_both_ends();
    how.bury = false;
    how.first = true;
    c.name = "reset by a stranger";
    expect_no_failure(c, how, 12);
    expect_both_ends();
}

/* Broken or mended: nobody is in it, and the check's own reset repeats it. */
static int check_nobody(void *arg)
{
    const struct barrier_case *c = arg;

    if (mp_barrier_n_waiting(barrier) != 0 ||
        (ledger->victim_got && mp_barrier_broken(barrier)))
        return STEPKILL_WRONG;
    if (mp_barrier_broken(barrier) && meet(c->parties) != ECANCELED)
        return STEPKILL_WRONG;
    return works_after_reset(c) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void test_reset_of_broken(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .bury = true, .broken_before = true, .mends = true};
    struct stepkill_case c = {.name = "reset, it was broken",
                              .victim = reset_victim,
                              .paused = nothing_else,
                              .check = check_nobody};

    expect_no_failure(c, how, 12);
}

static void test_abort(void **state)
{
    (void)state;
    struct barrier_case how = {
        .parties = 3, .before = 2, .bury = true, .expected = ECANCELED};
    struct stepkill_case c = {.name = "abort", .victim = abort_victim};

    expect_no_failure(c, how, 25);
    expect_both_ends();
    how.bury = false;
    how.first = true;
    c.name = "abort by a stranger";
    expect_no_failure(c, how, 12);
    expect_both_ends();
}

/* --- who stands still, and comes too late ----------------------------------------- */

static int slow_body(void *arg)
{
    (void)arg;
    if (mp__join() != 0)
        return 1;
    atomic_store(&ledger->slow_ready, 1);
    while (!atomic_load(&ledger->slow_may_begin))
        continue;
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

    if (!eventually(slow_is_ready, NULL, 20000) || !stepkill_seize(pid))
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

    prepare(&how);
    pid_t pid = child_start(slow_body, NULL);
    assert_true(stop_slow_at(pid, steps));
    bool arrived = mp_barrier_n_waiting(barrier) == 1;
    unsigned first = start_other();
    if (!arrived) {
        unsigned second = start_other();
        assert_true(eventually(has_returned, &second, 20000));
    }
    assert_true(eventually(has_returned, &first, 20000));
    start_other();
    assert_true(eventually(have_arrived, &one, 20000));
    if (arrived)
        start_other();
    ptrace(PTRACE_DETACH, pid, NULL, NULL);

    bool met = eventually(slow_has_returned, NULL, 20000) && ledger->victim_got == GOT;
    for (unsigned i = 0; i < ledger->others; i++)
        met = eventually(has_returned, &i, 20000) && ledger->got[i] == GOT && met;
    stepkill_kill(pid);
    clean(NULL);
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
    static const struct CMUnitTest step_barrier[] = {
        TEST(test_last),         TEST(test_last_acts),
        TEST(test_waiter),       TEST(test_waiter_is_not_in_time),
        TEST(test_one_too_many), TEST(test_who_finds_the_dead),
        TEST(test_reset),        TEST(test_reset_of_broken),
        TEST(test_abort),        TEST(test_who_is_slow),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_barrier);
}
