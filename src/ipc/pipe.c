/* SPDX-License-Identifier: MIT */
/* pipe.c - two connections that are joined. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/options.h"
#include "mp/connection.h"

/* More room than the default, or less, if the system likes to. */
static void ask_for_room(const int fds[2], const mp_pipe_options *options)
{
    const int size = options->buffer_size;

    if (size == 0)
        return;
    if (!options->one_way) {
        for (int i = 0; i < 2; i++)
            (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        return;
    }
#ifdef F_SETPIPE_SZ
    (void)fcntl(fds[1], F_SETPIPE_SZ, size);
#endif
}

int mp_pipe(mp_connection **first, mp_connection **second, const mp_pipe_options *options)
{
    mp_pipe_options known;
    mp_connection *ends[2];
    int fds[2];

    if (!first || !second)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (known.buffer_size < 0)
        return EINVAL;
    err = known.one_way ? mp__pipe(fds) : mp__socketpair(fds);
    if (err)
        return err;
    ask_for_room(fds, &known);

    const mp_connection_options *how =
        MP_CONNECTION_OPTIONS(.read_ahead = known.read_ahead);
    err = mp_connection_new(&ends[0], fds[0], how);
    if (err)
        goto close_fds;
    err = mp_connection_new(&ends[1], fds[1], how);
    if (err)
        goto free_first;
    *first = ends[0];
    *second = ends[1];
    return 0;

free_first:
    mp_connection_free(ends[0]);
    fds[0] = -1;
close_fds:
    mp__close(&fds[0]);
    mp__close(&fds[1]);
    return err;
}
