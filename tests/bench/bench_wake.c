/* SPDX-License-Identifier: MIT */
/*
 * bench_wake.c - how long it takes from just before one process sets an event, or
 * notifies of a condition, until another one returns from its wait.
 *
 * In the first contest the waiter is asleep, and the waker has seen that in /proc; in
 * the second one each of them has a processor of its own, and the waiter has only just
 * begun to wait.  All waiters in C are forked in the
 * same way.  Python is too slow for the second contest: nobody could tell when its
 * waiter has begun to wait, and not gone to sleep yet.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "bench_sync.h"

enum { LINE = 64, MOST_WAKES = 500 };

/* Much less than a waiter spins for, and enough for it to have begun to wait. */
static const double HEAD_START = 5e-6;

/* Longer than any wait that is not stuck. */
static const double STUCK = 10;

/* A flag that one process raises and another one waits for and takes down. */
struct bell_kind {
    int (*make)(void);
    int (*wait)(void);
    int (*ring)(void);
};

/* What the waker and the waiter share; each field has one writer. */
struct wake {
    _Alignas(LINE) _Atomic unsigned long waiting; /* how often it began to wait */
    _Alignas(LINE) _Atomic unsigned long woken;   /* how often it returned */
    double woken_at;
    int error;
};

static struct wake *own_wake;
static pid_t own_waiter;

static mp_event *own_event;

/* The flag is guarded by the lock of the condition. */
static mp_condition *own_condition;
static struct posix_bell {
    pthread_mutex_t mutex;
    pthread_cond_t raised;
} * own_posix;
static void *own_boost;
static volatile bool *own_flag;

static int make_event_bell(void)
{
    return mp_event_new(&own_event, NULL);
}

static int wait_event_bell(void)
{
    atomic_fetch_add(&own_wake->waiting, 1);
    int err = mp_event_wait(own_event, MP_FOREVER);
    own_wake->woken_at = bench_now();
    return err ? err : mp_event_clear(own_event);
}

static int ring_event_bell(void)
{
    return mp_event_set(own_event);
}

static int make_condition_bell(void)
{
    own_flag = bench_shared(LINE);
    return own_flag ? mp_condition_new(&own_condition, NULL) : ENOMEM;
}

static int wait_condition_bell(void)
{
    int err = mp_condition_acquire(own_condition, MP_FOREVER);

    atomic_fetch_add(&own_wake->waiting, 1);
    while (!err && !*own_flag)
        err = mp_condition_wait(own_condition, MP_FOREVER);
    own_wake->woken_at = bench_now();
    *own_flag = false;
    return err ? err : mp_condition_release(own_condition);
}

static int ring_condition_bell(void)
{
    int err = mp_condition_acquire(own_condition, MP_FOREVER);

    *own_flag = true;
    if (!err)
        err = mp_condition_notify(own_condition, 1);
    return err ? err : mp_condition_release(own_condition);
}

static int make_posix_bell(void)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;

    own_flag = bench_shared(LINE);
    own_posix = bench_shared(sizeof(*own_posix));
    if (!own_flag || !own_posix)
        return ENOMEM;
    int err = pthread_mutexattr_init(&mutex);
    if (!err)
        err = pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    if (!err)
        err = pthread_mutex_init(&own_posix->mutex, &mutex);
    if (!err)
        err = pthread_condattr_init(&condition);
    if (!err)
        err = pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    return err ? err : pthread_cond_init(&own_posix->raised, &condition);
}

static int wait_posix_bell(void)
{
    int err = pthread_mutex_lock(&own_posix->mutex);

    atomic_fetch_add(&own_wake->waiting, 1);
    while (!err && !*own_flag)
        err = pthread_cond_wait(&own_posix->raised, &own_posix->mutex);
    own_wake->woken_at = bench_now();
    *own_flag = false;
    return err ? err : pthread_mutex_unlock(&own_posix->mutex);
}

static int ring_posix_bell(void)
{
    int err = pthread_mutex_lock(&own_posix->mutex);

    *own_flag = true;
    if (!err)
        err = pthread_cond_signal(&own_posix->raised);
    return err ? err : pthread_mutex_unlock(&own_posix->mutex);
}

static int make_boost_bell(void)
{
    own_flag = bench_shared(LINE);
    return own_flag ? bench_boost_condition.make(&own_boost) : ENOMEM;
}

static int wait_boost_bell(void)
{
    int err = bench_boost_condition.acquire(own_boost);

    atomic_fetch_add(&own_wake->waiting, 1);
    while (!err && !*own_flag)
        err = bench_boost_condition.wait(own_boost);
    own_wake->woken_at = bench_now();
    *own_flag = false;
    return err ? err : bench_boost_condition.release(own_boost);
}

static int ring_boost_bell(void)
{
    int err = bench_boost_condition.acquire(own_boost);

    *own_flag = true;
    if (!err)
        err = bench_boost_condition.notify(own_boost);
    return err ? err : bench_boost_condition.release(own_boost);
}

static void be_woken(const struct bell_kind *kind)
{
    for (;;) {
        int err = kind->wait();
        if (err)
            own_wake->error = err;
        atomic_fetch_add(&own_wake->woken, 1);
        if (err)
            _exit(1);
    }
}

static int prepare(const struct bell_kind *kind, bool apart)
{
    if (apart)
        bench_take_processor(0, 2);
    own_wake = bench_shared(sizeof(*own_wake));
    if (!own_wake)
        return ENOMEM;
    int err = kind->make();
    if (err)
        return err;
    own_waiter = bench_fork();
    if (own_waiter < 0)
        return errno;
    if (own_waiter > 0)
        return apart ? bench_move(own_waiter, 1) : 0;
    be_woken(kind);
    return 0;
}

static int wake_prepare(const void *argument)
{
    return prepare(argument, false);
}

static int wake_prepare_apart(const void *argument)
{
    return prepare(argument, true);
}

static int await_count(const _Atomic unsigned long *count, unsigned long expected)
{
    double limit = bench_now() + STUCK;

    while (atomic_load(count) < expected) {
        if (bench_now() > limit)
            return ETIMEDOUT;
        sched_yield();
    }
    return 0;
}

char bench_state_of(pid_t pid)
{
    char path[64], text[512];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' ? name_end[2] : 0;
}

/* It has begun to wait, so it sleeps in that wait and nowhere else. */
static int await_sleep(void)
{
    double limit = bench_now() + STUCK;

    for (;;) {
        char state = bench_state_of(own_waiter);
        if (state == 'S')
            return 0;
        if (!state)
            return BENCH_ABSENT;
        if (bench_now() > limit)
            return ETIMEDOUT;
        bench_sleep(0.00005);
    }
}

static int give_head_start(void)
{
    double until = bench_now() + HEAD_START;

    while (bench_now() < until)
        continue;
    return 0;
}

static int wake_round(const struct bell_kind *kind, int (*get_ready)(void),
                      size_t count, double *figures)
{
    double times[MOST_WAKES];

    for (size_t i = 0; i < count; i++) {
        unsigned long turn = atomic_load(&own_wake->woken) + 1;

        int err = await_count(&own_wake->waiting, turn);
        if (!err)
            err = get_ready();
        if (err)
            return err;
        double before = bench_now();
        err = kind->ring();
        if (!err)
            err = await_count(&own_wake->woken, turn);
        if (!err)
            err = own_wake->error;
        if (err)
            return err;
        times[i] = own_wake->woken_at - before;
    }
    figures[0] = bench_median(times, count);
    return 0;
}

static int asleep_round(const void *argument, double *figures)
{
    return wake_round(argument, await_sleep, bench_size(MOST_WAKES, 5), figures);
}

static int just_waiting_round(const void *argument, double *figures)
{
    return wake_round(argument, give_head_start, bench_size(MOST_WAKES, 5), figures);
}

static const struct bell_kind event_bell = {make_event_bell, wait_event_bell,
                                            ring_event_bell};
static const struct bell_kind condition_bell = {
    make_condition_bell, wait_condition_bell, ring_condition_bell};
static const struct bell_kind posix_bell = {make_posix_bell, wait_posix_bell,
                                            ring_posix_bell};

static const struct bell_kind boost_bell = {make_boost_bell, wait_boost_bell,
                                            ring_boost_bell};

static const bench_contestant asleep[] = {
    {"libmp", wake_prepare, asleep_round, &event_bell},
    {"libmp", wake_prepare, asleep_round, &condition_bell},
    {"pthread_cond, shared", wake_prepare, asleep_round, &posix_bell},
    {BENCH_BOOST("condition"), wake_prepare, asleep_round, &boost_bell},
    {"Python Event", bench_python_prepare, bench_program_round, "event"},
    {"Python Condition", bench_python_prepare, bench_program_round, "condition"},
};

static const bench_row asleep_rows[] = {
    {"event: set to woken, asleep", "us", 0, 2, 0, BENCH_AT_MOST, 1.1},
    {"event: set to woken, asleep", "us", 0, 3, 0, BENCH_INFO, 0},
    {"event: set to woken, asleep", "us", 0, 4, 0, BENCH_INFO, 0},
    {"condition: notify to woken, asleep", "us", 1, 2, 0, BENCH_AT_MOST, 1.1},
    {"condition: notify to woken, asleep", "us", 1, 3, 0, BENCH_INFO, 0},
    {"condition: notify to woken, asleep", "us", 1, 5, 0, BENCH_INFO, 0},
};

static const bench_contestant just_waiting[] = {
    {"libmp", wake_prepare_apart, just_waiting_round, &event_bell},
    {"libmp", wake_prepare_apart, just_waiting_round, &condition_bell},
    {"pthread_cond, shared", wake_prepare_apart, just_waiting_round, &posix_bell},
    {BENCH_BOOST("condition"), wake_prepare_apart, just_waiting_round, &boost_bell},
};

static const bench_row just_waiting_rows[] = {
    {"event: set to woken, while it spins", "us", 0, 2, 0, BENCH_AT_MOST, 0.2},
    {"event: set to woken, while it spins", "us", 0, 3, 0, BENCH_INFO, 0},
    {"condition: notify to woken, while it spins", "us", 1, 2, 0, BENCH_AT_MOST, 0.2},
    {"condition: notify to woken, while it spins", "us", 1, 3, 0, BENCH_INFO, 0},
};

const bench_contest bench_wake_contests[] = {
    BENCH_CONTEST("wake asleep", asleep, asleep_rows, 0),
    BENCH_CONTEST("wake at once", just_waiting, just_waiting_rows, 0),
    {.name = NULL},
};
