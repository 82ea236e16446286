/* SPDX-License-Identifier: MIT */
/*
 * sys.h - the system calls that may fail for want of something, in one place, so that
 * tests can make each of them fail in turn (they replace this layer with the linker's
 * --wrap).  Errors are returned as positive numbers, outputs are last.
 */
#ifndef MP_BASE_SYS_H
#define MP_BASE_SYS_H

#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

int mp__sys_fork(pid_t *pid);                       /* *pid is 0 in the child */
int mp__sys_pipe(int fds[2]);                       /* close-on-exec */
int mp__sys_map_shared(size_t size, void **memory); /* anonymous, not reserved in swap */
void *mp__sys_calloc(size_t count, size_t size);    /* freed by free */
int mp__sys_pidfd(pid_t pid, int *fd);              /* ENOSYS where there are none */
int mp__sys_socketpair(int fds[2]);                 /* Unix, stream, close-on-exec */
void *mp__sys_realloc(void *memory, size_t size);   /* freed by free */

/*
 * A child that has ended, and stays a zombie: 0, or ECHILD if there is none.  `*max_rss`
 * is how many bytes of memory it has had at most, 0 where the system does not tell.
 */
int mp__sys_zombie(siginfo_t *info, size_t *max_rss);

#endif
