/* SPDX-License-Identifier: MIT */
/*
 * bench_ring.c - the floor: a ring for one producer and one consumer who never sleep,
 * whose messages all have one size, and who must not die; and memcpy alone.
 */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_message.h"

enum { SPINS = 1000 };

/* Each end knows the other one's count as it was when it looked last. */
struct ring {
    _Alignas(BENCH_LINE) _Atomic size_t sent;
    size_t received_known;
    _Alignas(BENCH_LINE) _Atomic size_t received;
    size_t sent_known;
    _Alignas(BENCH_LINE) size_t room; /* a power of two */
    _Alignas(BENCH_LINE) unsigned char slots[];
};

static int make_ring(void **channel, const struct bench_cargo *cargo)
{
    struct ring *ring = bench_shared(sizeof(*ring) + cargo->room * cargo->size);

    if (!ring)
        return ENOMEM;
    ring->room = cargo->room;
    *channel = ring;
    return 0;
}

static void relax(unsigned *spins)
{
    if (++*spins > SPINS)
        sched_yield();
#if defined(__x86_64__) || defined(__i386__)
    else
        __builtin_ia32_pause();
#endif
}

static int send_by_ring(void *channel, const void *message, size_t size, size_t count)
{
    struct ring *ring = channel;
    size_t sent = atomic_load_explicit(&ring->sent, memory_order_relaxed);
    unsigned spins = 0;

    (void)count;
    while (sent - ring->received_known == ring->room) {
        ring->received_known =
            atomic_load_explicit(&ring->received, memory_order_acquire);
        if (sent - ring->received_known == ring->room)
            relax(&spins);
    }
    memcpy(ring->slots + (sent & (ring->room - 1)) * size, message, size);
    atomic_store_explicit(&ring->sent, sent + 1, memory_order_release);
    return 0;
}

static int receive_by_ring(void *channel, void *message, size_t size, size_t most,
                           size_t *count)
{
    struct ring *ring = channel;
    size_t received = atomic_load_explicit(&ring->received, memory_order_relaxed);
    unsigned spins = 0;

    (void)most;
    while (received == ring->sent_known) {
        ring->sent_known = atomic_load_explicit(&ring->sent, memory_order_acquire);
        if (received == ring->sent_known)
            relax(&spins);
    }
    memcpy(message, ring->slots + (received & (ring->room - 1)) * size, size);
    atomic_store_explicit(&ring->received, received + 1, memory_order_release);
    *count = 1;
    return 0;
}

/* A place to which messages are copied in turn, and from which they are copied. */
struct store {
    size_t room, next;
    unsigned char *slots;
};

static int make_store(void **channel, const struct bench_cargo *cargo)
{
    struct store *store = malloc(sizeof(*store));

    if (!store)
        return ENOMEM;
    store->room = cargo->room;
    store->next = 0;
    store->slots = bench_shared(cargo->room * cargo->size);
    *channel = store;
    return store->slots ? 0 : ENOMEM;
}

static int copy_there(void *channel, const void *message, size_t size, size_t count)
{
    struct store *store = channel;

    (void)count;
    memcpy(store->slots + store->next * size, message, size);
    return 0;
}

static int copy_back(void *channel, void *message, size_t size, size_t most,
                     size_t *count)
{
    struct store *store = channel;

    (void)most;
    memcpy(message, store->slots + store->next * size, size);
    store->next = (store->next + 1) % store->room;
    *count = 1;
    return 0;
}

const struct bench_transport bench_ring = {make_ring, NULL, send_by_ring,
                                           receive_by_ring};
const struct bench_transport bench_memcpy = {make_store, NULL, copy_there, copy_back};
