/* SPDX-License-Identifier: MIT */
/*
 * test_wake_races.c - wakes that are owed in one order of steps only, which chance does
 * not bring about.
 *
 * What a process does around a wake or a sleep is given by hooks in the calls of the
 * floor where processes sleep.  Nobody looks again by itself for hours, so that a wake
 * which was lost shows as a process that is stuck.
 */
#include "support/test.h"

#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/member.h"
#include "sync/park.h"

#define WAITERS     3
#define PATIENCE_MS 20000

typedef void hook_fn(void);

/* Of this process, each for one call. */
static struct {
    hook_fn *before_wake;
    hook_fn *after_wake;
    hook_fn *after_park;
} hooks;

static int wakes; /* that this process has given */

/* Outside libmp, so that a bug in it cannot hide here. */
struct scene {
    _Atomic int parks[WAITERS]; /* how often each has gone to sleep */
    _Atomic int gate;           /* who was woken may go on */
    _Atomic int through;        /* how many have got what they waited for */
};

static struct scene *scene;
static int self = -1; /* number of this waiter */
static pid_t waiters[WAITERS];

static mp_lock *lock;
static mp_semaphore *semaphore;
static mp_event *event;
static mp_barrier *barrier;
static mp_condition *condition;

static void call_once(hook_fn **hook)
{
    hook_fn *fn = *hook;

    *hook = NULL;
    if (fn)
        fn();
}

/* The linker's --wrap directs the library's calls here. */
int __wrap_mp__unpark(const _Atomic uint32_t *word, int count);
int __real_mp__unpark(const _Atomic uint32_t *word, int count);
int __wrap_mp__park(struct mp__sleep *sleep, const _Atomic uint32_t *word,
                    uint32_t value, uint64_t owner);
int __real_mp__park(struct mp__sleep *sleep, const _Atomic uint32_t *word,
                    uint32_t value, uint64_t owner);

int __wrap_mp__unpark(const _Atomic uint32_t *word, int count)
{
    wakes++;
    call_once(&hooks.before_wake);
    int woken = __real_mp__unpark(word, count);
    call_once(&hooks.after_wake);
    return woken;
}

int __wrap_mp__park(struct mp__sleep *sleep, const _Atomic uint32_t *word,
                    uint32_t value, uint64_t owner)
{
    if (self >= 0)
        scene->parks[self]++;
    int err = __real_mp__park(sleep, word, value, owner);
    call_once(&hooks.after_park);
    return err;
}

/* --- those who wait --------------------------------------------------------------- */

struct waiter {
    int number;
    int (*wait)(void);
};

static int waiter_body(void *arg)
{
    const struct waiter *waiter = arg;

    self = waiter->number;
    int err = waiter->wait();
    scene->through++;
    return err;
}

static bool has_parked_again(void *before)
{
    const int *parks = before;
    return scene->parks[parks[0]] > parks[1];
}

/* Wait until a waiter has gone to sleep more often than that, and sleeps. */
static void await_sleep(int number, int parks)
{
    int before[2] = {number, parks};

    assert_true(eventually(has_parked_again, before, PATIENCE_MS));
    assert_true(process_sleeps(waiters[number], PATIENCE_MS));
}

/* One after the other, so that they wait in this order.  Who has ended before is buried
   first, so that nobody is woken for it later. */
static void start_waiters(int (*wait)(void), int count)
{
    mp__member_watch();
    memset(scene, 0, sizeof *scene);
    for (int i = 0; i < count; i++) {
        struct waiter waiter = {i, wait};
        waiters[i] = child_start(waiter_body, &waiter);
        await_sleep(i, 0);
    }
}

static bool is_through(void *count)
{
    return scene->through >= *(int *)count;
}

static void expect_end(int number)
{
    assert_int_equal(child_wait(waiters[number], PATIENCE_MS), 0);
}

static void bury_waiter(int number)
{
    kill(waiters[number], SIGKILL);
    assert_int_equal(child_wait(waiters[number], PATIENCE_MS), -SIGKILL);
    mp__member_watch();
}

/* --- who was woken wakes the next ------------------------------------------------- */

static bool gate_is_open(void *unused)
{
    (void)unused;
    return scene->gate;
}

static void wait_at_gate(void)
{
    if (!eventually(gate_is_open, NULL, PATIENCE_MS))
        _exit(99);
}

static int take_token_late(void)
{
    hooks.after_park = wait_at_gate;
    return mp_semaphore_acquire(semaphore, MP_FOREVER);
}

/* Another takes the token that was released; two come to wait; one of them is woken. */
static void let_it_look_as_before(void)
{
    assert_int_equal(mp_semaphore_acquire(semaphore, MP_NOWAIT), 0);
    start_waiters(take_token_late, 2);
    assert_int_equal(mp_semaphore_release(semaphore), 0);
}

/*
 * A release finds nobody to wake, and stands still before it says so in the word.  When
 * it goes on the word looks as it has left it, and so it takes the mark of those who
 * wait away, although one sleeps.  The next release sees no mark.
 */
static void test_semaphore_passes_wake_on(void **state)
{
    (void)state;
    assert_int_equal(mp_semaphore_new(&semaphore, 0, NULL), 0);
    assert_int_equal(mp_semaphore_acquire(semaphore, 1), ETIMEDOUT);
    wakes = 0;
    hooks.after_wake = let_it_look_as_before;
    assert_int_equal(mp_semaphore_release(semaphore), 0);
    assert_int_equal(wakes, 2);
    assert_int_equal(mp_semaphore_release(semaphore), 0);
    assert_int_equal(wakes, 2);
    scene->gate = 1;
    expect_end(0);
    expect_end(1);
    assert_int_equal(mp_semaphore_value(semaphore), 0);
    mp_semaphore_free(semaphore);
}

/* --- who is no member joins before it owes a wake --------------------------------- */

static void die(void)
{
    kill(getpid(), SIGKILL);
}

static int die_before_wake(void *arg)
{
    int (*operate)(void) = *(int (**)(void))arg;

    hooks.before_wake = die;
    return mp__self ? 98 : operate();
}

/* A process whose first call it is changes the word, and dies before the wake.  Whoever
   buries it wakes those who sleep. */
static void let_stranger_die_of(int (*operate)(void))
{
    assert_int_equal(child_run(die_before_wake, &operate), -SIGKILL);
    mp__member_watch();
}

static int wait_for_event(void)
{
    return mp_event_wait(event, MP_FOREVER);
}

static int set_event(void)
{
    return mp_event_set(event);
}

static void test_stranger_sets_event(void **state)
{
    (void)state;
    assert_int_equal(mp_event_new(&event, NULL), 0);
    start_waiters(wait_for_event, 2);
    let_stranger_die_of(set_event);
    expect_end(0);
    expect_end(1);
    mp_event_free(event);
}

static int take_token(void)
{
    return mp_semaphore_acquire(semaphore, MP_FOREVER);
}

static int release_token(void)
{
    return mp_semaphore_release(semaphore);
}

static void test_stranger_releases_semaphore(void **state)
{
    int one = 1;

    (void)state;
    assert_int_equal(mp_semaphore_new(&semaphore, 0, NULL), 0);
    start_waiters(take_token, 2);
    let_stranger_die_of(release_token);
    assert_true(eventually(is_through, &one, PATIENCE_MS));
    assert_int_equal(release_token(), 0);
    expect_end(0);
    expect_end(1);
    mp_semaphore_free(semaphore);
}

static int pass_lock(void)
{
    int err = mp_lock_acquire(lock, MP_FOREVER);
    return err ? err : mp_lock_release(lock);
}

static int release_lock(void)
{
    return mp_lock_release(lock);
}

static void test_stranger_releases_lock(void **state)
{
    (void)state;
    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_int_equal(mp_lock_acquire(lock, MP_FOREVER), 0);
    start_waiters(pass_lock, 2);
    let_stranger_die_of(release_lock);
    expect_end(0);
    expect_end(1);
    mp_lock_free(lock);
}

static int meet_in_vain(void)
{
    return mp_barrier_wait(barrier, MP_FOREVER, NULL) == ECANCELED ? 0 : 1;
}

static int abort_barrier(void)
{
    return mp_barrier_abort(barrier);
}

static int reset_barrier(void)
{
    return mp_barrier_reset(barrier);
}

static void test_stranger_breaks_barrier(void **state)
{
    (void)state;
    assert_int_equal(mp_barrier_new(&barrier, 3, NULL), 0);
    start_waiters(meet_in_vain, 2);
    let_stranger_die_of(abort_barrier);
    expect_end(0);
    expect_end(1);
    assert_int_equal(mp_barrier_reset(barrier), 0);
    start_waiters(meet_in_vain, 2);
    let_stranger_die_of(reset_barrier);
    expect_end(0);
    expect_end(1);
    mp_barrier_free(barrier);
}

/* --- a notification that meets a death -------------------------------------------- */

static int wait_for_notification(void)
{
    int err = mp_lock_acquire(lock, MP_FOREVER);
    if (!err)
        err = mp_condition_wait(condition, MP_FOREVER);
    return err ? err : mp_lock_release(lock);
}

/* Over an mp_lock: each wake comes at once, and not after the release. */
static void open_hall(void)
{
    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_int_equal(mp_condition_new(&condition, MP_CONDITION_OPTIONS(.lock = lock)),
                     0);
    start_waiters(wait_for_notification, WAITERS);
    assert_int_equal(mp_lock_acquire(lock, MP_FOREVER), 0);
    wakes = 0;
}

static void close_hall(void)
{
    mp_condition_free(condition);
    mp_lock_free(lock);
}

/* Nobody has anything from this death, and the last one sleeps on. */
static void bury_second(void)
{
    int parks = scene->parks[2];

    bury_waiter(1);
    await_sleep(2, parks);
}

/* Those who looked after the dead found nothing; then a notification comes there. */
static void test_notified_one_was_buried(void **state)
{
    (void)state;
    open_hall();
    hooks.after_wake = bury_second;
    assert_int_equal(mp_condition_notify(condition, 2), 0);
    assert_int_equal(mp_lock_release(lock), 0);
    expect_end(0);
    expect_end(2);
    close_hall();
}

/* Its notification is another's when the one who gave it looks again. */
static void bury_first(void)
{
    int parks[WAITERS] = {0, scene->parks[1], scene->parks[2]};

    bury_waiter(0);
    await_sleep(1, parks[1]);
    await_sleep(2, parks[2]);
}

static void test_notification_is_inherited_at_once(void **state)
{
    int one = 1;

    (void)state;
    open_hall();
    hooks.before_wake = bury_first;
    assert_int_equal(mp_condition_notify(condition, 1), 0);
    assert_int_equal(wakes, 1);
    assert_int_equal(mp_lock_release(lock), 0);
    assert_true(eventually(is_through, &one, PATIENCE_MS));
    assert_int_equal(mp_lock_acquire(lock, MP_FOREVER), 0);
    assert_int_equal(mp_condition_notify_all(condition), 0);
    assert_int_equal(mp_lock_release(lock), 0);
    expect_end(1);
    expect_end(2);
    close_hall();
}

int main(void)
{
    static const struct CMUnitTest wake_races[] = {
        TEST(test_semaphore_passes_wake_on),
        TEST(test_stranger_sets_event),
        TEST(test_stranger_releases_semaphore),
        TEST(test_stranger_releases_lock),
        TEST(test_stranger_breaks_barrier),
        TEST(test_notified_one_was_buried),
        TEST(test_notification_is_inherited_at_once),
    };

    scene = shared_page(sizeof *scene);
    mp__slice_factor = 1000000;
    return TEST_MAIN(wake_races);
}
