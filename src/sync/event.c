/* SPDX-License-Identifier: MIT */
/*
 * event.c - a flag to wait for.
 *
 *   bit 0  SET     bit 1  CONTENDED     bits 2..31  how often it was set
 *
 * Waiters put CONTENDED into a word that is not SET and sleep on exactly that word. Who
 * sets the event counts, puts SET there and takes CONTENDED away in one step, and then
 * wakes all if CONTENDED was there; nobody can have gone to sleep since, for the word
 * has changed.  A waiter remembers the count from when it came: if it is another one
 * the event was set meanwhile, even if it has been cleared again.
 *
 * What a death leaves.  Of a waiter, CONTENDED: the next set wakes for nothing.  Of one
 * who set the event and was killed before it woke anybody, sleepers: whoever buries it
 * wakes them all.  That takes a member: a process that is none joins before it sets
 * what others may sleep on.
 */
#include <mp/event.h>

#include <errno.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/thread_local.h"
#include "mp/shared.h"
#include "shm/member.h"
#include "sync/park.h"

#define SET       UINT32_C(1)
#define CONTENDED UINT32_C(2)
#define COUNT     UINT32_C(4)

/* In shared memory. */
struct mp_event {
    _Alignas(MP__CACHE_LINE) _Atomic uint32_t word;
};

int mp_event_new(mp_event **out, const mp_event_options *options)
{
    mp_event_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;

    mp_event *event = mp_shared_alloc(sizeof(*event));
    if (!event)
        return ENOMEM;
    *out = event;
    return 0;
}

void mp_event_free(mp_event *event)
{
    mp_shared_free(event);
}

/*
 * An event that is set already stays as it is.  But what the caller wrote before, say a
 * message, must be there before the flag is looked at: partner of mp_event_clear, after
 * which the other side looks for messages.
 */
static bool is_set_already(const mp_event *event, uint32_t *word)
{
    if (!(*word & SET))
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    *word = atomic_load_explicit(&event->word, memory_order_relaxed);
    return *word & SET;
}

int mp_event_set(mp_event *event)
{
    uint32_t set;

    if (!event)
        return EINVAL;
    uint32_t word = atomic_load_explicit(&event->word, memory_order_relaxed);
    do {
        if (is_set_already(event, &word))
            return 0;
        if (word & CONTENDED)
            mp__join_before_wake();
        set = ((word & ~CONTENDED) + COUNT) | SET;
    } while (!atomic_compare_exchange_weak_explicit(
        &event->word, &word, set, memory_order_release, memory_order_relaxed));
    if (word & CONTENDED)
        mp__unpark(&event->word, INT32_MAX);
    return 0;
}

int mp_event_clear(mp_event *event)
{
    if (!event)
        return EINVAL;

    /* Partner of is_set_already. */
    atomic_fetch_and_explicit(&event->word, ~SET, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    return 0;
}

bool mp_event_is_set(const mp_event *event)
{
    return event && (atomic_load_explicit(&event->word, memory_order_acquire) & SET);
}

/* Whether the event is set, or was since it was `first`. */
static bool was_set(uint32_t first, uint32_t word)
{
    return (word & SET) || (word ^ first) >= COUNT;
}

struct look {
    const mp_event *event;
    uint32_t first;
};

static bool is_over(void *arg)
{
    const struct look *look = arg;

    return was_set(look->first,
                   atomic_load_explicit(&look->event->word, memory_order_acquire));
}

static __attribute__((noinline)) int wait_slowly(mp_event *event, uint32_t first,
                                                 int timeout_ms)
{
    static MP__THREAD_LOCAL struct mp__spin history;
    struct look look = {event, first};
    int64_t deadline;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;
    if (!deadline)
        return ETIMEDOUT;
    if (mp__spin_until(&history, deadline, is_over, &look))
        return 0;

    struct mp__sleep sleep = mp__sleep_until(deadline);
    for (;;) {
        uint32_t word = atomic_load_explicit(&event->word, memory_order_acquire);
        if (was_set(first, word))
            return 0;
        if (err)
            return err;
        uint32_t waited = word | CONTENDED;
        if (word == waited || atomic_compare_exchange_weak_explicit(
                                  &event->word, &word, waited, memory_order_relaxed,
                                  memory_order_relaxed))
            err = mp__park(&sleep, &event->word, waited, 0);
    }
}

int mp_event_wait(mp_event *event, int timeout_ms)
{
    if (!event || timeout_ms < MP_FOREVER)
        return EINVAL;
    uint32_t word = atomic_load_explicit(&event->word, memory_order_acquire);
    return word & SET ? 0 : wait_slowly(event, word, timeout_ms);
}
