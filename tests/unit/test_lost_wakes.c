/* SPDX-License-Identifier: MIT */
/*
 * test_lost_wakes.c - every wake that is owed is given.
 *
 * A sleeper looks again on its own after a while, which hides a wake that was lost.
 * Here it does not for hours: whoever is not woken is stuck, and the test sees it.
 * Nobody is killed, for a death wakes everybody.
 */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>

#include <mp/mp.h>

#include "sync/park.h"

#define MOST_PROCESSES 8
#define PATIENCE_MS    30000

/* What a process of the scene does: `index` is its number, from 0. */
typedef int part_fn(int index, int rounds);

struct part {
    part_fn *play;
    int index;
    int rounds;
};

static mp_lock *lock;
static mp_rlock *rlock;
static mp_semaphore *semaphore;
static mp_condition *condition;
static mp_event *events[2];
static mp_barrier *barrier;
static mp_rwlock *rwlock;

static int *turn; /* in the arena; guarded by the lock of `condition` */

static int play_part(void *arg)
{
    const struct part *part = arg;

    return part->play(part->index, part->rounds);
}

static void play(part_fn *fn, int processes, int rounds)
{
    pid_t pids[MOST_PROCESSES];

    for (int i = 0; i < processes; i++) {
        struct part part = {fn, i, rounds};
        pids[i] = child_start(play_part, &part);
    }
    for (int i = 0; i < processes; i++)
        assert_int_equal(child_wait(pids[i], PATIENCE_MS), 0);
}

/* So long that others go to sleep meanwhile; or let them run, if there is but one
   processor for all. */
static void dwell(int round)
{
    if (round % 16) {
        sched_yield();
        return;
    }
    int64_t until = now_ms() + 1;
    while (now_ms() < until)
        continue;
}

static int pass_lock(int index, int rounds)
{
    (void)index;
    for (int i = 0; i < rounds; i++) {
        if (mp_lock_acquire(lock, MP_FOREVER))
            return 1;
        dwell(i);
        if (mp_lock_release(lock))
            return 2;
    }
    return 0;
}

static void test_lock(void **state)
{
    (void)state;
    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    play(pass_lock, 6, 1000);
    mp_lock_free(lock);
}

static int pass_rlock(int index, int rounds)
{
    (void)index;
    for (int i = 0; i < rounds; i++) {
        if (mp_rlock_acquire(rlock, MP_FOREVER) || mp_rlock_acquire(rlock, MP_FOREVER))
            return 1;
        dwell(i);
        if (mp_rlock_release(rlock) || mp_rlock_release(rlock))
            return 2;
    }
    return 0;
}

static void test_rlock(void **state)
{
    (void)state;
    assert_int_equal(mp_rlock_new(&rlock, NULL), 0);
    play(pass_rlock, 6, 1000);
    mp_rlock_free(rlock);
}

static int pass_token(int index, int rounds)
{
    (void)index;
    for (int i = 0; i < rounds; i++) {
        if (mp_semaphore_acquire(semaphore, MP_FOREVER))
            return 1;
        dwell(i);
        if (mp_semaphore_release(semaphore))
            return 2;
    }
    return 0;
}

static void test_semaphore(void **state)
{
    (void)state;
    assert_int_equal(mp_semaphore_new(&semaphore, 2, NULL), 0);
    play(pass_token, 6, 1000);
    assert_int_equal(mp_semaphore_value(semaphore), 2);
    mp_semaphore_free(semaphore);
}

static void test_owned_semaphore(void **state)
{
    (void)state;
    assert_int_equal(mp_semaphore_new(&semaphore, 2, MP_SEMAPHORE_OPTIONS(.owned = 1)),
                     0);
    play(pass_token, 6, 1000);
    assert_int_equal(mp_semaphore_value(semaphore), 2);
    mp_semaphore_free(semaphore);
}

/* Who acquires is not who releases. */
static int produce_or_consume(int index, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        if (index % 2 == 0)
            dwell(i);
        if (index % 2 ? mp_semaphore_acquire(semaphore, MP_FOREVER)
                      : mp_semaphore_release(semaphore))
            return 1;
    }
    return 0;
}

static void test_producers_and_consumers(void **state)
{
    (void)state;
    assert_int_equal(mp_semaphore_new(&semaphore, 0, NULL), 0);
    play(produce_or_consume, 6, 1000);
    assert_int_equal(mp_semaphore_value(semaphore), 0);
    mp_semaphore_free(semaphore);
}

/* Each notifies exactly one, who may not be the one whose turn it is: that one passes
   it on. */
static int take_turns(int index, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        if (mp_condition_acquire(condition, MP_FOREVER))
            return 1;
        while (*turn % 3 != index)
            if (mp_condition_notify(condition, 1) ||
                mp_condition_wait(condition, MP_FOREVER))
                return 2;
        ++*turn;
        dwell(i);
        if (mp_condition_notify(condition, 1) || mp_condition_release(condition))
            return 3;
    }
    return 0;
}

static int take_turns_all(int index, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        if (mp_condition_acquire(condition, MP_FOREVER))
            return 1;
        while (*turn % 6 != index)
            if (mp_condition_wait(condition, MP_FOREVER))
                return 2;
        ++*turn;
        dwell(i);
        if (mp_condition_notify_all(condition) || mp_condition_release(condition))
            return 3;
    }
    return 0;
}

static void with_turns(part_fn *fn, int processes, int rounds)
{
    turn = mp_shared_alloc(sizeof(*turn));
    assert_non_null(turn);
    assert_int_equal(mp_condition_new(&condition, NULL), 0);
    play(fn, processes, rounds);
    mp_condition_free(condition);
    mp_shared_free(turn);
}

static void test_condition(void **state)
{
    (void)state;
    with_turns(take_turns, 3, 500);
}

static void test_condition_notify_all(void **state)
{
    (void)state;
    with_turns(take_turns_all, 6, 300);
}

static int ping_pong(int index, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        dwell(i + 8 * index);
        if (index == 0 && mp_event_set(events[0]))
            return 1;
        if (mp_event_wait(events[1 - index], MP_FOREVER))
            return 2;
        if (mp_event_clear(events[1 - index]))
            return 3;
        if (index == 1 && mp_event_set(events[1]))
            return 4;
    }
    return 0;
}

static void test_event(void **state)
{
    (void)state;
    assert_int_equal(mp_event_new(&events[0], NULL), 0);
    assert_int_equal(mp_event_new(&events[1], NULL), 0);
    play(ping_pong, 2, 3000);
    mp_event_free(events[0]);
    mp_event_free(events[1]);
}

static int meet(int index, int rounds)
{
    unsigned place;

    for (int i = 0; i < rounds; i++) {
        dwell(i + index);
        if (mp_barrier_wait(barrier, MP_FOREVER, &place))
            return 1;
    }
    return 0;
}

static void test_barrier(void **state)
{
    (void)state;
    assert_int_equal(mp_barrier_new(&barrier, 5, NULL), 0);
    play(meet, 5, 1000);
    mp_barrier_free(barrier);
}

static int read_and_write(int index, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        if (index % 3 ? mp_rwlock_acquire_read(rwlock, MP_FOREVER)
                      : mp_rwlock_acquire_write(rwlock, MP_FOREVER))
            return 1;
        dwell(i);
        if (mp_rwlock_release(rwlock))
            return 2;
    }
    return 0;
}

static void test_rwlock(void **state)
{
    (void)state;
    assert_int_equal(mp_rwlock_new(&rwlock, NULL), 0);
    play(read_and_write, 6, 1000);
    mp_rwlock_free(rwlock);
}

static int dwell_in_task(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    dwell(*(const int *)arg);
    return 0;
}

static void nothing_more(mp_async_result *result, void *arg)
{
    (void)result;
    ++*(int *)arg;
}

static void *poll_once(void *pool)
{
    return (void *)(intptr_t)mp_pool_poll(pool, MP_FOREVER);
}

static int wait_for_event(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    return mp_event_wait(context, MP_FOREVER);
}

/* A thread waits for a callback that never comes, for the result is freed. */
static int drop_what_is_awaited(mp_pool *pool, mp_event *event)
{
    pthread_t thread;
    mp_async_result *held[2], *last;
    void *err;
    int calls = 0;

    mp_event_clear(event);
    for (int i = 0; i < 2; i++)
        if (mp_pool_apply_async(pool, wait_for_event, NULL, 0, 0,
                                MP_TASK_OPTIONS(.context = event), &held[i]))
            return 1;
    if (mp_pool_apply_async(
            pool, dwell_in_task, &calls, sizeof calls, 0,
            MP_TASK_OPTIONS(.callback = nothing_more, .callback_arg = &calls), &last) ||
        pthread_create(&thread, NULL, poll_once, pool))
        return 2;
    dwell(0);
    mp_async_result_free(last);
    pthread_join(thread, &err);
    mp_event_set(event);
    if ((intptr_t)err != EPIPE || calls ||
        mp_async_result_wait_all(held, 2, MP_FOREVER))
        return 3;
    for (int i = 0; i < 2; i++)
        mp_async_result_free(held[i]);
    return 0;
}

/* Poll for one callback, wait for any of two results, and drop one, in turn. */
static int listen_to_pool(int index, int rounds)
{
    mp_event *event;
    mp_pool *pool;
    int calls = 0;

    (void)index;
    if (mp_event_new(&event, NULL) ||
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)))
        return 1;
    for (int i = 0; i < rounds; i++) {
        mp_async_result *results[2];
        size_t which;
        if (mp_pool_apply_async(
                pool, dwell_in_task, &i, sizeof i, 0,
                MP_TASK_OPTIONS(.callback = nothing_more, .callback_arg = &calls),
                NULL) ||
            mp_pool_poll(pool, MP_FOREVER) || calls != i + 1)
            return 2;
        for (int k = 0; k < 2; k++)
            if (mp_pool_apply_async(pool, dwell_in_task, &i, sizeof i, 0, NULL,
                                    &results[k]))
                return 3;
        while (!mp_async_result_wait_any(results, 2, MP_FOREVER, &which)) {
            mp_async_result_free(results[which]);
            results[which] = NULL;
        }
        if (i % 8 == 0 && drop_what_is_awaited(pool, event))
            return 4;
    }
    mp_pool_free(pool);
    mp_event_free(event);
    return 0;
}

static void test_pool(void **state)
{
    (void)state;
    play(listen_to_pool, 1, 2000);
    play(listen_to_pool, 2, 500);
}

int main(void)
{
    static const struct CMUnitTest lost_wakes[] = {
        TEST(test_lock),      TEST(test_rlock),
        TEST(test_semaphore), TEST(test_owned_semaphore),
        TEST(test_condition), TEST(test_producers_and_consumers),
        TEST(test_event),     TEST(test_condition_notify_all),
        TEST(test_barrier),   TEST(test_rwlock),
        TEST(test_pool),
    };

    mp__slice_factor = 1000000;
    return TEST_MAIN(lost_wakes);
}
