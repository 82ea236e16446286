/* SPDX-License-Identifier: MIT */
/*
 * lock.h - what the other primitives know of a lock: see lock.c for its states.
 */
#ifndef MP_SYNC_LOCK_H
#define MP_SYNC_LOCK_H

#include <mp/lock.h>

#include "base/atomic.h"
#include "shm/member.h"

/* In shared memory. */
struct mp_lock {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t word;
};

/* Take it if it is free and the caller has joined the family. */
static inline bool mp__lock_try(mp_lock *lock)
{
    uint64_t none = 0, self = mp__self;

    return self && atomic_compare_exchange_strong_explicit(&lock->word, &none, self,
                                                           memory_order_acquire,
                                                           memory_order_relaxed);
}

/* Whether the calling process holds it. */
static inline bool mp__lock_is_own(const mp_lock *lock)
{
    uint64_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);

    return mp__self && (word & MP__MEMBER_MASK) == mp__self;
}

/* As mp_lock_acquire, up to a moment (see base/clock.h); MP__NEVER waits for ever. */
int mp__lock_acquire(mp_lock *lock, int64_t deadline);

/* As mp_lock_release. */
int mp__lock_release(mp_lock *lock);

#endif
