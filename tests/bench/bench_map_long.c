/* SPDX-License-Identifier: MIT */
/*
 * bench_map_long.c - mp_pool_map of items that take their time: how well they are
 * shared out, beside what nobody can do better.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "bench_work.h"

/* Busy for as many seconds as the item says, whatever the processor's speed. */
static int spin(const void *arg, void *result, void *context)
{
    double length = *(const double *)arg;
    double end = bench_now() + length;

    (void)context;
    while (bench_now() < end)
        ;
    *(double *)result = length;
    return 0;
}

/*
 * Lengths by a power law from 5 us up to 5 ms: most items take next to nothing, and a
 * few take most of the time.  The sequence is the same in every run.
 */
static void fill_lengths(void *items, size_t count)
{
    double *length = items;
    uint64_t state = 88172645463325252;

    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        double uniform = ((double)(state >> 11) + 1) / 9007199254740992.0;
        length[i] = fmin(5e-6 * pow(uniform, -1 / 1.1), 5e-3);
    }
}

/* A millisecond each: what it costs to hand them out should not be seen. */
static void fill_heavy(void *items, size_t count)
{
    double *length = items;

    for (size_t i = 0; i < count; i++)
        length[i] = 1e-3;
}

static bool are_same(const void *items, const void *results, size_t count)
{
    return memcmp(items, results, count * sizeof(double)) == 0;
}

/* What nobody can do better: all processes busy all the time. */
static int ideal_round(const void *argument, double *figures)
{
    size_t count;
    const double *length = bench_work_items(&count);
    double sum = 0, longest = 0;

    (void)argument;
    for (size_t i = 0; i < count; i++) {
        sum += length[i];
        longest = fmax(longest, length[i]);
    }
    figures[1] = fmax(sum / BENCH_PROCESSES, longest);
    figures[0] = (double)count / figures[1];
    return 0;
}

/* Items of very different lengths. */

static const struct bench_work lengths = {
    .task = spin,
    .fill = fill_lengths,
    .is_right = are_same,
    .item_size = sizeof(double),
    .result_size = sizeof(double),
    .count = 5000,
    .quick_count = 100,
    .repeats = 1,
};
static const struct bench_entry lengths_arena = {&lengths, &bench_arena_engine};
static const struct bench_entry lengths_dynamic = {&lengths, &bench_dynamic_engine};

static const bench_contestant lengths_contestants[] = {
    {"libmp", bench_work_prepare, bench_work_round, &lengths_arena},
    {"ideal: half of the sum", bench_work_prepare, ideal_round, &lengths_dynamic},
    {"OpenMP dynamic,1", bench_work_prepare, bench_work_round, &lengths_dynamic},
};
static const bench_row lengths_rows[] = {
    {"map: 5000 uneven items, makespan", "ms", 0, 1, 1, BENCH_AT_MOST, 1.05},
    {"map: 5000 uneven items, makespan", "ms", 0, 2, 1, BENCH_INFO, 0},
};

static const struct bench_work heavy = {
    .task = spin,
    .fill = fill_heavy,
    .is_right = are_same,
    .item_size = sizeof(double),
    .result_size = sizeof(double),
    .count = 200,
    .quick_count = 10,
    .repeats = 1,
};
static const struct bench_entry heavy_arena = {&heavy, &bench_arena_engine};
static const struct bench_entry heavy_dynamic = {&heavy, &bench_dynamic_engine};
static const struct bench_entry heavy_crew = {&heavy, &bench_crew_engine};

static const bench_contestant heavy_contestants[] = {
    {"libmp", bench_work_prepare, bench_work_round, &heavy_arena},
    {"ideal: half of the sum", bench_work_prepare, ideal_round, &heavy_dynamic},
    {"OpenMP dynamic,1", bench_work_prepare, bench_work_round, &heavy_dynamic},
    {"bare forks and fetch_add", bench_work_prepare, bench_work_round, &heavy_crew},
    {"TBB simple, grain 1", bench_tbb_prepare, bench_program_round, "heavy"},
    {"Python Pool.map", bench_python_prepare, bench_program_round, "heavy"},
    {"Python Executor.map", bench_python_prepare, bench_program_round,
     "executor.heavy"},
    {"billiard Pool.map", bench_python_prepare, bench_program_round, "billiard.heavy"},
    {"joblib Parallel", bench_python_prepare, bench_program_round, "joblib.heavy"},
    {"pebble map", bench_python_prepare, bench_program_round, "pebble.heavy"},
    {"Perl MCE::Map", bench_perl_prepare, bench_program_round, "heavy"},
};
static const bench_row heavy_rows[] = {
    {"map: 200 items of 1 ms", "k/s", 0, 1, 0, BENCH_AT_LEAST, 0.95},
    {"map: 200 items of 1 ms", "k/s", 0, 2, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 3, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 4, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 5, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 6, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 7, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 8, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 9, 0, BENCH_INFO, 0},
    {"map: 200 items of 1 ms", "k/s", 0, 10, 0, BENCH_INFO, 0},
};

const bench_contest bench_map_long_contests[] = {
    BENCH_CONTEST("map uneven", lengths_contestants, lengths_rows, 0),
    BENCH_CONTEST("map heavy", heavy_contestants, heavy_rows, 7),
    {.name = NULL},
};
