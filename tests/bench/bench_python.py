# SPDX-License-Identifier: MIT
"""The yardsticks of the benchmark that Python's pools set.

    bench_python.py [LIBRARY.]SUBJECT [full|quick]

The library is multiprocessing if it is not given, or billiard, executor (that is
concurrent.futures.ProcessPoolExecutor), joblib or pebble.  The subject is map, heavy,
apply_async, apply or imap_unordered, and with multiprocessing also memory, life_2 or
life_64.

Prints one figure for every line that it reads, after a first one when it is ready, and
-1 for a wrong result: seconds for apply and life, KiB for memory, items per second for
the others.  Ends without a word if the library is not installed.
"""

import importlib
import multiprocessing
import os
import signal
import statistics
import sys
import time

WORKERS = 2
HEAVY = 0.001


def square(x):
    return x * x


def spin(length):
    """Busy for so many seconds, as libmp's heavy items are."""
    end = time.perf_counter() + length
    while time.perf_counter() < end:
        pass
    return length


class Pool:
    """multiprocessing's own."""

    many = 1_000_000

    def __init__(self, library):
        self.pool = importlib.import_module(library).Pool(WORKERS)

    def map(self, task, items, chunk):
        return self.pool.map(task, items, chunk)

    def apply_async(self, task, items):
        promises = [self.pool.apply_async(task, (x,)) for x in items]
        return [promise.get() for promise in promises]

    def apply(self, task, item):
        return self.pool.apply(task, (item,))

    def imap_unordered(self, task, items):
        return list(self.pool.imap_unordered(task, items))

    def close(self):
        self.pool.terminate()
        self.pool.join()


class Billiard(Pool):
    """Its `terminate` waits for ever now and then, and its threads keep the program."""

    def close(self):
        for process in self.pool._pool:
            os.kill(process.pid, signal.SIGKILL)
        os._exit(0)


class Executor:
    many = 200_000

    def __init__(self, _):
        self.futures = importlib.import_module("concurrent.futures")
        context = multiprocessing.get_context("fork")
        self.pool = self.futures.ProcessPoolExecutor(WORKERS, mp_context=context)

    def map(self, task, items, chunk):
        # Without a chunk size it takes items one by one.
        return list(self.pool.map(task, items, chunksize=chunk or 1000))

    def apply_async(self, task, items):
        futures = [self.pool.submit(task, x) for x in items]
        return [future.result() for future in futures]

    def apply(self, task, item):
        return self.pool.submit(task, item).result()

    def imap_unordered(self, task, items):
        futures = [self.pool.submit(task, x) for x in items]
        return [future.result() for future in self.futures.as_completed(futures)]

    def close(self):
        self.pool.shutdown()


class Joblib:
    many = 20_000

    def __init__(self, _):
        self.joblib = importlib.import_module("joblib")
        self.pool = self.joblib.Parallel(n_jobs=WORKERS)
        self.pool.__enter__()

    def map(self, task, items, chunk):
        self.pool.batch_size = chunk or "auto"
        delayed = self.joblib.delayed(task)
        return self.pool(delayed(x) for x in items)

    def apply_async(self, task, items):
        return self.map(task, items, 1)

    def apply(self, task, item):
        return self.map(task, [item], 1)[0]

    def close(self):
        self.pool.__exit__(None, None, None)
        # Its workers outlive it, for the next one.
        loky = importlib.import_module("joblib.externals.loky")
        loky.get_reusable_executor().shutdown()


class Pebble:
    many = 200_000

    def __init__(self, _):
        self.pool = importlib.import_module("pebble").ProcessPool(max_workers=WORKERS)

    def map(self, task, items, chunk):
        return list(self.pool.map(task, items, chunksize=chunk or 1000).result())

    def apply_async(self, task, items):
        futures = [self.pool.schedule(task, args=[x]) for x in items]
        return [future.result() for future in futures]

    def apply(self, task, item):
        return self.pool.schedule(task, args=[item]).result()

    def close(self):
        self.pool.stop()
        self.pool.join()


LIBRARIES = {
    "multiprocessing": Pool,
    "billiard": Billiard,
    "executor": Executor,
    "joblib": Joblib,
    "pebble": Pebble,
}


def rate(items, wanted, run):
    """Items per second of one run that gives the results wanted."""
    before = time.perf_counter()
    results = run(items)
    elapsed = time.perf_counter() - before
    return len(items) / elapsed if results == wanted else -1


def run_map(pool, quick):
    """With the chunk size that the library chooses itself, if it chooses any."""
    items = [i % 32768 for i in range(1_000 if quick else pool.many)]
    wanted = [x * x for x in items]
    return rate(items, wanted, lambda xs: pool.map(square, xs, None))


def run_heavy(pool, quick):
    items = [HEAVY] * (10 if quick else 200)
    return rate(items, items, lambda xs: pool.map(spin, xs, 1))


def run_apply_async(pool, quick):
    items = range(100 if quick else 5_000)
    wanted = [x * x for x in items]
    return rate(items, wanted, lambda xs: pool.apply_async(square, xs))


def run_imap_unordered(pool, quick):
    items = range(100 if quick else 5_000)
    wanted = [x * x for x in items]
    return rate(items, wanted, lambda xs: sorted(pool.imap_unordered(square, xs)))


def run_apply(pool, quick):
    """Seconds of one call: the median, as with libmp."""
    times = []
    for x in range(10 if quick else 300):
        before = time.perf_counter()
        result = pool.apply(square, x)
        times.append(time.perf_counter() - before)
        if result != x * x:
            return -1
    return statistics.median(times)


def run_apply_asleep(pool, quick):
    """The same for workers that had nothing to do for a while."""
    times = []
    for x in range(5 if quick else 100):
        time.sleep(0.002)
        before = time.perf_counter()
        result = pool.apply(square, x)
        times.append(time.perf_counter() - before)
        if result != x * x:
            return -1
    return statistics.median(times)


def run_memory(pool, _):
    """The proportional share of an idle worker, in KiB."""
    shares = []
    for process in multiprocessing.active_children():
        with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as file:
            shares += [float(line.split()[1]) for line in file if line[:4] == "Pss:"]
    return statistics.mean(shares) if len(shares) == WORKERS else -1


def run_life(workers):
    """Seconds to make a pool, run one task, and end it."""

    def run(_, quick):
        before = time.perf_counter()
        pool = multiprocessing.Pool(2 if quick else workers)
        result = pool.apply(square, (7,))
        pool.terminate()
        pool.join()
        return time.perf_counter() - before if result == 49 else -1

    return run


SUBJECTS = {
    "map": run_map,
    "heavy": run_heavy,
    "apply_async": run_apply_async,
    "apply": run_apply,
    "apply_asleep": run_apply_asleep,
    "imap_unordered": run_imap_unordered,
    "memory": run_memory,
    "life_2": run_life(2),
    "life_64": run_life(64),
}


def main():
    library, _, subject = sys.argv[1].rpartition(".")
    run = SUBJECTS[subject]
    quick = sys.argv[2:] == ["quick"]
    # Later releases of Python have another default, which C programs need not compare with.
    multiprocessing.set_start_method("fork")
    library = library or "multiprocessing"
    try:
        pool = LIBRARIES[library](library)
    except ImportError:
        return
    try:
        pool.map(square, range(100), None)
        print(0, flush=True)
        for _ in sys.stdin:
            print(run(pool, quick), flush=True)
    finally:
        pool.close()


if __name__ == "__main__":
    main()
