/* SPDX-License-Identifier: MIT */
/* connection.c - connections: making and closing them, and asking them. */
#include "ipc/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/options.h"
#include "base/sys.h"

/* What the descriptor is, and what it was opened for. */
static int look_at(mp_connection *connection)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);
    int flags = fcntl(connection->fd, F_GETFL);

    if (flags < 0)
        return errno;
    connection->readable &= (flags & O_ACCMODE) != O_WRONLY;
    connection->writable &= (flags & O_ACCMODE) != O_RDONLY;
    connection->is_socket =
        getsockname(connection->fd, (struct sockaddr *)&name, &size) == 0;
    connection->is_local = connection->is_socket && name.ss_family == AF_UNIX;
    return connection->readable || connection->writable ? 0 : EINVAL;
}

static int read_options(mp_connection_options *known, const mp_connection_options *options)
{
    int err = mp__options_read(known, sizeof(*known), options);

    return err ? err : known->no_read && known->no_write ? EINVAL : 0;
}

int mp_connection_new(mp_connection **out, int fd, const mp_connection_options *options)
{
    mp_connection_options known;

    if (!out || fd < 0)
        return EINVAL;
    int err = read_options(&known, options);
    if (err)
        return err;

    mp_connection *connection = mp__sys_calloc(1, sizeof(*connection));
    if (!connection)
        return ENOMEM;
    connection->fd = fd;
    connection->readable = !known.no_read;
    connection->writable = !known.no_write;
    err = look_at(connection);
    if (err)
        goto free_connection;
    if (known.read_ahead && connection->readable) {
        connection->ahead_size = known.read_ahead;
        connection->ahead = mp__sys_calloc(1, known.read_ahead);
        err = connection->ahead ? 0 : ENOMEM;
        if (err)
            goto free_connection;
    }
    *out = connection;
    return 0;

free_connection:
    free(connection);
    return err;
}

int mp__connection_adopt(mp_connection **out, int fd)
{
    return mp_connection_new(out, fd, NULL);
}

void mp_connection_free(mp_connection *connection)
{
    if (!connection)
        return;
    mp__close(&connection->fd);
    free(connection->ahead);
    free(connection);
}

int mp_connection_close(mp_connection *connection)
{
    if (!connection)
        return EINVAL;
    mp__close(&connection->fd);
    return 0;
}

bool mp_connection_closed(const mp_connection *connection)
{
    return !connection || connection->fd < 0;
}

bool mp_connection_readable(const mp_connection *connection)
{
    return !mp_connection_closed(connection) && connection->readable;
}

bool mp_connection_writable(const mp_connection *connection)
{
    return !mp_connection_closed(connection) && connection->writable;
}

int mp_connection_fileno(const mp_connection *connection, int *fd)
{
    if (mp_connection_closed(connection) || !fd)
        return EINVAL;
    *fd = connection->fd;
    return 0;
}

int mp__connection_may_recv(const mp_connection *connection)
{
    if (!mp_connection_readable(connection))
        return EINVAL;
    return connection->in_broken ? EPROTO : 0;
}

int mp__connection_may_send(const mp_connection *connection)
{
    if (!mp_connection_writable(connection))
        return EINVAL;
    return connection->out_broken ? EPROTO : 0;
}

int mp__connection_again(const mp_connection *connection, int err, short events,
                         int64_t deadline)
{
    if (err == EAGAIN || err == EWOULDBLOCK)
        return mp__poll_one(connection->fd, events, deadline);
    if (err == ECONNRESET)
        return EPIPE;
    return err == EINTR ? 0 : err;
}

bool mp__connection_holds(const mp_connection *connection)
{
    return connection->header_got > 0 || connection->start < connection->end ||
           connection->in_broken;
}

int mp_connection_poll(mp_connection *connection, int timeout_ms)
{
    int64_t deadline;

    if (!mp_connection_readable(connection))
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err || mp__connection_holds(connection))
        return err;
    return mp__poll_one(connection->fd, POLLIN, deadline);
}
