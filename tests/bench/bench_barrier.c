/* SPDX-License-Identifier: MIT */
/*
 * bench_barrier.c - processes that meet at a barrier, again and again.
 *
 * All keep to two processors, and all that are in C are forked in the same way.  Boost
 * has no barrier for processes.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "bench.h"

enum { LINE = 64, MOST_PARTIES = 8 };

struct barrier_kind {
    int (*make)(unsigned parties);
    int (*wait)(void);
    unsigned parties; /* two have a processor each */
};

/* How often each of the others has been let through. */
static struct crossings {
    _Alignas(LINE) _Atomic unsigned long count;
} * own_crossings;
static unsigned long own_crossed;

static mp_barrier *own_barrier;
static pthread_barrier_t *own_posix_barrier;

static int make_barrier(unsigned parties)
{
    return mp_barrier_new(&own_barrier, parties, NULL);
}

static int wait_barrier(void)
{
    return mp_barrier_wait(own_barrier, MP_FOREVER, NULL);
}

static int make_posix_barrier(unsigned parties)
{
    pthread_barrierattr_t attributes;

    own_posix_barrier = bench_shared(sizeof(*own_posix_barrier));
    if (!own_posix_barrier)
        return ENOMEM;
    int err = pthread_barrierattr_init(&attributes);
    if (!err)
        err = pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    return err ? err : pthread_barrier_init(own_posix_barrier, &attributes, parties);
}

static int wait_posix_barrier(void)
{
    int err = pthread_barrier_wait(own_posix_barrier);

    return err == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : err;
}

/* However many the machine has. */
static void keep_to_two_processors(void)
{
#if defined(__linux__)
    cpu_set_t all, two;

    if (sched_getaffinity(0, sizeof(all), &all))
        return;
    CPU_ZERO(&two);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&two) < 2; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &two);
    (void)sched_setaffinity(0, sizeof(two), &two);
#endif
}

static int barrier_prepare(const void *argument)
{
    const struct barrier_kind *kind = argument;

    if (kind->parties > 2)
        keep_to_two_processors();
    else
        bench_take_processor(0, 2);
    own_crossings = bench_shared(MOST_PARTIES * sizeof(*own_crossings));
    if (!own_crossings)
        return ENOMEM;
    int err = kind->make(kind->parties);
    for (unsigned i = 1; i < kind->parties && !err; i++) {
        pid_t pid = bench_fork();

        if (pid < 0)
            return errno;
        if (pid > 0 && kind->parties == 2)
            err = bench_move(pid, 1);
        while (pid == 0)
            if (kind->wait())
                _exit(1);
            else
                atomic_fetch_add(&own_crossings[i].count, 1);
    }
    return err;
}

static int python_prepare(const void *argument)
{
    keep_to_two_processors();
    return bench_python_prepare(argument);
}

static int barrier_round(const void *argument, double *figures)
{
    const struct barrier_kind *kind = argument;
    size_t count = bench_size(2000, 20);
    int failures = 0;

    /* The first crossing wakes those who have slept since the last round. */
    failures |= kind->wait();
    double before = bench_now();
    for (size_t i = 0; i < count; i++)
        failures |= kind->wait();
    figures[0] = (bench_now() - before) / (double)count;
    own_crossed += count + 1;

    /* All were there: who has not counted the last crossing yet has had all before. */
    for (unsigned i = 1; i < kind->parties; i++)
        if (atomic_load(&own_crossings[i].count) + 1 < own_crossed)
            return BENCH_WRONG;
    return failures;
}

static const struct barrier_kind two = {make_barrier, wait_barrier, 2};
static const struct barrier_kind posix_two = {make_posix_barrier, wait_posix_barrier,
                                              2};
static const struct barrier_kind eight = {make_barrier, wait_barrier, MOST_PARTIES};
static const struct barrier_kind posix_eight = {make_posix_barrier, wait_posix_barrier,
                                                MOST_PARTIES};

static const bench_contestant barriers[] = {
    {"libmp", barrier_prepare, barrier_round, &two},
    {"pthread_barrier, shared", barrier_prepare, barrier_round, &posix_two},
    {"Python Barrier", python_prepare, bench_program_round, "barrier_2"},
    {"libmp", barrier_prepare, barrier_round, &eight},
    {"pthread_barrier, shared", barrier_prepare, barrier_round, &posix_eight},
    {"Python Barrier", python_prepare, bench_program_round, "barrier_8"},
};

static const bench_row barrier_rows[] = {
    {"barrier: 2 processes, a processor each", "us", 0, 1, 0, BENCH_AT_MOST, 0.2},
    {"barrier: 2 processes, a processor each", "us", 0, 2, 0, BENCH_INFO, 0},
    {"barrier: 8 processes on 2 processors", "us", 3, 4, 0, BENCH_AT_MOST, 1.0},
    {"barrier: 8 processes on 2 processors", "us", 3, 5, 0, BENCH_INFO, 0},
};

const bench_contest bench_barrier_contests[] = {
    BENCH_CONTEST("barrier", barriers, barrier_rows, 0),
    {.name = NULL},
};
