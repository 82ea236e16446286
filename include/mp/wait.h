/* SPDX-License-Identifier: MIT */
/*
 * wait.h - wait for several things at once: connections, processes, pools, queues and
 * plain descriptors.
 *
 *   mp_wait_item items[] = {
 *       MP_WAIT_CONNECTION(requests),                   ready = wait([requests,
 *       MP_WAIT_PROCESS(worker),                              worker.sentinel,
 *       MP_WAIT_FD(STDIN_FILENO),                             sys.stdin], timeout=5)
 *   };
 *   int err = mp_wait(items, 3, NULL, 5000);
 *   if (err == ETIMEDOUT)                               if not ready:
 *       return nothing_happened();
 *   if (items[0].ready)                                 if requests in ready:
 *       err = mp_connection_recv(requests, ...);
 *
 * Waiting takes nothing away: what is ready stays so until it is received, joined, read.
 *
 * Caveats.
 * Ready means that there is something, or that the end is: a connection whose other end
 * is gone is ready, and mp_connection_recv then returns EPIPE.  A part of a message
 * counts as well, and its receiver waits for the rest.
 * Others who share a connection or a queue may be faster than the one who was told.
 */
#ifndef MP_WAIT_H
#define MP_WAIT_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* See connection.h, process.h, pool.h, queue.h. */
struct mp_connection;
struct mp_process;
struct mp_pool;
struct mp_queue;

enum {
    MP_WAIT_KIND_CONNECTION = 1,
    MP_WAIT_KIND_PROCESS,
    MP_WAIT_KIND_POOL,
    MP_WAIT_KIND_QUEUE,
    MP_WAIT_KIND_FD,
};

/* One of the things to wait for, to be made by the macros below. */
typedef struct mp_wait_item {
    int kind;
    int ready; /* set by mp_wait: 1 if it is ready, 0 if not */
    union {
        struct mp_connection *connection;
        struct mp_process *process;
        struct mp_pool *pool;
        struct mp_queue *queue;
        int fd;
    } of;
} mp_wait_item;

/* There is something to receive, or the end of the stream. */
#define MP_WAIT_CONNECTION(it) \
    ((mp_wait_item){.kind = MP_WAIT_KIND_CONNECTION, .of = {.connection = (it)}})

/* The process has ended.  Started by the caller, as for mp_process_sentinel. */
#define MP_WAIT_PROCESS(it) \
    ((mp_wait_item){.kind = MP_WAIT_KIND_PROCESS, .of = {.process = (it)}})

/* Something was settled: mp_pool_poll has work.  Of a pool made with .pollable. */
#define MP_WAIT_POOL(it) ((mp_wait_item){.kind = MP_WAIT_KIND_POOL, .of = {.pool = (it)}})

/* There may be a message to get, or the queue is closed (see mp_queue_fileno).  Of a queue
   made with .pollable. */
#define MP_WAIT_QUEUE(it) \
    ((mp_wait_item){.kind = MP_WAIT_KIND_QUEUE, .of = {.queue = (it)}})

/* poll(2) finds the descriptor readable, or at its end, or in error. */
#define MP_WAIT_FD(it) ((mp_wait_item){.kind = MP_WAIT_KIND_FD, .of = {.fd = (it)}})

/*
 * mp_wait - wait up to `timeout_ms` until at least one of `count` items is ready.
 *
 * Sets .ready of every item to 1 or 0, all that are ready at once; `*ready` tells how
 * many they are, and `ready` may be NULL.  There may be any number of items, in any
 * order, the same one twice, and of descriptors above 1023.  With no items at all it
 * waits, as a sleep.
 *
 * Returns 0 with at least one item ready, or
 *   ETIMEDOUT   none was ready in time
 *   EINVAL      `items` is NULL and `count` is not 0; the timeout is negative and not
 *               MP_FOREVER, or MP_FOREVER without items; an item is of no kind, is NULL
 *               or a negative descriptor; a connection is closed or not for receiving; a
 *               process was closed or not started; or there are more items than this
 *               process may have descriptors (RLIMIT_NOFILE)
 *   ENOTSUP     a pool or a queue was not made with .pollable
 *   ECHILD      a process is not a child of the caller
 *   EPERM       a queue's descriptor was not inherited by this process, or a pool was made
 *               by another
 *   EBADF       a descriptor is not open
 *   ENOMEM, EMFILE, ENFILE   no memory, or no descriptor for a process's sentinel
 *
 * When it fails .ready of all items and `*ready` stay as they were: after ETIMEDOUT too,
 * when they may still tell of the call before.
 *
 * Processes: any.  Threads: any, each with items of its own.  Signal handlers: no.
 * Python:    multiprocessing.connection.wait(object_list, timeout)
 */
MP_API MP_MUST_CHECK int mp_wait(mp_wait_item *items, size_t count, size_t *ready,
                                 int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
