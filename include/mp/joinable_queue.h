/* SPDX-License-Identifier: MIT */
/*
 * joinable_queue.h - a queue of work that one can wait for until all of it is done.
 *
 *   mp_joinable_queue *jobs;
 *   int err = mp_joinable_queue_new(&jobs, NULL);       jobs = JoinableQueue()
 *   if (err)
 *       return err;
 *   ...                                                 start workers; pass `jobs`
 *   err = mp_queue_put(jobs, &job, sizeof job, MP_FOREVER);          jobs.put(job)
 *   ...
 *   err = mp_queue_get(jobs, &job, sizeof job, NULL, MP_FOREVER);    in them: jobs.get()
 *   work_on(&job);
 *   mp_joinable_queue_task_done(jobs);                  jobs.task_done()
 *   ...
 *   err = mp_joinable_queue_join(jobs, MP_FOREVER);     jobs.join()
 *
 * It is an mp_queue: all that queue.h has is done with it as with any other.  mp_queue_new
 * with .joinable makes one as well.
 *
 * Caveats.
 * A process may be killed, or end, with messages that it took and did not finish.  They
 * will never be finished, so nobody waits for them: mp_joinable_queue_join says EOWNERDEAD,
 * and mp_queue_lost tells how many they were.
 * For that the queue keeps in mind who took what: unlike in Python it is the process that
 * got a message that has to say that it is done.
 */
#ifndef MP_JOINABLE_QUEUE_H
#define MP_JOINABLE_QUEUE_H

#include "queue.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An mp_queue with .joinable.  Python: multiprocessing.JoinableQueue */
typedef mp_queue mp_joinable_queue;

/*
 * mp_joinable_queue_new - make a queue without messages that can be joined.
 *
 * `options` are those of mp_queue_new, and so are the errors.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.JoinableQueue(maxsize)
 */
MP_API MP_MUST_CHECK int mp_joinable_queue_new(mp_joinable_queue **out,
                                               const mp_queue_options *options);

/*
 * mp_joinable_queue_task_done - say that one message is done which this process got.
 *
 * Returns 0, or
 *   EOVERFLOW   this process has finished all that it got: called too often
 *   EINVAL      `queue` is NULL, or is not joinable
 *
 * Processes: the one that got the message.  Threads: any.  Signal handlers: no.
 * Python:    queue.task_done()
 */
MP_API int mp_joinable_queue_task_done(mp_joinable_queue *queue);

/*
 * mp_joinable_queue_join - wait up to `timeout_ms` until every message that was put has
 * been got and done.
 *
 * Returns at once if nothing was ever put.  What is put meanwhile is waited for too.
 *
 * Returns 0, or
 *   EOWNERDEAD   nothing is left to be done, but since the last call that said so some
 *                messages went with processes that ended before they had done them
 *   ETIMEDOUT    not everything was done in time
 *   EINVAL       `queue` is NULL, or is not joinable; or a bad timeout
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.join(), which has no timeout
 */
MP_API MP_MUST_CHECK int mp_joinable_queue_join(mp_joinable_queue *queue, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
