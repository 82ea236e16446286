/* SPDX-License-Identifier: MIT */
/*
 * test_step_lock.c - a process is killed at every instruction of acquire and release.
 *
 * After each kill other processes must get the lock within two seconds, one at a time,
 * and must be told at most once that its holder died.
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

/* Outside libmp, so that a bug in it cannot hide here. */
struct ledger {
    pid_t helper, holder;
    _Atomic int inside;      /* processes that believe they hold the lock */
    _Atomic int helper_got;  /* what the waiter's acquire returned, and GOT */
    _Atomic int may_release; /* the holder may let go */
    _Atomic int holder_holds;
    _Atomic int deaths_told; /* EOWNERDEAD returned since the kill */
    _Atomic int seen_told;   /* by any point so far, */
    _Atomic int seen_untold; /* for what happens in order of the points */
    _Atomic int finished;    /* the victim got through */
};

#define GOT 1000

struct lock_case {
    bool joined;   /* the victim is a member of the family before it begins */
    bool bury;     /* its parent tells libmp of the death, before it reaps */
    bool releases; /* the operation is a release */
    bool ordered;  /* it takes the same number of steps each time */
};

static struct ledger *ledger;
static mp_lock *lock;

static void prepare(void *arg)
{
    (void)arg;
    int told = ledger->seen_told, untold = ledger->seen_untold;
    memset(ledger, 0, sizeof *ledger);
    ledger->seen_told = told;
    ledger->seen_untold = untold;
    if (mp_lock_new(&lock, NULL) != 0)
        abort();
}

static void clean(void *arg)
{
    (void)arg;
    if (ledger->helper) {
        kill(ledger->helper, SIGKILL);
        waitpid(ledger->helper, NULL, 0);
    }
    if (ledger->holder) {
        kill(ledger->holder, SIGKILL);
        waitpid(ledger->holder, NULL, 0);
    }
    mp__member_watch();
    mp_lock_free(lock);
}

/* Take the lock, see that nobody else has it, let go.  Exit status of a check. */
static int pass_through(void)
{
    int err = mp_lock_acquire(lock, MP_FOREVER);

    if (err && err != EOWNERDEAD)
        return STEPKILL_WRONG;
    if (err)
        atomic_fetch_add(&ledger->deaths_told, 1);
    if (atomic_fetch_add(&ledger->inside, 1) != 0)
        return STEPKILL_WRONG;
    sched_yield();
    atomic_fetch_sub(&ledger->inside, 1);
    return mp_lock_release(lock) == 0 ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static int helper_body(void *arg)
{
    (void)arg;
    int verdict = pass_through();
    atomic_store(&ledger->helper_got, GOT + verdict);
    return 0;
}

/*
 * Whether the victim held the lock changes once on the way through, and not back; and
 * when it got through, there is no doubt.
 */
static bool is_plausible(const struct lock_case *c)
{
    bool told = ledger->deaths_told > 0;

    if (told)
        ledger->seen_told = 1;
    else
        ledger->seen_untold = 1;
    if (ledger->finished && told == c->releases)
        return false;
    if (c->ordered && c->releases)
        return !told || !ledger->seen_untold;
    return !c->ordered || told || !ledger->seen_told;
}

static int check(void *arg)
{
    const struct lock_case *c = arg;

    /* Twice: a lock that was put right must go on working. */
    if (pass_through() != STEPKILL_RIGHT || pass_through() != STEPKILL_RIGHT)
        return STEPKILL_WRONG;
    if (ledger->helper) {
        while (!atomic_load(&ledger->helper_got))
            sched_yield();
        if (ledger->helper_got != GOT + STEPKILL_RIGHT)
            return STEPKILL_WRONG;
    }
    if (ledger->deaths_told > 1 || !is_plausible(c))
        return STEPKILL_WRONG;
    return STEPKILL_RIGHT;
}

/* Somebody waits who must get it without help: the check only looks on at first. */
static int check_waiter_first(void *arg)
{
    while (!atomic_load(&ledger->helper_got))
        sched_yield();
    return check(arg);
}

static void died(void *arg, pid_t pid)
{
    const struct lock_case *c = arg;
    uint64_t member = mp__member_of_pid(pid);

    if (c->bury && member)
        mp__member_bury(member);
}

static void start_waiter(void *arg, pid_t victim)
{
    (void)arg;
    (void)victim;
    ledger->helper = child_start(helper_body, NULL);
    if (!process_sleeps(ledger->helper, 20000))
        abort();
}

/* --- acquire ---------------------------------------------------------------------- */

static void acquire_victim(void *arg)
{
    const struct lock_case *c = arg;

    if (c->joined && mp__join() != 0)
        return;
    stepkill_begin();
    if (mp_lock_acquire(lock, MP_FOREVER) != 0)
        abort();
    ledger->finished = 1;
    stepkill_end();
}

static int holder_body(void *arg)
{
    (void)arg;
    if (mp_lock_acquire(lock, MP_FOREVER) != 0)
        return 1;
    atomic_fetch_add(&ledger->inside, 1);
    atomic_store(&ledger->holder_holds, 1);
    while (!atomic_load(&ledger->may_release))
        sched_yield();
    atomic_fetch_sub(&ledger->inside, 1);
    return mp_lock_release(lock);
}

static bool holder_holds(void *arg)
{
    (void)arg;
    return ledger->holder_holds;
}

static void prepare_held(void *arg)
{
    prepare(arg);
    ledger->holder = child_start(holder_body, NULL);
    if (!eventually(holder_holds, NULL, 20000))
        abort();
}

static void let_holder_release(void *arg)
{
    (void)arg;
    atomic_store(&ledger->may_release, 1);
}

static int check_after_holder(void *arg)
{
    let_holder_release(arg);
    return check(arg);
}

static void expect_no_failure(const struct stepkill_case *c)
{
    ledger->seen_told = ledger->seen_untold = 0;
    struct stepkill_counts counts = stepkill_run(c);
    assert_true(counts.points > 3);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
}

static void test_acquire_free(void **state)
{
    (void)state;
    struct lock_case how = {.joined = true, .bury = true, .ordered = true};
    struct stepkill_case c = {.name = "acquire, free",
                              .arg = &how,
                              .prepare = prepare,
                              .victim = acquire_victim,
                              .died = died,
                              .check = check,
                              .clean = clean,
                              .check_ms = CHECK_MS};
    expect_no_failure(&c);
    assert_true(ledger->seen_told && ledger->seen_untold);

    how.bury = false;
    c.name = "acquire, free, not buried";
    expect_no_failure(&c);
}

/* The first call of a process joins it to the family: that can be cut short as well. */
static void test_first_acquire(void **state)
{
    (void)state;
    struct lock_case how = {.bury = true};
    struct stepkill_case c = {.name = "join and acquire",
                              .arg = &how,
                              .prepare = prepare,
                              .victim = acquire_victim,
                              .died = died,
                              .check = check,
                              .clean = clean,
                              .check_ms = CHECK_MS,
                              .limit = stepkill_limit(200)};
    expect_no_failure(&c);
    how.bury = false;
    c.name = "join and acquire, not buried";
    expect_no_failure(&c);
}

/* Held by another, who lets go when the victim has gone to sleep; a third one waits. */
static void test_acquire_contended(void **state)
{
    (void)state;
    struct lock_case how = {.joined = true, .bury = true};
    struct stepkill_case c = {.name = "acquire, held and waited for",
                              .arg = &how,
                              .prepare = prepare_held,
                              .victim = acquire_victim,
                              .paused = start_waiter,
                              .unblock = let_holder_release,
                              .died = died,
                              .check = check_after_holder,
                              .clean = clean,
                              .check_ms = CHECK_MS,
                              .limit = stepkill_limit(120)};
    expect_no_failure(&c);
    how.bury = false;
    c.name = "the same, not buried";
    expect_no_failure(&c);
}

/* --- release ---------------------------------------------------------------------- */

static void release_victim(void *arg)
{
    (void)arg;
    if (mp_lock_acquire(lock, MP_FOREVER) != 0)
        return;
    stepkill_begin();
    if (mp_lock_release(lock) != 0)
        abort();
    ledger->finished = 1;
    stepkill_end();
}

static void test_release(void **state)
{
    (void)state;
    struct lock_case how = {.bury = true, .releases = true, .ordered = true};
    struct stepkill_case c = {.name = "release",
                              .arg = &how,
                              .prepare = prepare,
                              .victim = release_victim,
                              .died = died,
                              .check = check,
                              .clean = clean,
                              .check_ms = CHECK_MS};
    expect_no_failure(&c);
    assert_true(ledger->seen_told && ledger->seen_untold);
    how.bury = false;
    c.name = "release, not buried";
    expect_no_failure(&c);
}

static void test_release_with_sleeper(void **state)
{
    (void)state;
    struct lock_case how = {.bury = true, .releases = true, .ordered = true};
    struct stepkill_case c = {.name = "release, somebody sleeps",
                              .arg = &how,
                              .prepare = prepare,
                              .victim = release_victim,
                              .paused = start_waiter,
                              .died = died,
                              .check = check_waiter_first,
                              .clean = clean,
                              .check_ms = CHECK_MS};
    expect_no_failure(&c);
    how.bury = false;
    c.name = "the same, not buried";
    expect_no_failure(&c);
}

/* --- a holder that is stopped is alive -------------------------------------------- */

static void test_stopped_holder_keeps_lock(void **state)
{
    (void)state;
    prepare_held(NULL);
    kill(ledger->holder, SIGSTOP);
    mp__member_watch();
    assert_int_equal(mp_lock_acquire(lock, 300), ETIMEDOUT);
    kill(ledger->holder, SIGCONT);
    let_holder_release(NULL);
    assert_int_equal(mp_lock_acquire(lock, 2000), 0);
    assert_int_equal(mp_lock_release(lock), 0);
    clean(NULL);
}

int main(void)
{
    static const struct CMUnitTest step_lock[] = {
        TEST(test_acquire_free),         TEST(test_first_acquire),
        TEST(test_acquire_contended),    TEST(test_release),
        TEST(test_release_with_sleeper), TEST(test_stopped_holder_keeps_lock),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_lock);
}
