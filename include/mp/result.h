/* SPDX-License-Identifier: MIT */
/*
 * result.h - what a pool has promised: waiting for it, taking it, cancelling it.
 *
 *   mp_async_result *result;
 *   err = mp_pool_apply_async(pool, f, &x, sizeof x,      result = pool.apply_async(f,
 *                             sizeof y, NULL, &result);                             (x,))
 *   ...
 *   err = mp_async_result_get(result, &y, sizeof y, 1500);    y = result.get(timeout=1.5)
 *   mp_async_result_free(result);
 *
 * In the order in which they are done, as concurrent.futures.as_completed:
 *
 *   while (!mp_async_result_wait_any(results, n, MP_FOREVER, &i)) {
 *       use(results[i]);
 *       mp_async_result_free(results[i]);
 *       results[i] = NULL;
 *   }
 *
 * Results are settled by the workers, and when something went wrong by the pool's
 * supervisor; nothing has to be called for that.  Callbacks run in the program's own
 * threads only, inside wait, get, ready, wait_any, wait_all, cancel and mp_pool_poll: in
 * whichever of these finds the result settled first.
 */
#ifndef MP_RESULT_H
#define MP_RESULT_H

#include "base.h"
#include "task.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What apply_async and map_async promise.  Python: multiprocessing.pool.AsyncResult */
typedef struct mp_async_result mp_async_result;

/*
 * What is called once a result is settled, if the options of the call said so: in the
 * thread that finds it settled, which holds no lock of libmp.  It runs once.  While it
 * runs, other threads find the result settled already.
 *
 * It may do anything with the pool, submit more and free it too, and with the result, also
 * free it, if the caller has it.  If the caller did not want it (`out` was NULL) it is
 * freed after the callback.
 *
 * A pool that is terminated or breaks settles all results; their callbacks are run as
 * ever, by who finds them.  Once the pool is freed, those run whose result the caller still
 * has and asks; the others never do.  Python's are never run then.
 */
typedef void mp_done_fn(mp_async_result *result, void *arg);

/* How far a map has come. */
typedef struct mp_progress {
    uint64_t done;      /* items that are settled, failed ones included */
    uint64_t failed;    /* of these */
    uint64_t total;     /* items of the map */
    int64_t elapsed_ms; /* since it began; of a single task to some 10 ms */
} mp_progress;

/* What mp_pool_map calls now and then, in the thread that called it:
   mp_progress_bar (progress.h), or the program's own. */
typedef void mp_progress_fn(const mp_progress *progress, void *arg);

/*
 * mp_async_result_wait - wait up to `timeout_ms` until the task, or every item of the
 * map, is settled: done, failed or cancelled.
 *
 * Returns 0, or ETIMEDOUT, or EINVAL for NULL or a bad timeout, or EPERM in another
 * process than the pool's creator.
 *
 * Processes: the creator of the pool.  Threads: any, one at a time for a result.
 * Signal handlers: no.
 * Python:    result.wait(timeout)
 */
MP_API int mp_async_result_wait(mp_async_result *result, int timeout_ms);

/*
 * mp_async_result_get - wait, and take the result.
 *
 * For a task, the bytes of its result are copied to `value`, which has room for `size`.
 * For a map, results are in the array that mp_pool_map_async was given, and are copied to
 * `value` as well.  If `value` is NULL and `size` is 0 nothing is copied.  It can be got
 * again.
 *
 * Returns 0, or what the task returned, or for a map the error of the failed item with
 * the lowest index, or
 *   ETIMEDOUT    it is not done
 *   EOWNERDEAD   the worker died
 *   ETIME        it took longer than its time limit
 *   ECANCELED    it was cancelled, or the pool was terminated
 *   EMSGSIZE     `value` has less room than the result needs; nothing was copied
 *   EINVAL       `result` is NULL, a NULL pointer has a size, or a bad timeout
 *   EPERM        in another process than the pool's creator
 *
 * Processes: the creator of the pool.  Threads: any, one at a time for a result.
 * Signal handlers: no.
 * Python:    result.get(timeout)
 */
MP_API int mp_async_result_get(mp_async_result *result, void *value, size_t size,
                               int timeout_ms);

/*
 * mp_async_result_wait_any - wait up to `timeout_ms` until one of several is settled.
 *
 * Entries that are NULL are passed over.  Of those that are settled the one that was
 * submitted first is named, and its callback has run, if it has one: which may have freed
 * it.  All must be of one pool.  Takes time for each entry: for thousands of results
 * callbacks and mp_pool_poll are the better choice.
 *
 * Returns 0 with `*index` set, or
 *   ETIMEDOUT   none is settled
 *   EPIPE       all entries are NULL, or `count` is 0
 *   EINVAL      a bad timeout, results of different pools, or NULL
 *   EPERM       in another process than the pool's creator
 *
 * Processes: the creator of the pool.  Threads: any, one at a time for a result.
 * Signal handlers: no.
 * Python:    concurrent.futures.wait(results, return_when=FIRST_COMPLETED)
 */
MP_API int mp_async_result_wait_any(mp_async_result *const *results, size_t count,
                                    int timeout_ms, size_t *index);

/*
 * mp_async_result_wait_all - wait up to `timeout_ms` until all of several are settled.
 *
 * Entries that are NULL are passed over; others may be of several pools.
 *
 * Returns 0, or ETIMEDOUT, EINVAL or EPERM as mp_async_result_wait; also EINVAL if
 * `results` is NULL and `count` is not 0.
 *
 * Processes: the creator of the pool.  Threads: any, one at a time for a result.
 * Signal handlers: no.
 * Python:    concurrent.futures.wait(results)
 */
MP_API int mp_async_result_wait_all(mp_async_result *const *results, size_t count,
                                    int timeout_ms);

/*
 * mp_async_result_cancel - do not run it; if it is running already, end it.
 *
 * What is still queued is settled with ECANCELED at once.  What is running is ended by
 * ending its worker (SIGTERM, and SIGKILL after the pool's grace time), which is then
 * replaced; a task that calls mp_task_should_stop may return by itself within the grace
 * time, and its result then counts.  No other task is touched: a worker that gets to its
 * next task in the meantime is left alone.  The call does not wait for any of that.
 * Of a map, items that are done keep their results.
 *
 * Returns 0, or EALREADY if it was settled before, or EINVAL for NULL, or EPERM in
 * another process than the pool's creator.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    future.cancel(), and pebble's for tasks that run
 */
MP_API int mp_async_result_cancel(mp_async_result *result);

/*
 * mp_async_result_progress - how far it has come: a task is one item.
 *
 * May be asked at any moment, costs the workers nothing, and runs no callback.
 *
 * Returns 0 with `*progress` filled, or EINVAL for NULL, or EPERM in another process
 * than the pool's creator.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    result._number_left
 */
MP_API int mp_async_result_progress(mp_async_result *result, mp_progress *progress);

/*
 * mp_async_result_ready - whether the task, or every item of the map, is settled.
 * False for NULL.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    result.ready()
 */
MP_API bool mp_async_result_ready(mp_async_result *result);

/*
 * mp_async_result_successful - whether it was settled without a failure.
 *
 * Returns 0 with `*successful` set, or EBUSY if it is not settled yet, or EINVAL for
 * NULL.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    result.successful()
 */
MP_API int mp_async_result_successful(mp_async_result *result, bool *successful);

/*
 * mp_async_result_failure - why it failed: for a map, the item of the lowest index.
 *
 * Returns 0 with `*failure` filled (its `error` is 0 if none failed), or EBUSY if it is
 * not settled yet, or EINVAL for NULL.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    the exception that result.get() raises
 */
MP_API int mp_async_result_failure(mp_async_result *result, mp_task_failure *failure);

/*
 * mp_async_result_free - drop a result, or do nothing with NULL.
 *
 * A task that is still to run runs all the same.  For a map that is not settled the
 * call waits until it is, for the workers write to its arrays.  If its callback has not
 * run yet it never does.
 *
 * Processes: the creator of the pool; in another only memory is freed.  Threads: any.
 * Signal handlers: no.
 * Python:    del result
 */
MP_API void mp_async_result_free(mp_async_result *result);

#ifdef __cplusplus
}
#endif

#endif
