/* SPDX-License-Identifier: MIT */
/*
 * worker.c - a worker's life: take a task or a part of a map, run it, report, look for
 * more, spin a little, sleep.
 */
#include "pool/pool.h"

#include <errno.h>
#include <mp/shared.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "pool/job.h"
#include "proc/fork.h"
#include "shm/member.h"
#include "sync/park.h"

/* What mp_task_fail was given, until the task has returned. */
static struct {
    bool inside; /* this process is a worker */
    int error;
    char text[MP_TASK_TEXT_SIZE];
} last_words;

int mp_task_fail(int error, const char *format, ...)
{
    va_list arguments;

    if (!last_words.inside || !format)
        return error;
    va_start(arguments, format);
    vsnprintf(last_words.text, sizeof(last_words.text), format, arguments);
    va_end(arguments);
    last_words.error = error;
    return error;
}

/* The text is used up: a later task that fails without one must not inherit it. */
const char *mp__task_text(int error)
{
    bool meant = last_words.error == error;

    last_words.error = 0;
    return meant ? last_words.text : "";
}

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

static void run_task(struct mp__task *task)
{
    int err = task->task(task->arg, task->result, task->context);

    task->pid = getpid();
    if (err)
        keep_text(task, err);
    task->error = err;
    mp__task_settle(task);
}

/* Work on map `number`, which this worker is `current` with. */
static void work_on_map(struct mp__pool_shared *shared, unsigned worker, uint64_t number,
                        struct mp__task *task)
{
    struct mp__job *job = task->job;

    do {
        mp__job_work(job, shared, worker);
        mp__open_remove(shared, number);
    } while (mp__job_takeable(job));
    if (mp__job_done(job))
        mp__task_settle(task);
}

/* Take task `number` if it is still to be had, and run it. */
static void take(struct mp__pool_shared *shared, unsigned worker, uint64_t number)
{
    struct mp__task *task = mp__queue_task(shared, number);
    uint64_t queued = mp__task_word(number, 0, MP__TASK_QUEUED);

    if (!task)
        return;
    uint64_t word = atomic_load_explicit(&task->word, memory_order_relaxed);
    do {
        if ((word & ~(uint64_t)MP__TASK_WAITED) != queued)
            return;
    } while (!atomic_compare_exchange_weak(
        &task->word, &word,
        mp__task_word(number, worker + 1, MP__TASK_RUNNING) | (word & MP__TASK_WAITED)));

    if (atomic_load(&shared->head) < atomic_load(&shared->tail))
        mp__queue_ring(shared);
    if (task->job) {
        mp__open_insert(shared, number);
        work_on_map(shared, worker, number, task);
    } else {
        run_task(task);
    }
}

/* Join open map `number` if it still is one. */
static void join_map(struct mp__pool_shared *shared, unsigned worker, uint64_t number)
{
    struct mp__task *task = mp__queue_task(shared, number);

    if (task) {
        uint64_t word = atomic_load(&task->word);
        if (mp__task_word_is(word, number) &&
            (word & MP__TASK_STATE) == MP__TASK_RUNNING) {
            work_on_map(shared, worker, number, task);
            return;
        }
    }
    mp__open_remove(shared, number);
}

/* Do one piece of work, the oldest there is; false if there is none. */
static bool work(struct mp__pool_shared *shared, unsigned worker)
{
    struct mp__worker *self = &shared->workers[worker];
    uint64_t head = atomic_load(&shared->head);
    uint64_t map;
    bool open = mp__open_lowest(shared, &map);

    if (open && map < head) {
        /* Sequentially consistent: the client looks at `current` after it has seen the
           map settled, and this worker at the map's word after it has set `current`. */
        atomic_store(&self->current, map + 1);
        join_map(shared, worker, map);
    } else if (head < atomic_load(&shared->tail)) {
        atomic_store(&self->current, head + 1);
        if (atomic_compare_exchange_strong(&shared->head, &head, head + 1))
            take(shared, worker, head);
    } else {
        return false;
    }
    atomic_store_explicit(&self->current, 0, memory_order_release);
    return true;
}

static bool has_work(void *shared)
{
    return mp__queue_has_work(shared);
}

/* One worker at a time may look for work without sleeping, if a processor is free. */
static bool spin_for_work(struct mp__pool_shared *shared, unsigned worker)
{
    static struct mp__spin spin;
    uint64_t nobody = 0;

    if (!atomic_compare_exchange_strong(&shared->spinner, &nobody, worker + 1))
        return false;
    bool found = mp__spin_until(&spin, MP__NEVER, has_work, shared);
    atomic_store(&shared->spinner, 0);
    return found;
}

static void sleep_until_rung(struct mp__pool_shared *shared, unsigned worker)
{
    struct mp__worker *self = &shared->workers[worker];
    struct mp__sleep sleep = mp__sleep_until(MP__NEVER);

    atomic_store(&self->bell, 0);
    atomic_fetch_or(&shared->idle[worker / 64], UINT64_C(1) << worker % 64);
    /* Whoever publishes work looks at the idle bits afterwards: one sees the other. */
    while (!mp__queue_has_work(shared) && !atomic_load(&self->bell) &&
           atomic_load(&shared->state) == MP__POOL_OPEN)
        mp__park(&sleep, &self->bell, 0, 0);
    mp__queue_idle_clear(shared, worker);
}

static int initialize(struct mp__pool_shared *shared, struct mp__worker *self)
{
    last_words.inside = true;
    int err = shared->initializer ? shared->initializer(shared->context) : 0;

    self->initializer_error = err;
    atomic_store(&self->ready, 1);
    atomic_store(&shared->supervisor_bell, 1);
    mp__unpark(&shared->supervisor_bell, 1);
    return err;
}

void mp__worker_main(struct mp__pool_shared *shared, unsigned worker)
{
    struct mp__worker *self = &shared->workers[worker];

    mp__child_catch_exit();
    if (initialize(shared, self))
        mp__child_exit(1);
    /* Its siblings are still being forked: they need the processor more. */
    sleep_until_rung(shared, worker);
    for (;;) {
        while (work(shared, worker))
            continue;
        if (spin_for_work(shared, worker))
            continue;
        if (atomic_load(&shared->state) != MP__POOL_OPEN && !mp__queue_has_work(shared)) {
            atomic_store(&self->leaving, 1);
            mp__child_exit(0);
        }
        sleep_until_rung(shared, worker);
    }
}
