/* SPDX-License-Identifier: MIT */
/*
 * supervisor.h - the process between the client and the workers, and its three duties:
 * that there are as many workers as there should be (staff.c), that items end when they
 * are to end (watch.c), and that all of it ends (supervisor.c).
 */
#ifndef MP_POOL_SUPERVISOR_H
#define MP_POOL_SUPERVISOR_H

#include "base/clock.h"
#include "pool/pool.h"

/* How soon after a death at birth, or a failed fork, the next try comes: then doubled. */
#define MP__RETRY_FIRST_NS (10 * MP__MILLISECOND)

/* What the supervisor alone knows of the worker in a place. */
struct mp__charge {
    mp_failure_kind ending; /* why it is being ended, or MP_FAILURE_NONE */
    int64_t act_at;         /* when SIGKILL follows, or a cancelled task is ended */
    uint64_t cancel;        /* the request that `act_at` is for */
};

struct mp__supervisor {
    struct mp__pool_shared *shared;
    struct mp__charge *charges; /* one for each place */
    int life;                   /* of the workers: they die when this process does */
    pid_t pid;
    unsigned alive;
    int64_t retry_at; /* forks nobody before that */
    int64_t retry_ns;
    int64_t relieve_at; /* when it looks whether work was left to nobody */
    uint64_t spinner;   /* who spun when it last looked: nobody does for so long */
    int64_t fill_at; /* when somebody is to be forked, or MP__NEVER */
    int64_t deaths_since; /* the window of time in which `deaths` have happened */
    unsigned deaths;
    uint64_t done; /* items, when the last of these happened */
};

/* staff.c */
int mp__staff_fill(struct mp__supervisor *self); /* 0, or why no worker could be forked */
void mp__staff_bury(struct mp__supervisor *self);
void mp__staff_signal(const struct mp__supervisor *self, int signal);

/* watch.c: end what is to be ended; when to look again, or MP__NEVER. */
int64_t mp__watch(struct mp__supervisor *self);

#endif
