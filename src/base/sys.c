/* SPDX-License-Identifier: MIT */
/* sys.c - the system calls that may fail for want of something. */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MP_PORTABLE)
#define HAVE_LINUX 1
#include <sys/syscall.h>
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same on all architectures that old headers know */
#endif
#endif

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif
#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

int mp__sys_fork(pid_t *pid)
{
    pid_t child = fork();

    if (child < 0)
        return errno;
    *pid = child;
    return 0;
}

#ifdef HAVE_LINUX

int mp__sys_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC) < 0 ? errno : 0;
}

int mp__sys_socketpair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? errno : 0;
}

int mp__sys_pidfd(pid_t pid, int *fd)
{
    long made = syscall(SYS_pidfd_open, pid, 0);

    /* EPERM is no answer of this call: a filter of a sandbox gives it instead. */
    if (made < 0)
        return errno == EPERM ? ENOSYS : errno;
    *fd = (int)made;
    return 0;
}

/* The kernel fills a struct rusage of its own size, all of longs: the C library's may be
   another.  It gives the memory in KiB, behind two times. */
int mp__sys_zombie(siginfo_t *info, size_t *max_rss)
{
    enum { MAX_RSS = 4 };
    long usage[32] = {0};

    info->si_pid = 0;
    if (syscall(SYS_waitid, P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT, usage) < 0)
        return errno;
    *max_rss = (size_t)usage[MAX_RSS] * 1024;
    return info->si_pid ? 0 : ECHILD;
}

#else

int mp__sys_zombie(siginfo_t *info, size_t *max_rss)
{
    info->si_pid = 0;
    if (waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return errno;
    *max_rss = 0;
    return info->si_pid ? 0 : ECHILD;
}

/* A fork of another thread between the two steps leaks both ends: POSIX has no more. */
static int close_on_exec(int fds[2], const int ends[2])
{
    for (int i = 0; i < 2; i++) {
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0) {
            int err = errno;
            close(ends[0]);
            close(ends[1]);
            return err;
        }
    }
    fds[0] = ends[0];
    fds[1] = ends[1];
    return 0;
}

int mp__sys_pipe(int fds[2])
{
    int ends[2];

    return pipe(ends) < 0 ? errno : close_on_exec(fds, ends);
}

int mp__sys_socketpair(int fds[2])
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return errno;
    return close_on_exec(fds, ends);
}

int mp__sys_pidfd(pid_t pid, int *fd)
{
    (void)pid;
    (void)fd;
    return ENOSYS;
}

#endif

int mp__sys_map_shared(size_t size, void **memory)
{
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (mapped == MAP_FAILED)
        return errno;
    *memory = mapped;
    return 0;
}

void *mp__sys_calloc(size_t count, size_t size)
{
    return calloc(count, size);
}

void *mp__sys_realloc(void *memory, size_t size)
{
    return realloc(memory, size);
}
