/* SPDX-License-Identifier: MIT */
/* wire.c - a system that takes and gives bytes in pieces. */
#include "wire.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define WATCHED_MAX 4

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __real_recv(int fd, void *to, size_t size, int flags);
ssize_t __real_send(int fd, const void *from, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_recv(int fd, void *to, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t size, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);

static struct input pieces;
static int watched[WATCHED_MAX];
static size_t watched_count;
static bool shy;

void wire_begin(struct input script)
{
    pieces = script;
    watched_count = 0;
    shy = false;
}

void wire_watch(int fd)
{
    MUST(watched_count < WATCHED_MAX);
    watched[watched_count++] = fd;
}

void wire_end(void)
{
    watched_count = 0;
}

bool wire_was_shy(void)
{
    bool was = shy;

    shy = false;
    return was;
}

static bool is_watched(int fd)
{
    for (size_t i = 0; i < watched_count; i++)
        if (watched[i] == fd)
            return true;
    return false;
}

/* Whether the call may be made, with no more than `*size` bytes; errno is set if not.
 */
static bool may_call(int fd, size_t *size)
{
    if (!is_watched(fd) || !pieces.left)
        return true;

    unsigned piece = take_byte(&pieces);
    if (piece < 0xe0) {
        if (piece && piece < *size)
            *size = piece;
        return true;
    }
    shy |= piece >= 0xf0;
    errno = piece >= 0xf0 ? EAGAIN : EINTR;
    return false;
}

/* The parts up to so many bytes: returns how many parts that are. */
static int cut(struct iovec to[2], const struct iovec *parts, size_t count, size_t size)
{
    int kept = 0;

    MUST(count <= 2);
    for (size_t i = 0; i < count; i++) {
        to[kept] = parts[i];
        if (to[kept].iov_len > size)
            to[kept].iov_len = size;
        size -= to[kept].iov_len;
        kept += to[kept].iov_len > 0;
    }
    return kept;
}

ssize_t __wrap_read(int fd, void *to, size_t size)
{
    return may_call(fd, &size) ? __real_read(fd, to, size) : -1;
}

ssize_t __wrap_recv(int fd, void *to, size_t size, int flags)
{
    return may_call(fd, &size) ? __real_recv(fd, to, size, flags) : -1;
}

ssize_t __wrap_send(int fd, const void *from, size_t size, int flags)
{
    return may_call(fd, &size) ? __real_send(fd, from, size, flags) : -1;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr less = *message;
    struct iovec parts[2];
    size_t size = SIZE_MAX;

    if (!is_watched(fd))
        return __real_sendmsg(fd, message, flags);
    if (!may_call(fd, &size))
        return -1;
    less.msg_iov = parts;
    less.msg_iovlen =
        (size_t)cut(parts, message->msg_iov, (size_t)message->msg_iovlen, size);
    return __real_sendmsg(fd, &less, flags);
}

ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
    struct iovec less[2];
    size_t size = SIZE_MAX;

    if (!is_watched(fd))
        return __real_writev(fd, parts, count);
    if (!may_call(fd, &size))
        return -1;
    count = cut(less, parts, (size_t)count, size);
    return __real_writev(fd, less, count);
}
