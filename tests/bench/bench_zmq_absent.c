/* SPDX-License-Identifier: MIT */
/* bench_zmq_absent.c - in place of bench_zmq.c where there is no ZeroMQ. */
#include "bench.h"
#include "bench_message.h"

static int absent(void **channel, const struct bench_cargo *cargo)
{
    (void)channel;
    (void)cargo;
    return BENCH_ABSENT;
}

const struct bench_transport bench_zmq = {.make = absent};
