/* SPDX-License-Identifier: MIT */
/* result.h - what an mp_async_result is: a task, or a map. */
#ifndef MP_POOL_RESULT_H
#define MP_POOL_RESULT_H

#include "pool/pool.h"

struct mp__map;

struct mp_async_result {
    mp_pool *pool;
    struct mp__task *task; /* NULL for a map */
    struct mp__map *map;   /* NULL for a task */
    uint64_t number;       /* of the task, or of the map's last one */
    size_t size;           /* of the task's result */
    int64_t began;         /* the task was submitted */
    mp_done_fn *callback;  /* or NULL */
    void *callback_arg;
    bool wanted;  /* the caller has it */
    bool running; /* its callback runs */
    bool dropped; /* it was freed meanwhile */
    /* Where it waits for its callback to be run: see callback.c. */
    struct mp__callbacks *list; /* NULL: in none any more */
    mp_async_result *before;
    mp_async_result *behind;
};

/* result.c: a filled-in result is the pool's from now on, and the caller's if `out`. */
void mp__result_give(mp_async_result *result, mp_done_fn *callback, void *callback_arg,
                     mp_async_result **out);

struct mp__spin;

/* listen.c: mp__spin_until, if the workers leave a processor free. */
bool mp__pool_spin(const mp_pool *pool, struct mp__spin *spin, int64_t deadline,
                   bool (*done)(void *arg), void *arg);

/*
 * listen.c: look again and again, whenever anything was settled, until that gives
 * something else than ETIMEDOUT.  `glance` costs less than `look`, and may miss something:
 * it is what is called in a loop before there is reason to sleep; or NULL.
 */
int mp__look_until(mp_pool *pool, int64_t deadline, int (*look)(void *arg),
                   bool (*glance)(void *arg), void *arg);

/* result.c: 0, or ETIMEDOUT; no callback is run. */
int mp__result_wait(mp_async_result *result, int64_t deadline);

/* callback.c; the pool's mutex is held. */
void mp__callback_add(mp_async_result *result);
bool mp__callback_claim(mp_async_result *result); /* it is the caller's to run, or drop */

/* callback.c; the mutex is not held. */
bool mp__result_settled(const mp_async_result *result);
void mp__callback_run(mp_async_result *result); /* it was settled: run it unless it was */
int mp__callbacks_run(mp_pool *pool); /* of what is settled: 0, ETIMEDOUT none, EPIPE */
void mp__callbacks_drop(mp_pool *pool); /* those of results that the caller has not */

/* Fill in a single task, except for its argument and result. */
void mp__task_prepare(struct mp__task *task, const struct mp__call *call);

/* Why a settled task has failed, if it has. */
void mp__task_describe(const struct mp__task *task, mp_task_failure *failure);

#endif
