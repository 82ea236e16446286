/* SPDX-License-Identifier: MIT */
/*
 * handle.c - descriptors that travel over a Unix socket.
 *
 * As Python's reduction.sendfds: one byte, which is their number modulo 256, and with it
 * one control message of type SCM_RIGHTS that holds them all.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/io.h"
#include "ipc/connection.h"

/* Room for more than may come: the system would close what does not fit, but there are
   other kinds of control messages as well. */
enum { ROOM = CMSG_SPACE(sizeof(int) * MP_HANDLES_MAX) + CMSG_SPACE(64) };

union control {
    struct cmsghdr aligned;
    unsigned char bytes[ROOM];
};

static int send_with_byte(mp_connection *connection, struct msghdr *all)
{
    for (;;) {
        if (sendmsg(connection->fd, all, MSG_NOSIGNAL) >= 0)
            return 0;
        int err = mp__connection_again(connection, errno, POLLOUT, MP__NEVER);
        if (err)
            return err;
    }
}

int mp_connection_send_handles(mp_connection *connection, const int *fds, size_t count)
{
    union control control = {0};
    unsigned char number = (unsigned char)(count % 256);
    struct iovec part = {&number, 1};
    struct msghdr all = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};

    int err = mp__connection_may_send(connection);
    if (err)
        return err;
    if (!fds || count == 0 || count > MP_HANDLES_MAX)
        return EINVAL;
    if (!connection->is_local)
        return ENOTSUP;

    all.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *rights = CMSG_FIRSTHDR(&all);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    return send_with_byte(connection, &all);
}

int mp_connection_send_handle(mp_connection *connection, int fd)
{
    return mp_connection_send_handles(connection, &fd, 1);
}

/* --- in --------------------------------------------------------------------------- */

/* What came with one byte. */
struct parcel {
    unsigned char number;
    bool strange;   /* other control messages, or several */
    bool truncated; /* not everything is here */
    size_t count;
    int fds[MP_HANDLES_MAX];
};

static void close_all(struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->count; i++)
        mp__close(&parcel->fds[i]);
    parcel->count = 0;
}

/* musl's macro takes a negative number for an unsigned one. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
static struct cmsghdr *behind(struct msghdr *all, struct cmsghdr *one)
{
    return CMSG_NXTHDR(all, one);
}
#pragma GCC diagnostic pop

static void unpack(struct parcel *parcel, struct msghdr *all)
{
    size_t messages = 0;

    for (struct cmsghdr *one = CMSG_FIRSTHDR(all); one; one = behind(all, one)) {
        if (messages++ > 0 || one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS)
            parcel->strange = true;
        if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(one) + i * sizeof(int), sizeof(int));
            if (parcel->count < MP_HANDLES_MAX) {
                parcel->fds[parcel->count++] = fd;
            } else {
                parcel->strange = true;
                mp__close(&fd);
            }
        }
    }
    parcel->truncated = all->msg_flags & MSG_CTRUNC;
}

static int recv_parcel(mp_connection *connection, struct parcel *parcel)
{
    union control control = {0};
    struct iovec part = {&parcel->number, 1};

    for (;;) {
        struct msghdr all = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
#ifdef MSG_CMSG_CLOEXEC
        ssize_t bytes = recvmsg(connection->fd, &all, MSG_CMSG_CLOEXEC);
#else
        ssize_t bytes = recvmsg(connection->fd, &all, 0);
#endif
        if (bytes > 0) {
            unpack(parcel, &all);
            return 0;
        }
        int err = bytes == 0 ? EPIPE : errno;
        err = mp__connection_again(connection, err, POLLIN, MP__NEVER);
        if (err)
            return err;
    }
}

/* The system drops descriptors for which this process has no room, and says no more than
   that something is missing. */
static bool has_no_room(const mp_connection *connection)
{
    int another = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
    bool full = another < 0 && (errno == EMFILE || errno == ENFILE);

    mp__close(&another);
    return full;
}

static int inspect(const mp_connection *connection, struct parcel *parcel, size_t capacity)
{
    if (parcel->truncated && !parcel->strange && has_no_room(connection))
        return EMFILE;
    if (parcel->truncated || parcel->strange || parcel->count == 0 ||
        parcel->count > capacity || parcel->count % 256 != parcel->number)
        return EPROTO;
    for (size_t i = 0; i < parcel->count; i++) {
        int err = mp__above_standard(&parcel->fds[i]);
        if (err)
            return err;
#ifndef MSG_CMSG_CLOEXEC
        if (fcntl(parcel->fds[i], F_SETFD, FD_CLOEXEC) < 0)
            return errno;
#endif
    }
    return 0;
}

int mp_connection_recv_handles(mp_connection *connection, int *fds, size_t capacity,
                               size_t *count)
{
    struct parcel parcel = {.count = 0};

    int err = mp__connection_may_recv(connection);
    if (err)
        return err;
    if (!fds || !count || capacity == 0 || capacity > MP_HANDLES_MAX)
        return EINVAL;
    if (!connection->is_local || connection->ahead)
        return ENOTSUP;
    if (connection->header_got > 0)
        return EBUSY;

    err = recv_parcel(connection, &parcel);
    if (err)
        return err;
    err = inspect(connection, &parcel, capacity);
    if (err) {
        connection->in_broken = err == EPROTO;
        close_all(&parcel);
        return err;
    }
    memcpy(fds, parcel.fds, parcel.count * sizeof(int));
    *count = parcel.count;
    return 0;
}

int mp_connection_recv_handle(mp_connection *connection, int *fd)
{
    size_t count;

    return mp_connection_recv_handles(connection, fd, 1, &count);
}
