/* SPDX-License-Identifier: MIT */
/* job.c - dealing the items of a map, and how far they are: see job.h. */
#include "pool/job.h"

#include <mp/shared.h>

#include "base/size.h"
#include "pool/hand.h"

struct mp__job *mp__job_new(struct mp__pool_shared *shared)
{
    unsigned places = shared->place_count;
    size_t head = mp__round_up(sizeof(struct mp__job), MP__CACHE_LINE);
    size_t hands = 2 * (size_t)places * sizeof(struct mp__hand);
    size_t failures = ((size_t)places + 1) * sizeof(struct mp__job_failure);
    char *block = mp_shared_alloc(head + hands + failures);
    if (!block)
        return NULL;

    struct mp__job *job = (struct mp__job *)(void *)block;
    job->shared = shared;
    job->place_count = places;
    job->hands = (struct mp__hand *)(void *)(block + head);
    job->failures = (struct mp__job_failure *)(void *)(block + head + hands);
    return job;
}

void mp__job_free(struct mp__job *job)
{
    mp_shared_free(job);
}

static void set_hand(struct mp__hand *hand, uint64_t word)
{
    atomic_store_explicit(&hand->word, word, memory_order_relaxed);
    atomic_store_explicit(&hand->thief, 0, memory_order_relaxed);
}

void mp__job_deal(struct mp__job *job, uint32_t count, unsigned shares)
{
    uint32_t begin = 0;

    job->count = count;
    atomic_store_explicit(&job->stopped, MP__JOB_RUNS, memory_order_relaxed);
    atomic_store_explicit(&job->failed, 0, memory_order_relaxed);
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        uint32_t end = i < shares ? (uint32_t)((uint64_t)count * (i + 1) / shares) : begin;
        set_hand(&job->hands[i], begin < end ? mp__pack(MP__FREE, 0, begin, end)
                                             : mp__pack(MP__EMPTY, 0, end, end));
        begin = end;
    }
    for (unsigned i = 0; i <= job->place_count; i++)
        atomic_store_explicit(&job->failures[i].index, UINT64_MAX, memory_order_relaxed);
}

struct mp__hand *mp__hand_of(struct mp__job *job, unsigned worker, unsigned state)
{
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__span span = mp__hand_span(&job->hands[i]);
        if (span.state == state && span.worker == worker)
            return &job->hands[i];
    }
    return NULL;
}

bool mp__job_takeable(const struct mp__job *job)
{
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        const struct mp__hand *hand = &job->hands[i];
        struct mp__span span = mp__hand_span(hand);
        if (span.next < span.end &&
            (span.state == MP__FREE ||
             (span.state == MP__OWNED && !atomic_load(&hand->thief))))
            return true;
    }
    return false;
}

/*
 * Items must not get past this look from a hand that is still to come to one that was.  A
 * theft counts itself between making its hand PENDING and lowering the victim's end: if a
 * hand was EMPTY before the first of these and its victim after the second, the number
 * has changed.
 */
bool mp__job_done(const struct mp__job *job)
{
    uint32_t thefts;

    do {
        thefts = atomic_load(&job->thefts);
        for (unsigned i = 0; i < 2 * job->place_count; i++)
            if (mp__hand_span(&job->hands[i]).state != MP__EMPTY)
                return false;
    } while (atomic_load(&job->thefts) != thefts);
    return true;
}

/* Items of a hand that are not done, with those of the batch that was taken from it. */
static uint32_t count_left(const struct mp__job *job, const struct mp__hand *hand)
{
    for (;;) {
        uint64_t word = atomic_load(&hand->word);
        struct mp__span span = mp__unpack(word);
        if (span.state == MP__EMPTY || span.state == MP__PENDING)
            return 0;
        if (span.state == MP__FREE)
            return span.end - span.next;
        if (span.worker == job->place_count)
            return span.end - span.next; /* the client's, which runs nothing */
        /* While the hand is this worker's, `at` is about it. */
        uint32_t at = (uint32_t)(mp__worker_at(&job->shared->workers[span.worker]) >> 1);
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load(&hand->word) == word)
            return at < span.next ? span.end - at : span.end - span.next;
    }
}

uint32_t mp__job_settled(const struct mp__job *job)
{
    uint32_t left = 0;

    for (unsigned i = 0; i < 2 * job->place_count; i++)
        left += count_left(job, &job->hands[i]);
    return left < job->count ? job->count - left : 0;
}
