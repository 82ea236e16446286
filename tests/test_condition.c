/* SPDX-License-Identifier: MIT */
/* test_condition.c - conditions between processes and threads. */
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#define MOST 400

/* What the processes of a test share.  All counts change with the lock held. */
struct hall {
    mp_condition *changed;
    mp_lock *lock;
    mp_rlock *rlock;
    int timeout_ms; /* of the next waiters */
    int number;     /* of the next waiter */
    _Atomic int waiting, notified, timed_out, told, failed;
    _Atomic int value, sum, ready;
    _Atomic int64_t moment;
    int order[MOST]; /* the numbers of the waiters as they returned */
};

static struct hall *open_hall(void)
{
    struct hall *hall = mp_shared_alloc(sizeof *hall);

    assert_non_null(hall);
    hall->timeout_ms = MP_FOREVER;
    assert_int_equal(mp_condition_new(&hall->changed, NULL), 0);
    return hall;
}

/* Its condition over a lock, a recursive lock, or one of its own. */
static struct hall *open_hall_with(int kind)
{
    struct hall *hall = open_hall();

    if (kind == 0)
        return hall;
    mp_condition_free(hall->changed);
    assert_int_equal(mp_lock_new(&hall->lock, NULL), 0);
    assert_int_equal(mp_rlock_new(&hall->rlock, NULL), 0);
    const mp_condition_options *options =
        kind == 1 ? MP_CONDITION_OPTIONS(.lock = hall->lock)
                  : MP_CONDITION_OPTIONS(.rlock = hall->rlock);
    assert_int_equal(mp_condition_new(&hall->changed, options), 0);
    return hall;
}

static void close_hall(struct hall *hall)
{
    mp_condition_free(hall->changed);
    mp_lock_free(hall->lock);
    mp_rlock_free(hall->rlock);
    mp_shared_free(hall);
}

static void enter(struct hall *hall)
{
    assert_int_equal(mp_condition_acquire(hall->changed, MP_FOREVER), 0);
}

static void leave(struct hall *hall)
{
    assert_int_equal(mp_condition_release(hall->changed), 0);
}

static void count_return(struct hall *hall, int number, int err)
{
    int returned = hall->notified + hall->timed_out + hall->told;

    if (returned < MOST)
        hall->order[returned] = number;
    if (!err)
        hall->notified++;
    else if (err == ETIMEDOUT)
        hall->timed_out++;
    else if (err == EOWNERDEAD)
        hall->told++;
    else
        hall->failed++;
}

static int wait_once(void *arg)
{
    struct hall *hall = arg;
    int number = hall->number, timeout_ms = hall->timeout_ms;

    atomic_fetch_add(&hall->ready, 1);
    int err = mp_condition_acquire(hall->changed, MP_FOREVER);
    if (err)
        return 1;
    hall->waiting++;
    err = mp_condition_wait(hall->changed, timeout_ms);
    count_return(hall, number, err);
    return mp_condition_release(hall->changed);
}

struct expected {
    _Atomic int *count;
    int value;
};

static bool has_come(void *arg)
{
    struct expected *expected = arg;
    return *expected->count >= expected->value;
}

static bool comes_to(_Atomic int *count, int value)
{
    struct expected expected = {count, value};
    return eventually(has_come, &expected, scaled(10000));
}

/* Who counts itself as waiting has the lock, and lets go of it in its wait. */
static void let_all_wait(struct hall *hall, int count)
{
    assert_true(comes_to(&hall->waiting, count));
    enter(hall);
    leave(hall);
}

static pid_t start_waiter(struct hall *hall, int number)
{
    int before = hall->ready;

    hall->number = number;
    pid_t pid = child_start(wait_once, hall);
    assert_true(comes_to(&hall->ready, before + 1));
    return pid;
}

/* In this order. */
static void start_waiters(struct hall *hall, pid_t *pids, int count)
{
    for (int i = 0; i < count; i++) {
        int before = hall->waiting;
        pids[i] = start_waiter(hall, i);
        let_all_wait(hall, before + 1);
    }
}

static void all_end(pid_t *pids, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(child_wait(pids[i], 20000), 0);
}

static void notify(struct hall *hall, size_t count)
{
    enter(hall);
    assert_int_equal(mp_condition_notify(hall->changed, count), 0);
    leave(hall);
}

/* Nobody but those that are expected returns: a moment is given to all others. */
static void only_notified(struct hall *hall, int count)
{
    assert_true(comes_to(&hall->notified, count));
    usleep(30000);
    enter(hall);
    assert_int_equal(hall->notified, count);
    leave(hall);
}

static bool is_true(void *arg)
{
    (void)arg;
    return true;
}

static bool is_false(void *arg)
{
    (void)arg;
    return false;
}

static void test_bad_input(void **state)
{
    (void)state;
    mp_condition *condition;
    mp_lock *lock;
    mp_rlock *rlock;

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_int_equal(mp_rlock_new(&rlock, NULL), 0);
    assert_int_equal(mp_condition_new(NULL, NULL), EINVAL);
    assert_int_equal(mp_condition_new(&condition, MP_CONDITION_OPTIONS(.lock = lock,
                                                                       .rlock = rlock)),
                     EINVAL);
    assert_int_equal(mp_condition_acquire(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_condition_release(NULL), EINVAL);
    assert_int_equal(mp_condition_wait(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_condition_wait_for(NULL, is_true, NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_condition_notify(NULL, 1), EINVAL);
    assert_int_equal(mp_condition_notify_all(NULL), EINVAL);
    mp_condition_free(NULL);
    assert_int_equal(mp_condition_new(&condition, MP_CONDITION_OPTIONS()), 0);
    assert_true(mp_shared_contains(condition));
    assert_int_equal(mp_condition_acquire(condition, -2), EINVAL);
    assert_int_equal(mp_condition_acquire(condition, MP_NOWAIT), 0);
    assert_int_equal(mp_condition_wait(condition, -2), EINVAL);
    assert_int_equal(mp_condition_wait_for(condition, NULL, NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_condition_wait_for(condition, is_true, NULL, -7), EINVAL);
    assert_int_equal(mp_condition_release(condition), 0);
    assert_int_equal(mp_condition_release(condition), EPERM);
    mp_condition_free(condition);
    mp_lock_free(lock);
    mp_rlock_free(rlock);
}

static void expect_not_allowed(mp_condition *condition)
{
    assert_int_equal(mp_condition_wait(condition, MP_NOWAIT), EPERM);
    assert_int_equal(mp_condition_wait_for(condition, is_true, NULL, MP_NOWAIT), EPERM);
    assert_int_equal(mp_condition_notify(condition, 1), EPERM);
    assert_int_equal(mp_condition_notify_all(condition), EPERM);
}

static int try_as_child(void *arg)
{
    guard_child();
    expect_not_allowed(((struct hall *)arg)->changed);
    return 0;
}

static void *try_in_thread(void *arg)
{
    mp_condition *condition = ((struct hall *)arg)->changed;

    if (mp_condition_wait(condition, MP_NOWAIT) != EPERM ||
        mp_condition_notify_all(condition) != EPERM)
        return arg;
    return NULL;
}

static void test_only_for_the_holder(void **state)
{
    (void)state;
    pthread_t thread;
    void *failed;

    leak_ignore_maps();
    for (int kind = 0; kind < 3; kind++) {
        struct hall *hall = open_hall_with(kind);
        expect_not_allowed(hall->changed);
        enter(hall);
        assert_int_equal(child_run(try_as_child, hall), 0);
        /* A lock that is not recursive is its process's, and not a thread's. */
        if (kind != 1) {
            assert_int_equal(pthread_create(&thread, NULL, try_in_thread, hall), 0);
            pthread_join(thread, &failed);
            assert_null(failed);
        }
        assert_int_equal(mp_condition_notify(hall->changed, 0), 0);
        assert_int_equal(mp_condition_notify(hall->changed, 1), 0);
        assert_int_equal(mp_condition_notify_all(hall->changed), 0);
        leave(hall);
        expect_not_allowed(hall->changed);
        close_hall(hall);
    }
}

static void test_timeouts(void **state)
{
    (void)state;
    struct hall *hall = open_hall();

    enter(hall);
    assert_int_equal(mp_condition_wait(hall->changed, MP_NOWAIT), ETIMEDOUT);
    int64_t start = now_ms();
    assert_int_equal(mp_condition_wait(hall->changed, 150), ETIMEDOUT);
    assert_true(now_ms() - start >= 149);
    assert_true(now_ms() - start < scaled(1000));
    /* What was notified while nobody waited is not remembered. */
    assert_int_equal(mp_condition_notify_all(hall->changed), 0);
    assert_int_equal(mp_condition_notify(hall->changed, 5), 0);
    assert_int_equal(mp_condition_wait(hall->changed, 50), ETIMEDOUT);
    leave(hall);
    close_hall(hall);
}

static void test_notify_counts(void **state)
{
    (void)state;
    pid_t pids[8];

    for (int kind = 0; kind < 3; kind++) {
        struct hall *hall = open_hall_with(kind);
        start_waiters(hall, pids, 8);
        notify(hall, 0);
        only_notified(hall, 0);
        notify(hall, 1);
        only_notified(hall, 1);
        notify(hall, 3);
        only_notified(hall, 4);
        enter(hall);
        assert_int_equal(mp_condition_notify_all(hall->changed), 0);
        leave(hall);
        only_notified(hall, 8);
        all_end(pids, 8);
        assert_int_equal(hall->timed_out + hall->told + hall->failed, 0);
        /* More than there are. */
        start_waiters(hall, pids, 2);
        notify(hall, 100);
        all_end(pids, 2);
        assert_int_equal(hall->notified, 10);
        close_hall(hall);
    }
}

/* Those who came first are notified first. */
static void test_order(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pids[6];

    start_waiters(hall, pids, 6);
    for (int i = 0; i < 6; i++) {
        notify(hall, 1);
        assert_true(comes_to(&hall->notified, i + 1));
    }
    all_end(pids, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(hall->order[i], i);
    close_hall(hall);
}

/* Wait with the lock taken three times. */
static int wait_deep(void *arg)
{
    struct hall *hall = arg;

    for (int i = 0; i < 3; i++)
        if (mp_condition_acquire(hall->changed, MP_FOREVER) != 0)
            return 1;
    hall->waiting++;
    if (mp_condition_wait(hall->changed, MP_FOREVER) != 0)
        return 2;
    hall->ready = 1;
    /* Still three times: nobody gets in before it lets go for the third time. */
    for (int i = 0; i < 2; i++)
        if (mp_condition_release(hall->changed) != 0)
            return 3;
    if (mp_condition_notify(hall->changed, 1) != 0)
        return 4;
    hall->ready = 2;
    usleep(50000);
    hall->ready = 3;
    if (mp_condition_release(hall->changed) != 0)
        return 5;
    return mp_condition_release(hall->changed) == EPERM ? 0 : 6;
}

static void test_depth_is_kept(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind += 2) {
        struct hall *hall = open_hall_with(kind);
        pid_t pid = child_start(wait_deep, hall);
        let_all_wait(hall, 1);
        notify(hall, 1);
        assert_true(comes_to(&hall->ready, 1));
        enter(hall);
        assert_int_equal(hall->ready, 3);
        leave(hall);
        assert_int_equal(child_wait(pid, 5000), 0);
        close_hall(hall);
    }
}

static bool is_four(void *arg)
{
    return ((struct hall *)arg)->value == 4;
}

static int wait_for_four(void *arg)
{
    struct hall *hall = arg;

    if (mp_condition_acquire(hall->changed, MP_FOREVER) != 0)
        return 1;
    hall->waiting++;
    int err = mp_condition_wait_for(hall->changed, is_four, hall, hall->timeout_ms);
    if (!err && hall->value != 4)
        return 2;
    int released = mp_condition_release(hall->changed);
    return err ? err : released;
}

static void test_wait_for(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pid = child_start(wait_for_four, hall);

    let_all_wait(hall, 1);
    for (int i = 1; i <= 4; i++) {
        enter(hall);
        hall->value = i;
        assert_int_equal(mp_condition_notify(hall->changed, 1), 0);
        leave(hall);
        usleep(5000);
    }
    assert_int_equal(child_wait(pid, 5000), 0);
    enter(hall);
    assert_int_equal(mp_condition_wait_for(hall->changed, is_true, NULL, MP_NOWAIT), 0);
    assert_int_equal(mp_condition_wait_for(hall->changed, is_false, NULL, MP_NOWAIT),
                     ETIMEDOUT);
    leave(hall);
    close_hall(hall);
}

static int notify_for_ever(void *arg)
{
    struct hall *hall = arg;

    for (;;) {
        if (mp_condition_acquire(hall->changed, MP_FOREVER) != 0)
            return 1;
        mp_condition_notify_all(hall->changed);
        mp_condition_release(hall->changed);
        usleep(5000);
    }
    return 0;
}

/* The time is that of the whole call, however often it is woken. */
static void test_wait_for_in_time(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pid = child_start(notify_for_ever, hall);

    enter(hall);
    int64_t start = now_ms();
    int err = mp_condition_wait_for(hall->changed, is_false, NULL, 200);
    assert_int_equal(err, ETIMEDOUT);
    assert_true(now_ms() - start >= 199);
    assert_true(now_ms() - start < scaled(1500));
    leave(hall);
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    close_hall(hall);
}

/* It waits for the lock, its time is over, and then it is notified: that counts. */
static void test_notified_after_time(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pids[2];

    hall->timeout_ms = 100;
    start_waiters(hall, pids, 1);
    enter(hall);
    hall->timeout_ms = MP_FOREVER;
    usleep(250000);
    assert_int_equal(mp_condition_notify(hall->changed, 1), 0);
    leave(hall);
    all_end(pids, 1);
    assert_int_equal(hall->notified, 1);
    /* And nothing of it is left for the next one. */
    hall->timeout_ms = 50;
    start_waiters(hall, pids, 1);
    all_end(pids, 1);
    assert_int_equal(hall->timed_out, 1);
    close_hall(hall);
}

/* Those whose time is over are not taken for waiters. */
static void test_timed_out_take_nothing(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t early[3], late[1];

    hall->timeout_ms = 30;
    start_waiters(hall, early, 3);
    hall->timeout_ms = MP_FOREVER;
    all_end(early, 3);
    start_waiters(hall, late, 1);
    notify(hall, 1);
    all_end(late, 1);
    assert_int_equal(hall->timed_out, 3);
    assert_int_equal(hall->notified, 1);
    close_hall(hall);
}

static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
}

static void test_waiter_is_killed(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pids[4];

    for (int round = 0; round < 5; round++) {
        start_waiters(hall, pids, 4);
        /* The two that would be next. */
        for (int i = 0; i < 2; i++)
            kill_and_reap(pids[i]);
        int64_t start = now_ms();
        notify(hall, 1);
        assert_int_equal(child_wait(pids[2], 5000), 0);
        only_notified(hall, 2 * round + 1);
        notify(hall, 1);
        assert_int_equal(child_wait(pids[3], 5000), 0);
        assert_true(now_ms() - start < scaled(1000));
    }
    assert_int_equal(hall->notified, 10);
    close_hall(hall);
}

/* Two processes, of which one is to end. */
static bool one_has_ended(void *arg)
{
    const pid_t *pids = arg;
    return process_state(pids[0]) == 'Z' || process_state(pids[1]) == 'Z';
}

/* Killed with a notification, before it could return: another one gets it, and only
   one. */
static void test_notified_one_is_killed(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pids[3];

    for (int round = 0; round < 10; round++) {
        start_waiters(hall, pids, 3);
        enter(hall);
        assert_int_equal(mp_condition_notify(hall->changed, 1), 0);
        kill_and_reap(pids[0]);
        leave(hall);
        int64_t start = now_ms();
        assert_true(eventually(one_has_ended, pids + 1, scaled(2000)));
        assert_true(now_ms() - start < scaled(1000));
        only_notified(hall, round + 1);
        int waits = process_state(pids[1]) == 'Z' ? 2 : 1;
        assert_int_equal(child_wait(pids[3 - waits], 5000), 0);
        kill_and_reap(pids[waits]);
        hall->waiting = 0;
    }
    assert_int_equal(hall->timed_out + hall->told + hall->failed, 0);
    close_hall(hall);
}

static int hold_until_killed(void *arg)
{
    struct hall *hall = arg;

    if (mp_condition_acquire(hall->changed, MP_FOREVER) != 0)
        return 1;
    atomic_store(&hall->ready, -1);
    for (;;)
        pause();
    return 0;
}

static bool is_held(void *arg)
{
    return ((struct hall *)arg)->ready == -1;
}

/* All wait for one who holds the lock, and dies: one of them is told, the others wait
   on. */
static void test_holder_is_killed(void **state)
{
    (void)state;
    pid_t pids[4];

    for (int kind = 0; kind < 3; kind++) {
        struct hall *hall = open_hall_with(kind);
        start_waiters(hall, pids, 4);
        pid_t holder = child_start(hold_until_killed, hall);
        assert_true(eventually(is_held, hall, 5000));
        int64_t start = now_ms();
        kill_and_reap(holder);
        assert_true(comes_to(&hall->told, 1));
        assert_true(now_ms() - start < scaled(1000));
        only_notified(hall, 0);
        notify(hall, MOST);
        all_end(pids, 4);
        assert_int_equal(hall->told, 1);
        assert_int_equal(hall->notified, 3);
        close_hall(hall);
    }
}

/* Notifying waits for nobody; a stopped waiter is alive, and keeps what it got. */
static void test_stopped_waiter(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pids[2];

    start_waiters(hall, pids, 2);
    kill(pids[0], SIGSTOP);
    int64_t start = now_ms();
    notify(hall, 1);
    assert_true(now_ms() - start < scaled(500));
    only_notified(hall, 0);
    kill(pids[0], SIGCONT);
    assert_int_equal(child_wait(pids[0], 5000), 0);
    notify(hall, 1);
    all_end(pids + 1, 1);
    assert_int_equal(hall->order[0], 0);
    close_hall(hall);
}

static void *wait_in_thread(void *arg)
{
    return wait_once(arg) == 0 ? NULL : arg;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    void *failed;

    leak_ignore_maps();
    for (int kind = 0; kind < 3; kind++) {
        struct hall *hall = open_hall_with(kind);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, wait_in_thread, hall),
                             0);
        assert_true(comes_to(&hall->waiting, 4));
        notify(hall, 1);
        only_notified(hall, 1);
        notify(hall, 3);
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], &failed);
            assert_null(failed);
        }
        assert_int_equal(hall->notified, 4);
        close_hall(hall);
    }
}

#define ROOM  4
#define ITEMS 3000

static bool has_room(void *arg)
{
    return ((struct hall *)arg)->value < ROOM;
}

static bool has_item(void *arg)
{
    return ((struct hall *)arg)->value > 0;
}

/* Producers and consumers of a small buffer wait on one condition, and every change
   wakes one: who is woken in vain passes it on. */
static int produce(void *arg)
{
    struct hall *hall = arg;

    guard_child();
    for (int i = 0; i < ITEMS; i++) {
        enter(hall);
        assert_int_equal(
            mp_condition_wait_for(hall->changed, has_room, hall, MP_FOREVER), 0);
        assert_true(hall->value < ROOM);
        hall->value++;
        assert_int_equal(mp_condition_notify_all(hall->changed), 0);
        leave(hall);
    }
    return 0;
}

static int consume(void *arg)
{
    struct hall *hall = arg;

    guard_child();
    for (int i = 0; i < ITEMS; i++) {
        enter(hall);
        assert_int_equal(
            mp_condition_wait_for(hall->changed, has_item, hall, MP_FOREVER), 0);
        assert_true(hall->value > 0);
        hall->value--;
        hall->sum++;
        assert_int_equal(mp_condition_notify_all(hall->changed), 0);
        leave(hall);
    }
    return 0;
}

static void test_producers_and_consumers(void **state)
{
    (void)state;
    pid_t pids[6];

    for (int kind = 0; kind < 3; kind++) {
        struct hall *hall = open_hall_with(kind);
        for (int i = 0; i < 6; i++)
            pids[i] = child_start(i % 2 ? produce : consume, hall);
        all_end(pids, 6);
        assert_int_equal(hall->value, 0);
        assert_int_equal(hall->sum, 3 * ITEMS);
        close_hall(hall);
    }
}

/* Each of two waits for the other: a wake that is lost ends it. */
static int play(struct hall *hall, int mine, int turns)
{
    for (int i = 0; i < turns; i++) {
        enter(hall);
        while (hall->value != mine)
            assert_int_equal(mp_condition_wait(hall->changed, MP_FOREVER), 0);
        hall->value = !mine;
        assert_int_equal(mp_condition_notify(hall->changed, 1), 0);
        leave(hall);
    }
    return 0;
}

static int play_as_child(void *arg)
{
    guard_child();
    return play(arg, 1, 10000);
}

static void test_ping_pong(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pid = child_start(play_as_child, hall);

    play(hall, 0, 10000);
    assert_int_equal(child_wait(pid, 20000), 0);
    close_hall(hall);
}

static void test_hundreds_of_waiters(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    pid_t pids[MOST];

    for (int i = 0; i < MOST; i++)
        pids[i] = child_start(wait_once, hall);
    let_all_wait(hall, MOST);
    notify(hall, 100);
    only_notified(hall, 100);
    enter(hall);
    assert_int_equal(mp_condition_notify_all(hall->changed), 0);
    leave(hall);
    all_end(pids, MOST);
    assert_int_equal(hall->notified, MOST);
    close_hall(hall);
}

static void test_sleeping_costs_no_time(void **state)
{
    (void)state;
    struct hall *hall = open_hall();
    struct rusage before, after;

    enter(hall);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(mp_condition_wait(hall->changed, 1000), ETIMEDOUT);
    getrusage(RUSAGE_SELF, &after);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
              after.ru_utime.tv_usec - before.ru_utime.tv_usec;
    assert_true(us < 50000);
    leave(hall);
    close_hall(hall);
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static int note_moment(void *arg)
{
    struct hall *hall = arg;

    guard_child();
    enter(hall);
    hall->waiting++;
    assert_int_equal(mp_condition_wait(hall->changed, MP_FOREVER), 0);
    hall->moment = now_us();
    leave(hall);
    return 0;
}

/* The waiter is woken, and does not return when it happens to look. */
static void test_notify_wakes(void **state)
{
    (void)state;
    int64_t best = INT64_MAX;

    for (int i = 0; i < 10; i++) {
        struct hall *hall = open_hall();
        pid_t pid = child_start(note_moment, hall);
        let_all_wait(hall, 1);
        assert_true(process_sleeps(pid, 5000));
        int64_t start = now_us();
        notify(hall, 1);
        assert_int_equal(child_wait(pid, 5000), 0);
        if (hall->moment - start < best)
            best = hall->moment - start;
        close_hall(hall);
    }
    assert_true(best < 5000);
}

int main(void)
{
    static const struct CMUnitTest condition[] = {
        TEST(test_bad_input),
        TEST(test_only_for_the_holder),
        TEST(test_timeouts),
        TEST(test_notify_counts),
        TEST(test_order),
        TEST(test_depth_is_kept),
        TEST(test_wait_for),
        TEST(test_wait_for_in_time),
        TEST(test_notified_after_time),
        TEST(test_timed_out_take_nothing),
        TEST(test_waiter_is_killed),
        TEST(test_notified_one_is_killed),
        TEST(test_holder_is_killed),
        TEST(test_stopped_waiter),
        TEST(test_threads),
        TEST(test_producers_and_consumers),
        TEST(test_ping_pong),
        TEST(test_hundreds_of_waiters),
        TEST(test_sleeping_costs_no_time),
        TEST(test_notify_wakes),
    };

    return TEST_MAIN(condition);
}
