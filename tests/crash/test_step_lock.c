/* SPDX-License-Identifier: MIT */
/*
 * test_step_lock.c - a process is killed at every instruction of acquire and release.
 *
 * After each kill other processes must get the lock without help, one at a time,
 * and must be told at most once that its holder died.
 */
#include "support/test.h"

#include <sched.h>
#include <stdatomic.h>

#include <mp/mp.h>

#include "roles.h"
#include "shm/member.h"

static mp_lock *lock;

static void make(void *how)
{
    (void)how;
    if (mp_lock_new(&lock, NULL) != 0)
        abort();
}

static void discard(void)
{
    mp_lock_free(lock);
}

static bool acquire(void *how)
{
    (void)how;
    return mp_lock_acquire(lock, MP_FOREVER) == 0;
}

static bool release(void *how)
{
    (void)how;
    return mp_lock_release(lock) == 0;
}

/* Take the lock, see that nobody else has it, let go. */
static bool pass_through(void *how)
{
    if (!step_in(mp_lock_acquire(lock, MP_FOREVER)))
        return false;
    step_out();
    return release(how);
}

static int holder_body(void *arg)
{
    if (!step_in(mp_lock_acquire(lock, MP_FOREVER)))
        return 1;
    hold();
    step_out();
    return release(arg) ? 0 : 1;
}

static void prepare_held(void *how)
{
    start_holder(holder_body, how);
}

/* --- checks: the death is told if the victim held the lock ------------------------ */

static bool goes_on(void)
{
    /* Twice: a lock that was put right must go on working. */
    return pass_through(NULL) && pass_through(NULL) && all_sleepers_got_in() &&
           roles->told <= 1;
}

static bool check_acquire(void *how)
{
    (void)how;
    return goes_on() && is_plausible(roles->told == 1);
}

static bool check_contended(void *how)
{
    let_holder_release(how);
    return check_acquire(how);
}

/* Somebody may wait who must get it without help: the check only looks on at first. */
static bool check_release(void *how)
{
    (void)how;
    return all_sleepers_got_in() && goes_on() && is_plausible(roles->told == 0);
}

/* --- acquire ---------------------------------------------------------------------- */

static void test_acquire_free(void **state)
{
    (void)state;
    expect_no_failure_either_way(&(struct role_case){.name = "acquire, free",
                                                     .operate = acquire,
                                                     .check = check_acquire,
                                                     .ordered = true});
}

/* The first call of a process joins it to the family: that can be cut short as well. */
static void test_first_acquire(void **state)
{
    (void)state;
    expect_no_failure_either_way(&(struct role_case){.name = "join and acquire",
                                                     .newcomer = true,
                                                     .operate = acquire,
                                                     .check = check_acquire,
                                                     .limit = 200});
}

/* Held by another, who lets go when the victim has gone to sleep; a third one waits. */
static void test_acquire_contended(void **state)
{
    (void)state;
    struct role_case c = {.name = "acquire, held and waited for",
                          .prepare = prepare_held,
                          .sleeper = pass_through,
                          .sleepers = 1,
                          .operate = acquire,
                          .unblock = let_holder_release,
                          .check = check_contended,
                          .limit = 120};

    expect_no_failure_either_way(&c);
}

/* --- release ---------------------------------------------------------------------- */

static void test_release(void **state)
{
    (void)state;
    struct role_case c = {.name = "release",
                          .before = acquire,
                          .operate = release,
                          .check = check_release,
                          .ordered = true};

    expect_no_failure_either_way(&c);
    c.name = "release, somebody sleeps";
    c.sleeper = pass_through;
    c.sleepers = 1;
    expect_no_failure_either_way(&c);
}

/* --- a holder that is stopped is alive -------------------------------------------- */

static void test_stopped_holder_keeps_lock(void **state)
{
    (void)state;
    roles_prepare(NULL);
    prepare_held(NULL);
    kill(roles->holder, SIGSTOP);
    mp__member_watch();
    assert_int_equal(mp_lock_acquire(lock, 300), ETIMEDOUT);
    kill(roles->holder, SIGCONT);
    let_holder_release(NULL);
    assert_int_equal(mp_lock_acquire(lock, 2000), 0);
    assert_int_equal(mp_lock_release(lock), 0);
    roles_clean();
}

/* --- who stands still in the middle of an acquire is not robbed ---------------------
 */

static _Atomic int *slow_is_ready;

static int slow_taker(void *arg)
{
    if (mp__join() != 0)
        return 1;
    atomic_store(slow_is_ready, 1);
    while (atomic_load(slow_is_ready) == 1)
        sched_yield(); /* to who may have to wait for this very processor */
    stepkill_begin();
    if (!pass_through(arg))
        note_failure();
    return 0;
}

static bool is_ready(void *arg)
{
    (void)arg;
    return atomic_load(slow_is_ready) != 0;
}

/* To where it begins, and `steps` further: false if it is inside by then. */
static bool stop_taker_at(pid_t pid, unsigned steps)
{
    enum stepkill_stop stop;

    assert_true(eventually(is_ready, NULL, ROLES_START_MS));
    assert_true(stepkill_seize(pid));
    atomic_store(slow_is_ready, 2);
    do
        stop = stepkill_step(pid);
    while (stop == STEP_DONE);
    assert_int_equal(stop, STEP_MARK);
    for (unsigned i = 0; i < steps && !atomic_load(&roles->inside); i++)
        assert_int_equal(stepkill_step(pid), STEP_DONE);
    return !atomic_load(&roles->inside);
}

/*
 * One stands still on its way to the free lock, alive, while this process tries to get
 * it.  Nobody has died, so the lock goes to one of them, and the other one waits.
 */
static bool meet_with_slow_taker(unsigned steps)
{
    roles_prepare(NULL);
    atomic_store(slow_is_ready, 0);
    pid_t pid = child_start(slow_taker, NULL);
    bool outside = stop_taker_at(pid, steps);
    mp__member_watch();
    int err = mp_lock_acquire(lock, 30);

    assert_true(err == 0 || err == ETIMEDOUT);
    if (!err)
        assert_true(step_in(err));
    stepkill_let_go(pid);
    if (!err) {
        assert_true(process_sleeps(pid, ROLES_START_MS));
        step_out();
        assert_int_equal(mp_lock_release(lock), 0);
    }
    assert_int_equal(child_wait(pid, ROLES_START_MS), 0);
    assert_int_equal(roles->failed, 0);
    assert_int_equal(mp_lock_acquire(lock, 2000), 0);
    assert_int_equal(mp_lock_release(lock), 0);
    roles_clean();
    return outside;
}

static void test_slow_taker_is_not_robbed(void **state)
{
    (void)state;
    unsigned steps = 0;

    slow_is_ready = shared_page(sizeof *slow_is_ready);
    while (meet_with_slow_taker(steps))
        steps++;
    fprintf(stderr, "who is slow is inside after %u steps\n", steps);
    assert_in_range(steps, 5, 200);
    shared_page_free((void *)slow_is_ready, sizeof *slow_is_ready);
}

int main(void)
{
    static const struct role_object object = {make, discard};
    static const struct CMUnitTest step_lock[] = {
        TEST(test_acquire_free),
        TEST(test_first_acquire),
        TEST(test_acquire_contended),
        TEST(test_release),
        TEST(test_stopped_holder_keeps_lock),
        TEST(test_slow_taker_is_not_robbed),
    };

    return roles_begin(&object) ? TEST_MAIN(step_lock) : SKIPPED;
}
