/* SPDX-License-Identifier: MIT */
/* peers.c - those who have still to prove that they hold the key. */
#include "ipc/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/sys.h"
#include "ipc/handshake.h"
#include "ipc/socket.h"

#if defined(__linux__) && !defined(MP_PORTABLE)
#define HAVE_LINUX 1
#include <sys/epoll.h>
#endif

/* A moment: long for one of many honest peers to get further; a thousand silent ones, of
   which 64 go at a time, take some 30 ms. */
#define MOMENT MP__MILLISECOND

struct mp__peer {
    int fd;
    bool had_moment;
    int64_t deadline;
    struct mp__handshake handshake;
};

#ifdef HAVE_LINUX

static int ring_for(const struct mp__peers *peers, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};

    if (peers->bell >= 0 && epoll_ctl(peers->bell, EPOLL_CTL_ADD, fd, &event) < 0)
        return errno;
    return 0;
}

/* Or else it would ring on for copies that children have inherited. */
static void ring_no_more(const struct mp__peers *peers, int fd)
{
    struct epoll_event unused = {0};

    if (peers->bell >= 0)
        (void)epoll_ctl(peers->bell, EPOLL_CTL_DEL, fd, &unused);
}

int mp__peers_make_bell(struct mp__peers *peers, int listening)
{
    if (peers->bell >= 0)
        return 0;
    peers->bell = epoll_create1(EPOLL_CLOEXEC);
    if (peers->bell < 0)
        return errno;
    int err = mp__above_standard(&peers->bell);
    if (!err)
        err = ring_for(peers, listening);
    for (size_t i = 0; !err && i < peers->count; i++)
        err = ring_for(peers, peers->row[i]->fd);
    if (err)
        mp__close(&peers->bell);
    return err;
}

#else

static int ring_for(const struct mp__peers *peers, int fd)
{
    (void)peers;
    (void)fd;
    return 0;
}

static void ring_no_more(const struct mp__peers *peers, int fd)
{
    (void)peers;
    (void)fd;
}

int mp__peers_make_bell(struct mp__peers *peers, int listening)
{
    (void)peers;
    (void)listening;
    return ENOSYS;
}

#endif

int mp__peers_begin(struct mp__peers *peers, const struct mp__auth_terms *terms,
                    size_t capacity, int64_t time)
{
    *peers = (struct mp__peers){
        .terms = terms, .time = time, .capacity = capacity, .bell = -1};
    peers->row = mp__sys_calloc(capacity, sizeof(*peers->row));
    peers->polled = mp__sys_calloc(capacity + 1, sizeof(*peers->polled));
    return peers->row && peers->polled ? 0 : ENOMEM;
}

void mp__peers_end(struct mp__peers *peers)
{
    mp__peers_refuse_all(peers);
    mp__close(&peers->bell);
    free(peers->row);
    free(peers->polled);
    peers->row = NULL;
    peers->polled = NULL;
}

static void free_peer(struct mp__peer *peer)
{
    mp__close(&peer->fd);
    mp__wipe(&peer->handshake, sizeof(peer->handshake));
    free(peer);
}

/* Take the peer at `index` out of the row. */
static struct mp__peer *take_out(struct mp__peers *peers, size_t index)
{
    struct mp__peer *peer = peers->row[index];

    peers->count--;
    memmove(peers->row + index, peers->row + index + 1,
            (peers->count - index) * sizeof(*peers->row));
    ring_no_more(peers, peer->fd);
    return peer;
}

/* Its connection ends also where children have copies of the descriptor. */
static void refuse(struct mp__peers *peers, size_t index)
{
    struct mp__peer *peer = take_out(peers, index);

    (void)shutdown(peer->fd, SHUT_RDWR);
    free_peer(peer);
    peers->refused++;
}

/* The oldest that may give way; `count` if there is none. */
static size_t replaceable(const struct mp__peers *peers)
{
    size_t index = 0;

    while (index < peers->count &&
           !(peers->row[index]->had_moment &&
             peers->row[index]->handshake.auth.stage == MP__AUTH_ANSWER_DUE))
        index++;
    return index;
}

static bool is_full(const struct mp__peers *peers)
{
    return peers->count == peers->capacity || (peers->cramped && peers->count);
}

bool mp__peers_may_add(const struct mp__peers *peers)
{
    return !is_full(peers) || replaceable(peers) < peers->count;
}

/* From now on it is to be quiet for a moment. */
static void restart_moment(struct mp__peers *peers)
{
    peers->quiet_at = mp__now() + MOMENT;
}

bool mp__peers_feel_cramped(struct mp__peers *peers)
{
    if (!peers->count)
        return false;
    if (!peers->cramped)
        restart_moment(peers);
    peers->cramped = true;
    if (replaceable(peers) < peers->count)
        refuse(peers, replaceable(peers));
    return true;
}

void mp__peers_refuse_all(struct mp__peers *peers)
{
    while (peers->count)
        refuse(peers, peers->count - 1);
}

void mp__peers_disown(struct mp__peers *peers)
{
    for (size_t i = 0; i < peers->count; i++)
        free_peer(peers->row[i]);
    peers->count = peers->refused = 0;
    peers->cramped = false;
    mp__close(&peers->bell);
}

void mp__peers_wait_for_us(struct mp__peers *peers, int64_t time)
{
    for (size_t i = 0; i < peers->count; i++)
        peers->row[i]->deadline += time;
    if (peers->quiet_at != MP__NEVER)
        peers->quiet_at += time;
}

int mp__peers_add(struct mp__peers *peers, int fd)
{
    struct mp__peer *peer = mp__sys_calloc(1, sizeof(*peer));
    int err = peer ? 0 : ENOMEM;

    if (!err)
        err = mp__handshake_begin(&peer->handshake, MP__AUTH_LISTENER, peers->terms);
    if (!err)
        err = ring_for(peers, fd);
    if (err) {
        mp__close(&fd);
        free(peer);
        peers->refused++;
        return err;
    }
    if (peers->count == peers->capacity)
        refuse(peers, replaceable(peers));
    peers->cramped = false;
    peer->fd = fd;
    peer->had_moment = false;
    peer->deadline = mp__now() + peers->time;
    peers->row[peers->count++] = peer;
    if (is_full(peers))
        restart_moment(peers);
    err = mp__handshake_send(&peer->handshake, fd);
    if (err && err != EAGAIN)
        refuse(peers, peers->count - 1);
    return 0;
}

int mp__peers_poll(struct mp__peers *peers, int listening, int64_t deadline,
                   bool *somebody_came)
{
    bool is_crowded = !mp__peers_may_add(peers);
    struct pollfd *polled = peers->polled;

    *polled = (struct pollfd){.fd = is_crowded ? -1 : listening, .events = POLLIN};
    for (size_t i = 0; i < peers->count; i++) {
        const struct mp__peer *peer = peers->row[i];
        *++polled = (struct pollfd){.fd = peer->fd,
                                    .events = mp__handshake_events(&peer->handshake)};
    }
    if (peers->count && peers->row[0]->deadline < deadline)
        deadline = peers->row[0]->deadline;
    if (is_crowded && peers->quiet_at < deadline)
        deadline = peers->quiet_at;
    if (poll(peers->polled, (nfds_t)peers->count + 1, mp__poll_timeout(deadline, -1)) < 0) {
        if (errno != EINTR && errno != EAGAIN)
            return errno;
        for (size_t i = 0; i <= peers->count; i++)
            peers->polled[i].revents = 0;
    }
    *somebody_came = peers->polled->revents;
    return 0;
}

static void refuse_late(struct mp__peers *peers)
{
    int64_t now = mp__now();

    while (peers->count && peers->row[0]->deadline <= now)
        refuse(peers, 0);
}

/* Let the peer at `index` go on: as mp__handshake_step, and left if it failed. */
static int step_one(struct mp__peers *peers, size_t index)
{
    struct mp__peer *peer = peers->row[index];
    enum mp__auth_stage before = peer->handshake.auth.stage;
    int err = mp__handshake_step(&peer->handshake, peer->fd);

    if (err != EAGAIN || peer->handshake.auth.stage != before)
        restart_moment(peers);
    if (err && err != EAGAIN)
        refuse(peers, index);
    return err;
}

/* If it is over.  Those who come later will have one of their own. */
static void end_moment(struct mp__peers *peers)
{
    if (mp__now() < peers->quiet_at)
        return;
    for (size_t i = 0; i < peers->count; i++)
        peers->row[i]->had_moment = true;
    peers->quiet_at = MP__NEVER;
}

int mp__peers_step(struct mp__peers *peers, int *fd)
{
    const struct pollfd *polled = peers->polled + 1;
    size_t index = 0;

    for (size_t count = peers->count; count; count--, polled++) {
        int err = polled->revents ? step_one(peers, index) : EAGAIN;
        if (!err) {
            struct mp__peer *peer = take_out(peers, index);
            *fd = peer->fd;
            peer->fd = -1;
            free_peer(peer);
            return 0;
        }
        index += err == EAGAIN;
    }
    refuse_late(peers);
    if (is_full(peers))
        end_moment(peers);
    return EAGAIN;
}
