/* SPDX-License-Identifier: MIT */
/*
 * pipe.c - a process that is asked, and answers.
 *
 * Each closes the end that it does not use.  So each is told, by EPIPE, when the other
 * has closed its own or is gone: the child needs no word that means "end".
 */
#include "example.h"

#include <ctype.h>

struct ends {
    mp_connection *parent, *child;
};

/* Whether there is another message; false when the other end is closed. */
static bool hear(mp_connection *connection, char *text, size_t capacity, size_t *size)
{
    int err = mp_connection_recv(connection, text, capacity, size);

    if (err == EPIPE)
        return false;
    check(err, "mp_connection_recv");
    return true;
}

/* Sends back what it receives, in capitals. */
static int shout(void *arg)
{
    const struct ends *ends = arg;
    char text[100];
    size_t size;

    mp_connection_free(ends->parent);
    while (hear(ends->child, text, sizeof(text), &size)) {
        for (size_t i = 0; i < size; i++)
            text[i] = (char)toupper((unsigned char)text[i]);
        check(mp_connection_send(ends->child, text, size), "mp_connection_send");
    }
    mp_connection_free(ends->child);
    return 0;
}

static void ask(mp_connection *connection, const char *text)
{
    char answer[100];
    size_t size;

    check(mp_connection_send(connection, text, strlen(text)),
          "mp_connection_send"); /* parent.send_bytes(text) */
    check(mp_connection_recv(connection, answer, sizeof(answer), &size),
          "mp_connection_recv"); /* answer = parent.recv_bytes() */
    printf("%s -> %.*s\n", text, (int)size, answer);
}

int main(int argc, char **argv)
{
    struct ends ends;
    mp_process *p;

    begin(argc, argv);
    check(mp_pipe(&ends.parent, &ends.child, NULL),
          "mp_pipe"); /* parent, child = Pipe() */
    check(mp_process_new(&p, shout, &ends, NULL), "mp_process_new");
    check(mp_process_start(p), "mp_process_start");
    mp_connection_free(ends.child);

    ask(ends.parent, "hello");
    ask(ends.parent, "messages arrive whole");
    mp_connection_free(ends.parent);
    check(mp_process_join(p, MP_FOREVER), "mp_process_join");
    mp_process_free(p);
    return 0;
}
