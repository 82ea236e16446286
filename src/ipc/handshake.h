/* SPDX-License-Identifier: MIT */
/* handshake.h - the proof of auth.h over a socket, step by step and without waiting. */
#ifndef MP_IPC_HANDSHAKE_H
#define MP_IPC_HANDSHAKE_H

#include "ipc/auth.h"
#include "ipc/frame.h"

/* Holds pointers into itself: not to be moved. */
struct mp__handshake {
    struct mp__auth auth;
    struct mp__frame_in in;
    struct mp__frame_out out;
    struct mp__auth_message message;
    unsigned char buffer[MP__AUTH_LIMIT];
    bool sends;  /* the message is not sent to its end */
    int verdict; /* what to return when it is */
};

/* Begin; `terms` is kept.  0, or why there are no random bytes. */
int mp__handshake_begin(struct mp__handshake *handshake, enum mp__auth_role role,
                        const struct mp__auth_terms *terms);

/*
 * Go on as far as it goes.  Not a byte is read of what follows the handshake.
 *
 *   0        both ends hold the key
 *   EAGAIN   call again when poll(2) finds what mp__handshake_events tells
 *   EACCES   the other end did not prove itself, sent what belongs to no handshake, or was
 *            not content
 *   EPIPE    it is gone
 *   others   as of recv(2) and sendmsg(2)
 */
int mp__handshake_step(struct mp__handshake *handshake, int fd);

/* Send what is due, and no more: as mp__handshake_step, but 0 tells that it is sent. */
int mp__handshake_send(struct mp__handshake *handshake, int fd);

short mp__handshake_events(const struct mp__handshake *handshake);

#endif
