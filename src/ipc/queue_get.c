/* SPDX-License-Identifier: MIT */
/* queue_get.c - the end of a queue where messages are got: see queue.c. */
#include <errno.h>
#include <stdlib.h>

#include "base/sys.h"
#include "ipc/ledger.h"
#include "ipc/queue_wait.h"
#include "ipc/readiness.h"

#define USUAL_SIZE 256 /* of a message of which nothing is known */

static int leave(mp_queue *queue, int err)
{
    return mp__queue_leave(queue, &queue->messages, mp__queue_count, err);
}

/* The most urgent lane that has a message, or NULL; `known` of them are there. */
static struct mp__lane *next_lane(mp_queue *queue)
{
    for (unsigned i = queue->priorities; i-- > 0;) {
        struct mp__lane *lane = &queue->lanes[i];

        if (!lane->out.known)
            lane->out.known = mp__lane_count(lane);
        if (lane->out.known)
            return lane;
    }
    return NULL;
}

/* The lock of the getting end, and a lane with a message. */
MP__INLINED int begin_get(mp_queue *queue, int64_t deadline, struct mp__lane **lane)
{
    struct mp__queue_wait wait = MP__QUEUE_WAIT(deadline);

    for (;;) {
        int err = mp__queue_lock(&queue->get_lock, deadline);
        if (err)
            return leave(queue, err);
        bool closed = mp__queue_is_closed(queue); /* none comes after that */
        *lane = next_lane(queue);
        if (*lane)
            return 0;
        mp__lock_release(&queue->get_lock);
        err = closed ? EPIPE
                     : mp__queue_wait(queue, &queue->messages, mp__queue_count, &wait);
        if (err == ETIMEDOUT && queue->readiness)
            mp__readiness_withdraw(queue);
        if (err)
            return leave(queue, err);
    }
}

/* Give back the memory of a backlog that is gone, unless others are at work here. */
static void trim(mp_queue *queue, struct mp__lane *lane)
{
    if (mp__lane_count(lane) || !mp__lock_try(&queue->put_lock))
        return;
    if (!mp__lane_count(lane))
        mp__lane_trim(lane);
    mp__lock_release(&queue->put_lock);
}

/* `taken` messages were copied, up to where `out` is: they are the caller's now. */
MP__INLINED void end_get(mp_queue *queue, struct mp__lane *lane,
                         const struct mp__lane_cursor *out, size_t taken)
{
    if (queue->ledger)
        mp__ledger_take(queue, taken);
    lane->out.known -= taken;
    mp__kill_point_order();
    mp__lane_commit(&lane->out, out, taken);
    mp__kill_point_order();
    lane->out.settled += taken;
    if (mp__lane_is_fat(lane))
        trim(queue, lane);
    if (queue->max_messages == SIZE_MAX)
        mp__lock_release(&queue->get_lock);
    else
        mp__queue_release(&queue->get_lock, &queue->room, taken);
}

static int get_one(mp_queue *queue, void *buffer, size_t capacity, size_t *size,
                   int64_t deadline)
{
    struct mp__lane *lane;
    int err = begin_get(queue, deadline, &lane);
    if (err)
        return err;

    size_t needed;
    struct mp__lane_cursor out = mp__lane_cursor(&lane->out);
    const void *message = mp__lane_look(lane, &out, &needed);
    if (needed > capacity) {
        mp__lock_release(&queue->get_lock);
        err = leave(queue, EMSGSIZE);
    } else {
        if (needed)
            memcpy(buffer, message, needed);
        mp__lane_skip(lane, &out, needed);
        end_get(queue, lane, &out, 1);
    }
    if (size)
        *size = needed;
    return err;
}

int mp_queue_get(mp_queue *queue, void *buffer, size_t capacity, size_t *size,
                 int timeout_ms)
{
    int64_t deadline;

    if (!queue || (!buffer && capacity))
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    return err ? err : get_one(queue, buffer, capacity, size, deadline);
}

int mp_queue_get_alloc(mp_queue *queue, void **message, size_t *size, int timeout_ms)
{
    int64_t deadline;

    if (!queue || !message || !size)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;

    /* Another message may be next, and larger, when this one's size is known. */
    size_t capacity, needed = queue->message_size ? queue->message_size : USUAL_SIZE;
    void *buffer = NULL;
    do {
        capacity = needed;
        void *grown = mp__sys_realloc(buffer, capacity);
        if (!grown) {
            err = ENOMEM;
            break;
        }
        buffer = grown;
        err = get_one(queue, buffer, capacity, &needed, deadline);
    } while (err == EMSGSIZE);
    if (err) {
        free(buffer);
        return err;
    }
    *message = buffer;
    *size = needed;
    return 0;
}

int mp_queue_get_pointer(mp_queue *queue, void **block, int timeout_ms)
{
    int64_t deadline;
    struct mp__lane *lane;
    size_t size;

    if (!queue || !block)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = begin_get(queue, deadline, &lane);
    if (err)
        return err;

    struct mp__lane_cursor out = mp__lane_cursor(&lane->out);
    const void *message = mp__lane_look(lane, &out, &size);
    if (size != sizeof(*block)) {
        mp__lock_release(&queue->get_lock);
        return leave(queue, EMSGSIZE);
    }
    memcpy(block, message, sizeof(*block));
    mp__lane_skip(lane, &out, size);
    end_get(queue, lane, &out, 1);
    return 0;
}

/* Copy messages, as many as there are and as fit, and count them. */
static int get_some(struct mp__lane *lane, struct mp__lane_cursor *out, void *buffer,
                    size_t capacity, size_t *sizes, size_t most, size_t *got)
{
    struct mp__lane_cursor next = *out;
    size_t there = lane->out.known < most ? (size_t)lane->out.known : most;
    size_t taken = 0, size = 0;
    char *to = buffer;

    for (; taken < there; taken++) {
        const void *message = mp__lane_look(lane, &next, &size);
        if (size > capacity)
            break;
        if (size) {
            memcpy(to, message, size);
            to += size;
            capacity -= size;
        }
        if (sizes)
            sizes[taken] = size;
        mp__lane_skip(lane, &next, size);
    }
    *got = taken;
    *out = next;
    if (taken > 0)
        return 0;
    if (sizes)
        sizes[0] = size;
    return EMSGSIZE;
}

int mp_queue_get_many(mp_queue *queue, void *buffer, size_t capacity, size_t *sizes,
                      size_t most, size_t *count, int timeout_ms)
{
    int64_t deadline;
    struct mp__lane *lane;
    size_t got;

    if (!queue || (!buffer && capacity) || !most || !count)
        return EINVAL;
    if (!sizes && !queue->message_size)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = begin_get(queue, deadline, &lane);
    if (err)
        return err;

    struct mp__lane_cursor out = mp__lane_cursor(&lane->out);
    if (lane->out.known < most)
        lane->out.known = mp__lane_count(lane);
    err = get_some(lane, &out, buffer, capacity, sizes, most, &got);
    if (err) {
        mp__lock_release(&queue->get_lock);
        return leave(queue, err);
    }
    end_get(queue, lane, &out, got);
    *count = got;
    return 0;
}
