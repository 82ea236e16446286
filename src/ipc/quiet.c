/* SPDX-License-Identifier: MIT */
/*
 * quiet.c - writing to pipes whose reader may be gone.
 *
 * Sockets can be asked not to raise SIGPIPE; pipes can since Linux 6.18.  Otherwise the
 * signal is blocked meanwhile in the calling thread, to which alone it is sent, and
 * taken away if it came of the write.
 */
#include "ipc/quiet.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MP_PORTABLE)
#include <sys/syscall.h>
#endif

static bool is_pending(void)
{
    sigset_t pending;

    return sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

static bool is_all(const struct iovec *parts, int count, ssize_t written)
{
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return written >= 0 && (size_t)written == size;
}

static ssize_t write_blocking_signal(int fd, const struct iovec *parts, int count)
{
    sigset_t pipe_signal, before;
    int came;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    int error = pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    if (error) {
        errno = error;
        return -1;
    }
    /* One that was pending before is the host's. */
    bool was_pending = sigismember(&before, SIGPIPE) == 1 && is_pending();
    ssize_t written = writev(fd, parts, count);
    error = errno;
    /* It comes too if part was written before the reader went. */
    if (!is_all(parts, count, written) && !was_pending && is_pending())
        while (sigwait(&pipe_signal, &came) == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return written;
}

#ifdef SYS_pwritev2

#define NO_SIGNAL 0x100 /* RWF_NOSIGNAL, which older headers lack */

/* What a kernel, or a sandbox, says that does not know the call or the flag. */
static bool is_refusal(int error)
{
    return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == EPERM;
}

ssize_t mp__quiet_writev(int fd, const struct iovec *parts, int count)
{
    static _Atomic bool refused;

    if (!atomic_load_explicit(&refused, memory_order_relaxed)) {
        long written = syscall(SYS_pwritev2, fd, parts, count, -1L, -1L, NO_SIGNAL);
        if (written >= 0 || !is_refusal(errno))
            return written;
        atomic_store_explicit(&refused, true, memory_order_relaxed);
    }
    return write_blocking_signal(fd, parts, count);
}

#else

ssize_t mp__quiet_writev(int fd, const struct iovec *parts, int count)
{
    return write_blocking_signal(fd, parts, count);
}

#endif
