/* SPDX-License-Identifier: MIT */
/* joinable_queue.c - queues that know what is still to be done: see ledger.h. */
#include <mp/joinable_queue.h>

#include <errno.h>
#include <limits.h>

#include "base/clock.h"
#include "base/options.h"
#include "ipc/ledger.h"
#include "mp/shared.h"
#include "shm/arena.h"
#include "shm/member.h"

/* `taken` changes under the lock of the getting end only, `finished` without. */
struct entry {
    _Atomic uint64_t member, taken, finished;
};

/* In shared memory; pages of slots that nobody has are never touched. */
struct mp__ledger {
    struct {
        bool written;
        uint32_t slot;
        uint64_t passed; /* messages that had been taken, by all */
        uint64_t member, taken, finished, buried;
        bool anew; /* the entry becomes another member's */
    } undo;
    struct mp__bell done;
    _Atomic uint64_t told;   /* lost messages that somebody was told of */
    _Atomic uint64_t buried; /* lost with members whose slots are others' now */
    struct entry entries[MP__MEMBERS_MAX + 1];
};

/* Too many rather than too few, while others take and finish. */
static uint64_t unfinished(const struct entry *entry)
{
    uint64_t finished = atomic_load(&entry->finished);

    return atomic_load(&entry->taken) - finished;
}

static uint32_t slot_of(uint64_t member)
{
    return (uint32_t)(member >> 16 & 0x3fff);
}

int mp__ledger_open(mp_queue *queue)
{
    queue->ledger = mp_shared_alloc(sizeof(*queue->ledger));
    return queue->ledger ? 0 : ENOMEM;
}

static void undo(mp_queue *queue)
{
    struct mp__ledger *ledger = queue->ledger;

    if (!ledger->undo.written || ledger->undo.passed != mp__queue_taken(queue))
        return;
    struct entry *entry = &ledger->entries[ledger->undo.slot];
    if (ledger->undo.anew)
        atomic_store(&entry->finished, ledger->undo.finished);
    atomic_store(&entry->taken, ledger->undo.taken);
    atomic_store(&entry->member, ledger->undo.member);
    atomic_store(&ledger->buried, ledger->undo.buried);
    mp__kill_point_order();
    ledger->undo.written = false;
}

static void write_undo(mp_queue *queue, uint32_t slot)
{
    struct mp__ledger *ledger = queue->ledger;
    const struct entry *entry = &ledger->entries[slot];

    ledger->undo.written = false;
    mp__kill_point_order();
    ledger->undo.slot = slot;
    ledger->undo.passed = mp__queue_taken(queue);
    ledger->undo.member = atomic_load(&entry->member);
    ledger->undo.taken = atomic_load(&entry->taken);
    ledger->undo.finished = atomic_load(&entry->finished);
    ledger->undo.buried = atomic_load(&ledger->buried);
    ledger->undo.anew = ledger->undo.member != mp__self;
    mp__kill_point_order();
    ledger->undo.written = true;
    mp__kill_point_order();
}

void mp__ledger_take(mp_queue *queue, size_t count)
{
    struct mp__ledger *ledger = queue->ledger;
    uint32_t slot = slot_of(mp__self);
    struct entry *entry = &ledger->entries[slot];

    undo(queue);
    write_undo(queue, slot);
    if (ledger->undo.anew) {
        atomic_fetch_add(&ledger->buried, unfinished(entry));
        atomic_store(&entry->taken, 0);
        atomic_store(&entry->finished, 0);
        atomic_store(&entry->member, mp__self);
    }
    atomic_fetch_add(&entry->taken, count);
}

static bool is_dead(const struct entry *entry)
{
    uint64_t member = atomic_load(&entry->member);

    return member && member != mp__self && mp__member_is_dead(member);
}

uint64_t mp__ledger_lost(mp_queue *queue)
{
    struct mp__ledger *ledger = queue->ledger;
    uint32_t used = atomic_load(&mp__arena->members_used);

    undo(queue);
    uint64_t lost = atomic_load(&ledger->buried);
    for (uint32_t i = 0; i <= used && i <= MP__MEMBERS_MAX; i++)
        if (unfinished(&ledger->entries[i]) && is_dead(&ledger->entries[i]))
            lost += unfinished(&ledger->entries[i]);
    return lost;
}

int mp_joinable_queue_new(mp_joinable_queue **out, const mp_queue_options *options)
{
    mp_queue_options known;

    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    known.struct_size = sizeof(known);
    known.joinable = 1;
    return mp_queue_new(out, &known);
}

int mp_joinable_queue_task_done(mp_joinable_queue *queue)
{
    if (!queue || !queue->ledger)
        return EINVAL;

    struct entry *entry = &queue->ledger->entries[slot_of(mp__self)];
    if (!mp__self || atomic_load(&entry->member) != mp__self)
        return EOVERFLOW;
    uint64_t finished = atomic_load(&entry->finished), taken;
    do {
        taken = atomic_load(&entry->taken);
        if (taken == finished)
            return EOVERFLOW;
    } while (!atomic_compare_exchange_weak(&entry->finished, &finished, finished + 1));
    if (finished + 1 == taken) {
        mp__fence_after_exchange();
        mp__bell_ring(&queue->ledger->done, INT_MAX);
    }
    return 0;
}

/*
 * The queue first: a message is in an entry before it has left the queue.  Entries only
 * shrink while the queue is empty; but who has one message may put another, which is in
 * an entry that was looked at, before it is done with the first.
 */
static bool all_done(mp_queue *queue)
{
    uint64_t come = mp__queue_come(queue);

    if (mp__queue_count(queue))
        return false;
    uint32_t used = atomic_load(&mp__arena->members_used);
    for (uint32_t i = 0; i <= used && i <= MP__MEMBERS_MAX; i++) {
        const struct entry *entry = &queue->ledger->entries[i];
        if (unfinished(entry) && !is_dead(entry))
            return false;
    }
    return mp__queue_come(queue) == come;
}

/* EOWNERDEAD, to one of those who ask, if any were lost since somebody was told. */
static int tell_lost(mp_queue *queue, int64_t deadline)
{
    int err = mp__queue_lock(&queue->get_lock, deadline);
    if (err)
        return err;

    uint64_t lost = mp__ledger_lost(queue);
    bool news = atomic_exchange(&queue->ledger->told, lost) != lost;
    mp__lock_release(&queue->get_lock);
    return news ? EOWNERDEAD : 0;
}

int mp_joinable_queue_join(mp_joinable_queue *queue, int timeout_ms)
{
    int64_t deadline;

    if (!queue || !queue->ledger)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = mp__join();

    struct mp__sleep sleep = mp__sleep_until(deadline);
    while (!err) {
        uint32_t calls = mp__bell_come(&queue->ledger->done);
        mp__sleep_watch(&sleep);
        if (all_done(queue))
            return tell_lost(queue, deadline);
        err = mp__bell_wait(&queue->ledger->done, calls, &sleep);
    }
    return err;
}
