# SPDX-License-Identifier: MIT
# memory.py - the Python half of test_memory.c: see python.h.
import os
import sys
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import ShareableList, SharedMemory

ITEMS = ['howdy', b'HoWdY', -273.154, 100, None, True, 42, '', '\u00e9' * 4, b'x\0\0',
         'aaaaaaaa']


# As shared_memory.h advises, so that Python does not take the block for its own.
def attach(name):
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    memory = SharedMemory(name)
    resource_tracker.unregister('/' + name, 'shared_memory')
    return memory


# A list has no option for it before its block has been opened.
def attach_list(name):
    memory = ShareableList(name=name)
    resource_tracker.unregister('/' + name, 'shared_memory')
    return memory


def is_pattern(view, seed):
    size = len(view)
    return bytes(view) == bytes((i + seed) % 251 for i in range(size))


# --- blocks -------------------------------------------------------------------------

# A block of C's: look at it, change it, let C look at it, look at what C has changed.
def attached(fd, name, size):
    with Connection(int(fd)) as connection:
        memory = attach(name)
        assert memory.name == name and memory.size == int(size), memory.size
        assert is_pattern(memory.buf, 0)
        memory.buf[:] = bytes((i + 1) % 251 for i in range(memory.size))
        connection.send_bytes(b'changed')
        assert connection.recv_bytes() == b'changed'
        assert is_pattern(memory.buf, 2)
        memory.close()


# A block of Python's, which ends by Python's unlink.
def made(fd, name, size):
    with Connection(int(fd)) as connection:
        memory = SharedMemory(name or None, create=True, size=int(size))
        assert bytes(memory.buf) == bytes(int(size))
        memory.buf[:] = bytes(i % 251 for i in range(memory.size))
        connection.send_bytes(memory.name.encode())
        assert connection.recv_bytes() == b'changed'
        assert is_pattern(memory.buf, 1)
        memory.close()
        memory.unlink()


def missing(name):
    try:
        SharedMemory(name)
    except FileNotFoundError:
        return
    assert False, 'it is there'


def taken(name):
    try:
        SharedMemory(name, create=True, size=1)
    except FileExistsError:
        return
    assert False, 'it could be made'


# Without the advice: the resource tracker removes the block, and says so.
def careless(name):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    SharedMemory(name).close()


# --- lists --------------------------------------------------------------------------

def list_attached(fd, name):
    with Connection(int(fd)) as connection:
        seen = attach_list(name)
        assert len(seen) == 11
        assert list(seen) == ITEMS[:9] + [b'x'] + ITEMS[10:], list(seen)
        assert seen.format == '8s8sdqxxxxxx?xxxxxxxx?q8s8s8s16s', seen.format
        assert seen.index(42) == 6 and seen.count(True) == 1
        for place, item in ((0, -5), (1, None), (2, False), (3, 'exactly8'), (4, 2.5),
                            (5, b'abc'), (10, '\u00e9' * 8)):
            seen[place] = item
        connection.send_bytes(b'changed')
        assert connection.recv_bytes() == b'changed'
        assert seen[0] == 2**63 - 1 and seen[1] == 'C' and seen[2] is None
        assert seen[3] == -2**63 and seen[4] is True and seen[5] == b'\1\2'
        assert seen[10] == 'sixteen letters.'
        seen.shm.close()


def list_made(fd, name):
    with Connection(int(fd)) as connection:
        made = ShareableList(ITEMS, name=name or None)
        connection.send_bytes(made.shm.name.encode())
        assert connection.recv_bytes() == b'changed'
        assert list(made) == [
            2**63 - 1, 'text', None, 1.5, True, False, b'\1\2', '8 bytes.', 'x', b'',
            'sixteen letters.'], list(made)
        made[3] = 7
        connection.send_bytes(b'changed')
        assert connection.recv_bytes() == b'thanks'
        made.shm.close()
        made.shm.unlink()


# Each of many numbers, of which the other side changes those with an odd place.
def list_shared(fd, name, count):
    count = int(count)
    with Connection(int(fd)) as connection:
        seen = attach_list(name)
        connection.send_bytes(b'go')
        for place in range(0, count, 2):
            seen[place] = -place
        assert connection.recv_bytes() == b'done'
        assert list(seen) == [-i if i % 2 == 0 else i / 2 for i in range(count)]
        seen.shm.close()


# The lists of 3.8 have another form.
def list_of_38(fd, name):
    with Connection(int(fd)) as connection:
        made = ShareableList(ITEMS)
        connection.send_bytes(made.shm.name.encode())
        assert connection.recv_bytes() == b'refused'
        made.shm.close()
        made.shm.unlink()


globals()[sys.argv[1]](*sys.argv[2:])
