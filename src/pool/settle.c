/* SPDX-License-Identifier: MIT */
/*
 * settle.c - every task is settled once, also those of the dead.
 *
 * Who waits for one task marks its word and parks on it.  Who waits for any of several
 * sets `listens`, looks at them, and parks on `heard`; or it sets `armed`, looks, and
 * polls a pipe.  Whoever settles a task changes its word, and then takes these flags: one
 * of the two sees the other.  Who is killed with `listens` in its hand leaves it to those
 * who settle it; `armed` is another odd number each time, and taken by who has written.
 */
#include "pool/pool.h"

#include <errno.h>
#include <limits.h>
#include <mp/shared.h>
#include <string.h>
#include <unistd.h>

#include "pool/job.h"
#include "pool/trace.h"
#include "shm/member.h"
#include "sync/park.h"

void mp__listeners_wake(struct mp__pool_shared *shared)
{
    atomic_fetch_add(&shared->heard, 1);
    mp__unpark(&shared->heard, INT_MAX);
}

static void tell_pollers(struct mp__pool_shared *shared, uint32_t armed)
{
    if (mp__self == shared->client && atomic_load(&shared->supervisor)) {
        /* It has no write end: see listen.c. */
        atomic_store(&shared->nudged, 1);
        mp__supervisor_ring(shared);
        return;
    }
    /* A pipe that is full is readable. */
    ssize_t written = write(shared->heed[1], "", 1);

    (void)written;
    atomic_compare_exchange_strong(&shared->armed, &armed, armed + 1);
}

void mp__pool_tell(struct mp__pool_shared *shared)
{
    if (atomic_load(&shared->listens) && atomic_exchange(&shared->listens, 0))
        mp__listeners_wake(shared);
    uint32_t armed = atomic_load(&shared->armed);
    if (armed & 1)
        tell_pollers(shared, armed);
}

struct mp__job *mp__task_job(const struct mp__task *task, uint64_t *word)
{
    struct mp__job *job = __atomic_load_n(&task->job, __ATOMIC_ACQUIRE);

    *word = atomic_load(&task->word);
    return job;
}

void mp__task_settle(struct mp__pool_shared *shared, struct mp__task *task, uint64_t number)
{
    uint64_t word = atomic_load_explicit(&task->word, memory_order_relaxed);

    do {
        /* Who was stopped for long finds that another has settled it, and that it may be
           another task by now. */
        if ((word & MP__TASK_STATE) == MP__TASK_DONE || !mp__task_word_is(word, number))
            return;
    } while (!atomic_compare_exchange_weak(&task->word, &word,
                                           mp__task_word(number, 0, MP__TASK_DONE)));
    if (word & MP__TASK_WAITED)
        mp__unpark(mp__low_half(&task->word), INT_MAX);
    mp__pool_tell(shared);
}

bool mp__task_take(struct mp__task *task, uint64_t number, unsigned taker)
{
    uint64_t queued = mp__task_word(number, 0, MP__TASK_QUEUED);
    uint64_t word = atomic_load_explicit(&task->word, memory_order_relaxed);

    do {
        if ((word & ~(uint64_t)MP__TASK_WAITED) != queued)
            return false;
    } while (!atomic_compare_exchange_weak(
        &task->word, &word,
        mp__task_word(number, taker + 1, MP__TASK_RUNNING) | (word & MP__TASK_WAITED)));
    return true;
}

void mp__task_offer(struct mp__pool_shared *shared, struct mp__task *task, uint64_t number)
{
    uint64_t word = atomic_load(&task->word);

    /* Whoever settles it at the same time wins. */
    while (mp__task_word_is(word, number) && (word & MP__TASK_STATE) == MP__TASK_RUNNING) {
        uint64_t queued =
            mp__task_word(number, 0, MP__TASK_QUEUED) | (word & MP__TASK_WAITED);
        if (atomic_compare_exchange_weak(&task->word, &word, queued))
            break;
    }
    mp__queue_rewind(shared, number);
}

/* Whoever settles it after the caller's death must not free it once more. */
static void drop_text(struct mp__task *task)
{
    char *text = task->text;

    task->text = NULL;
    mp__kill_point_order();
    mp_shared_free(text);
}

static void fail_single(struct mp__pool_shared *shared, struct mp__task *task,
                        uint64_t number, const mp_task_failure *what)
{
    drop_text(task);
    task->exitcode = what->exitcode;
    task->pid = what->pid;
    task->error = what->error;
    task->kind = (uint8_t)what->kind;
    task->max_rss = what->max_rss;
    atomic_fetch_add_explicit(&shared->unrun, 1, memory_order_relaxed);
    mp__task_settle(shared, task, number);
}

bool mp__task_withdraw(struct mp__pool_shared *shared, struct mp__task *task,
                       uint64_t number)
{
    static const mp_task_failure cancelled = {.error = ECANCELED,
                                              .kind = MP_FAILURE_CANCELLED};

    /* As if the client were one more worker.  If it dies, so does the pool. */
    if (!mp__task_take(task, number, shared->place_count))
        return false;
    fail_single(shared, task, number, &cancelled);
    return true;
}

bool mp__task_drop_items(struct mp__pool_shared *shared, struct mp__task *task,
                         struct mp__job *job, uint64_t number)
{
    mp__job_cancel(job);
    if (!mp__job_done(job))
        return false;
    mp__task_settle(shared, task, number);
    return true;
}

void mp__task_end(struct mp__pool_shared *shared, uint64_t number)
{
    bool any = false;

    for (unsigned i = 0; i < shared->place_count; i++) {
        struct mp__worker *worker = &shared->workers[i];
        if (atomic_load(&worker->current) != number + 1)
            continue;
        atomic_store(&worker->cancel, number + 1);
        any = true;
    }
    if (any)
        mp__supervisor_ring(shared);
}

/*
 * Say so first, then look where it is: a supervisor that is about to have it tried again
 * queues it first, and then looks whether it is to be cancelled.
 */
void mp__task_cancel(struct mp__pool_shared *shared, struct mp__task *task, uint64_t number)
{
    atomic_store(&task->cancelled, 1);
    if (!mp__task_withdraw(shared, task, number))
        mp__task_end(shared, number);
}

/* Only a worker's own death is a reason to try again, and not its being ended. */
static bool may_retry(const mp_task_failure *death)
{
    return death->kind == MP_FAILURE_DIED || death->kind == MP_FAILURE_EXITED;
}

static void settle_map(struct mp__pool_shared *shared, struct mp__task *task,
                       struct mp__job *job, uint64_t number, unsigned place,
                       const mp_task_failure *death)
{
    struct mp__worker *dead = &shared->workers[place];
    uint64_t at = mp__worker_at(dead);

    /* What it finished of its batch was not counted yet. */
    if (at & 1 && !job->fold)
        mp__worker_count(&dead->done, (at >> 1) - atomic_load(&dead->batch));
    unsigned failed = mp__job_settle(job, place, at, death, may_retry(death));
    atomic_fetch_add_explicit(&shared->unrun, failed, memory_order_relaxed);
    if (mp__job_done(job))
        mp__task_settle(shared, task, number);
    else if (mp__job_takeable(job))
        mp__task_offer(shared, task, number);
}

static void settle_single(struct mp__pool_shared *shared, struct mp__task *task,
                          uint64_t number, uint64_t word, unsigned place,
                          const mp_task_failure *death)
{
    if ((word & MP__TASK_STATE) == MP__TASK_QUEUED) {
        /* It took the number but not the task, which is offered again. */
        mp__queue_rewind(shared, number);
    } else if (((word >> 10) & 0x3fff) == place + 1) {
        if (task->kind == MP_FAILURE_RETURNED) {
            /* It died between the end of its task and saying so. */
            task->exitcode = 0;
            task->pid = death->pid;
            mp__task_settle(shared, task, number);
            return;
        }
        if (!may_retry(death) || task->attempts >= task->retries) {
            fail_single(shared, task, number, death);
            return;
        }
        /* It may have died when it had begun to say that its task has failed. */
        drop_text(task);
        task->attempts++;
        task->kind = MP_FAILURE_NONE;
        mp__task_offer(shared, task, number);
        if (atomic_load(&task->cancelled))
            mp__task_cancel(shared, task, number);
    }
}

static void settle_task(struct mp__pool_shared *shared, uint64_t number, unsigned place,
                        const mp_task_failure *death)
{
    struct mp__task *task = mp__queue_task(shared, number);
    if (!task)
        return;
    uint64_t word;
    struct mp__job *job = mp__task_job(task, &word);
    if (!mp__task_word_is(word, number) || (word & MP__TASK_STATE) == MP__TASK_DONE)
        return;
    if (job)
        settle_map(shared, task, job, number, place, death);
    else
        settle_single(shared, task, number, word, place, death);
}

void mp__settle_worker(struct mp__pool_shared *shared, unsigned place,
                       const mp_task_failure *death)
{
    struct mp__worker *dead = &shared->workers[place];
    uint64_t current = atomic_load(&dead->current) & ~MP__DOOMED;
    uint64_t spinner = atomic_load(&shared->spinner);

    if (current)
        settle_task(shared, current - 1, place, death);
    atomic_store(&dead->current, 0);
    atomic_store(&dead->deadline, 0);
    mp__queue_idle_clear(shared, place);
    if ((spinner & 0xffff) == place + 1)
        mp__queue_spin_end(shared, spinner);
    mp__trace_bury(shared, place, death);
}

void mp__settle_tell(struct mp__pool_shared *shared)
{
    if (atomic_load(&shared->state) != MP__POOL_TERMINATED)
        mp__queue_ring_all(shared);
    mp__listeners_wake(shared);
    mp__pool_tell(shared);
}

int mp__failure_error(mp_failure_kind kind)
{
    return kind == MP_FAILURE_CANCELLED    ? ECANCELED
           : kind == MP_FAILURE_TIME_LIMIT ? ETIME
                                           : EOWNERDEAD;
}

void mp__settle_all(mp_pool *pool, mp_failure_kind kind)
{
    struct mp__pool_shared *shared = pool->shared;
    uint64_t tail = atomic_load(&shared->tail);
    mp_task_failure what = {.error = mp__failure_error(kind), .kind = kind};

    for (uint64_t number = pool->oldest * MP__SEGMENT_TASKS; number < tail; number++) {
        struct mp__task *task = mp__queue_task(shared, number);
        if (!task || mp__task_settled(task) ||
            !mp__task_word_is(atomic_load(&task->word), number))
            continue;
        if (task->job) {
            mp__job_settle_all(task->job, &what);
            mp__task_settle(shared, task, number);
        } else {
            fail_single(shared, task, number, &what);
        }
    }
    atomic_store(&shared->head, tail);
}
