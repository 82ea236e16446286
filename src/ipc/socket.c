/* SPDX-License-Identifier: MIT */
/* socket.c - sockets that listen and connect. */
#include "ipc/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

#if defined(__linux__) && !defined(MP_PORTABLE)
#define HAVE_LINUX 1
#endif

int mp__socket_set_blocking(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);
    int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;

    if (flags < 0 || (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0))
        return errno;
    return 0;
}

/* Close-on-exec, if it is not yet, and above the standard streams; closed if it fails. */
static int settle(int *fd, bool is_marked)
{
    int err = 0;

    if (!is_marked && fcntl(*fd, F_SETFD, FD_CLOEXEC) < 0)
        err = errno;
    if (!err)
        err = mp__above_standard(fd);
    if (err)
        mp__close(fd);
    return err;
}

/* Nothing that is written waits for the answer to what was written before. */
static void send_at_once(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int mp__socket(int family, int type, int *fd)
{
#ifdef HAVE_LINUX
    int made = socket(family, type | SOCK_CLOEXEC, 0);
    bool is_marked = true;
#else
    int made = socket(family, type, 0);
    bool is_marked = false;
#endif

    if (made < 0)
        return errno;
    int err = settle(&made, is_marked);
    if (!err)
        *fd = made;
    return err;
}

/* These are the misfortunes of a single peer: the next one may be better. */
static bool is_peers_own(int err)
{
    switch (err) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
#ifdef EHOSTDOWN
    case EHOSTDOWN:
#endif
#ifdef ENONET
    case ENONET:
#endif
        return true;
    default:
        return false;
    }
}

int mp__socket_accept(int listening, int *fd)
{
    int made;

    do {
#ifdef HAVE_LINUX
        made = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        bool is_marked = true;
#else
        made = accept(listening, NULL, NULL);
        bool is_marked = false;
#endif
        if (made >= 0) {
            int err = settle(&made, is_marked);
            if (err)
                return err;
        }
    } while (made < 0 && is_peers_own(errno));
    if (made < 0)
        return errno == EWOULDBLOCK ? EAGAIN : errno;

    /* Some systems pass on that the socket which listens never waits. */
    int err = mp__socket_set_blocking(made, true);
    if (err) {
        mp__close(&made);
        return err;
    }
    send_at_once(made);
    *fd = made;
    return 0;
}

/* A Unix socket whose queue is full can't be waited for: try again, ever more seldom. */
static int try_until(int fd, const struct mp__address *address, int64_t deadline)
{
    for (int pause_ms = 1;; pause_ms = pause_ms < 50 ? pause_ms * 2 : 50) {
        if (connect(fd, &address->of.any, address->size) == 0)
            return 0;
        if (errno != EAGAIN)
            return errno;
        int wait_ms = mp__poll_timeout(deadline, pause_ms);
        if (!wait_ms)
            return ETIMEDOUT;
        (void)poll(NULL, 0, wait_ms);
    }
}

static int connect_by(int fd, const struct mp__address *address, int64_t deadline)
{
    int failure = 0, err = try_until(fd, address, deadline);
    socklen_t size = sizeof(failure);

    /* After EINTR it goes on connecting as well. */
    if (err != EINPROGRESS && err != EINTR)
        return err;
    err = mp__poll_one(fd, POLLOUT, deadline);
    if (!err && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0)
        err = errno;
    return err ? err : failure;
}

int mp__socket_connect(const struct mp__address *address, int64_t deadline, int *fd)
{
    int made, err = mp__socket(address->of.any.sa_family, SOCK_STREAM, &made);
    if (err)
        return err;

    err = mp__socket_set_blocking(made, false);
    if (!err)
        err = connect_by(made, address, deadline);
    if (!err)
        err = mp__socket_set_blocking(made, true);
    if (err) {
        mp__close(&made);
        return err;
    }
    if (!mp__address_is_path(address))
        send_at_once(made);
    *fd = made;
    return 0;
}

#ifdef HAVE_LINUX

bool mp__socket_peer_is_own(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

#else

/* There the mode of the socket, and of its directory, has to do. */
bool mp__socket_peer_is_own(int fd)
{
    (void)fd;
    return true;
}

#endif
