/* SPDX-License-Identifier: MIT */
/* job_run.c - a worker runs the items of its hand, a batch at a time: see job.h. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "pool/hand.h"
#include "pool/reduce.h"
#include "pool/running.h"
#include "pool/trace.h"

/* A batch should take about so long: much more than taking it, much less than a map. */
#define BATCH_NS INT64_C(20000)
/* A batch that took so long is a reason to call others, if nobody has yet. */
#define LONG_NS INT64_C(3000)
/* And so many times what it takes to copy the value of a reduction. */
#define BATCH_COPIES 16

/*
 * The running item has returned an error, and is over: who dies from here on does not lose
 * it, or else it would be run again, or be told to have failed in two ways.
 */
static void fail_item(struct mp__job *job, struct mp__worker *self, unsigned worker,
                      uint32_t item, int error)
{
    mp_task_failure what = {.error = error,
                            .pid = getpid(),
                            .attempts = 1 + (job->attempts ? job->attempts[item] : 0),
                            .kind = MP_FAILURE_RETURNED};

    atomic_store(&self->returned, (uint64_t)(uint32_t)error << 32 | (item + 1));
    mp__kill_point_order();
    strncpy(what.text, mp__task_text(error), sizeof(what.text) - 1);
    mp__job_keep_failure(job, worker, item, &what);
    mp__job_count_failure(job);
    mp__worker_count(&self->failed, 1);
    mp__worker_set_at(self, (uint64_t)(item + 1) << 1);
    atomic_store(&self->returned, 0);
}

/*
 * Run items `next` to `end` - 1, which this worker has taken; the item before which it
 * was stopped, or `end`.  The loop itself is the program's: see mp/loop.h.  It stops at
 * an item that failed.
 */
static uint32_t run_batch(struct mp__job *job, struct mp__worker *self, unsigned worker,
                          char *results, uint32_t next, uint32_t end)
{
    const char *const arg_end = job->items + end * job->item_size;

    self->loop.context = job->context;
    self->loop.item_size = job->item_size;
    self->loop.result_size = job->result_size;
    while (next != end) {
        mp__worker_set_at(self, (uint64_t)next << 1);
        int err = mp_task_loop(job->task, job->items + next * job->item_size, arg_end,
                               (uintptr_t)results + next * job->result_size, &self->loop);
        next = err ? (uint32_t)(mp__worker_at(self) >> 1) : end;
        if (!err)
            break;
        fail_item(job, self, worker, next++, err);
        if (job->stop)
            break;
    }
    mp__worker_set_at(self, (uint64_t)next << 1);
    return next;
}

/* The same where each item has a limit, or is a number: one after the other. */
static uint32_t run_singly(struct mp__job *job, struct mp__worker *self, unsigned worker,
                           char *results, uint32_t next, uint32_t end)
{
    int err = 0;

    for (; next != end && !(err && job->stop); next++) {
        uint64_t number = job->first + next;
        const void *arg = job->items ? job->items + next * job->item_size
                                     : (const void *)&number;
        uintptr_t result = (uintptr_t)results + next * job->result_size;

        mp__worker_set_at(self, (uint64_t)next << 1 | 1);
        mp__limits_begin(&job->limits);
        err = job->task(arg, (void *)result, job->context);
        mp__limits_end();
        if (err)
            fail_item(job, self, worker, next, err);
        mp__worker_set_at(self, (uint64_t)(next + 1) << 1);
    }
    return next;
}

/* How many items to take next, from how long the last batch took and should have. */
static uint32_t next_batch(uint32_t batch, int64_t took, int64_t aim)
{
    if (took * 8 < aim)
        return batch < MP__JOB_ITEMS_MAX / 8 ? batch * 8 : batch;
    if (took * 2 < aim)
        return batch < MP__JOB_ITEMS_MAX / 2 ? batch * 2 : batch;
    if (took > aim * 2)
        return batch > 8 && took > aim * 16 ? batch / 8 : (batch + 1) / 2;
    return batch;
}

/* Whoever finds that a map takes its time wakes others for it, once. */
void mp__job_call_others(struct mp__job *job)
{
    if (!atomic_load_explicit(&job->crowd, memory_order_relaxed) &&
        !atomic_exchange(&job->crowd, 1) && mp__job_takeable(job))
        mp__queue_ring(job->shared);
}

static uint32_t end_of_batch(struct mp__job *job, uint32_t batch, int64_t took, int64_t aim)
{
    if (took > LONG_NS)
        mp__job_call_others(job);
    return next_batch(batch, took, aim);
}

/* Batches take about equally long, unless the caller or a limit says how long. */
static void run_some(struct mp__job *job, unsigned worker, uint32_t next, uint32_t take,
                     uint32_t *batch)
{
    struct mp__worker *self = &job->shared->workers[worker];
    struct mp__trace_record event;
    bool traced = mp__trace_own && mp__trace_batch(&event, self, job, next);
    char *results = job->results;
    uint32_t end = next + take;
    int64_t began = job->chunk ? 0 : mp__now(), aim = BATCH_NS;

    atomic_store_explicit(&self->batch, next, memory_order_relaxed);
    if (job->fold) {
        results = mp__fold_begin(job->fold, self, worker, next);
        int64_t copied = job->chunk ? 0 : mp__now();
        aim += BATCH_COPIES * (copied - began);
        began = copied;
    }
    uint32_t over = job->items && !job->limits.hard && !job->limits.soft
                        ? run_batch(job, self, worker, results, next, end)
                        : run_singly(job, self, worker, results, next, end);
    if (job->fold && over == end)
        mp__fold_commit(job->fold, worker, end);
    mp__worker_count(&self->done, over - next);
    if (over != end)
        mp__job_drop(job, (struct mp__span){.next = over, .end = end});
    else if (!job->chunk && take == *batch)
        *batch = end_of_batch(job, take, mp__now() - began, aim);
    if (traced)
        mp__trace_end(&event, self, over - next, 0);
}

/*
 * Take batches from a hand that this worker owns until it is empty.  If the worker is to
 * leave before, the rest becomes anybody's, and false is returned.
 */
static bool run_hand(struct mp__job *job, struct mp__hand *hand, unsigned worker,
                     uint32_t *batch)
{
    for (;;) {
        uint64_t word = atomic_load_explicit(&hand->word, memory_order_relaxed);
        struct mp__span span = mp__unpack(word);
        if (span.next == span.end) {
            /* Nobody else changes an owned hand without items. */
            atomic_store(&hand->word, mp__pack(MP__EMPTY, 0, span.end, span.end));
            return true;
        }
        if (mp__job_is_stopped(job)) {
            mp__job_drop_rest(job, hand, word, worker);
            continue;
        }
        uint32_t take = span.end - span.next;
        if (take > *batch)
            take = *batch;
        take = mp__worker_may_run(take);
        if (!take) {
            if (mp__hand_swap(hand, word, mp__pack(MP__FREE, 0, span.next, span.end)))
                return false;
            continue;
        }
        uint64_t rest = mp__pack(MP__OWNED, worker, span.next + take, span.end);
        if (mp__hand_swap(hand, word, rest))
            run_some(job, worker, span.next, take, batch);
    }
}

void mp__job_work(struct mp__job *job, unsigned worker)
{
    struct mp__pool_shared *shared = job->shared;
    uint32_t batch = job->chunk ? job->chunk : 1;

    for (;;) {
        struct mp__hand *hand = mp__job_claim_free(job, worker);
        if (!hand)
            hand = mp__job_steal(job, worker);
        if (!hand)
            return;
        if (atomic_load(&job->crowd) && mp__job_takeable(job))
            mp__queue_ring(shared);
        if (!run_hand(job, hand, worker, &batch))
            return;
    }
}
