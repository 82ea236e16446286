/* SPDX-License-Identifier: MIT */
/*
 * pool.h - a pool of worker processes, and parallel map.
 *
 *   static int square(const void *arg, void *result, void *context)   def square(x):
 *   {                                                                     return x**2
 *       (void)context;
 *       *(int *)result = *(const int *)arg * *(const int *)arg;
 *       return 0;
 *   }
 *   ...
 *   mp_pool *pool;
 *   int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3));    pool = Pool(3)
 *   if (!err)
 *       err = mp_pool_map(pool, square, numbers, 10, sizeof(int),     pool.map(square,
 *                         squares, sizeof(int), NULL);                         numbers)
 *   mp_pool_free(pool);
 *
 * A pool is a family of its own.  mp_pool_new forks one supervisor process, which
 * forks the workers, watches them, replaces those that die, and ends them all when
 * the program ends, however it ends.  The program gets no hidden thread, no signal
 * handler, and no child but the supervisor, which no call of process.h shows.  Every
 * worker, also a later replacement, is a copy of the program as it was at mp_pool_new:
 * functions, globals and heap as of then.
 *
 * Arguments and results are bytes.  What lies in the arena (shared.h) is used where it
 * is: a task's `arg` then points to the caller's own memory, and results appear in
 * place.  Anything else is copied, once on the way in and once on the way out.
 *
 * Caveats.
 * A worker that is killed, crashes, or calls exit fails exactly the item that it was
 * running, with EOWNERDEAD; mp_task_failure tells who, how, and which item.  All other
 * items complete and the pool stays usable.  An item is reported once; what it did
 * before its worker died is done.
 * If the supervisor itself is killed the pool is broken: every unfinished item fails
 * with EOWNERDEAD, and every later call with EPIPE.
 * A pool belongs to the process that made it.  In a child, calls on it return EPERM.
 * `context` and what it points to must lie in the arena, or must have been there when
 * the pool was made.
 * Workers ignore SIGINT, so that Ctrl-C is the program's to handle; all other signals
 * have their default action in them.
 */
#ifndef MP_POOL_H
#define MP_POOL_H

#include <sys/types.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_pool mp_pool;

/* What apply_async and map_async promise.  Python: multiprocessing.pool.AsyncResult */
typedef struct mp_async_result mp_async_result;

/*
 * What a worker runs for each item.  `arg` points to the item's bytes; `result` to the
 * bytes that the caller wants back, zeroed or not, or is NULL if none were asked for;
 * both are aligned as the caller's arrays are, or to 16 bytes if they were copied.
 * `context` comes from the call's or the pool's options.
 *
 * Returns 0, or an error number that the caller gets: an errno value, or the program's
 * own.  mp_task_fail adds a text to it.
 */
typedef int mp_task_fn(const void *arg, void *result, void *context);

/* What a worker runs once when it starts: 0, or an error number. */
typedef int mp_initializer_fn(void *context);

/* Bytes that the text of a failure may have, its zero included. */
#define MP_TASK_TEXT_SIZE 192

/* Why an item failed. */
typedef struct mp_task_failure {
    int error;      /* what the task returned, EOWNERDEAD if its worker died, or
                       ECANCELED if the pool was terminated; 0: none failed */
    int exitcode;   /* of a worker that died, as mp_process_exitcode: -9, 1, ... */
    pid_t pid;      /* the worker that ran it, or 0 */
    int reserved;   /* zero */
    uint64_t index; /* which item, from 0 */
    char text[MP_TASK_TEXT_SIZE]; /* what mp_task_fail was given, or "" */
} mp_task_failure;

typedef struct mp_pool_options {
    size_t struct_size; /* set by MP_POOL_OPTIONS */
    unsigned processes; /* workers, 0: mp_cpu_count(); at most 4096 */
    int reserved;       /* zero */
    void *context;      /* given to the initializer, and to tasks without their own */
    mp_initializer_fn *initializer; /* may be NULL */
} mp_pool_options;

typedef struct mp_task_options {
    size_t struct_size;       /* set by MP_TASK_OPTIONS */
    void *context;            /* given to the task; NULL: the pool's */
    mp_task_failure *failure; /* mp_pool_apply: filled if the task fails; may be NULL */
} mp_task_options;

typedef struct mp_map_options {
    size_t struct_size;       /* set by MP_MAP_OPTIONS */
    void *context;            /* given to the tasks; NULL: the pool's */
    mp_task_failure *failure; /* mp_pool_map: the failed item of the lowest index */
    size_t chunk_size;        /* items that a worker takes at once; 0: as many as it
                                 does in some microseconds, which suits any map */
    int *errors;              /* `count` numbers, each set to what its item returned,
                                 EOWNERDEAD or ECANCELED; NULL: not wanted */
} mp_map_options;

#define MP_POOL_OPTIONS(...) \
    (&(const mp_pool_options){.struct_size = sizeof(mp_pool_options), __VA_ARGS__})
#define MP_TASK_OPTIONS(...) \
    (&(const mp_task_options){.struct_size = sizeof(mp_task_options), __VA_ARGS__})
#define MP_MAP_OPTIONS(...) \
    (&(const mp_map_options){.struct_size = sizeof(mp_map_options), __VA_ARGS__})

/*
 * mp_pool_new - make a pool and start its workers.
 *
 * With an initializer, waits until it has run in every worker.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, too many processes, or options of a newer libmp
 *   EAGAIN   the system does not allow so many processes
 *   ENOMEM   no memory, or the arena is full or could not be reserved
 *   EMFILE, ENFILE   no descriptors (a pool takes one)
 *   any other        what the initializer returned
 *   EOWNERDEAD       a worker died before it was ready
 * After a failure no process is left over.
 *
 * Processes: any, also a daemon or another pool's worker.  Threads: any.
 * Signal handlers: no.
 * Python:    Pool(processes, initializer, initargs)
 */
MP_API MP_MUST_CHECK int mp_pool_new(mp_pool **out, const mp_pool_options *options);

/*
 * mp_pool_apply - run one task in a worker and wait for it.
 *
 * `arg_size` bytes at `arg` are given to the task; up to `result_size` bytes come back
 * to `result`.  Either may be NULL with a size of 0.
 *
 * Returns 0, or what the task returned, or
 *   EOWNERDEAD   the worker that ran it died
 *   ECANCELED    the pool was terminated before it was done
 *   EPIPE        the pool is closed, terminated or broken; nothing was run
 *   EPERM        another process made the pool
 *   EINVAL       `pool` or `task` is NULL, or a NULL pointer has a size
 *   ENOMEM       the arena is full; nothing was run
 *   EAGAIN       four million tasks wait already; nothing was run
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.apply(task, (arg,))
 */
MP_API int mp_pool_apply(mp_pool *pool, mp_task_fn *task, const void *arg, size_t arg_size,
                         void *result, size_t result_size, const mp_task_options *options);

/*
 * mp_pool_apply_async - give one task to the workers, and go on.
 *
 * The argument is copied before the call returns, unless it lies in the arena.  If
 * `out` is NULL nobody will ask for the result, and it is dropped when it is there.
 *
 * Returns 0, or as mp_pool_apply if nothing was run: EPIPE, EPERM, EINVAL, ENOMEM,
 * EAGAIN.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.apply_async(task, (arg,))
 */
MP_API int mp_pool_apply_async(mp_pool *pool, mp_task_fn *task, const void *arg,
                               size_t arg_size, size_t result_size,
                               const mp_task_options *options, mp_async_result **out);

/*
 * mp_pool_map - run the task once for each of `count` items, and wait for all.
 *
 * Item i is the `item_size` bytes at `items + i * item_size`; its result goes to
 * `results + i * result_size`.  `results` may be NULL with a `result_size` of 0.
 * Arrays in the arena are read and written in place.  Others are moved through the
 * arena in windows while workers compute, so that memory does not double.
 *
 * A failing item does not stop the others.  The bytes of its result are undefined.
 *
 * Returns 0, or the error of the failed item with the lowest index, or as
 * mp_pool_apply, and
 *   EINVAL      there are items, but `items` is NULL or `item_size` is 0
 *   EOVERFLOW   `count` times a size does not fit into memory
 * `count` of 0 is done at once.  For items that cannot be told apart from failures
 * of the call itself, look at `failure`: its `error` is then not 0.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.map(task, items, chunksize); starmap: let the item be a struct
 */
MP_API int mp_pool_map(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                       size_t item_size, void *results, size_t result_size,
                       const mp_map_options *options);

/*
 * mp_pool_map_async - as mp_pool_map, without waiting.
 *
 * Items outside the arena are copied before the call returns.  `results` and the
 * options' `errors` are written in mp_async_result_get or mp_async_result_wait, or in
 * place by the workers if they lie in the arena, and must live until the result is
 * freed.  `out` must not be NULL.
 *
 * Returns 0, or as mp_pool_map if nothing was run.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.map_async(task, items, chunksize)
 */
MP_API int mp_pool_map_async(mp_pool *pool, mp_task_fn *task, const void *items,
                             size_t count, size_t item_size, void *results,
                             size_t result_size, const mp_map_options *options,
                             mp_async_result **out);

/*
 * mp_pool_close - take no more tasks; workers leave when all are done.
 *
 * Closing again, or after mp_pool_terminate, changes nothing and is no error.
 *
 * Returns 0, or EINVAL for NULL, or EPERM in another process.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.close()
 */
MP_API int mp_pool_close(mp_pool *pool);

/*
 * mp_pool_terminate - end the workers at once, and drop what they have not done.
 *
 * Every unfinished task and item is settled with ECANCELED before the call returns.
 * Workers get SIGTERM, and SIGKILL a tenth of a second later, so that the call is short
 * whatever the workers do, stopped or not; a supervisor that is stopped itself, or gets no
 * processor, is killed within a second.
 *
 * Returns 0, or EINVAL for NULL, or EPERM in another process.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.terminate()
 */
MP_API int mp_pool_terminate(mp_pool *pool);

/*
 * mp_pool_join - wait up to `timeout_ms` until all workers have left.
 *
 * To be called after mp_pool_close or mp_pool_terminate, any number of times.
 *
 * Returns 0, or
 *   EBUSY       the pool is still taking tasks
 *   ETIMEDOUT   workers are still there
 *   EINVAL      `pool` is NULL, or a bad timeout
 *   EPERM       another process made the pool
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.join()
 */
MP_API int mp_pool_join(mp_pool *pool, int timeout_ms);

/*
 * mp_pool_free - terminate the pool if it is still there, wait for it, and free it.
 *
 * NULL is ignored.  Results that were not freed stay valid and keep what they need.
 * In another process than the creator only that process's memory is freed.
 *
 * Processes: any.  Threads: any, when no other uses the pool.  Signal handlers: no.
 * Python:    leaving `with Pool() as pool:`
 */
MP_API void mp_pool_free(mp_pool *pool);

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
 * For a task, up to `size` bytes of its result are copied to `value`.  For a map,
 * results are in the array that mp_pool_map_async was given; `value` may be NULL with
 * a size of 0, or else is filled with that many bytes of it.  It can be got again.
 *
 * Returns 0, or what the task returned, or for a map the error of the failed item with
 * the lowest index, or
 *   ETIMEDOUT    it is not done
 *   EOWNERDEAD   the worker died
 *   ECANCELED    the pool was terminated
 *   EMSGSIZE     `size` is less than the result's; nothing was copied
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
 * call waits until it is, for the workers write to its arrays.
 *
 * Processes: the creator of the pool; in another only memory is freed.  Threads: any.
 * Signal handlers: no.
 * Python:    del result
 */
MP_API void mp_async_result_free(mp_async_result *result);

/*
 * mp_task_fail - fail a task with a text: `return mp_task_fail(ERANGE, "line %d", n);`
 *
 * The text, cut at MP_TASK_TEXT_SIZE - 1 bytes, reaches the caller's mp_task_failure
 * if the task returns `error`.
 *
 * Returns `error`.
 *
 * Processes: a worker, inside a task; elsewhere the text is dropped.  Threads: the one
 * that runs the task.  Signal handlers: no.
 * Python:    raise ValueError(text)
 */
MP_API int mp_task_fail(int error, const char *format, ...) MP_PRINTF(2, 3);

#ifdef __cplusplus
}
#endif

#include "loop.h"

#endif
