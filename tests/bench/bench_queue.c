/* SPDX-License-Identifier: MIT */
/*
 * bench_queue.c - messages through an mp_queue: of five sizes, from one producer and
 * from four, one by one, by handfuls, and by pointer; and round trips.
 *
 * All that can be bounded is bounded alike, also where libmp would be faster without.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_message.h"
#include "bench_sync.h"

static int make_queue(void **channel, const mp_queue_options *options)
{
    mp_queue *queue;
    int err = mp_queue_new(&queue, options);

    if (!err)
        *channel = queue;
    return err;
}

static int make_bounded(void **channel, const struct bench_cargo *cargo)
{
    return make_queue(channel, MP_QUEUE_OPTIONS(.max_messages = cargo->room));
}

static int make_unbounded(void **channel, const struct bench_cargo *cargo)
{
    (void)cargo;
    return make_queue(channel, NULL);
}

static int make_fixed(void **channel, const struct bench_cargo *cargo)
{
    return make_queue(channel, MP_QUEUE_OPTIONS(.max_messages = cargo->room,
                                                .message_size = cargo->size));
}

static int put(void *channel, const void *message, size_t size, size_t count)
{
    (void)count;
    return mp_queue_put(channel, message, size, MP_FOREVER);
}

static int get(void *channel, void *message, size_t size, size_t most, size_t *count)
{
    size_t got;

    (void)most;
    *count = 1;
    int err = mp_queue_get(channel, message, size, &got, MP_FOREVER);
    return err ? err : got == size ? 0 : BENCH_WRONG;
}

static int put_many(void *channel, const void *messages, size_t size, size_t count)
{
    struct iovec parts[BENCH_BATCH];
    char *message = (void *)(uintptr_t)messages;
    size_t done;

    for (size_t i = 0; i < count; i++, message += size)
        parts[i] = (struct iovec){.iov_base = message, .iov_len = size};
    return mp_queue_put_many(channel, parts, count, &done, MP_FOREVER);
}

static int get_many(void *channel, void *messages, size_t size, size_t most,
                    size_t *count)
{
    size_t sizes[BENCH_BATCH];

    int err = mp_queue_get_many(channel, messages, most * size, sizes, most, count,
                                MP_FOREVER);
    for (size_t i = 0; i < *count && !err; i++)
        err = sizes[i] == size ? 0 : BENCH_WRONG;
    return err;
}

/* Blocks that are used in turn: a producer who may put one has read of its last use. */
struct hand_over {
    mp_queue *queue;
    size_t size; /* of a block */
    size_t count, next;
    void **blocks;
};

static int make_hand_over(void **channel, const struct bench_cargo *cargo)
{
    struct hand_over *hands = calloc(1, sizeof(*hands));

    if (!hands)
        return ENOMEM;
    *channel = hands;
    hands->size = cargo->block;
    return mp_queue_new(
        &hands->queue,
        MP_QUEUE_OPTIONS(.max_messages = cargo->room, .message_size = sizeof(void *)));
}

static int make_blocks(void **channel, const struct bench_cargo *cargo)
{
    int err = make_hand_over(channel, cargo);
    if (err)
        return err;

    struct hand_over *hands = *channel;
    hands->count = cargo->room + 2;
    hands->blocks = calloc(hands->count, sizeof(*hands->blocks));
    for (size_t i = 0; hands->blocks && i < hands->count; i++) {
        hands->blocks[i] = mp_shared_alloc(cargo->block);
        if (!hands->blocks[i])
            return ENOMEM;
    }
    return hands->blocks ? 0 : ENOMEM;
}

/* Of each block the first words are written and read. */
static int put_block(void *channel, const void *message, size_t size, size_t count)
{
    struct hand_over *hands = channel;
    void *block = hands->blocks[hands->next];

    (void)count;
    memcpy(block, message, size);
    hands->next = hands->next + 1 < hands->count ? hands->next + 1 : 0;
    return mp_queue_put_pointer(hands->queue, block, MP_FOREVER);
}

static int get_block(void *channel, void *message, size_t size, size_t most,
                     size_t *count)
{
    struct hand_over *hands = channel;
    void *block;

    (void)most;
    *count = 1;
    int err = mp_queue_get_pointer(hands->queue, &block, MP_FOREVER);
    if (!err)
        memcpy(message, block, size);
    return err;
}

static int put_new_block(void *channel, const void *message, size_t size, size_t count)
{
    struct hand_over *hands = channel;
    void *block = mp_shared_alloc(hands->size);

    (void)count;
    if (!block)
        return ENOMEM;
    memcpy(block, message, size);
    return mp_queue_put_pointer(hands->queue, block, MP_FOREVER);
}

static int get_and_free_block(void *channel, void *message, size_t size, size_t most,
                              size_t *count)
{
    struct hand_over *hands = channel;
    void *block;

    (void)most;
    *count = 1;
    int err = mp_queue_get_pointer(hands->queue, &block, MP_FOREVER);
    if (err)
        return err;
    memcpy(message, block, size);
    mp_shared_free(block);
    return 0;
}

const struct bench_transport bench_queue = {make_bounded, NULL, put, get};
const struct bench_transport bench_queue_unbounded = {make_unbounded, NULL, put, get};
const struct bench_transport bench_queue_fixed = {make_fixed, NULL, put, get};
const struct bench_transport bench_queue_many = {make_bounded, NULL, put_many,
                                                 get_many};
const struct bench_transport bench_queue_fixed_many = {make_fixed, NULL, put_many,
                                                       get_many};
static const struct bench_transport by_pointer = {make_blocks, NULL, put_block,
                                                  get_block};
static const struct bench_transport by_new_pointer = {
    make_hand_over, NULL, put_new_block, get_and_free_block};

#define STREAMS bench_stream_prepare, bench_stream_round
#define STREAM(how, bytes, senders)                                                    \
    STREAMS, BENCH_STREAM(&(how), .size = (bytes), .producers = (senders))
#define HANDFULS(how, bytes, senders)                                                  \
    STREAMS, BENCH_STREAM(&(how), .size = (bytes), .producers = (senders),             \
                          .batch = BENCH_BATCH)
/* The room is the same for small blocks and for large ones. */
#define POINTERS(how, bytes)                                                           \
    STREAMS,                                                                           \
        BENCH_STREAM(&(how), .size = 8, .producers = 1, .room = 64, .block = (bytes))

static const bench_contestant pointers[] = {
    {"libmp, blocks of 1 MiB", POINTERS(by_pointer, 1048576)},
    {"libmp, blocks of 64 B", POINTERS(by_pointer, 64)},
    {"libmp, new ones of 1 MiB", POINTERS(by_new_pointer, 1048576)},
    {"libmp, new ones of 64 B", POINTERS(by_new_pointer, 64)},
    {"bare ring, 1 MiB copied", STREAM(bench_ring, 1048576, 1)},
};

static const bench_row pointer_rows[] = {
    {"queue: by pointer, 1 MiB", "M/s", 0, 1, 0, BENCH_AT_LEAST, 0.9},
    {"queue: by pointer, 1 MiB", "M/s", 0, 4, 0, BENCH_INFO, 0},
    {"queue: allocated, put, freed, 1 MiB", "M/s", 2, 3, 0, BENCH_INFO, 0},
};

static const bench_contestant alone[] = {
    {"libmp", STREAM(bench_queue, 64, 0)},
    {"libmp, fixed size", STREAM(bench_queue_fixed, 64, 0)},
    {"libmp, fixed, by 64", HANDFULS(bench_queue_fixed_many, 64, 0)},
    {BENCH_BOOST("message_queue"), STREAM(bench_boost_message_queue, 64, 0)},
    {"bare ring", STREAM(bench_ring, 64, 0)},
    {"bare pipe", STREAM(bench_bare_pipe, 64, 0)},
};

static const bench_row alone_rows[] = {
    {"queue: put and get alone, 64 B", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"queue: put and get alone, 64 B", "M/s", 0, 4, 0, BENCH_INFO, 0},
    {"queue: put and get alone, 64 B", "M/s", 0, 5, 0, BENCH_INFO, 0},
    {"queue: put and get alone, fixed", "M/s", 1, 4, 0, BENCH_INFO, 0},
    {"queue: put and get alone, fixed, by 64", "M/s", 2, 4, 0, BENCH_INFO, 0},
};

#define ROUTE(how)                                                                     \
    bench_route_prepare_apart, bench_route_round, BENCH_STREAM(&(how), .size = 64)
#define SLEEPY(how)                                                                    \
    bench_route_prepare, bench_sleepy_route_round, BENCH_STREAM(&(how), .size = 64)

static const bench_contestant trips[] = {
    {"libmp", ROUTE(bench_queue)},
    {"libmp, fixed size", ROUTE(bench_queue_fixed)},
    {"bare ring", ROUTE(bench_ring)},
    {BENCH_BOOST("message_queue"), ROUTE(bench_boost_message_queue)},
    {"sem_t ping-pong", ROUTE(bench_bare_semaphore)},
    {"bare pipe", ROUTE(bench_bare_pipe)},
    {"POSIX mq", ROUTE(bench_bare_mq)},
    {BENCH_ZMQ, ROUTE(bench_zmq)},
    {BENCH_NNG, ROUTE(bench_nng)},
    {"Python Queue", bench_python_message_prepare, bench_program_round,
     "queue/64/trip"},
};

static const bench_row trip_rows[] = {
    {"queue: round trip, awake", "us", 0, BENCH_NOBODY, 0, BENCH_AT_MOST, 1},
    {"queue: round trip, awake", "us", 0, 2, 0, BENCH_INFO, 0},
    {"queue: round trip, awake", "us", 0, 3, 0, BENCH_INFO, 0},
    {"queue: round trip, awake", "us", 0, 4, 0, BENCH_INFO, 0},
    {"queue: round trip, awake", "us", 0, 5, 0, BENCH_INFO, 0},
    {"queue: round trip, awake", "us", 0, 6, 0, BENCH_INFO, 0},
    {"queue: round trip, awake", "us", 0, 7, 0, BENCH_INFO, 0},
    {"queue: round trip, awake", "us", 0, 8, 0, BENCH_INFO, 0},
    {"queue: round trip, awake", "us", 0, 9, 0, BENCH_INFO, 0},
    {"queue: round trip, awake, fixed size", "us", 1, BENCH_NOBODY, 0, BENCH_AT_MOST,
     1},
};

static const bench_contestant sleepy_trips[] = {
    {"libmp", SLEEPY(bench_queue)},
    {"sem_t ping-pong", SLEEPY(bench_bare_semaphore)},
    {BENCH_BOOST("message_queue"), SLEEPY(bench_boost_message_queue)},
    {"bare pipe", SLEEPY(bench_bare_pipe)},
    {"POSIX mq", SLEEPY(bench_bare_mq)},
};

static const bench_row sleepy_trip_rows[] = {
    {"queue: round trip, asleep", "us", 0, 1, 0, BENCH_AT_MOST, 1.2},
    {"queue: round trip, asleep", "us", 0, 2, 0, BENCH_INFO, 0},
    {"queue: round trip, asleep", "us", 0, 3, 0, BENCH_INFO, 0},
    {"queue: round trip, asleep", "us", 0, 4, 0, BENCH_INFO, 0},
};

const bench_contest bench_queue_contests[] = {
    BENCH_CONTEST("queue alone", alone, alone_rows, 0),
    BENCH_CONTEST("queue by pointer", pointers, pointer_rows, 0),
    BENCH_CONTEST("queue trips awake", trips, trip_rows, 0),
    BENCH_CONTEST("queue trips asleep", sleepy_trips, sleepy_trip_rows, 0),
    {.name = NULL},
};
