/* SPDX-License-Identifier: MIT */
/*
 * stepkill.h - kill a process at every instruction of an operation.
 *
 * For N = 0, 1, 2, ... a victim is forked, runs up to stepkill_begin(), executes N
 * instructions more, is killed, and what it leaves is checked by another process.  It
 * ends with the N at which the victim reaches stepkill_end().
 *
 *   tracer     prepare   fork ............ N x step  SIGKILL   died   check
 *   victim                    ... begin()  operation  X
 *
 * A step over a system call that blocks is a kill inside that call.  If the case has an
 * `unblock`, larger N call it and go on after it.
 */
#ifndef CRASH_STEPKILL_H
#define CRASH_STEPKILL_H

#include <stdbool.h>
#include <sys/types.h>

/* What a check returns. */
enum { STEPKILL_RIGHT = 0, STEPKILL_WRONG = 1 };

struct stepkill_case {
    const char *name;
    void *arg;
    void (*prepare)(void *arg); /* in the tracer, before each victim; or NULL */
    void (*victim)(void *arg);  /* calls stepkill_begin and stepkill_end */
    void (*paused)(void *arg, pid_t pid); /* in the tracer, victim at begin; or NULL */
    void (*unblock)(void *arg);           /* in the tracer, once; or NULL */
    void (*died)(void *arg,
                 pid_t pid);  /* in the tracer, while it is a zombie; or NULL */
    int (*check)(void *arg);  /* in a child of the tracer */
    void (*clean)(void *arg); /* in the tracer, after each check; or NULL */
    int check_ms;             /* late if the check takes longer */
    unsigned limit;           /* points at most, spread evenly; 0: all */
};

struct stepkill_counts {
    unsigned steps;  /* instructions of the operation */
    unsigned points; /* at which it was killed */
    unsigned late;   /* of these, after which the check took longer than it should */
    unsigned stuck;  /* or did not end */
    unsigned wrong;  /* of these, after which it found something wrong */
    unsigned first_bad;
};

/* Whether this process may trace its children.  Prints why if not. */
bool stepkill_allowed(void);

/* Go through all points.  Prints one line. */
struct stepkill_counts stepkill_run(const struct stepkill_case *c);

/* Fewer points in the ordinary run: MP_TEST_NIGHTLY=1 in the environment means all. */
unsigned stepkill_limit(unsigned ordinary);

/* In the victim: where the operation starts and ends.  On a processor on which a break
   point is no single instruction, some instructions of the C library are stepped too.
 */
static inline void stepkill_trap(void);

#include <signal.h>

static inline void stepkill_trap(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ __volatile__("int3" ::: "memory");
#else
    raise(SIGTRAP);
#endif
}

#define stepkill_begin() stepkill_trap()
#define stepkill_end()   stepkill_trap()

/* For those who trace a process that they did not start through stepkill_run. */
enum stepkill_stop { STEP_DONE, STEP_MARK, STEP_BLOCKED, STEP_ENDED };

/* Stop a process where it is, and trace it: false if that is not allowed. */
bool stepkill_seize(pid_t pid);

/* Kill a tracee and let its parent have it. */
void stepkill_kill(pid_t pid);

/* Trace it no longer: it goes on where it stands. */
void stepkill_let_go(pid_t pid);

/* Let a stopped tracee execute one instruction. */
enum stepkill_stop stepkill_step(pid_t pid);

/* After STEP_BLOCKED: wait on for the same step. */
enum stepkill_stop stepkill_wait(pid_t pid, int timeout_ms);

#endif
