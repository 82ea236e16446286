/* SPDX-License-Identifier: MIT */
/* holders.c - one process after the other holds something, and is stopped or killed. */
#include "crash/sync_kills/harness.h"

#include <sys/wait.h>
#include <unistd.h>

#include "shm/member.h"

static mp_lock *lock;
static mp_rlock *rlock;
static mp_semaphore *semaphore;
static mp_rwlock *rwlock;

/* --- a holder that is stopped is alive -------------------------------------------- */

struct holding {
    int (*acquire)(int timeout_ms);
    int (*release)(void);
};

static int acquire_lock(int timeout_ms)
{
    return mp_lock_acquire(lock, timeout_ms);
}

static int release_lock(void)
{
    return mp_lock_release(lock);
}

static int acquire_rlock(int timeout_ms)
{
    return mp_rlock_acquire(rlock, timeout_ms);
}

static int release_rlock(void)
{
    return mp_rlock_release(rlock);
}

static int acquire_token(int timeout_ms)
{
    return mp_semaphore_acquire(semaphore, timeout_ms);
}

static int release_token(void)
{
    return mp_semaphore_release(semaphore);
}

static int acquire_to_write(int timeout_ms)
{
    return mp_rwlock_acquire_write(rwlock, timeout_ms);
}

static int release_rwlock(void)
{
    return mp_rwlock_release(rwlock);
}

static const struct holding *holding;
static _Atomic int *steps; /* 1: it is held; 2: it may be released */

static bool step_is_reached(void *arg)
{
    return *steps == *(int *)arg;
}

static int hold(void *arg)
{
    (void)arg;
    int free_now = 2;

    if (holding->acquire(MP_FOREVER) != 0)
        return 1;
    atomic_store(steps, 1);
    if (!eventually(step_is_reached, &free_now, 10000))
        return 2;
    return holding->release();
}

static void stop_a_holder(const struct holding *kind)
{
    int held = 1;

    holding = kind;
    atomic_store(steps, 0);
    pid_t pid = child_start(hold, NULL);
    assert_true(eventually(step_is_reached, &held, 5000));
    kill(pid, SIGSTOP);
    mp__member_watch();
    assert_int_equal(kind->acquire(200), ETIMEDOUT);
    mp__member_watch();
    assert_int_equal(kind->acquire(MP_NOWAIT), ETIMEDOUT);
    atomic_store(steps, 2);
    kill(pid, SIGCONT);
    assert_int_equal(kind->acquire(scaled(5000)), 0);
    assert_int_equal(child_wait(pid, 5000), 0);
    assert_int_equal(kind->release(), 0);
}

void stop_holders(void)
{
    steps = shared_page(sizeof *steps);
    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    stop_a_holder(&(struct holding){acquire_lock, release_lock});
    mp_lock_free(lock);
    assert_int_equal(mp_rlock_new(&rlock, NULL), 0);
    stop_a_holder(&(struct holding){acquire_rlock, release_rlock});
    mp_rlock_free(rlock);
    assert_int_equal(mp_semaphore_new(&semaphore, 1, MP_SEMAPHORE_OPTIONS(.owned = 1)),
                     0);
    stop_a_holder(&(struct holding){acquire_token, release_token});
    mp_semaphore_free(semaphore);
    assert_int_equal(mp_rwlock_new(&rwlock, NULL), 0);
    stop_a_holder(&(struct holding){acquire_to_write, release_rwlock});
    mp_rwlock_free(rwlock);
    shared_page_free((void *)steps, sizeof *steps);
}

/* --- how long a lock stays with the dead ------------------------------------------ */

/* A row of processes that each wait for the one before, which is killed holding it. */
static struct heritage {
    _Atomic int64_t taken; /* when the last one got it, or 0 */
    _Atomic int error;     /* what it was told */
} * heritage;

static int inherit(void *arg)
{
    (void)arg;

    heritage->error = mp_lock_acquire(lock, MP_FOREVER);
    atomic_store(&heritage->taken, now_ns());
    for (;;)
        pause();
    return 0;
}

static bool is_taken(void *arg)
{
    (void)arg;
    return heritage->taken != 0;
}

/* Nanoseconds from the death of `holder` until the one who sleeps behind it has it. */
static int64_t inherit_from(pid_t *holder)
{
    pid_t heir = child_start(inherit, NULL);

    assert_true(process_sleeps(heir, 5000));
    heritage->taken = 0;
    int64_t begin = now_ns(), waited = 0;
    kill(*holder, SIGKILL);
    assert_int_equal(waitpid(*holder, NULL, 0), *holder);
    while (!heritage->taken)
        assert_true(rest(&waited));
    assert_int_equal(heritage->error, EOWNERDEAD);
    *holder = heir;
    return heritage->taken - begin;
}

/* How long it took; `late` counts what was too slow three times running, for which no
   busy machine is to blame. */
static int64_t inherit_in_time(pid_t *holder, unsigned *late)
{
    int64_t limit = scaled(100) * INT64_C(1000000), first = inherit_from(holder);
    int64_t time = first;

    for (int again = 0; time > limit && again < 2; again++)
        time = inherit_from(holder);
    *late += time > limit;
    return first;
}

void kill_holders(size_t count)
{
    int64_t *times = calloc(count, sizeof *times);
    unsigned late = 0;

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    heritage = shared_page(sizeof *heritage);
    pid_t holder = child_start(inherit, NULL);
    assert_true(eventually(is_taken, NULL, 5000));
    for (size_t i = 0; i < count; i++)
        times[i] = inherit_in_time(&holder, &late);
    kill(holder, SIGKILL);
    assert_int_equal(child_wait(holder, 5000), -SIGKILL);
    mp__member_watch();
    tell_times("locks of the dead", times, count);
    assert_true(late <= count / 1000);
    shared_page_free(heritage, sizeof *heritage);
    mp_lock_free(lock);
    free(times);
}
