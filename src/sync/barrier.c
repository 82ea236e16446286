/* SPDX-License-Identifier: MIT */
/*
 * barrier.c - a meeting point: everybody waits there until all have arrived.
 *
 * In shared memory:   [ state | constants | hint | slots ... ]   a line each, then slots.
 *
 *   state   [ history 16 | generation 45 | FULL | BROKEN | WAITED ]
 *   slot    member | tag of a generation: this process has arrived for it
 *
 * A generation is one meeting.  Arrival is a compare-and-swap of the lowest slot that
 * does not bear the tag of the generation, so claim and owner are one step, the slots in
 * use have no gaps, and whoever gets the last one is the last to arrive.  Nothing clears
 * slots when a generation is over: their tags are old then, that is all.
 *
 *   state                 changed by                              to
 *   g                     a waiter, before it sleeps              g WAITED
 *   g                     the last, if there is an action         g FULL
 *   g [FULL]              the last                                g + 1, history bit 1
 *   g                     who waited in vain until its deadline   g BROKEN
 *   g [FULL]              who finds a dead owner among the slots  g BROKEN
 *   g FULL                the last, if the action failed          g BROKEN
 *   g [FULL]              mp_barrier_abort                        g BROKEN
 *   g [FULL] [BROKEN]     mp_barrier_reset                        g + 1, history bit 0
 *
 * Waiters sleep on the low half of the state.  Its history says how the last 16
 * generations ended, so that who is slow to wake up still learns how its own did.
 *
 * What a kill leaves:
 *   before the claim            nothing
 *   after the claim             a slot with a dead owner: whoever looks, waiter or last,
 *                               breaks the barrier.  After FULL only the last's counts.
 *   the last, before its step   the same, be it before, in or after the action
 *   after a change of state, before the wake   the burial wakes all
 *
 * A slot is looked at before the state is: if the state is still of generation g, the
 * slot's word is of g or older, and its exchange fails if anyone came in between.  Only
 * that same word, come back after 2^18 generations, would be mistaken.  Words that would
 * grow so old in generations that end by reset are replaced by reset.
 */
#include <mp/barrier.h>

#include <errno.h>
#include <limits.h>
#include <mp/shared.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/options.h"
#include "base/thread_local.h"
#include "shm/member.h"
#include "sync/park.h"

#define WAITED UINT64_C(1) /* somebody may sleep */
#define BROKEN UINT64_C(2)
#define FULL UINT64_C(4) /* all have arrived, and the action runs */
#define FLAGS (WAITED | BROKEN | FULL)

#define GENERATION_SHIFT 3
#define GENERATION_MASK ((UINT64_C(1) << 45) - 1)
#define HISTORY_SHIFT 48
#define HISTORY_LENGTH 16

#define PARTIES_MAX 65535
#define UNHINTED 8 /* slots of one cache line, which are looked through at once */

/* In shared memory. */
struct mp_barrier {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t state;
    _Alignas(MP__CACHE_LINE) unsigned parties;
    int timeout_ms;
    mp_action_fn *action;
    void *arg;
    _Atomic uint64_t doubtful; /* a reset may have ended generations below this */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t hint; /* generation, slot that it uses */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t slots[];
};

/* Words */

static uint64_t generation_of(uint64_t state)
{
    return state >> GENERATION_SHIFT & GENERATION_MASK;
}

/* The 18 bits of a generation that fit beside a member. */
static uint64_t tag_of(uint64_t generation)
{
    return (generation & 0xffff) | (generation >> 16 & 3) << 30;
}

_Static_assert(((UINT64_C(0xffff) | UINT64_C(3) << 30) & MP__MEMBER_MASK) == 0, "beside");

static bool is_arrival(uint64_t word, uint64_t generation)
{
    return word & MP__MEMBER_MASK && (word & ~MP__MEMBER_MASK) == tag_of(generation);
}

static uint64_t following(uint64_t state, bool completed)
{
    uint64_t history = state >> HISTORY_SHIFT << 1 | completed;
    uint64_t generation = (generation_of(state) + 1) & GENERATION_MASK;

    return history << HISTORY_SHIFT | generation << GENERATION_SHIFT;
}

static uint64_t state_load(const mp_barrier *barrier)
{
    return atomic_load_explicit(&barrier->state, memory_order_acquire);
}

static uint64_t slot_load(const mp_barrier *barrier, unsigned slot)
{
    return atomic_load_explicit(&barrier->slots[slot], memory_order_acquire);
}

/* Whether `generation` is neither over nor broken. */
static bool goes_on(uint64_t state, uint64_t generation)
{
    return generation_of(state) == generation && !(state & BROKEN);
}

/*
 * How a generation ended that does not go on.  Who was away for longer than the history
 * reaches back is told of a reset that may have been another's, and never misses one.
 */
static int outcome(const mp_barrier *barrier, uint64_t state, uint64_t generation)
{
    uint64_t age = (generation_of(state) - generation) & GENERATION_MASK;

    if (!age)
        return ECANCELED;
    if (age <= HISTORY_LENGTH)
        return state >> (HISTORY_SHIFT + age - 1) & 1 ? 0 : ECANCELED;
    return generation < atomic_load(&barrier->doubtful) ? ECANCELED : 0;
}

/* Change the state if it is still the one that was seen, and wake all for whom that
   makes a difference. */
static bool change(mp_barrier *barrier, uint64_t *seen, uint64_t next)
{
    if (*seen & WAITED)
        mp__join_before_wake();
    if (!atomic_compare_exchange_strong_explicit(
            &barrier->state, seen, next, memory_order_acq_rel, memory_order_acquire))
        return false;
    if (*seen & WAITED && !(next & WAITED))
        mp__unpark(mp__low_half(&barrier->state), INT_MAX);
    return true;
}

/* Break the barrier unless `generation` is over, or has one of the flags `unless`. */
static bool break_it(mp_barrier *barrier, uint64_t generation, uint64_t unless)
{
    uint64_t state = state_load(barrier);

    while (goes_on(state, generation) && !(state & unless))
        if (change(barrier, &state, (state & ~FLAGS) | BROKEN))
            return true;
    return false;
}

/* Making and freeing */

int mp_barrier_new(mp_barrier **out, unsigned parties, const mp_barrier_options *options)
{
    mp_barrier_options known;

    if (!out || !parties || parties > PARTIES_MAX)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (known.timeout_ms < MP_FOREVER || known.reserved)
        return EINVAL;

    mp_barrier *barrier =
        mp_shared_alloc(sizeof(*barrier) + parties * sizeof(barrier->slots[0]));
    if (!barrier)
        return ENOMEM;
    barrier->parties = parties;
    barrier->timeout_ms = known.timeout_ms ? known.timeout_ms : MP_FOREVER;
    barrier->action = known.action;
    barrier->arg = known.arg;
    *out = barrier;
    return 0;
}

void mp_barrier_free(mp_barrier *barrier)
{
    mp_shared_free(barrier);
}

/* Arriving */

/* A slot below which all are known to be in use: nobody leaves while it goes on. */
static unsigned first_to_try(const mp_barrier *barrier, uint64_t generation)
{
    if (barrier->parties <= UNHINTED)
        return 0;
    uint64_t hint = atomic_load_explicit(&barrier->hint, memory_order_relaxed);
    return hint >> 16 == generation ? (unsigned)(hint & 0xffff) : 0;
}

static void note_hint(mp_barrier *barrier, uint64_t generation, unsigned slot)
{
    if (slot >= UNHINTED)
        atomic_store_explicit(&barrier->hint, generation << 16 | slot,
                              memory_order_relaxed);
}

/* The slot that this process now has, or `parties` if none is free or the generation
   does not go on. */
static unsigned arrive(mp_barrier *barrier, uint64_t generation)
{
    const uint64_t mine = mp__self | tag_of(generation);
    unsigned slot = first_to_try(barrier, generation);

    for (; slot < barrier->parties; slot++) {
        uint64_t word = slot_load(barrier, slot);
        while (!is_arrival(word, generation)) {
            /* After the slot: what was seen there is not of a later generation. */
            if (!goes_on(state_load(barrier), generation))
                return barrier->parties;
            if (atomic_compare_exchange_strong_explicit(
                    &barrier->slots[slot], &word, mine, memory_order_acq_rel,
                    memory_order_acquire)) {
                note_hint(barrier, generation, slot);
                return slot;
            }
        }
    }
    return barrier->parties;
}

/*
 * Whether anyone has died who is needed: who has arrived, or once all have, the last.
 * Also the last's way to see what the others wrote before they arrived.
 */
static bool has_dead(const mp_barrier *barrier, uint64_t state)
{
    unsigned slot = state & FULL ? barrier->parties - 1 : 0;

    for (; slot < barrier->parties; slot++) {
        uint64_t word = slot_load(barrier, slot);
        uint64_t member = word & MP__MEMBER_MASK;
        if (!is_arrival(word, generation_of(state)))
            return false;
        if (member != mp__self && mp__member_is_dead(member))
            return true;
    }
    return false;
}

/* Waiting */

struct meeting {
    const mp_barrier *barrier;
    uint64_t generation;
};

static bool is_over(void *arg)
{
    const struct meeting *meeting = arg;

    return !goes_on(state_load(meeting->barrier), meeting->generation);
}

/* Worth it only while each party can have a processor. */
static bool spin(const mp_barrier *barrier, uint64_t generation, int64_t deadline)
{
    static MP__THREAD_LOCAL struct mp__spin history;
    struct meeting meeting = {barrier, generation};

    return barrier->parties <= mp__spin_cpus() &&
           mp__spin_until(&history, deadline, is_over, &meeting);
}

/* Sleep once while the state is as it was seen. */
static int sleep_on(mp_barrier *barrier, uint64_t seen, struct mp__sleep *sleep)
{
    uint64_t state = seen | WAITED;

    if (state != seen && !change(barrier, &seen, state))
        return 0;
    return mp__park(sleep, mp__low_half(&barrier->state), (uint32_t)state, 0);
}

/*
 * Wait while `generation` goes on.  0 once it does not, ETIMEDOUT at the deadline.  Who
 * has arrived breaks the barrier then, but if all have arrived it waits on: it is only
 * for the action now.
 */
static int wait_for_end(mp_barrier *barrier, uint64_t generation, int64_t deadline,
                        bool arrived)
{
    if (spin(barrier, generation, deadline))
        return 0;

    struct mp__sleep sleep = mp__sleep_until(deadline);
    uint64_t state = state_load(barrier);
    for (bool look = false; goes_on(state, generation); look = true) {
        /*
         * Most waits end in the first sleep: whether anyone died before it is asked
         * after it.  A death during it ends it.
         */
        mp__sleep_watch(&sleep);
        if (look && has_dead(barrier, state)) {
            break_it(barrier, generation, state & FULL ? 0 : FULL);
        } else if (sleep_on(barrier, state, &sleep)) {
            if (!arrived && !has_dead(barrier, state))
                return ETIMEDOUT;
            if (arrived && break_it(barrier, generation, FULL))
                return ETIMEDOUT;
            sleep.deadline = MP__NEVER;
        }
        state = state_load(barrier);
    }
    return 0;
}

/* The last has arrived: run the action, and let everybody go. */
static int complete(mp_barrier *barrier, uint64_t generation)
{
    uint64_t state = state_load(barrier);

    if (goes_on(state, generation) && has_dead(barrier, state))
        break_it(barrier, generation, 0);
    if (barrier->action) {
        state = state_load(barrier);
        while (goes_on(state, generation) && !(state & FULL))
            if (change(barrier, &state, state | FULL))
                state |= FULL;
        if (!goes_on(state, generation))
            return outcome(barrier, state, generation);
        int err = barrier->action(barrier->arg);
        if (err) {
            break_it(barrier, generation, 0);
            return err;
        }
    }
    state = state_load(barrier);
    while (goes_on(state, generation))
        if (change(barrier, &state, following(state, true)))
            return 0;
    return outcome(barrier, state, generation);
}

static int wait_until(mp_barrier *barrier, int64_t deadline, unsigned *slot)
{
    for (;;) {
        uint64_t state = state_load(barrier);
        uint64_t generation = generation_of(state);
        if (state & BROKEN)
            return ECANCELED;

        *slot = arrive(barrier, generation);
        if (*slot == barrier->parties - 1)
            return complete(barrier, generation);
        bool arrived = *slot < barrier->parties;
        int err = wait_for_end(barrier, generation, deadline, arrived);
        if (err)
            return err;
        if (arrived)
            return outcome(barrier, state_load(barrier), generation);
    }
}

int mp_barrier_wait(mp_barrier *barrier, int timeout_ms, unsigned *index)
{
    int64_t deadline;
    unsigned slot;

    if (!barrier)
        return EINVAL;
    if (timeout_ms == MP_FOREVER)
        timeout_ms = barrier->timeout_ms;
    int err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = mp__join();
    if (!err)
        err = wait_until(barrier, deadline, &slot);
    if (!err && index)
        *index = slot;
    return err;
}

/* Breaking and mending */

/* To be called before the state can show anybody that `generation` is over. */
static void note_doubtful(mp_barrier *barrier, uint64_t generation)
{
    uint64_t doubtful = atomic_load(&barrier->doubtful);

    while (doubtful <= generation)
        if (atomic_compare_exchange_weak(&barrier->doubtful, &doubtful, generation + 1))
            return;
}

/* Give words that completion would have replaced the tag of a generation that is over,
   and no member. */
static void replace_old_words(mp_barrier *barrier, uint64_t ended)
{
    for (unsigned slot = 0; slot < barrier->parties; slot++) {
        uint64_t word = slot_load(barrier, slot);
        if (!word)
            continue;
        /* As in arrive: what was seen in the slot is not of a later generation. */
        uint64_t now = generation_of(state_load(barrier));
        if (now != ((ended + 1) & GENERATION_MASK))
            return;
        if (!is_arrival(word, now))
            atomic_compare_exchange_strong(&barrier->slots[slot], &word, tag_of(ended));
    }
}

int mp_barrier_reset(mp_barrier *barrier)
{
    if (!barrier)
        return EINVAL;

    uint64_t state = state_load(barrier);
    for (;;) {
        uint64_t generation = generation_of(state);
        /* With nobody in it a barrier is as good as new. */
        if (!(state & BROKEN) && !is_arrival(slot_load(barrier, 0), generation))
            return 0;
        note_doubtful(barrier, generation);
        if (change(barrier, &state, following(state, false))) {
            replace_old_words(barrier, generation);
            return 0;
        }
    }
}

int mp_barrier_abort(mp_barrier *barrier)
{
    if (!barrier)
        return EINVAL;

    uint64_t state = state_load(barrier);
    while (!(state & BROKEN))
        if (change(barrier, &state, (state & ~FLAGS) | BROKEN))
            break;
    return 0;
}

/* Looking */

unsigned mp_barrier_parties(const mp_barrier *barrier)
{
    return barrier ? barrier->parties : 0;
}

unsigned mp_barrier_n_waiting(const mp_barrier *barrier)
{
    unsigned count = 0;

    if (!barrier)
        return 0;
    uint64_t state = state_load(barrier);
    if (state & BROKEN)
        return 0;
    for (unsigned slot = 0; slot < barrier->parties; slot++) {
        uint64_t word = slot_load(barrier, slot);
        if (!is_arrival(word, generation_of(state)))
            break;
        count += !mp__member_is_dead(word);
    }
    return count;
}

bool mp_barrier_broken(const mp_barrier *barrier)
{
    return barrier && state_load(barrier) & BROKEN;
}
