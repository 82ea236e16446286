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
 * Within its batch a worker says in its `at` which item it is running.  When it dies,
 * that item is lost and all behind it, up to the hand's end, become FREE.  A worker
 * that dies after an item's last instruction and before it says so loses the item too.
 *
 * The map is done when all hands are EMPTY.  Whoever empties one looks at all others.
 */
#ifndef MP_POOL_JOB_H
#define MP_POOL_JOB_H

#include "pool/pool.h"

#define MP__JOB_ITEMS_MAX (((uint32_t)1 << 24) - 1)

struct mp__hand {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t word;
    _Atomic uint32_t thief; /* worker + 1 that has locked it, or 0 */
};

/* The failure of the lowest index that a worker has met, or that its death was. */
struct mp__job_failure {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t index; /* UINT64_MAX: none */
    int error;
    int exitcode;
    pid_t pid;
    char text[MP_TASK_TEXT_SIZE];
};

struct mp__job {
    mp_task_fn *task;
    void *context;
    const char *items;
    size_t item_size;
    char *results;
    size_t result_size;
    int *errors;    /* in the arena, or NULL */
    uint64_t first; /* the caller's index of item 0 */
    uint32_t count;
    uint32_t chunk; /* items in a batch; 0: as time tells */
    unsigned worker_count;
    struct mp__hand *hands;            /* 2 * worker_count */
    struct mp__job_failure *failures;  /* worker_count */
    struct mp__job *next;              /* client: idle jobs */
    uint64_t number;                   /* client: of the task it was for last */
};

/* A job with hands for that many workers, or NULL. */
struct mp__job *mp__job_new(unsigned workers);
void mp__job_free(struct mp__job *job);

/* Share `count` items out; everything else is set by the caller. */
void mp__job_deal(struct mp__job *job, uint32_t count);

/* Worker: take and run items until none can be taken, waking others while there are. */
void mp__job_work(struct mp__job *job, struct mp__pool_shared *shared, unsigned worker);

bool mp__job_takeable(const struct mp__job *job);
bool mp__job_done(const struct mp__job *job);

/* Settle what a dead worker had in its hands: the item it was at fails with `error`. */
void mp__job_settle(struct mp__job *job, unsigned worker, uint64_t at, int error, pid_t pid,
                    int exitcode);

/* No worker is left: fail every item that is still in a hand. */
void mp__job_settle_all(struct mp__job *job, int error);

/* The failure of the lowest index, if any. */
bool mp__job_failure(const struct mp__job *job, mp_task_failure *failure);

/* What mp_task_fail was given last in this process for `error`, or "". */
const char *mp__task_text(int error);

#endif
