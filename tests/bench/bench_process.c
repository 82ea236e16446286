/* SPDX-License-Identifier: MIT */
/* bench_process.c - what it costs to start a process and to join it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* No exit code that a child has by accident. */
enum { EXIT_CODE = 42, STARTS = 100, QUICK_STARTS = 3 };

static int target(void *arg)
{
    return *(const int *)arg;
}

static int start_and_join(void)
{
    mp_process *process;
    int expected = EXIT_CODE;
    int code = 0;

    int err = mp_process_new(&process, target, &expected, NULL);
    if (err)
        return err;
    err = mp_process_start(process);
    if (!err)
        err = mp_process_join(process, MP_FOREVER);
    if (!err)
        err = mp_process_exitcode(process, &code);
    mp_process_free(process);
    if (!err && code != EXIT_CODE)
        err = BENCH_WRONG;
    return err;
}

static int fork_and_wait(void)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(EXIT_CODE);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CODE ? 0 : BENCH_WRONG;
}

struct way {
    int (*once)(void);
};

static int process_round(const void *argument, double *figures)
{
    const struct way *way = argument;
    double times[STARTS];
    size_t count = bench_size(STARTS, QUICK_STARTS);

    for (size_t i = 0; i < count; i++) {
        double before = bench_now();
        int err = way->once();
        times[i] = bench_now() - before;
        if (err)
            return err;
    }
    figures[0] = bench_median(times, count);
    return 0;
}

static const struct way libmp_way = {start_and_join};
static const struct way fork_way = {fork_and_wait};

static const bench_contestant contestants[] = {
    {"libmp", NULL, process_round, &libmp_way},
    {"fork, _exit, waitpid", NULL, process_round, &fork_way},
};

static const bench_row rows[] = {
    {"process: start and join", "us", 0, 1, 0, BENCH_AT_MOST, 1.15},
};

const bench_contest bench_process_contests[] = {
    BENCH_CONTEST("process", contestants, rows, 0),
    {.name = NULL},
};
