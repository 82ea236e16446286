/* SPDX-License-Identifier: MIT */
/*
 * joinable_queue.c - work for two processes, and waiting until all of it is done.
 *
 * Nobody tells the workers to end: they are daemons, and do so with the program.
 */
#include "example.h"

enum { JOBS = 6, WORKERS = 2 };

static int work(void *arg)
{
    mp_joinable_queue *jobs = arg;
    char job[20];
    size_t size;

    while (mp_queue_get(jobs, job, sizeof(job), &size, MP_FOREVER) == 0) { /* jobs.get() */
        sleep_seconds(0.2);
        printf("%.*s is done\n", (int)size, job);
        fflush(stdout);
        check(mp_joinable_queue_task_done(jobs),
              "mp_joinable_queue_task_done"); /* jobs.task_done() */
    }
    return 0;
}

int main(int argc, char **argv)
{
    mp_joinable_queue *jobs;

    begin(argc, argv);
    check(mp_joinable_queue_new(&jobs, NULL),
          "mp_joinable_queue_new"); /* jobs = JoinableQueue() */
    for (int i = 0; i < WORKERS; i++) {
        mp_process *p;
        check(mp_process_new(&p, work, jobs,
                             MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES)),
              "mp_process_new");
        check(mp_process_start(p), "mp_process_start");
        mp_process_free(p);
    }
    for (int i = 1; i <= JOBS; i++) {
        char job[20];
        int size = snprintf(job, sizeof(job), "job %d", i);
        check(mp_queue_put(jobs, job, (size_t)size, MP_FOREVER), "mp_queue_put");
    }
    check(mp_joinable_queue_join(jobs, MP_FOREVER),
          "mp_joinable_queue_join"); /* jobs.join() */
    printf("all %d jobs are done\n", JOBS);
    return 0; /* The queue goes with the last process that has it. */
}
