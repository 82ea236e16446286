/* SPDX-License-Identifier: MIT */
/* job_steal.c - how a worker of a map comes to items, its own or others': see job.h. */
#include "pool/hand.h"
#include "sync/park.h"

/* Make a FREE hand this worker's own: its first share, or any other. */
struct mp__hand *mp__job_claim_free(struct mp__job *job, unsigned worker)
{
    struct mp__worker *self = &job->shared->workers[worker];
    unsigned count = 2 * job->place_count;

    for (unsigned i = 0; i < count; i++) {
        struct mp__hand *hand = &job->hands[(worker + i) % count];
        uint64_t word = atomic_load(&hand->word);
        struct mp__span span = mp__unpack(word);
        if (span.state != MP__FREE)
            continue;
        mp__worker_set_at(self, (uint64_t)span.next << 1 | MP__AT_NEW);
        if (mp__hand_swap(hand, word, mp__pack(MP__OWNED, worker, span.next, span.end)))
            return hand;
    }
    return NULL;
}

static bool lock_hand(struct mp__hand *hand, unsigned worker)
{
    uint32_t unlocked = 0;

    return atomic_compare_exchange_strong(&hand->thief, &unlocked, worker + 1);
}

/* The hand of another worker with the most items that can be taken, and is not locked;
   `*locked` if there are items in one that is. */
static struct mp__hand *find_victim(struct mp__job *job, bool *locked)
{
    struct mp__hand *victim = NULL;
    uint32_t most = 0;

    *locked = false;
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__hand *hand = &job->hands[i];
        struct mp__span span = mp__hand_span(hand);
        if (span.state != MP__OWNED || span.end - span.next <= most)
            continue;
        if (atomic_load(&hand->thief)) {
            *locked = true;
            continue;
        }
        most = span.end - span.next;
        victim = hand;
    }
    return victim;
}

/* Make an EMPTY hand PENDING, under its lock, for a locked hand must keep its end. */
static struct mp__hand *claim_empty(struct mp__job *job, unsigned worker, uint64_t wanted)
{
    unsigned count = 2 * job->place_count;

    for (unsigned i = 0; i < count; i++) {
        struct mp__hand *hand = &job->hands[(job->place_count + worker + i) % count];
        if (mp__hand_span(hand).state != MP__EMPTY || !lock_hand(hand, worker))
            continue;
        bool empty = mp__hand_span(hand).state == MP__EMPTY;
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
                                     unsigned worker)
{
    struct mp__hand *loot = NULL;

    for (;;) {
        uint64_t word = atomic_load(&victim->word);
        struct mp__span span = mp__unpack(word);
        if (span.state != MP__OWNED || span.next == span.end) {
            if (loot)
                atomic_store(&loot->word, mp__pack(MP__EMPTY, 0, 0, 0));
            return NULL;
        }
        uint32_t middle = span.next + (span.end - span.next) / 2;
        uint64_t rest = mp__pack(MP__OWNED, span.worker, span.next, middle);
        uint64_t wanted = mp__pack(MP__PENDING, worker, middle, span.end);
        if (!loot)
            loot = claim_empty(job, worker, wanted);
        else
            atomic_store(&loot->word, wanted);
        if (!loot)
            return NULL;
        mp__worker_set_at(&job->shared->workers[worker],
                          (uint64_t)middle << 1 | MP__AT_NEW);
        atomic_fetch_add(&job->thefts, 1);
        if (mp__hand_swap(victim, word, rest)) {
            atomic_store(&loot->word, mp__pack(MP__OWNED, worker, middle, span.end));
            return loot;
        }
    }
}

/* A thief needs less than a moment, unless it is stopped or has no processor. */
static bool may_wait_for_thief(int64_t *until)
{
    if (mp__spin_cpus() < 2)
        return false;
    int64_t now = mp__now();
    if (!*until)
        *until = now + MP__SPIN_NS;
    mp__cpu_relax();
    return now < *until;
}

/* Who did not wait for this theft looks at the table of open maps, or is to be woken. */
static void tell_others(struct mp__job *job, unsigned worker)
{
    uint64_t current = atomic_load(&job->shared->workers[worker].current) & ~MP__DOOMED;

    if (current && mp__job_takeable(job))
        mp__open_insert(job->shared, current - 1);
}

struct mp__hand *mp__job_steal(struct mp__job *job, unsigned worker)
{
    int64_t until = 0;

    for (;;) {
        bool locked;
        struct mp__hand *victim = find_victim(job, &locked);
        if (!victim && (!locked || !may_wait_for_thief(&until)))
            return NULL;
        if (!victim || !lock_hand(victim, worker))
            continue;
        struct mp__hand *loot = steal_locked(job, victim, worker);
        atomic_store(&victim->thief, 0);
        if (loot) {
            tell_others(job, worker);
            return loot;
        }
    }
}

/*
 * The dead thief held the lock of the hand that it was filling, which is then empty or its
 * loot, and of the victim.
 */
void mp__job_settle_theft(struct mp__job *job, unsigned worker)
{
    struct mp__hand *loot = mp__hand_of(job, worker, MP__PENDING);
    struct mp__span wanted = {0};
    bool taken = false;

    if (loot)
        wanted = mp__hand_span(loot);
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        struct mp__hand *hand = &job->hands[i];
        if (hand == loot || atomic_load(&hand->thief) != worker + 1)
            continue;
        if (loot && mp__hand_span(hand).end == wanted.next)
            taken = true;
    }
    if (loot)
        atomic_store(&loot->word, taken ? mp__pack(MP__FREE, 0, wanted.next, wanted.end)
                                        : mp__pack(MP__EMPTY, 0, 0, 0));
    for (unsigned i = 0; i < 2 * job->place_count; i++) {
        uint32_t dead = worker + 1;
        atomic_compare_exchange_strong(&job->hands[i].thief, &dead, 0);
    }
}
