/* SPDX-License-Identifier: MIT */
/*
 * bench_python.c - lets bench_python.py play a contestant.
 *
 * The script is started once.  It answers every line that it reads with a figure, the
 * first one when it is prepared, and ends at the end of its input.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static pid_t python;
static FILE *to_python;
static FILE *from_python;

static void become_python(const char *subject, int input, int output)
{
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0)
        _exit(127);
    execlp("python3", "python3", BENCH_PYTHON_SCRIPT, subject,
           bench_is_quick() ? "quick" : "full", (char *)NULL);
    _exit(127);
}

/* At the end of its input the script ends its own workers as well. */
static void end_python(void)
{
    fclose(to_python);
    waitpid(python, NULL, 0);
}

static int start_python(const char *subject)
{
    int there[2], back[2];

    if (pipe(there) || pipe(back))
        return errno;
    python = fork();
    if (python < 0)
        return errno;
    if (python == 0) {
        close(there[1]);
        close(back[0]);
        become_python(subject, there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    to_python = fdopen(there[1], "w");
    from_python = fdopen(back[0], "r");
    if (!to_python || !from_python)
        return errno;
    return atexit(end_python) ? ENOMEM : 0;
}

/* The script answers -1 when what it computed is wrong. */
static int read_figure(double *figure)
{
    if (fscanf(from_python, "%lf", figure) != 1)
        return BENCH_DIED;
    return *figure < 0 ? BENCH_WRONG : 0;
}

int bench_python_prepare(const void *argument)
{
    double ready;
    int err = start_python(argument);

    if (err)
        return err;
    /* A script that never says that it is ready was not found, nor was Python. */
    return read_figure(&ready) ? BENCH_ABSENT : 0;
}

int bench_python_round(const void *argument, double *figures)
{
    (void)argument;
    if (fputc('\n', to_python) == EOF || fflush(to_python))
        return BENCH_DIED;
    return read_figure(&figures[0]);
}
