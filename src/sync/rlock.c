/* SPDX-License-Identifier: MIT */
/*
 * rlock.c - a lock that its holder may take again.
 *
 * It is a lock, whose word names the process, with the number of the thread that took
 * it and how often.  A number is unique in the family for ever: it is taken from a
 * counter in the arena, and a forked child takes another one for the thread that it has
 * inherited.
 *
 *   acquire   lock, thread = mine, count = 1      release   thread = 0, unlock
 *
 * Only the holder of the lock writes the number, its own or 0.  So whoever reads its
 * own number there holds the lock, and need not look at the lock's word.
 *
 * What a death leaves: a lock whose holder is dead, which the next one to come is told
 * of (see lock.c), and a number that never matches anybody.  A holder that is killed
 * before it has written its number, or after it has cleared it, is a dead holder like
 * any other.
 */
#include "sync/rlock.h"

#include <errno.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/thread_local.h"
#include "mp/shared.h"
#include "shm/arena.h"

/* The number of this thread, and the member for which it was taken.  "initial-exec": to
   be had without a call, since libmp is there from the start. */
static MP__THREAD_LOCAL struct {
    uint64_t member;
    uint64_t number;
} this_thread __attribute__((tls_model("initial-exec")));

/* 0 if the thread has none, or has that of the process it was forked from. */
static inline uint64_t own_number(void)
{
    return this_thread.member == mp__self ? this_thread.number : 0;
}

static int take_number(uint64_t *number)
{
    int err = mp__join();
    if (err)
        return err;

    if (this_thread.member != mp__self) {
        this_thread.number = atomic_fetch_add(&mp__arena->threads, 1) + 1;
        this_thread.member = mp__self;
    }
    *number = this_thread.number;
    return 0;
}

static inline bool is_held_by(const mp_rlock *lock, uint64_t number)
{
    return number &&
           atomic_load_explicit(&lock->thread, memory_order_relaxed) == number;
}

static inline void begin(mp_rlock *lock, uint64_t number, uint32_t count)
{
    atomic_store_explicit(&lock->thread, number, memory_order_relaxed);
    lock->count = count;
}

int mp_rlock_new(mp_rlock **out, const mp_rlock_options *options)
{
    mp_rlock_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;

    mp_rlock *lock = mp_shared_alloc(sizeof(*lock));
    if (!lock)
        return ENOMEM;
    *out = lock;
    return 0;
}

void mp_rlock_free(mp_rlock *lock)
{
    mp_shared_free(lock);
}

bool mp__rlock_is_own(const mp_rlock *lock)
{
    return is_held_by(lock, own_number());
}

int mp__rlock_pick_up(mp_rlock *lock, uint32_t count, int64_t deadline)
{
    uint64_t number;

    int err = take_number(&number);
    if (!err)
        err = mp__lock_acquire(&lock->lock, deadline);
    if (!err || err == EOWNERDEAD)
        begin(lock, number, count);
    return err;
}

uint32_t mp__rlock_put_down(mp_rlock *lock)
{
    uint32_t count = lock->count;

    atomic_store_explicit(&lock->thread, 0, memory_order_relaxed);
    (void)mp__lock_release(&lock->lock);
    return count;
}

static __attribute__((noinline)) int acquire_slowly(mp_rlock *lock, int timeout_ms)
{
    int64_t deadline;
    int err = mp__deadline(timeout_ms, &deadline);

    return err ? err : mp__rlock_pick_up(lock, 1, deadline);
}

static int acquire_again(mp_rlock *lock)
{
    if (lock->count == UINT32_MAX)
        return EOVERFLOW;
    lock->count++;
    return 0;
}

int mp_rlock_acquire(mp_rlock *lock, int timeout_ms)
{
    const uint64_t number = own_number();

    if (!lock || timeout_ms < MP_FOREVER)
        return EINVAL;
    if (is_held_by(lock, number))
        return acquire_again(lock);
    if (!number || !mp__lock_try(&lock->lock))
        return acquire_slowly(lock, timeout_ms);
    begin(lock, number, 1);
    return 0;
}

int mp_rlock_release(mp_rlock *lock)
{
    if (!lock)
        return EINVAL;
    if (!is_held_by(lock, own_number()))
        return EPERM;
    if (lock->count > 1) {
        lock->count--;
        return 0;
    }
    /* After the release it belongs to others: the number goes first. */
    atomic_store_explicit(&lock->thread, 0, memory_order_relaxed);
    return mp__lock_release(&lock->lock);
}

bool mp_rlock_locked(const mp_rlock *lock)
{
    return lock && mp_lock_locked(&lock->lock);
}

pid_t mp_rlock_owner(const mp_rlock *lock)
{
    return lock ? mp_lock_owner(&lock->lock) : 0;
}
