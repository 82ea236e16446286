/* SPDX-License-Identifier: MIT */
/*
 * hand.h - the word of a hand, and what the files that work on a job have in common:
 *
 *   job.c         deals the items, and looks how far they are
 *   job_steal.c   how a worker comes to items
 *   job_run.c     how it runs them
 *   job_fail.c    what becomes of items that fail, or are never run
 *
 * job.h says how hands are used.
 */
#ifndef MP_POOL_HAND_H
#define MP_POOL_HAND_H

#include "pool/job.h"

enum { MP__EMPTY, MP__FREE, MP__OWNED, MP__PENDING };

/* What a hand's word says. */
struct mp__span {
    unsigned state;
    unsigned worker;
    uint32_t next;
    uint32_t end;
};

static inline uint64_t mp__pack(unsigned state, unsigned worker, uint32_t next,
                                uint32_t end)
{
    return (uint64_t)state << 62 | (uint64_t)worker << 48 | (uint64_t)next << 24 | end;
}

static inline struct mp__span mp__unpack(uint64_t word)
{
    return (struct mp__span){.state = (unsigned)(word >> 62),
                             .worker = (unsigned)(word >> 48) & 0x3fff,
                             .next = (uint32_t)(word >> 24) & 0xffffff,
                             .end = (uint32_t)word & 0xffffff};
}

static inline struct mp__span mp__hand_span(const struct mp__hand *hand)
{
    return mp__unpack(atomic_load(&hand->word));
}

static inline bool mp__hand_swap(struct mp__hand *hand, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&hand->word, &from, to);
}

/* Whether items that nobody has begun are not run any more. */
static inline bool mp__job_is_stopped(const struct mp__job *job)
{
    return atomic_load_explicit(&job->stopped, memory_order_relaxed) ||
           (job->stop && atomic_load_explicit(job->stop, memory_order_relaxed));
}

/* job.c: the hand that `worker` has in `state`, or NULL. */
struct mp__hand *mp__hand_of(struct mp__job *job, unsigned worker, unsigned state);

/* job_steal.c: a hand with items that is this worker's from now on, or NULL. */
struct mp__hand *mp__job_claim_free(struct mp__job *job, unsigned worker);
struct mp__hand *mp__job_steal(struct mp__job *job, unsigned worker);

/* job_steal.c: decide a theft that its thief did not live to finish. */
void mp__job_settle_theft(struct mp__job *job, unsigned worker);

/* job_fail.c: keep the failure if its index is the lowest of this place. */
void mp__job_keep_failure(struct mp__job *job, unsigned place, uint32_t item,
                          const mp_task_failure *what);
void mp__job_count_failure(struct mp__job *job); /* does it end the whole map? */

/* job_fail.c: items that nobody owns are not run any more. */
void mp__job_drop(struct mp__job *job, struct mp__span span);

/* job_fail.c: neither are those of a hand whose word this is, which is then empty and
   owned by `place`; false if it has changed. */
bool mp__job_drop_rest(struct mp__job *job, struct mp__hand *hand, uint64_t word,
                       unsigned place);

#endif
