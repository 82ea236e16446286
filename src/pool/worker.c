/* SPDX-License-Identifier: MIT */
/*
 * worker.c - a worker's life: take a task or a part of a map, run it, report, look for
 * more, spin a little, sleep.
 */
#include "pool/pool.h"

#include <errno.h>
#include <mp/shared.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "pool/job.h"
#include "pool/running.h"
#include "pool/trace.h"
#include "proc/fork.h"
#include "shm/member.h"
#include "sync/park.h"

/* Hand the text over to the client in a block of its own; without memory there is none. */
static void keep_text(struct mp__task *task, int error)
{
    const char *text = mp__task_text(error);

    if (!*text)
        return;
    char *copy = mp_shared_alloc(strlen(text) + 1);
    if (copy)
        task->text = strcpy(copy, text);
}

static void run_single(struct mp__pool_shared *shared, struct mp__worker *self,
                       struct mp__task *task, uint64_t number)
{
    struct mp__trace_record event;
    bool traced = mp__trace_own && mp__trace_task(&event, self, task);

    mp__worker_may_run(1);
    mp__running_begin(task, NULL);
    mp__limits_begin(&task->limits);
    int err = task->task(task->arg, task->result, task->context);
    mp__limits_end();

    task->error = err;
    if (err) {
        keep_text(task, err);
        /* From here on it is not tried again, for it has come to its end. */
        mp__kill_point_order();
        task->kind = MP_FAILURE_RETURNED;
        mp__kill_point_order();
        task->exitcode = 0;
        task->pid = getpid();
        mp__worker_count(&self->failed, 1);
    }
    mp__worker_count(&self->done, 1);
    if (traced)
        mp__trace_end(&event, self, 1, err);
    mp__task_settle(shared, task, number);
}

/* Work on map `number`, which this worker is `current` with. */
static void run_map(struct mp__pool_shared *shared, unsigned place, uint64_t number,
                    struct mp__task *task, struct mp__job *job)
{
    mp__running_begin(NULL, job);
    do {
        mp__job_work(job, place);
        mp__open_remove(shared, number);
    } while (mp__job_takeable(job) && !mp__worker_leaves());
    if (mp__job_done(job)) {
        mp__task_settle(shared, task, number);
    } else if (mp__job_takeable(job)) {
        /* For others, since this worker leaves. */
        mp__task_offer(shared, task, number);
        mp__queue_ring(shared);
    }
}

/* Whether task `number` is running, and what job it is if so. */
static struct mp__job *running_job(const struct mp__task *task, uint64_t number,
                                   bool *running)
{
    uint64_t word;
    struct mp__job *job = mp__task_job(task, &word);

    *running = mp__task_word_is(word, number) &&
               (word & MP__TASK_STATE) == MP__TASK_RUNNING;
    return job;
}

/* Take task `number` if it is still to be had, and run it. */
static void take(struct mp__pool_shared *shared, unsigned place, uint64_t number)
{
    struct mp__task *task = mp__queue_task(shared, number);
    bool running;

    if (!task || !mp__task_take(task, number, place))
        return;
    struct mp__job *job = running_job(task, number, &running);
    if (!running)
        return; /* It is a map that was cancelled in this moment. */
    if (atomic_load(&shared->head) < atomic_load(&shared->tail))
        mp__queue_ring(shared);
    if (job) {
        mp__open_insert(shared, number);
        run_map(shared, place, number, task, job);
    } else {
        run_single(shared, &shared->workers[place], task, number);
    }
}

/* Join open map `number` if it still is one. */
static void join_map(struct mp__pool_shared *shared, unsigned place, uint64_t number)
{
    struct mp__task *task = mp__queue_task(shared, number);

    if (task) {
        bool running;
        struct mp__job *job = running_job(task, number, &running);
        if (running && job) {
            run_map(shared, place, number, task, job);
            return;
        }
    }
    mp__open_remove(shared, number);
}

/* This worker is through with what it was `current` with, unless it is to end there. */
static void be_through(struct mp__worker *self, uint64_t current)
{
    if (!atomic_compare_exchange_strong(&self->current, &current, 0))
        mp__await_end();
}

bool mp__worker_take_next(struct mp__pool_shared *shared, unsigned place)
{
    struct mp__worker *self = &shared->workers[place];
    uint64_t head = atomic_load(&shared->head);
    uint64_t next = head;

    if (head >= atomic_load(&shared->tail))
        return false;
    atomic_store(&self->current, head + 1);
    if (atomic_compare_exchange_strong(&shared->head, &next, head + 1))
        take(shared, place, head);
    be_through(self, head + 1);
    return true;
}

/* Do one piece of work, the oldest there is; false if there is none. */
static bool work(struct mp__pool_shared *shared, unsigned place)
{
    struct mp__worker *self = &shared->workers[place];
    uint64_t head = atomic_load(&shared->head);
    uint64_t map;
    bool open = mp__open_lowest(shared, &map);

    if (open && map < head) {
        /* Sequentially consistent: the client looks at `current` after it has seen the
           map settled, and this worker at the map's word after it has set `current`. */
        atomic_store(&self->current, map + 1);
        join_map(shared, place, map);
        be_through(self, map + 1);
        return true;
    }
    return mp__worker_take_next(shared, place);
}

static bool has_work(void *shared)
{
    return mp__queue_has_work(shared);
}

/* One worker at a time may look for work without sleeping, if a processor is free. */
static bool spin_for_work(struct mp__pool_shared *shared, unsigned place)
{
    static struct mp__spin spin;
    uint64_t own = mp__queue_spin_begin(shared, place);

    if (!own)
        return false;
    bool found = mp__spin_until(&spin, MP__NEVER, has_work, shared);
    mp__queue_spin_end(shared, own);
    return found;
}

/* False if there was nothing to do for as long as the pool's idle timeout. */
static bool sleep_until_rung(struct mp__pool_shared *shared, unsigned place)
{
    struct mp__worker *self = &shared->workers[place];
    int idle_ms = shared->options.idle_timeout_ms;
    struct mp__sleep sleep = mp__sleep_until(
        idle_ms ? mp__now() + idle_ms * MP__MILLISECOND : MP__NEVER);
    int err = 0;

    sleep.idles = true; /* the supervisor hears of deaths from the system */
    atomic_store(&self->bell, 0);
    atomic_fetch_or(&shared->idle[place / 64], UINT64_C(1) << place % 64);
    /* Whoever publishes work looks at the idle bits afterwards: one sees the other. */
    while (!err && !mp__queue_has_work(shared) && !atomic_load(&self->bell) &&
           !atomic_load(&self->surplus) && mp__pool_takes(shared))
        err = mp__park(&sleep, &self->bell, 0, 0);
    mp__queue_idle_clear(shared, place);
    return err != ETIMEDOUT;
}

/* This replacement is early: wait until another has left.  False if there is no need for
   it any more, since the pool was closed. */
static bool stand_by(struct mp__pool_shared *shared, struct mp__worker *self)
{
    struct mp__sleep sleep = mp__sleep_until(MP__NEVER);

    sleep.idles = true;
    while (atomic_load(&self->standby) && mp__pool_takes(shared))
        mp__park(&sleep, &self->standby, 1, 0);
    return !atomic_load(&self->standby);
}

static int initialize(struct mp__pool_shared *shared, struct mp__worker *self)
{
    const mp_pool_options *options = &shared->options;
    int err = options->initializer ? options->initializer(options->context) : 0;

    self->initializer_error = err;
    atomic_store(&self->ready, 1);
    mp__supervisor_ring(shared);
    return err;
}

static _Noreturn void leave(struct mp__pool_shared *shared, struct mp__worker *self,
                            enum mp__leave why)
{
    /* There is no good order in a pool that was terminated, or is broken. */
    uint32_t state = atomic_load(&shared->state);
    if (state == MP__POOL_TERMINATED || state == MP__POOL_BROKEN)
        mp__await_end();
    /* A finalizer that crashes is no reason to have it run again. */
    atomic_store(&self->leaving, why);
    /* Somebody may have counted on it a moment ago. */
    if (mp__queue_has_work(shared)) {
        mp__queue_ring(shared);
        mp__supervisor_ring(shared);
    }
    if (shared->options.finalizer)
        shared->options.finalizer(shared->options.context);
    mp__child_exit(0);
}

/* Work until there is a reason to leave. */
static enum mp__leave serve(struct mp__pool_shared *shared, unsigned place)
{
    for (;;) {
        enum mp__leave why = mp__worker_leaves();
        if (why)
            return why;
        if (work(shared, place) || spin_for_work(shared, place))
            continue;
        if (!mp__pool_takes(shared) && !mp__queue_has_work(shared))
            return MP__LEAVES_CLOSED;
        if (!sleep_until_rung(shared, place) && !mp__queue_has_work(shared))
            return MP__LEAVES_IDLE;
    }
}

void mp__worker_main(struct mp__pool_shared *shared, unsigned place)
{
    struct mp__worker *self = &shared->workers[place];

    mp__child_catch_exit();
    mp__running_enter(shared, place);
    mp__trace_enter(shared, place);
    if (initialize(shared, self))
        mp__child_exit(1);
    if (!stand_by(shared, self))
        leave(shared, self, MP__LEAVES_CLOSED);
    /* Its siblings are still being forked: they need the processor more. */
    if (!sleep_until_rung(shared, place) && !mp__queue_has_work(shared))
        leave(shared, self, MP__LEAVES_IDLE);
    leave(shared, self, serve(shared, place));
}
