/* SPDX-License-Identifier: MIT */
/* random.c - random bytes that nobody can foretell. */
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MP_PORTABLE)
#define HAVE_LINUX 1
#include <sys/random.h>
#endif

/* Not POSIX, but there where the kernel is too old for the calls below. */
static int from_device(unsigned char *out, size_t size)
{
    int err = 0, fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return errno;
    while (size && !err) {
        ssize_t got = read(fd, out, size);
        if (got > 0) {
            out += got;
            size -= (size_t)got;
        } else if (got == 0) {
            err = EIO;
        } else if (errno != EINTR) {
            err = errno;
        }
    }
    close(fd);
    return err;
}

#ifdef HAVE_LINUX

int mp__random(void *out, size_t size)
{
    unsigned char *next = out;

    while (size) {
        ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno == ENOSYS)
            return from_device(next, size);
        if (got < 0 && errno != EINTR)
            return errno;
        if (got > 0) {
            next += got;
            size -= (size_t)got;
        }
    }
    return 0;
}

#else

/* Of POSIX since 2024, and older than that.  It needs no descriptor: to let somebody in
   must not take one more than his own. */
int mp__random(void *out, size_t size)
{
    enum { MOST = 256 }; /* at a time */
    unsigned char *next = out;

    while (size) {
        size_t part = size < MOST ? size : MOST;
        if (getentropy(next, part) < 0)
            return errno == ENOSYS ? from_device(next, size) : errno;
        next += part;
        size -= part;
    }
    return 0;
}

#endif
