/* SPDX-License-Identifier: MIT */
/*
 * serial.c - pools without processes, for debuggers: MP_SERIAL=1, see mp/log.h.
 *
 * Such a pool has everything in the arena that others have, but nobody is there to do the
 * work: whoever publishes a task then is the worker in place 0, until nothing is queued.
 * A guard lets one thread at a time be that worker.  It is recursive, for a task may
 * publish others, which are run within it: what the process knows of the running item is
 * put aside meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/sys.h"
#include "pool/job.h"
#include "pool/running.h"
#include "pool/trace.h"

struct mp__serial {
    pthread_mutex_t guard;
    unsigned depth; /* tasks within tasks */
    bool left;      /* the finalizer has run, or is to run no more */
};

bool mp__serial_wanted(void)
{
    const char *wanted = getenv("MP_SERIAL");

    return wanted && strcmp(wanted, "1") == 0;
}

static int new_serial(struct mp__serial **out)
{
    struct mp__serial *serial = mp__sys_calloc(1, sizeof(*serial));
    pthread_mutexattr_t attr;

    if (!serial)
        return ENOMEM;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&serial->guard, &attr);
    pthread_mutexattr_destroy(&attr);
    *out = serial;
    return 0;
}

int mp__serial_start(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;
    mp_pool_options *options = &shared->options;
    struct mp__worker *self = &shared->workers[0];

    int err = new_serial(&pool->serial);
    if (!err)
        err = mp__heed_open(pool);
    if (err)
        return err;
    pool->silence = shared->heed[1]; /* kept: there is nobody else to write */
    /* The worker must not leave. */
    options->max_tasks_per_child = 0;
    options->max_memory_per_child = 0;
    shared->resting = 0;
    self->items_most = UINT64_MAX;
    atomic_store(&self->pid, getpid());
    atomic_store(&self->ready, 1);
    mp__trace_enter_serial(shared);
    shared->start_error = options->initializer ? options->initializer(options->context) : 0;
    /* Who has not begun in good order has nothing to put in order. */
    pool->serial->left = shared->start_error != 0;
    atomic_store(&shared->started, 1);
    return 0;
}

void mp__serial_free(mp_pool *pool)
{
    if (pool->serial)
        pthread_mutex_destroy(&pool->serial->guard);
    free(pool->serial);
}

/* With the guard: be the worker until nothing is queued. */
static void work(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;
    struct mp__worker *self = &shared->workers[0];
    struct mp_task_loop_state loop = self->loop;
    uint64_t current = atomic_load(&self->current);
    struct mp__trace *trace = mp__trace_own;
    struct mp__running running;

    mp__running_put_aside(&running);
    mp__running_enter(shared, 0);
    mp__trace_own = shared->traces;
    pool->serial->depth++;
    while (atomic_load(&shared->state) != MP__POOL_TERMINATED &&
           mp__worker_take_next(shared, 0))
        continue;
    pool->serial->depth--;
    mp__trace_own = trace;
    mp__running_take_up(&running);
    atomic_store(&self->current, current);
    self->loop = loop;
}

/* With the guard: a worker of a closed pool leaves when nothing is left to do. */
static void leave(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;

    if (pool->serial->depth || pool->serial->left ||
        atomic_load(&shared->state) != MP__POOL_CLOSED || mp__pool_takes(shared) ||
        mp__queue_has_work(shared))
        return;
    pool->serial->left = true;
    if (shared->options.finalizer)
        shared->options.finalizer(shared->options.context);
}

/* Whoever has the guard now looks at the pool's state after giving it back. */
void mp__serial_close(mp_pool *pool)
{
    struct mp__serial *serial = pool->serial;

    if (pthread_mutex_trylock(&serial->guard))
        return;
    leave(pool);
    pthread_mutex_unlock(&serial->guard);
}

void mp__serial_run(mp_pool *pool)
{
    pthread_mutex_lock(&pool->serial->guard);
    work(pool);
    pthread_mutex_unlock(&pool->serial->guard);
    if (atomic_load(&pool->shared->state) == MP__POOL_CLOSED)
        mp__serial_close(pool);
}

/* With the guard: nothing is running, and nothing will. */
static void end(mp_pool *pool)
{
    static const mp_task_failure ended = {.error = ECANCELED};

    mp__trace_bury(pool->shared, 0, &ended);
    atomic_store(&pool->shared->workers[0].pid, 0);
    pool->ended = true;
}

/* Take the guard, unless another thread works, or has a map that is still to come. */
static bool take_over(mp_pool *pool)
{
    if (pthread_mutex_trylock(&pool->serial->guard))
        return false;
    if (pool->serial->depth || !mp__pool_takes(pool->shared))
        return true;
    pthread_mutex_unlock(&pool->serial->guard);
    return false;
}

int mp__serial_join(mp_pool *pool, int64_t deadline)
{
    struct mp__serial *serial = pool->serial;
    int err = 0;

    while (!take_over(pool)) {
        if (mp__now() >= deadline)
            return ETIMEDOUT;
        mp__poll_one(-1, 0, mp__now() + MP__MILLISECOND);
    }
    if (serial->depth) {
        err = EDEADLK;
    } else if (!pool->ended) {
        work(pool);
        leave(pool);
        end(pool);
    }
    pthread_mutex_unlock(&serial->guard);
    return err;
}

/* A task of a pool that is terminated: run no more of it. */
static void drop(struct mp__pool_shared *shared, uint64_t number)
{
    struct mp__task *task = mp__queue_task(shared, number);
    uint64_t word;

    if (!task)
        return;
    struct mp__job *job = mp__task_job(task, &word);
    if (!mp__task_word_is(word, number) || (word & MP__TASK_STATE) == MP__TASK_DONE)
        return;
    if (job)
        mp__task_drop_items(shared, task, job, number);
    else
        mp__task_withdraw(shared, task, number);
}

void mp__serial_terminate(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;

    pthread_mutex_lock(&pool->serial->guard);
    uint64_t tail = atomic_load(&shared->tail);
    for (uint64_t number = atomic_load(&shared->head); number < tail; number++)
        drop(shared, number);
    for (unsigned i = 0; i < shared->open_size; i++) {
        uint64_t number = atomic_load(&shared->open[i]);
        if (number)
            drop(shared, number - 1);
    }
    atomic_store(&shared->head, tail);
    if (!pool->serial->depth && !pool->ended)
        end(pool);
    pthread_mutex_unlock(&pool->serial->guard);
}

void mp__serial_exit(mp_pool *pool)
{
    /* What another thread is running ends with the program, as it would without a pool. */
    if (!pool->ended && pthread_mutex_trylock(&pool->serial->guard) == 0) {
        end(pool);
        pthread_mutex_unlock(&pool->serial->guard);
    }
}
