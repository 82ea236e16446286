/* SPDX-License-Identifier: MIT */
/*
 * imap.h - an imap as the client sees it: slots that go round.
 *
 *   idle -> prepared -> pending -> ready -> spent -> idle
 *
 *   idle       nothing in it
 *   prepared   its items are made
 *   pending    its task is published; in the order of the items
 *   ready      its task is settled; the first one is being taken item by item
 *   spent      all taken; the task is to be released
 *
 * A slot is one item and a task of its own, or a chunk of items and a job (job.h).  Or it
 * is the error of a source, which has no task and is as good as settled.  Spent slots are
 * released, filled and published again many at a time: the pool's mutex and the source
 * are not for the path of each item.
 */
#ifndef MP_POOL_IMAP_H
#define MP_POOL_IMAP_H

#include <mp/imap.h>

#include "pool/window.h"

struct mp__slot {
    struct mp__slot *next;
    struct mp__window window;
    uint32_t taken; /* items, by the caller */
    int error;      /* of the source, in place of an item; there is no task then */
    mp_failure_kind kind; /* of that error */
    _Alignas(16) char data[MP__INLINE_BYTES]; /* the item, until it is in its task */
};

struct mp__slot_row {
    struct mp__slot *first;
    struct mp__slot *last;
    size_t length;
};

struct mp_imap {
    mp_pool *pool;
    unsigned epoch; /* mp__fork_epoch of the creator */
    bool unordered;
    bool copies;    /* items, into memory of the slots */
    bool ended;     /* the input */
    bool feeds;     /* is counted in the pool's `feeds` */
    struct mp__call call;
    const char *items;
    size_t count; /* items at most */
    size_t item_size;
    size_t result_size;
    mp_source_fn *source;
    void *source_state;
    int source_error; /* to be put in the next slot */
    uint64_t made;    /* items so far */
    uint32_t chunk;
    size_t refill_at; /* so many slots that are idle or spent */
    struct mp__slot_row idle, prepared, pending, ready, spent;
    struct mp__slot slots[];
};

/* Where things are in the memory of a slot. */
struct mp__slot_layout {
    size_t results;
    size_t errors;
    size_t attempts;
    size_t details;
    size_t size;
};

struct mp__slot_layout mp__slot_layout(const struct mp_imap *map);

static inline void mp__slot_append(struct mp__slot_row *row, struct mp__slot *slot)
{
    slot->next = NULL;
    if (row->first)
        row->last->next = slot;
    else
        row->first = slot;
    row->last = slot;
    row->length++;
}

/* Take out the slot that follows `before`, or the first one if that is NULL. */
static inline struct mp__slot *mp__slot_remove(struct mp__slot_row *row,
                                               struct mp__slot *before)
{
    struct mp__slot *slot = before ? before->next : row->first;

    if (!slot)
        return NULL;
    if (before)
        before->next = slot->next;
    else
        row->first = slot->next;
    if (row->last == slot)
        row->last = before;
    row->length--;
    return slot;
}

/* feed.c */
int mp__imap_feed(struct mp_imap *map);      /* fill all slots that have nothing in them */
void mp__imap_feed_end(struct mp_imap *map); /* nothing more will come */
void mp__slot_release(struct mp_imap *map, struct mp__slot *slot); /* under the mutex */

#endif
