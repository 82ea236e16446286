/* SPDX-License-Identifier: MIT */
/*
 * life.c - dying with the parent, whatever either of them is doing.
 *
 * The kernel is asked to kill: a thread that computes looks at nothing.  On Linux a
 * pipe whose last writer is gone sends a signal of one's choice to the owner of its
 * read end, and that signal may be SIGKILL, which no handler and no mask can stop.
 * Elsewhere a thread waits for the end of the pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MP_PORTABLE)
#include <sys/prctl.h>
#define HAVE_DEATH_SIGNALS 1
#endif

#include "proc/fork.h"

static _Noreturn void die(void)
{
    for (;;)
        kill(getpid(), SIGKILL);
}

/* Nothing is ever written to the pipe: 0 is the end, and EAGAIN is life. */
static bool pipe_has_ended(int life)
{
    char byte;
    ssize_t got;

    do
        got = read(life, &byte, 1);
    while (got > 0 || (got < 0 && errno == EINTR));
    return got == 0;
}

static void *watch_pipe(void *arg)
{
    if (pipe_has_ended((int)(intptr_t)arg))
        die();
    return NULL;
}

/* If no thread can be had the process outlives its parent: better than not to live. */
static void watch_in_thread(int life)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, mask;

    if (pthread_attr_init(&attr))
        return;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* The host's handlers must never run in a thread that the host does not know. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    pthread_create(&thread, &attr, watch_pipe, (void *)(intptr_t)life);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    pthread_attr_destroy(&attr);
}

#ifdef HAVE_DEATH_SIGNALS
static bool arm_pipe(int life)
{
    const int flags = fcntl(life, F_GETFL);

    return flags != -1 && fcntl(life, F_SETSIG, SIGKILL) == 0 &&
           fcntl(life, F_SETOWN, getpid()) == 0 &&
           fcntl(life, F_SETFL, flags | O_ASYNC | O_NONBLOCK) == 0;
}
#else
static bool arm_pipe(int life)
{
    (void)life;
    return false;
}
#endif

void mp__die_with_pipe(int life)
{
    /* A child that inherited the read end for want of memory does no harm with it. */
    (void)mp__fork_keep(life);
    if (!arm_pipe(life))
        watch_in_thread(life);
    else if (pipe_has_ended(life)) /* before it was armed */
        die();
}

void mp__show_name(const char *name)
{
#ifdef HAVE_DEATH_SIGNALS
    prctl(PR_SET_NAME, name);
#else
    (void)name;
#endif
}

void mp__die_with_parent(pid_t parent, int life)
{
#ifdef HAVE_DEATH_SIGNALS
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0) {
        (void)life;
        if (getppid() != parent)
            die();
        return;
    }
#endif
    (void)parent;
    mp__die_with_pipe(life);
}
