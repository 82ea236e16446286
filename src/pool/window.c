/* SPDX-License-Identifier: MIT */
/* window.c - jobs for windows of items, and their tasks: see window.h. */
#include "pool/window.h"

#include <string.h>

#include "pool/job.h"

/* Whether task `number` is still to settle, so that a worker may come to its job. */
static bool is_under_way(struct mp__pool_shared *shared, uint64_t number)
{
    const struct mp__task *task = mp__queue_task(shared, number);

    if (!task)
        return false;
    uint64_t word = atomic_load(&task->word);
    return mp__task_word_is(word, number) && (word & MP__TASK_STATE) != MP__TASK_DONE;
}

static bool is_used(struct mp__pool_shared *shared, const struct mp__job *job)
{
    if (is_under_way(shared, job->number))
        return true;
    for (unsigned i = 0; i < shared->place_count; i++)
        if ((atomic_load(&shared->workers[i].current) & ~MP__DOOMED) == job->number + 1)
            return true;
    return false;
}

struct mp__job *mp__window_job(mp_pool *pool)
{
    for (struct mp__job **link = &pool->idle_jobs; *link; link = &(*link)->next) {
        struct mp__job *job = *link;
        if (is_used(pool->shared, job))
            continue;
        *link = job->next;
        job->details = NULL;
        job->fold = NULL;
        job->stop = NULL;
        return job;
    }
    return mp__job_new(pool->shared);
}

void mp__window_put_job(mp_pool *pool, struct mp__job *job, uint64_t number)
{
    job->number = number;
    job->next = pool->idle_jobs;
    pool->idle_jobs = job;
}

void mp__window_deal(struct mp__window *window, const struct mp__call *call, void *attempts,
                     unsigned shares)
{
    struct mp__job *job = window->job;

    job->task = call->task;
    job->context = call->context;
    job->limits = call->limits;
    job->call = call->number;
    job->first = window->start;
    job->retries = (uint8_t)call->retries;
    job->attempts = call->retries ? attempts : NULL;
    if (job->attempts)
        memset(job->attempts, 0, window->count);
    if (job->errors)
        memset(job->errors, 0, window->count * sizeof(int));
    mp__job_deal(job, window->count, shares);
}

int mp__window_publish(mp_pool *pool, struct mp__window *window)
{
    int err = mp__queue_reserve(pool, &window->number, &window->task);
    if (err)
        return err;
    struct mp__job *job = window->job;
    window->task->task = job->task;
    window->task->block = NULL;
    window->task->text = NULL;
    window->task->error = 0;
    /* Partner of mp__task_job. */
    __atomic_store_n(&window->task->job, job, __ATOMIC_RELEASE);
    mp__queue_publish(pool, window->number, window->task, true);
    return 0;
}
