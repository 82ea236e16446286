/* SPDX-License-Identifier: MIT */
/*
 * bench_stream.c - results that come one by one, and items that end in one value:
 * mp_pool_imap, mp_pool_imap_unordered and mp_pool_reduce.
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "bench.h"

enum { ITEMS = 400000, QUICK_ITEMS = 500, DOUBLES = 10000000, QUICK_DOUBLES = 1000 };

/* Calls of a round that are measured. */
enum { REPEATS = 3 };

static mp_pool *pool;
static int *own_items;
static double *own_doubles;

static int start_pool(void)
{
    return mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = BENCH_PROCESSES));
}

static int square(const void *arg, void *result, void *context)
{
    const int *x = arg;

    (void)context;
    *(int *)result = *x * *x;
    return 0;
}

static int prepare_items(const void *argument)
{
    (void)argument;
    own_items = calloc(ITEMS, sizeof(*own_items));
    if (!own_items)
        return ENOMEM;
    /* Squares of ints below 2^15 are ints. */
    for (size_t i = 0; i < ITEMS; i++)
        own_items[i] = (int)(i % 32768) + 1;
    return start_pool();
}

struct order {
    int (*begin)(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                 size_t item_size, size_t result_size, const mp_imap_options *options,
                 mp_imap **out);
};

/* Of all results in any order the sum is known. */
static int take_all(mp_imap *results, size_t count)
{
    uint64_t sum = 0, expected = 0;
    size_t taken = 0;
    int err, y;

    for (;;) {
        err = mp_imap_next(results, &y, NULL, MP_FOREVER);
        if (err)
            break;
        sum += (uint64_t)y;
        taken++;
    }
    if (err != EPIPE)
        return err;
    for (size_t i = 0; i < count; i++)
        expected += (uint64_t)own_items[i] * (uint64_t)own_items[i];
    return taken == count && sum == expected ? 0 : BENCH_WRONG;
}

static int imap_round(const void *argument, double *figures)
{
    const struct order *order = argument;
    size_t count = bench_size(ITEMS, QUICK_ITEMS);
    mp_imap *results;

    double before = bench_now();
    int err = order->begin(pool, square, own_items, count, sizeof(int), sizeof(int),
                           NULL, &results);
    if (err)
        return err;
    err = take_all(results, count);
    figures[0] = (double)count / (bench_now() - before);
    mp_imap_free(results);
    return err;
}

static int add(const void *arg, void *result, void *context)
{
    (void)context;
    *(double *)result += *(const double *)arg;
    return 0;
}

static void combine(void *result, const void *other, void *context)
{
    add(other, result, context);
}

static int allocate_doubles(void *(*take)(size_t size))
{
    own_doubles = take(DOUBLES * sizeof(*own_doubles));
    if (!own_doubles)
        return ENOMEM;
    for (size_t i = 0; i < DOUBLES; i++)
        own_doubles[i] = (double)i + 1;
    return 0;
}

/* The workers are made first: what they then get, they cannot have inherited. */
static int prepare_ordinary(const void *argument)
{
    (void)argument;
    int err = start_pool();
    return err ? err : allocate_doubles(malloc);
}

static int prepare_arena(const void *argument)
{
    (void)argument;
    int err = allocate_doubles(mp_shared_alloc);
    return err ? err : start_pool();
}

static int prepare_private(const void *argument)
{
    (void)argument;
    return allocate_doubles(malloc);
}

static int sum_by_pool(size_t count, double *sum)
{
    *sum = 0;
    return mp_pool_reduce(pool, add, combine, own_doubles, count, sizeof(double), sum,
                          sizeof(*sum), NULL);
}

static int sum_by_openmp(size_t count, double *sum)
{
    return bench_openmp_sum(add, own_doubles, count, sum);
}

struct adder {
    int (*sum)(size_t count, double *sum);
};

static int sum_round(const void *argument, double *figures)
{
    const struct adder *adder = argument;
    size_t count = bench_size(DOUBLES, QUICK_DOUBLES);
    double expected = (double)count * ((double)count + 1) / 2;
    double times[REPEATS];

    /* The first call only makes up for the time in which the others had the machine. */
    for (int i = -1; i < REPEATS; i++) {
        double sum;
        double before = bench_now();
        int err = adder->sum(count, &sum);

        times[i < 0 ? 0 : i] = bench_now() - before;
        if (err)
            return err;
        if (!(fabs(sum - expected) <= expected * 1e-9))
            return BENCH_WRONG;
    }
    figures[0] = (double)count / bench_median(times, REPEATS);
    return 0;
}

static const struct order any_order = {mp_pool_imap_unordered};
static const struct order same_order = {mp_pool_imap};

static const bench_contestant imap[] = {
    {"libmp, unordered", prepare_items, imap_round, &any_order},
    {"libmp, in order", prepare_items, imap_round, &same_order},
    {"Python imap_unordered", bench_python_prepare, bench_program_round,
     "imap_unordered"},
    {"Python as_completed", bench_python_prepare, bench_program_round,
     "executor.imap_unordered"},
    {"billiard imap_unordered", bench_python_prepare, bench_program_round,
     "billiard.imap_unordered"},
};
static const bench_row imap_rows[] = {
    {"imap_unordered: items a second", "M/s", 0, BENCH_NOBODY, 0, BENCH_AT_LEAST, 2},
    {"imap_unordered: items a second", "M/s", 0, 2, 0, BENCH_INFO, 0},
    {"imap_unordered: items a second", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"imap_unordered: items a second", "M/s", 0, 4, 0, BENCH_INFO, 0},
    {"imap: items a second, in order", "M/s", 1, 0, 0, BENCH_INFO, 0},
};

static const struct adder pool_adder = {sum_by_pool};
static const struct adder openmp_adder = {sum_by_openmp};

static const bench_contestant sums[] = {
    {"libmp, arena", prepare_arena, sum_round, &pool_adder},
    {"libmp, ordinary", prepare_ordinary, sum_round, &pool_adder},
    {"OpenMP reduction", prepare_private, sum_round, &openmp_adder},
    {"TBB parallel_reduce", bench_tbb_prepare, bench_program_round, "sum"},
};
static const bench_row sum_rows[] = {
    {"reduce: sum of 10^7 doubles, arena", "M/s", 0, 2, 0, BENCH_AT_LEAST, 0.9},
    {"reduce: sum of 10^7 doubles, arena", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"reduce: sum of 10^7 doubles, ordinary", "M/s", 1, 2, 0, BENCH_INFO, 0},
};

const bench_contest bench_stream_contests[] = {
    BENCH_CONTEST("imap", imap, imap_rows, 7),
    BENCH_CONTEST("reduce", sums, sum_rows, 0),
    {.name = NULL},
};
