# SPDX-License-Identifier: MIT
"""The yardsticks of the benchmark that Python's multiprocessing sets.

    bench_python.py map|apply|apply_async [full|quick]

Prints one figure for every line that it reads, after a first one when it is ready, and
-1 for a wrong result: seconds for apply, items per second for the others.
"""

import multiprocessing
import statistics
import sys
import time


def square(x):
    return x * x


def run_map(pool, quick):
    """Items per second of Pool.map, with the chunk size that it chooses itself."""
    items = [i % 32768 for i in range(1_000 if quick else 1_000_000)]
    before = time.perf_counter()
    results = pool.map(square, items)
    elapsed = time.perf_counter() - before
    return len(items) / elapsed if results == [x * x for x in items] else -1


def run_apply(pool, quick):
    """Seconds of one Pool.apply: the median, as with libmp."""
    times = []
    for x in range(10 if quick else 500):
        before = time.perf_counter()
        result = pool.apply(square, (x,))
        times.append(time.perf_counter() - before)
        if result != x * x:
            return -1
    return statistics.median(times)


def run_apply_async(pool, quick):
    """Tasks per second of Pool.apply_async, until the last result is there."""
    count = 100 if quick else 10_000
    before = time.perf_counter()
    promises = [pool.apply_async(square, (x,)) for x in range(count)]
    results = [promise.get() for promise in promises]
    elapsed = time.perf_counter() - before
    return count / elapsed if results == [x * x for x in range(count)] else -1


SUBJECTS = {"map": run_map, "apply": run_apply, "apply_async": run_apply_async}


def main():
    run = SUBJECTS[sys.argv[1]]
    quick = sys.argv[2:] == ["quick"]
    with multiprocessing.Pool(2) as pool:
        pool.map(square, range(100))
        print(0, flush=True)
        for _ in sys.stdin:
            print(run(pool, quick), flush=True)


if __name__ == "__main__":
    main()
