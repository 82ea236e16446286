/* SPDX-License-Identifier: MIT */
/*
 * bench_openmp.c - the loops of OpenMP that the pool is compared with.
 *
 * It is always compiled; a compiler without OpenMP makes it say that it is absent.
 */
#include "bench.h"

#if defined(_OPENMP)

#define ITEM(index)   ((const char *)items + (size_t)(index)*item_size)
#define RESULT(index) ((char *)results + (size_t)(index)*result_size)

int bench_openmp_guided(mp_task_fn *task, const void *items, size_t count,
                        size_t item_size, void *results, size_t result_size)
{
    const int team = BENCH_PROCESSES;
    int failures = 0;

#pragma omp parallel for num_threads(team) schedule(guided) reduction(| : failures)
    for (size_t i = 0; i < count; i++)
        failures |= task(ITEM(i), RESULT(i), NULL);
    return failures;
}

int bench_openmp_dynamic(mp_task_fn *task, const void *items, size_t count,
                         size_t item_size, void *results, size_t result_size)
{
    const int team = BENCH_PROCESSES;
    int failures = 0;

#pragma omp parallel for num_threads(team) schedule(dynamic, 1) reduction(| : failures)
    for (size_t i = 0; i < count; i++)
        failures |= task(ITEM(i), RESULT(i), NULL);
    return failures;
}

int bench_openmp_tasks(mp_task_fn *task, const void *items, size_t count,
                       size_t item_size, void *results, size_t result_size)
{
    const int team = BENCH_PROCESSES;
    atomic_int failures = 0;

#pragma omp parallel num_threads(team)
#pragma omp single
    for (size_t i = 0; i < count; i++) {
#pragma omp task firstprivate(i)
        {
            int failure = task(ITEM(i), RESULT(i), NULL);

            if (failure)
                atomic_fetch_or(&failures, failure);
        }
    }
    return failures;
}

int bench_openmp_sum(mp_task_fn *fold, const double *items, size_t count, double *sum)
{
    const int team = BENCH_PROCESSES;
    double total = 0;
    int failures = 0;

#pragma omp parallel num_threads(team) reduction(+ : total) reduction(| : failures)
    {
        double own = 0;

#pragma omp for schedule(guided) nowait
        for (size_t i = 0; i < count; i++)
            failures |= fold(&items[i], &own, NULL);
        total += own;
    }
    *sum = total;
    return failures;
}

#else

int bench_openmp_guided(mp_task_fn *task, const void *items, size_t count,
                        size_t item_size, void *results, size_t result_size)
{
    (void)task, (void)items, (void)count, (void)item_size;
    (void)results, (void)result_size;
    return BENCH_ABSENT;
}

int bench_openmp_dynamic(mp_task_fn *task, const void *items, size_t count,
                         size_t item_size, void *results, size_t result_size)
{
    return bench_openmp_guided(task, items, count, item_size, results, result_size);
}

int bench_openmp_tasks(mp_task_fn *task, const void *items, size_t count,
                       size_t item_size, void *results, size_t result_size)
{
    return bench_openmp_guided(task, items, count, item_size, results, result_size);
}

int bench_openmp_sum(mp_task_fn *fold, const double *items, size_t count, double *sum)
{
    (void)fold, (void)items, (void)count, (void)sum;
    return BENCH_ABSENT;
}

#endif
