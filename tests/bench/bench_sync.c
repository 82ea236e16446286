/* SPDX-License-Identifier: MIT */
/*
 * bench_sync.c - acquire and release of everything that can be held, and counting in a
 * value, with nobody else about; and those who sleep.
 *
 * All are called through the same pair of pointers, so that none has an advantage from
 * being inlined.  For mp_lock beside POSIX see bench_lock.c.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "bench.h"
#include "bench_sync.h"

static void *own_lock;

static int make_semaphore(void **out)
{
    mp_semaphore *made;
    int err = mp_semaphore_new(&made, 1, NULL);

    if (!err)
        *out = made;
    return err;
}

static int make_lock(void **out)
{
    mp_lock *made;
    int err = mp_lock_new(&made, NULL);

    if (!err)
        *out = made;
    return err;
}

static int make_rlock(void **out)
{
    mp_rlock *made;
    int err = mp_rlock_new(&made, NULL);

    if (!err)
        *out = made;
    return err;
}

static int make_rwlock(void **out)
{
    mp_rwlock *made;
    int err = mp_rwlock_new(&made, NULL);

    if (!err)
        *out = made;
    return err;
}

static int make_value(void **out)
{
    const int64_t zero = 0;
    mp_value *made;
    int err = mp_value_new(&made, sizeof(zero), &zero, NULL);

    if (!err)
        *out = made;
    return err;
}

static int make_posix_semaphore(void **out)
{
    sem_t *made = bench_shared(sizeof(*made));

    if (!made || sem_init(made, 1, 1))
        return errno;
    *out = made;
    return 0;
}

static int make_posix_rwlock(void **out)
{
    pthread_rwlock_t *made = bench_shared(sizeof(*made));
    pthread_rwlockattr_t attributes;

    if (!made)
        return errno;
    int err = pthread_rwlockattr_init(&attributes);
    if (!err)
        err = pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!err)
        err = pthread_rwlock_init(made, &attributes);
    *out = made;
    return err;
}

static int acquire_lock(void *lock)
{
    return mp_lock_acquire(lock, MP_FOREVER);
}

static int release_lock(void *lock)
{
    return mp_lock_release(lock);
}

static int acquire_rlock(void *lock)
{
    return mp_rlock_acquire(lock, MP_FOREVER);
}

static int release_rlock(void *lock)
{
    return mp_rlock_release(lock);
}

static int acquire_semaphore(void *semaphore)
{
    return mp_semaphore_acquire(semaphore, MP_FOREVER);
}

static int release_semaphore(void *semaphore)
{
    return mp_semaphore_release(semaphore);
}

static int acquire_read(void *lock)
{
    return mp_rwlock_acquire_read(lock, MP_FOREVER);
}

static int acquire_write(void *lock)
{
    return mp_rwlock_acquire_write(lock, MP_FOREVER);
}

static int release_rwlock(void *lock)
{
    return mp_rwlock_release(lock);
}

static int acquire_and_count(void *value)
{
    int err = mp_value_acquire(value, MP_FOREVER);

    MP_VALUE(value, int64_t) += 1;
    return err;
}

static int release_value(void *value)
{
    return mp_value_release(value);
}

static int count_at_once(void *value)
{
    return mp_value_fetch_add(value, 1, NULL);
}

/* Nothing was taken; the call costs what it costs. */
static int release_nothing(void *value)
{
    (void)value;
    return 0;
}

static int acquire_posix_semaphore(void *semaphore)
{
    return sem_wait(semaphore);
}

static int release_posix_semaphore(void *semaphore)
{
    return sem_post(semaphore);
}

static int acquire_posix_read(void *lock)
{
    return pthread_rwlock_rdlock(lock);
}

static int acquire_posix_write(void *lock)
{
    return pthread_rwlock_wrlock(lock);
}

static int release_posix_rwlock(void *lock)
{
    return pthread_rwlock_unlock(lock);
}

static int lock_prepare(const void *argument)
{
    const struct bench_lock_kind *kind = argument;

    return kind->make(&own_lock);
}

/* The middle of a few short runs is steadier than one long run. */
int bench_lock_alone(const struct bench_lock_kind *kind, void *lock, size_t count,
                     double *seconds)
{
    enum { RUNS = 5 };
    double times[RUNS];
    int failures = 0;

    for (size_t run = 0; run < RUNS; run++) {
        double before = bench_now();
        for (size_t i = 0; i < count; i++) {
            failures |= kind->acquire(lock);
            failures |= kind->release(lock);
        }
        times[run] = (bench_now() - before) / (double)count;
    }
    *seconds = bench_median(times, RUNS);
    return failures;
}

static int lock_round(const void *argument, double *figures)
{
    return bench_lock_alone(argument, own_lock, bench_size(500000, 1000), figures);
}

static const struct bench_lock_kind plain_kind = {make_lock, acquire_lock,
                                                  release_lock};
static const struct bench_lock_kind rlock_kind = {make_rlock, acquire_rlock,
                                                  release_rlock};
static const struct bench_lock_kind semaphore_kind = {make_semaphore, acquire_semaphore,
                                                      release_semaphore};
static const struct bench_lock_kind posix_semaphore_kind = {
    make_posix_semaphore, acquire_posix_semaphore, release_posix_semaphore};
static const struct bench_lock_kind read_kind = {make_rwlock, acquire_read,
                                                 release_rwlock};
static const struct bench_lock_kind posix_read_kind = {
    make_posix_rwlock, acquire_posix_read, release_posix_rwlock};
static const struct bench_lock_kind write_kind = {make_rwlock, acquire_write,
                                                  release_rwlock};
static const struct bench_lock_kind posix_write_kind = {
    make_posix_rwlock, acquire_posix_write, release_posix_rwlock};
static const struct bench_lock_kind value_kind = {make_value, acquire_and_count,
                                                  release_value};
static const struct bench_lock_kind fetch_add_kind = {make_value, count_at_once,
                                                      release_nothing};

static const bench_contestant locks[] = {
    {"mp_lock", lock_prepare, lock_round, &plain_kind},
    {BENCH_BOOST("mutex"), lock_prepare, lock_round, &bench_boost_mutex},
    {"Python Lock", bench_python_prepare, bench_program_round, "lock"},
    {"libmp", lock_prepare, lock_round, &rlock_kind},
    {BENCH_BOOST("recursive_mutex"), lock_prepare, lock_round,
     &bench_boost_recursive_mutex},
    {"Python RLock", bench_python_prepare, bench_program_round, "rlock"},
};

static const bench_row lock_rows[] = {
    {"lock: acquire and release, alone", "ns", 0, 1, 0, BENCH_INFO, 0},
    {"lock: acquire and release, alone", "ns", 0, 2, 0, BENCH_INFO, 0},
    {"rlock: acquire and release, alone", "ns", 3, 0, 0, BENCH_AT_MOST, 1.2},
    {"rlock: acquire and release, alone", "ns", 3, 4, 0, BENCH_INFO, 0},
    {"rlock: acquire and release, alone", "ns", 3, 5, 0, BENCH_INFO, 0},
};

static const bench_contestant semaphores[] = {
    {"libmp", lock_prepare, lock_round, &semaphore_kind},
    {"sem_t, shared", lock_prepare, lock_round, &posix_semaphore_kind},
    {BENCH_BOOST("semaphore"), lock_prepare, lock_round, &bench_boost_semaphore},
    {"Python Semaphore", bench_python_prepare, bench_program_round, "semaphore"},
};

static const bench_row semaphore_rows[] = {
    {"semaphore: acquire and release, alone", "ns", 0, 1, 0, BENCH_AT_MOST, 1.1},
    {"semaphore: acquire and release, alone", "ns", 0, 2, 0, BENCH_INFO, 0},
    {"semaphore: acquire and release, alone", "ns", 0, 3, 0, BENCH_INFO, 0},
};

/* Python has none. */
static const bench_contestant rwlocks[] = {
    {"libmp", lock_prepare, lock_round, &read_kind},
    {"pthread_rwlock, shared", lock_prepare, lock_round, &posix_read_kind},
    {BENCH_BOOST("sharable_mutex"), lock_prepare, lock_round,
     &bench_boost_sharable_read},
    {"libmp", lock_prepare, lock_round, &write_kind},
    {"pthread_rwlock, shared", lock_prepare, lock_round, &posix_write_kind},
    {BENCH_BOOST("sharable_mutex"), lock_prepare, lock_round,
     &bench_boost_sharable_write},
};

static const bench_row rwlock_rows[] = {
    {"rwlock: read and release, alone", "ns", 0, 1, 0, BENCH_AT_MOST, 1.0},
    {"rwlock: read and release, alone", "ns", 0, 2, 0, BENCH_INFO, 0},
    {"rwlock: write and release, alone", "ns", 3, 4, 0, BENCH_INFO, 0},
    {"rwlock: write and release, alone", "ns", 3, 5, 0, BENCH_INFO, 0},
};

static const bench_contestant values[] = {
    {"libmp", lock_prepare, lock_round, &value_kind},
    {"libmp", lock_prepare, lock_round, &fetch_add_kind},
    {"Python Value", bench_python_prepare, bench_program_round, "value"},
};

static const bench_row value_rows[] = {
    {"value: count under its lock, alone", "ns", 0, 2, 0, BENCH_INFO, 0},
    {"value: fetch_add, alone", "ns", 1, 2, 0, BENCH_INFO, 0},
};

static const bench_contestant asleep[] = {
    {"libmp", bench_sleepers_prepare, bench_sleepers_round, NULL},
};

static const bench_row asleep_rows[] = {
    {"1,000 asleep: of one processor, in all", "%", 0, BENCH_NOBODY, 0, BENCH_AT_MOST,
     0.5},
    {"1,000 asleep: of that, the busiest", "%", 0, BENCH_NOBODY, 1, BENCH_INFO, 0},
};

const bench_contest bench_sync_contests[] = {
    BENCH_CONTEST("sync alone: locks", locks, lock_rows, 0),
    BENCH_CONTEST("sync alone: semaphores", semaphores, semaphore_rows, 0),
    BENCH_CONTEST("sync alone: rwlocks", rwlocks, rwlock_rows, 0),
    BENCH_CONTEST("sync alone: values", values, value_rows, 0),
    BENCH_CONTEST("sleepers", asleep, asleep_rows, 3),
    {.name = NULL},
};
