/* SPDX-License-Identifier: MIT */
/*
 * child_guard.h - processes of the tests.
 *
 * cmocka jumps out of a failed assertion and catches five signals.  A forked child
 * inherits both, would return into the runner, and would run the remaining tests once
 * more.  So every function that runs in a child calls guard_child() first: its
 * assertions abort, and its crashes are crashes.
 */
#ifndef TEST_CHILD_GUARD_H
#define TEST_CHILD_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef int child_body(void *arg);

/* What child_wait returns for a child that had to be killed because it was stuck. */
#define CHILD_STUCK 1000

/* To be called first in whatever runs in a child of a test: see above.  The child is
   killed by SIGALRM if it lives for a minute. */
void guard_child(void);

/* Fork a child that runs `body(arg)` under the guard and leaves by _exit. */
pid_t child_start(child_body *body, void *arg);

/* Wait for a child: its exit status, minus its signal, or CHILD_STUCK. */
int child_wait(pid_t pid, int timeout_ms);

/* child_start and child_wait, with half a minute of time. */
int child_run(child_body *body, void *arg);

/* The time limit `ms`, times MP_TEST_TIMEOUT_MULTIPLIER. */
int scaled(int ms);

int64_t now_ms(void);

/* Let others run for a moment, in a loop that waits for something. */
void sleep_us(long us);

/* Wait for a condition that nothing announces: call `holds` again and again. */
bool eventually(bool (*holds)(void *arg), void *arg, int timeout_ms);

/* Zeroed memory that children share and that libmp knows nothing of. */
void *shared_page(size_t size);
void shared_page_free(void *page, size_t size);

/* The state of a process as in /proc/<pid>/stat: 'R', 'S', 'Z', ... or 0 if it is gone.
 */
char process_state(pid_t pid);

/* Wait until the process sleeps in the kernel: false if it does not in time. */
bool process_sleeps(pid_t pid, int timeout_ms);

/* The processes below `pid`, children and theirs: returns how many were stored. */
size_t descendants(pid_t pid, pid_t *out, size_t capacity);

/*
 * Wait until none of the processes is left, collecting those that have become children
 * of this one.  Returns how many are still there, and kills them.
 */
size_t survivors(const pid_t *pids, size_t count, int timeout_ms);

#endif
