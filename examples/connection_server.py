# SPDX-License-Identifier: MIT
#
# connection_server.py - the server of connection_client.c, in Python: it prints where it
# listens, serves one client, and ends.
import signal
from multiprocessing.connection import Listener

# Nobody may come, and accept has no timeout: half a minute is enough.
signal.alarm(30)

with Listener(('localhost', 0), authkey=b'secret password') as listener:
    print('%s:%d' % listener.address, flush=True)
    with listener.accept() as client:
        signal.alarm(0)
        try:
            while True:
                base, exponent = client.recv_bytes().split(b'**')
                client.send_bytes(b'%d' % int(base) ** int(exponent))
        except EOFError:
            pass
