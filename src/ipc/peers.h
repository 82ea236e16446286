/* SPDX-License-Identifier: MIT */
/*
 * peers.h - those who came to a listener, and have still to prove that they hold the key.
 *
 * Each has a handshake that goes on whenever poll(2) finds it may; none of them is ever
 * waited for alone.
 *
 * There are never more than so many.  When there are, one that is new takes the place of
 * the oldest that has proved nothing; but only when for a moment nobody has got further.
 * So a flood of silent ones pushes out the silent, while of a crowd of honest ones the
 * last wait in the system's queue until the first are through.
 */
#ifndef MP_IPC_PEERS_H
#define MP_IPC_PEERS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/auth.h"

struct mp__peer;

struct mp__peers {
    const struct mp__auth_terms *terms;
    int64_t time;          /* that each of them has, in nanoseconds */
    size_t refused;        /* how many were left */
    size_t capacity;
    size_t count;
    struct mp__peer **row; /* the oldest first */
    struct pollfd *polled; /* whoever listens, then the peers */
    int64_t quiet_at;      /* when all have had their moment, if nobody gets any further */
    bool cramped;          /* there are no descriptors for more */
    int bell;              /* epoll's, readable when there is something to do; or -1 */
};

/* Room for `capacity` of them: ENOMEM, and then mp__peers_end is to be called as well. */
int mp__peers_begin(struct mp__peers *peers, const struct mp__auth_terms *terms,
                    size_t capacity, int64_t time);
void mp__peers_end(struct mp__peers *peers);

/* Whether one more may be added: there is room, or somebody may be replaced. */
bool mp__peers_may_add(const struct mp__peers *peers);

/* Take over the descriptor of one who came, if one may be added, and begin its handshake.
   0, also if it is gone again; or why that can't be. */
int mp__peers_add(struct mp__peers *peers, int fd);

/* There was no descriptor for a new one: false if nobody is there who could give way. */
bool mp__peers_feel_cramped(struct mp__peers *peers);

/* Leave all of them; or, in a child, to the parent that took them. */
void mp__peers_refuse_all(struct mp__peers *peers);
void mp__peers_disown(struct mp__peers *peers);

/* Give all of them so much more time. */
void mp__peers_wait_for_us(struct mp__peers *peers, int64_t time);

/* Wait until `deadline` for something to do, also at the descriptor `listening` if there is
   room, and tell whether it was there.  0, also if nothing happened; or an error of
   poll(2). */
int mp__peers_poll(struct mp__peers *peers, int listening, int64_t deadline,
                   bool *somebody_came);

/* Go on with those that may, and leave those that are late: 0 with the descriptor of one
   that proved itself, which is the caller's now, or EAGAIN. */
int mp__peers_step(struct mp__peers *peers, int *fd);

/* Make the bell, and let it ring for `listening` as well.  ENOSYS where there is none. */
int mp__peers_make_bell(struct mp__peers *peers, int listening);

#endif
