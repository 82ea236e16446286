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
 */
#include "ipc/queue.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/options.h"
#include "ipc/ledger.h"
#include "ipc/readiness.h"
#include "mp/shared.h"

#define PRIORITIES_MAX 32
#define LINGER_NS 300
#define USUAL_SIZE 256 /* of a message of which nothing is known */

/* Of one who does not want to wait, for an end that others use for a moment. */
#define MOMENT (100 * MP__MILLISECOND)

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

static bool is_full(const mp_queue *queue)
{
    return mp__queue_count(queue) >= queue->max_messages;
}

static bool is_closed(const mp_queue *queue)
{
    return atomic_load_explicit(&queue->closed, memory_order_acquire);
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
    return queue && is_full(queue);
}

bool mp_queue_closed(const mp_queue *queue)
{
    return queue && is_closed(queue);
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

/* Waiting */

static _Thread_local struct mp__spin history;

struct wait {
    int64_t deadline;
    struct mp__sleep sleep;
    bool spun;
    bool over; /* the deadline: the last look is being taken */
};

static struct wait wait_until(int64_t deadline)
{
    return (struct wait){.deadline = deadline, .sleep = mp__sleep_until(deadline)};
}

static uint64_t room(const mp_queue *queue)
{
    uint64_t there = mp__queue_count(queue);

    return there < queue->max_messages ? queue->max_messages - there : 0;
}

static bool can_get(void *arg)
{
    const mp_queue *queue = arg;

    return mp__queue_count(queue) || is_closed(queue);
}

static bool can_put(void *arg)
{
    const mp_queue *queue = arg;

    return room(queue) || is_closed(queue);
}

/*
 * A stream of which each message is taken as soon as it comes is several times slower than
 * one that is taken by handfuls, since its cache lines go to and fro for each.  So who
 * had to wait for a moment goes on waiting for another, unless that brought no more
 * messages the last times.
 */
static void linger(const mp_queue *queue, uint64_t (*there)(const mp_queue *))
{
    static _Thread_local struct mp__spin gains;

    if (!mp__spin_wanted(&gains))
        return;
    int64_t until = mp__now() + LINGER_NS;
    do
        mp__cpu_relax();
    while (mp__now() < until);
    mp__spin_ended(&gains, there(queue) < 2);
}

/* Wait until `ready`, about: 0 whenever it should be tried again, or an error. */
static int wait_for(mp_queue *queue, struct mp__bell *bell,
                    uint64_t (*there)(const mp_queue *), bool (*ready)(void *),
                    struct wait *wait)
{
    if (!wait->deadline || wait->over)
        return ETIMEDOUT;
    if (!wait->spun) {
        wait->spun = true;
        if (mp__spin_until(&history, wait->deadline, ready, queue)) {
            linger(queue, there);
            return 0;
        }
    }

    uint32_t calls = mp__bell_come(bell);
    mp__sleep_watch(&wait->sleep); /* for those who die before their ring */
    if (ready(queue))
        return 0;
    int err = mp__bell_wait(bell, calls, &wait->sleep);
    wait->over = err == ETIMEDOUT;
    return wait->over ? 0 : err;
}

static void unlock_and_ring(mp_lock *lock, struct mp__bell *bell, size_t news)
{
    mp__lock_release(lock);
    mp__fence_after_exchange();
    mp__bell_ring(bell, news < INT_MAX ? (int)news : INT_MAX);
}

/*
 * For who leaves with nothing: what is there may be what it was woken for, and others
 * sleep that want it.
 */
static void pass_on(struct mp__bell *bell, uint64_t there)
{
    if (!there)
        return;
    atomic_thread_fence(memory_order_seq_cst);
    mp__bell_ring(bell, 1);
}

static int leave_put(mp_queue *queue, int err)
{
    pass_on(&queue->room, room(queue));
    return err;
}

static int leave_get(mp_queue *queue, int err)
{
    pass_on(&queue->messages, mp__queue_count(queue));
    return err;
}

int mp__queue_lock(mp_lock *lock, int64_t deadline)
{
    if (mp__lock_try(lock))
        return 0;
    int err = mp__lock_acquire(lock, deadline ? deadline : mp__now() + MOMENT);
    return err == EOWNERDEAD ? 0 : err;
}

/* Putting */

/* How many there is room for; looks at the other end only if that is less than wanted. */
static uint64_t known_room(mp_queue *queue, size_t wanted)
{
    uint64_t *known = &queue->lanes[0].in.known;

    if (*known < wanted)
        *known = room(queue);
    return *known;
}

/* 0 if a message may be put now, by who holds the lock of that end; ETIMEDOUT if not. */
static int may_put(mp_queue *queue)
{
    if (is_closed(queue))
        return EPIPE;
    if (!known_room(queue, 1))
        return ETIMEDOUT;
    return queue->readiness ? mp__readiness_tell(queue) : 0;
}

/* The lock of the putting end, with room for one at least. */
static int begin_put(mp_queue *queue, struct wait *wait)
{
    for (;;) {
        int err = mp__queue_lock(&queue->put_lock, wait->deadline);
        if (err)
            return leave_put(queue, err);
        err = may_put(queue);
        if (!err)
            return 0;
        mp__lock_release(&queue->put_lock);
        if (err == ETIMEDOUT)
            err = wait_for(queue, &queue->room, room, can_put, wait);
        if (err)
            return leave_put(queue, err);
    }
}

/* Let all see what was written up to `in`: `written` messages. */
static void end_put(mp_queue *queue, struct mp__lane *lane,
                    const struct mp__lane_cursor *in, size_t written)
{
    queue->lanes[0].in.known -= written;
    mp__kill_point_order();
    mp__lane_commit(&lane->in, in, written);
    unlock_and_ring(&queue->put_lock, &queue->messages, written);
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
    struct wait wait = wait_until(deadline);
    int err = begin_put(queue, &wait);
    if (err)
        return err;

    struct mp__lane_cursor in = mp__lane_cursor(&lane->in);
    err = mp__lane_write(lane, &in, message, size);
    if (err) {
        mp__lock_release(&queue->put_lock);
        return leave_put(queue, err);
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
                    size_t *put, struct wait *wait)
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
        return leave_put(queue, err);
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

    struct wait wait = wait_until(deadline);
    while (*put < wanted && !err)
        err = put_some(queue, messages + *put, wanted - *put, put, &wait);
    return err;
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
    unlock_and_ring(&queue->put_lock, &queue->messages, INT_MAX);
    mp__bell_ring(&queue->room, INT_MAX);
    return 0;
}

/* Getting */

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
static int begin_get(mp_queue *queue, int64_t deadline, struct mp__lane **lane)
{
    struct wait wait = wait_until(deadline);

    for (;;) {
        int err = mp__queue_lock(&queue->get_lock, deadline);
        if (err)
            return leave_get(queue, err);
        bool closed = is_closed(queue); /* before it is looked for the last message */
        *lane = next_lane(queue);
        if (*lane)
            return 0;
        mp__lock_release(&queue->get_lock);
        err = closed ? EPIPE
                     : wait_for(queue, &queue->messages, mp__queue_count, can_get, &wait);
        if (err == ETIMEDOUT && queue->readiness)
            mp__readiness_withdraw(queue);
        if (err)
            return leave_get(queue, err);
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
static void end_get(mp_queue *queue, struct mp__lane *lane,
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
        unlock_and_ring(&queue->get_lock, &queue->room, taken);
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
        err = leave_get(queue, EMSGSIZE);
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
        void *grown = realloc(buffer, capacity);
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
        return leave_get(queue, EMSGSIZE);
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
    char *to = buffer;
    size_t size;

    *got = 0;
    while (*got < most && *got < lane->out.known) {
        struct mp__lane_cursor next = *out;
        const void *message = mp__lane_look(lane, &next, &size);
        if (sizes && (size <= capacity || !*got))
            sizes[*got] = size;
        if (size > capacity)
            return *got ? 0 : EMSGSIZE;
        if (size) {
            memcpy(to, message, size);
            to += size;
            capacity -= size;
        }
        mp__lane_skip(lane, &next, size);
        *out = next;
        ++*got;
    }
    return 0;
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
        return leave_get(queue, err);
    }
    end_get(queue, lane, &out, got);
    *count = got;
    return 0;
}
