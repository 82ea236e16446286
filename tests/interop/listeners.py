# SPDX-License-Identifier: MIT
# listeners.py - the Python half of test_listeners.c: see python.h.
import hmac
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client, Listener, answer_challenge, deliver_challenge)

SIZES = (0, 1, 5, 16384, 16385, 1000000)


def address_of(text):
    if text.startswith('/'):
        return text
    host, port = text.rsplit(':', 1)
    return (host, int(port))


def key_of(text):
    return None if text == 'none' else text[1:].encode()


def talk(connection):
    for size in SIZES:
        message = bytes(i % 251 for i in range(size))
        connection.send_bytes(message)
        assert connection.recv_bytes() == message


def echo(connection):
    try:
        while True:
            connection.send_bytes(connection.recv_bytes())
    except EOFError:
        pass


# Without a key a client takes our challenge for an echo; with one, an end for none.
def client(address, key):
    try:
        with Client(address_of(address), authkey=key_of(key)) as connection:
            talk(connection)
        print('done')
    except (AuthenticationError, AssertionError, EOFError, ConnectionError):
        print('refused')


def listener(family, key):
    tcp = ('localhost', 0) if family == 'tcp' else None
    with Listener(tcp, authkey=key_of(key)) as door:
        print('127.0.0.1:%d' % door.address[1] if tcp else door.address, flush=True)
        try:
            with door.accept() as connection:
                echo(connection)
            print('done')
        except (AuthenticationError, EOFError, ConnectionError):
            print('refused')


# Listener and client of Python ask for sha256; this one for any other.
def digest_client(address, digest):
    with Client(address_of(address)) as connection:
        answer_challenge(connection, b'secret')
        deliver_challenge(connection, b'secret', digest)
        talk(connection)
    print('done')


def digest_listener(digest):
    with Listener(None) as door:
        print(door.address, flush=True)
        with door.accept() as connection:
            deliver_challenge(connection, b'secret', digest)
            answer_challenge(connection, b'secret')
            echo(connection)
    print('done')


# The same listener goes on after those that were refused.
def patient_listener(visits):
    with Listener(None, authkey=b'secret') as door:
        print(door.address, flush=True)
        for _ in range(int(visits)):
            try:
                with door.accept() as connection:
                    echo(connection)
                print('done', flush=True)
            except AuthenticationError:
                print('refused', flush=True)


# --- half of a handshake ------------------------------------------------------------

# Both sides prove themselves, so either notices a wrong key.  Here Python takes anything
# for right, and it is for C alone to refuse.

def answer_to(challenge, form):
    if form == 'legacy':
        return hmac.new(b'secret', challenge, 'md5').digest()
    if form == 'other digest':
        return b'{md5}' + hmac.new(b'secret', challenge, 'md5').digest()
    key = b'secret' if form == 'right' else b'wrong'
    return b'{sha256}' + hmac.new(key, challenge, 'sha256').digest()


def lying_client(address, form):
    with Client(address_of(address)) as connection:
        challenge = connection.recv_bytes()[len(b'#CHALLENGE#'):]
        connection.send_bytes(answer_to(challenge, form))
        print(connection.recv_bytes().decode())


def lying_listener(form):
    with Listener(None) as door:
        print(door.address, flush=True)
        with door.accept() as connection:
            name = b'' if form == 'legacy' else b'{sha256}'
            connection.send_bytes(b'#CHALLENGE#' + name + bytes(20 if not name else 40))
            try:
                connection.recv_bytes()
                connection.send_bytes(b'#WELCOME#')
                challenge = connection.recv_bytes()[len(b'#CHALLENGE#'):]
                connection.send_bytes(answer_to(challenge, form))
                print(connection.recv_bytes().decode())
            except EOFError:
                print('no answer')


globals()[sys.argv[1]](*sys.argv[2:])
