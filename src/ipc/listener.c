/* SPDX-License-Identifier: MIT */
/*
 * listener.c - listening at an address, and letting in those who hold the key.
 *
 * All of it happens inside mp_listener_accept, for all who came at once (peers.h).  The
 * time that passes between two calls is not counted against them.
 *
 * After a fork, peers stay with the process that took them: the child closes its copies.
 */
#include "mp/listener.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/options.h"
#include "base/sys.h"
#include "ipc/connection.h"
#include "ipc/peers.h"
#include "ipc/socket.h"
#include "ipc/socket_path.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

enum { BACKLOG = 128, HANDSHAKE_MS = 5000, MAX_PENDING = 64, MOST_PENDING = 65536 };

/* New peers in one turn: between two turns, those before them can go on. */
enum { ADMITTED_AT_ONCE = 16 };

struct mp_listener {
    int fd;       /* -1: closed */
    pid_t maker;  /* whose `place` it is */
    pid_t server; /* whose `peers` they are */
    bool is_path;
    bool any_user;
    char address[MP__ADDRESS_TEXT > PATH_MAX ? MP__ADDRESS_TEXT : PATH_MAX];
    char last_accepted[MP__ADDRESS_TEXT];
    struct mp__socket_path place;
    struct mp__auth_terms terms; /* the key is in memory of its own */
    struct mp__peers peers;
    int64_t left_at; /* when the last mp_listener_accept returned */
};

/* The key in pages of its own, which are not written to core dumps. */
static int keep_key(struct mp__auth_terms *kept, const struct mp__auth_terms *terms)
{
    *kept = *terms;
    kept->key = NULL;
    if (!terms->key)
        return 0;
    if (terms->key_size == SIZE_MAX)
        return ENOMEM;

    void *memory = mmap(NULL, terms->key_size + 1, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return ENOMEM;
#ifdef MADV_DONTDUMP
    (void)madvise(memory, terms->key_size + 1, MADV_DONTDUMP);
#endif
    memcpy(memory, terms->key, terms->key_size);
    kept->key = memory;
    return 0;
}

static void forget_key(struct mp__auth_terms *terms)
{
    void *memory = (void *)(uintptr_t)terms->key;

    if (!memory)
        return;
    mp__wipe(memory, terms->key_size);
    munmap(memory, terms->key_size + 1);
    terms->key = NULL;
}

/* In a process that was forked since. */
static void leave_to_parent(mp_listener *listener)
{
    if (listener->server == getpid())
        return;
    mp__peers_disown(&listener->peers);
    listener->server = getpid();
}

static int listen_at_path(mp_listener *listener, const char *path, int backlog)
{
    struct mp__socket_path *place = &listener->place;
    int err = mp__socket(AF_UNIX, SOCK_STREAM, &listener->fd);
    if (!err)
        err = path ? mp__socket_path_listen(place, listener->fd, path, backlog)
                   : mp__socket_path_listen_privately(place, listener->fd, backlog);
    if (err)
        return err;
    const char *name = *place->name ? place->name : place->file;
    memcpy(listener->address, name, strlen(name) + 1);
    return 0;
}

static int listen_at_port(mp_listener *listener, const struct mp__address *address,
                          int backlog)
{
    struct mp__address bound;
    int on = 1;
    int err = mp__socket(address->of.any.sa_family, SOCK_STREAM, &listener->fd);
    if (err)
        return err;

    bound.size = sizeof(bound.of);
    if (setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(listener->fd, &address->of.any, address->size) < 0 ||
        listen(listener->fd, backlog) < 0 ||
        getsockname(listener->fd, &bound.of.any, &bound.size) < 0)
        return errno;
    mp__address_format(&bound, listener->address);
    return 0;
}

static int begin_to_listen(mp_listener *listener, const char *address, int backlog)
{
    struct mp__address list[MP__ADDRESSES_MAX];
    size_t count;
    int err = address ? mp__address_parse(address, list, &count) : 0;
    if (err)
        return err;

    listener->is_path = !address || mp__address_is_path(list);
    err = !listener->is_path ? listen_at_port(listener, list, backlog)
          : address          ? listen_at_path(listener, list->of.path.sun_path, backlog)
                             : listen_at_path(listener, NULL, backlog);
    if (!err)
        err = mp__socket_set_blocking(listener->fd, false);
    return err;
}

static int read_options(struct mp__auth_terms *terms, mp_listener_options *known,
                        const mp_listener_options *options)
{
    int err = mp__options_read(known, sizeof(*known), options);
    if (err)
        return err;
    if (known->backlog < 0 || known->handshake_ms < 0 || known->reserved ||
        known->max_pending > MOST_PENDING)
        return EINVAL;
    if (!known->backlog)
        known->backlog = BACKLOG;
    if (!known->handshake_ms)
        known->handshake_ms = HANDSHAKE_MS;
    if (!known->max_pending)
        known->max_pending = MAX_PENDING;
    return mp__auth_terms_read(terms, known->authkey, known->authkey_size, known->digest,
                               known->allow_legacy);
}

int mp_listener_new(mp_listener **out, const char *address,
                    const mp_listener_options *options)
{
    struct mp__auth_terms terms;
    mp_listener_options known;

    if (!out)
        return EINVAL;
    int err = read_options(&terms, &known, options);
    if (err)
        return err;
    mp_listener *listener = mp__sys_calloc(1, sizeof(*listener));
    if (!listener)
        return ENOMEM;
    listener->fd = listener->place.held = -1;
    listener->maker = listener->server = getpid();
    listener->any_user = known.any_user != 0;

    err = mp__peers_begin(&listener->peers, &listener->terms, known.max_pending,
                          known.handshake_ms * MP__MILLISECOND);
    if (!err)
        err = keep_key(&listener->terms, &terms);
    if (!err)
        err = begin_to_listen(listener, address, known.backlog);
    if (err) {
        mp_listener_free(listener);
        return err;
    }
    *out = listener;
    return 0;
}

int mp_listener_close(mp_listener *listener)
{
    if (!listener)
        return EINVAL;
    leave_to_parent(listener);
    mp__peers_refuse_all(&listener->peers);
    mp__close(&listener->peers.bell);
    if (listener->maker == getpid())
        mp__socket_path_remove(&listener->place);
    mp__close(&listener->place.held);
    mp__close(&listener->fd);
    forget_key(&listener->terms);
    *listener->address = 0;
    return 0;
}

void mp_listener_free(mp_listener *listener)
{
    if (!listener)
        return;
    (void)mp_listener_close(listener);
    mp__peers_end(&listener->peers);
    free(listener);
}

static bool wants_room(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

/* Take the next peer: EAGAIN if nobody came, or there is no room just now.  That it can't
   be taken is told when there is none that could give way. */
static int take_peer(mp_listener *listener, int *fd)
{
    while (mp__peers_may_add(&listener->peers)) {
        int err = mp__socket_accept(listener->fd, fd);
        if (!wants_room(err) || !mp__peers_feel_cramped(&listener->peers))
            return err;
    }
    return EAGAIN;
}

/* Let in who came: 0 with `*fd` set if nothing needs to be proved, or EAGAIN. */
static int admit(mp_listener *listener, int *fd)
{
    for (int i = 0; i < ADMITTED_AT_ONCE; i++) {
        int came = -1, err = take_peer(listener, &came);
        if (err)
            return err;
        if (listener->is_path && !listener->any_user && !mp__socket_peer_is_own(came)) {
            mp__close(&came);
            listener->peers.refused++;
        } else if (!listener->terms.key) {
            *fd = came;
            return 0;
        } else {
            err = mp__peers_add(&listener->peers, came);
            if (err)
                return err;
        }
    }
    return EAGAIN;
}

/* A turn: whoever is through comes before those who are new. */
static int take_turn(mp_listener *listener, int64_t deadline, int *fd)
{
    bool somebody_came;
    int err = mp__peers_poll(&listener->peers, listener->fd, deadline, &somebody_came);
    if (!err)
        err = mp__peers_step(&listener->peers, fd);
    return err == EAGAIN && somebody_came ? admit(listener, fd) : err;
}

static int accept_by(mp_listener *listener, int64_t deadline, int *fd)
{
    for (;;) {
        int err = take_turn(listener, deadline, fd);
        if (err != EAGAIN)
            return err;
        if (deadline != MP__NEVER && mp__now() >= deadline)
            return ETIMEDOUT;
    }
}

static void remember_peer(mp_listener *listener, int fd)
{
    struct mp__address peer = {.size = sizeof(peer.of)};

    if (listener->is_path || getpeername(fd, &peer.of.any, &peer.size) < 0)
        *listener->last_accepted = 0;
    else
        mp__address_format(&peer, listener->last_accepted);
}

int mp_listener_accept(mp_listener *listener, mp_connection **out, int timeout_ms)
{
    mp_connection *connection;
    int64_t deadline;
    int fd = -1;

    if (!listener || !out || listener->fd < 0)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;

    leave_to_parent(listener);
    mp__peers_wait_for_us(&listener->peers, mp__now() - listener->left_at);
    err = accept_by(listener, deadline, &fd);
    listener->left_at = mp__now();
    if (err)
        return err;
    err = mp__connection_adopt(&connection, fd);
    if (err) {
        mp__close(&fd);
        listener->peers.refused++;
        return err;
    }
    remember_peer(listener, fd);
    *out = connection;
    return 0;
}

const char *mp_listener_address(const mp_listener *listener)
{
    return listener ? listener->address : "";
}

const char *mp_listener_last_accepted(const mp_listener *listener)
{
    return listener ? listener->last_accepted : "";
}

size_t mp_listener_refused(const mp_listener *listener)
{
    return listener ? listener->peers.refused : 0;
}

int mp_listener_fileno(mp_listener *listener, int *fd)
{
    if (!listener || !fd || listener->fd < 0)
        return EINVAL;
    leave_to_parent(listener);
    int err = listener->terms.key ? mp__peers_make_bell(&listener->peers, listener->fd)
                                  : ENOSYS;
    if (!err)
        *fd = listener->peers.bell;
    else if (err == ENOSYS)
        *fd = listener->fd;
    return err == ENOSYS ? 0 : err;
}
