/* SPDX-License-Identifier: MIT */
/* result.c - single tasks: submitting them, waiting for them, and their results. */
#include "pool/result.h"

#include <errno.h>
#include <mp/shared.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/thread_local.h"
#include "pool/job.h"
#include "pool/map.h"
#include "sync/park.h"

static bool is_settled(void *task)
{
    return mp__task_settled(task);
}

int mp__task_wait(mp_pool *pool, struct mp__task *task, int64_t deadline)
{
    static MP__THREAD_LOCAL struct mp__spin spin;

    if (mp__task_settled(task) || mp__pool_spin(pool, &spin, deadline, is_settled, task))
        return 0;
    if (!deadline) {
        mp__pool_watch(pool);
        return mp__task_settled(task) ? 0 : ETIMEDOUT;
    }

    struct mp__sleep sleep = mp__sleep_until(deadline);
    for (;;) {
        uint64_t word = atomic_load(&task->word);
        if ((word & MP__TASK_STATE) == MP__TASK_DONE)
            return 0;
        uint64_t waited = word | MP__TASK_WAITED;
        if (!atomic_compare_exchange_strong(&task->word, &word, waited))
            continue;
        int err = mp__park(&sleep, mp__low_half(&task->word), (uint32_t)waited,
                           atomic_load(&pool->shared->supervisor));
        mp__pool_watch(pool);
        if (err)
            return mp__task_settled(task) ? 0 : err;
    }
}

/* What a result is aligned to that lies behind its argument. */
#define ARGUMENT_UNIT 16

/* Place argument and result: in the task's own lines if they fit, or in a block. */
static int place(struct mp__task *task, const void *arg, size_t arg_size,
                 size_t result_size)
{
    size_t copied = arg_size && !mp_shared_contains(arg) ? arg_size : 0;
    size_t before = mp__round_up(copied, ARGUMENT_UNIT);
    char *memory = task->data;

    if (copied > SIZE_MAX / 4 || result_size > SIZE_MAX / 4)
        return ENOMEM;
    task->block = NULL;
    if (before + result_size > sizeof(task->data)) {
        task->block = memory = mp_shared_alloc(before + result_size);
        if (!memory)
            return ENOMEM;
    }
    if (copied)
        memcpy(memory, arg, copied);
    task->arg = copied ? memory : arg;
    task->result = result_size ? memory + before : NULL;
    return 0;
}

void mp__task_prepare(struct mp__task *task, const struct mp__call *call)
{
    task->task = call->task;
    task->context = call->context;
    task->text = NULL;
    task->limits = call->limits;
    task->retries = (uint8_t)call->retries;
    task->attempts = 0;
    task->kind = MP_FAILURE_NONE;
    task->error = 0;
    task->index = 0;
    task->call = call->number;
    /* Partner of mp__task_job. */
    __atomic_store_n(&task->job, NULL, __ATOMIC_RELEASE);
}

static int submit(mp_pool *pool, struct mp__call *call, const void *arg, size_t arg_size,
                  size_t result_size, bool held, uint64_t *number, struct mp__task **out)
{
    struct mp__task *task;
    int err = mp__pool_accepts(pool);
    if (!err)
        err = mp__queue_reserve(pool, number, &task);
    if (!err)
        err = place(task, arg, arg_size, result_size);
    if (err)
        return err;
    call->number = pool->calls++;
    mp__task_prepare(task, call);
    pool->submitted++;
    mp__queue_publish(pool, *number, task, held);
    *out = task;
    return 0;
}

int mp__call_read(struct mp__call *call, const mp_pool *pool, mp_task_fn *task,
                  void *context, int hard_ms, int soft_ms, int retries)
{
    const mp_pool_options *options = &pool->shared->options;

    if (hard_ms < 0 || soft_ms < 0 || retries < 0 || retries > MP__RETRIES_MAX)
        return EINVAL;
    *call = (struct mp__call){
        .task = task,
        .context = context ? context : options->context,
        .limits = {.hard = hard_ms ? hard_ms : options->time_limit_ms,
                   .soft = soft_ms ? soft_ms : options->soft_time_limit_ms},
        .retries = (unsigned)retries,
    };
    return 0;
}

/* What apply and apply_async were given; results are theirs to check. */
static int read_call(struct mp__call *call, mp_task_options *known, const mp_pool *pool,
                     mp_task_fn *task, const void *arg, size_t arg_size,
                     const mp_task_options *options)
{
    int err = mp__pool_check(pool);
    if (!err && (!task || (!arg && arg_size)))
        err = EINVAL;
    if (!err)
        err = mp__options_read(known, sizeof(*known), options);
    if (!err && known->reserved)
        err = EINVAL;
    return err ? err
               : mp__call_read(call, pool, task, known->context, known->time_limit_ms,
                               known->soft_time_limit_ms, known->retries);
}

void mp__task_describe(const struct mp__task *task, mp_task_failure *failure)
{
    *failure = (mp_task_failure){0};
    if (!task->error)
        return;
    *failure = (mp_task_failure){
        .error = task->error,
        .exitcode = task->exitcode,
        .pid = task->pid,
        .attempts = task->attempts + (task->pid != 0),
        .max_rss = task->kind == MP_FAILURE_RETURNED ? 0 : task->max_rss,
        .kind = (mp_failure_kind)task->kind,
    };
    if (task->text)
        strncpy(failure->text, task->text, sizeof(failure->text) - 1);
}

int mp_pool_apply(mp_pool *pool, mp_task_fn *function, const void *arg, size_t arg_size,
                  void *result, size_t result_size, const mp_task_options *options)
{
    mp_task_options known;
    struct mp__call call;
    int err = read_call(&call, &known, pool, function, arg, arg_size, options);
    if (!err && !result && result_size)
        err = EINVAL;
    if (err)
        return err;
    if (known.failure)
        *known.failure = (mp_task_failure){0};

    uint64_t number;
    struct mp__task *task;
    pthread_mutex_lock(&pool->mutex);
    err = submit(pool, &call, arg, arg_size, result_size, true, &number, &task);
    pthread_mutex_unlock(&pool->mutex);
    if (err)
        return err;

    mp__task_wait(pool, task, MP__NEVER);
    err = task->error;
    if (!err && result_size)
        memcpy(result, task->result, result_size);
    if (known.failure)
        mp__task_describe(task, known.failure);
    pthread_mutex_lock(&pool->mutex);
    mp__queue_release(pool, number);
    pthread_mutex_unlock(&pool->mutex);
    return err;
}

int mp_pool_apply_async(mp_pool *pool, mp_task_fn *function, const void *arg,
                        size_t arg_size, size_t result_size, const mp_task_options *options,
                        mp_async_result **out)
{
    mp_task_options known;
    struct mp__call call;
    int err = read_call(&call, &known, pool, function, arg, arg_size, options);
    if (err)
        return err;

    mp_async_result *result = NULL;
    bool kept = out || known.callback;
    if (kept) {
        result = mp__sys_realloc(NULL, sizeof(*result)); /* it is filled in anyway */
        if (!result)
            return ENOMEM;
        *result = (mp_async_result){
            .pool = pool, .size = result_size, .began = mp__now_about()};
    }
    uint64_t number;
    struct mp__task *task;
    pthread_mutex_lock(&pool->mutex);
    err = submit(pool, &call, arg, arg_size, result_size, kept, &number, &task);
    if (!err && kept) {
        result->task = task;
        result->number = number;
        mp__result_give(result, known.callback, known.callback_arg, out);
    }
    pthread_mutex_unlock(&pool->mutex);
    if (err)
        free(result);
    return err;
}

void mp__result_give(mp_async_result *result, mp_done_fn *callback, void *callback_arg,
                     mp_async_result **out)
{
    result->pool->results++;
    result->wanted = out != NULL;
    if (out)
        *out = result;
    result->callback = callback;
    result->callback_arg = callback_arg;
    if (callback)
        mp__callback_add(result);
}

static int check_result(const mp_async_result *result)
{
    return result ? mp__pool_check(result->pool) : EINVAL;
}

int mp__result_wait(mp_async_result *result, int64_t deadline)
{
    int err = check_result(result);
    if (err)
        return err;
    if (result->map)
        return mp__map_wait(result->pool, result->map, deadline);
    return mp__task_wait(result->pool, result->task, deadline);
}

int mp_async_result_wait(mp_async_result *result, int timeout_ms)
{
    int64_t deadline;
    int err = check_result(result);
    if (!err)
        err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = mp__result_wait(result, deadline);
    if (!err)
        mp__callback_run(result);
    return err;
}

/* What a settled result is. */
static int take_value(mp_async_result *result, void *value, size_t size)
{
    if (result->map)
        return mp__map_get(result->map, value, size);
    if (value && size < result->size)
        return EMSGSIZE;
    if (!result->task->error && value)
        memcpy(value, result->task->result, result->size);
    return result->task->error;
}

int mp_async_result_get(mp_async_result *result, void *value, size_t size, int timeout_ms)
{
    int64_t deadline;
    int err = size && !value ? EINVAL : check_result(result);
    if (!err)
        err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = mp__result_wait(result, deadline);
    if (err)
        return err;
    /* Before the callback, which may free it. */
    err = take_value(result, value, size);
    mp__callback_run(result);
    return err;
}

int mp_async_result_cancel(mp_async_result *result)
{
    int err = check_result(result);
    if (err)
        return err;
    if (mp_async_result_ready(result))
        return EALREADY;
    if (result->map)
        mp__map_cancel(result->pool, result->map);
    else
        mp__task_cancel(result->pool->shared, result->task, result->number);
    if (mp__result_settled(result))
        mp__callback_run(result);
    return 0;
}

int mp_async_result_progress(mp_async_result *result, mp_progress *progress)
{
    int err = progress ? check_result(result) : EINVAL;
    if (err)
        return err;
    if (result->map) {
        mp__map_progress(result->map, progress);
        return 0;
    }
    bool settled = mp__result_wait(result, 0) == 0;
    *progress = (mp_progress){
        .done = settled,
        .failed = settled && result->task->error,
        .total = 1,
        .elapsed_ms = (mp__now() - result->began) / MP__MILLISECOND,
    };
    return 0;
}

bool mp_async_result_ready(mp_async_result *result)
{
    return mp_async_result_wait(result, MP_NOWAIT) == 0;
}

int mp_async_result_failure(mp_async_result *result, mp_task_failure *failure)
{
    int err = failure ? check_result(result) : EINVAL;
    if (err)
        return err;
    if (mp__result_wait(result, 0))
        return EBUSY;
    if (result->map)
        mp__map_failure(result->map, failure);
    else
        mp__task_describe(result->task, failure);
    return 0;
}

int mp_async_result_successful(mp_async_result *result, bool *successful)
{
    mp_task_failure failure;

    if (!successful)
        return EINVAL;
    int err = mp_async_result_failure(result, &failure);
    if (!err)
        *successful = failure.error == 0;
    return err;
}

void mp_async_result_free(mp_async_result *result)
{
    if (!result)
        return;
    mp_pool *pool = result->pool;
    if (mp__pool_check(pool)) {
        mp__map_forget(result->map);
        free(result);
        if (--pool->results == 0 && pool->freed)
            mp__pool_destroy(pool);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    if (result->running) {
        result->dropped = true;
        pthread_mutex_unlock(&pool->mutex);
        return;
    }
    mp__callback_claim(result);
    if (result->map) {
        pthread_mutex_unlock(&pool->mutex);
        mp__map_free(pool, result->map);
        pthread_mutex_lock(&pool->mutex);
    } else {
        mp__queue_release(pool, result->number);
    }
    free(result);
    mp__pool_release(pool);
}
