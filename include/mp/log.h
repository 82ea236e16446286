/* SPDX-License-Identifier: MIT */
/*
 * log.h - watching a program that uses libmp: what it says, what it shows, and how to
 * step through it.  Three variables of the environment:
 *
 *   MP_LOG=info          a line on stderr for whatever happens to processes and pools:
 *                        debug, info, warning or error; other values: nothing
 *   MP_TRACE=file.json   what each worker did when, for https://ui.perfetto.dev and
 *                        chrome://tracing
 *   MP_SERIAL=1          pools fork nothing, and run tasks in the thread that submits them
 *
 * The first two are read when the program starts, and ignored if it runs with more rights
 * than whoever called it (setuid); MP_SERIAL is read in mp_pool_new.
 *
 *   $ MP_LOG=info ./program
 *   2026-11-24T01:43:15.123456Z info [4711 MainProcess] pool of 2 workers made, ...
 *   2026-11-24T01:43:15.124020Z warning [4712 PoolSupervisor] PoolWorker-1 (pid 4713) ...
 *
 * Logging costs one load and one branch for each event while it is off, and no event
 * belongs to a single task.
 *
 * The trace.  One event for each single task, each batch of a map that a worker took at
 * once, and each worker's life, with the index of the first item, the number of items,
 * and the error; a task that is retried has several.  Of a worker that was killed nothing
 * is missing: the item that it was at ends there, with its error.  The file is an array of
 * JSON objects, one on a line, each line ended by a comma; there is no closing bracket,
 * which viewers do not need (to parse it: append "{}]").  A "%p" in its name is replaced
 * with the pid of the process that was started; without it, programs which run at the same
 * time spoil each other's file.  It is begun when the first pool is made, and complete
 * when pools are freed: workers write what they have when they have much of it, and when
 * they end.  If the program is killed, up to 252 events of each worker are missing; if the
 * disk is full, or a process is stopped while it writes, so are those of that time.
 * A traced task or batch costs its worker about 300 ns: reading the clock twice, and 160
 * bytes of text that are put together and given to the system, a hundred lines at a time.
 * More where the disk can't follow: a million tasks are 160 MB.  Without a trace each task
 * or batch costs two branches that are always predicted.
 *
 * Serial pools.  For debuggers, profilers and valgrind: mp_pool_apply, map, imap and
 * reduce run their tasks before they return, in the calling thread, in the order in which
 * they were submitted, one at a time also if several threads submit; so do apply_async and
 * map_async, whose results are settled when they return.  The initializer runs in
 * mp_pool_new; the finalizer, once, in mp_pool_close, or after the last task that was
 * running then.  What differs:
 *   - a task that crashes, exits or never ends takes the program with it;
 *   - limits of time and memory, max_tasks_per_child, retries and the numbers of workers
 *     have no effect, but mp_task_should_stop tells of soft limits and of cancelling;
 *   - globals that a task changes, the caller sees changed; signals and SIGINT are the
 *     program's;
 *   - mp_task_fail, index and seed work as ever, with the same numbers;
 *   - a task may submit to its own pool, and the new task is run within it;
 *   - mp_pool_terminate cannot end a running task: it drops what is queued, and waits if
 *     another thread is running one.  mp_pool_join in a task of that pool is EDEADLK.
 */
#ifndef MP_LOG_H
#define MP_LOG_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How much a line matters: the numbers are Python's. */
typedef enum mp_log_level {
    MP_LOG_DEBUG = 10,   /* whatever else may help to understand what happened */
    MP_LOG_INFO = 20,    /* processes and pools begin and end */
    MP_LOG_WARNING = 30, /* workers die, items exceed their time */
    MP_LOG_ERROR = 40    /* a pool is broken */
} mp_log_level;

/* `line` is "[pid process] text", without a newline; it is gone after the call. */
typedef void mp_log_fn(mp_log_level level, const char *line, void *arg);

/*
 * mp_log_set - hand all lines, of all levels, to the program's own logger.
 *
 * `callback` is called in the thread and the process where it happens: in supervisors of
 * pools too, which are children of the program with a single thread.  Where a program
 * with several threads makes pools, it must not take locks which another thread may have
 * held when the pool was made: write(2) is good, syslog is not.  It must not call libmp.
 * NULL: as it was before, MP_LOG is followed.
 *
 * Processes: any; children inherit it.  Threads: any, while no other uses libmp.
 * Signal handlers: no.
 * Python:    multiprocessing.get_logger().addHandler(handler)
 */
MP_API void mp_log_set(mp_log_fn *callback, void *arg);

/*
 * mp_log_to_stderr - from now on, write lines of this level and above to stderr: as
 * MP_LOG does.  A level of 0: nothing.
 *
 * Processes: any; children that are started later inherit it.  Threads: any.
 * Signal handlers: yes.
 * Python:    multiprocessing.log_to_stderr(level)
 */
MP_API void mp_log_to_stderr(mp_log_level level);

#ifdef __cplusplus
}
#endif

#endif
