/* SPDX-License-Identifier: MIT */
/*
 * bench_zmq.c - ZeroMQ as a yardstick: PUSH and PULL over ipc.
 *
 * A context does not survive a fork: each process makes its own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

#include <zmq.h>

#include "bench.h"
#include "bench_message.h"

#define FUNCTION(name) __typeof__(name) *name

static struct {
    FUNCTION(zmq_ctx_new);
    FUNCTION(zmq_socket);
    FUNCTION(zmq_setsockopt);
    FUNCTION(zmq_bind);
    FUNCTION(zmq_connect);
    FUNCTION(zmq_send);
    FUNCTION(zmq_recv);
} zmq;

static void *context;

struct link {
    char address[64];
    int room;
    void *socket;
};

static int load(void)
{
    void *library = dlopen(BENCH_ZMQ_LIBRARY, RTLD_NOW);

    if (!library)
        return BENCH_ABSENT;
    *(void **)&zmq.zmq_ctx_new = dlsym(library, "zmq_ctx_new");
    *(void **)&zmq.zmq_socket = dlsym(library, "zmq_socket");
    *(void **)&zmq.zmq_setsockopt = dlsym(library, "zmq_setsockopt");
    *(void **)&zmq.zmq_bind = dlsym(library, "zmq_bind");
    *(void **)&zmq.zmq_connect = dlsym(library, "zmq_connect");
    *(void **)&zmq.zmq_send = dlsym(library, "zmq_send");
    *(void **)&zmq.zmq_recv = dlsym(library, "zmq_recv");
    return zmq.zmq_ctx_new ? 0 : BENCH_ABSENT;
}

static int make(void **channel, const struct bench_cargo *cargo)
{
    struct link *link = calloc(1, sizeof(*link));

    if (!link)
        return ENOMEM;
    *channel = link;
    link->room = (int)cargo->room;
    bench_channel_name(link->address, sizeof(link->address), "ipc://@");
    return load();
}

static int attach(void *channel, bool sends)
{
    struct link *link = channel;
    int option = sends ? ZMQ_SNDHWM : ZMQ_RCVHWM;

    if (!context)
        context = zmq.zmq_ctx_new();
    link->socket = zmq.zmq_socket(context, sends ? ZMQ_PUSH : ZMQ_PULL);
    if (!link->socket ||
        zmq.zmq_setsockopt(link->socket, option, &link->room, sizeof(link->room)))
        return errno;
    int err = sends ? zmq.zmq_connect(link->socket, link->address)
                    : zmq.zmq_bind(link->socket, link->address);
    return err ? errno : 0;
}

static int send_message(void *channel, const void *message, size_t size, size_t count)
{
    struct link *link = channel;

    (void)count;
    return zmq.zmq_send(link->socket, message, size, 0) < 0 ? errno : 0;
}

static int receive_message(void *channel, void *message, size_t size, size_t most,
                           size_t *count)
{
    struct link *link = channel;

    (void)most;
    *count = 1;
    int got = zmq.zmq_recv(link->socket, message, size, 0);
    return got < 0 ? errno : (size_t)got == size ? 0 : BENCH_WRONG;
}

const struct bench_transport bench_zmq = {make, attach, send_message, receive_message};
