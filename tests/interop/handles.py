# SPDX-License-Identifier: MIT
# handles.py - the Python half of test_handles.c: see python.h.
import os
import socket
import sys
from multiprocessing import reduction
from multiprocessing.connection import Client, Connection


def socket_of(connection):
    return socket.socket(fileno=os.dup(connection.fileno()))


# One descriptor at a time, between messages.
def one(fd):
    with Connection(int(fd)) as connection:
        assert connection.recv_bytes() == b'one comes'
        received = reduction.recv_handle(connection)
        assert os.read(received, 100) == b'from C'
        os.close(received)
        readable, writable = os.pipe()
        connection.send_bytes(b'and one back')
        reduction.send_handle(connection, readable, os.getppid())
        os.close(readable)
        assert connection.recv_bytes() == b'thanks'
        os.write(writable, b'from Python')
        os.close(writable)


def many(fd, count):
    count = int(count)
    with Connection(int(fd)) as connection, socket_of(connection) as plain:
        fds = reduction.recvfds(plain, count)
        for number, received in enumerate(fds):
            assert os.pread(received, 10, 0) == b'%d' % number
        reduction.sendfds(plain, fds[::-1])
        assert connection.recv_bytes() == b'thanks'
        for received in fds:
            os.close(received)


# The two ends of a connection become our ends: what we make can be handed on to C.
def hand_over(address):
    with Client(address, authkey=b'secret') as connection:
        ours, theirs = socket.socketpair()
        reduction.send_handle(connection, theirs.fileno(), 0)
        theirs.close()
        with Connection(ours.detach()) as private:
            private.send_bytes(b'hello')
            assert private.recv_bytes() == b'olleh'


# Descriptors where a message is expected, and a message where they are.
def mixed_up(fd, what):
    with Connection(int(fd)) as connection:
        if what == 'message':
            connection.send_bytes(b'no descriptor')
        elif what == 'too many':
            with socket_of(connection) as plain:
                reduction.sendfds(plain, [0, 1, 2])
        connection.recv_bytes()


globals()[sys.argv[1]](*sys.argv[2:])
