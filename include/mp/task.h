/* SPDX-License-Identifier: MIT */
/*
 * task.h - what a pool's workers run, what a task may ask while it runs, and what is
 * known about one that failed.
 *
 *   static int convert(const void *arg, void *result, void *context)  def convert(path):
 *   {
 *       FILE *file = fopen(arg, "r");
 *       if (!file)
 *           return mp_task_fail(errno, "open %s", (const char *)arg);  raise OSError(...)
 *       while (!mp_task_should_stop() && ...)
 *           ...
 *       return 0;                                                         return result
 *   }
 *
 * A task runs in a process of its own pool (pool.h) with one thread, SIGINT ignored, and
 * every other signal at its default.  It may do what a program may do: make locks and
 * pools, start processes, even crash or call exit: then it fails, alone.
 *
 * A result whose size only the task knows: let the result be a pointer, have the task
 * allocate with mp_shared_alloc (shared.h) and store it; the caller frees it with
 * mp_shared_free.  If the worker is killed between the two, the block stays in use until
 * the program ends.
 */
#ifndef MP_TASK_H
#define MP_TASK_H

#include <sys/types.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

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

/* Bytes that the text of a failure may have, its zero included. */
#define MP_TASK_TEXT_SIZE 192

/* What happened to an item that has no result, and what its error is then. */
typedef enum mp_failure_kind {
    MP_FAILURE_NONE,       /* 0: it has one */
    MP_FAILURE_RETURNED,   /* what the task returned, or the source of an imap */
    MP_FAILURE_DIED,       /* EOWNERDEAD: a signal ended the worker: a crash, a kill, ... */
    MP_FAILURE_EXITED,     /* EOWNERDEAD: the task called exit */
    MP_FAILURE_TIME_LIMIT, /* ETIME: it took longer than its time limit */
    MP_FAILURE_CANCELLED,  /* ECANCELED: cancelled, or the pool was terminated */
    MP_FAILURE_POOL        /* EOWNERDEAD: the pool broke before it was run */
} mp_failure_kind;

/* Why an item failed. */
typedef struct mp_task_failure {
    int error;      /* as `kind` says; 0: none failed */
    int exitcode;   /* of a worker that ended, as mp_process_exitcode: -9, 1, ... */
    pid_t pid;      /* the worker in which it failed, or 0 */
    int attempts;   /* how often it was run; 1 unless it was retried, 0 if it was not */
    uint64_t index; /* which item, from 0 */
    size_t max_rss; /* bytes of memory that a worker which ended has had at most */
    mp_failure_kind kind;
    int reserved;   /* zero */
    char text[MP_TASK_TEXT_SIZE]; /* what mp_task_fail was given, or "" */
} mp_task_failure;

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

/*
 * mp_task_should_stop - whether the running task had better come to an end.
 *
 * True once its soft time limit has passed, it was cancelled, or its pool was
 * terminated; a task that looks now and then can put things in order and return, before
 * it is ended by force.  False outside of tasks.  Costs a look at the clock if there is
 * a limit, and two reads of memory if not.
 *
 * Processes: a worker, inside a task.  Threads: any.  Signal handlers: yes.
 * Python:    billiard's SoftTimeLimitExceeded
 */
MP_API bool mp_task_should_stop(void);

/*
 * mp_task_seed - a number to seed random numbers with, another one for every item.
 *
 * It depends on the pool's option `seed`, on how many calls of apply and map came before
 * on this pool, and on the item's index, but not on which worker runs it, when, or how
 * often: a program that is run again gets the same numbers with any number of workers.
 * 0 outside of tasks.
 *
 * Processes: a worker, inside a task.  Threads: the one that runs the task.
 * Signal handlers: no.
 * Python:    numpy.random.SeedSequence(seed).spawn(n)[index]
 */
MP_API uint64_t mp_task_seed(void);

/*
 * mp_task_index - the index of the running item: in a map its own, else 0.
 *
 * Processes: a worker, inside a task.  Threads: the one that runs the task.
 * Signal handlers: no.
 * Python:    enumerate(items)
 */
MP_API uint64_t mp_task_index(void);

#ifdef __cplusplus
}
#endif

#endif
