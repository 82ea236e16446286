/* SPDX-License-Identifier: MIT */
/*
 * connection_server.c - a server in C for a client in Python: it counts primes.
 *
 *   connection_server | python3 connection_client.py
 *
 * or each in a terminal of its own:
 *
 *   connection_server localhost:6000
 *   python3 connection_client.py localhost:6000
 *
 * It prints where it listens, serves one client, and ends.
 */
#include "example.h"

/* Both sides have it.  In earnest take 16 random bytes or more, from a file. */
static const char authkey[] = "secret password";

static long primes_below(long limit)
{
    long count = 0;

    for (long n = 2; n < limit; n++) {
        bool is_prime = true;
        for (long i = 2; is_prime && i * i <= n; i++)
            is_prime = n % i != 0;
        count += is_prime;
    }
    return count;
}

/* A question and its answer, both a number as text: false if the client has left. */
static bool serve(mp_connection *client)
{
    char text[32];
    size_t size;
    int err = mp_connection_recv(client, text, sizeof(text) - 1, &size);

    if (err == EPIPE)
        return false;
    check(err, "mp_connection_recv"); /* text = client.recv_bytes(31) */
    text[size] = '\0';
    int length = snprintf(text, sizeof(text), "%ld", primes_below(atol(text)));
    check(mp_connection_send(client, text, (size_t)length),
          "mp_connection_send"); /* client.send_bytes(text) */
    return true;
}

int main(int argc, char **argv)
{
    const char *address = argc > 1 && argv[1][0] != '-' ? argv[1] : "localhost:0";
    mp_listener *listener;
    mp_connection *client;

    begin(argc, argv);
    /* Python before 3.12 knows only the old handshake, with MD5: .allow_legacy. */
    check(mp_listener_new(&listener, address,
                          MP_LISTENER_OPTIONS(.authkey = authkey,
                                              .authkey_size = sizeof(authkey) - 1,
                                              .allow_legacy = true)),
          "mp_listener_new"); /* listener = Listener(address, authkey=authkey) */
    printf("%s\n", mp_listener_address(listener));
    fflush(stdout);

    /* Nobody may come: half a minute is enough. */
    check(mp_listener_accept(listener, &client, 30000),
          "mp_listener_accept"); /* client = listener.accept() */
    while (serve(client))
        ;
    mp_connection_free(client);
    mp_listener_free(listener);
    return 0;
}
