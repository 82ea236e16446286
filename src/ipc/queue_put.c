/* SPDX-License-Identifier: MIT */
/* queue_put.c - the end of a queue where messages are put: see queue.c. */
#include <errno.h>

#include "ipc/queue_wait.h"
#include "ipc/readiness.h"
#include "mp/shared.h"

static int leave(mp_queue *queue, int err)
{
    return mp__queue_leave(queue, &queue->room, mp__queue_room, err);
}

/* How many there is room for; looks at the other end only if that is less than wanted. */
static uint64_t known_room(mp_queue *queue, size_t wanted)
{
    uint64_t *known = &queue->lanes[0].in.known;

    if (*known < wanted)
        *known = mp__queue_room(queue);
    return *known;
}

/* 0 if a message may be put now, by who holds the lock of that end; ETIMEDOUT if not. */
static int may_put(mp_queue *queue)
{
    if (mp__queue_is_closed(queue))
        return EPIPE;
    if (!known_room(queue, 1))
        return ETIMEDOUT;
    return queue->readiness ? mp__readiness_tell(queue) : 0;
}

/* The lock of the putting end, with room for one at least. */
MP__INLINED int begin_put(mp_queue *queue, struct mp__queue_wait *wait)
{
    for (;;) {
        int err = mp__queue_lock(&queue->put_lock, wait->deadline);
        if (err)
            return leave(queue, err);
        err = may_put(queue);
        if (!err)
            return 0;
        mp__lock_release(&queue->put_lock);
        if (err == ETIMEDOUT)
            err = mp__queue_wait(queue, &queue->room, mp__queue_room, wait);
        if (err)
            return leave(queue, err);
    }
}

/* Let all see what was written up to `in`: `written` messages. */
static void end_put(mp_queue *queue, struct mp__lane *lane,
                    const struct mp__lane_cursor *in, size_t written)
{
    queue->lanes[0].in.known -= written;
    mp__kill_point_order();
    mp__lane_commit(&lane->in, in, written);
    mp__queue_release(&queue->put_lock, &queue->messages, written);
}

static int check_message(const mp_queue *queue, const void *message, size_t size)
{
    if (!message && size)
        return EINVAL;
    if (size > queue->max_size || (queue->message_size && size != queue->message_size))
        return EMSGSIZE;
    return size > MP__LANE_SIZE_MAX ? ENOMEM : 0;
}

static int put_one(mp_queue *queue, struct mp__lane *lane, const void *message,
                   size_t size, int64_t deadline)
{
    struct mp__queue_wait wait = MP__QUEUE_WAIT(deadline);
    int err = begin_put(queue, &wait);
    if (err)
        return err;

    struct mp__lane_cursor in = mp__lane_cursor(&lane->in);
    err = mp__lane_write(lane, &in, message, size);
    if (err) {
        mp__lock_release(&queue->put_lock);
        return leave(queue, err);
    }
    end_put(queue, lane, &in, 1);
    return 0;
}

int mp_queue_put_priority(mp_queue *queue, unsigned priority, const void *message,
                          size_t size, int timeout_ms)
{
    int64_t deadline;

    if (!queue || priority >= queue->priorities)
        return EINVAL;
    int err = check_message(queue, message, size);
    if (!err)
        err = mp__deadline(timeout_ms, &deadline);
    return err ? err : put_one(queue, &queue->lanes[priority], message, size, deadline);
}

int mp_queue_put(mp_queue *queue, const void *message, size_t size, int timeout_ms)
{
    return mp_queue_put_priority(queue, 0, message, size, timeout_ms);
}

int mp_queue_put_pointer(mp_queue *queue, void *block, int timeout_ms)
{
    if (block && !mp_shared_contains(block))
        return EINVAL;
    return mp_queue_put(queue, &block, sizeof(block), timeout_ms);
}

/* Put as many as there is room for, and count them. */
static int put_some(mp_queue *queue, const struct iovec *messages, size_t wanted,
                    size_t *put, struct mp__queue_wait *wait)
{
    struct mp__lane *lane = &queue->lanes[0];
    int err = begin_put(queue, wait);
    if (err)
        return err;

    uint64_t free = known_room(queue, wanted);
    size_t most = wanted < free ? wanted : (size_t)free, written = 0;
    struct mp__lane_cursor in = mp__lane_cursor(&lane->in);
    while (written < most && !err) {
        err = mp__lane_write(lane, &in, messages[written].iov_base,
                             messages[written].iov_len);
        written += !err;
    }
    if (!written) {
        mp__lock_release(&queue->put_lock);
        return leave(queue, err);
    }
    end_put(queue, lane, &in, written);
    *put += written;
    return err;
}

int mp_queue_put_many(mp_queue *queue, const struct iovec *messages, size_t wanted,
                      size_t *put, int timeout_ms)
{
    int64_t deadline;

    if (put)
        *put = 0;
    if (!queue || !put || (!messages && wanted))
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    for (size_t i = 0; i < wanted && !err; i++)
        err = check_message(queue, messages[i].iov_base, messages[i].iov_len);
    if (err)
        return err;

    struct mp__queue_wait wait = MP__QUEUE_WAIT(deadline);
    while (*put < wanted && !err)
        err = put_some(queue, messages + *put, wanted - *put, put, &wait);
    return err;
}
