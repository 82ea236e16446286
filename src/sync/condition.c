/* SPDX-License-Identifier: MIT */
/*
 * condition.c - waiting until something is so.
 *
 * Each waiter has a slot while it waits, and a ticket in it that tells who came first.
 * The slot's word names the member and its state:
 *
 *   0            free
 *   m | WAITING  in the wait; ASLEEP beside it says that a notification must wake it
 *   m | NOTIFIED it has a notification, which it has not returned with yet
 *
 *   free -> WAITING         by the waiter, holding the lock
 *   WAITING -> ASLEEP       by the waiter, before it parks on its word
 *   WAITING -> NOTIFIED     by whoever has a notification to give; then it wakes m
 *   any -> free             by the waiter, as the last step, holding the lock again
 *   dead, WAITING -> free   by anyone
 *   dead, NOTIFIED -> m', NOTIFIED   by anyone: it changes hands in one step
 *
 * What a death leaves:
 * A waiter in its slot, WAITING: nobody ever waits for it, and the slot is freed by the
 * next who notices.
 * A waiter in its slot, NOTIFIED: its notification must go on to another.  All sleepers
 * are woken after a death; one of them takes the slot over, with what is in it, and
 * frees its own.  Had it got a notification itself meanwhile, it passes one of the two
 * on before it frees a slot.  Killed on the way, it has left slots that are NOTIFIED
 * like the first one, and never fewer than there were notifications.
 * A notifier, before its wake: whoever buries it wakes the sleeper.
 * A holder of the lock: if all others wait here nobody would come and be told.  So the
 * waiters look after the lock, too, when somebody has died.
 *
 * Slots are found by going through all up to a high-water mark.  There is no count of
 * waiters that a death could make wrong.
 *
 * Who is woken before the lock is free runs into it, and two switches of processes are
 * wasted.  So where each release of the lock comes through here, which is when the lock
 * is the condition's own, the wakes wait for it.
 */
#include <mp/condition.h>

#include <errno.h>
#include <sched.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/thread_local.h"
#include "mp/shared.h"
#include "shm/alloc.h"
#include "shm/arena.h"
#include "sync/park.h"
#include "sync/rlock.h"

#define WAITING     UINT64_C(1)
#define ASLEEP      UINT64_C(2)
#define NOTIFIED    UINT64_C(4)

#define CHUNK_SLOTS 27 /* with these a condition takes nine cache lines */
#define WAKES_KEPT  4

_Static_assert(((WAITING | ASLEEP | NOTIFIED) & MP__MEMBER_MASK) == 0, "beside it");

/* All that follows is in shared memory. */
struct slot {
    _Atomic uint64_t word;
    _Atomic uint64_t ticket;
};

struct chunk {
    struct slot slots[CHUNK_SLOTS];
    struct chunk *_Atomic next; /* freed with the condition and not before */
};

struct mp_condition {
    _Alignas(MP__CACHE_LINE) mp_lock *lock; /* of `rlock` if there is one */
    mp_rlock *rlock;                        /* or NULL */
    _Atomic uint64_t tickets;
    _Atomic uint32_t slots_used;
    _Atomic uint32_t deaths_seen; /* of which all slots have been swept */
    /* For the holder of `own`; what a dead one leaves costs a wake for nothing. */
    struct slot *wakes[WAKES_KEPT]; /* of whom to wake after the release */
    size_t wake_count;
    struct chunk first;
    mp_rlock own;
};

/* Going through all slots that have ever been used. */
struct cursor {
    struct chunk *chunk;
    uint32_t index;
    uint32_t left;
};

struct waiter {
    mp_condition *condition;
    struct slot *slot;
    uint32_t depth; /* how often it had acquired the lock */
    struct mp__sleep sleep;
};

/* The lock */

static bool is_own(const mp_condition *condition)
{
    return condition->rlock ? mp__rlock_is_own(condition->rlock)
                            : mp__lock_is_own(condition->lock);
}

static int pick_up(mp_condition *condition, uint32_t depth, int64_t deadline)
{
    return condition->rlock ? mp__rlock_pick_up(condition->rlock, depth, deadline)
                            : mp__lock_acquire(condition->lock, deadline);
}

/* Wakes */

static void wake(const struct slot *slot)
{
    mp__unpark(mp__low_half(&slot->word), 1);
}

/* By the holder of the lock, who has notified: wake now, or after the release. */
static void wake_in_time(mp_condition *condition, struct slot *slot)
{
    if (condition->rlock == &condition->own && condition->wake_count < WAKES_KEPT)
        condition->wakes[condition->wake_count++] = slot;
    else
        wake(slot);
}

/* Let go of the lock, however often it was taken; tells how often that was. */
static uint32_t put_down(mp_condition *condition)
{
    const struct slot *wakes[WAKES_KEPT];
    const size_t count = condition->wake_count;
    uint32_t depth = 1;

    for (size_t i = 0; i < count; i++)
        wakes[i] = condition->wakes[i];
    if (count)
        condition->wake_count = 0;
    if (condition->rlock)
        depth = mp__rlock_put_down(condition->rlock);
    else
        (void)mp__lock_release(condition->lock);
    for (size_t i = 0; i < count; i++)
        wake(wakes[i]);
    return depth;
}

/* Slots */

static uint64_t owner_of(uint64_t word)
{
    return word & MP__MEMBER_MASK;
}

static bool is_dead(uint64_t member)
{
    return member != mp__self && mp__member_is_dead(member);
}

static bool change(struct slot *slot, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&slot->word, &from, to);
}

static struct slot *next_slot(struct cursor *at)
{
    if (!at->left)
        return NULL;
    at->left--;
    if (at->index == CHUNK_SLOTS) {
        at->chunk = atomic_load(&at->chunk->next);
        at->index = 0;
    }
    return &at->chunk->slots[at->index++];
}

static struct slot *first_slot(mp_condition *condition, struct cursor *at)
{
    *at = (struct cursor){.chunk = &condition->first,
                          .left = atomic_load(&condition->slots_used)};
    return next_slot(at);
}

static struct chunk *chunk_after(struct chunk *chunk)
{
    struct chunk *next = atomic_load(&chunk->next), *none = NULL;

    if (next)
        return next;
    next = mp_shared_alloc(sizeof(*next));
    if (!next || atomic_compare_exchange_strong(&chunk->next, &none, next))
        return next;
    mp_shared_free(next);
    return none;
}

/* One slot more, which everybody sees before anyone can die in it: 0, or ENOMEM. */
static int add_slot(mp_condition *condition)
{
    uint32_t used = atomic_load(&condition->slots_used);
    struct chunk *chunk = &condition->first;

    for (uint32_t i = used / CHUNK_SLOTS; i > 0 && chunk; i--)
        chunk = chunk_after(chunk);
    if (!chunk)
        return ENOMEM;
    atomic_compare_exchange_strong(&condition->slots_used, &used, used + 1);
    return 0;
}

static struct slot *claim_used(mp_condition *condition)
{
    struct cursor at;

    for (struct slot *slot = first_slot(condition, &at); slot; slot = next_slot(&at))
        if (!atomic_load(&slot->word) && change(slot, 0, mp__self | WAITING))
            return slot;
    return NULL;
}

/* A slot in which the caller is WAITING, or NULL if there is no memory for it. */
static struct slot *claim(mp_condition *condition)
{
    struct slot *slot = claim_used(condition);

    while (!slot && !add_slot(condition))
        slot = claim_used(condition);
    /* Whoever holds the lock is alone here; without that the order would suffer. */
    if (slot)
        atomic_store(&slot->ticket, atomic_fetch_add(&condition->tickets, 1));
    return slot;
}

/* Notifications */

/* Notify who waits in a slot: false if nobody does, or only one who is dead.  `holder`:
   the caller holds the lock. */
static bool give(mp_condition *condition, struct slot *slot, bool holder)
{
    uint64_t word = atomic_load(&slot->word), notified;

    do {
        if (!(word & WAITING))
            return false;
        notified = owner_of(word) | NOTIFIED;
    } while (!atomic_compare_exchange_strong(&slot->word, &word, notified));

    if (word & ASLEEP && holder)
        wake_in_time(condition, slot);
    else if (word & ASLEEP)
        wake(slot);
    /* Asked last: a living one is on its way by then.  If others have taken over what
       was given to a dead one, it was given well. */
    return !is_dead(owner_of(word)) || !change(slot, notified, 0);
}

static struct slot *longest_waiting(mp_condition *condition)
{
    struct slot *found = NULL;
    uint64_t lowest = UINT64_MAX;
    struct cursor at;

    for (struct slot *slot = first_slot(condition, &at); slot; slot = next_slot(&at)) {
        if (!(atomic_load(&slot->word) & WAITING))
            continue;
        uint64_t ticket = atomic_load(&slot->ticket);
        if (ticket < lowest) {
            lowest = ticket;
            found = slot;
        }
    }
    return found;
}

/* Notify the one who has waited longest: false if nobody waits. */
static bool give_to_first(mp_condition *condition, bool holder)
{
    struct slot *slot = longest_waiting(condition);

    while (slot && !give(condition, slot, holder))
        slot = longest_waiting(condition);
    return slot;
}

static void give_to_all(mp_condition *condition)
{
    struct cursor at;

    for (struct slot *slot = first_slot(condition, &at); slot; slot = next_slot(&at))
        (void)give(condition, slot, true);
}

/* Make a dead one's notification one's own. */
static bool take_over(struct slot *slot)
{
    uint64_t word = atomic_load(&slot->word);

    return word & NOTIFIED && is_dead(owner_of(word)) &&
           change(slot, word, mp__self | NOTIFIED);
}

/* Give to another what was taken over.  If nobody waits it is forgotten, as it would
   have been if it had come now. */
static void pass_on(mp_condition *condition, struct slot *taken)
{
    (void)give_to_first(condition, false);
    atomic_store(&taken->word, 0);
}

static void sweep_slot(mp_condition *condition, struct slot *slot)
{
    uint64_t word = atomic_load(&slot->word);

    if (word & WAITING && is_dead(owner_of(word)))
        (void)change(slot, word, 0);
    else if (take_over(slot))
        pass_on(condition, slot);
}

/* By who holds the lock and does not wait itself: clear the slots of the dead, if there
   were deaths since the last time. */
static void sweep(mp_condition *condition)
{
    uint32_t deaths = atomic_load(&mp__arena->deaths);
    struct cursor at;

    if (deaths == atomic_load(&condition->deaths_seen))
        return;
    for (struct slot *slot = first_slot(condition, &at); slot; slot = next_slot(&at))
        sweep_slot(condition, slot);
    atomic_store(&condition->deaths_seen, deaths);
}

/* Waiting */

/* The waiter has taken `slot` over, and returns with that one; its own goes free. */
static void move_to(struct waiter *waiter, struct slot *slot)
{
    uint64_t word = atomic_load(&waiter->slot->word);

    while (word & WAITING) {
        if (atomic_compare_exchange_strong(&waiter->slot->word, &word, 0)) {
            waiter->slot = slot;
            return;
        }
    }
    pass_on(waiter->condition, slot);
}

static void inherit(struct waiter *waiter)
{
    struct cursor at;

    for (struct slot *slot = first_slot(waiter->condition, &at); slot;
         slot = next_slot(&at)) {
        if (take_over(slot)) {
            move_to(waiter, slot);
            return;
        }
    }
}

/* EOWNERDEAD with the lock held if its holder is dead and nobody was told yet, or 0. */
static int succeed_holder(struct waiter *waiter)
{
    mp_condition *condition = waiter->condition;
    uint64_t holder = owner_of(atomic_load(&condition->lock->word));

    if (!holder || !is_dead(holder))
        return 0;
    int err = pick_up(condition, waiter->depth, 0);
    if (!err)
        (void)put_down(condition);
    return err == EOWNERDEAD ? err : 0;
}

/* After each return from mp__park. */
static int look_after_dead(struct waiter *waiter)
{
    uint32_t seen = waiter->sleep.deaths;

    mp__sleep_watch(&waiter->sleep);
    if (waiter->sleep.deaths == seen)
        return 0;
    inherit(waiter);
    return succeed_holder(waiter);
}

static bool is_notified(void *arg)
{
    const struct slot *slot = arg;

    return atomic_load_explicit(&slot->word, memory_order_acquire) & NOTIFIED;
}

/* 0 when the waiter's slot is notified, ETIMEDOUT, or EOWNERDEAD with the lock held. */
static int sleep_on(struct waiter *waiter)
{
    static MP__THREAD_LOCAL struct mp__spin history;
    int err = 0;

    if (mp__spin_until(&history, waiter->sleep.deadline, is_notified, waiter->slot))
        return 0;
    while (!err) {
        struct slot *slot = waiter->slot;
        uint64_t word = atomic_load(&slot->word), asleep = word | ASLEEP;

        if (word & NOTIFIED)
            return 0;
        if (word != asleep && !change(slot, word, asleep))
            continue;
        err = mp__park(&waiter->sleep, mp__low_half(&slot->word), (uint32_t)asleep, 0);
        if (!err)
            err = look_after_dead(waiter);
    }
    return err;
}

static int wait_until(mp_condition *condition, int64_t deadline)
{
    struct waiter waiter = {.condition = condition, .sleep = mp__sleep_until(deadline)};

    /* Partner of mp__unpark_all: whoever dies from now on ends the first park. */
    mp__sleep_watch(&waiter.sleep);
    sweep(condition);
    waiter.slot = claim(condition);
    if (!waiter.slot)
        return ENOMEM;

    waiter.depth = put_down(condition);
    int err = sleep_on(&waiter);
    /* The notifier still holds the lock, perhaps on this very processor. */
    if (!err && mp_lock_locked(condition->lock))
        sched_yield();
    if (err != EOWNERDEAD)
        err = pick_up(condition, waiter.depth, MP__NEVER);
    /* A notification that came after the time was over counts. */
    uint64_t word = atomic_exchange(&waiter.slot->word, 0);
    if (err)
        return err;
    return word & NOTIFIED ? 0 : ETIMEDOUT;
}

/* The calls */

int mp_condition_new(mp_condition **out, const mp_condition_options *options)
{
    mp_condition_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (known.lock && known.rlock)
        return EINVAL;

    mp_condition *condition = mp_shared_alloc(sizeof(*condition));
    if (!condition)
        return ENOMEM;
    condition->lock = known.lock;
    if (!known.lock) {
        condition->rlock = known.rlock ? known.rlock : &condition->own;
        condition->lock = &condition->rlock->lock;
    }
    *out = condition;
    return 0;
}

void mp_condition_free(mp_condition *condition)
{
    if (!mp__alloc_is_block(condition))
        return;
    struct chunk *chunk = atomic_load(&condition->first.next);
    while (chunk) {
        struct chunk *next = atomic_load(&chunk->next);
        mp_shared_free(chunk);
        chunk = next;
    }
    mp_shared_free(condition);
}

int mp_condition_acquire(mp_condition *condition, int timeout_ms)
{
    if (!condition)
        return EINVAL;
    return condition->rlock ? mp_rlock_acquire(condition->rlock, timeout_ms)
                            : mp_lock_acquire(condition->lock, timeout_ms);
}

int mp_condition_release(mp_condition *condition)
{
    if (!condition)
        return EINVAL;
    if (!condition->rlock)
        return mp_lock_release(condition->lock);
    if (!mp__rlock_is_own(condition->rlock))
        return EPERM;
    if (condition->rlock->count > 1)
        return mp_rlock_release(condition->rlock);
    (void)put_down(condition);
    return 0;
}

int mp_condition_wait(mp_condition *condition, int timeout_ms)
{
    int64_t deadline;

    if (!condition)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;
    return is_own(condition) ? wait_until(condition, deadline) : EPERM;
}

int mp_condition_wait_for(mp_condition *condition, mp_predicate_fn *predicate,
                          void *arg, int timeout_ms)
{
    int64_t deadline;

    if (!condition || !predicate)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;
    if (!is_own(condition))
        return EPERM;

    while (!predicate(arg)) {
        if (err || mp__now() >= deadline)
            return ETIMEDOUT;
        err = wait_until(condition, deadline);
        if (err && err != ETIMEDOUT)
            return err;
    }
    return 0;
}

int mp_condition_notify(mp_condition *condition, size_t count)
{
    if (!condition)
        return EINVAL;
    if (!is_own(condition))
        return EPERM;

    sweep(condition);
    if (count >= atomic_load(&condition->slots_used))
        give_to_all(condition);
    else
        while (count > 0 && give_to_first(condition, true))
            count--;
    return 0;
}

int mp_condition_notify_all(mp_condition *condition)
{
    return mp_condition_notify(condition, SIZE_MAX);
}
