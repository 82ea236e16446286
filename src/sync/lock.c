/* SPDX-License-Identifier: MIT */
/*
 * lock.c - a lock that one process holds at a time.
 *
 * The word is 0 while nobody holds the lock, and else names the member that does, so
 * that claim and owner are one step.  CONTENDED beside the owner says that somebody may
 * sleep, and that the release must wake one.  Who has slept takes the lock with
 * CONTENDED, since others may sleep still.
 *
 * What a death leaves: the word of a dead holder, which the next one to come exchanges
 * for its own; that exchange is the report.  A releaser that is killed before its wake,
 * or a sleeper that is killed after it was woken, leaves a free lock on which others
 * sleep: whoever buries it wakes them all.
 */
#include "sync/lock.h"

#include <errno.h>

#include "base/clock.h"
#include "base/options.h"
#include "mp/shared.h"
#include "sync/park.h"

#define CONTENDED UINT64_C(1)

#define SPINS 100 /* about 3 to 5 microseconds: less than sleep and wake cost */

_Static_assert((CONTENDED & MP__MEMBER_MASK) == 0, "beside the owner");

int mp_lock_new(mp_lock **out, const mp_lock_options *options)
{
    mp_lock_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;

    mp_lock *lock = mp_shared_alloc(sizeof(*lock));
    if (!lock)
        return ENOMEM;
    *out = lock;
    return 0;
}

void mp_lock_free(mp_lock *lock)
{
    mp_shared_free(lock);
}

static bool exchange(mp_lock *lock, uint64_t *old, uint64_t word)
{
    return atomic_compare_exchange_strong_explicit(&lock->word, old, word,
                                                   memory_order_acquire,
                                                   memory_order_relaxed);
}

/* Take the lock if it is free or its holder dead: 0, EOWNERDEAD, or EBUSY and the word
   of the holder that was met. */
static int try_take(mp_lock *lock, uint64_t contended, uint64_t *met)
{
    uint64_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);

    for (;;) {
        uint64_t owner = word & MP__MEMBER_MASK;
        if (!word) {
            if (exchange(lock, &word, mp__self | contended))
                return 0;
        } else if (owner != mp__self && mp__member_is_dead(owner)) {
            /* Others may have slept through the holder's time. */
            if (exchange(lock, &word, mp__self | CONTENDED))
                return EOWNERDEAD;
        } else {
            *met = word;
            return EBUSY;
        }
    }
}

/* Wait for a moment for a holder that runs on another processor. */
static void spin(const mp_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        if (!atomic_load_explicit(&lock->word, memory_order_relaxed))
            return;
        mp__cpu_relax();
    }
}

/* Sleep while `met` holds the lock; 0 whenever it should be tried again. */
static int sleep_on(mp_lock *lock, uint64_t met, struct mp__sleep *sleep)
{
    uint64_t word = met | CONTENDED;

    if (met != word && !exchange(lock, &met, word))
        return 0;
    return mp__park(sleep, mp__low_half(&lock->word), (uint32_t)word,
                    word & MP__MEMBER_MASK);
}

int mp__lock_acquire(mp_lock *lock, int64_t deadline)
{
    uint64_t met, contended = 0;

    int err = mp__join();
    if (err)
        return err;
    if (deadline && mp__spin_cpus() > 1)
        spin(lock);
    struct mp__sleep sleep = mp__sleep_until(deadline);
    for (;;) {
        int taken = try_take(lock, contended, &met);
        if (taken != EBUSY)
            return taken;
        if (err || !deadline)
            return ETIMEDOUT;

        /* After the deadline the lock is tried once more. */
        contended = CONTENDED;
        err = sleep_on(lock, met, &sleep);
    }
}

static __attribute__((noinline)) int acquire_slowly(mp_lock *lock, int timeout_ms)
{
    int64_t deadline;

    if (!lock)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    return err ? err : mp__lock_acquire(lock, deadline);
}

int mp_lock_acquire(mp_lock *lock, int timeout_ms)
{
    if (lock && timeout_ms >= MP_FOREVER && mp__lock_try(lock))
        return 0;
    return acquire_slowly(lock, timeout_ms);
}

int mp__lock_release(mp_lock *lock)
{
    if (!mp__self && atomic_load_explicit(&lock->word, memory_order_relaxed) & CONTENDED)
        mp__join_before_wake();

    /* One step for all cases: a free lock is exchanged for a free lock. */
    uint64_t old = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    if (!old)
        return EOVERFLOW;
    if (old & CONTENDED)
        mp__unpark(mp__low_half(&lock->word), 1);
    return 0;
}

int mp_lock_release(mp_lock *lock)
{
    return lock ? mp__lock_release(lock) : EINVAL;
}

bool mp_lock_locked(const mp_lock *lock)
{
    return lock && atomic_load_explicit(&lock->word, memory_order_relaxed);
}

pid_t mp_lock_owner(const mp_lock *lock)
{
    return lock ? mp__member_pid(atomic_load_explicit(&lock->word, memory_order_relaxed))
                : 0;
}
