# SPDX-License-Identifier: MIT
#
# connection_client.py - the client of connection_server.c, in Python.
#
# The server's address is its argument, or the first line of its input.
import sys
from multiprocessing.connection import Client

address = sys.argv[1] if len(sys.argv) > 1 else sys.stdin.readline().strip()
if not address:
    sys.exit('connection_client.py: no address: has the server failed?')
host, port = address.rsplit(':', 1)

with Client((host, int(port)), authkey=b'secret password') as server:
    for limit in (10, 1000, 1000000):
        server.send_bytes(b'%d' % limit)
        print('primes below', limit, 'are', int(server.recv_bytes()))
