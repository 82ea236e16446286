/* SPDX-License-Identifier: MIT */
/* queue_wait.h - taking an end of a queue, waiting until it is of use, and letting go. */
#ifndef MP_IPC_QUEUE_WAIT_H
#define MP_IPC_QUEUE_WAIT_H

#include <limits.h>

#include "base/clock.h"
#include "ipc/queue.h"

/* Of what each message passes through, and compilers think too long to be worth it. */
#define MP__INLINED static inline __attribute__((always_inline))

static inline bool mp__queue_is_closed(const mp_queue *queue)
{
    return atomic_load_explicit(&queue->closed, memory_order_acquire);
}

struct mp__queue_wait {
    int64_t deadline;
    struct mp__sleep sleep;
    bool spun;
    bool over; /* the deadline: the last look is being taken */
};

/* An initializer: to copy one that was just made would wait for the making. */
#define MP__QUEUE_WAIT(moment) {.deadline = (moment), .sleep = {.deadline = (moment)}}

/* What there may be at an end: mp__queue_count or mp__queue_room. */
typedef uint64_t mp__queue_there_fn(const mp_queue *queue);

/* Wait until there is something, or the queue is closed, about: 0 whenever it should be
   tried again, or an error. */
int mp__queue_wait(mp_queue *queue, struct mp__bell *bell, mp__queue_there_fn *there,
                   struct mp__queue_wait *wait);

/*
 * For who leaves with nothing but `err`, which it returns: what is there may be what it
 * was woken for, and others sleep that want it.
 */
int mp__queue_leave(mp_queue *queue, struct mp__bell *bell, mp__queue_there_fn *there,
                    int err);

/* Let go of an end, and wake who may want its `news`. */
static inline void mp__queue_release(mp_lock *lock, struct mp__bell *bell, size_t news)
{
    mp__lock_release(lock);
    mp__fence_after_exchange();
    mp__bell_ring(bell, news < INT_MAX ? (int)news : INT_MAX);
}

#endif
