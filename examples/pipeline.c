/* SPDX-License-Identifier: MIT */
/*
 * pipeline.c - three processes in a row, with a queue between each and the next.
 *
 *   count  ->  square  ->  print
 *
 * All of them work at once.  When a stage has ended, as it should or because it was
 * killed, the queue behind it is closed: so the next one ends too, when it has taken all
 * that came.
 */
#include "example.h"

enum { NUMBERS = 10, STAGES = 3 };

struct stage {
    int (*run)(void *stage);
    mp_queue *from; /* NULL for the first */
    mp_queue *to;   /* NULL for the last */
};

/* Whether there is another number; waits for it. */
static bool take(const struct stage *stage, int *number)
{
    int err = mp_queue_get(stage->from, number, sizeof(*number), NULL, MP_FOREVER);

    if (err == EPIPE) /* The queue is closed, and all that was in it is taken. */
        return false;
    check(err, "mp_queue_get");
    return true;
}

static void pass_on(const struct stage *stage, int number)
{
    check(mp_queue_put(stage->to, &number, sizeof(number), MP_FOREVER), "mp_queue_put");
}

static int count(void *stage)
{
    for (int number = 1; number <= NUMBERS; number++) {
        sleep_seconds(0.1);
        pass_on(stage, number);
    }
    return 0;
}

static int square(void *stage)
{
    int number;

    while (take(stage, &number))
        pass_on(stage, number * number);
    return 0;
}

static int print(void *stage)
{
    int number, sum = 0;

    while (take(stage, &number)) {
        printf("%d ", number);
        fflush(stdout);
        sum += number;
    }
    printf("sum: %d\n", sum);
    return 0;
}

/* Numbers only, so all messages have one size: the fastest form of queue. */
static mp_queue *new_queue(void)
{
    mp_queue *queue;

    check(mp_queue_new(&queue, MP_QUEUE_OPTIONS(.message_size = sizeof(int),
                                                .max_messages = 100)),
          "mp_queue_new");
    return queue;
}

int main(int argc, char **argv)
{
    mp_process *processes[STAGES];

    begin(argc, argv);
    mp_queue *numbers = new_queue(), *squares = new_queue();
    struct stage stages[STAGES] = {
        {.run = count, .to = numbers},
        {.run = square, .from = numbers, .to = squares},
        {.run = print, .from = squares},
    };

    for (int i = 0; i < STAGES; i++) {
        check(mp_process_new(&processes[i], stages[i].run, &stages[i],
                             MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES)),
              "mp_process_new");
        check(mp_process_start(processes[i]), "mp_process_start");
    }
    for (int i = 0; i < STAGES; i++) {
        check(mp_process_join(processes[i], MP_FOREVER), "mp_process_join");
        if (stages[i].to)
            check(mp_queue_close(stages[i].to), "mp_queue_close");
        mp_process_free(processes[i]);
    }
    mp_queue_free(numbers);
    mp_queue_free(squares);
    return 0;
}
