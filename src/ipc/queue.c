/* SPDX-License-Identifier: MIT */
/*
 * queue.c - messages from any number of processes to any number of processes.
 *
 * A queue is a lane of messages (lane.h), or one for each priority, and a lock for each of
 * its ends: one who puts and one who gets work at the same time and share nothing but the
 * words that count what passed.  What is done under a lock takes effect in one step, the
 * commit of a lane's end, so that the death of a holder leaves nothing to be put right.
 *
 * Whoever finds nothing to take, or no room, lets go of the lock and waits at a bell: one
 * for messages, one for room.  A put commits, releases, and rings; a get likewise.
 *
 *   killed before the commit     nothing happened; at most there is a spare segment more
 *   between commit and ring      those who sleep are woken by whoever buries
 *   get, between the commit and
 *   `settled`                    the message is gone: mp_queue_lost is what passed the
 *                                lanes' ends less what was settled
 *
 * `closed` is set under the lock of the putting end, so no message follows it.
 *
 * Here a queue is made, looked at and closed; queue_put.c and queue_get.c are its ends, and
 * queue_wait.c is how to wait at them.
 */
#include "ipc/queue.h"

#include <errno.h>
#include <limits.h>

#include "base/options.h"
#include "ipc/ledger.h"
#include "ipc/queue_wait.h"
#include "ipc/readiness.h"
#include "mp/shared.h"

#define PRIORITIES_MAX 32

static int check(const mp_queue_options *options)
{
    if (options->priorities > PRIORITIES_MAX || options->reserved)
        return EINVAL;
    if (options->max_size && options->max_size < options->message_size)
        return EINVAL;
    return options->message_size > MP__LANE_SIZE_MAX ? ENOMEM : 0;
}

static int open_parts(mp_queue *queue, const mp_queue_options *options)
{
    int err = 0;

    for (unsigned i = 0; i < queue->priorities && !err; i++)
        err = mp__lane_open(&queue->lanes[i], queue->message_size);
    if (!err && options->joinable)
        err = mp__ledger_open(queue);
    if (!err && options->pollable)
        err = mp__readiness_open(queue);
    return err;
}

int mp_queue_new(mp_queue **out, const mp_queue_options *options)
{
    mp_queue_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (!err)
        err = check(&known);
    if (err)
        return err;

    unsigned priorities = known.priorities ? known.priorities : 1;
    mp_queue *queue = mp_shared_alloc(sizeof(*queue) + priorities * sizeof(*queue->lanes));
    if (!queue)
        return ENOMEM;
    queue->max_messages = known.max_messages ? known.max_messages : SIZE_MAX;
    queue->max_size = known.max_size ? known.max_size : SIZE_MAX;
    queue->message_size = known.message_size;
    queue->priorities = priorities;
    err = open_parts(queue, &known);
    if (err) {
        mp_queue_free(queue);
        return err;
    }
    *out = queue;
    return 0;
}

void mp_queue_free(mp_queue *queue)
{
    if (!queue)
        return;
    mp__readiness_close(queue);
    mp_shared_free(queue->ledger);
    for (unsigned i = 0; i < queue->priorities; i++)
        mp__lane_close(&queue->lanes[i]);
    mp_shared_free(queue);
}

/* Looking */

uint64_t mp__queue_come(const mp_queue *queue)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < queue->priorities; i++)
        sum += mp__lane_passed(&queue->lanes[i].in);
    return sum;
}

uint64_t mp__queue_taken(const mp_queue *queue)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < queue->priorities; i++)
        sum += mp__lane_passed(&queue->lanes[i].out);
    return sum;
}

/* Exact: while it is counted what has come none is taken, so there are never too many. */
uint64_t mp__queue_count(const mp_queue *queue)
{
    uint64_t come, taken, again = mp__queue_taken(queue);

    do {
        taken = again;
        come = mp__queue_come(queue);
        again = mp__queue_taken(queue);
    } while (again != taken);
    return come - taken;
}

uint64_t mp__queue_room(const mp_queue *queue)
{
    uint64_t there = mp__queue_count(queue);

    return there < queue->max_messages ? queue->max_messages - there : 0;
}

size_t mp_queue_qsize(const mp_queue *queue)
{
    return queue ? (size_t)mp__queue_count(queue) : 0;
}

bool mp_queue_empty(const mp_queue *queue)
{
    return queue && !mp__queue_count(queue);
}

bool mp_queue_full(const mp_queue *queue)
{
    return queue && !mp__queue_room(queue);
}

bool mp_queue_closed(const mp_queue *queue)
{
    return queue && mp__queue_is_closed(queue);
}

uint64_t mp_queue_lost(const mp_queue *queue)
{
    if (!queue)
        return 0;
    mp_queue *own = (mp_queue *)queue; /* the lock is no part of what is asked for */
    if (mp__queue_lock(&own->get_lock, MP__NEVER))
        return 0;

    uint64_t lost = 0;
    if (queue->ledger) {
        lost = mp__ledger_lost(own);
    } else {
        for (unsigned i = 0; i < queue->priorities; i++)
            lost += mp__lane_passed(&queue->lanes[i].out) - queue->lanes[i].out.settled;
    }
    mp__lock_release(&own->get_lock);
    return lost;
}

int mp_queue_close(mp_queue *queue)
{
    if (!queue)
        return EINVAL;
    int err = mp__queue_lock(&queue->put_lock, MP__NEVER);
    if (err)
        return err;

    /* Whoever can't tell those who poll tells at least those who wait. */
    if (queue->readiness)
        (void)mp__readiness_tell(queue);
    atomic_store_explicit(&queue->closed, 1, memory_order_release);
    mp__queue_release(&queue->put_lock, &queue->messages, INT_MAX);
    mp__bell_ring(&queue->room, INT_MAX);
    return 0;
}
