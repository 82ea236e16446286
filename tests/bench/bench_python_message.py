# SPDX-License-Identifier: MIT
"""The yardsticks that Python's messages set.

    bench_python_message.py KIND/SIZE/PRODUCERS [full|quick]
    bench_python_message.py KIND/SIZE/trip [full|quick]

The kind is queue, simple_queue or pipe; a pipe has one producer.  Prints one figure for
every line that it reads, after a first one when it is ready: messages per second, or the
seconds of a round trip; or -1 if messages were lost, doubled or broken.
"""

import multiprocessing
import statistics
import sys
import time

NUMBERED = 8
ROOM = 1024
ROOM_BYTES = 4 << 20
LEAST_ROOM = 8


class Queue:
    """Bounded as all others that can be."""

    def __init__(self, size):
        room = max(LEAST_ROOM, min(ROOM, ROOM_BYTES // size))
        queue = multiprocessing.Queue(room)
        self.send, self.receive = queue.put, queue.get


class SimpleQueue:
    def __init__(self, _):
        queue = multiprocessing.SimpleQueue()
        self.send, self.receive = queue.put, queue.get


class Pipe:
    def __init__(self, _):
        there, here = multiprocessing.Pipe()
        self.send, self.receive = here.send_bytes, there.recv_bytes


KINDS = {"queue": Queue, "simple_queue": SimpleQueue, "pipe": Pipe}


def make_messages(size):
    """A few that differ in the number at their beginning."""
    rest = bytes(size - 8)
    return [number.to_bytes(8, "little") + rest for number in range(NUMBERED)]


class Stream:
    def __init__(self, kind, size, producers, quick):
        self.channel = KINDS[kind](size)
        self.size = size
        self.producers = producers
        few = max(1, min(ROOM, (1 << 20) // size) // producers)
        self.share = few if quick else max(8, min(20_000, (64 << 20) // size) // producers)
        self.go = [multiprocessing.Semaphore(0) for _ in range(producers)]
        for go in self.go:
            multiprocessing.Process(target=self.produce, args=(go,), daemon=True).start()

    def produce(self, go):
        messages, send = make_messages(self.size), self.channel.send
        while True:
            go.acquire()
            for i in range(self.share):
                send(messages[i % NUMBERED])

    def round(self):
        total = self.share * self.producers
        expected = sum(i % NUMBERED for i in range(self.share)) * self.producers
        receive, size, found = self.channel.receive, self.size, 0
        before = time.perf_counter()
        for go in self.go:
            go.release()
        for _ in range(total):
            message = receive()
            found += message[0] if len(message) == size else size
        elapsed = time.perf_counter() - before
        return total / elapsed if found == expected else -1


class Trips:
    def __init__(self, kind, size, quick):
        self.there, self.back = KINDS[kind](size), KINDS[kind](size)
        self.messages = make_messages(size)
        self.count = 10 if quick else 500
        multiprocessing.Process(target=self.echo, daemon=True).start()

    def echo(self):
        while True:
            self.back.send(self.there.receive())

    def round(self):
        times = []
        for i in range(self.count):
            message = self.messages[i % NUMBERED]
            before = time.perf_counter()
            self.there.send(message)
            answer = self.back.receive()
            times.append(time.perf_counter() - before)
            if answer != message:
                return -1
        return statistics.median(times)


def main():
    kind, size, shape = sys.argv[1].split("/")
    quick = sys.argv[2:] == ["quick"]
    # As libmp does it: nothing else lets the children find what is shared.
    multiprocessing.set_start_method("fork")
    if shape == "trip":
        contestant = Trips(kind, int(size), quick)
    else:
        contestant = Stream(kind, int(size), int(shape), quick)
    contestant.round()
    print(0, flush=True)
    for _ in sys.stdin:
        print(contestant.round(), flush=True)


if __name__ == "__main__":
    main()
