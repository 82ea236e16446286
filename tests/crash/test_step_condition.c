/* SPDX-License-Identifier: MIT */
/*
 * test_step_condition.c - a process is killed at every instruction of wait and notify.
 *
 * No notification may be lost by that: what the victim had not returned with goes to
 * another one who waits.  None may come twice.  Nobody hangs, and one at most is told
 * that the holder of the lock died.
 *
 * Around a victim that waits, a director does in order what a scene has in it: the
 * others begin to wait when the victim does, then they are notified.
 */
#include "support/test.h"

#include <pthread.h>

#include <mp/mp.h>

#include "roles.h"
#include "shm/member.h"

#define HELPERS 3
#define CROWD   27 /* as many as a condition has room for at first */

enum outcome { NOT_YET, NOTIFIED, TIMED_OUT, TOLD, FAILED };

/* Outside libmp, so that a bug in it cannot hide here. */
struct ledger {
    pid_t helpers[HELPERS], first;
    _Atomic int outcomes[HELPERS]; /* of their waits */
    _Atomic int first_outcome, crowd_outcomes;
    _Atomic int victim;    /* its outcome, once it is through */
    _Atomic int waiting;   /* of the helpers */
    _Atomic int may_enter; /* the helpers may begin to wait */
    _Atomic int directed;  /* the director is through */
};

struct scene {
    bool over_lock; /* the condition is over an mp_lock */
    int depth;      /* how often the victim holds the lock */
    int timeout_ms; /* of the victim's wait */
    int helpers;    /* who wait besides the victim */
    bool patient;   /* the director waits until the victim has gone to sleep */
    bool crowd;     /* and many more, who are not notified */
    int given;      /* notifications in all, to victim and helpers */
    bool inherited; /* the first one was another's, who died with it */
    bool stopped;   /* the helpers do nothing while the victim lives */
    int count;      /* what a victim notifies */
    bool releases;  /* and then lets go of the lock */
};

static struct ledger *ledger;
static mp_condition *changed;
static mp_lock *lock;

static void take(void)
{
    if (!step_in(mp_condition_acquire(changed, MP_FOREVER)))
        note_failure();
}

static void let_go(void)
{
    step_out();
    if (mp_condition_release(changed) != 0)
        note_failure();
}

/* With the lock held, as long as it takes. */
static enum outcome wait_notified(int timeout_ms)
{
    step_out();
    int err = mp_condition_wait(changed, timeout_ms);
    if (!step_in(err == ETIMEDOUT ? 0 : err))
        note_failure();
    return !err ? NOTIFIED : err == ETIMEDOUT ? TIMED_OUT : TOLD;
}

/* --- those around the victim ------------------------------------------------------ */

static int helper_body(void *arg)
{
    _Atomic int *outcome = arg;

    while (!ledger->may_enter)
        pause_shortly();
    take();
    ledger->waiting++;
    enum outcome got = wait_notified(MP_FOREVER);
    /* Before others can get in and be told as well. */
    *outcome = got;
    let_go();
    return 0;
}

/* Waits first, and is stopped before it can return. */
static int first_body(void *arg)
{
    (void)arg;
    take();
    ledger->waiting++;
    ledger->first_outcome = wait_notified(MP_FOREVER);
    let_go();
    return 0;
}

static void *crowd_member(void *arg)
{
    if (mp_condition_acquire(changed, MP_FOREVER) != 0)
        return NULL;
    ledger->waiting++;
    int err = mp_condition_wait(changed, MP_FOREVER);
    if (err == EOWNERDEAD)
        roles->told++;
    else if (err)
        note_failure();
    ledger->crowd_outcomes++;
    mp_condition_release(changed);
    return arg;
}

static int crowd_body(void *arg)
{
    pthread_t threads[CROWD];

    for (int i = 0; i < CROWD; i++)
        if (pthread_create(&threads[i], NULL, crowd_member, arg) != 0)
            return 1;
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static void await(const _Atomic int *count, int value)
{
    while (atomic_load(count) < value)
        pause_shortly();
}

/* Who counts itself as waiting has the lock, and lets go of it in its wait. */
static void await_waiting(int count)
{
    await(&ledger->waiting, count);
    take();
    let_go();
}

static void stop_helpers(const struct scene *scene)
{
    for (int i = 0; i < scene->helpers && scene->stopped; i++)
        kill(ledger->helpers[i], SIGSTOP);
}

static void wake_helpers(const struct scene *scene)
{
    for (int i = 0; i < scene->helpers && scene->stopped; i++)
        kill(ledger->helpers[i], SIGCONT);
}

static void notify(size_t count)
{
    take();
    if (mp_condition_notify(changed, count) != 0)
        note_failure();
    let_go();
}

/* Notify the one who is stopped, and let it die of that. */
static void notify_first(void)
{
    take();
    if (mp_condition_notify(changed, 1) != 0)
        note_failure();
    kill(ledger->first, SIGKILL);
    while (process_state(ledger->first) != 'Z')
        pause_shortly();
    let_go();
}

static void await_sleep(void)
{
    char state = process_state(roles->victim);

    while (state && state != 'S' && state != 'Z') {
        pause_shortly();
        state = process_state(roles->victim);
    }
}

static int director_body(void *arg)
{
    const struct scene *scene = arg;

    /* Got when the victim waits, or is dead. */
    take();
    let_go();
    int all = ledger->waiting + scene->helpers;
    ledger->may_enter = 1;
    await_waiting(all);
    stop_helpers(scene);
    if (scene->patient)
        await_sleep();
    int given = scene->given;
    if (scene->inherited) {
        notify_first();
        mp__member_watch();
        given--;
    }
    if (given > 0)
        notify((size_t)given);
    ledger->directed = 1;
    return 0;
}

/* --- before and after a victim ---------------------------------------------------- */

static void make(void *how)
{
    const struct scene *scene = how;

    memset(ledger, 0, sizeof *ledger);
    if (mp_lock_new(&lock, NULL) != 0)
        abort();
    mp_lock *over = scene->over_lock ? lock : NULL;
    if (mp_condition_new(&changed, MP_CONDITION_OPTIONS(.lock = over)) != 0)
        abort();
}

static void discard(void)
{
    mp_condition_free(changed);
    mp_lock_free(lock);
}

static void start_others(void *how)
{
    const struct scene *scene = how;

    if (scene->inherited) {
        ledger->first = start_helper(first_body, NULL);
        await_waiting(1);
        kill(ledger->first, SIGSTOP);
    }
    if (scene->crowd) {
        start_helper(crowd_body, NULL);
        await_waiting(CROWD);
    }
    for (int i = 0; i < scene->helpers; i++)
        ledger->helpers[i] = start_helper(helper_body, &ledger->outcomes[i]);
}

static void start_director(void *how)
{
    start_helper(director_body, how);
}

/* The director will move it, if it has got a processor. */
static void nothing(void *how)
{
    (void)how;
}

static int count_helpers(enum outcome outcome)
{
    int count = 0;

    for (int i = 0; i < HELPERS; i++)
        count += ledger->outcomes[i] == (int)outcome;
    return count;
}

static int fresh_body(void *arg)
{
    (void)arg;
    take();
    ledger->waiting++;
    if (wait_notified(MP_FOREVER) != NOTIFIED)
        note_failure();
    let_go();
    return 0;
}

/* All who still wait are notified, and it goes on working for new ones. */
static bool goes_on(const struct scene *scene)
{
    notify(SIZE_MAX);
    while (count_helpers(NOT_YET) > HELPERS - scene->helpers)
        pause_shortly();
    if (scene->crowd)
        await(&ledger->crowd_outcomes, CROWD);
    int waiting = ledger->waiting;
    pid_t fresh = start_helper(fresh_body, NULL);
    await_waiting(waiting + 1);
    notify(1);
    return wait_helper(fresh, ROLES_START_MS) == 0 && roles->told <= 1;
}

/* --- wait ------------------------------------------------------------------------- */

static bool acquire_as_deep(void *how)
{
    const struct scene *scene = how;
    bool right = true;

    for (int i = 0; i < scene->depth; i++)
        right = mp_condition_acquire(changed, MP_FOREVER) == 0 && right;
    return right;
}

static bool wait_once(void *how)
{
    const struct scene *scene = how;

    int err = mp_condition_wait(changed, scene->timeout_ms);
    ledger->victim = !err ? NOTIFIED : err == ETIMEDOUT ? TIMED_OUT : FAILED;
    return ledger->victim != FAILED;
}

/*
 * What was given and did not reach the victim must reach the helper by itself, or the
 * death of the lock's holder was told.  What reached the victim must not.
 */
static bool check_wait(void *how)
{
    const struct scene *scene = how;
    int victim = atomic_load(&ledger->victim);
    int left = scene->given - (victim == NOTIFIED);

    await(&ledger->directed, 1);
    wake_helpers(scene);
    while (left > 0 && !count_helpers(NOTIFIED) && !roles->told)
        pause_shortly();
    if (victim == FAILED || (left <= 0 && count_helpers(NOTIFIED) > 0))
        return false;
    /* It died with the lock: who still waits is told, without anybody's help. */
    if (victim != NOT_YET && !count_helpers(NOTIFIED) && scene->helpers > 0)
        await(&roles->told, 1);
    take();
    bool twice = left <= 0 && count_helpers(NOTIFIED) > 0;
    bool untold = victim != NOT_YET && !roles->told;
    let_go();
    return !twice && !untold && goes_on(scene);
}

/* Of fewer points where the death is to be noticed, which takes a while. */
static void expect_no_failure_in_scene(struct role_case c)
{
    leak_ignore_arena();
    expect_no_failure(&c, BURIED);
    c.limit = (c.limit + 3) / 4;
    expect_no_failure(&c, NOT_BURIED);
}

static void expect_no_failure_of_wait(const char *name, struct scene *scene,
                                      unsigned limit)
{
    expect_no_failure_in_scene((struct role_case){.name = name,
                                                  .how = scene,
                                                  .prepare = start_others,
                                                  .before = acquire_as_deep,
                                                  .paused = start_director,
                                                  .operate = wait_once,
                                                  .unblock = nothing,
                                                  .check = check_wait,
                                                  .limit = limit});
}

static void test_wait_that_times_out(void **state)
{
    (void)state;
    struct scene alone = {.depth = 1, .timeout_ms = 2, .helpers = 0};
    struct scene scene = {.depth = 1, .timeout_ms = 2, .helpers = 1};

    expect_no_failure_of_wait("wait 2 ms, alone", &alone, 9);
    expect_no_failure_of_wait("wait 2 ms, another waits", &scene, 9);
    scene.timeout_ms = MP_NOWAIT;
    scene.given = 1;
    expect_no_failure_of_wait("wait, not at all", &scene, 9);
}

static void test_wait_and_be_notified(void **state)
{
    (void)state;
    struct scene scene = {
        .depth = 2, .timeout_ms = MP_FOREVER, .helpers = 1, .given = 1};

    expect_no_failure_of_wait("wait, notified", &scene, 12);
    scene.patient = true;
    expect_no_failure_of_wait("wait, notified in its sleep", &scene, 9);
    scene.patient = false;
    scene.given = 2;
    expect_no_failure_of_wait("wait, both notified", &scene, 9);
    scene.given = 1;
    scene.depth = 1;
    scene.over_lock = true;
    expect_no_failure_of_wait("wait, notified, over a lock", &scene, 9);
    scene.timeout_ms = 1;
    expect_no_failure_of_wait("wait 1 ms, notified or not", &scene, 9);
}

/* Another one was notified, and dies before it returns: the victim is to inherit. */
static void test_wait_and_inherit(void **state)
{
    (void)state;
    struct scene scene = {.depth = 1,
                          .timeout_ms = MP_FOREVER,
                          .helpers = 1,
                          .given = 1,
                          .inherited = true,
                          .stopped = true};

    expect_no_failure_of_wait("wait, inherits", &scene, 12);
    scene.given = 2;
    expect_no_failure_of_wait("wait, inherits and is notified", &scene, 12);
}

static void test_wait_among_many(void **state)
{
    (void)state;
    struct scene scene = {.depth = 1, .timeout_ms = 1, .helpers = 1, .crowd = true};

    leak_ignore_maps();
    expect_no_failure_of_wait("wait 1 ms, among many", &scene, 8);
}

/* --- notify ----------------------------------------------------------------------- */

static bool notify_some(void *how)
{
    const struct scene *scene = how;

    bool right = mp_condition_notify(changed, (size_t)scene->count) == 0;
    if (scene->releases)
        right = mp_condition_release(changed) == 0 && right;
    ledger->victim = NOTIFIED;
    return right;
}

static void let_them_wait(void *how)
{
    const struct scene *scene = how;

    start_others(how);
    ledger->may_enter = 1;
    await_waiting(scene->helpers + scene->inherited);
}

static void stop_waiters(void *how)
{
    stop_helpers(how);
}

/*
 * The victim dies with the lock held.  If all others wait, one of them is told so and
 * returns; and all return that the victim has notified, and no more.
 */
static bool check_notify(void *how)
{
    const struct scene *scene = how;
    int least = ledger->victim == NOTIFIED ? scene->count : 0;

    await(&roles->told, 1);
    while (count_helpers(NOTIFIED) + count_helpers(TOLD) < least)
        pause_shortly();
    take();
    bool too_many = count_helpers(NOTIFIED) > scene->count;
    let_go();
    return !too_many && goes_on(scene);
}

/*
 * The victim lets go of the lock: from then on nobody is told, and all that were
 * notified return, although it may have died before it woke them.
 */
static bool check_notify_and_release(void *how)
{
    const struct scene *scene = how;

    while (!roles->told && count_helpers(NOTIFIED) < scene->count)
        pause_shortly();
    take();
    bool too_many = count_helpers(NOTIFIED) > scene->count;
    bool told = ledger->victim == NOTIFIED && roles->told;
    let_go();
    return !too_many && !told && goes_on(scene);
}

/* The lock is taken before they can be told, so that all that return are notified. */
static bool check_notify_exactly(void *how)
{
    const struct scene *scene = how;
    bool ended = ledger->victim == NOTIFIED;
    int most = scene->count + scene->given;

    take();
    let_go();
    if (roles->told != 1)
        return false;
    wake_helpers(scene);
    while (count_helpers(NOTIFIED) < (ended ? most : scene->given))
        pause_shortly();
    take();
    int notified = count_helpers(NOTIFIED);
    let_go();
    /* Killed while it passed one on that it found, it may have given that twice. */
    if (notified > most + (scene->inherited && !ended))
        return false;
    return goes_on(scene);
}

static void test_notify(void **state)
{
    (void)state;
    struct scene scene = {.depth = 1, .helpers = 3, .count = 2};
    struct role_case c = {.name = "notify two of three",
                          .how = &scene,
                          .prepare = let_them_wait,
                          .before = acquire_as_deep,
                          .operate = notify_some,
                          .check = check_notify,
                          .limit = 9};

    expect_no_failure_in_scene(c);
    c.name = "notify all";
    scene.count = 3;
    scene.over_lock = true;
    expect_no_failure_in_scene(c);
    c.name = "notify two of three, release";
    scene = (struct scene){.depth = 1, .helpers = 3, .count = 2, .releases = true};
    c.check = check_notify_and_release;
    expect_no_failure_in_scene(c);
    c.name = "notify two of three, exactly";
    scene = (struct scene){.depth = 1, .helpers = 3, .count = 2, .stopped = true};
    c.paused = stop_waiters;
    c.check = check_notify_exactly;
    expect_no_failure_in_scene(c);
}

/* What the victim finds: the first waiter dead, with a notification. */
static void leave_notification(void *how)
{
    const struct scene *scene = how;

    let_them_wait(how);
    stop_helpers(scene);
    notify_first();
    mp__member_watch();
}

static void test_notify_passes_on(void **state)
{
    (void)state;
    struct scene scene = {.depth = 1,
                          .helpers = 3,
                          .count = 1,
                          .given = 1,
                          .inherited = true,
                          .stopped = true};
    struct role_case c = {.name = "notify, and pass on",
                          .how = &scene,
                          .prepare = leave_notification,
                          .before = acquire_as_deep,
                          .operate = notify_some,
                          .check = check_notify_exactly,
                          .limit = 12};

    expect_no_failure_in_scene(c);
}

int main(void)
{
    static const struct role_object object = {make, discard};
    static const struct CMUnitTest step_condition[] = {
        TEST(test_wait_that_times_out),
        TEST(test_wait_and_be_notified),
        TEST(test_wait_and_inherit),
        TEST(test_wait_among_many),
        TEST(test_notify),
        TEST(test_notify_passes_on),
    };

    ledger = shared_page(sizeof *ledger);
    return roles_begin(&object) ? TEST_MAIN(step_condition) : SKIPPED;
}
