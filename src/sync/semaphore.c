/* SPDX-License-Identifier: MIT */
/*
 * semaphore.c - a number of tokens, anonymous or owned.
 *
 * Anonymous tokens are a number in the low bits of `word`.  CONTENDED beside it says
 * that somebody may sleep, and that a release must wake one.  Waiters put it there when
 * the value is 0, and sleep only on exactly that word.  Each release that finds it
 * wakes one; if there was nobody to wake it takes CONTENDED away.
 *
 *   While anybody sleeps, the word is 0 with CONTENDED, or somebody will still call
 *   mp__unpark, or somebody was woken and has not looked at the word yet.
 *
 * That holds as the one who was woken either takes a token and leaves CONTENDED, and
 * wakes the next one if that left a token; or finds none and puts CONTENDED there.  So
 * CONTENDED may go whenever the value is not 0: whoever sleeps at that moment is taken
 * care of by another.  It matters, since the word may be what it was when the releaser
 * wrote it although others have slept and have been woken since.
 *
 * Owned tokens are words of their own, 0 or the member that has the token, so that
 * claim and owner are one step.  Who finds none waits at a bell (bell.h), which every
 * release rings after it has given its token back.
 *
 * What a death leaves.  An anonymous token that was taken is gone, by contract.  An
 * owned one names its dead owner, until the next one to come exchanges the name for its
 * own: that exchange is the report.  Whoever is killed after it gave a token back and
 * before it woke anybody, or after it was woken, leaves a token on which others sleep:
 * whoever buries it wakes them all.  That takes a member: a process that is none joins
 * before it releases what others may sleep on.
 */
#include <mp/semaphore.h>

#include <errno.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/thread_local.h"
#include "mp/shared.h"
#include "shm/member.h"
#include "sync/bell.h"

#define VALUE     UINT32_C(0x7fffffff)
#define CONTENDED UINT32_C(0x80000000)

#define OWNED_MAX 65535
#define INDEX     UINT64_C(0xffff) /* of a token, beside a member in `last_token` */

_Static_assert((INDEX & MP__MEMBER_MASK) == 0 && OWNED_MAX <= INDEX, "beside a member");

/* In shared memory.  The first owners lie on the same cache line as what is above. */
struct mp_semaphore {
    _Alignas(MP__CACHE_LINE) _Atomic uint32_t word;
    uint32_t max;
    uint32_t tokens; /* number of `owners`; 0: tokens are anonymous */
    struct mp__bell calls;
    _Atomic uint64_t owners[];
};

/* The owned token that this process took or gave back last, beside the process: where
   it looks first.  A forked child starts elsewhere. */
static _Atomic uint64_t last_token;

/* How often this process has come to own a token. */
static _Atomic unsigned owned_taken;

static int check(unsigned value, const mp_semaphore_options *options)
{
    uint32_t max = options->max_value ? options->max_value : VALUE;

    if (max > VALUE || value > max)
        return EINVAL;
    if (!options->owned)
        return 0;
    bool fits = value > 0 && value <= OWNED_MAX;
    return fits && (!options->max_value || options->max_value == value) ? 0 : EINVAL;
}

int mp_semaphore_new(mp_semaphore **out, unsigned value,
                     const mp_semaphore_options *options)
{
    mp_semaphore_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (!err)
        err = check(value, &known);
    if (err)
        return err;

    uint32_t tokens = known.owned ? value : 0;
    mp_semaphore *semaphore =
        mp_shared_alloc(offsetof(mp_semaphore, owners) + tokens * sizeof(uint64_t));
    if (!semaphore)
        return ENOMEM;
    semaphore->max = known.max_value ? known.max_value : VALUE;
    semaphore->tokens = tokens;
    atomic_store_explicit(&semaphore->word, known.owned ? 0 : value,
                          memory_order_release);
    *out = semaphore;
    return 0;
}

void mp_semaphore_free(mp_semaphore *semaphore)
{
    mp_shared_free(semaphore);
}

/* As those who release may run on another processor. */
static MP__THREAD_LOCAL struct mp__spin history;

/* Anonymous tokens */

/* Take a token if there is one: the word that was left, or -1. */
static inline int64_t take_and_leave(mp_semaphore *semaphore, uint32_t contended)
{
    uint32_t word = atomic_load_explicit(&semaphore->word, memory_order_relaxed);

    while (word & VALUE) {
        uint32_t left = (word - 1) | contended;
        if (atomic_compare_exchange_weak_explicit(&semaphore->word, &word, left,
                                                  memory_order_acquire,
                                                  memory_order_relaxed))
            return left;
    }
    return -1;
}

static bool take(void *semaphore)
{
    return take_and_leave(semaphore, 0) >= 0;
}

/* Wake one who sleeps, since the caller has written `word`, which has a token. */
static void wake_one(mp_semaphore *semaphore, uint32_t word)
{
    if (!mp__unpark(&semaphore->word, 1))
        atomic_compare_exchange_strong_explicit(&semaphore->word, &word, word & VALUE,
                                                memory_order_relaxed,
                                                memory_order_relaxed);
}

/* For who may have slept, while others sleep still. */
static bool take_after_sleep(mp_semaphore *semaphore)
{
    int64_t left = take_and_leave(semaphore, CONTENDED);

    if (left >= 0 && (left & VALUE))
        wake_one(semaphore, (uint32_t)left);
    return left >= 0;
}

/* Sleep while there is no token; 0 whenever it should be tried again. */
static int sleep_on(mp_semaphore *semaphore, struct mp__sleep *sleep)
{
    uint32_t word = atomic_load_explicit(&semaphore->word, memory_order_relaxed);

    if (word & VALUE)
        return 0;
    if (!word && !atomic_compare_exchange_strong_explicit(
                     &semaphore->word, &word, CONTENDED, memory_order_relaxed,
                     memory_order_relaxed))
        return 0;
    return mp__park(sleep, &semaphore->word, CONTENDED, 0);
}

static int anonymous_acquire(mp_semaphore *semaphore, int64_t deadline)
{
    if (take(semaphore))
        return 0;
    if (!deadline)
        return ETIMEDOUT;
    if (mp__spin_until(&history, deadline, take, semaphore))
        return 0;
    struct mp__sleep sleep = mp__sleep_until(deadline);
    for (;;) {
        /* Tried once more after the deadline, for one who was woken owes that. */
        int err = sleep_on(semaphore, &sleep);
        if (take_after_sleep(semaphore))
            return 0;
        if (err)
            return err;
    }
}

static int anonymous_release(mp_semaphore *semaphore)
{
    uint32_t word = atomic_load_explicit(&semaphore->word, memory_order_relaxed);

    do {
        if ((word & VALUE) >= semaphore->max)
            return EOVERFLOW;
        if (word & CONTENDED)
            mp__join_before_wake();
    } while (!atomic_compare_exchange_weak_explicit(
        &semaphore->word, &word, word + 1, memory_order_release, memory_order_relaxed));
    if (word & CONTENDED)
        wake_one(semaphore, word + 1);
    return 0;
}

/* Owned tokens */

static uint32_t first_index(const mp_semaphore *semaphore)
{
    uint64_t last = atomic_load_explicit(&last_token, memory_order_relaxed);
    uint32_t index = (uint32_t)(last & INDEX);

    if ((last & MP__MEMBER_MASK) != mp__self)
        index = (uint32_t)(mp__self >> 16 & INDEX);
    return index < semaphore->tokens ? index : index % semaphore->tokens;
}

/* Partner of mp__bell_come: seq_cst, as what comes before a ring must be. */
static bool change_owner(mp_semaphore *semaphore, uint32_t index, uint64_t from,
                         uint64_t to)
{
    if (!atomic_compare_exchange_strong_explicit(&semaphore->owners[index], &from, to,
                                                 memory_order_seq_cst,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&last_token, mp__self | index, memory_order_relaxed);
    if (to)
        atomic_fetch_add(&owned_taken, 1);
    return true;
}

static bool take_free(void *arg)
{
    mp_semaphore *semaphore = arg;
    uint32_t index = first_index(semaphore);

    for (uint32_t tried = 0; tried < semaphore->tokens; tried++) {
        if (!atomic_load(&semaphore->owners[index]) &&
            change_owner(semaphore, index, 0, mp__self))
            return true;
        index = index + 1 < semaphore->tokens ? index + 1 : 0;
    }
    return false;
}

/* 0, or EOWNERDEAD with the token of a dead owner, or EBUSY if all owners live. */
static int take_free_or_dead(mp_semaphore *semaphore)
{
    uint64_t alive = mp__self;

    if (take_free(semaphore))
        return 0;
    for (uint32_t index = 0; index < semaphore->tokens; index++) {
        uint64_t owner = atomic_load(&semaphore->owners[index]);
        if (owner == alive)
            continue;
        if (owner && !mp__member_is_dead(owner))
            alive = owner; /* who has many tokens is asked for once */
        else if (change_owner(semaphore, index, owner, mp__self))
            return owner ? EOWNERDEAD : 0;
    }
    return EBUSY;
}

static int owned_acquire(mp_semaphore *semaphore, int64_t deadline)
{
    int err = mp__join();
    if (err)
        return err;

    int taken = take_free_or_dead(semaphore);
    if (taken != EBUSY)
        return taken;
    if (!deadline)
        return ETIMEDOUT;
    if (mp__spin_until(&history, deadline, take_free, semaphore))
        return 0;
    struct mp__sleep sleep = mp__sleep_until(deadline);
    for (;;) {
        uint32_t calls = mp__bell_come(&semaphore->calls);
        mp__sleep_watch(&sleep);
        taken = take_free_or_dead(semaphore);
        if (taken != EBUSY)
            return taken;
        if (err)
            return err;
        err = mp__bell_wait(&semaphore->calls, calls, &sleep);
    }
}

/*
 * Other threads may take a token that was looked at already, and give back one that was
 * not: without it having been so once, "there is none" may be wrong.
 */
static int owned_release(mp_semaphore *semaphore)
{
    unsigned taken;

    if (!mp__self)
        return EPERM;
    do {
        taken = atomic_load(&owned_taken);
        uint32_t index = first_index(semaphore);
        for (uint32_t tried = 0; tried < semaphore->tokens; tried++) {
            if (atomic_load(&semaphore->owners[index]) == mp__self &&
                change_owner(semaphore, index, mp__self, 0)) {
                mp__bell_ring(&semaphore->calls, 1);
                return 0;
            }
            /* Backwards: what was taken last is given back first. */
            index = index ? index - 1 : semaphore->tokens - 1;
        }
    } while (atomic_load(&owned_taken) != taken);
    return EPERM;
}

/* How many are free or a dead process's; no further than `enough`. */
static unsigned owned_value(const mp_semaphore *semaphore, unsigned enough)
{
    unsigned value = 0;

    for (uint32_t index = 0; index < semaphore->tokens && value < enough; index++) {
        uint64_t owner =
            atomic_load_explicit(&semaphore->owners[index], memory_order_relaxed);
        if (!owner || mp__member_is_dead(owner))
            value++;
    }
    return value;
}

/* Both kinds */

static __attribute__((noinline)) int acquire_slowly(mp_semaphore *semaphore,
                                                    int timeout_ms)
{
    int64_t deadline;

    if (!semaphore)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;
    return semaphore->tokens ? owned_acquire(semaphore, deadline)
                             : anonymous_acquire(semaphore, deadline);
}

int mp_semaphore_acquire(mp_semaphore *semaphore, int timeout_ms)
{
    if (semaphore && timeout_ms >= MP_FOREVER) {
        if (!semaphore->tokens ? take(semaphore) : mp__self && take_free(semaphore))
            return 0;
    }
    return acquire_slowly(semaphore, timeout_ms);
}

int mp_semaphore_release(mp_semaphore *semaphore)
{
    if (!semaphore)
        return EINVAL;
    return semaphore->tokens ? owned_release(semaphore) : anonymous_release(semaphore);
}

unsigned mp_semaphore_value(const mp_semaphore *semaphore)
{
    if (!semaphore)
        return 0;
    if (semaphore->tokens)
        return owned_value(semaphore, semaphore->tokens);
    return atomic_load_explicit(&semaphore->word, memory_order_relaxed) & VALUE;
}

bool mp_semaphore_locked(const mp_semaphore *semaphore)
{
    if (!semaphore)
        return false;
    return semaphore->tokens ? !owned_value(semaphore, 1)
                             : !mp_semaphore_value(semaphore);
}
