/* SPDX-License-Identifier: MIT */
/*
 * active_children.c - start a hundred processes, and list those that are running.
 *
 * What mp_active_children returns are the same handles that mp_process_new made.
 */
#include "example.h"

enum { PROCESSES = 100 };

static int process(void *arg) /* def process(num): */
{
    const int *num = arg;

    sleep_seconds(*num * 0.1);     /* time.sleep(num*0.1) */
    printf("Process: %d\n", *num); /* print('Process:', num) */
    return 0;
}

static void list_children(void)
{
    mp_process *children[PROCESSES];
    size_t count;

    check(mp_active_children(children, PROCESSES, &count), "mp_active_children");
    for (size_t i = 0; i < count; i++) /* for p in active_children(): */
        printf("Child process name: %s id: %ld\n",
               mp_process_name(children[i]),       /* p.name */
               (long)mp_process_pid(children[i])); /* p.pid */
}

int main(int argc, char **argv)
{
    mp_process *processes[PROCESSES];

    begin(argc, argv);
    for (int i = 0; i < PROCESSES; i++) {
        int err = mp_process_new(&processes[i], process, &i, NULL);
        check(err, "mp_process_new");
        check(mp_process_start(processes[i]), "mp_process_start"); /* p.start() */
    }

    printf("CPU number:%u\n", mp_cpu_count()); /* multiprocessing.cpu_count() */
    list_children();
    printf("Process Ended\n");
    fflush(stdout); /* The children are joined next, which takes ten seconds. */
    for (int i = 0; i < PROCESSES; i++)
        mp_process_free(processes[i]);
    return 0;
}
