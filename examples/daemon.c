/* SPDX-License-Identifier: MIT */
/*
 * daemon.c - daemons end with the process that started them.
 *
 * Each would count for some seconds, one line a second.  The program ends at once,
 * and they with it: none of them comes to print anything.
 */
#include "example.h"

struct my_data {
    int loop;
};

static int my_run(mp_process *self) /* def run(self): */
{
    const struct my_data *data = mp_process_data(self);

    for (int count = 0; count < data->loop; count++) { /* in range(self.loop): */
        sleep_seconds(1);
        printf("Pid: %ld LoopCount: %d\n", (long)mp_process_pid(self), count);
        fflush(stdout); /* At once, also to a pipe or a file. */
    }
    return 0;
}

static const mp_process_class my_process = {
    .name = "MyProcess",
    .data_size = sizeof(struct my_data),
    .run = my_run,
};

int main(int argc, char **argv)
{
    begin(argc, argv);

    for (int i = 2; i < 5; i++) { /* for i in range(2, 5): */
        const struct my_data data = {.loop = i};
        mp_process *p;
        int err = mp_process_new_of(&p, &my_process, &data, NULL); /* MyProcess(i) */
        check(err, "mp_process_new_of");
        check(mp_process_set_daemon(p, true), "mp_process_set_daemon"); /* p.daemon */
        check(mp_process_start(p), "mp_process_start");                 /* p.start() */
        mp_process_free(p);
    }

    printf("Main process Ended!\n");
    return 0;
}
