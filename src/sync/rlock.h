/* SPDX-License-Identifier: MIT */
/*
 * rlock.h - what conditions know of a recursive lock: see rlock.c for how it works.
 */
#ifndef MP_SYNC_RLOCK_H
#define MP_SYNC_RLOCK_H

#include <mp/rlock.h>

#include "sync/lock.h"

/* In shared memory.  All of it lies in the line of the lock's word, which its holder
   has just fetched. */
struct mp_rlock {
    union {
        mp_lock lock;
        struct {
            uint64_t word_of_lock;
            _Atomic uint64_t thread; /* the number of the thread that holds it, or 0 */
            uint32_t count;          /* how often; only for that thread to look at */
        };
    };
};

_Static_assert(sizeof(struct mp_rlock) == MP__CACHE_LINE, "one line");

/* Whether the calling thread holds it. */
bool mp__rlock_is_own(const mp_rlock *lock);

/* By the thread that holds it: let go of it, however often it was taken; tells how
   often that was. */
uint32_t mp__rlock_put_down(mp_rlock *lock);

/* By a thread that does not hold it: take it `count` times.  As mp_rlock_acquire, up to
   a moment (see base/clock.h). */
int mp__rlock_pick_up(mp_rlock *lock, uint32_t count, int64_t deadline);

#endif
