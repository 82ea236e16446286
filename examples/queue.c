/* SPDX-License-Identifier: MIT */
/*
 * queue.c - one process makes numbers, two others take them.
 *
 * The queue holds four at most: the producer waits while nobody takes any.  When it has
 * ended the queue is closed, and a consumer that finds it empty is told so.  In Python
 * one has to put a None into it for each of them.
 */
#include "example.h"

enum { NUMBERS = 20, CONSUMERS = 2 };

static int produce(void *arg)
{
    mp_queue *queue = arg;

    for (int number = 0; number < NUMBERS; number++)
        check(mp_queue_put(queue, &number, sizeof(number), MP_FOREVER),
              "mp_queue_put"); /* queue.put(number) */
    return 0;
}

struct consumer {
    mp_queue *queue; /* a pointer into the arena: good in every process */
    int name;
};

/* Whether there is another number; waits for it. */
static bool take(mp_queue *queue, int *number)
{
    int err = mp_queue_get(queue, number, sizeof(*number), NULL,
                           MP_FOREVER); /* number = queue.get() */

    if (err == EPIPE) /* The queue is closed, and all that was in it is taken. */
        return false;
    check(err, "mp_queue_get");
    return true;
}

static int consume(void *arg)
{
    const struct consumer *self = arg;
    int number;

    while (take(self->queue, &number)) {
        printf("consumer %d takes %d\n", self->name, number);
        fflush(stdout);
        sleep_seconds(0.1);
    }
    return 0;
}

/* A daemon: should this program be killed, it ends as well. */
static mp_process *start(mp_target_fn *target, void *arg)
{
    mp_process *p;

    check(mp_process_new(&p, target, arg, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES)),
          "mp_process_new");
    check(mp_process_start(p), "mp_process_start");
    return p;
}

static void join(mp_process *p)
{
    check(mp_process_join(p, MP_FOREVER), "mp_process_join");
    mp_process_free(p);
}

int main(int argc, char **argv)
{
    mp_queue *queue;
    mp_process *consumers[CONSUMERS];

    begin(argc, argv);
    check(mp_queue_new(&queue, MP_QUEUE_OPTIONS(.max_messages = 4)),
          "mp_queue_new"); /* queue = Queue(4) */
    mp_process *producer = start(produce, queue);
    for (int i = 0; i < CONSUMERS; i++) {
        struct consumer consumer = {.queue = queue, .name = i + 1};
        consumers[i] = start(consume, &consumer);
    }

    join(producer);
    check(mp_queue_close(queue), "mp_queue_close");
    for (int i = 0; i < CONSUMERS; i++)
        join(consumers[i]);
    printf("all %d numbers are taken\n", NUMBERS);
    mp_queue_free(queue);
    return 0;
}
