/* SPDX-License-Identifier: MIT */
/*
 * bench_work.h - the same items for everybody: by a map of libmp, a loop of OpenMP, or
 * bare processes.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include "bench.h"

/* A kind of item, and what is done with it. */
struct bench_work {
    mp_task_fn *task;
    void (*fill)(void *items, size_t count);
    bool (*is_right)(const void *items, const void *results, size_t count);
    size_t item_size;
    size_t result_size;
    size_t count;
    size_t quick_count;
    size_t repeats; /* calls of a round that are measured */
    size_t chunk_size;
};

/* The one who runs it; `run` gets the arrays that `start` allocated. */
struct bench_engine {
    int (*start)(const struct bench_work *work);
    int (*run)(const struct bench_work *work);
};

struct bench_entry {
    const struct bench_work *work;
    const struct bench_engine *engine;
};

/* Maps of libmp, of arrays in the arena and of others. */
extern const struct bench_engine bench_arena_engine;
extern const struct bench_engine bench_ordinary_engine;

/* Loops of OpenMP. */
extern const struct bench_engine bench_guided_engine;
extern const struct bench_engine bench_dynamic_engine;

/* Bare processes that take one item at a time from a shared cursor. */
extern const struct bench_engine bench_crew_engine;

/*
 * bench_work_prepare, bench_work_round - a contestant that does work by an engine: the
 * argument is a bench_entry.
 *
 * Figure 0 of a round is items per second, figure 1 seconds for a call.
 */
int bench_work_prepare(const void *argument);
int bench_work_round(const void *argument, double *figures);

/* bench_work_items - the items of this contestant, and how many they are. */
const void *bench_work_items(size_t *count);

#endif
