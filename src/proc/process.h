/* SPDX-License-Identifier: MIT */
/*
 * process.h - what the files of this directory know of each other.
 *
 * One mutex of this process guards the set of children and what changes in an object
 * when its process ends.  It is never held while forking or waiting, nor while the
 * program's `release` runs.  A second one, inside fork.c, guards the kept descriptors
 * and is taken last.
 */
#ifndef MP_PROC_PROCESS_H
#define MP_PROC_PROCESS_H

#include <mp/process.h>

#include "base/atomic.h"
#include "proc/fork.h"

/* One for each running child, shared with it: how it ended, told by itself, for a host
   that takes the status away from libmp. */
struct mp__life {
    _Atomic uint32_t ended; /* 0 if the place is free */
};

#define MP__LIFE_TAKEN UINT32_C(0x200)
#define MP__LIFE_ENDED UINT32_C(0x100) /* and the exit code */

enum mp__process_state { MP__PROCESS_NEW, MP__PROCESS_RUNNING, MP__PROCESS_ENDED };

struct mp_process {
    struct mp_process *next; /* in the set of children, or in a list of the dead */
    struct mp_process *prev;
    struct mp_process *made_next; /* among all that were made and not freed */
    struct mp_process **made_link;
    const mp_process_class *cls; /* NULL: `target` it is */
    mp_target_fn *target;
    void *arg;
    void *data;
    char *name;
    char *path; /* "1:2": the second child of the first child of the main process */
    struct mp__life *life;
    unsigned epoch; /* of the process that made it, see mp__proc_epoch */
    pid_t pid;
    int sentinel; /* pidfd, or read end of a pipe whose other end the child has */
    int tether;   /* of a daemon: the write end of the pipe that it dies with */
    int exitcode;
    _Atomic enum mp__process_state state; /* changes with the lock */
    bool daemon;
    bool closed;
    bool watched;      /* the program has its sentinel */
    bool status_known; /* once ended: `exitcode` is right */
    bool dropped;      /* the program freed it while it was running */
    bool lent;         /* and found it again through mp_active_children */
};

/* fork.c */

/* How often this process's line of ancestors forked since libmp looks. */
extern unsigned mp__proc_epoch;

/* See to it that children find themselves to be new processes: 0 or ENOMEM. */
int mp__fork_ready(void);

/* process.c */

mp_process *mp__process_current(void);
void mp__process_enter(mp_process *self, mp_process *parent);
void mp__process_forked(bool by_libmp);
void mp__process_destroy(mp_process *p);

/* child.c */

/* What the child needs that start made. */
struct mp__child_start {
    sigset_t mask;
    mp_process *parent;
    int tether;   /* read end, or -1 */
    int sentinel; /* write end, or -1 */
};

_Noreturn void mp__child_main(mp_process *self, const struct mp__child_start *start);
void mp__child_forked(void);

/* children.c */

void mp__children_lock(void);
void mp__children_unlock(void); /* destroys what was dropped and has ended */
void mp__children_forked(void);
int mp__children_at_exit(void); /* registers mp__children_end with atexit, once */
void mp__children_add(mp_process *p);
void mp__children_reap_some(void); /* before a start, so that no zombies gather */
void mp__children_end(void);
struct mp__life *mp__life_new(void); /* NULL: no memory.  Both without the lock. */
void mp__life_free(struct mp__life *life);

/* With the lock: true if it has ended, and then it is reaped and out of the set. */
bool mp__children_settle(mp_process *p);

/* 0 if child `pid` is a zombie, EBUSY if it runs, ECHILD if it is no child any more. */
int mp__child_state(pid_t pid);

/* mp__child_wait with a descriptor that tells, or -1.  `sure` if it tells nothing but
   the end: a pidfd. */
int mp__child_wait_on(pid_t pid, int fd, bool sure, int64_t deadline);

/* Sleep until then, or until a signal. */
void mp__nap_until(int64_t moment);

/* Whether the system has pidfds. */
bool mp__have_pidfd(void);

#endif
