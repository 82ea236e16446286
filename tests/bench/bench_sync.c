/* SPDX-License-Identifier: MIT */
/*
 * bench_sync.c - acquire and release of recursive locks, semaphores and readers-writer
 * locks, with nobody else about.
 *
 * All are called through the same pair of pointers, so that none has an advantage from
 * being inlined.  For mp_lock see bench_lock.c.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "bench.h"

struct lock_kind {
    int (*make)(void **lock);
    int (*acquire)(void *lock);
    int (*release)(void *lock);
};

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
    const struct lock_kind *kind = argument;

    return kind->make(&own_lock);
}

/* The middle of a few short runs is steadier than one long run. */
static int lock_round(const void *argument, double *figures)
{
    enum { RUNS = 5 };
    const struct lock_kind *kind = argument;
    size_t count = bench_size(500000, 1000);
    double times[RUNS];
    int failures = 0;

    for (size_t run = 0; run < RUNS; run++) {
        double before = bench_now();
        for (size_t i = 0; i < count; i++) {
            failures |= kind->acquire(own_lock);
            failures |= kind->release(own_lock);
        }
        times[run] = (bench_now() - before) / (double)count;
    }
    figures[0] = bench_median(times, RUNS);
    return failures;
}

static const struct lock_kind rlock_kind = {make_rlock, acquire_rlock, release_rlock};
static const struct lock_kind plain_kind = {make_lock, acquire_lock, release_lock};
static const struct lock_kind semaphore_kind = {make_semaphore, acquire_semaphore,
                                                release_semaphore};
static const struct lock_kind posix_semaphore_kind = {
    make_posix_semaphore, acquire_posix_semaphore, release_posix_semaphore};
static const struct lock_kind read_kind = {make_rwlock, acquire_read, release_rwlock};
static const struct lock_kind posix_read_kind = {make_posix_rwlock, acquire_posix_read,
                                                 release_posix_rwlock};
static const struct lock_kind write_kind = {make_rwlock, acquire_write, release_rwlock};
static const struct lock_kind posix_write_kind = {
    make_posix_rwlock, acquire_posix_write, release_posix_rwlock};

static const bench_contestant alone[] = {
    {"libmp", lock_prepare, lock_round, &rlock_kind},
    {"mp_lock", lock_prepare, lock_round, &plain_kind},
    {"libmp", lock_prepare, lock_round, &semaphore_kind},
    {"sem_t, shared", lock_prepare, lock_round, &posix_semaphore_kind},
    {"libmp", lock_prepare, lock_round, &read_kind},
    {"pthread_rwlock, shared", lock_prepare, lock_round, &posix_read_kind},
    {"libmp", lock_prepare, lock_round, &write_kind},
    {"pthread_rwlock, shared", lock_prepare, lock_round, &posix_write_kind},
};

static const bench_row alone_rows[] = {
    {"rlock: acquire and release, alone", "ns", 0, 1, 0, BENCH_AT_MOST, 1.2},
    {"semaphore: acquire and release, alone", "ns", 2, 3, 0, BENCH_AT_MOST, 1.1},
    {"rwlock: read and release, alone", "ns", 4, 5, 0, BENCH_AT_MOST, 1.0},
    {"rwlock: write and release, alone", "ns", 6, 7, 0, BENCH_INFO, 0},
};

const bench_contest bench_sync_contests[] = {
    BENCH_CONTEST("sync alone", alone, alone_rows, 0),
    {.name = NULL},
};
