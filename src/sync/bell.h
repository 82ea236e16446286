/* SPDX-License-Identifier: MIT */
/*
 * bell.h - where processes wait for something that others bring about.
 *
 *   who waits                              who brings it about
 *     calls = mp__bell_come(bell);           bring it about, for all to see
 *     if (it is there)                       mp__bell_ring(bell, 1);
 *         return;
 *     mp__bell_wait(bell, calls, &sleep);
 *     look again
 *
 * While nobody waits a ring is one load.  In `calls` the low half is the number of rings
 * that were made, which is what waiters sleep on, and the high half those who came since
 * the last ring that nobody heard.  A ring that finds nobody sleeping, and nobody come
 * since it looked, sets the high half to 0: so it never is while somebody sleeps, and a
 * waiter that died counts until the next ring only.  Each ring wakes another waiter, so
 * one who is stopped after it was woken keeps nobody else asleep.
 *
 * What is brought about must be visible before the ring looks who waits: the caller has a
 * seq_cst fence, or what does as much, between the two.  Who is killed between them
 * leaves waiters asleep until it is buried, which wakes them all.
 */
#ifndef MP_SYNC_BELL_H
#define MP_SYNC_BELL_H

#include "sync/park.h"

/* In shared memory. */
struct mp__bell {
    _Atomic uint64_t calls;
};

#define MP__BELL_CAME (UINT64_C(1) << 32)

/* Be counted as one who waits, and tell how many rings there were. */
uint32_t mp__bell_come(struct mp__bell *bell);

/* Sleep until the next ring after mp__bell_come returned `calls`: as mp__park. */
static inline int mp__bell_wait(struct mp__bell *bell, uint32_t calls,
                                struct mp__sleep *sleep)
{
    return mp__park(sleep, mp__low_half(&bell->calls), calls, 0);
}

/* For mp__bell_ring, when somebody may wait. */
void mp__bell_ring_loudly(struct mp__bell *bell, int count);

/* Wake up to `count` of those who wait. */
static inline void mp__bell_ring(struct mp__bell *bell, int count)
{
    if (atomic_load_explicit(&bell->calls, memory_order_seq_cst) >= MP__BELL_CAME)
        mp__bell_ring_loudly(bell, count);
}

#endif
