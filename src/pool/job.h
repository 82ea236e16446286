/* SPDX-License-Identifier: MIT */
/*
 * job.h - a map of up to 16 million items, shared out among workers.
 *
 * The items that nobody has taken lie in hands.  A hand is one word:
 *
 *   state (2 bits) | worker (14) | next (24) | end (24)        items next to end - 1
 *
 *   EMPTY    nothing left; next and end stay, see below
 *   FREE     nobody's: the first share of a worker, or what a dead one left
 *   OWNED    the worker takes items from the front, a batch at a time
 *   PENDING  the worker is about to steal these items from another hand
 *
 * There are two hands for each worker: its first share, and room for one theft.  Each
 * change is one compare-and-swap, and the items are in a hand before and after it.
 *
 * A thief locks its victim's hand, writes what it wants into an EMPTY hand as PENDING
 * (under that hand's lock), lowers the victim's `end`, and makes its own hand OWNED.  If
 * it dies in between, the victim's end tells whether it had succeeded, for nobody else
 * can lower it while the hand is locked; therefore a hand that is emptied keeps its end,
 * and a locked one is not filled again.
 *
 * A thief may be stopped on its way.  Then nobody else takes items from that victim: others
 * wait for a moment, leave the map, and find it again once the theft is done.
 *
 * Within its batch a worker says in its `at` which item it is running.  When it dies,
 * that item is lost and all behind it, up to the hand's end, become FREE.  A worker
 * that dies after an item's last instruction and before it says so loses the item too.
 * In a reduction the items before it since the last commit are FREE as well: reduce.c.
 *
 * The map is done when all hands are EMPTY.  Whoever empties one looks at all others;
 * thefts are counted, so that it sees when items move about meanwhile.
 */
#ifndef MP_POOL_JOB_H
#define MP_POOL_JOB_H

#include "pool/pool.h"

#define MP__JOB_ITEMS_MAX (((uint32_t)1 << 24) - 1)

/* In `at`: this worker has a hand, or is about to get it, and has begun nothing of it. */
#define MP__AT_NEW (UINT64_C(1) << 40)

struct mp__fold;

struct mp__hand {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t word;
    _Atomic uint32_t thief; /* worker + 1 that has locked it, or 0 */
};

/* The failure of the lowest index that a place has seen. */
struct mp__job_failure {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t index; /* UINT64_MAX: none */
    mp_task_failure what;
};

/* Whether items that nobody has begun are still to be run. */
enum { MP__JOB_RUNS, MP__JOB_CANCELLED };

struct mp__job {
    mp_task_fn *task;
    void *context;
    const char *items; /* NULL: the items are numbers */
    size_t item_size;
    char *results;
    size_t result_size;
    int *errors;       /* in the arena, or NULL */
    mp_task_failure *details; /* of each item that has failed, or NULL */
    uint8_t *attempts; /* of each item that are over; or NULL: there is but one */
    uint64_t first;    /* the caller's index of item 0 */
    uint64_t call;     /* for mp_task_seed */
    uint32_t count;
    uint32_t chunk; /* items in a batch; 0: as time tells */
    struct mp__fold *fold; /* of a reduction, or NULL */
    uint8_t retries;
    _Atomic uint32_t *stop;   /* of the whole map, set at the first failure; or NULL */
    _Atomic uint32_t stopped; /* and how: items are dropped and not run any more */
    _Atomic uint32_t failed;  /* items, about */
    _Atomic uint32_t thefts;  /* that were begun, ever */
    _Atomic uint32_t crowd; /* whether to wake others: not before it is worth it */
    struct mp__limits limits;
    struct mp__pool_shared *shared;
    unsigned place_count;
    struct mp__hand *hands;           /* 2 * place_count */
    struct mp__job_failure *failures; /* of each place, and of the client */
    struct mp__job *next;             /* client: idle jobs */
    uint64_t number;                  /* client: of the task it was for last */
};

/* A job with hands for all places of the pool, or NULL. */
struct mp__job *mp__job_new(struct mp__pool_shared *shared);
void mp__job_free(struct mp__job *job);

/* Share `count` items out to `shares` workers; all else is set by the caller. */
void mp__job_deal(struct mp__job *job, uint32_t count, unsigned shares);

/* Worker: take and run items until none can be taken, waking others while there are, or
   until the worker is to leave. */
void mp__job_work(struct mp__job *job, unsigned worker);

/* Wake others, unless that has been done. */
void mp__job_call_others(struct mp__job *job);

/* Client: let no more items be run, and drop those that nobody has taken. */
void mp__job_cancel(struct mp__job *job);

/* Whether there are items that a worker could take.  A hand that a thief has locked is its
   affair: it tells the others afterwards, for it may be stopped before. */
bool mp__job_takeable(const struct mp__job *job);
bool mp__job_done(const struct mp__job *job);

/* Settle what a dead worker had in its hands: the item it was at fails as `what` says,
   or is tried again if it `may_retry`.  How many items have failed. */
unsigned mp__job_settle(struct mp__job *job, unsigned worker, uint64_t at,
                        const mp_task_failure *what, bool may_retry);

/* No worker is left: fail every item that is still in a hand. */
void mp__job_settle_all(struct mp__job *job, const mp_task_failure *what);

/* Items that are done, about.  All of them only if that is so. */
uint32_t mp__job_settled(const struct mp__job *job);

/* The failure of the lowest index, if any. */
bool mp__job_failure(const struct mp__job *job, mp_task_failure *failure);

#endif
