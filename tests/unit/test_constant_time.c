/* SPDX-License-Identifier: MIT */
/*
 * test_constant_time.c - how long it takes to compare an answer with what it should be
 * does not tell where they differ.
 *
 * Comparisons that differ in the first byte and in the last one are timed in random
 * order, and Welch's t tells whether their means are apart.  A few measurements were
 * interrupted: those that took longest, in both classes alike, are left out.  memcmp,
 * which stops at the first difference, must be told apart by the same means.
 */
#include "support/test.h"

#include <math.h>
#include <time.h>

#include "ipc/digest.h"

enum { SIZE = 32, REPEATS = 20 /* in one measurement */ };

static unsigned samples;

struct class
{
    double count, mean, squares;
};

static void enter(struct class *class, double value)
{
    double from_mean = value - class->mean;

    class->count++;
    class->mean += from_mean / class->count;
    class->squares += from_mean * (value - class->mean);
}

static double welch(const struct class *a, const struct class *b)
{
    double variance =
        a->squares / (a->count - 1) / a->count + b->squares / (b->count - 1) / b->count;
    return (a->mean - b->mean) / sqrt(variance);
}

static bool by_libmp(const void *one, const void *other)
{
    return mp__equal(one, other, SIZE);
}

static bool by_early_exit(const void *one, const void *other)
{
    const unsigned char *a = one, *b = other;

    for (size_t i = 0; i < SIZE; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static double time_of(bool (*equal)(const void *, const void *), const void *one,
                      const void *other)
{
    volatile unsigned differ = 0;
    int64_t before = now_ns();

    for (int i = 0; i < REPEATS; i++)
        differ += !equal(one, other);
    return (double)(now_ns() - before);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Above that value are a tenth of the measurements. */
static double limit_of(const double *times, unsigned count)
{
    double *sorted = malloc(count * sizeof *sorted);

    assert_non_null(sorted);
    memcpy(sorted, times, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    double limit = sorted[count - count / 10];
    free(sorted);
    return limit;
}

static double t_of(bool (*equal)(const void *, const void *))
{
    static const unsigned char right[SIZE] = {1, 2, 3};
    unsigned char answer[SIZE];
    double *times = malloc(samples * sizeof *times);
    unsigned char *kinds = malloc(samples);
    struct class classes[2];
    uint64_t dice = 20240229;

    assert_non_null(times);
    assert_non_null(kinds);
    for (unsigned i = 0; i < samples; i++) {
        kinds[i] = (unsigned char)(next_random(&dice) >> 40 & 1);
        /* At the same place, for places have times of their own. */
        memcpy(answer, right, SIZE);
        answer[0] ^= kinds[i];
        answer[SIZE - 1] ^= !kinds[i];
        times[i] = time_of(equal, right, answer);
    }
    double limit = limit_of(times, samples);
    memset(classes, 0, sizeof classes);
    for (unsigned i = 0; i < samples; i++)
        if (times[i] < limit)
            enter(&classes[kinds[i]], times[i]);
    free(times);
    free(kinds);
    return welch(&classes[0], &classes[1]);
}

static void test_time_tells_nothing(void **state)
{
    (void)state;
    double early = t_of(by_early_exit), ours = t_of(by_libmp);

    printf("t of an early exit: %.1f, of libmp: %.1f, with %u samples\n", early, ours,
           samples);
    assert_true(fabs(early) > 50);
    assert_true(fabs(ours) < 4.5);
}

int main(void)
{
    static const struct CMUnitTest constant_time[] = {
        TEST(test_time_tells_nothing),
    };

    samples = env_number("MP_TEST_NIGHTLY", 0) ? 4000000 : 200000;
    return TEST_MAIN(constant_time);
}
