/* SPDX-License-Identifier: MIT */
/*
 * bench_message.c - drives the transports of bench_message.h: streams from some
 * producers, and routes there and back.
 *
 * Producers are forked once and wait for each round to begin.  A round is as many
 * messages as passed in a tenth of a second when the contestant was prepared: what
 * carries thirty million a second and what carries a thousand both take that long.
 */
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "bench_message.h"
#include "bench_sync.h"

enum { MOST_PRODUCERS = 4, WORD = sizeof(uint64_t) };

/* What all that can be bounded may have under way. */
enum { ROOM = 1024, ROOM_BYTES = 4 << 20, LEAST_ROOM = 8 };

enum { FIRST_SHARE = 256, QUICK_BYTES = 1 << 20 };
enum { TRIP_RUNS = 5, TRIPS = 1000, QUICK_TRIPS = 20 };
enum { SLEEPY_TRIPS = 200, QUICK_SLEEPY_TRIPS = 5 };

static const double ROUND_SECONDS = 0.1;
static const double ENOUGH_TO_TELL = 0.02;
static const double STUCK = 10;

/* What the contestant and its producers share. */
static struct traffic {
    sem_t go[MOST_PRODUCERS];
    size_t share; /* messages of each producer */
} * own_traffic;

static struct bench_cargo own_cargo;
static void *own_channel, *own_way_back;
static unsigned char *own_messages;
static pid_t own_echo;

void bench_channel_name(char *name, size_t size, const char *prefix)
{
    static unsigned made;

    snprintf(name, size, "%slibmp-bench-%ld-%u", prefix, (long)getpid(), made++);
}

static size_t room_for(size_t size)
{
    size_t room = ROOM;

    while (room > LEAST_ROOM && room * size > ROOM_BYTES)
        room /= 2;
    return room;
}

static struct bench_cargo cargo_of(const struct bench_stream *stream)
{
    struct bench_cargo cargo = stream->cargo;

    if (!cargo.batch)
        cargo.batch = 1;
    if (!cargo.room)
        cargo.room = room_for(cargo.size);
    return cargo;
}

/* Messages in which every word tells its place, but for the first. */
static unsigned char *make_messages(void)
{
    unsigned char *messages = bench_shared(own_cargo.batch * own_cargo.size);

    for (size_t i = 0; messages && i < own_cargo.batch; i++)
        for (uint64_t at = 0; at < own_cargo.size; at += WORD)
            memcpy(messages + i * own_cargo.size + at, &at, WORD);
    return messages;
}

static uint64_t sum_of(const unsigned char *message)
{
    uint64_t sum = 0, word;

    for (size_t at = 0; at < own_cargo.size; at += BENCH_LINE) {
        memcpy(&word, message + at, WORD);
        sum += word;
    }
    return sum;
}

/* Of messages numbered from 1 to `count`. */
static uint64_t expected_sum(uint64_t count)
{
    uint64_t sum = 0;

    for (uint64_t at = BENCH_LINE; at < own_cargo.size; at += BENCH_LINE)
        sum += at;
    return count * sum + count * (count + 1) / 2;
}

/* Send a batch in which the numbers begin with `first`, and each is `step` more. */
static int send_batch(const struct bench_stream *stream, uint64_t first, uint64_t step)
{
    for (size_t i = 0; i < own_cargo.batch; i++, first += step)
        memcpy(own_messages + i * own_cargo.size, &first, WORD);
    return stream->transport->send(own_channel, own_messages, own_cargo.size,
                                   own_cargo.batch);
}

static int receive_batch(const struct bench_stream *stream, size_t most, size_t *count,
                         uint64_t *sum)
{
    int err = stream->transport->receive(
        own_channel, own_messages, own_cargo.size,
        most < own_cargo.batch ? most : own_cargo.batch, count);

    for (size_t i = 0; i < *count && !err; i++)
        *sum += sum_of(own_messages + i * own_cargo.size);
    return err;
}

static void go(sem_t *semaphore)
{
    while (sem_wait(semaphore) && errno == EINTR)
        continue;
}

/* Whoever can't go on ends the contestant, who would wait for the rest for ever. */
static _Noreturn void fail(const char *what, int err)
{
    fprintf(stderr, "bench: a process that %s failed: %s\n", what, mp_strerror(err));
    kill(getppid(), SIGTERM);
    _exit(1);
}

static _Noreturn void produce(const struct bench_stream *stream, unsigned index)
{
    uint64_t step = own_cargo.producers;
    int err = 0;

    own_messages = make_messages();
    if (!own_messages)
        err = ENOMEM;
    if (!err && stream->transport->attach)
        err = stream->transport->attach(own_channel, true);
    while (!err) {
        go(&own_traffic->go[index]);
        size_t share = own_traffic->share;
        for (size_t i = 0; i < share && !err; i += own_cargo.batch)
            err = send_batch(stream, 1 + index + i * step, step);
    }
    fail("sends", err);
}

static int pass_alone(const struct bench_stream *stream, uint64_t *sum)
{
    size_t share = own_traffic->share, count;
    int err = 0;

    for (size_t sent = 0; sent < share && !err; sent += own_cargo.batch) {
        err = send_batch(stream, 1 + sent, 1);
        for (size_t left = own_cargo.batch; left > 0 && !err; left -= count)
            err = receive_batch(stream, left, &count, sum);
    }
    return err;
}

static int pass_from_producers(const struct bench_stream *stream, uint64_t *sum)
{
    size_t left = own_traffic->share * own_cargo.producers, count;
    int err = 0;

    for (unsigned i = 0; i < own_cargo.producers; i++)
        sem_post(&own_traffic->go[i]);
    for (; left > 0 && !err; left -= count)
        err = receive_batch(stream, left, &count, sum);
    return err;
}

/* Let the share of each producer pass, and tell how many messages did in a second. */
static int pass(const struct bench_stream *stream, double *rate)
{
    unsigned producers = own_cargo.producers;
    size_t total = own_traffic->share * (producers ? producers : 1);
    uint64_t sum = 0;

    double before = bench_now();
    int err = producers ? pass_from_producers(stream, &sum) : pass_alone(stream, &sum);
    *rate = (double)total / (bench_now() - before);
    if (err)
        return err;
    return sum == expected_sum(total) ? 0 : BENCH_WRONG;
}

static size_t whole_batches(double share)
{
    size_t batches = (size_t)share / own_cargo.batch;

    return (batches ? batches : 1) * own_cargo.batch;
}

/* As many as pass in the time of a round. */
static int choose_share(const struct bench_stream *stream)
{
    double producers = own_cargo.producers ? own_cargo.producers : 1;
    double rate, wanted = FIRST_SHARE;

    if (bench_is_quick()) {
        size_t few = QUICK_BYTES / own_cargo.size;
        own_traffic->share =
            whole_batches((double)(few < ROOM ? few : ROOM) / producers);
        return 0;
    }
    for (;;) {
        own_traffic->share = whole_batches(wanted);
        int err = pass(stream, &rate);
        if (err)
            return err;
        if ((double)own_traffic->share * producers / rate >= ENOUGH_TO_TELL)
            break;
        wanted *= 4;
    }
    own_traffic->share = whole_batches(rate * ROUND_SECONDS / producers);
    return 0;
}

static int begin(const struct bench_stream *stream)
{
    own_cargo = cargo_of(stream);
    own_traffic = bench_shared(sizeof(*own_traffic));
    own_messages = make_messages();
    if (!own_traffic || !own_messages)
        return ENOMEM;
    for (unsigned i = 0; i < MOST_PRODUCERS; i++)
        if (sem_init(&own_traffic->go[i], 1, 0))
            return errno;
    return stream->transport->make(&own_channel, &own_cargo);
}

int bench_stream_prepare(const void *argument)
{
    const struct bench_stream *stream = argument;

    int err = begin(stream);
    if (err)
        return err;
    for (unsigned i = 0; i < own_cargo.producers; i++) {
        pid_t pid = bench_fork();
        if (pid < 0)
            return errno;
        if (pid == 0)
            produce(stream, i);
    }
    if (stream->transport->attach)
        err = stream->transport->attach(own_channel, false);
    return err ? err : choose_share(stream);
}

int bench_stream_round(const void *argument, double *figures)
{
    return pass(argument, &figures[0]);
}

/* There and back */

static int attach_both(const struct bench_transport *transport, bool is_echo)
{
    if (!transport->attach)
        return 0;
    int err = transport->attach(own_channel, !is_echo);
    return err ? err : transport->attach(own_way_back, is_echo);
}

static _Noreturn void echo(const struct bench_transport *transport)
{
    size_t count;

    int err = attach_both(transport, true);
    while (!err) {
        err = transport->receive(own_channel, own_messages, own_cargo.size, 1, &count);
        if (!err)
            err = transport->send(own_way_back, own_messages, own_cargo.size, 1);
    }
    fail("answers", err);
}

int bench_route_prepare(const void *argument)
{
    const struct bench_stream *stream = argument;

    int err = begin(stream);
    if (!err)
        err = stream->transport->make(&own_way_back, &own_cargo);
    if (err)
        return err;
    own_echo = bench_fork();
    if (own_echo < 0)
        return errno;
    if (own_echo == 0) {
        /* What has been mapped before is shared. */
        own_messages = make_messages();
        if (!own_messages)
            fail("answers", ENOMEM);
        echo(stream->transport);
    }
    return attach_both(stream->transport, false);
}

int bench_route_prepare_apart(const void *argument)
{
    bench_take_processor(0, 2);
    int err = bench_route_prepare(argument);
    return err ? err : bench_move(own_echo, 1);
}

static int trip(const struct bench_transport *transport, uint64_t number)
{
    uint64_t answer;
    size_t count;

    memcpy(own_messages, &number, WORD);
    int err = transport->send(own_channel, own_messages, own_cargo.size, 1);
    memset(own_messages, 0, WORD);
    if (!err)
        err = transport->receive(own_way_back, own_messages, own_cargo.size, 1, &count);
    memcpy(&answer, own_messages, WORD);
    return err ? err : answer == number ? 0 : BENCH_WRONG;
}

int bench_route_round(const void *argument, double *figures)
{
    const struct bench_stream *stream = argument;
    size_t count = bench_size(TRIPS, QUICK_TRIPS);
    double times[TRIP_RUNS];
    int err = 0;

    for (size_t run = 0; run < TRIP_RUNS; run++) {
        double before = bench_now();
        for (size_t i = 0; i < count && !err; i++)
            err = trip(stream->transport, i + 1);
        times[run] = (bench_now() - before) / (double)count;
    }
    figures[0] = bench_median(times, TRIP_RUNS);
    return err;
}

/* It has nothing to do but to wait for the next message. */
static int await_sleep(void)
{
    double limit = bench_now() + STUCK;

    for (;;) {
        char state = bench_state_of(own_echo);
        if (state == 'S')
            return 0;
        if (!state)
            return BENCH_ABSENT;
        if (bench_now() > limit)
            return ETIMEDOUT;
        bench_sleep(0.00005);
    }
}

int bench_sleepy_route_round(const void *argument, double *figures)
{
    const struct bench_stream *stream = argument;
    size_t count = bench_size(SLEEPY_TRIPS, QUICK_SLEEPY_TRIPS);
    double times[SLEEPY_TRIPS];

    for (size_t i = 0; i < count; i++) {
        int err = await_sleep();
        double before = bench_now();

        if (!err)
            err = trip(stream->transport, i + 1);
        if (err)
            return err;
        times[i] = bench_now() - before;
    }
    figures[0] = bench_median(times, count);
    return 0;
}
