/* SPDX-License-Identifier: MIT */
/* job.c - dealing, taking, stealing and settling the items of a map: see job.h. */
#include "pool/job.h"

#include <errno.h>
#include <mp/shared.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { EMPTY, FREE, OWNED, PENDING };

/* A batch should take about so long: much more than taking it, much less than a map. */
#define BATCH_NS INT64_C(20000)

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

struct mp__job *mp__job_new(unsigned workers)
{
    size_t head = round_up(sizeof(struct mp__job), MP__CACHE_LINE);
    size_t hands = 2 * (size_t)workers * sizeof(struct mp__hand);
    size_t failures = workers * sizeof(struct mp__job_failure);
    char *block = mp_shared_alloc(head + hands + failures);
    if (!block)
        return NULL;

    struct mp__job *job = (struct mp__job *)(void *)block;
    job->worker_count = workers;
    job->hands = (struct mp__hand *)(void *)(block + head);
    job->failures = (struct mp__job_failure *)(void *)(block + head + hands);
    return job;
}

void mp__job_free(struct mp__job *job)
{
    mp_shared_free(job);
}

void mp__job_deal(struct mp__job *job, uint32_t count)
{
    uint32_t begin = 0;

    job->count = count;
    for (unsigned i = 0; i < job->worker_count; i++) {
        uint32_t end = (uint32_t)((uint64_t)count * (i + 1) / job->worker_count);
        uint64_t share = begin < end ? pack(FREE, 0, begin, end) : pack(EMPTY, 0, end, end);
        atomic_store_explicit(&job->hands[i].word, share, memory_order_relaxed);
        atomic_store_explicit(&job->hands[job->worker_count + i].word, 0,
                              memory_order_relaxed);
        atomic_store_explicit(&job->hands[i].thief, 0, memory_order_relaxed);
        atomic_store_explicit(&job->hands[job->worker_count + i].thief, 0,
                              memory_order_relaxed);
        atomic_store_explicit(&job->failures[i].index, UINT64_MAX, memory_order_relaxed);
        begin = end;
    }
}

bool mp__job_takeable(const struct mp__job *job)
{
    for (unsigned i = 0; i < 2 * job->worker_count; i++) {
        struct span span = unpack(atomic_load(&job->hands[i].word));
        if ((span.state == FREE || span.state == OWNED) && span.next < span.end)
            return true;
    }
    return false;
}

bool mp__job_done(const struct mp__job *job)
{
    for (unsigned i = 0; i < 2 * job->worker_count; i++)
        if (unpack(atomic_load(&job->hands[i].word)).state != EMPTY)
            return false;
    return true;
}

/*
 * Keep the failure if its index is the lowest of this worker's place.  While it is being
 * written there is none; the writer's death then makes one of the same item.
 */
static void keep_failure(struct mp__job *job, unsigned worker, uint32_t item, int error,
                         pid_t pid, int exitcode, const char *text)
{
    struct mp__job_failure *kept = &job->failures[worker];

    if (job->errors)
        job->errors[item] = error;
    if (atomic_load_explicit(&kept->index, memory_order_relaxed) <= job->first + item)
        return;
    atomic_store_explicit(&kept->index, UINT64_MAX, memory_order_relaxed);
    mp__kill_point_order();
    kept->error = error;
    kept->exitcode = exitcode;
    kept->pid = pid;
    strncpy(kept->text, text, sizeof(kept->text) - 1);
    kept->text[sizeof(kept->text) - 1] = '\0';
    atomic_store_explicit(&kept->index, job->first + item, memory_order_release);
}

bool mp__job_failure(const struct mp__job *job, mp_task_failure *failure)
{
    const struct mp__job_failure *lowest = NULL;
    uint64_t index = UINT64_MAX;

    for (unsigned i = 0; i < job->worker_count; i++) {
        uint64_t other = atomic_load_explicit(&job->failures[i].index, memory_order_acquire);
        if (other < index) {
            index = other;
            lowest = &job->failures[i];
        }
    }
    if (!lowest)
        return false;
    *failure = (mp_task_failure){.error = lowest->error,
                                 .exitcode = lowest->exitcode,
                                 .pid = lowest->pid,
                                 .index = index};
    memcpy(failure->text, lowest->text, sizeof(failure->text));
    return true;
}

/*
 * Run items `next` to `end` - 1, which this worker has taken.  The loop itself is the
 * program's: see mp/loop.h.  It stops at an item that failed.
 */
static void run_batch(struct mp__job *job, struct mp__worker *self, unsigned worker,
                      uint32_t next, uint32_t end)
{
    const char *const arg_end = job->items + end * job->item_size;

    self->loop.context = job->context;
    self->loop.item_size = job->item_size;
    self->loop.result_size = job->result_size;
    while (next != end) {
        mp__worker_set_at(self, (uint64_t)next << 1);
        int err = mp_task_loop(job->task, job->items + next * job->item_size, arg_end,
                               (uintptr_t)job->results + next * job->result_size,
                               &self->loop);
        next = err ? (uint32_t)(mp__worker_at(self) >> 1) : end;
        if (err)
            keep_failure(job, worker, next++, err, getpid(), 0, mp__task_text(err));
    }
    mp__worker_set_at(self, (uint64_t)end << 1);
}

/* How many items to take next, from how long the last batch took. */
static uint32_t next_batch(uint32_t batch, int64_t took)
{
    if (took * 8 < BATCH_NS)
        return batch < MP__JOB_ITEMS_MAX / 8 ? batch * 8 : batch;
    if (took * 2 < BATCH_NS)
        return batch < MP__JOB_ITEMS_MAX / 2 ? batch * 2 : batch;
    if (took > BATCH_NS * 2)
        return batch > 8 && took > BATCH_NS * 16 ? batch / 8 : (batch + 1) / 2;
    return batch;
}

/* Take batches from a hand that this worker owns until it is empty. */
static void run_hand(struct mp__job *job, struct mp__hand *hand, struct mp__worker *self,
                     unsigned worker, uint32_t *batch)
{
    for (;;) {
        uint64_t word = atomic_load_explicit(&hand->word, memory_order_relaxed);
        struct span span = unpack(word);
        if (span.next == span.end) {
            /* Nobody else changes an owned hand without items. */
            atomic_store(&hand->word, pack(EMPTY, 0, span.end, span.end));
            return;
        }
        uint32_t take = span.end - span.next;
        if (take > *batch)
            take = *batch;
        if (!swap(hand, word, pack(OWNED, worker, span.next + take, span.end)))
            continue;

        int64_t began = job->chunk ? 0 : mp__now();
        run_batch(job, self, worker, span.next, span.next + take);
        if (!job->chunk && take == *batch)
            *batch = next_batch(take, mp__now() - began);
    }
}

/* Make a FREE hand this worker's own: its first share, or any other. */
static struct mp__hand *claim_free(struct mp__job *job, struct mp__worker *self,
                                   unsigned worker)
{
    unsigned count = 2 * job->worker_count;

    for (unsigned i = 0; i < count; i++) {
        struct mp__hand *hand = &job->hands[(worker + i) % count];
        uint64_t word = atomic_load(&hand->word);
        struct span span = unpack(word);
        if (span.state != FREE)
            continue;
        mp__worker_set_at(self, (uint64_t)span.next << 1);
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

    for (unsigned i = 0; i < 2 * job->worker_count; i++) {
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
    unsigned count = 2 * job->worker_count;

    for (unsigned i = 0; i < count; i++) {
        struct mp__hand *hand = &job->hands[(job->worker_count + worker + i) % count];
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
        mp__worker_set_at(self, (uint64_t)middle << 1);
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

void mp__job_work(struct mp__job *job, struct mp__pool_shared *shared, unsigned worker)
{
    struct mp__worker *self = &shared->workers[worker];
    uint32_t batch = job->chunk ? job->chunk : 1;

    for (;;) {
        struct mp__hand *hand = claim_free(job, self, worker);
        if (!hand)
            hand = steal(job, self, worker);
        if (!hand)
            return;
        if (mp__job_takeable(job))
            mp__queue_ring(shared);
        run_hand(job, hand, self, worker, &batch);
    }
}

/* The hand that `worker` has in `state`, or NULL. */
static struct mp__hand *hand_of(struct mp__job *job, unsigned worker, unsigned state)
{
    for (unsigned i = 0; i < 2 * job->worker_count; i++) {
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
    for (unsigned i = 0; i < 2 * job->worker_count; i++) {
        struct mp__hand *hand = &job->hands[i];
        if (hand == loot || atomic_load(&hand->thief) != worker + 1)
            continue;
        if (loot && unpack(atomic_load(&hand->word)).end == wanted.next)
            taken = true;
    }
    if (loot)
        atomic_store(&loot->word, taken ? pack(FREE, 0, wanted.next, wanted.end)
                                        : pack(EMPTY, 0, 0, 0));
    for (unsigned i = 0; i < 2 * job->worker_count; i++) {
        uint32_t dead = worker + 1;
        atomic_compare_exchange_strong(&job->hands[i].thief, &dead, 0);
    }
}

void mp__job_settle(struct mp__job *job, unsigned worker, uint64_t at, int error, pid_t pid,
                    int exitcode)
{
    settle_theft(job, worker);

    struct mp__hand *hand = hand_of(job, worker, OWNED);
    if (!hand)
        return;
    uint32_t next = (uint32_t)(at >> 1);
    if (at & 1) {
        keep_failure(job, worker, next, error, pid, exitcode, "");
        next++;
    }
    for (;;) {
        uint64_t word = atomic_load(&hand->word);
        struct span span = unpack(word);
        uint64_t left = next < span.end ? pack(FREE, 0, next, span.end)
                                        : pack(EMPTY, 0, span.end, span.end);
        if (swap(hand, word, left))
            return;
    }
}

void mp__job_settle_all(struct mp__job *job, int error)
{
    for (unsigned i = 0; i < 2 * job->worker_count; i++) {
        struct span span = unpack(atomic_load(&job->hands[i].word));
        if (span.state == EMPTY)
            continue;
        for (uint32_t item = span.next; item < span.end; item++)
            keep_failure(job, i % job->worker_count, item, error, 0, 0, "");
        atomic_store(&job->hands[i].word, pack(EMPTY, 0, span.end, span.end));
    }
}
