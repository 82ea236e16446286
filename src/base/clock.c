/* SPDX-License-Identifier: MIT */
/* clock.c - monotonic time and deadlines. */
#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

#include "mp/base.h"

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 * MP__MILLISECOND + now.tv_nsec;
}

int64_t mp__now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t mp__now_about(void)
{
#if defined(CLOCK_MONOTONIC_COARSE) && !defined(MP_PORTABLE)
    return read_clock(CLOCK_MONOTONIC_COARSE);
#else
    return mp__now();
#endif
}

int mp__deadline(int timeout_ms, int64_t *deadline)
{
    if (timeout_ms < 0 && timeout_ms != MP_FOREVER)
        return EINVAL;
    if (timeout_ms == MP_FOREVER)
        *deadline = MP__NEVER;
    else if (timeout_ms == MP_NOWAIT)
        *deadline = 0;
    else
        *deadline = mp__now() + timeout_ms * MP__MILLISECOND;
    return 0;
}

int mp__poll_timeout(int64_t deadline, int most)
{
    if (deadline == MP__NEVER)
        return most < 0 ? -1 : most;

    int64_t left = deadline > 0 ? deadline - mp__now() : 0;
    if (left <= 0)
        return 0;

    /* Rounded up: a poll that ended early would make its caller spin. */
    int64_t ms = left / MP__MILLISECOND + (left % MP__MILLISECOND != 0);
    int64_t bound = most < 0 ? INT_MAX : most;
    return (int)(ms < bound ? ms : bound);
}
