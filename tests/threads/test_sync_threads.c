/* SPDX-License-Identifier: MIT */
/*
 * test_sync_threads.c - threads of one process over all the primitives.
 *
 * What the primitives guard are plain variables.  In an ordinary build the sums must be
 * right; built with -fsanitize=thread (see sanitized.sh) it is proved as well that what
 * one thread did before it let go happened before what the next one does.
 *
 * With the argument "unguarded" two threads do without: ThreadSanitizer must complain.
 */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>

#include <mp/mp.h>

enum { THREADS = 4, ROUNDS = 1500 };

/* All that the threads of a test share. */
static struct {
    mp_lock *lock;
    mp_rlock *rlock;
    mp_semaphore *semaphore, *filled;
    mp_condition *condition;
    mp_event *event, *answer;
    mp_barrier *barrier;
    mp_rwlock *rwlock;

    /* Plain, and guarded by the primitive that is tested. */
    long first, second;
    long cells[THREADS];
    unsigned actions;
} shared;

/* A thread's work: 0, or the number of what went wrong. */
typedef int work_fn(size_t index);

struct job {
    work_fn *work;
    size_t index;
    int error;
    pthread_t thread;
};

static pthread_barrier_t start_line;

static void *run_job(void *arg)
{
    struct job *job = arg;

    /* Or else the first would be done before the last has been started. */
    pthread_barrier_wait(&start_line);
    job->error = job->work(job->index);
    return NULL;
}

/* Threads 0 to `changed` - 1 do `work`, the others do `other`. */
static int run_threads(work_fn *work, size_t changed, work_fn *other)
{
    struct job jobs[THREADS];
    int err = 0;

    shared.first = shared.second = 0;
    if (pthread_barrier_init(&start_line, NULL, THREADS))
        abort();
    for (size_t i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){.work = i < changed ? work : other, .index = i};
        if (pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]))
            abort();
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(jobs[i].thread, NULL);
        if (!err)
            err = jobs[i].error;
    }
    pthread_barrier_destroy(&start_line);
    return err;
}

static int run_all(work_fn *work)
{
    return run_threads(work, THREADS, NULL);
}

/* What only one may do at a time. */
static void count_up(void)
{
    shared.first++;
    /* Now and then the others run meanwhile. */
    if (shared.first % 16 == 0)
        sched_yield();
    shared.second++;
}

static void check_count(long expected)
{
    assert_int_equal(shared.first, expected);
    assert_int_equal(shared.second, expected);
}

static int count_under_lock(size_t index)
{
    int err = 0;

    for (int i = 0; i < ROUNDS && !err; i++) {
        /* One who only tries, and one who soon gives up; both come back for good. */
        err = index == 0 ? mp_lock_acquire(shared.lock, MP_NOWAIT)
                         : mp_lock_acquire(shared.lock, index == 1 ? 1 : MP_FOREVER);
        if (err == ETIMEDOUT)
            err = mp_lock_acquire(shared.lock, MP_FOREVER);
        if (err)
            break;
        count_up();
        err = mp_lock_release(shared.lock);
    }
    return err;
}

static void test_lock(void **state)
{
    (void)state;
    leak_ignore_maps();
    assert_int_equal(mp_lock_new(&shared.lock, NULL), 0);
    assert_int_equal(run_all(count_under_lock), 0);
    check_count(THREADS * ROUNDS);
    mp_lock_free(shared.lock);
}

static int count_under_rlock(size_t index)
{
    int err = 0;

    (void)index;
    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_rlock_acquire(shared.rlock, MP_FOREVER);
        if (err)
            break;
        shared.first++;
        err = mp_rlock_acquire(shared.rlock, MP_NOWAIT);
        if (err)
            break;
        shared.second++;
        err = mp_rlock_release(shared.rlock);
        if (!err)
            err = mp_rlock_release(shared.rlock);
    }
    return err;
}

static void test_rlock(void **state)
{
    (void)state;
    leak_ignore_maps();
    assert_int_equal(mp_rlock_new(&shared.rlock, NULL), 0);
    assert_int_equal(run_all(count_under_rlock), 0);
    check_count(THREADS * ROUNDS);
    assert_int_equal(mp_rlock_release(shared.rlock), EPERM);
    mp_rlock_free(shared.rlock);
}

static int count_under_semaphore(size_t index)
{
    int err = 0;

    (void)index;
    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_semaphore_acquire(shared.semaphore, MP_FOREVER);
        if (err)
            break;
        count_up();
        err = mp_semaphore_release(shared.semaphore);
    }
    return err;
}

static void test_semaphore(void **state)
{
    (void)state;
    leak_ignore_maps();
    for (int owned = 0; owned < 2; owned++) {
        int err = mp_semaphore_new(&shared.semaphore, 1,
                                   MP_SEMAPHORE_OPTIONS(.owned = owned));
        assert_int_equal(err, 0);
        assert_int_equal(run_all(count_under_semaphore), 0);
        check_count(THREADS * ROUNDS);
        mp_semaphore_free(shared.semaphore);
    }
}

/* Only one place: who fills it and who empties it count by turns. */
static int produce(size_t index)
{
    int err = 0;

    (void)index;
    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_semaphore_acquire(shared.semaphore, MP_FOREVER);
        if (err)
            break;
        shared.first++;
        err = mp_semaphore_release(shared.filled);
    }
    return err;
}

static int consume(size_t index)
{
    int err = 0;

    (void)index;
    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_semaphore_acquire(shared.filled, MP_FOREVER);
        if (err)
            break;
        shared.second++;
        if (shared.second != shared.first)
            return EPROTO;
        err = mp_semaphore_release(shared.semaphore);
    }
    return err;
}

static void test_semaphores_in_turn(void **state)
{
    (void)state;
    leak_ignore_maps();
    assert_int_equal(mp_semaphore_new(&shared.semaphore, 1, NULL), 0);
    assert_int_equal(mp_semaphore_new(&shared.filled, 0, NULL), 0);
    assert_int_equal(run_threads(produce, THREADS / 2, consume), 0);
    check_count(THREADS / 2 * ROUNDS);
    mp_semaphore_free(shared.semaphore);
    mp_semaphore_free(shared.filled);
}

/* A buffer of as many places as there are cells: `first` in, `second` out. */
static bool has_place(void *arg)
{
    (void)arg;
    return shared.first - shared.second < THREADS;
}

static bool has_item(void *arg)
{
    (void)arg;
    return shared.first > shared.second;
}

static int put_items(size_t index)
{
    int err = 0;

    (void)index;
    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_condition_acquire(shared.condition, MP_FOREVER);
        if (!err)
            err = mp_condition_wait_for(shared.condition, has_place, NULL, MP_FOREVER);
        if (err)
            break;
        shared.cells[shared.first % THREADS] = shared.first;
        shared.first++;
        err = i % 2 ? mp_condition_notify_all(shared.condition)
                    : mp_condition_notify(shared.condition, THREADS);
        if (!err)
            err = mp_condition_release(shared.condition);
    }
    return err;
}

static int get_items(size_t index)
{
    int err = 0;

    (void)index;
    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_condition_acquire(shared.condition, MP_FOREVER);
        while (!err && !has_item(NULL)) {
            /* The first of them is impatient. */
            err = mp_condition_wait(shared.condition, i % 2 ? 1 : MP_FOREVER);
            if (err == ETIMEDOUT)
                err = 0;
        }
        if (err)
            break;
        if (shared.cells[shared.second % THREADS] != shared.second)
            return EPROTO;
        shared.second++;
        err = mp_condition_notify_all(shared.condition);
        if (!err)
            err = mp_condition_release(shared.condition);
    }
    return err;
}

static void try_condition(const mp_condition_options *options)
{
    leak_ignore_maps();
    assert_int_equal(mp_condition_new(&shared.condition, options), 0);
    assert_int_equal(run_threads(put_items, THREADS / 2, get_items), 0);
    check_count(THREADS / 2 * ROUNDS);
    mp_condition_free(shared.condition);
}

static void test_condition(void **state)
{
    (void)state;
    try_condition(NULL);
}

static void test_condition_over_lock(void **state)
{
    (void)state;
    assert_int_equal(mp_lock_new(&shared.lock, NULL), 0);
    try_condition(MP_CONDITION_OPTIONS(.lock = shared.lock));
    mp_lock_free(shared.lock);
}

/* One asks and another answers, each by an event; the rest look on. */
static int ask(size_t index)
{
    int err = 0;

    (void)index;
    for (long i = 1; i <= ROUNDS && !err; i++) {
        shared.first = i;
        err = mp_event_set(shared.event);
        if (!err)
            err = mp_event_wait(shared.answer, MP_FOREVER);
        if (!err && shared.second != i)
            return EPROTO;
        if (!err)
            err = mp_event_clear(shared.answer);
    }
    return err;
}

static int answer(size_t index)
{
    int err = 0;

    if (index != 1)
        return 0;
    for (long i = 1; i <= ROUNDS && !err; i++) {
        err = mp_event_wait(shared.event, MP_FOREVER);
        if (!err && shared.first != i)
            return EPROTO;
        if (!err)
            err = mp_event_clear(shared.event);
        if (err)
            break;
        shared.second = i;
        err = mp_event_set(shared.answer);
    }
    return err;
}

static void test_event(void **state)
{
    (void)state;
    leak_ignore_maps();
    assert_int_equal(mp_event_new(&shared.event, NULL), 0);
    assert_int_equal(mp_event_new(&shared.answer, NULL), 0);
    assert_int_equal(run_threads(ask, 1, answer), 0);
    check_count(ROUNDS);
    mp_event_free(shared.event);
    mp_event_free(shared.answer);
}

/* Many wait for one who writes first; also those who need not wait at all. */
static int announce(size_t index)
{
    (void)index;
    shared.first = 7;
    return mp_event_set(shared.event);
}

static int hear(size_t index)
{
    (void)index;
    int err = mp_event_wait(shared.event, MP_FOREVER);
    if (!err && !mp_event_is_set(shared.event))
        return EPROTO;
    return err || shared.first == 7 ? err : EPROTO;
}

static int hear_by_looking(size_t index)
{
    if (index == 0)
        return announce(index);
    while (!mp_event_is_set(shared.event))
        sched_yield();
    return shared.first == 7 ? 0 : EPROTO;
}

static void test_event_for_many(void **state)
{
    (void)state;
    leak_ignore_maps();
    for (int i = 0; i < 50; i++) {
        assert_int_equal(mp_event_new(&shared.event, NULL), 0);
        assert_int_equal(run_threads(announce, 1, hear), 0);
        assert_int_equal(mp_event_clear(shared.event), 0);
        assert_int_equal(run_all(hear_by_looking), 0);
        mp_event_free(shared.event);
    }
}

/* Each writes its own cell; after the meeting each reads those of all. */
static int meet(size_t index)
{
    int err = 0;

    for (long i = 1; i <= ROUNDS && !err; i++) {
        shared.cells[index] = i;
        err = mp_barrier_wait(shared.barrier, MP_FOREVER, NULL);
        for (size_t k = 0; k < THREADS && !err; k++)
            if (shared.cells[k] != i)
                return EPROTO;
        if (!err && shared.actions != (unsigned)i * 2 - 1)
            return EPROTO;
        if (!err)
            err = mp_barrier_wait(shared.barrier, MP_FOREVER, NULL);
    }
    return err;
}

static int act(void *arg)
{
    (void)arg;
    shared.actions++;
    return 0;
}

static void test_barrier(void **state)
{
    (void)state;
    leak_ignore_maps();
    shared.actions = 0;
    int err =
        mp_barrier_new(&shared.barrier, THREADS, MP_BARRIER_OPTIONS(.action = act));
    assert_int_equal(err, 0);
    assert_int_equal(run_all(meet), 0);
    assert_int_equal(shared.actions, 2 * ROUNDS);
    mp_barrier_free(shared.barrier);
}

static int write_both(size_t index)
{
    int err = 0;

    (void)index;
    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_rwlock_acquire_write(shared.rwlock, MP_FOREVER);
        if (err)
            break;
        count_up();
        err = mp_rwlock_release(shared.rwlock);
    }
    return err;
}

/* Not all the time, or else nobody could write; and long enough to be in the way. */
static int read_both(size_t index)
{
    int err = 0;

    for (int i = 0; i < ROUNDS && !err; i++) {
        err = mp_rwlock_acquire_read(shared.rwlock, index % 2 ? 1 : MP_FOREVER);
        if (err == ETIMEDOUT)
            err = mp_rwlock_acquire_read(shared.rwlock, MP_FOREVER);
        if (err)
            break;
        long seen = shared.first;
        if (i % 4 == 0)
            sched_yield();
        if (shared.first != seen || shared.second != seen)
            return EPROTO;
        err = mp_rwlock_release(shared.rwlock);
        sched_yield();
    }
    return err;
}

static void test_rwlock(void **state)
{
    (void)state;
    leak_ignore_maps();
    assert_int_equal(mp_rwlock_new(&shared.rwlock, NULL), 0);
    assert_int_equal(run_threads(write_both, THREADS / 2, read_both), 0);
    check_count(THREADS / 2 * ROUNDS);
    mp_rwlock_free(shared.rwlock);
}

static int count_unguarded(size_t index)
{
    (void)index;
    for (int i = 0; i < ROUNDS; i++)
        count_up();
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_lock),      TEST(test_rlock),
        TEST(test_semaphore), TEST(test_semaphores_in_turn),
        TEST(test_condition), TEST(test_condition_over_lock),
        TEST(test_event),     TEST(test_event_for_many),
        TEST(test_barrier),   TEST(test_rwlock),
    };

    if (argc > 1 && strcmp(argv[1], "unguarded") == 0)
        return run_all(count_unguarded);
    return TEST_MAIN(tests);
}
