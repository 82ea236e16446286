/* SPDX-License-Identifier: MIT */
/*
 * log.h - telling what happens, to whom it may concern: see mp/log.h.
 *
 *   mp__log(MP_LOG_INFO, "worker %d forked", pid);
 *
 * costs one load and a branch while nobody listens, and the arguments are not evaluated
 * then.  May be called anywhere but in signal handlers; errno is kept.
 */
#ifndef MP_BASE_LOG_H
#define MP_BASE_LOG_H

#include <mp/log.h>

#include "base/atomic.h"

/* What matters less is not told. */
extern _Atomic int mp__log_least;

/* Of this process: changes with mp_current_process. */
extern const char *mp__log_name;

void mp__log_tell(mp_log_level level, const char *format, ...) MP_PRINTF(2, 3);

#define mp__log(level, ...)                                                              \
    do {                                                                                 \
        if (__builtin_expect((int)(level) >= atomic_load_explicit(&mp__log_least,        \
                                                                  memory_order_relaxed), \
                             0))                                                         \
            mp__log_tell(level, __VA_ARGS__);                                            \
    } while (0)

/* How a process ended, for the log: "exit code 3", "signal 9". */
#define MP__LOG_END(exitcode) ((exitcode) < 0 ? "signal" : "exit code"), \
                              ((exitcode) < 0 ? -(exitcode) : (exitcode))

/* The environment's `name`, or NULL if there is none or it can't be trusted: in a program
   that has more rights than whoever called it. */
const char *mp__environment(const char *name);

#endif
