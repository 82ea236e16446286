/* SPDX-License-Identifier: MIT */
/*
 * fork.h - how libmp forks, and how its children live and end.
 */
#ifndef MP_PROC_FORK_H
#define MP_PROC_FORK_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Fork with all signals blocked.  In the child `*pid` is 0, signals are still blocked,
 * libmp's own state is a new process's, and the descriptors that libmp keeps for the
 * parent are closed, but for the `count` at `fds`, which are not kept any more.  `*mask`,
 * if not NULL, is given the mask that the parent had and has again.  The child calls
 * mp__fork_unblock when it is ready.
 */
int mp__fork(pid_t *pid, sigset_t *mask, const int *fds, size_t count);

/* Write out what the program printed, before a fork lest both processes do.  Signals must
   be let in: a full pipe behind stdout may take for ever. */
void mp__flush(void);

/* Give the calling thread of a child the mask that mp__fork stored. */
void mp__fork_unblock(const sigset_t *mask);

/*
 * A descriptor that libmp keeps in this process only: children close it right after
 * fork, those that the host forks as well.  Register before others can fork, unregister
 * before closing.  ENOMEM: children will inherit it.
 */
int mp__fork_keep(int fd);
void mp__fork_forget(int fd);

/* mp__pipe and mp__fork_keep for both ends, with no fork of another thread between. */
int mp__fork_pipe(int fds[2]);

/* mp__fork_forget and mp__close, with no fork between. */
void mp__fork_close(int *fd);

/*
 * Make the calling process die (SIGKILL) as soon as the last write end of the pipe
 * whose read end is `life` is closed, computing or not; that is, when its parent dies.
 * Dies at once if that has happened already.  `life` stays open and is kept.
 */
void mp__die_with_pipe(int life);

/*
 * Make the calling process, whose parent has a single thread and has pid `parent`, die
 * when the parent does.  `life` as above, for systems without parent-death signals.
 */
void mp__die_with_parent(pid_t parent, int life);

/*
 * End the calling process as a child of libmp ends: daemons terminated, children
 * joined, stdio flushed, _exit.
 */
_Noreturn void mp__child_exit(int code);

/*
 * Once both were called exit() in this process ends as mp__child_exit does instead of
 * running what the host gave to atexit, where the C library allows it.  The hook may be
 * inherited: who forks many children and gives nothing to atexit makes it once for all.
 */
void mp__child_hook_exit(void);
void mp__child_catch_exit(void);

/*
 * Wait until child `pid` has ended, without reaping it: 0, ETIMEDOUT, or ECHILD if the
 * host reaped it.
 */
int mp__child_wait(pid_t pid, int64_t deadline);

/*
 * Reap child `pid`, which has ended: exit code as mp_process_exitcode has it.  ECHILD
 * if the host reaped it.  EBUSY if it is still running.  The member it was is buried
 * before the pid is given back.
 */
int mp__child_reap(pid_t pid, int *exitcode);

/*
 * Make mp_current_process tell of a child that mp__fork made and that no mp_process
 * stands for: a pool's worker.  Its children are daemons, if it is one, unless told
 * otherwise.
 */
void mp__process_become(const char *name, bool daemon);

/* The name that ps and top show for the calling process, where it can be set. */
void mp__show_name(const char *name);

/* Called at exit before daemons are terminated: set once by the floor above.  It is
   called in the host's own children too, which have no pools of their own. */
extern void (*mp__exit_pools)(void);

#endif
