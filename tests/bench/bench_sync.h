/* SPDX-License-Identifier: MIT */
/*
 * bench_sync.h - what the benchmarks of synchronization share, in C and in C++.
 *
 * Every lock is called through a pair of pointers, and every condition through five, so
 * that no contestant has an advantage from being inlined.
 */
#ifndef BENCH_SYNC_H
#define BENCH_SYNC_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Each function returns 0, or an error as in bench.h. */
struct bench_lock_kind {
    int (*make)(void **lock);
    int (*acquire)(void *lock);
    int (*release)(void *lock);
};

/* bench_lock_alone - how many seconds an acquire and a release take with nobody else
   about: of `count` pairs, a few times.  0, or the errors of all calls together. */
int bench_lock_alone(const struct bench_lock_kind *kind, void *lock, size_t count,
                     double *seconds);

struct bench_condition_kind {
    int (*make)(void **condition);
    int (*acquire)(void *condition);
    int (*release)(void *condition);
    int (*wait)(void *condition);
    int (*notify)(void *condition);
};

/*
 * Boost.Interprocess.  Where it is not installed, `make` returns BENCH_ABSENT, and
 * BENCH_BOOST lets the table say why.
 */
extern const struct bench_lock_kind bench_boost_mutex;
extern const struct bench_lock_kind bench_boost_recursive_mutex;
extern const struct bench_lock_kind bench_boost_semaphore;
extern const struct bench_lock_kind bench_boost_sharable_read;
extern const struct bench_lock_kind bench_boost_sharable_write;
extern const struct bench_condition_kind bench_boost_condition;

#ifdef BENCH_HAVE_BOOST
#define BENCH_BOOST(type) "Boost " type
#else
#define BENCH_BOOST(type) "Boost, not installed"
#endif

/* bench_state_of - how the kernel names the state of a process: 'R', 'S', ...; or 0. */
char bench_state_of(pid_t pid);

/* The contestant of bench_sleepers.c; the argument is not used. */
int bench_sleepers_prepare(const void *argument);
int bench_sleepers_round(const void *argument, double *figures);

#ifdef __cplusplus
}
#endif

#endif
