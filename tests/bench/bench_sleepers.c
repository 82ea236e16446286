/* SPDX-License-Identifier: MIT */
/*
 * bench_sleepers.c - what a large family costs that does nothing but sleep.
 *
 * A thousand processes wait, spread over all calls that wait, for what never comes:
 * this process holds the locks and never arrives at the barrier.  When all of them are
 * asleep, time passes, and what the kernel says that each of them has computed
 * meanwhile, in nanoseconds, is added up.  What this process does is not counted.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"
#include "bench_sync.h"

enum { SLEEPERS = 1000, QUICK_SLEEPERS = 24 };

/* Longer than anybody sleeps at a stretch. */
static const double CALM = 40, QUICK_CALM = 0.1;

/* Longer than it takes until all have been started and are asleep. */
static const double STUCK = 60;

static mp_lock *own_lock;
static mp_rlock *own_rlock;
static mp_semaphore *own_semaphore;
static mp_condition *own_condition;
static mp_event *own_event;
static mp_barrier *own_barrier;
static mp_rwlock *own_rwlock;

static mp_process *sleepers[SLEEPERS];
static size_t sleeper_count;

/* How many are about to begin to wait. */
static atomic_size_t *own_waiting;

static int wait_for_lock(void)
{
    return mp_lock_acquire(own_lock, MP_FOREVER);
}

static int wait_for_rlock(void)
{
    return mp_rlock_acquire(own_rlock, MP_FOREVER);
}

static int wait_for_semaphore(void)
{
    return mp_semaphore_acquire(own_semaphore, MP_FOREVER);
}

static int wait_for_condition(void)
{
    int err = mp_condition_acquire(own_condition, MP_FOREVER);

    return err ? err : mp_condition_wait(own_condition, MP_FOREVER);
}

static int wait_for_event(void)
{
    return mp_event_wait(own_event, MP_FOREVER);
}

static int wait_for_barrier(void)
{
    return mp_barrier_wait(own_barrier, MP_FOREVER, NULL);
}

static int wait_to_read(void)
{
    return mp_rwlock_acquire_read(own_rwlock, MP_FOREVER);
}

static int wait_to_write(void)
{
    return mp_rwlock_acquire_write(own_rwlock, MP_FOREVER);
}

static int (*const waits[])(void) = {
    wait_for_lock,  wait_for_rlock,   wait_for_semaphore, wait_for_condition,
    wait_for_event, wait_for_barrier, wait_to_read,       wait_to_write,
};

static int sleeper(void *arg)
{
    size_t index = *(const size_t *)arg;

    atomic_fetch_add(own_waiting, 1);
    /* Nothing that it waits for comes: whatever it returns with is a failure. */
    (void)waits[index % BENCH_COUNT(waits)]();
    return EXIT_FAILURE;
}

static int make_objects(void)
{
    int err = mp_lock_new(&own_lock, NULL);

    if (!err)
        err = mp_rlock_new(&own_rlock, NULL);
    if (!err)
        err = mp_semaphore_new(&own_semaphore, 0, NULL);
    if (!err)
        err = mp_condition_new(&own_condition, NULL);
    if (!err)
        err = mp_event_new(&own_event, NULL);
    if (!err)
        err = mp_barrier_new(&own_barrier, SLEEPERS + 1, NULL);
    return err ? err : mp_rwlock_new(&own_rwlock, NULL);
}

static int hold_objects(void)
{
    int err = mp_lock_acquire(own_lock, MP_FOREVER);

    if (!err)
        err = mp_rlock_acquire(own_rlock, MP_FOREVER);
    return err ? err : mp_rwlock_acquire_write(own_rwlock, MP_FOREVER);
}

/* A parent has a descriptor or two for each child. */
static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int start_sleepers(void)
{
    int err = 0;

    while (!err && sleeper_count < bench_size(SLEEPERS, QUICK_SLEEPERS)) {
        mp_process **process = &sleepers[sleeper_count];

        err = mp_process_new(process, sleeper, &sleeper_count, NULL);
        if (!err)
            err = mp_process_set_daemon(*process, true);
        if (!err)
            err = mp_process_start(*process);
        if (!err)
            sleeper_count++;
    }
    return err;
}

/* Nobody was to be woken: whoever was has ended. */
static int see_asleep(mp_process *process, bool *asleep)
{
    if (!mp_process_is_alive(process))
        return BENCH_WRONG;
    char state = bench_state_of(mp_process_pid(process));

    *asleep = state == 'S';
    return state ? 0 : BENCH_ABSENT;
}

/*
 * Whoever has said that it waits, and sleeps, sleeps in its wait.  The last of those
 * that wait for the condition may sleep at its lock yet; the round that does not count
 * is more than they need.
 */
static int await_sleep(void)
{
    double limit = bench_now() + STUCK;
    size_t asleep = 0;

    while (asleep < sleeper_count) {
        bool sleeps = atomic_load(own_waiting) == sleeper_count;
        int err = sleeps ? see_asleep(sleepers[asleep], &sleeps) : 0;

        if (err)
            return err;
        if (sleeps) {
            asleep++;
        } else if (bench_now() > limit) {
            return ETIMEDOUT;
        } else {
            bench_sleep(0.01);
            asleep = 0;
        }
    }
    return 0;
}

int bench_sleepers_prepare(const void *argument)
{
    (void)argument;
    allow_descriptors();
    own_waiting = mp_shared_alloc(sizeof(*own_waiting));
    if (!own_waiting)
        return ENOMEM;
    atomic_init(own_waiting, 0);
    int err = make_objects();
    if (!err)
        err = hold_objects();
    if (!err)
        err = start_sleepers();
    return err ? err : await_sleep();
}

/* Seconds of processor time that a process has used; negative if it can't be told. */
static double used_by(pid_t pid)
{
    clockid_t clock;
    struct timespec used;

    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
        return -1;
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

static int read_used(double *used)
{
    for (size_t i = 0; i < sleeper_count; i++) {
        if (!mp_process_is_alive(sleepers[i]))
            return BENCH_WRONG;
        used[i] = used_by(mp_process_pid(sleepers[i]));
        if (used[i] < 0)
            return BENCH_ABSENT;
    }
    return 0;
}

/* In percent of one processor: what all of them used, and what the busiest one did. */
int bench_sleepers_round(const void *argument, double *figures)
{
    static double before[SLEEPERS], after[SLEEPERS];
    double sum = 0, most = 0;

    (void)argument;
    int err = read_used(before);
    if (err)
        return err;
    double start = bench_now();
    bench_sleep(bench_is_quick() ? QUICK_CALM : CALM);
    err = read_used(after);
    if (err)
        return err;
    double elapsed = bench_now() - start;
    for (size_t i = 0; i < sleeper_count; i++) {
        double used = after[i] - before[i];

        sum += used;
        most = used > most ? used : most;
    }
    figures[0] = sum / elapsed * 100;
    figures[1] = most / elapsed * 100;
    return 0;
}
