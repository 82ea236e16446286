/* SPDX-License-Identifier: MIT */
/* job.c - dealing, taking, stealing and settling the items of a map: see job.h. */
#include "pool/job.h"

#include <errno.h>
#include <mp/shared.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "pool/reduce.h"
#include "pool/running.h"
#include "pool/trace.h"

enum { EMPTY, FREE, OWNED, PENDING };

/* A batch should take about so long: much more than taking it, much less than a map. */
#define BATCH_NS INT64_C(20000)
/* A batch that took so long is a reason to call others, if nobody has yet. */
#define LONG_NS INT64_C(3000)
/* And so many times what it takes to copy the value of a reduction. */
#define BATCH_COPIES 16

struct span {
    unsigned state;
    unsigned worker;
    uint32_t next;
    uint32_t end;
};

static uint64_t pack(unsigned state, unsigned worker, uint32_t next, uint32_t end)
{
    return (uint64_t)state << 62 | (uint64_t)worker << 48 | (uint64_t)next << 24 | end;
}

static struct span unpack(uint64_t word)
{
    return (struct span){.state = (unsigned)(word >> 62),
                         .worker = (unsigned)(word >> 48) & 0x3fff,
                         .next = (uint32_t)(word >> 24) & 0xffffff,
                         .end = (uint32_t)word & 0xffffff};
}

static bool swap(struct mp__hand *hand, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&hand->word, &from, to);
}

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

struct mp__job *mp__job_new(struct mp__pool_shared *shared)
{
    unsigned places = shared->place_count;
    size_t head = round_up(sizeof(struct mp__job), MP__CACHE_LINE);
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
        set_hand(&job->hands[i],
                 begin < end ? pack(FREE, 0, begin, end) : pack(EMPTY, 0, end, end));
        begin = end;
    }
    for (unsigned i = 0; i <= job->place_count; i++)
        atomic_store_explicit(&job->failures[i].index, UINT64_MAX, memory_order_relaxed);
}

bool mp__job_takeable(const struct mp__job *job)
{
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct span span = unpack(atomic_load(&job->hands[i].word));
        if ((span.state == FREE || span.state == OWNED) && span.next < span.end)
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
            if (unpack(atomic_load(&job->hands[i].word)).state != EMPTY)
                return false;
    } while (atomic_load(&job->thefts) != thefts);
    return true;
}

/*
 * Keep the failure if its index is the lowest of this place.  While it is being written
 * there is none; the writer's death then makes one of the same item.
 */
static void keep_failure(struct mp__job *job, unsigned place, uint32_t item,
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

/* An item failed; does that end the whole map? */
static void count_failure(struct mp__job *job)
{
    atomic_fetch_add_explicit(&job->failed, 1, memory_order_relaxed);
    if (job->stop)
        atomic_store(job->stop, 1);
}

/* Whether items that nobody has begun are not run any more. */
static bool is_stopped(const struct mp__job *job)
{
    return atomic_load_explicit(&job->stopped, memory_order_relaxed) ||
           (job->stop && atomic_load_explicit(job->stop, memory_order_relaxed));
}

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
    keep_failure(job, worker, item, &what);
    count_failure(job);
    mp__worker_count(&self->failed, 1);
    mp__worker_set_at(self, (uint64_t)(item + 1) << 1);
    atomic_store(&self->returned, 0);
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

/* Items are settled that nobody has run. */
static void count_unrun(struct mp__job *job, struct span span)
{
    uint32_t count = span.end - span.next;

    atomic_fetch_add_explicit(&job->failed, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&job->shared->unrun, count, memory_order_relaxed);
}

static void cancel_items(struct mp__job *job, struct span span)
{
    for (uint32_t item = span.next; job->errors && item < span.end; item++)
        job->errors[item] = ECANCELED;
    count_unrun(job, span);
}

/* Items of a hand are not run any more.  Who dies here leaves them to be dropped again. */
static bool drop_rest(struct mp__job *job, struct mp__hand *hand, uint64_t word,
                      unsigned place)
{
    mp_task_failure cancelled = {.error = ECANCELED, .kind = MP_FAILURE_CANCELLED};
    struct span span = unpack(word);

    if (!swap(hand, word, pack(OWNED, place, span.end, span.end)))
        return false;
    if (atomic_load(&job->stopped) == MP__JOB_CANCELLED) {
        cancelled.attempts = job->attempts ? job->attempts[span.next] : 0;
        keep_failure(job, place, span.next, &cancelled);
    }
    cancel_items(job, span);
    return true;
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
        cancel_items(job, (struct span){.next = over, .end = end});
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
        struct span span = unpack(word);
        if (span.next == span.end) {
            /* Nobody else changes an owned hand without items. */
            atomic_store(&hand->word, pack(EMPTY, 0, span.end, span.end));
            return true;
        }
        if (is_stopped(job)) {
            drop_rest(job, hand, word, worker);
            continue;
        }
        uint32_t take = span.end - span.next;
        if (take > *batch)
            take = *batch;
        take = mp__worker_may_run(take);
        if (!take) {
            if (swap(hand, word, pack(FREE, 0, span.next, span.end)))
                return false;
            continue;
        }
        if (swap(hand, word, pack(OWNED, worker, span.next + take, span.end)))
            run_some(job, worker, span.next, take, batch);
    }
}

void mp__job_cancel(struct mp__job *job)
{
    atomic_store(&job->stopped, MP__JOB_CANCELLED);
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__hand *hand = &job->hands[i];
        uint64_t word = atomic_load(&hand->word);
        /* As if the client were one more worker.  If it dies, so does the pool. */
        while (unpack(word).state == FREE)
            if (drop_rest(job, hand, word, job->place_count)) {
                uint32_t end = unpack(word).end;
                atomic_store(&hand->word, pack(EMPTY, 0, end, end));
                break;
            } else {
                word = atomic_load(&hand->word);
            }
    }
}

/* Items of a hand that are not done, with those of the batch that was taken from it. */
static uint32_t count_left(const struct mp__job *job, const struct mp__hand *hand)
{
    for (;;) {
        uint64_t word = atomic_load(&hand->word);
        struct span span = unpack(word);
        if (span.state == EMPTY || span.state == PENDING)
            return 0;
        if (span.state == FREE)
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

/* Make a FREE hand this worker's own: its first share, or any other. */
static struct mp__hand *claim_free(struct mp__job *job, struct mp__worker *self,
                                   unsigned worker)
{
    unsigned count = 2 * job->place_count;

    for (unsigned i = 0; i < count; i++) {
        struct mp__hand *hand = &job->hands[(worker + i) % count];
        uint64_t word = atomic_load(&hand->word);
        struct span span = unpack(word);
        if (span.state != FREE)
            continue;
        mp__worker_set_at(self, (uint64_t)span.next << 1 | MP__AT_NEW);
        if (swap(hand, word, pack(OWNED, worker, span.next, span.end)))
            return hand;
    }
    return NULL;
}

static bool lock_hand(struct mp__hand *hand, unsigned worker)
{
    uint32_t unlocked = 0;

    return atomic_compare_exchange_strong(&hand->thief, &unlocked, worker + 1);
}

/* The hand of another worker with the most items that can be taken, and is not locked. */
static struct mp__hand *find_victim(struct mp__job *job)
{
    struct mp__hand *victim = NULL;
    uint32_t most = 0;

    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__hand *hand = &job->hands[i];
        struct span span = unpack(atomic_load(&hand->word));
        if (span.state == OWNED && span.end - span.next > most &&
            !atomic_load(&hand->thief)) {
            most = span.end - span.next;
            victim = hand;
        }
    }
    return victim;
}

/* Make an EMPTY hand PENDING, under its lock, for a locked hand must keep its end. */
static struct mp__hand *claim_empty(struct mp__job *job, unsigned worker, uint64_t wanted)
{
    unsigned count = 2 * job->place_count;

    for (unsigned i = 0; i < count; i++) {
        struct mp__hand *hand = &job->hands[(job->place_count + worker + i) % count];
        if (unpack(atomic_load(&hand->word)).state != EMPTY || !lock_hand(hand, worker))
            continue;
        bool empty = unpack(atomic_load(&hand->word)).state == EMPTY;
        if (empty)
            atomic_store(&hand->word, wanted);
        atomic_store(&hand->thief, 0);
        if (empty)
            return hand;
    }
    return NULL;
}

/* Steal the second half of what the locked victim has; the hand it is now in, or NULL. */
static struct mp__hand *steal_locked(struct mp__job *job, struct mp__hand *victim,
                                     struct mp__worker *self, unsigned worker)
{
    struct mp__hand *loot = NULL;

    for (;;) {
        uint64_t word = atomic_load(&victim->word);
        struct span span = unpack(word);
        if (span.state != OWNED || span.next == span.end) {
            if (loot)
                atomic_store(&loot->word, pack(EMPTY, 0, 0, 0));
            return NULL;
        }
        uint32_t middle = span.next + (span.end - span.next) / 2;
        uint64_t wanted = pack(PENDING, worker, middle, span.end);
        if (!loot)
            loot = claim_empty(job, worker, wanted);
        else
            atomic_store(&loot->word, wanted);
        if (!loot)
            return NULL;
        mp__worker_set_at(self, (uint64_t)middle << 1 | MP__AT_NEW);
        atomic_fetch_add(&job->thefts, 1);
        if (swap(victim, word, pack(OWNED, span.worker, span.next, middle))) {
            atomic_store(&loot->word, pack(OWNED, worker, middle, span.end));
            return loot;
        }
    }
}

static struct mp__hand *steal(struct mp__job *job, struct mp__worker *self, unsigned worker)
{
    for (;;) {
        struct mp__hand *victim = find_victim(job);
        if (!victim)
            return NULL;
        if (!lock_hand(victim, worker))
            continue;
        struct mp__hand *loot = steal_locked(job, victim, self, worker);
        atomic_store(&victim->thief, 0);
        if (loot)
            return loot;
    }
}

void mp__job_work(struct mp__job *job, unsigned worker)
{
    struct mp__pool_shared *shared = job->shared;
    struct mp__worker *self = &shared->workers[worker];
    uint32_t batch = job->chunk ? job->chunk : 1;

    for (;;) {
        struct mp__hand *hand = claim_free(job, self, worker);
        if (!hand)
            hand = steal(job, self, worker);
        if (!hand)
            return;
        if (atomic_load(&job->crowd) && mp__job_takeable(job))
            mp__queue_ring(shared);
        if (!run_hand(job, hand, worker, &batch))
            return;
    }
}

/* The hand that `worker` has in `state`, or NULL. */
static struct mp__hand *hand_of(struct mp__job *job, unsigned worker, unsigned state)
{
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct span span = unpack(atomic_load(&job->hands[i].word));
        if (span.state == state && span.worker == worker)
            return &job->hands[i];
    }
    return NULL;
}

/*
 * Decide a theft that its thief did not live to finish.  It held the lock of the hand that
 * it was filling, which is then empty or its loot, and of the victim.
 */
static void settle_theft(struct mp__job *job, unsigned worker)
{
    struct mp__hand *loot = hand_of(job, worker, PENDING);
    struct span wanted = {0};
    bool taken = false;

    if (loot)
        wanted = unpack(atomic_load(&loot->word));
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__hand *hand = &job->hands[i];
        if (hand == loot || atomic_load(&hand->thief) != worker + 1)
            continue;
        if (loot && unpack(atomic_load(&hand->word)).end == wanted.next)
            taken = true;
    }
    if (loot)
        atomic_store(&loot->word, taken ? pack(FREE, 0, wanted.next, wanted.end)
                                        : pack(EMPTY, 0, 0, 0));
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        uint32_t dead = worker + 1;
        atomic_compare_exchange_strong(&job->hands[i].thief, &dead, 0);
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
    settle_theft(job, worker);

    struct mp__hand *hand = hand_of(job, worker, OWNED);
    if (!hand)
        return 0;
    uint32_t next = (uint32_t)(at >> 1);
    unsigned failed = 0;
    mp_task_failure lost = *what;
    if (at & 1 &&
        (had_returned(job, worker, next, &lost) || !(may_retry && try_again(job, next)))) {
        lost.attempts = 1 + (job->attempts ? job->attempts[next] : 0);
        keep_failure(job, worker, next, &lost);
        count_failure(job);
        next++;
        failed = 1;
    } else if (job->fold) {
        next = mp__fold_next(job->fold, worker, at);
    }
    for (;;) {
        uint64_t word = atomic_load(&hand->word);
        struct span span = unpack(word);
        uint64_t left = next < span.end ? pack(FREE, 0, next, span.end)
                                        : pack(EMPTY, 0, span.end, span.end);
        if (swap(hand, word, left))
            return failed;
    }
}

void mp__job_settle_all(struct mp__job *job, const mp_task_failure *what)
{
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct span span = unpack(atomic_load(&job->hands[i].word));
        if (span.state == EMPTY)
            continue;
        for (uint32_t item = span.next; item < span.end; item++) {
            mp_task_failure lost = *what;
            lost.attempts = job->attempts ? job->attempts[item] : 0;
            keep_failure(job, i % job->place_count, item, &lost);
        }
        count_unrun(job, span);
        atomic_store(&job->hands[i].word, pack(EMPTY, 0, span.end, span.end));
    }
}
