/* SPDX-License-Identifier: MIT */
/*
 * atomic.h - what words in shared memory are made of.
 *
 * A 64-bit word must be lock-free: a lock that the compiler's library keeps for it
 * would be a lock of one process.  Orders are named at each use; publishing is a
 * release store, and where two sides each write and then look at what the other
 * wrote, both use memory_order_seq_cst.
 */
#ifndef MP_BASE_ATOMIC_H
#define MP_BASE_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

_Static_assert(__atomic_always_lock_free(8, 0), "64-bit atomics must be lock-free");

#define MP__CACHE_LINE 64

/* In a loop that waits for another processor. */
static inline void mp__cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield");
#endif
}

/*
 * After an atomic exchange: what was written before it can be seen before anything is read
 * that stands below.
 */
static inline void mp__fence_after_exchange(void)
{
#if defined(__x86_64__) || defined(__i386__)
    atomic_signal_fence(memory_order_seq_cst); /* the exchange did that */
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/*
 * Whoever is killed here has done all that stands above and nothing that stands
 * below.  A process that dies has executed a prefix of its program, so only the
 * compiler must be kept from moving stores.
 */
static inline void mp__kill_point_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

#endif
