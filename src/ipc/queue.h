/* SPDX-License-Identifier: MIT */
/*
 * queue.h - what a queue is made of, for those who build on it; queue.c says how it works.
 */
#ifndef MP_IPC_QUEUE_H
#define MP_IPC_QUEUE_H

#include <mp/queue.h>

#include "ipc/lane.h"
#include "sync/bell.h"
#include "sync/lock.h"

struct mp__ledger;
struct mp__readiness;

/* In shared memory. */
struct mp_queue {
    _Alignas(MP__CACHE_LINE) size_t max_messages; /* SIZE_MAX: no bound */
    size_t max_size;
    size_t message_size; /* of all, or 0 */
    unsigned priorities; /* number of `lanes` */
    struct mp__ledger *ledger;       /* of a joinable queue, or NULL: see ledger.h */
    struct mp__readiness *readiness; /* of a pollable queue, or NULL: see readiness.h */

    mp_lock put_lock; /* of all that changes at that end, and of `closed` */
    mp_lock get_lock;

    _Alignas(MP__CACHE_LINE) struct mp__bell messages; /* for those who get */
    struct mp__bell room;                              /* for those who put */
    _Atomic uint32_t closed;

    struct mp__lane lanes[]; /* by priority */
};

int mp__queue_lock_slowly(mp_lock *lock, int64_t deadline);

/*
 * Take an end of the queue.  What a dead holder left is whole, as it always is: that it
 * died is of no interest.
 */
static inline int mp__queue_lock(mp_lock *lock, int64_t deadline)
{
    return mp__lock_try(lock) ? 0 : mp__queue_lock_slowly(lock, deadline);
}

/* How many messages there are, and how many more there may be. */
uint64_t mp__queue_count(const mp_queue *queue);
uint64_t mp__queue_room(const mp_queue *queue);

/* How many messages have come, and were taken, since it was made. */
uint64_t mp__queue_come(const mp_queue *queue);
uint64_t mp__queue_taken(const mp_queue *queue);

#endif
