/* SPDX-License-Identifier: MIT */
/* io.h - descriptors: made close-on-exec and above 2, closed once, never leaked. */
#ifndef MP_BASE_IO_H
#define MP_BASE_IO_H

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

/* A pipe, both ends close-on-exec, non-blocking if asked for, none of them 0, 1 or 2. */
int mp__pipe(int fds[2]);

/* Two Unix stream sockets that are connected, close-on-exec, none of them 0, 1 or 2. */
int mp__socketpair(int fds[2]);

/* A descriptor that is readable when process `pid` has ended, not 0, 1 or 2 either; ENOSYS
   where there are none. */
int mp__pidfd(pid_t pid, int *fd);

/* Move a descriptor of 0, 1 or 2 above them: a host that closed its standard streams must
   not find libmp's descriptors there.  Where that fails `*fd` stays as it is. */
int mp__above_standard(int *fd);

/* Close `*fd` unless it is -1, and make it -1.  Never retried on EINTR. */
void mp__close(int *fd);

/* poll(2) on one descriptor until `deadline` (see clock.h): 0, ETIMEDOUT, or an error. */
int mp__poll_one(int fd, short events, int64_t deadline);

#endif
