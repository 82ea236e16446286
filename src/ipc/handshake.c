/* SPDX-License-Identifier: MIT */
/* handshake.c - the proof of auth.h over a socket, step by step and without waiting. */
#include "ipc/handshake.h"

#include <errno.h>
#include <poll.h>

static void begin_sending(struct mp__handshake *handshake)
{
    handshake->sends = handshake->message.size > 0;
    if (handshake->sends)
        mp__frame_out_begin(&handshake->out, handshake->message.bytes,
                            handshake->message.size);
}

int mp__handshake_begin(struct mp__handshake *handshake, enum mp__auth_role role,
                        const struct mp__auth_terms *terms)
{
    int err = mp__auth_start(&handshake->auth, role, terms, &handshake->message);
    if (err)
        return err;
    handshake->verdict = 0;
    mp__frame_in_begin(&handshake->in, handshake->buffer, sizeof(handshake->buffer));
    begin_sending(handshake);
    return 0;
}

short mp__handshake_events(const struct mp__handshake *handshake)
{
    return handshake->sends ? POLLOUT : POLLIN;
}

/* The other end is to hear why, before it is left. */
int mp__handshake_send(struct mp__handshake *handshake, int fd)
{
    int err = handshake->sends ? mp__frame_out_step(fd, &handshake->out) : 0;
    if (err)
        return err;
    handshake->sends = false;
    return handshake->verdict;
}

static int take_message(struct mp__handshake *handshake, int fd)
{
    int err = mp__frame_in_step(fd, &handshake->in);
    if (err == EMSGSIZE || err == EPROTO)
        return EACCES;
    if (err)
        return err;
    handshake->verdict = mp__auth_take(&handshake->auth, handshake->buffer,
                                       handshake->in.size, &handshake->message);
    mp__frame_in_begin(&handshake->in, handshake->buffer, sizeof(handshake->buffer));
    begin_sending(handshake);
    return 0;
}

int mp__handshake_step(struct mp__handshake *handshake, int fd)
{
    for (;;) {
        int err = mp__handshake_send(handshake, fd);
        if (err || handshake->auth.stage == MP__AUTH_DONE)
            return err;
        err = take_message(handshake, fd);
        if (err)
            return err;
    }
}
