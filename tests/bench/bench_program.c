/* SPDX-License-Identifier: MIT */
/*
 * bench_program.c - lets other programs play contestants: bench_python.py,
 * bench_python_message.py, bench_perl.pl and what bench_tbb.cpp becomes.
 *
 * The program is started once.  It answers every line that it reads with a figure, the
 * first one when it is prepared, and ends at the end of its input.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static pid_t program;
static FILE *to_program;
static FILE *from_program;

/* `script` is NULL for a program that needs nobody to read it. */
static void become(const char *file, const char *script, const char *subject, int input,
                   int output)
{
    const char *size = bench_is_quick() ? "quick" : "full";

    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0)
        _exit(127);
    if (script)
        execlp(file, file, script, subject, size, (char *)NULL);
    else
        execlp(file, file, subject, size, (char *)NULL);
    _exit(127);
}

/* At the end of its input the program ends its own workers as well. */
static void end_program(void)
{
    fclose(to_program);
    waitpid(program, NULL, 0);
}

static int start(const char *file, const char *script, const char *subject)
{
    int there[2], back[2];

    if (pipe(there) || pipe(back))
        return errno;
    program = fork();
    if (program < 0)
        return errno;
    if (program == 0) {
        close(there[1]);
        close(back[0]);
        become(file, script, subject, there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    to_program = fdopen(there[1], "w");
    from_program = fdopen(back[0], "r");
    if (!to_program || !from_program)
        return errno;
    return atexit(end_program) ? ENOMEM : 0;
}

/* The program answers -1 when what it computed is wrong. */
static int read_figure(double *figure)
{
    if (fscanf(from_program, "%lf", figure) != 1)
        return BENCH_DIED;
    return *figure < 0 ? BENCH_WRONG : 0;
}

static int prepare(const char *file, const char *script, const char *subject)
{
    double ready;
    int err = start(file, script, subject);

    if (err)
        return err;
    /* A program that never says that it is ready was not found, or lacks a library. */
    return read_figure(&ready) ? BENCH_ABSENT : 0;
}

int bench_python_prepare(const void *argument)
{
    return prepare("python3", BENCH_PYTHON_SCRIPT, argument);
}

int bench_python_message_prepare(const void *argument)
{
    return prepare("python3", BENCH_PYTHON_MESSAGE_SCRIPT, argument);
}

int bench_perl_prepare(const void *argument)
{
    return prepare("perl", BENCH_PERL_SCRIPT, argument);
}

int bench_tbb_prepare(const void *argument)
{
#if defined(BENCH_TBB_PROGRAM)
    return prepare(BENCH_TBB_PROGRAM, NULL, argument);
#else
    (void)argument;
    return BENCH_ABSENT;
#endif
}

int bench_program_round(const void *argument, double *figures)
{
    (void)argument;
    if (fputc('\n', to_program) == EOF || fflush(to_program))
        return BENCH_DIED;
    return read_figure(&figures[0]);
}
