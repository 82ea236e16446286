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
 *   mp_pool *pool = NULL;
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
 * before its worker died is done.  There is one exception: if workers die a hundred times
 * and more without finishing a single item between (the option `max_deaths`), the pool is
 * broken, and what was not run fails with EOWNERDEAD and MP_FAILURE_POOL.
 * If the supervisor itself is killed the pool is broken: every unfinished item fails
 * with EOWNERDEAD, and every later call with EPIPE.
 * A pool belongs to the process that made it.  In a child, calls on it return EPERM.
 * `context` and what it points to must lie in the arena, or must have been there when
 * the pool was made.
 * mp_pool_new flushes stdout and the other streams, so that nothing is printed twice.  A
 * task that prints had better flush: a worker flushes when it leaves in good order, but
 * what one that is killed has not flushed is lost.
 *
 * See task.h for what a task may ask and how failures are told, result.h for results,
 * imap.h for results one by one, progress.h for a bar, log.h for seeing what happens.
 * Workers ignore SIGINT, so that Ctrl-C is the program's to handle; all other signals
 * have their default action in them.
 */
#ifndef MP_POOL_H
#define MP_POOL_H

#include <sys/types.h>

#include "base.h"
#include "result.h"
#include "task.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_pool mp_pool;

/* What a worker runs once when it starts: 0, or an error number. */
typedef int mp_initializer_fn(void *context);

/* What a worker runs once when it leaves in good order, after its last task. */
typedef void mp_finalizer_fn(void *context);

/* All times are milliseconds, all sizes bytes; 0 means: none, or as it says. */
typedef struct mp_pool_options {
    size_t struct_size;     /* set by MP_POOL_OPTIONS */
    unsigned processes;     /* workers, 0: mp_cpu_count(); at most 4096 */
    unsigned max_processes; /* to which mp_pool_resize may go; 0: `processes` */
    void *context;          /* for initializer, finalizer, and tasks without their own */
    mp_initializer_fn *initializer; /* may be NULL */
    mp_finalizer_fn *finalizer;     /* may be NULL */

    /* When a worker is replaced. */
    uint64_t max_tasks_per_child;   /* after so many items at most; the new one is forked
                                       when the old one begins the last of them */
    size_t max_memory_per_child;    /* after an item, or some small ones, if it has or
                                       had more memory than that */

    /* Limits.  Those of time are for tasks that have none of their own. */
    size_t memory_limit;     /* of a worker: beyond that malloc fails (RLIMIT_DATA) */
    int time_limit_ms;       /* of an item, from its start: then its worker is ended */
    int soft_time_limit_ms;  /* then mp_task_should_stop is true */
    int grace_ms;            /* between SIGTERM and SIGKILL; 0: 100 */
    int idle_timeout_ms;     /* workers that idle so long leave, until they are needed */

    /* A pool whose workers die again and again without finishing anything is broken.
       Those that were ended by a limit or cancelled don't count.  If they die before they
       are ready, they are forked less and less often, and the window has no end. */
    int death_window_ms;     /* 0: 10 s */
    unsigned max_deaths;     /* within that time; 0: 100, and 4 for each worker */
    bool pin;                /* each worker to a processor of its own (Linux) */
    bool pollable;           /* there is a descriptor: mp_pool_fileno */
    bool lazy;               /* start workers only when they are needed */
    bool reserved;           /* zero */

    uint64_t seed;           /* for mp_task_seed */
} mp_pool_options;

/* Members that name another call than the one they are given to are ignored. */
typedef struct mp_task_options {
    size_t struct_size;       /* set by MP_TASK_OPTIONS */
    void *context;            /* given to the task; NULL: the pool's */
    mp_task_failure *failure; /* mp_pool_apply: why it failed; its error is 0 if the
                                 task did not, also if the call did; may be NULL */
    int time_limit_ms;        /* 0: the pool's */
    int soft_time_limit_ms;   /* 0: the pool's */
    int retries;              /* run it again up to so often if its worker dies or it
                                 calls exit; not for other failures */
    int reserved;             /* zero */
    mp_done_fn *callback;     /* mp_pool_apply_async: called when it is settled */
    void *callback_arg;       /* given to `callback` */
} mp_task_options;

typedef struct mp_map_options {
    size_t struct_size;       /* set by MP_MAP_OPTIONS */
    void *context;            /* given to the tasks; NULL: the pool's */
    mp_task_failure *failure; /* mp_pool_map: the failed item of the lowest index; its
                                 error is 0 if none failed, also if the call did */
    size_t chunk_size;        /* items that a worker takes at once; 0: as many as it
                                 does in some microseconds, which suits any map */
    int *errors;              /* `count` numbers, each set to what its item returned,
                                 EOWNERDEAD, ETIME or ECANCELED; NULL: not wanted.
                                 For who, how and text of each there is imap.h */
    int time_limit_ms;        /* of each item; 0: the pool's */
    int soft_time_limit_ms;   /* of each item; 0: the pool's */
    int retries;              /* run an item again up to so often if its worker dies or
                                 it calls exit; not for other failures */
    int stop_at_failure;      /* not 0: run no more items once one has failed; those
                                 that were not run fail with ECANCELED */
    mp_progress_fn *progress; /* called in the thread that waits for the map, about every
                                 `progress_ms`, and once at the end, then with all items
                                 done unless some were not run; see also progress.h */
    void *progress_arg;       /* given to `progress` */
    int progress_ms;          /* 0: 100 */
    int reserved;             /* zero */
    mp_done_fn *callback;     /* mp_pool_map_async: called when all are settled */
    void *callback_arg;       /* given to `callback` */
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
 *   EMFILE, ENFILE   no descriptors (a pool takes one, and one more if it is pollable)
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
 *   ETIME        it took longer than its time limit
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
 * `out` is NULL nobody will ask for the result, and it is dropped when it is there, after
 * its callback if it has one.  Callbacks run in this program's own threads: see result.h.
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
 * If `items` is NULL and `item_size` is 0 the items are the numbers from 0 to `count - 1`,
 * and each task gets a pointer to a uint64_t.
 *
 * A failing item does not stop the others.  The bytes of its result are undefined.
 *
 * Returns 0, or the error of the failed item with the lowest index, or as
 * mp_pool_apply, and
 *   EINVAL      one of `items` and `item_size` is 0 and the other is not
 *   EOVERFLOW   `count` times a size does not fit into memory
 * `count` of 0 is done at once.  Where a task may return one of these numbers itself, look
 * at `failure`: its `error` is not 0 if an item failed.
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

/* What mp_pool_reduce adds up with: `*other` to `*result`. */
typedef void mp_combine_fn(void *result, const void *other, void *context);

/*
 * mp_pool_reduce - combine all items into one value.
 *
 * Every worker starts from a copy of `*result`, as the caller gives it, and lets `fold`
 * add one item after the other; `combine` then adds what the workers have to `*result`,
 * in the calling process and in no particular order.  So `*result` must be a value that
 * changes nothing when it is added (0 for a sum), and `combine` must be associative and
 * commutative, as far as the caller cares: sums of doubles may differ in the last bits
 * from run to run.
 *
 *   static int add(const void *arg, void *result, void *context)    functools.reduce(
 *   { *(double *)result += *(const double *)arg; return 0; }            operator.add, xs)
 *   static void sum(void *result, const void *other, void *context)
 *   { *(double *)result += *(const double *)other; }
 *   ...
 *   double total = 0;
 *   err = mp_pool_reduce(pool, add, sum, xs, n, sizeof *xs, &total, sizeof total, NULL);
 *
 * With `items` NULL and an `item_size` of 0 the items are the numbers (uint64_t) below
 * `count`.  A value is bytes: what it points to must lie in the arena.  Values may be
 * large; a worker copies its value about once in twenty times what that takes.
 *
 * A worker that is killed loses nothing that is in its value: what it folded since that
 * was last made safe is folded again.  Only if it dies within `fold`, the item must be
 * allowed `retries`; else, or if `fold` returns an error, the reduction fails, for what is
 * missing in it can't be told from the value, no more items are folded, and `*result` is
 * left alone.  Of the options `errors` is not allowed.
 *
 * Returns 0, or as mp_pool_map, and EINVAL if `result` is NULL or `result_size` is 0.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    functools.reduce, of what pool.map gives
 */
MP_API int mp_pool_reduce(mp_pool *pool, mp_task_fn *fold, mp_combine_fn *combine,
                          const void *items, size_t count, size_t item_size, void *result,
                          size_t result_size, const mp_map_options *options);

/*
 * mp_pool_resize - from now on, have so many workers.
 *
 * New ones are forked by the supervisor, as copies of the program as it was at
 * mp_pool_new.  Those that are too many leave after the item that they are running, or
 * the small ones that they took at once.  The call does not wait for either.
 *
 * Returns 0, or
 *   EINVAL   0, or more than the option `max_processes` of the pool
 *   EPIPE    the pool is closed, terminated or broken
 *   EPERM    another process made the pool
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    billiard's pool.grow(n), pool.shrink(n)
 */
MP_API int mp_pool_resize(mp_pool *pool, unsigned processes);

/* How a pool is. */
typedef struct mp_pool_status {
    unsigned processes; /* workers that there should be */
    unsigned alive;     /* that there are */
    unsigned busy;      /* of these, at work */
    unsigned deaths;    /* workers that died of themselves, since mp_pool_new */
    uint64_t submitted; /* tasks, and items of maps */
    uint64_t queued;    /* of these, not yet begun */
    uint64_t running;
    uint64_t done;      /* settled, with or without failure */
    uint64_t failed;    /* of these, cancelled and dropped ones included */
    int error;          /* 0, or EPIPE: closed, ECANCELED: terminated, EOWNERDEAD: broken */
    int reserved;       /* zero */
    char text[MP_TASK_TEXT_SIZE]; /* why it is broken, or "" */
} mp_pool_status;

/*
 * mp_pool_get_status - how many workers there are, and how much is to be done.
 *
 * The numbers are of about now, and each by itself; they cost the workers nothing.  Items
 * of a map count when the batch that a worker took is done.
 *
 * Returns 0 with `*status` filled, or EINVAL for NULL, or EPERM.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    len(pool._pool), pool._taskqueue.qsize(), ...
 */
MP_API int mp_pool_get_status(mp_pool *pool, mp_pool_status *status);

/*
 * mp_pool_poll - run the callbacks of what is settled, waiting up to `timeout_ms` for
 * the first of them.
 *
 * Those that it finds run in the order of submission.  What they submit is left for the
 * next call.  Takes time for what is settled and what is running, not for what is queued.
 *
 * Returns 0 if any was run, or
 *   ETIMEDOUT   none of those with a callback is settled
 *   EPIPE       none has a callback, whatever else is outstanding: there is nothing to
 *               wait for.  It does not mean that the pool has ended.
 *   EINVAL      `pool` is NULL, or a bad timeout
 *   EPERM       another process made the pool
 *
 * Processes: the creator of the pool.  Threads: any; a callback runs once, in one of
 * them.  Signal handlers: no.
 * Python:    what Pool does in a hidden thread
 */
MP_API int mp_pool_poll(mp_pool *pool, int timeout_ms);

/*
 * mp_pool_fileno - a descriptor that is readable when something was settled.
 *
 * For poll, select and epoll, to wait for a pool and other things at once; the pool must
 * have been made with `.pollable`.  When it is readable, call mp_pool_poll(pool,
 * MP_NOWAIT), which makes it unreadable again, and then ask those results that have no
 * callback, and imaps until ETIMEDOUT; what mp_pool_poll returns is no error here.  That
 * should be one thread's business, for another that polls makes it unreadable as well.
 *
 * It may be readable for nothing.  It is readable too when the pool has ended, however it
 * did; the next call of mp_pool_poll then settles what is left and makes it unreadable for
 * good.  It belongs to the pool: do not read it, do not close it.
 *
 * Returns 0 with `*fd` set, or ENOTSUP if the pool was not made for it, or EINVAL for
 * NULL, or EPERM.
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool._outqueue._reader.fileno()
 */
MP_API int mp_pool_fileno(mp_pool *pool, int *fd);

/*
 * mp_pool_close - take no more tasks; workers leave when all are done.
 *
 * What another thread, or `progress`, has begun is not cut short: a map brings all of its
 * items, also those that are not copied yet, and so does an imap.
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
 * Workers get SIGTERM, and SIGKILL after the option `grace_ms`, a tenth of a second, so
 * that the call is short whatever the workers do, stopped or not; a supervisor that is
 * stopped itself, or gets no processor, is killed 700 ms after that.
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
 *   EBUSY       the pool is still taking tasks, or an imap has some to bring: imap.h
 *   EDEADLK     called by `progress` of a map that has items to bring
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

#ifdef __cplusplus
}
#endif

#include "loop.h"

#endif
