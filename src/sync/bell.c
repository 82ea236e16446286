/* SPDX-License-Identifier: MIT */
/* bell.c - where processes wait for something that others bring about: see bell.h. */
#include "sync/bell.h"

#define CALLS (MP__BELL_CAME - 1)

uint32_t mp__bell_come(struct mp__bell *bell)
{
    uint64_t calls = atomic_load_explicit(&bell->calls, memory_order_relaxed);
    uint64_t counted;

    do {
        counted = calls + MP__BELL_CAME;
        if (counted < MP__BELL_CAME) /* 2^32 came: the count begins again, from 1 */
            counted += MP__BELL_CAME;
    } while (!atomic_compare_exchange_weak_explicit(&bell->calls, &calls, counted,
                                                    memory_order_seq_cst,
                                                    memory_order_relaxed));

    /* Partner of the fence before mp__bell_ring. */
    atomic_thread_fence(memory_order_seq_cst);
    return (uint32_t)counted;
}

void mp__bell_ring_loudly(struct mp__bell *bell, int count)
{
    uint64_t calls = atomic_load_explicit(&bell->calls, memory_order_seq_cst);
    uint64_t called;

    do {
        if (calls < MP__BELL_CAME)
            return;
        called = (calls & ~CALLS) | ((calls + 1) & CALLS);
    } while (!atomic_compare_exchange_weak_explicit(
        &bell->calls, &calls, called, memory_order_seq_cst, memory_order_relaxed));
    if (!mp__unpark(mp__low_half(&bell->calls), count))
        atomic_compare_exchange_strong(&bell->calls, &called, called & CALLS);
}
