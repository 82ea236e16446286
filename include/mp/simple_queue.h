/* SPDX-License-Identifier: MIT */
/*
 * simple_queue.h - a queue with nothing to choose: put, get, empty and close.
 *
 *   mp_simple_queue *results;
 *   int err = mp_simple_queue_new(&results);            results = SimpleQueue()
 *   if (err)
 *       return err;
 *   ...                                                 start processes; pass `results`
 *   err = mp_simple_queue_put(results, "done", 4);      in some: results.put(b'done')
 *   ...
 *   err = mp_simple_queue_get(results, text, sizeof text, &size);    text = results.get()
 *
 * It is an mp_queue of messages of any size, without a bound, whose calls wait as long as
 * it takes; see queue.h for what happens when a process is killed.  Unlike Python's its
 * put never waits for a reader.  Who needs a time limit, a bound or mp_wait takes an
 * mp_queue.
 */
#ifndef MP_SIMPLE_QUEUE_H
#define MP_SIMPLE_QUEUE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Python: multiprocessing.SimpleQueue */
typedef struct mp_simple_queue mp_simple_queue;

/*
 * mp_simple_queue_new - make a queue without messages.
 *
 * Returns 0, or EINVAL if `out` is NULL, or ENOMEM if the arena is full or could not be
 * reserved.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.SimpleQueue()
 */
MP_API MP_MUST_CHECK int mp_simple_queue_new(mp_simple_queue **out);

/*
 * mp_simple_queue_free - as mp_queue_free.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_simple_queue_free(mp_simple_queue *queue);

/*
 * mp_simple_queue_put - put a message of `size` bytes.
 *
 * Returns 0, or EPIPE if the queue is closed, ENOMEM if the arena has no room for it,
 * EINVAL if `queue`, or `message` with a size, is NULL, or EAGAIN as mp_queue_put.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.put(message)
 */
MP_API MP_MUST_CHECK int mp_simple_queue_put(mp_simple_queue *queue, const void *message,
                                             size_t size);

/*
 * mp_simple_queue_get - take the next message, and wait for it.
 *
 * Arguments and errors are those of mp_queue_get without a timeout: EPIPE, EMSGSIZE,
 * EINVAL, EAGAIN.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.get()
 */
MP_API MP_MUST_CHECK int mp_simple_queue_get(mp_simple_queue *queue, void *buffer,
                                             size_t capacity, size_t *size);

/*
 * mp_simple_queue_empty - whether there is no message to take; false for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    queue.empty()
 */
MP_API bool mp_simple_queue_empty(const mp_simple_queue *queue);

/*
 * mp_simple_queue_close - as mp_queue_close: for all processes.
 *
 * Returns 0, or EINVAL if `queue` is NULL, or EAGAIN as mp_queue_close.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.close()
 */
MP_API int mp_simple_queue_close(mp_simple_queue *queue);

#ifdef __cplusplus
}
#endif

#endif
