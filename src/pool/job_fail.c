/* SPDX-License-Identifier: MIT */
/*
 * job_fail.c - items of a map that fail: what is kept of them, those that nobody is to
 * run any more, and those that a dead worker has left.
 */
#include <errno.h>

#include "pool/hand.h"
#include "pool/reduce.h"

/*
 * While it is being written there is none; the writer's death then makes one of the same
 * item.
 */
void mp__job_keep_failure(struct mp__job *job, unsigned place, uint32_t item,
                          const mp_task_failure *what)
{
    struct mp__job_failure *kept = &job->failures[place];

    if (job->errors)
        job->errors[item] = what->error;
    if (job->details)
        job->details[item] = *what;
    if (atomic_load_explicit(&kept->index, memory_order_relaxed) <= job->first + item)
        return;
    atomic_store_explicit(&kept->index, UINT64_MAX, memory_order_relaxed);
    mp__kill_point_order();
    kept->what = *what;
    kept->what.index = job->first + item;
    atomic_store_explicit(&kept->index, job->first + item, memory_order_release);
}

void mp__job_count_failure(struct mp__job *job)
{
    atomic_fetch_add_explicit(&job->failed, 1, memory_order_relaxed);
    if (job->stop)
        atomic_store(job->stop, 1);
}

bool mp__job_failure(const struct mp__job *job, mp_task_failure *failure)
{
    const struct mp__job_failure *lowest = NULL;
    uint64_t index = UINT64_MAX;

    for (unsigned i = 0; i <= job->place_count; i++) {
        uint64_t other =
            atomic_load_explicit(&job->failures[i].index, memory_order_acquire);
        if (other < index) {
            index = other;
            lowest = &job->failures[i];
        }
    }
    if (lowest)
        *failure = lowest->what;
    return lowest != NULL;
}

/* Items are settled that nobody has run. */
static void count_unrun(struct mp__job *job, struct mp__span span)
{
    uint32_t count = span.end - span.next;

    atomic_fetch_add_explicit(&job->failed, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&job->shared->unrun, count, memory_order_relaxed);
}

void mp__job_drop(struct mp__job *job, struct mp__span span)
{
    for (uint32_t item = span.next; job->errors && item < span.end; item++)
        job->errors[item] = ECANCELED;
    count_unrun(job, span);
}

/* Who dies here leaves them to be dropped again. */
bool mp__job_drop_rest(struct mp__job *job, struct mp__hand *hand, uint64_t word,
                       unsigned place)
{
    mp_task_failure cancelled = {.error = ECANCELED, .kind = MP_FAILURE_CANCELLED};
    struct mp__span span = mp__unpack(word);

    if (!mp__hand_swap(hand, word, mp__pack(MP__OWNED, place, span.end, span.end)))
        return false;
    if (atomic_load(&job->stopped) == MP__JOB_CANCELLED) {
        cancelled.attempts = job->attempts ? job->attempts[span.next] : 0;
        mp__job_keep_failure(job, place, span.next, &cancelled);
    }
    mp__job_drop(job, span);
    return true;
}

void mp__job_cancel(struct mp__job *job)
{
    atomic_store(&job->stopped, MP__JOB_CANCELLED);
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__hand *hand = &job->hands[i];
        uint64_t word = atomic_load(&hand->word);
        /* As if the client were one more worker.  If it dies, so does the pool. */
        while (mp__unpack(word).state == MP__FREE)
            if (mp__job_drop_rest(job, hand, word, job->place_count)) {
                uint32_t end = mp__unpack(word).end;
                atomic_store(&hand->word, mp__pack(MP__EMPTY, 0, end, end));
                break;
            } else {
                word = atomic_load(&hand->word);
            }
    }
}

/* Whether the item that a dead worker was at had returned an error already. */
static bool had_returned(const struct mp__job *job, unsigned worker, uint32_t item,
                         mp_task_failure *what)
{
    uint64_t returned = atomic_load(&job->shared->workers[worker].returned);

    if ((uint32_t)returned != item + 1)
        return false;
    what->error = (int)(uint32_t)(returned >> 32);
    what->exitcode = 0;
    what->max_rss = 0;
    what->kind = MP_FAILURE_RETURNED;
    return true;
}

/* Whether a worker's death at this item leaves it one more attempt. */
static bool try_again(struct mp__job *job, uint32_t item)
{
    if (!job->attempts || job->attempts[item] >= job->retries)
        return false;
    job->attempts[item]++;
    return true;
}

unsigned mp__job_settle(struct mp__job *job, unsigned worker, uint64_t at,
                        const mp_task_failure *what, bool may_retry)
{
    mp__job_settle_theft(job, worker);

    struct mp__hand *hand = mp__hand_of(job, worker, MP__OWNED);
    if (!hand)
        return 0;
    uint32_t next = (uint32_t)(at >> 1);
    unsigned failed = 0;
    mp_task_failure lost = *what;
    if (at & 1 &&
        (had_returned(job, worker, next, &lost) || !(may_retry && try_again(job, next)))) {
        lost.attempts = 1 + (job->attempts ? job->attempts[next] : 0);
        mp__job_keep_failure(job, worker, next, &lost);
        mp__job_count_failure(job);
        next++;
        failed = 1;
    } else if (job->fold) {
        next = mp__fold_next(job->fold, worker, at);
    }
    for (;;) {
        uint64_t word = atomic_load(&hand->word);
        struct mp__span span = mp__unpack(word);
        uint64_t left = next < span.end ? mp__pack(MP__FREE, 0, next, span.end)
                                        : mp__pack(MP__EMPTY, 0, span.end, span.end);
        if (mp__hand_swap(hand, word, left))
            return failed;
    }
}

void mp__job_settle_all(struct mp__job *job, const mp_task_failure *what)
{
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__span span = mp__hand_span(&job->hands[i]);
        if (span.state == MP__EMPTY)
            continue;
        for (uint32_t item = span.next; item < span.end; item++) {
            mp_task_failure lost = *what;
            lost.attempts = job->attempts ? job->attempts[item] : 0;
            mp__job_keep_failure(job, i % job->place_count, item, &lost);
        }
        count_unrun(job, span);
        atomic_store(&job->hands[i].word, mp__pack(MP__EMPTY, 0, span.end, span.end));
    }
}
