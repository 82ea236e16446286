/* SPDX-License-Identifier: MIT */
/*
 * test_step_rlock.c - a process is killed at every instruction of acquire and release
 * of a recursive lock.
 *
 * After each kill other processes must get the lock within two seconds, one at a time,
 * at depth one, and must be told at most once that its holder died.
 */
#include "support/test.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/member.h"
#include "stepkill.h"
#include "sync/rlock.h"

#define CHECK_MS 2000

/* Outside libmp, so that a bug in it cannot hide here. */
struct ledger {
    pid_t helper, holder;
    _Atomic int inside;      /* processes that believe they hold the lock */
    _Atomic int helper_got;  /* GOT, and the verdict of the one who waited */
    _Atomic int may_release; /* the holder may let go */
    _Atomic int holder_holds;
    _Atomic int told;     /* EOWNERDEAD returned since the kill */
    _Atomic int finished; /* the victim got through */
    _Atomic int failed;   /* or got what it should not get */
};

#define GOT 1000

struct rlock_case {
    bool joined; /* the victim is a member of the family before it begins */
    bool bury;   /* its parent tells libmp of the death, before it reaps */
    int before;  /* how often the victim holds the lock before it begins, */
    int after;   /* and when it got through */
};

static struct ledger *ledger;
static mp_rlock *lock;

static void prepare(void *arg)
{
    (void)arg;
    memset(ledger, 0, sizeof *ledger);
    if (mp_rlock_new(&lock, NULL) != 0)
        abort();
}

static void end_helper(pid_t pid)
{
    if (!pid)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void clean(void *arg)
{
    (void)arg;
    end_helper(ledger->helper);
    end_helper(ledger->holder);
    mp__member_watch();
    mp_rlock_free(lock);
}

/* Take the lock twice, see that nobody else has it, let go. */
static int pass_through(void)
{
    int err = mp_rlock_acquire(lock, MP_FOREVER);

    if (err && err != EOWNERDEAD)
        return STEPKILL_WRONG;
    if (err)
        atomic_fetch_add(&ledger->told, 1);
    if (atomic_fetch_add(&ledger->inside, 1) != 0)
        return STEPKILL_WRONG;
    if (mp_rlock_acquire(lock, MP_NOWAIT) != 0 || mp_rlock_release(lock) != 0)
        return STEPKILL_WRONG;
    sched_yield();
    atomic_fetch_sub(&ledger->inside, 1);
    if (mp_rlock_release(lock) != 0 || mp_rlock_release(lock) != EPERM)
        return STEPKILL_WRONG;
    return STEPKILL_RIGHT;
}

static int helper_body(void *arg)
{
    (void)arg;
    int verdict = pass_through();
    atomic_store(&ledger->helper_got, GOT + verdict);
    return 0;
}

/* The victim held the lock for certain before it began and after it ended. */
static bool is_plausible(const struct rlock_case *c)
{
    if (ledger->told > 1 || ledger->failed)
        return false;
    if (c->before && c->after)
        return ledger->told == 1;
    return !ledger->finished || (ledger->told == 1) == (c->after > 0);
}

static int check(void *arg)
{
    const struct rlock_case *c = arg;

    /* Twice: a lock that was put right must go on working. */
    if (pass_through() != STEPKILL_RIGHT || pass_through() != STEPKILL_RIGHT)
        return STEPKILL_WRONG;
    if (ledger->helper) {
        while (!atomic_load(&ledger->helper_got))
            sched_yield();
        if (ledger->helper_got != GOT + STEPKILL_RIGHT)
            return STEPKILL_WRONG;
    }
    return is_plausible(c) ? STEPKILL_RIGHT : STEPKILL_WRONG;
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
    const struct rlock_case *c = arg;
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

static void hold(int count)
{
    while (count-- > 0)
        if (mp_rlock_acquire(lock, MP_FOREVER) != 0)
            ledger->failed = 1;
}

static void acquire_victim(void *arg)
{
    const struct rlock_case *c = arg;

    if (c->joined && mp__join() != 0)
        return;
    hold(c->before);
    stepkill_begin();
    if (mp_rlock_acquire(lock, MP_FOREVER) != 0)
        ledger->failed = 1;
    ledger->finished = 1;
    stepkill_end();
}

static void release_victim(void *arg)
{
    const struct rlock_case *c = arg;

    hold(c->before);
    stepkill_begin();
    if (mp_rlock_release(lock) != 0)
        ledger->failed = 1;
    ledger->finished = 1;
    stepkill_end();
}

/* With the victim buried by its parent, and by whoever notices. */
static void expect_no_failure(struct stepkill_case *c)
{
    struct rlock_case *how = c->arg;

    c->check_ms = CHECK_MS;
    c->prepare = c->prepare ? c->prepare : prepare;
    c->check = c->check ? c->check : check;
    c->died = died;
    c->clean = clean;
    for (int bury = 0; bury < 2; bury++) {
        how->bury = bury;
        struct stepkill_counts counts = stepkill_run(c);
        assert_true(counts.points > 3);
        assert_int_equal(counts.stuck, 0);
        assert_int_equal(counts.wrong, 0);
    }
}

static void test_acquire(void **state)
{
    (void)state;
    struct rlock_case how = {.joined = true, .after = 1};
    struct stepkill_case c = {.name = "acquire, the first of a thread",
                              .arg = &how,
                              .victim = acquire_victim,
                              .limit = stepkill_limit(40)};

    expect_no_failure(&c);
    how.joined = false;
    c.name = "join and acquire";
    c.limit = stepkill_limit(40);
    expect_no_failure(&c);
}

static void test_acquire_again(void **state)
{
    (void)state;
    struct rlock_case how = {.before = 2, .after = 3};
    struct stepkill_case c = {
        .name = "acquire, held twice", .arg = &how, .victim = acquire_victim};

    expect_no_failure(&c);
}

static int holder_body(void *arg)
{
    (void)arg;
    hold(2);
    atomic_fetch_add(&ledger->inside, 1);
    atomic_store(&ledger->holder_holds, 1);
    while (!atomic_load(&ledger->may_release))
        sched_yield();
    atomic_fetch_sub(&ledger->inside, 1);
    return mp_rlock_release(lock) || mp_rlock_release(lock);
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

/* Held by another, who lets go when the victim has gone to sleep; a third one waits. */
static void test_acquire_contended(void **state)
{
    (void)state;
    struct rlock_case how = {.joined = true, .after = 1};
    struct stepkill_case c = {.name = "acquire, held and waited for",
                              .arg = &how,
                              .prepare = prepare_held,
                              .victim = acquire_victim,
                              .paused = start_waiter,
                              .unblock = let_holder_release,
                              .check = check_after_holder,
                              .limit = stepkill_limit(8)};
    expect_no_failure(&c);
}

static void test_release(void **state)
{
    (void)state;
    struct rlock_case how = {.before = 1, .after = 0};
    struct stepkill_case c = {.name = "release", .arg = &how, .victim = release_victim};

    expect_no_failure(&c);
    how = (struct rlock_case){.before = 3, .after = 2};
    c.name = "release, held three times";
    expect_no_failure(&c);
}

static void test_release_with_sleeper(void **state)
{
    (void)state;
    struct rlock_case how = {.before = 1, .after = 0};
    struct stepkill_case c = {.name = "release, somebody sleeps",
                              .arg = &how,
                              .victim = release_victim,
                              .paused = start_waiter,
                              .check = check_waiter_first,
                              .limit = stepkill_limit(40)};
    expect_no_failure(&c);
}

/* What no test can reach by acquiring. */
static void test_count_does_not_overflow(void **state)
{
    (void)state;
    prepare(NULL);
    hold(1);
    lock->count = UINT32_MAX - 1;
    assert_int_equal(mp_rlock_acquire(lock, MP_NOWAIT), 0);
    assert_int_equal(mp_rlock_acquire(lock, MP_NOWAIT), EOVERFLOW);
    assert_int_equal(mp_rlock_release(lock), 0);
    assert_int_equal(mp_rlock_acquire(lock, MP_NOWAIT), 0);
    clean(NULL);
}

int main(void)
{
    static const struct CMUnitTest step_rlock[] = {
        TEST(test_acquire),
        TEST(test_acquire_again),
        TEST(test_acquire_contended),
        TEST(test_release),
        TEST(test_release_with_sleeper),
        TEST(test_count_does_not_overflow),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_rlock);
}
