/* SPDX-License-Identifier: MIT */
/* bench_boost_absent.c - in place of bench_boost.cpp where there is no Boost. */
#include "bench.h"
#include "bench_message.h"
#include "bench_sync.h"

static int absent(void **out)
{
    (void)out;
    return BENCH_ABSENT;
}

static int no_channel(void **channel, const struct bench_cargo *cargo)
{
    (void)cargo;
    return absent(channel);
}

const struct bench_transport bench_boost_message_queue = {.make = no_channel};
const struct bench_lock_kind bench_boost_mutex = {.make = absent};
const struct bench_lock_kind bench_boost_recursive_mutex = {.make = absent};
const struct bench_lock_kind bench_boost_semaphore = {.make = absent};
const struct bench_lock_kind bench_boost_sharable_read = {.make = absent};
const struct bench_lock_kind bench_boost_sharable_write = {.make = absent};
const struct bench_condition_kind bench_boost_condition = {.make = absent};
