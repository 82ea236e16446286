/* SPDX-License-Identifier: MIT */
/*
 * bench_tbb.cpp - oneTBB as a yardstick: a program of its own, compiled only where TBB
 * is found, so that neither C++ nor TBB's threads get into the process of anybody else.
 *
 *   bench_tbb map|singles|roots|heavy|sum|apply_async [full|quick]
 *
 * Prints one figure for every line that it reads, after a first one when it is ready,
 * and -1 for a wrong result; figures are items per second.
 */
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_reduce.h>
#include <tbb/partitioner.h>
#include <tbb/task_group.h>

namespace
{

constexpr int threads = 2; /* BENCH_PROCESSES */

using task_fn = int(const void *arg, void *result, void *context);
using clock_type = std::chrono::steady_clock;

double now()
{
    return std::chrono::duration<double>(clock_type::now().time_since_epoch()).count();
}

int square(const void *arg, void *result, void *)
{
    int x = *static_cast<const int *>(arg);

    *static_cast<int *>(result) = x * x;
    return 0;
}

int root(const void *arg, void *result, void *)
{
    *static_cast<double *>(result) = std::sqrt(*static_cast<const double *>(arg));
    return 0;
}

int add(const void *arg, void *result, void *)
{
    *static_cast<double *>(result) += *static_cast<const double *>(arg);
    return 0;
}

int spin(const void *arg, void *result, void *)
{
    double length = *static_cast<const double *>(arg);
    double end = now() + length;

    while (now() < end)
        ;
    *static_cast<double *>(result) = length;
    return 0;
}

/* As with libmp: the compiler cannot see which function it is that is called. */
task_fn *volatile square_task = square;
task_fn *volatile root_task = root;
task_fn *volatile add_task = add;
task_fn *volatile spin_task = spin;

using range = tbb::blocked_range<std::size_t>;

template <class T, class Partitioner>
double rate(task_fn *task, const std::vector<T> &items, std::vector<T> &results,
            std::size_t grain, const Partitioner &partitioner)
{
    double before = now();
    tbb::parallel_for(
        range(0, items.size(), grain),
        [&](const range &part) {
            for (std::size_t i = part.begin(); i != part.end(); i++)
                task(&items[i], &results[i], nullptr);
        },
        partitioner);
    return static_cast<double>(items.size()) / (now() - before);
}

std::vector<int> make_ints(std::size_t count)
{
    std::vector<int> items(count);

    for (std::size_t i = 0; i < count; i++)
        items[i] = static_cast<int>(i % 32768) + 1;
    return items;
}

std::vector<double> make_doubles(std::size_t count)
{
    std::vector<double> items(count);

    for (std::size_t i = 0; i < count; i++)
        items[i] = static_cast<double>(i) + 1;
    return items;
}

bool are_squares(const std::vector<int> &items, const std::vector<int> &results)
{
    for (std::size_t i = 0; i < items.size(); i++)
        if (results[i] != items[i] * items[i])
            return false;
    return true;
}

/* As with libmp: the first run only warms up, and of the others the median counts. */
double median_of(const std::function<double()> &run)
{
    double figures[3];

    run();
    for (double &figure : figures)
        figure = run();
    std::sort(figures, figures + 3);
    return figures[1];
}

double run_map(bool quick)
{
    static const std::vector<int> items = make_ints(quick ? 1000 : 10000000);
    static std::vector<int> results(items.size());
    double figure = median_of(
        [] { return rate(square_task, items, results, 1, tbb::auto_partitioner()); });

    return are_squares(items, results) ? figure : -1;
}

double run_singles(bool quick)
{
    static const std::vector<int> items = make_ints(quick ? 1000 : 1000000);
    static std::vector<int> results(items.size());
    double figure = median_of(
        [] { return rate(square_task, items, results, 1, tbb::simple_partitioner()); });

    return are_squares(items, results) ? figure : -1;
}

double run_roots(bool quick)
{
    static const std::vector<double> items = make_doubles(quick ? 1000 : 10000000);
    static std::vector<double> results(items.size());
    double figure = median_of(
        [] { return rate(root_task, items, results, 1, tbb::auto_partitioner()); });

    for (std::size_t i = 0; i < items.size(); i++)
        if (!(std::fabs(results[i] * results[i] - items[i]) <= items[i] * 1e-14))
            return -1;
    return figure;
}

double run_heavy(bool quick)
{
    std::vector<double> items(quick ? 10 : 200, 1e-3);
    std::vector<double> results(items.size());
    double figure = rate(spin_task, items, results, 1, tbb::simple_partitioner());

    return items == results ? figure : -1;
}

double run_sum(bool quick)
{
    static const std::vector<double> items = make_doubles(quick ? 1000 : 10000000);
    static double sum;
    double count = static_cast<double>(items.size());
    double figure = median_of([count] {
        double before = now();
        task_fn *fold = add_task;

        sum = tbb::parallel_reduce(
            range(0, items.size()), 0.0,
            [fold](const range &part, double own) {
                for (std::size_t i = part.begin(); i != part.end(); i++)
                    fold(&items[i], &own, nullptr);
                return own;
            },
            std::plus<double>());
        return count / (now() - before);
    });

    return std::fabs(sum - count * (count + 1) / 2) <= sum * 1e-9 ? figure : -1;
}

/* One task after the other into a group, and then the results of all. */
double run_apply_async(bool quick)
{
    static const std::vector<int> items = make_ints(quick ? 500 : 200000);
    static std::vector<int> results(items.size());
    task_fn *task = square_task;
    double before = now();
    tbb::task_group group;

    for (std::size_t i = 0; i < items.size(); i++)
        group.run([task, i] { task(&items[i], &results[i], nullptr); });
    group.wait();
    double elapsed = now() - before;
    return are_squares(items, results) ? static_cast<double>(items.size()) / elapsed
                                       : -1;
}

const struct {
    const char *name;
    double (*run)(bool quick);
} subjects[] = {{"map", run_map},     {"singles", run_singles},
                {"roots", run_roots}, {"heavy", run_heavy},
                {"sum", run_sum},     {"apply_async", run_apply_async}};

} // namespace

int main(int argc, char **argv)
{
    tbb::global_control control(tbb::global_control::max_allowed_parallelism, threads);
    bool quick = argc > 2 && std::strcmp(argv[2], "quick") == 0;
    double (*run)(bool) = nullptr;

    for (const auto &subject : subjects)
        if (argc > 1 && std::strcmp(argv[1], subject.name) == 0)
            run = subject.run;
    if (!run)
        return 2;
    std::puts("0");
    std::fflush(stdout);
    while (std::getchar() != EOF) {
        std::printf("%.9g\n", run(quick));
        std::fflush(stdout);
    }
    return 0;
}
