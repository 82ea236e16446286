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
    pid_t waiters[WAITERS], owner;
    _Atomic int got;         /* waiters that got a token */
    _Atomic int failed;      /* waiters that found something wrong */
    _Atomic int unblocked;   /* the victim slept, and was to wake */
    _Atomic int finished;    /* the victim got through */
    _Atomic int inside;      /* who believe that they own the token */
    _Atomic int owner_owns;  /* one that is no victim */
    _Atomic int may_release; /* it may let go */
    _Atomic int told;        /* EOWNERDEAD returned since the kill */
    _Atomic int seen_before; /* by any point so far: it had no effect yet, */
    _Atomic int seen_after;  /* it had */
};

struct semaphore_case {
    unsigned value;
    bool owned;
    bool joined;  /* the victim is a member of the family before it begins */
    bool bury;    /* its parent tells libmp of the death, before it reaps */
    bool ordered; /* it takes the same number of steps each time */
    int waiters;
    int given;      /* tokens that are released when the victim has gone to sleep */
    int least_told; /* deaths of owners */
    int most_told;
};

static struct ledger *ledger;
static mp_semaphore *semaphore;

static void prepare(void *arg)
{
    const struct semaphore_case *c = arg;
    int before = ledger->seen_before, after = ledger->seen_after;

    memset(ledger, 0, sizeof *ledger);
    ledger->seen_before = before;
    ledger->seen_after = after;
    if (mp_semaphore_new(&semaphore, c->value, MP_SEMAPHORE_OPTIONS(.owned = c->owned)))
        abort();
}

static void end_helper(pid_t pid)
{
    if (!pid)
        return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void clean(void *arg)
{
    (void)arg;
    for (int i = 0; i < WAITERS; i++)
        end_helper(ledger->waiters[i]);
    end_helper(ledger->owner);
    mp__member_watch();
    mp_semaphore_free(semaphore);
}

static void died(void *arg, pid_t pid)
{
    const struct semaphore_case *c = arg;
    uint64_t member = mp__member_of_pid(pid);

    if (c->bury && member)
        mp__member_bury(member);
}

static void start_waiters_with(child_body *body, int count)
{
    for (int i = 0; i < count; i++)
        ledger->waiters[i] = child_start(body, NULL);
    for (int i = 0; i < count; i++)
        if (!process_sleeps(ledger->waiters[i], 20000))
            abort();
}

static void until_all_got(const struct semaphore_case *c)
{
    while (atomic_load(&ledger->got) + atomic_load(&ledger->failed) < c->waiters)
        sched_yield();
}

/* What the operation does happens at one point on the way, and not back; and when it
   got through, there is no doubt. */
static bool is_plausible(const struct semaphore_case *c, bool done)
{
    if (done)
        ledger->seen_after = 1;
    else
        ledger->seen_before = 1;
    if (ledger->finished && !done)
        return false;
    return !c->ordered || done || !ledger->seen_after;
}

static void expect_no_failure(struct stepkill_case *c)
{
    ledger->seen_before = ledger->seen_after = 0;
    if (!c->prepare)
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
    struct semaphore_case *how = c->arg;

    how->bury = true;
    expect_no_failure(c);
    how->bury = false;
    c->name = not_buried;
    expect_no_failure(c);
}

static void acquire_victim(void *arg)
{
    const struct semaphore_case *c = arg;

    if (c->joined && mp__join() != 0)
        return;
    stepkill_begin();
    int err = mp_semaphore_acquire(semaphore, MP_FOREVER);
    if (err && err != EOWNERDEAD)
        abort();
    ledger->finished = 1;
    stepkill_end();
}

/* --- anonymous tokens ------------------------------------------------------------- */

static int anonymous_waiter(void *arg)
{
    (void)arg;
    if (mp_semaphore_acquire(semaphore, MP_FOREVER) == 0)
        atomic_fetch_add(&ledger->got, 1);
    else
        atomic_fetch_add(&ledger->failed, 1);
    return 0;
}

static void start_waiters(void *arg, pid_t victim)
{
    const struct semaphore_case *c = arg;

    (void)victim;
    start_waiters_with(anonymous_waiter, c->waiters);
}

static bool give(int tokens)
{
    while (tokens-- > 0)
        if (mp_semaphore_release(semaphore) != 0)
            return false;
    return true;
}

static void give_tokens(void *arg)
{
    const struct semaphore_case *c = arg;

    if (!give(c->given))
        abort();
    atomic_store(&ledger->unblocked, 1);
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
    int got = ledger->got;
    pid_t pid = child_start(anonymous_waiter, NULL);
    bool slept = process_sleeps(pid, 1000);
    return give(1) && child_wait(pid, 1000) == 0 && slept && ledger->got == got + 1 &&
           mp_semaphore_value(semaphore) == 0;
}

/* Two were there, and the victim may have one. */
static int check_acquire(void *arg)
{
    unsigned value = mp_semaphore_value(semaphore);

    if (value != 1 && value != 2)
        return STEPKILL_WRONG;
    if (!is_plausible(arg, value == 1))
        return STEPKILL_WRONG;
    return still_works(value) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

/* As long as others sleep no token stays there: then enough are given for all. */
static int check_sleepers(const struct semaphore_case *c, unsigned *left)
{
    while (atomic_load(&ledger->got) < c->waiters && mp_semaphore_value(semaphore))
        sched_yield();
    if (!give(c->waiters))
        return STEPKILL_WRONG;
    until_all_got(c);
    *left = mp_semaphore_value(semaphore);
    return ledger->failed ? STEPKILL_WRONG : STEPKILL_RIGHT;
}

/* The victim slept beside others, and tokens were given. */
static int check_contended(void *arg)
{
    const struct semaphore_case *c = arg;
    unsigned left;

    if (!ledger->unblocked)
        give_tokens(arg);
    if (check_sleepers(c, &left) != STEPKILL_RIGHT)
        return STEPKILL_WRONG;
    unsigned given = (unsigned)c->given;
    if (left != given && left + 1 != given)
        return STEPKILL_WRONG;
    if (!is_plausible(c, left + 1 == given))
        return STEPKILL_WRONG;
    return still_works(left) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static int check_release(void *arg)
{
    unsigned left;

    if (check_sleepers(arg, &left) != STEPKILL_RIGHT)
        return STEPKILL_WRONG;
    if (left > 1 || !is_plausible(arg, left == 1))
        return STEPKILL_WRONG;
    return still_works(left) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

/* A victim that keeps watch gets up too often to be seen to block: another one does. */
static int sentry_body(void *arg)
{
    return mp_semaphore_acquire(arg, MP_FOREVER);
}

static void give_token_to_victim(void *arg)
{
    start_waiters(arg, 0);
    give_tokens(arg);
}

static int check_woken(void *arg)
{
    if (ledger->unblocked)
        return check_contended(arg);
    return !ledger->finished && still_works(0) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void test_acquire(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 2, .joined = true, .ordered = true};
    struct stepkill_case c = {.name = "acquire",
                              .arg = &how,
                              .victim = acquire_victim,
                              .check = check_acquire};

    expect_no_failure_either_way(&c, "acquire, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
}

/* The one who was there first is woken for the only token, and may never take it. */
static void test_woken(void **state)
{
    (void)state;
    struct semaphore_case how = {.joined = true, .waiters = 1, .given = 1};
    struct stepkill_case c = {.name = "acquire, woken first of two",
                              .arg = &how,
                              .victim = acquire_victim,
                              .unblock = give_token_to_victim,
                              .check = check_woken,
                              .limit = stepkill_limit(10)};
    mp_semaphore *other;

    assert_int_equal(mp_semaphore_new(&other, 0, NULL), 0);
    pid_t sentry = child_start(sentry_body, other);
    expect_no_failure_either_way(&c, "the same, not buried");
    end_helper(sentry);
    mp_semaphore_free(other);
}

/* A token for each: the other gets one anyway. */
static void test_acquire_contended(void **state)
{
    (void)state;
    struct semaphore_case how = {.joined = true, .waiters = 1, .given = 2};
    struct stepkill_case c = {.name = "acquire, two given for two",
                              .arg = &how,
                              .victim = acquire_victim,
                              .paused = start_waiters,
                              .unblock = give_tokens,
                              .check = check_contended,
                              .limit = stepkill_limit(8)};

    expect_no_failure_either_way(&c, "the same, not buried");
    how.joined = false;
    c.name = "join and acquire, two for two";
    expect_no_failure(&c);
}

static void release_victim(void *arg)
{
    const struct semaphore_case *c = arg;

    if (c->joined && mp__join() != 0)
        return;
    stepkill_begin();
    if (mp_semaphore_release(semaphore) != 0)
        abort();
    ledger->finished = 1;
    stepkill_end();
}

static void test_release(void **state)
{
    (void)state;
    struct semaphore_case how = {.joined = true, .ordered = true};
    struct stepkill_case c = {.name = "release",
                              .arg = &how,
                              .victim = release_victim,
                              .check = check_release};

    expect_no_failure_either_way(&c, "release, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
}

static void test_release_with_sleepers(void **state)
{
    (void)state;
    struct semaphore_case how = {.joined = true, .ordered = true, .waiters = 2};
    struct stepkill_case c = {.name = "release, two sleep",
                              .arg = &how,
                              .victim = release_victim,
                              .paused = start_waiters,
                              .check = check_release};

    expect_no_failure_either_way(&c, "release, two sleep, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
}

/* Those who would be woken gave up: the release takes their mark away. */
static void prepare_deserted(void *arg)
{
    prepare(arg);
    if (mp_semaphore_acquire(semaphore, 1) != ETIMEDOUT)
        abort();
}

static void test_release_with_nobody_left(void **state)
{
    (void)state;
    struct semaphore_case how = {.joined = true, .ordered = true};
    struct stepkill_case c = {.name = "release, nobody sleeps any more",
                              .arg = &how,
                              .prepare = prepare_deserted,
                              .victim = release_victim,
                              .check = check_release};

    expect_no_failure_either_way(&c, "the same, not buried");
}

/* Who is no member joins first, or nobody would know that it died. */
static void test_stranger_releases(void **state)
{
    (void)state;
    struct semaphore_case how = {.waiters = 2};
    struct stepkill_case c = {.name = "join and release, two sleep",
                              .arg = &how,
                              .victim = release_victim,
                              .paused = start_waiters,
                              .check = check_release,
                              .limit = stepkill_limit(10)};

    expect_no_failure_either_way(&c, "the same, not buried");
}

/* --- owned tokens: there is one --------------------------------------------------- */

/* Take the token, see that nobody else has it, let go. */
static bool pass_through(void)
{
    int err = mp_semaphore_acquire(semaphore, MP_FOREVER);

    if (err && err != EOWNERDEAD)
        return false;
    if (err)
        atomic_fetch_add(&ledger->told, 1);
    if (atomic_fetch_add(&ledger->inside, 1) != 0)
        return false;
    sched_yield();
    atomic_fetch_sub(&ledger->inside, 1);
    return mp_semaphore_release(semaphore) == 0;
}

static int owning_waiter(void *arg)
{
    (void)arg;
    atomic_fetch_add(pass_through() ? &ledger->got : &ledger->failed, 1);
    return 0;
}

static void start_owning_waiters(void *arg, pid_t victim)
{
    const struct semaphore_case *c = arg;

    (void)victim;
    start_waiters_with(owning_waiter, c->waiters);
}

static int owner_body(void *arg)
{
    (void)arg;
    if (mp_semaphore_acquire(semaphore, MP_FOREVER) != 0)
        return 1;
    atomic_store(&ledger->owner_owns, 1);
    while (!atomic_load(&ledger->may_release))
        sched_yield();
    return mp_semaphore_release(semaphore);
}

static bool owner_owns(void *arg)
{
    (void)arg;
    return ledger->owner_owns;
}

static void prepare_owned(void *arg)
{
    prepare(arg);
    ledger->owner = child_start(owner_body, NULL);
    if (!eventually(owner_owns, NULL, 20000))
        abort();
}

static void kill_owner(void *arg)
{
    (void)arg;
    end_helper(ledger->owner);
    ledger->owner = 0;
    atomic_store(&ledger->unblocked, 1);
}

static void prepare_left(void *arg)
{
    prepare_owned(arg);
    kill_owner(arg);
}

static void let_owner_release(void *arg)
{
    (void)arg;
    atomic_store(&ledger->may_release, 1);
}

/* Those who wait get the token without help; and it goes on working. */
static int check_owned(void *arg)
{
    const struct semaphore_case *c = arg;

    until_all_got(c);
    if (ledger->failed || !pass_through() || !pass_through())
        return STEPKILL_WRONG;
    if (mp_semaphore_value(semaphore) != 1)
        return STEPKILL_WRONG;
    if (ledger->told < c->least_told || ledger->told > c->most_told)
        return STEPKILL_WRONG;
    return STEPKILL_RIGHT;
}

static int check_owned_acquire(void *arg)
{
    int verdict = check_owned(arg);
    return verdict || is_plausible(arg, ledger->told == 1) ? verdict : STEPKILL_WRONG;
}

static int check_owned_release(void *arg)
{
    int verdict = check_owned(arg);
    return verdict || is_plausible(arg, ledger->told == 0) ? verdict : STEPKILL_WRONG;
}

static int check_after_owner(void *arg)
{
    let_owner_release(arg);
    return check_owned_acquire(arg);
}

static int check_after_owner_died(void *arg)
{
    if (!ledger->unblocked)
        kill(ledger->owner, SIGKILL);
    return check_owned(arg);
}

static void test_owned_acquire(void **state)
{
    (void)state;
    struct semaphore_case how = {
        .value = 1, .owned = true, .joined = true, .ordered = true, .most_told = 1};
    struct stepkill_case c = {.name = "owned: acquire",
                              .arg = &how,
                              .victim = acquire_victim,
                              .check = check_owned_acquire};

    expect_no_failure_either_way(&c, "owned: acquire, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
    how.joined = how.ordered = false;
    c.name = "owned: join and acquire";
    c.limit = stepkill_limit(16);
    expect_no_failure(&c);
}

static void test_owned_acquire_contended(void **state)
{
    (void)state;
    struct semaphore_case how = {
        .value = 1, .owned = true, .joined = true, .waiters = 1, .most_told = 1};
    struct stepkill_case c = {.name = "owned: acquire, two wait",
                              .arg = &how,
                              .prepare = prepare_owned,
                              .victim = acquire_victim,
                              .paused = start_owning_waiters,
                              .unblock = let_owner_release,
                              .check = check_after_owner,
                              .limit = stepkill_limit(10)};

    expect_no_failure_either_way(&c, "the same, not buried");
}

/* A token of one who died before: its taker is killed on the way to it, or with it. */
static void test_owned_recover(void **state)
{
    (void)state;
    struct semaphore_case how = {
        .value = 1, .owned = true, .joined = true, .least_told = 1, .most_told = 1};
    struct stepkill_case c = {.name = "owned: acquire from the dead",
                              .arg = &how,
                              .prepare = prepare_left,
                              .victim = acquire_victim,
                              .check = check_owned,
                              .limit = stepkill_limit(16)};

    expect_no_failure_either_way(&c, "the same, not buried");
}

/* The owner dies while two sleep, of which one is the victim: two deaths at most. */
static void test_owned_recover_contended(void **state)
{
    (void)state;
    struct semaphore_case how = {.value = 1,
                                 .owned = true,
                                 .joined = true,
                                 .waiters = 1,
                                 .least_told = 1,
                                 .most_told = 2};
    struct stepkill_case c = {.name = "owned: owner dies, two wait",
                              .arg = &how,
                              .prepare = prepare_owned,
                              .victim = acquire_victim,
                              .paused = start_owning_waiters,
                              .unblock = kill_owner,
                              .check = check_after_owner_died,
                              .limit = stepkill_limit(10)};

    expect_no_failure_either_way(&c, "the same, not buried");
}

static void owned_release_victim(void *arg)
{
    if (mp_semaphore_acquire(semaphore, MP_FOREVER) == 0)
        release_victim(arg);
}

static void test_owned_release(void **state)
{
    (void)state;
    struct semaphore_case how = {
        .value = 1, .owned = true, .joined = true, .ordered = true, .most_told = 1};
    struct stepkill_case c = {.name = "owned: release",
                              .arg = &how,
                              .victim = owned_release_victim,
                              .check = check_owned_release};

    expect_no_failure_either_way(&c, "owned: release, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
    how.waiters = 2;
    c.paused = start_owning_waiters;
    c.name = "owned: release, two sleep";
    expect_no_failure_either_way(&c, "the same, not buried");
    assert_true(ledger->seen_before && ledger->seen_after);
}

int main(void)
{
    static const struct CMUnitTest step_semaphore[] = {
        TEST(test_acquire),
        TEST(test_woken),
        TEST(test_acquire_contended),
        TEST(test_release),
        TEST(test_release_with_sleepers),
        TEST(test_release_with_nobody_left),
        TEST(test_stranger_releases),
        TEST(test_owned_acquire),
        TEST(test_owned_acquire_contended),
        TEST(test_owned_recover),
        TEST(test_owned_recover_contended),
        TEST(test_owned_release),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_semaphore);
}
