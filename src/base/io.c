/* SPDX-License-Identifier: MIT */
/* io.c - descriptors: made close-on-exec and above 2, closed once, never leaked. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"

int mp__above_standard(int *fd)
{
    if (*fd > STDERR_FILENO)
        return 0;

    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (moved < 0)
        return errno;
    mp__close(fd);
    *fd = moved;
    return 0;
}

static int move_both(int fds[2], int ends[2])
{
    int err = mp__above_standard(&ends[0]);
    if (!err)
        err = mp__above_standard(&ends[1]);
    if (err) {
        mp__close(&ends[0]);
        mp__close(&ends[1]);
        return err;
    }
    fds[0] = ends[0];
    fds[1] = ends[1];
    return 0;
}

int mp__pipe(int fds[2])
{
    int ends[2];
    int err = mp__sys_pipe(ends);

    return err ? err : move_both(fds, ends);
}

int mp__socketpair(int fds[2])
{
    int ends[2];
    int err = mp__sys_socketpair(ends);

    return err ? err : move_both(fds, ends);
}

int mp__pidfd(pid_t pid, int *fd)
{
    int made = -1;
    int err = mp__sys_pidfd(pid, &made);
    if (!err)
        err = mp__above_standard(&made);
    if (!err)
        *fd = made;
    else
        mp__close(&made);
    return err;
}

void mp__close(int *fd)
{
    /* After EINTR it is closed on Linux: closing again could hit another thread's. */
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int mp__poll_one(int fd, short events, int64_t deadline)
{
    struct pollfd polled = {.fd = fd, .events = events};

    for (;;) {
        /* A deadline beyond what poll can be told makes it return early, and again. */
        int timeout = mp__poll_timeout(deadline, -1);
        int count = poll(&polled, 1, timeout);

        if (count > 0)
            return polled.revents & POLLNVAL ? EBADF : 0;
        if (count < 0 && errno != EINTR && errno != EAGAIN)
            return errno;
        if (count == 0 && timeout != INT_MAX)
            return ETIMEDOUT;
    }
}
