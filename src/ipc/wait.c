/* SPDX-License-Identifier: MIT */
/* wait.c - wait for several things at once: each of them has a descriptor. */
#include "mp/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/sys.h"
#include "ipc/connection.h"
#include "mp/pool.h"
#include "mp/process.h"
#include "mp/queue.h"

enum { FEW = 32 }; /* descriptors for which no memory is asked for */

/* What poll(2) is to look at for an item: -1 if it is ready already. */
static int find_fd(const mp_wait_item *item, int *fd)
{
    int err = 0;

    switch (item->kind) {
    case MP_WAIT_KIND_CONNECTION:
        if (!mp_connection_readable(item->of.connection))
            return EINVAL;
        *fd = -1;
        if (!mp__connection_holds(item->of.connection))
            err = mp_connection_fileno(item->of.connection, fd);
        return err;
    case MP_WAIT_KIND_PROCESS:
        err = item->of.process ? mp_process_sentinel(item->of.process, fd) : EINVAL;
        if (err != ESRCH)
            return err;
        *fd = -1; /* it has ended long ago */
        return 0;
    case MP_WAIT_KIND_POOL:
        return item->of.pool ? mp_pool_fileno(item->of.pool, fd) : EINVAL;
    case MP_WAIT_KIND_QUEUE:
        return item->of.queue ? mp_queue_fileno(item->of.queue, fd) : EINVAL;
    case MP_WAIT_KIND_FD:
        *fd = item->of.fd;
        return *fd < 0 ? EINVAL : 0;
    default:
        return EINVAL;
    }
}

/* One pollfd for each item; poll(2) passes over those of -1. */
static int find_all(const mp_wait_item *items, size_t count, struct pollfd *polled,
                    size_t *ready)
{
    for (size_t i = 0; i < count; i++) {
        polled[i] = (struct pollfd){.events = POLLIN};
        int err = find_fd(&items[i], &polled[i].fd);
        if (err)
            return err;
        *ready += polled[i].fd < 0;
    }
    return 0;
}

/* Until one is ready, or at once if some are: then it only asks for the others. */
static int poll_all(struct pollfd *polled, size_t count, int64_t deadline, bool at_once)
{
    for (;;) {
        int timeout = at_once ? 0 : mp__poll_timeout(deadline, -1);
        int found = poll(polled, (nfds_t)count, timeout);

        if (found > 0 || (found == 0 && at_once))
            return 0;
        if (found < 0 && errno != EINTR && errno != EAGAIN)
            return errno;
        if (found == 0 && timeout != INT_MAX)
            return ETIMEDOUT;
    }
}

static int mark(mp_wait_item *items, const struct pollfd *polled, size_t count,
                size_t *ready)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++)
        if (polled[i].fd >= 0 && polled[i].revents & POLLNVAL)
            return EBADF;
    for (size_t i = 0; i < count; i++) {
        items[i].ready = polled[i].fd < 0 || polled[i].revents;
        found += items[i].ready != 0;
    }
    if (ready)
        *ready = found;
    return 0;
}

static int wait_for(mp_wait_item *items, size_t count, struct pollfd *polled,
                    size_t *ready, int64_t deadline)
{
    size_t already = 0;
    int err = find_all(items, count, polled, &already);

    if (!err)
        err = poll_all(polled, count, deadline, already > 0);
    return err ? err : mark(items, polled, count, ready);
}

int mp_wait(mp_wait_item *items, size_t count, size_t *ready, int timeout_ms)
{
    struct pollfd few[FEW], *polled = few;
    int64_t deadline;

    if ((!items && count > 0) || (count == 0 && timeout_ms == MP_FOREVER))
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (err)
        return err;
    if (count > FEW)
        polled = mp__sys_calloc(count, sizeof(*polled));
    if (!polled)
        return ENOMEM;
    err = wait_for(items, count, polled, ready, deadline);
    if (polled != few)
        free(polled);
    return err;
}
