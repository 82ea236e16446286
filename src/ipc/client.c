/* SPDX-License-Identifier: MIT */
/* client.c - connecting to a listener; and the halves of the handshake by themselves. */
#include "mp/listener.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/options.h"
#include "ipc/connection.h"
#include "ipc/handshake.h"
#include "ipc/socket.h"

enum { CLIENT_MS = 20000, CHALLENGE_MS = 5000 };

/* Step until it is over: it ends at `deadline` at the latest. */
static int shake_hands(int fd, const struct mp__auth_terms *terms, int64_t deadline)
{
    struct mp__handshake handshake;
    int err = mp__handshake_begin(&handshake, MP__AUTH_CLIENT, terms);

    while (!err) {
        err = mp__handshake_step(&handshake, fd);
        if (err != EAGAIN)
            break;
        err = mp__poll_one(fd, mp__handshake_events(&handshake), deadline);
    }
    mp__wipe(&handshake, sizeof(handshake));
    return err;
}

/* The first of the addresses that can be reached. */
static int connect_to_any(const struct mp__address *list, size_t count, int64_t deadline,
                          int *fd)
{
    int err = EADDRNOTAVAIL;

    for (size_t i = 0; i < count; i++) {
        err = mp__socket_connect(&list[i], deadline, fd);
        if (!err || err == ETIMEDOUT)
            break;
    }
    return err;
}

static int meet(int fd, bool is_path, const mp_client_options *options,
                const struct mp__auth_terms *terms, int64_t deadline, mp_connection **out)
{
    if (is_path && !options->any_user && !mp__socket_peer_is_own(fd))
        return EACCES;
    int err = terms->key ? shake_hands(fd, terms, deadline) : 0;
    return err ? err : mp__connection_adopt(out, fd);
}

int mp_client(mp_connection **out, const char *address, const mp_client_options *options)
{
    struct mp__address list[MP__ADDRESSES_MAX];
    struct mp__auth_terms terms;
    mp_client_options known;
    size_t count = 0;
    int64_t deadline;
    int fd = -1;

    if (!out || !address)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (!err && known.reserved)
        err = EINVAL;
    if (!err)
        err = mp__auth_terms_read(&terms, known.authkey, known.authkey_size, known.digest,
                                  known.allow_legacy);
    if (!err)
        err = mp__deadline(known.timeout_ms ? known.timeout_ms : CLIENT_MS, &deadline);
    if (!err)
        err = mp__address_parse(address, list, &count);
    if (!err)
        err = connect_to_any(list, count, deadline, &fd);
    if (err)
        return err;

    err = meet(fd, mp__address_is_path(list), &known, &terms, deadline, out);
    if (err)
        mp__close(&fd);
    return err;
}

/* One half of the handshake, message by message. */
static int converse(mp_connection *connection, enum mp__auth_role role,
                    const struct mp__auth_terms *terms, int64_t deadline)
{
    unsigned char buffer[MP__AUTH_LIMIT];
    struct mp__auth_message message;
    struct mp__auth auth;
    size_t size;
    int verdict = mp__auth_start(&auth, role, terms, &message);

    for (;;) {
        int err = message.size ? mp__connection_send_by(connection, message.bytes,
                                                        message.size, deadline)
                               : 0;
        if (verdict || err || auth.stage == MP__AUTH_DONE)
            return verdict ? verdict : err;
        err = mp__connection_recv_by(connection, buffer, sizeof(buffer), &size, deadline);
        if (err)
            return err == EMSGSIZE || err == EPROTO ? EACCES : err;
        verdict = mp__auth_take(&auth, buffer, size, &message);
    }
}

static int challenge(mp_connection *connection, enum mp__auth_role role, const void *key,
                     size_t key_size, const mp_challenge_options *options)
{
    struct mp__auth_terms terms;
    mp_challenge_options known;
    int64_t deadline;

    if (!connection || !key)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (!err)
        err = mp__auth_terms_read(&terms, key, key_size, known.digest, known.allow_legacy);
    if (!err)
        err = mp__deadline(known.timeout_ms ? known.timeout_ms : CHALLENGE_MS, &deadline);
    if (!err && !(mp_connection_readable(connection) && mp_connection_writable(connection)))
        err = EINVAL;
    return err ? err : converse(connection, role, &terms, deadline);
}

int mp_deliver_challenge(mp_connection *connection, const void *authkey,
                         size_t authkey_size, const mp_challenge_options *options)
{
    return challenge(connection, MP__AUTH_DELIVER, authkey, authkey_size, options);
}

int mp_answer_challenge(mp_connection *connection, const void *authkey,
                        size_t authkey_size, const mp_challenge_options *options)
{
    return challenge(connection, MP__AUTH_ANSWER, authkey, authkey_size, options);
}
