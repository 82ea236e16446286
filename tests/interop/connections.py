# SPDX-License-Identifier: MIT
# connections.py - the Python half of test_connections.c: see python.h.
import os
import pickle
import signal
import subprocess
import sys
from multiprocessing.connection import Client, Connection, Listener, Pipe, wait

ALPHABET = bytes(range(251))
SIZES = (0, 1, 3, 4, 4092, 4093, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20,
         64 << 20)


# Byte i is (i + seed) % 251.
def pattern(size, seed):
    seed %= 251
    return (ALPHABET * (size // 251 + 2))[seed:seed + size]


# The same without a second copy of something large.
def is_pattern(message, size, seed):
    piece = 251 * 4096
    expected = pattern(piece, seed)
    view = memoryview(message)
    return len(view) == size and all(
        view[i:i + piece] == expected[:min(piece, size - i)]
        for i in range(0, size, piece))


def send_sizes(connection, sizes=SIZES):
    for seed, size in enumerate(sizes):
        connection.send_bytes(pattern(size, seed))


def expect_sizes(connection, sizes=SIZES):
    for seed, size in enumerate(sizes):
        assert is_pattern(connection.recv_bytes(), size, seed), size


def expect_end(connection):
    try:
        connection.recv_bytes()
    except EOFError:
        return
    assert False, 'no end'


# --- sizes --------------------------------------------------------------------------

def both_ways(connection):
    expect_sizes(connection)
    send_sizes(connection)
    expect_end(connection)


def inherited(fd):
    with Connection(int(fd)) as connection:
        both_ways(connection)


def reader(fd):
    with Connection(int(fd), writable=False) as connection:
        expect_sizes(connection)
        expect_end(connection)


def writer(fd):
    with Connection(int(fd), readable=False) as connection:
        send_sizes(connection)


def client(host, port):
    with Client((host, int(port)) if port else host) as connection:
        both_ways(connection)


def listener(host):
    with Listener((host, 0) if host else None) as door:
        print('%s:%d' % door.address if host else door.address, flush=True)
        with door.accept() as connection:
            both_ways(connection)


def huge(fd, *sizes):
    sizes = [int(size) for size in sizes]
    with Connection(int(fd)) as connection:
        expect_sizes(connection, sizes)
        send_sizes(connection, sizes)


def burst(fd, count):
    with Connection(int(fd)) as connection:
        for number in range(int(count)):
            connection.send_bytes(pattern(number % 100, number))
        for number in range(int(count)):
            assert connection.recv_bytes() == pattern(number % 100, number)


# Python starts a C program, which inherits one end.
def start(program):
    ours, theirs = Pipe()
    child = subprocess.Popen([program, 'echo', str(theirs.fileno())],
                             pass_fds=[theirs.fileno()])
    theirs.close()
    for seed, size in enumerate(SIZES):
        message = pattern(size, seed)
        if size < 1 << 17:
            ours.send_bytes(message)
            assert ours.recv_bytes() == message
    ours.close()
    print(child.wait())


# --- objects ------------------------------------------------------------------------

OBJECTS = [5, None, 'text', b'bytes', [1, 2.5, {'key': (True, 'value')}], 'x' * 100000]


def objects(fd):
    with Connection(int(fd)) as connection:
        for thing in OBJECTS:
            connection.send(thing)
            assert connection.recv() == thing
        assert connection.recv() == 5
        try:
            connection.recv()
        except pickle.UnpicklingError:
            return
        assert False, 'a text was taken for an object'


# --- waiting ------------------------------------------------------------------------

def waiting(fd, port):
    first = Connection(int(fd))
    second = Client(('127.0.0.1', int(port)))
    print(len(wait([first, second], 0)), flush=True)
    print(wait([first, second]) == [second], flush=True)
    print(second.recv_bytes().decode(), flush=True)
    while len(wait([first, second])) < 2:
        pass
    expect_end(first)
    print(second.poll(), second.recv_bytes().decode(), second.poll(0), flush=True)


def talking(fd):
    connection = Connection(int(fd))
    for _ in range(3):
        connection.recv_bytes()
        connection.send_bytes(b'yes')
    connection.recv_bytes()


# --- ends ---------------------------------------------------------------------------

def dies(fd, where):
    pieces = {'between': b'', 'header': b'\0\0', 'payload': b'\0\0\0\5ab',
              'long_header': b'\xff\xff\xff\xff\0\0'}
    fd = int(fd)
    os.write(fd, b'\0\0\0\2hi' + pieces[where])
    os.kill(os.getpid(), signal.SIGKILL)


def left_alone(fd, error):
    connection = Connection(int(fd))
    try:
        while True:
            connection.recv_bytes()
    except (EOFError, OSError) as left:
        print(type(left).__name__, left, flush=True)
    try:
        while error:
            connection.send_bytes(bytes(1 << 20))
    except ConnectionError as left:
        print(type(left).__name__, flush=True)


def refuses_long_ones(fd):
    with Connection(int(fd)) as connection:
        print(connection.recv_bytes(10).decode(), flush=True)
        try:
            connection.recv_bytes(10)
        except OSError as error:
            print(error)


globals()[sys.argv[1]](*sys.argv[2:])
