/* SPDX-License-Identifier: MIT */
/*
 * bench_queue_stream.c - streams of messages through an mp_queue: of five sizes, from
 * one producer ("queue") and from four ("queue x4"), one by one and by handfuls.
 *
 * All that can be bounded is bounded alike, also where libmp would be faster without.
 */
#include "bench.h"
#include "bench_message.h"
#include "bench_sync.h"

#define STREAMS bench_stream_prepare, bench_stream_round
#define STREAM(how, bytes, senders)                                                    \
    STREAMS, BENCH_STREAM(&(how), .size = (bytes), .producers = (senders))
#define HANDFULS(how, bytes, senders)                                                  \
    STREAMS, BENCH_STREAM(&(how), .size = (bytes), .producers = (senders),             \
                          .batch = BENCH_BATCH)
#define PYTHON(what, bytes, senders)                                                   \
    bench_python_message_prepare, bench_program_round, what "/" #bytes "/" #senders

/* No target: 0. */
#define AT_LEAST(target) (target) > 0 ? BENCH_AT_LEAST : BENCH_INFO, (target)

enum small {
    SMALL,
    SMALL_FIXED,
    SMALL_MANY,
    SMALL_FIXED_MANY,
    SMALL_UNBOUNDED,
    SMALL_RING,
    SMALL_MEMCPY,
    SMALL_BOOST,
    SMALL_PIPE,
    SMALL_SOCKET,
    SMALL_MQ,
    SMALL_ZMQ,
    SMALL_NNG,
    SMALL_PYTHON,
    SMALL_PYTHON_SIMPLE
};

#define SMALL_CONTESTANTS(bytes)                                                       \
    [SMALL] = {"libmp", STREAM(bench_queue, bytes, 1)},                                \
    [SMALL_FIXED] = {"libmp, fixed size", STREAM(bench_queue_fixed, bytes, 1)},        \
    [SMALL_MANY] = {"libmp, by 64", HANDFULS(bench_queue_many, bytes, 1)},             \
    [SMALL_FIXED_MANY] = {"libmp, fixed, by 64",                                       \
                          HANDFULS(bench_queue_fixed_many, bytes, 1)},                 \
    [SMALL_UNBOUNDED] = {"libmp, no bound", STREAM(bench_queue_unbounded, bytes, 1)},  \
    [SMALL_RING] = {"bare ring", STREAM(bench_ring, bytes, 1)},                        \
    [SMALL_MEMCPY] = {"memcpy twice", STREAM(bench_memcpy, bytes, 0)},                 \
    [SMALL_BOOST] = {BENCH_BOOST("message_queue"),                                     \
                     STREAM(bench_boost_message_queue, bytes, 1)},                     \
    [SMALL_PIPE] = {"bare pipe", STREAM(bench_bare_pipe, bytes, 1)},                   \
    [SMALL_SOCKET] = {"bare socketpair", STREAM(bench_bare_socket, bytes, 1)},         \
    [SMALL_MQ] = {"POSIX mq", STREAM(bench_bare_mq, bytes, 1)},                        \
    [SMALL_ZMQ] = {BENCH_ZMQ, STREAM(bench_zmq, bytes, 1)},                            \
    [SMALL_NNG] = {BENCH_NNG, STREAM(bench_nng, bytes, 1)},                            \
    [SMALL_PYTHON] = {"Python Queue", PYTHON("queue", bytes, 1)},                      \
    [SMALL_PYTHON_SIMPLE] = {"Python SimpleQueue", PYTHON("simple_queue", bytes, 1)}

#define SMALL_ROW(what, ours, theirs, target)                                          \
    {                                                                                  \
        "queue: " what, "M/s", ours, theirs, 0, AT_LEAST(target)                       \
    }

#define SMALL_ROWS(size, ring, boost, pipe, python)                                    \
    SMALL_ROW(size, SMALL, SMALL_RING, ring),                                          \
        SMALL_ROW(size, SMALL, SMALL_BOOST, boost),                                    \
        SMALL_ROW(size, SMALL, SMALL_PIPE, pipe),                                      \
        SMALL_ROW(size, SMALL, SMALL_PYTHON, python),                                  \
        SMALL_ROW(size, SMALL, SMALL_PYTHON_SIMPLE, 0),                                \
        SMALL_ROW(size, SMALL, SMALL_SOCKET, 0), SMALL_ROW(size, SMALL, SMALL_MQ, 0),  \
        SMALL_ROW(size, SMALL, SMALL_ZMQ, 0), SMALL_ROW(size, SMALL, SMALL_NNG, 0),    \
        SMALL_ROW(size, SMALL, SMALL_MEMCPY, 0),                                       \
        SMALL_ROW(size ", no bound", SMALL_UNBOUNDED, SMALL, 0),                       \
        SMALL_ROW(size ", fixed size", SMALL_FIXED, SMALL_RING, 0),                    \
        SMALL_ROW(size ", by 64", SMALL_MANY, SMALL_RING, 0),                          \
        SMALL_ROW(size ", fixed, by 64", SMALL_FIXED_MANY, SMALL_RING, 0)

static const bench_contestant of_8[] = {SMALL_CONTESTANTS(8)};
static const bench_row of_8_rows[] = {SMALL_ROWS("8 B", 0, 0, 0, 0)};
static const bench_contestant of_64[] = {SMALL_CONTESTANTS(64)};
static const bench_row of_64_rows[] = {SMALL_ROWS("64 B", 0.6, 1.5, 4, 60)};
static const bench_contestant of_1k[] = {SMALL_CONTESTANTS(1024)};
static const bench_row of_1k_rows[] = {SMALL_ROWS("1 KiB", 0, 0, 0, 0)};

enum large {
    LARGE,
    LARGE_FIXED,
    LARGE_UNBOUNDED,
    LARGE_RING,
    LARGE_MEMCPY,
    LARGE_BOOST,
    LARGE_PIPE,
    LARGE_PIPE_OF_1M,
    LARGE_SOCKET,
    LARGE_ZMQ,
    LARGE_NNG,
    LARGE_PYTHON,
    LARGE_PYTHON_SIMPLE
};

#define LARGE_CONTESTANTS(bytes)                                                       \
    [LARGE] = {"libmp", STREAM(bench_queue, bytes, 1)},                                \
    [LARGE_FIXED] = {"libmp, fixed size", STREAM(bench_queue_fixed, bytes, 1)},        \
    [LARGE_UNBOUNDED] = {"libmp, no bound", STREAM(bench_queue_unbounded, bytes, 1)},  \
    [LARGE_RING] = {"bare ring", STREAM(bench_ring, bytes, 1)},                        \
    [LARGE_MEMCPY] = {"memcpy twice", STREAM(bench_memcpy, bytes, 0)},                 \
    [LARGE_BOOST] = {BENCH_BOOST("message_queue"),                                     \
                     STREAM(bench_boost_message_queue, bytes, 1)},                     \
    [LARGE_PIPE] = {"bare pipe", STREAM(bench_bare_pipe, bytes, 1)},                   \
    [LARGE_PIPE_OF_1M] = {"bare pipe of 1 MiB",                                        \
                          STREAM(bench_bare_large_pipe, bytes, 1)},                    \
    [LARGE_SOCKET] = {"bare socketpair", STREAM(bench_bare_socket, bytes, 1)},         \
    [LARGE_ZMQ] = {BENCH_ZMQ, STREAM(bench_zmq, bytes, 1)},                            \
    [LARGE_NNG] = {BENCH_NNG, STREAM(bench_nng, bytes, 1)},                            \
    [LARGE_PYTHON] = {"Python Queue", PYTHON("queue", bytes, 1)},                      \
    [LARGE_PYTHON_SIMPLE] = {"Python SimpleQueue", PYTHON("simple_queue", bytes, 1)}

#define LARGE_ROW(what, ours, theirs, target)                                          \
    {                                                                                  \
        "queue: " what, "k/s", ours, theirs, 0, AT_LEAST(target)                       \
    }

#define LARGE_ROWS(size, pipe)                                                         \
    LARGE_ROW(size, LARGE, LARGE_RING, 0), LARGE_ROW(size, LARGE, LARGE_BOOST, 0),     \
        LARGE_ROW(size, LARGE, LARGE_PIPE, pipe),                                      \
        LARGE_ROW(size, LARGE, LARGE_PIPE_OF_1M, 0),                                   \
        LARGE_ROW(size, LARGE, LARGE_PYTHON, 0),                                       \
        LARGE_ROW(size, LARGE, LARGE_PYTHON_SIMPLE, 0),                                \
        LARGE_ROW(size, LARGE, LARGE_SOCKET, 0), LARGE_ROW(size, LARGE, LARGE_ZMQ, 0), \
        LARGE_ROW(size, LARGE, LARGE_NNG, 0), LARGE_ROW(size, LARGE, LARGE_MEMCPY, 0), \
        LARGE_ROW(size ", no bound", LARGE_UNBOUNDED, LARGE, 0),                       \
        LARGE_ROW(size ", fixed size", LARGE_FIXED, LARGE_RING, 0)

static const bench_contestant of_64k[] = {LARGE_CONTESTANTS(65536)};
static const bench_row of_64k_rows[] = {LARGE_ROWS("64 KiB", 0)};
static const bench_contestant of_1m[] = {LARGE_CONTESTANTS(1048576)};
static const bench_row of_1m_rows[] = {LARGE_ROWS("1 MiB", 8)};

enum four {
    FOUR,
    FOUR_FIXED,
    FOUR_BOOST,
    FOUR_PIPE,
    FOUR_MQ,
    FOUR_ZMQ,
    FOUR_NNG,
    FOUR_PYTHON
};

#define FOUR_CONTESTANTS(bytes)                                                        \
    [FOUR] = {"libmp", STREAM(bench_queue, bytes, 4)},                                 \
    [FOUR_FIXED] = {"libmp, fixed size", STREAM(bench_queue_fixed, bytes, 4)},         \
    [FOUR_BOOST] = {BENCH_BOOST("message_queue"),                                      \
                    STREAM(bench_boost_message_queue, bytes, 4)},                      \
    [FOUR_PIPE] = {"bare pipe", STREAM(bench_bare_pipe, bytes, 4)},                    \
    [FOUR_MQ] = {"POSIX mq", STREAM(bench_bare_mq, bytes, 4)},                         \
    [FOUR_ZMQ] = {BENCH_ZMQ, STREAM(bench_zmq, bytes, 4)},                             \
    [FOUR_NNG] = {BENCH_NNG, STREAM(bench_nng, bytes, 4)},                             \
    [FOUR_PYTHON] = {"Python Queue", PYTHON("queue", bytes, 4)}

#define FOUR_ROW(what, unit, ours, theirs, target)                                     \
    {                                                                                  \
        "queue x4: " what, unit, ours, theirs, 0, AT_LEAST(target)                     \
    }

#define FOUR_ROWS(size, unit, boost)                                                   \
    FOUR_ROW(size, unit, FOUR, FOUR_BOOST, boost),                                     \
        FOUR_ROW(size, unit, FOUR, FOUR_PIPE, 0),                                      \
        FOUR_ROW(size, unit, FOUR, FOUR_MQ, 0),                                        \
        FOUR_ROW(size, unit, FOUR, FOUR_ZMQ, 0),                                       \
        FOUR_ROW(size, unit, FOUR, FOUR_NNG, 0),                                       \
        FOUR_ROW(size, unit, FOUR, FOUR_PYTHON, 0),                                    \
        FOUR_ROW(size ", fixed size", unit, FOUR_FIXED, FOUR_BOOST, 0)

static const bench_contestant four_of_8[] = {FOUR_CONTESTANTS(8)};
static const bench_row four_of_8_rows[] = {FOUR_ROWS("8 B", "M/s", 0)};
static const bench_contestant four_of_64[] = {FOUR_CONTESTANTS(64)};
static const bench_row four_of_64_rows[] = {FOUR_ROWS("64 B", "M/s", 2)};
static const bench_contestant four_of_1k[] = {FOUR_CONTESTANTS(1024)};
static const bench_row four_of_1k_rows[] = {FOUR_ROWS("1 KiB", "M/s", 0)};
static const bench_contestant four_of_64k[] = {FOUR_CONTESTANTS(65536)};
static const bench_row four_of_64k_rows[] = {FOUR_ROWS("64 KiB", "k/s", 0)};
static const bench_contestant four_of_1m[] = {FOUR_CONTESTANTS(1048576)};
static const bench_row four_of_1m_rows[] = {FOUR_ROWS("1 MiB", "k/s", 0)};

const bench_contest bench_queue_stream_contests[] = {
    BENCH_CONTEST("queue 8 B", of_8, of_8_rows, 0),
    BENCH_CONTEST("queue 64 B", of_64, of_64_rows, 0),
    BENCH_CONTEST("queue 1 KiB", of_1k, of_1k_rows, 0),
    BENCH_CONTEST("queue 64 KiB", of_64k, of_64k_rows, 0),
    BENCH_CONTEST("queue 1 MiB", of_1m, of_1m_rows, 0),
    BENCH_CONTEST("queue x4 8 B", four_of_8, four_of_8_rows, 0),
    BENCH_CONTEST("queue x4 64 B", four_of_64, four_of_64_rows, 0),
    BENCH_CONTEST("queue x4 1 KiB", four_of_1k, four_of_1k_rows, 0),
    BENCH_CONTEST("queue x4 64 KiB", four_of_64k, four_of_64k_rows, 0),
    BENCH_CONTEST("queue x4 1 MiB", four_of_1m, four_of_1m_rows, 0),
    {.name = NULL},
};
