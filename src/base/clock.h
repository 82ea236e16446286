/* SPDX-License-Identifier: MIT */
/* clock.h - monotonic time and deadlines, in nanoseconds. */
#ifndef MP_BASE_CLOCK_H
#define MP_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define MP__NEVER INT64_MAX
#define MP__MILLISECOND INT64_C(1000000)

/* Now, on the monotonic clock, which is the same in all processes. */
int64_t mp__now(void);

/* The same, up to some 10 ms ago, for what need not be exact and is asked for often. */
int64_t mp__now_about(void);

/*
 * The moment `timeout_ms` from now: MP__NEVER for MP_FOREVER, 0 for MP_NOWAIT.
 * EINVAL for any other negative value.
 */
int mp__deadline(int timeout_ms, int64_t *deadline);

/* Milliseconds until `deadline` for poll(2), rounded up, at most `most`; -1 if both
   are without bound (`most` < 0). */
int mp__poll_timeout(int64_t deadline, int most);

#endif
