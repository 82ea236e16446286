/* SPDX-License-Identifier: MIT */
/*
 * bench_connection.c - messages through an mp_connection, over sockets and over pipes,
 * beside bare calls of write and read.
 *
 * A framed yardstick does by hand what the wire wants: one write of size and message,
 * and two reads.  A bare one knows the size of what comes, and reads once.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench.h"
#include "bench_message.h"

enum { AHEAD = 64 * 1024 };

struct ends {
    mp_connection *in, *out;
};

static int make_ends(void **channel, const mp_pipe_options *options)
{
    struct ends *ends = malloc(sizeof(*ends));

    if (!ends)
        return ENOMEM;
    *channel = ends;
    return mp_pipe(&ends->in, &ends->out, options);
}

static int make_by_socket(void **channel, const struct bench_cargo *cargo)
{
    (void)cargo;
    return make_ends(channel, NULL);
}

static int make_by_pipe(void **channel, const struct bench_cargo *cargo)
{
    (void)cargo;
    return make_ends(channel, MP_PIPE_OPTIONS(.one_way = 1));
}

static int make_ahead(void **channel, const struct bench_cargo *cargo)
{
    (void)cargo;
    return make_ends(channel, MP_PIPE_OPTIONS(.read_ahead = AHEAD));
}

static int make_pipe_ahead(void **channel, const struct bench_cargo *cargo)
{
    (void)cargo;
    return make_ends(channel, MP_PIPE_OPTIONS(.one_way = 1, .read_ahead = AHEAD));
}

static int send_message(void *channel, const void *message, size_t size, size_t count)
{
    const struct ends *ends = channel;

    (void)count;
    return mp_connection_send(ends->out, message, size);
}

static int receive_message(void *channel, void *message, size_t size, size_t most,
                           size_t *count)
{
    const struct ends *ends = channel;
    size_t got;

    (void)most;
    *count = 1;
    int err = mp_connection_recv(ends->in, message, size, &got);
    return err ? err : got == size ? 0 : BENCH_WRONG;
}

static const struct bench_transport by_socket = {make_by_socket, NULL, send_message,
                                                 receive_message};
static const struct bench_transport by_pipe = {make_by_pipe, NULL, send_message,
                                               receive_message};
static const struct bench_transport by_socket_ahead = {make_ahead, NULL, send_message,
                                                       receive_message};
static const struct bench_transport by_pipe_ahead = {make_pipe_ahead, NULL,
                                                     send_message, receive_message};

#define STREAM(how, bytes)                                                             \
    bench_stream_prepare, bench_stream_round,                                          \
        BENCH_STREAM(&(how), .size = (bytes), .producers = 1)

enum contestant {
    SOCKET,
    SOCKET_AHEAD,
    FRAMED_SOCKET,
    BARE_SOCKET,
    PIPE,
    PIPE_AHEAD,
    FRAMED_PIPE,
    BARE_PIPE,
    PYTHON
};

#define CONTESTANTS(bytes)                                                             \
    {                                                                                  \
        [SOCKET] = {"libmp", STREAM(by_socket, bytes)},                                \
        [SOCKET_AHEAD] = {"libmp, read_ahead", STREAM(by_socket_ahead, bytes)},        \
        [FRAMED_SOCKET] = {"socketpair, by hand", STREAM(bench_framed_socket, bytes)}, \
        [BARE_SOCKET] = {"bare socketpair", STREAM(bench_bare_socket, bytes)},         \
        [PIPE] = {"libmp", STREAM(by_pipe, bytes)},                                    \
        [PIPE_AHEAD] = {"libmp, read_ahead", STREAM(by_pipe_ahead, bytes)},            \
        [FRAMED_PIPE] = {"pipe, by hand", STREAM(bench_framed_pipe, bytes)},           \
        [BARE_PIPE] = {"bare pipe", STREAM(bench_bare_pipe, bytes)},                   \
        [PYTHON] = {"Python Pipe", bench_python_message_prepare, bench_program_round,  \
                    "pipe/" #bytes "/1"},                                              \
    }

#define ROW(what, ours, theirs, sense, target)                                         \
    {                                                                                  \
        "connection: " what, "k/s", ours, theirs, 0, sense, target                     \
    }

#define ROWS(size)                                                                     \
    {                                                                                  \
        ROW(size ", socket", SOCKET, FRAMED_SOCKET, BENCH_AT_LEAST, 0.95),             \
            ROW(size ", socket", SOCKET, BARE_SOCKET, BENCH_INFO, 0),                  \
            ROW(size ", socket", SOCKET, PYTHON, BENCH_INFO, 0),                       \
            ROW(size ", socket, ahead", SOCKET_AHEAD, BARE_SOCKET, BENCH_AT_LEAST,     \
                0.95),                                                                 \
            ROW(size ", pipe", PIPE, FRAMED_PIPE, BENCH_AT_LEAST, 0.95),               \
            ROW(size ", pipe", PIPE, BARE_PIPE, BENCH_INFO, 0),                        \
            ROW(size ", pipe, ahead", PIPE_AHEAD, BARE_PIPE, BENCH_AT_LEAST, 0.95),    \
    }

static const bench_contestant of_8[] = CONTESTANTS(8);
static const bench_row of_8_rows[] = ROWS("8 B");
static const bench_contestant of_64[] = CONTESTANTS(64);
static const bench_row of_64_rows[] = ROWS("64 B");
static const bench_contestant of_1k[] = CONTESTANTS(1024);
static const bench_row of_1k_rows[] = ROWS("1 KiB");
static const bench_contestant of_64k[] = CONTESTANTS(65536);
static const bench_row of_64k_rows[] = ROWS("64 KiB");
static const bench_contestant of_1m[] = CONTESTANTS(1048576);
static const bench_row of_1m_rows[] = ROWS("1 MiB");

#define ROUTE(how)                                                                     \
    bench_route_prepare, bench_route_round, BENCH_STREAM(&(how), .size = 64)

static const bench_contestant trips[] = {
    {"libmp", ROUTE(by_socket)},
    {"libmp, read_ahead", ROUTE(by_socket_ahead)},
    {"socketpair, by hand", ROUTE(bench_framed_socket)},
    {"bare socketpair", ROUTE(bench_bare_socket)},
    {"Python Pipe", bench_python_message_prepare, bench_program_round, "pipe/64/trip"},
};

static const bench_row trip_rows[] = {
    {"connection: round trip, socket", "us", 0, 2, 0, BENCH_AT_MOST, 1.05},
    {"connection: round trip, socket", "us", 0, 3, 0, BENCH_INFO, 0},
    {"connection: round trip, socket", "us", 0, 4, 0, BENCH_INFO, 0},
    {"connection: round trip, socket, ahead", "us", 1, 3, 0, BENCH_INFO, 0},
};

const bench_contest bench_connection_contests[] = {
    BENCH_CONTEST("connection 8 B", of_8, of_8_rows, 0),
    BENCH_CONTEST("connection 64 B", of_64, of_64_rows, 0),
    BENCH_CONTEST("connection 1 KiB", of_1k, of_1k_rows, 0),
    BENCH_CONTEST("connection 64 KiB", of_64k, of_64k_rows, 0),
    BENCH_CONTEST("connection 1 MiB", of_1m, of_1m_rows, 0),
    BENCH_CONTEST("connection trips", trips, trip_rows, 0),
    {.name = NULL},
};
