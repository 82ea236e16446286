/* SPDX-License-Identifier: MIT */
/*
 * message.c - sending and receiving whole messages.
 *
 * A message goes out by one system call, header and all, unless it is a large one for a
 * pipe, or the system takes it in pieces.  It comes in by two, one for the header, one for
 * the rest: reading more than the header before knowing the size could take bytes of the
 * next message, which would be missed by poll(2) and by others who share the descriptor.
 * Only a connection that was told to read ahead does that.
 *
 * A header that was read stays in the connection until its message is received.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/sys.h"
#include "ipc/connection.h"
#include "ipc/quiet.h"

/* Memory for a message is asked for as it comes, but for the first so many bytes. */
#define FIRST_PIECE ((size_t)64 * 1024)

/* To copy that many bytes behind their header is faster than to have the system gather
   them. */
#define JOINED ((size_t)1024)

/* In a pipe what follows a header is out of step with the pages, and that costs a larger
   message more than a second system call. */
#define APART ((size_t)16 * 1024)

/* --- out -------------------------------------------------------------------------- */

static ssize_t write_parts(const mp_connection *connection, struct iovec *parts,
                           size_t count, int64_t deadline)
{
    const int how = MSG_NOSIGNAL | (deadline == MP__NEVER ? 0 : MSG_DONTWAIT);
    struct msghdr all = {.msg_iov = parts, .msg_iovlen = 2};

    if (!connection->is_socket)
        return mp__quiet_writev(connection->fd, parts, (int)count);
    if (count == 1)
        return send(connection->fd, parts->iov_base, parts->iov_len, how);
    return sendmsg(connection->fd, &all, how);
}

/* Some of the one or two parts, in `*written` bytes. */
static int write_some(const mp_connection *connection, struct iovec *parts, size_t count,
                      int64_t deadline, size_t *written)
{
    for (;;) {
        ssize_t bytes = write_parts(connection, parts, count, deadline);

        if (bytes >= 0) {
            *written = (size_t)bytes;
            return 0;
        }
        int err = mp__connection_again(connection, errno, POLLOUT, deadline);
        if (err)
            return err;
    }
}

/* Take `written` bytes off the front of the parts; returns how many parts are through. */
static size_t advance(struct iovec *parts, size_t count, size_t written)
{
    size_t through = 0;

    while (through < count && written >= parts[through].iov_len)
        written -= parts[through++].iov_len;
    if (through < count) {
        parts[through].iov_base = (char *)parts[through].iov_base + written;
        parts[through].iov_len -= written;
    }
    return through;
}

static int write_all(mp_connection *connection, struct iovec *parts, size_t count,
                     int64_t deadline)
{
    size_t through = 0, written;
    bool begun = false;

    while (through < count) {
        int err =
            write_some(connection, parts + through, count - through, deadline, &written);
        if (err) {
            connection->out_broken = begun && err != EPIPE;
            return err;
        }
        begun = true;
        through += advance(parts + through, count - through, written);
    }
    return 0;
}

static int write_apart(mp_connection *connection, struct iovec *parts, int64_t deadline)
{
    int err = write_all(connection, parts, 1, deadline);
    if (err)
        return err;

    err = write_all(connection, parts + 1, 1, deadline);
    connection->out_broken |= err && err != EPIPE;
    return err;
}

int mp__connection_send_by(mp_connection *connection, const void *message, size_t size,
                           int64_t deadline)
{
    unsigned char joined[MP__FRAME_HEADER + JOINED];
    int err = mp__connection_may_send(connection);

    if (err)
        return err;
    if (!message && size > 0)
        return EINVAL;

    struct iovec parts[2] = {
        {joined, mp__frame_put(joined, size)},
        {(void *)(uintptr_t)message, size},
    };
    if (size > APART && !connection->is_socket)
        return write_apart(connection, parts, deadline);
    if (size > JOINED)
        return write_all(connection, parts, 2, deadline);
    if (size > 0)
        memcpy(joined + parts[0].iov_len, message, size);
    parts[0].iov_len += size;
    return write_all(connection, parts, 1, deadline);
}

int mp_connection_send(mp_connection *connection, const void *message, size_t size)
{
    return mp__connection_send_by(connection, message, size, MP__NEVER);
}

/* --- in --------------------------------------------------------------------------- */

static ssize_t read_now(const mp_connection *connection, void *to, size_t size,
                        int64_t deadline)
{
    if (deadline == MP__NEVER)
        return read(connection->fd, to, size);
    return recv(connection->fd, to, size, MSG_DONTWAIT);
}

/* At most `size` bytes from the descriptor: EPIPE if there will be none. */
static int read_some(const mp_connection *connection, void *to, size_t size,
                     int64_t deadline, size_t *got)
{
    for (;;) {
        ssize_t bytes = read_now(connection, to, size, deadline);

        if (bytes > 0) {
            *got = (size_t)bytes;
            return 0;
        }
        int err = bytes == 0 ? EPIPE : errno;
        err = mp__connection_again(connection, err, POLLIN, deadline);
        if (err)
            return err;
    }
}

/* As read_some, from what was read ahead, or read ahead now. */
static int take_some(mp_connection *connection, void *to, size_t size, int64_t deadline,
                     size_t *got)
{
    if (connection->start == connection->end) {
        if (size >= connection->ahead_size)
            return read_some(connection, to, size, deadline, got);
        connection->start = connection->end = 0;
        int err = read_some(connection, connection->ahead, connection->ahead_size,
                            deadline, &connection->end);
        if (err)
            return err;
    }
    size_t there = connection->end - connection->start;
    *got = size < there ? size : there;
    memcpy(to, connection->ahead + connection->start, *got);
    connection->start += *got;
    return 0;
}

/* `size` bytes from within a message, of which `*got` are there. */
static int take_all(mp_connection *connection, unsigned char *to, size_t size,
                    int64_t deadline, size_t *got)
{
    while (*got < size) {
        size_t more;
        int err = take_some(connection, to + *got, size - *got, deadline, &more);

        if (err)
            return err;
        *got += more;
    }
    return 0;
}

/* Read the header, unless it was read before, and tell the size of the message. */
static int begin(mp_connection *connection, int64_t deadline, size_t *size)
{
    int err = mp__connection_may_recv(connection);
    if (err)
        return err;

    size_t length = mp__frame_length(connection->header, connection->header_got);
    while (!err && connection->header_got < length) {
        err = take_all(connection, connection->header, length, deadline,
                       &connection->header_got);
        length = mp__frame_length(connection->header, connection->header_got);
    }
    if (!err)
        err = mp__frame_get(connection->header, size);
    else if (err == EPIPE && connection->header_got > 0)
        err = EPROTO;
    if (err == EPROTO)
        connection->in_broken = true;
    return err;
}

/* The message is in whole, or else `err` befell it when `got` bytes of it were read.  What
   a caller does not get the next one can't get either. */
static int finish(mp_connection *connection, int err, size_t got)
{
    if (!err)
        connection->header_got = 0;
    else if (got > 0 || err == EPIPE)
        connection->in_broken = true;
    return err == EPIPE ? EPROTO : err;
}

int mp__connection_recv_by(mp_connection *connection, void *buffer, size_t capacity,
                           size_t *size, int64_t deadline)
{
    size_t length, got = 0;

    if (!size || (!buffer && capacity > 0))
        return EINVAL;
    int err = begin(connection, deadline, &length);
    if (err)
        return err;
    if (length > capacity) {
        *size = length;
        return EMSGSIZE;
    }
    err = take_all(connection, buffer, length, deadline, &got);
    err = finish(connection, err, got);
    if (!err)
        *size = length;
    return err;
}

int mp_connection_recv(mp_connection *connection, void *buffer, size_t capacity,
                       size_t *size)
{
    return mp__connection_recv_by(connection, buffer, capacity, size, MP__NEVER);
}

/* Twice as much as before, a first piece, or all of it, and a byte for the zero. */
static int grow(unsigned char **memory, size_t *capacity, size_t length)
{
    size_t wanted = *capacity ? *capacity : FIRST_PIECE / 2;

    wanted = wanted < length / 2 ? 2 * wanted : length;
    void *grown = mp__sys_realloc(*memory, wanted + 1);
    if (!grown)
        return ENOMEM;
    *memory = grown;
    *capacity = wanted;
    return 0;
}

static int take_growing(mp_connection *connection, unsigned char **memory, size_t length)
{
    size_t capacity = 0, got = 0;
    int err;

    do {
        err = grow(memory, &capacity, length);
        if (!err)
            err = take_all(connection, *memory, capacity, MP__NEVER, &got);
    } while (!err && got < length);
    return finish(connection, err, got);
}

int mp_connection_recv_alloc(mp_connection *connection, void **message, size_t *size,
                             size_t maximum)
{
    unsigned char *memory = NULL;
    size_t length;

    if (!message || !size)
        return EINVAL;
    int err = begin(connection, MP__NEVER, &length);
    if (err)
        return err;
    if (maximum && length > maximum) {
        *size = length;
        return EMSGSIZE;
    }
    err = take_growing(connection, &memory, length);
    if (err) {
        free(memory);
        return err;
    }
    memory[length] = 0;
    *message = memory;
    *size = length;
    return 0;
}
