/* SPDX-License-Identifier: MIT */
/*
 * connection_client.c - a client in C for a server in Python, whose integers have no end.
 *
 *   python3 connection_server.py | connection_client
 *
 * The server's address is its argument, or the first line of its input.
 */
#include "example.h"

/* Both sides have it.  In earnest take 16 random bytes or more, from a file. */
static const char authkey[] = "secret password";

static void ask(mp_connection *server, const char *question)
{
    void *answer;
    size_t size;

    check(mp_connection_send(server, question, strlen(question)), "mp_connection_send");
    /* However long it is, up to 1 MiB; a zero byte follows. */
    check(mp_connection_recv_alloc(server, &answer, &size, 1 << 20),
          "mp_connection_recv_alloc"); /* answer = server.recv_bytes(1 << 20) */
    printf("%s = %s\n", question, (char *)answer);
    free(answer);
}

int main(int argc, char **argv)
{
    char address[300] = "";
    mp_connection *server;

    begin(argc, argv);
    if (argc > 1 && argv[1][0] != '-')
        snprintf(address, sizeof(address), "%s", argv[1]);
    else if (fgets(address, sizeof(address), stdin))
        address[strcspn(address, "\n")] = '\0';

    /* Python before 3.12 knows only the old handshake, with MD5: .allow_legacy. */
    check(mp_client(&server, address,
                    MP_CLIENT_OPTIONS(.authkey = authkey,
                                      .authkey_size = sizeof(authkey) - 1,
                                      .allow_legacy = true)),
          "mp_client"); /* server = Client(address, authkey=authkey) */
    ask(server, "2 ** 64");
    ask(server, "3 ** 100");
    ask(server, "7 ** 7");
    mp_connection_free(server);
    return 0;
}
