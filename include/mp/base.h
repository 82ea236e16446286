/* SPDX-License-Identifier: MIT */
/*
 * base.h - what every other header of libmp builds on: how calls fail, how long
 * they wait, and how options are passed.
 *
 * Errors.  Every call that can fail returns 0 or a positive errno value, as
 * pthread_create and posix_spawn do.  One code has one meaning in all of libmp:
 *
 *   ETIMEDOUT    not in time, also when the call was told not to wait
 *   ETIME        a task took longer than its time limit
 *   EPIPE        end of stream, the other end is gone, or the pool takes no more
 *   EMSGSIZE     the buffer is too small; the message is kept
 *   EPROTO       the stream ended inside a message, or what came is none
 *   ECANCELED    broken barrier, cancelled task
 *   EOWNERDEAD   the holder of the lock, or the worker of the task, died
 *   EPERM        not this process's to do
 *   EACCES       the other side did not prove that it holds the key, or a permission is
 *                missing
 *   EOVERFLOW    released too often, or a size that does not fit
 *   EBUSY        still running
 *   EALREADY     started twice
 *   ECHILD       not a child of the caller
 *   ESRCH        it ended, but somebody else collected its exit status
 *   EDEADLK      waiting for oneself
 *   EINVAL       an argument makes no sense: NULL, zero, a negative timeout
 *   ENOMEM, EAGAIN, EMFILE, ENFILE   as the system means them
 *
 * Outputs are left alone when a call fails, but for descriptions of failures
 * (mp_task_failure), which then say that no item has failed.  EINTR is never
 * returned.  libmp prints nothing that it was not asked for (log.h), keeps no
 * last error, and does not abort its host.
 *
 * Timeouts are milliseconds, with the contract of poll(2): MP_FOREVER waits as
 * long as it takes, MP_NOWAIT tries once.  Any other negative value is EINVAL,
 * so that a remainder that was computed wrongly never waits for ever.  Time is
 * monotonic: setting the clock of the machine neither shortens nor stretches a
 * wait.  Python counts seconds: `lock.acquire(timeout=1.5)` is
 * `mp_lock_acquire(lock, 1500)`.
 *
 * Options are structs that a macro fills; what is not named is zero, and zero
 * is the default.  NULL means all defaults:
 *
 *   mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 4));
 *   mp_pool_new(&pool, NULL);
 *
 * Their first member is their size, so that a program built against an older
 * libmp goes on working with a newer one.  A newer program that uses an option
 * which an older libmp does not know gets EINVAL.
 */
#ifndef MP_BASE_H
#define MP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "version.h"

#if defined(__GNUC__)
#define MP_API __attribute__((visibility("default")))
#define MP_MUST_CHECK __attribute__((warn_unused_result))
#define MP_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define MP_API
#define MP_MUST_CHECK
#define MP_PRINTF(text, first)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Timeouts, in milliseconds.  Python: timeout=None, and block=False. */
enum { MP_FOREVER = -1, MP_NOWAIT = 0 };

/*
 * mp_strerror - what an error number of libmp means, in words.
 *
 * Knows every code that libmp returns, in libmp's own meaning ("the process
 * that held it died" for EOWNERDEAD), and asks the system for all others.
 * The text is English, constant where libmp has its own, and never NULL.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    str(exception)
 */
MP_API const char *mp_strerror(int error);

#ifdef __cplusplus
}
#endif

#endif
