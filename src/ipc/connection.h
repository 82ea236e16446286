/* SPDX-License-Identifier: MIT */
/* connection.h - connections, as seen by those that make and use them inside libmp. */
#ifndef MP_IPC_CONNECTION_H
#define MP_IPC_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/frame.h"
#include "mp/connection.h"

/* A connection over a duplex socket, which it takes over, or leaves alone if it fails. */
int mp__connection_adopt(mp_connection **out, int fd);

/*
 * As mp_connection_send and mp_connection_recv, but ETIMEDOUT at `deadline` (see
 * base/clock.h).  Over sockets only.  If part of a message has passed by then, the
 * connection is of no further use in that direction, and says EPROTO from then on.
 */
int mp__connection_send_by(mp_connection *connection, const void *message, size_t size,
                           int64_t deadline);
int mp__connection_recv_by(mp_connection *connection, void *buffer, size_t capacity,
                           size_t *size, int64_t deadline);

/* Whether poll(2) needn't be asked: something was read already. */
bool mp__connection_holds(const mp_connection *connection);

/* --- the inside ------------------------------------------------------------------- */

/* What one who sends changes, and what one who receives changes, is kept apart: there
   may be a thread for each. */
struct mp_connection {
    int fd; /* -1: closed */
    bool readable, writable;
    bool is_socket, is_local; /* local: Unix */

    bool out_broken; /* part of a message was sent, and the rest can't be */

    bool in_broken;    /* nobody knows where the next message begins */
    size_t header_got; /* of the message that was begun */
    unsigned char header[MP__FRAME_HEADER];

    unsigned char *ahead; /* bytes that were read ahead: from `start` to `end` */
    size_t ahead_size, start, end;
};

/* EINVAL, or EPROTO, if it is not for receiving, or sending, now. */
int mp__connection_may_recv(const mp_connection *connection);
int mp__connection_may_send(const mp_connection *connection);

/* A system call on it failed with `err`: 0 when it is to be tried again, which may take
   until the descriptor has one of `events`, or what the caller is told. */
int mp__connection_again(const mp_connection *connection, int err, short events,
                         int64_t deadline);

#endif
