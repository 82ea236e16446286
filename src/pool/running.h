/* SPDX-License-Identifier: MIT */
/* running.h - what a worker knows of the item that it is running. */
#ifndef MP_POOL_RUNNING_H
#define MP_POOL_RUNNING_H

#include "pool/pool.h"

struct mp__job;

/* What a process knows of the item that it is running. */
struct mp__running {
    struct mp__pool_shared *shared; /* NULL: this process is no worker */
    struct mp__worker *self;
    uint64_t done_before; /* items in this place, by others */
    const struct mp__task *task;
    const struct mp__job *job;
    int64_t soft_until;
    /* What mp_task_fail was given, until the task has returned. */
    int error;
    char text[MP_TASK_TEXT_SIZE];
};

/* Another item is run within it: serial.c. */
void mp__running_put_aside(struct mp__running *kept);
void mp__running_take_up(const struct mp__running *kept);

/* This process is the worker in `place` from now on. */
void mp__running_enter(struct mp__pool_shared *shared, unsigned place);

/* It is about to run a single task, or items of a map; the other is NULL. */
void mp__running_begin(const struct mp__task *task, const struct mp__job *job);

/* An item's time begins, and ends.  Does not return if the supervisor has doomed it. */
void mp__limits_begin(const struct mp__limits *limits);
void mp__limits_end(void);

/* Of `items` that this worker could take, how many it may run before it is to leave. */
uint32_t mp__worker_may_run(uint32_t items);

/* Why this worker is to leave now, or MP__STAYS. */
enum mp__leave mp__worker_leaves(void);

/* Wait for the end that the supervisor has decided on. */
_Noreturn void mp__await_end(void);

/* What mp_task_fail was given last in this process for `error`, or "". */
const char *mp__task_text(int error);

#endif
