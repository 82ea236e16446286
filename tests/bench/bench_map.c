/* SPDX-License-Identifier: MIT */
/*
 * bench_map.c - mp_pool_map of items that take next to no time, beside loops of OpenMP,
 * TBB and bare processes, and beside the pools of Python and Perl.
 */
#include <math.h>

#include "bench_work.h"

/* Squares of ints below 2^15 are ints. */
static int square(const void *arg, void *result, void *context)
{
    const int *x = arg;

    (void)context;
    *(int *)result = *x * *x;
    return 0;
}

static void fill_ints(void *items, size_t count)
{
    int *x = items;

    for (size_t i = 0; i < count; i++)
        x[i] = (int)(i % 32768) + 1;
}

static bool are_squares(const void *items, const void *results, size_t count)
{
    const int *x = items;
    const int *y = results;
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++)
        wrong += y[i] != x[i] * x[i];
    return wrong == 0;
}

static int root(const void *arg, void *result, void *context)
{
    (void)context;
    *(double *)result = sqrt(*(const double *)arg);
    return 0;
}

static void fill_doubles(void *items, size_t count)
{
    double *x = items;

    for (size_t i = 0; i < count; i++)
        x[i] = (double)i + 1;
}

static bool are_roots(const void *items, const void *results, size_t count)
{
    const double *x = items;
    const double *y = results;
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++)
        wrong += !(fabs(y[i] * y[i] - x[i]) <= x[i] * 1e-14);
    return wrong == 0;
}

/* Ten million items. */

static const struct bench_work squares = {
    .task = square,
    .fill = fill_ints,
    .is_right = are_squares,
    .item_size = sizeof(int),
    .result_size = sizeof(int),
    .count = 10000000,
    .quick_count = 1000,
    .repeats = 3,
};
static const struct bench_entry squares_arena = {&squares, &bench_arena_engine};
static const struct bench_entry squares_ordinary = {&squares, &bench_ordinary_engine};
static const struct bench_entry squares_guided = {&squares, &bench_guided_engine};

static const bench_contestant squares_contestants[] = {
    {"libmp, arena", bench_work_prepare, bench_work_round, &squares_arena},
    {"libmp, ordinary", bench_work_prepare, bench_work_round, &squares_ordinary},
    {"OpenMP guided", bench_work_prepare, bench_work_round, &squares_guided},
    {"TBB parallel_for", bench_tbb_prepare, bench_program_round, "map"},
};
static const bench_row squares_rows[] = {
    {"map: x*x of 10^7 ints, arena", "M/s", 0, 2, 0, BENCH_AT_LEAST, 0.95},
    {"map: x*x of 10^7 ints, arena", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"map: x*x of 10^7 ints, ordinary memory", "M/s", 1, 2, 0, BENCH_AT_LEAST, 0.5},
};

/* The pools of other languages get fewer of the same items, for they need longer. */

static const bench_contestant peers_contestants[] = {
    {"libmp, arena", bench_work_prepare, bench_work_round, &squares_arena},
    {"libmp, ordinary", bench_work_prepare, bench_work_round, &squares_ordinary},
    {"Python Pool.map", bench_python_prepare, bench_program_round, "map"},
    {"Python Executor.map", bench_python_prepare, bench_program_round, "executor.map"},
    {"billiard Pool.map", bench_python_prepare, bench_program_round, "billiard.map"},
    {"joblib Parallel", bench_python_prepare, bench_program_round, "joblib.map"},
    {"pebble map", bench_python_prepare, bench_program_round, "pebble.map"},
    {"Perl MCE::Map", bench_perl_prepare, bench_program_round, "map"},
};
static const bench_row peers_rows[] = {
    {"map: x*x of ints, arena", "M/s", 0, 2, 0, BENCH_AT_LEAST, 50},
    {"map: x*x of ints, ordinary memory", "M/s", 1, 2, 0, BENCH_AT_LEAST, 50},
    {"map: x*x of ints, ordinary memory", "M/s", 1, 3, 0, BENCH_INFO, 0},
    {"map: x*x of ints, ordinary memory", "M/s", 1, 4, 0, BENCH_INFO, 0},
    {"map: x*x of ints, ordinary memory", "M/s", 1, 5, 0, BENCH_INFO, 0},
    {"map: x*x of ints, ordinary memory", "M/s", 1, 6, 0, BENCH_INFO, 0},
    {"map: x*x of ints, ordinary memory", "M/s", 1, 7, 0, BENCH_INFO, 0},
};

static const struct bench_work roots = {
    .task = root,
    .fill = fill_doubles,
    .is_right = are_roots,
    .item_size = sizeof(double),
    .result_size = sizeof(double),
    .count = 10000000,
    .quick_count = 1000,
    .repeats = 3,
};
static const struct bench_entry roots_arena = {&roots, &bench_arena_engine};
static const struct bench_entry roots_ordinary = {&roots, &bench_ordinary_engine};
static const struct bench_entry roots_guided = {&roots, &bench_guided_engine};

static const bench_contestant roots_contestants[] = {
    {"libmp, arena", bench_work_prepare, bench_work_round, &roots_arena},
    {"libmp, ordinary", bench_work_prepare, bench_work_round, &roots_ordinary},
    {"OpenMP guided", bench_work_prepare, bench_work_round, &roots_guided},
    {"TBB parallel_for", bench_tbb_prepare, bench_program_round, "roots"},
};
static const bench_row roots_rows[] = {
    {"map: sqrt of 10^7 doubles, arena", "M/s", 0, 2, 0, BENCH_AT_LEAST, 0.95},
    {"map: sqrt of 10^7 doubles, arena", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"map: sqrt of 10^7 doubles, ordinary", "M/s", 1, 2, 0, BENCH_AT_LEAST, 0.7},
};

/* One item at a time. */

static const struct bench_work singles = {
    .task = square,
    .fill = fill_ints,
    .is_right = are_squares,
    .item_size = sizeof(int),
    .result_size = sizeof(int),
    .count = 1000000,
    .quick_count = 1000,
    .repeats = 3,
    .chunk_size = 1,
};
static const struct bench_entry singles_arena = {&singles, &bench_arena_engine};
static const struct bench_entry singles_dynamic = {&singles, &bench_dynamic_engine};
static const struct bench_entry singles_crew = {&singles, &bench_crew_engine};

static const bench_contestant singles_contestants[] = {
    {"libmp", bench_work_prepare, bench_work_round, &singles_arena},
    {"OpenMP dynamic,1", bench_work_prepare, bench_work_round, &singles_dynamic},
    {"bare forks and fetch_add", bench_work_prepare, bench_work_round, &singles_crew},
    {"TBB simple, grain 1", bench_tbb_prepare, bench_program_round, "singles"},
};
static const bench_row singles_rows[] = {
    {"map: x*x of 10^6 ints, chunk_size 1", "M/s", 0, 1, 0, BENCH_AT_LEAST, 0.9},
    {"map: x*x of 10^6 ints, chunk_size 1", "M/s", 0, 2, 0, BENCH_AT_LEAST, 0.8},
    {"map: x*x of 10^6 ints, chunk_size 1", "M/s", 0, 3, 0, BENCH_INFO, 0},
};

/* A call so short that what it costs to begin and to end is all there is. */

static const struct bench_work few = {
    .task = square,
    .fill = fill_ints,
    .is_right = are_squares,
    .item_size = sizeof(int),
    .result_size = sizeof(int),
    .count = 1000,
    .quick_count = 1000,
    .repeats = 501,
};
static const struct bench_entry few_arena = {&few, &bench_arena_engine};
static const struct bench_entry few_ordinary = {&few, &bench_ordinary_engine};
static const struct bench_entry few_guided = {&few, &bench_guided_engine};

static const bench_contestant few_contestants[] = {
    {"libmp, arena", bench_work_prepare, bench_work_round, &few_arena},
    {"libmp, ordinary", bench_work_prepare, bench_work_round, &few_ordinary},
    {"OpenMP guided", bench_work_prepare, bench_work_round, &few_guided},
};
static const bench_row few_rows[] = {
    {"map: a call of 1000 items, arena", "us", 0, BENCH_NOBODY, 1, BENCH_AT_MOST, 10},
    {"map: a call of 1000 items, arena", "us", 0, 2, 1, BENCH_INFO, 0},
    {"map: a call of 1000 items, ordinary", "us", 1, 2, 1, BENCH_INFO, 0},
};

const bench_contest bench_map_contests[] = {
    BENCH_CONTEST("map squares", squares_contestants, squares_rows, 0),
    BENCH_CONTEST("map peers", peers_contestants, peers_rows, 7),
    BENCH_CONTEST("map roots", roots_contestants, roots_rows, 0),
    BENCH_CONTEST("map singles", singles_contestants, singles_rows, 0),
    BENCH_CONTEST("map few", few_contestants, few_rows, 0),
    {.name = NULL},
};
