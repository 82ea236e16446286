/* SPDX-License-Identifier: MIT */
/* settle.c - every task is settled once, also those of the dead. */
#include "pool/pool.h"

#include <errno.h>
#include <limits.h>
#include <mp/shared.h>

#include "pool/job.h"
#include "sync/park.h"

void mp__task_settle(struct mp__task *task)
{
    uint64_t word = atomic_load_explicit(&task->word, memory_order_relaxed);
    uint64_t number = word >> 24;

    do {
        if ((word & MP__TASK_STATE) == MP__TASK_DONE || word >> 24 != number)
            return;
    } while (!atomic_compare_exchange_weak(&task->word, &word,
                                           mp__task_word(number, 0, MP__TASK_DONE)));
    if (word & MP__TASK_WAITED)
        mp__unpark(mp__low_half(&task->word), INT_MAX);
}

/* Offer task `number` again.  Whoever settles it at the same time wins. */
static void requeue(struct mp__pool_shared *shared, struct mp__task *task, uint64_t number)
{
    uint64_t word = atomic_load(&task->word);

    while ((word & MP__TASK_STATE) == MP__TASK_RUNNING) {
        uint64_t queued =
            mp__task_word(number, 0, MP__TASK_QUEUED) | (word & MP__TASK_WAITED);
        if (atomic_compare_exchange_weak(&task->word, &word, queued))
            break;
    }
    mp__queue_rewind(shared, number);
}

/* What a settler knows of a dead worker. */
struct death {
    unsigned worker;
    int error; /* of what it was running: EOWNERDEAD, or ECANCELED if it was ended */
    uint64_t at;
    pid_t pid;
    int exitcode;
};

static void settle_map(struct mp__pool_shared *shared, struct mp__task *task,
                       uint64_t number, const struct death *death)
{
    struct mp__job *job = task->job;

    mp__job_settle(job, death->worker, death->at, death->error, death->pid,
                   death->exitcode);
    if (mp__job_done(job))
        mp__task_settle(task);
    else if (mp__job_takeable(job))
        requeue(shared, task, number);
}

static void settle_single(struct mp__pool_shared *shared, struct mp__task *task,
                          uint64_t number, uint64_t word, const struct death *death)
{
    if ((word & MP__TASK_STATE) == MP__TASK_QUEUED) {
        /* It took the number but not the task, which is offered again. */
        mp__queue_rewind(shared, number);
    } else if (((word >> 10) & 0x3fff) == death->worker + 1) {
        mp_shared_free(task->text);
        task->text = NULL;
        task->exitcode = death->exitcode;
        task->pid = death->pid;
        task->error = death->error;
        mp__task_settle(task);
    }
}

static void settle_task(struct mp__pool_shared *shared, uint64_t number,
                        const struct death *death)
{
    struct mp__task *task = mp__queue_task(shared, number);
    if (!task)
        return;
    uint64_t word = atomic_load(&task->word);
    if (!mp__task_word_is(word, number) || (word & MP__TASK_STATE) == MP__TASK_DONE)
        return;
    if (task->job)
        settle_map(shared, task, number, death);
    else
        settle_single(shared, task, number, word, death);
}

void mp__settle_worker(struct mp__pool_shared *shared, unsigned worker, pid_t pid,
                       int exitcode)
{
    struct mp__worker *dead = &shared->workers[worker];
    uint64_t current = atomic_load(&dead->current);
    uint64_t spinning = worker + 1;
    bool ended = atomic_load(&shared->state) == MP__POOL_TERMINATED;

    if (current)
        settle_task(shared, current - 1,
                    &(struct death){.worker = worker,
                                    .error = ended ? ECANCELED : EOWNERDEAD,
                                    .at = mp__worker_at(dead),
                                    .pid = pid,
                                    .exitcode = exitcode});
    atomic_store(&dead->current, 0);
    mp__queue_idle_clear(shared, worker);
    atomic_compare_exchange_strong(&shared->spinner, &spinning, 0);
    /* It may have died between taking another's idle bit and waking it. */
    mp__queue_ring_all(shared);
}

void mp__settle_all(mp_pool *pool, int error)
{
    struct mp__pool_shared *shared = pool->shared;
    uint64_t tail = atomic_load(&shared->tail);

    for (uint64_t number = pool->oldest * MP__SEGMENT_TASKS; number < tail; number++) {
        struct mp__task *task = mp__queue_task(shared, number);
        if (!task || mp__task_settled(task) ||
            !mp__task_word_is(atomic_load(&task->word), number))
            continue;
        if (task->job) {
            mp__job_settle_all(task->job, error);
        } else {
            task->error = error;
        }
        mp__task_settle(task);
    }
    atomic_store(&shared->head, tail);
}
