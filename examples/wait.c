/* SPDX-License-Identifier: MIT */
/*
 * wait.c - messages of three processes, as they come.
 *
 * A connection is ready too when its other end is closed: it is waited for no more.
 */
#include "example.h"

enum { READERS = 3, MESSAGES = 3 };

struct speaker {
    mp_connection *writer;
    int name;
};

static int speak(void *arg)
{
    const struct speaker *self = arg;

    for (int i = 1; i <= MESSAGES; i++) {
        char text[40];
        sleep_seconds(0.1 * self->name);
        int size = snprintf(text, sizeof(text), "process %d, message %d", self->name, i);
        check(mp_connection_send(self->writer, text, (size_t)size),
              "mp_connection_send");
    }
    return 0;
}

/* The end that is read.  The other one is closed here, and so only the child's. */
static mp_connection *start_speaker(int name)
{
    mp_connection *reader;
    struct speaker speaker = {.name = name};
    mp_process *p;

    check(mp_pipe(&reader, &speaker.writer, MP_PIPE_OPTIONS(.one_way = true)),
          "mp_pipe"); /* reader, writer = Pipe(duplex=False) */
    check(mp_process_new(&p, speak, &speaker, NULL), "mp_process_new");
    check(mp_process_start(p), "mp_process_start");
    mp_process_free(p);
    mp_connection_free(speaker.writer);
    return reader;
}

/* False at the end of the stream. */
static bool show_message(mp_connection *reader)
{
    char text[40];
    size_t size;
    int err = mp_connection_recv(reader, text, sizeof(text), &size);

    if (err == EPIPE)
        return false;
    check(err, "mp_connection_recv");
    printf("%.*s\n", (int)size, text);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    mp_wait_item items[READERS];
    size_t open = READERS;

    begin(argc, argv);
    for (int i = 0; i < READERS; i++)
        items[i] = MP_WAIT_CONNECTION(start_speaker(i + 1));
    while (open > 0) { /* while readers: */
        check(mp_wait(items, open, NULL, MP_FOREVER), "mp_wait"); /* wait(readers) */
        for (size_t i = 0; i < open;) {
            if (!items[i].ready || show_message(items[i].of.connection)) {
                i++;
                continue;
            }
            mp_connection_free(items[i].of.connection);
            items[i] = items[--open];
        }
    }
    printf("all have ended\n");
    return 0;
}
