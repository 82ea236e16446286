/* SPDX-License-Identifier: MIT */
/*
 * bench_nng.c - nng as a yardstick: push and pull over ipc.
 *
 * It does not survive a fork: nobody calls it before the processes are forked.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#include "bench.h"
#include "bench_message.h"

#define FUNCTION(name) __typeof__(name) *name

static struct {
    FUNCTION(nng_push0_open);
    FUNCTION(nng_pull0_open);
    FUNCTION(nng_socket_set_int);
    FUNCTION(nng_socket_set_size);
    FUNCTION(nng_listen);
    FUNCTION(nng_dial);
    FUNCTION(nng_send);
    FUNCTION(nng_recv);
} nng;

struct link {
    char address[64];
    int room;
    nng_socket socket;
};

static int load(void)
{
    void *library = dlopen(BENCH_NNG_LIBRARY, RTLD_NOW);

    if (!library)
        return BENCH_ABSENT;
    *(void **)&nng.nng_push0_open = dlsym(library, "nng_push0_open");
    *(void **)&nng.nng_pull0_open = dlsym(library, "nng_pull0_open");
    *(void **)&nng.nng_socket_set_int = dlsym(library, "nng_socket_set_int");
    *(void **)&nng.nng_socket_set_size = dlsym(library, "nng_socket_set_size");
    *(void **)&nng.nng_listen = dlsym(library, "nng_listen");
    *(void **)&nng.nng_dial = dlsym(library, "nng_dial");
    *(void **)&nng.nng_send = dlsym(library, "nng_send");
    *(void **)&nng.nng_recv = dlsym(library, "nng_recv");
    return nng.nng_push0_open ? 0 : BENCH_ABSENT;
}

static int make(void **channel, const struct bench_cargo *cargo)
{
    struct link *link = calloc(1, sizeof(*link));

    if (!link)
        return ENOMEM;
    *channel = link;
    link->room = (int)cargo->room;
    bench_channel_name(link->address, sizeof(link->address), "abstract://");
    return load();
}

/* What nng says is no errno value. */
static int error_of(int result)
{
    return result ? EIO : 0;
}

/* A producer may be there before the consumer, and dials until that listens. */
static int attach(void *channel, bool sends)
{
    struct link *link = channel;

    if (!sends) {
        int err = nng.nng_pull0_open(&link->socket);
        if (!err)
            err = nng.nng_socket_set_size(link->socket, NNG_OPT_RECVMAXSZ, 0);
        if (!err)
            err = nng.nng_listen(link->socket, link->address, NULL, 0);
        return error_of(err);
    }
    int err = nng.nng_push0_open(&link->socket);
    /* Not all releases have a buffer at this end. */
    if (!err)
        (void)nng.nng_socket_set_int(link->socket, NNG_OPT_SENDBUF, link->room);
    if (!err)
        err = nng.nng_dial(link->socket, link->address, NULL, NNG_FLAG_NONBLOCK);
    return error_of(err);
}

static int send_message(void *channel, const void *message, size_t size, size_t count)
{
    struct link *link = channel;

    (void)count;
    return error_of(nng.nng_send(link->socket, (void *)(uintptr_t)message, size, 0));
}

static int receive_message(void *channel, void *message, size_t size, size_t most,
                           size_t *count)
{
    struct link *link = channel;
    size_t got = size;

    (void)most;
    *count = 1;
    int err = nng.nng_recv(link->socket, message, &got, 0);
    return err ? EIO : got == size ? 0 : BENCH_WRONG;
}

const struct bench_transport bench_nng = {make, attach, send_message, receive_message};
