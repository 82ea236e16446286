# SPDX-License-Identifier: MIT
"""The yardsticks that Python's synchronization sets; bench_python.py plays all others.

    bench_python_sync.py lock|rlock|semaphore|value [full|quick]
    bench_python_sync.py event|condition [full|quick]
    bench_python_sync.py barrier_2|barrier_8 [full|quick]

Prints one figure for every line that it reads, after a first one when it is ready: the
seconds of one acquire and release, of one wake, of one crossing; or -1 if it went wrong.
"""

import multiprocessing
import statistics
import sys
import time

RUNS = 5
STUCK = 10


class Pairs:
    """Acquire and release, with nobody else about."""

    def __init__(self, lock, quick):
        self.lock = lock
        self.count = 100 if quick else 50_000

    def go(self, count):
        acquire, release = self.lock.acquire, self.lock.release
        for _ in range(count):
            acquire()
            release()

    def round(self):
        times = []
        for _ in range(RUNS):
            before = time.perf_counter()
            self.go(self.count)
            times.append((time.perf_counter() - before) / self.count)
        return statistics.median(times)


class Count(Pairs):
    """Counts in a Value as Python's documentation says that one should."""

    def go(self, count):
        value = self.lock
        for _ in range(count):
            with value.get_lock():
                value.value += 1

    def round(self):
        before = self.lock.value
        figure = super().round()
        return figure if self.lock.value == before + RUNS * self.count else -1


class EventBell:
    def __init__(self):
        self.event = multiprocessing.Event()

    def wait(self, note):
        self.event.wait()
        note()
        self.event.clear()

    def ring(self):
        self.event.set()


class ConditionBell:
    def __init__(self):
        self.condition = multiprocessing.Condition()
        self.raised = multiprocessing.RawValue("b", 0)

    def wait(self, note):
        with self.condition:
            while not self.raised.value:
                self.condition.wait()
            note()
            self.raised.value = 0

    def ring(self):
        with self.condition:
            self.raised.value = 1
            self.condition.notify()


class Wakes:
    """From just before the ring until the wait of one who was asleep returns."""

    def __init__(self, bell, quick):
        self.bell = bell
        self.count = 3 if quick else 200
        self.turn = 0
        self.waiting = multiprocessing.RawValue("L", 0)
        self.woken = multiprocessing.RawValue("L", 0)
        self.woken_at = multiprocessing.RawValue("d", 0)
        self.waiter = multiprocessing.Process(target=self.be_woken, daemon=True)
        self.waiter.start()

    def be_woken(self):
        while True:
            self.waiting.value += 1
            self.bell.wait(self.note)
            self.woken.value += 1

    def note(self):
        self.woken_at.value = time.perf_counter()

    def is_asleep(self):
        with open(f"/proc/{self.waiter.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "S"

    @staticmethod
    def wait_until(condition, pause):
        limit = time.perf_counter() + STUCK
        while not condition():
            if time.perf_counter() > limit:
                raise TimeoutError
            time.sleep(pause)

    def wake(self):
        self.turn += 1
        self.wait_until(lambda: self.waiting.value >= self.turn, 0)
        self.wait_until(self.is_asleep, 0.00005)
        before = time.perf_counter()
        self.bell.ring()
        self.wait_until(lambda: self.woken.value >= self.turn, 0)
        return self.woken_at.value - before

    def round(self):
        return statistics.median(self.wake() for _ in range(self.count))


class Crossings:
    """All parties meet at the barrier, again and again."""

    def __init__(self, parties, quick):
        self.parties = parties
        self.count = 10 if quick else 200
        self.crossed = 0
        self.barrier = multiprocessing.Barrier(parties)
        self.crossings = multiprocessing.RawArray("L", parties)
        for i in range(1, parties):
            multiprocessing.Process(target=self.cross, args=(i,), daemon=True).start()

    def cross(self, i):
        while True:
            self.barrier.wait()
            self.crossings[i] += 1

    def round(self):
        self.barrier.wait()
        before = time.perf_counter()
        for _ in range(self.count):
            self.barrier.wait()
        elapsed = time.perf_counter() - before
        self.crossed += self.count + 1
        # All were there: who has not counted the last crossing yet has had all before.
        if any(self.crossings[i] + 1 < self.crossed for i in range(1, self.parties)):
            return -1
        return elapsed / self.count


SUBJECTS = {
    "lock": lambda quick: Pairs(multiprocessing.Lock(), quick),
    "rlock": lambda quick: Pairs(multiprocessing.RLock(), quick),
    "semaphore": lambda quick: Pairs(multiprocessing.Semaphore(1), quick),
    "value": lambda quick: Count(multiprocessing.Value("q", 0), quick),
    "event": lambda quick: Wakes(EventBell(), quick),
    "condition": lambda quick: Wakes(ConditionBell(), quick),
    "barrier_2": lambda quick: Crossings(2, quick),
    "barrier_8": lambda quick: Crossings(8, quick),
}


def main():
    subject = SUBJECTS.get(sys.argv[1])
    if subject is None:
        # Nothing is to be left behind in the tree of the sources.
        sys.dont_write_bytecode = True
        import bench_python

        return bench_python.main()
    # As libmp does it: nothing else lets the children find what is shared.
    multiprocessing.set_start_method("fork")
    contestant = subject(sys.argv[2:] == ["quick"])
    print(0, flush=True)
    for _ in sys.stdin:
        print(contestant.round(), flush=True)


if __name__ == "__main__":
    main()
