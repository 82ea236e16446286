/* SPDX-License-Identifier: MIT */
/*
 * bench_message.h - what the benchmarks of messages share, in C and in C++.
 *
 * Everything that carries messages is a transport, called through the same pointers, so
 * that none has an advantage from being inlined, nor from a compiler that sees that
 * nobody looks at a copy.  A stream goes from some producers to the contestant; a route
 * goes there and back.
 *
 * Every message bears a number in its first 8 bytes.  The receiver adds up one word of
 * each of its cache lines, of all transports alike: the sum tells whether all messages
 * came, once, and whole.
 */
#ifndef BENCH_MESSAGE_H
#define BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_LINE = 64, BENCH_BATCH = 64 };

/* What a channel carries. */
struct bench_cargo {
    size_t size;        /* of a message, in bytes: a multiple of 8 */
    unsigned producers; /* 0: the contestant is its own producer, message by message */
    size_t batch;       /* messages that are given to one call; 0: 1 */
    size_t room;  /* messages that may be under way; 0: as many as for all sizes */
    size_t block; /* what a message points to, if it is sent by pointer */
};

/* Each function returns 0, or an error as in bench.h; `size` is the cargo's. */
struct bench_transport {
    /* Before the processes are forked that use the channel. */
    int (*make)(void **channel, const struct bench_cargo *cargo);
    /* In each of them; may be NULL. */
    int (*attach)(void *channel, bool sends);
    /* `count` messages lie one behind the other; it is 1 unless there is a batch. */
    int (*send)(void *channel, const void *messages, size_t size, size_t count);
    /* Up to `most`, and as many as `count` says; it is 1 unless there is a batch. */
    int (*receive)(void *channel, void *messages, size_t size, size_t most,
                   size_t *count);
};

struct bench_stream {
    const struct bench_transport *transport;
    struct bench_cargo cargo;
};

#define BENCH_STREAM(how, ...)                                                         \
    &(const struct bench_stream)                                                       \
    {                                                                                  \
        .transport = (how), .cargo = { __VA_ARGS__ }                                   \
    }

/* Figure 0 is messages per second. */
int bench_stream_prepare(const void *stream);
int bench_stream_round(const void *stream, double *figures);

/* A stream there and one back; figure 0 is the seconds of a round trip. */
int bench_route_prepare(const void *stream);
int bench_route_prepare_apart(const void *stream); /* with a processor for each */
int bench_route_round(const void *stream, double *figures);

/* As that, to somebody who has been seen asleep. */
int bench_sleepy_route_round(const void *stream, double *figures);

/* bench_channel_name - a name that no other channel has; `prefix` comes before it. */
void bench_channel_name(char *name, size_t size, const char *prefix);

/* bench_queue.c: bounded, of messages of any size, one by one, unless the name says
 * more */
extern const struct bench_transport bench_queue;
extern const struct bench_transport bench_queue_unbounded;
extern const struct bench_transport bench_queue_fixed;
extern const struct bench_transport bench_queue_many;
extern const struct bench_transport bench_queue_fixed_many;

/* bench_ring.c: what can be had at all, from one producer, and without sleeping */
extern const struct bench_transport bench_ring;
extern const struct bench_transport bench_memcpy;

/* bench_bare.c: what the system has; mq is absent where it is not to be had */
extern const struct bench_transport bench_bare_pipe;
extern const struct bench_transport
    bench_bare_large_pipe; /* of 1 MiB, or as it comes */
extern const struct bench_transport bench_bare_socket;
extern const struct bench_transport bench_framed_pipe; /* each behind its size */
extern const struct bench_transport bench_framed_socket;
extern const struct bench_transport bench_bare_mq;
extern const struct bench_transport bench_bare_semaphore; /* carries the number alone */

/* Libraries, where they are installed: else `make` returns BENCH_ABSENT. */
extern const struct bench_transport bench_boost_message_queue;
extern const struct bench_transport bench_zmq;
extern const struct bench_transport bench_nng;

#ifdef BENCH_HAVE_ZMQ
#define BENCH_ZMQ "ZeroMQ"
#else
#define BENCH_ZMQ "ZeroMQ, not installed"
#endif
#ifdef BENCH_HAVE_NNG
#define BENCH_NNG "nng"
#else
#define BENCH_NNG "nng, not installed"
#endif

#ifdef __cplusplus
}
#endif

#endif
