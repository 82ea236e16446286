/* SPDX-License-Identifier: MIT */
/*
 * queue.h - messages from any number of processes to any number of processes.
 *
 *   mp_queue *jobs;
 *   int err = mp_queue_new(&jobs, NULL);                jobs = Queue()
 *   if (err)
 *       return err;
 *   ...                                                 start processes; pass `jobs`
 *   err = mp_queue_put(jobs, "resize", 6, MP_FOREVER);  in some: jobs.put(b'resize')
 *   ...
 *   char job[100];                                      in others:
 *   size_t size;
 *   err = mp_queue_get(jobs, job, sizeof job, &size, MP_FOREVER);    job = jobs.get()
 *   ...
 *   mp_queue_close(jobs);             no more: who gets is told when the last is taken
 *
 * A message is bytes, as many as you like, copied when it is put and when it is taken.  It
 * is there for everybody when mp_queue_put returns: no thread is behind it that is still
 * to send it, so no process waits at its exit for somebody to read what it has put.
 * Messages come out in the order in which they went in, whoever put them.
 *
 * Which form to choose.
 *   any size         the default; up to .max_size bytes if that is given
 *   .message_size    all messages have this size: the fastest, for structs
 *   by pointer       large things are made in the arena (shared.h) and handed over without
 *                    being copied: mp_queue_put_pointer
 *   .priorities      urgent messages overtake others: mp_queue_put_priority
 *   .max_messages    a bound: producers wait while so many are there.  Without one the
 *                    queue takes what the arena holds
 *   .pollable        there is a descriptor for poll(2) and mp_wait (wait.h)
 *   .joinable        one can wait until all is done: joinable_queue.h
 *
 * An mp_queue lies in the arena (see shared.h): its pointer means the same in every process
 * of the family.  It takes no name, and no descriptor unless it is pollable; an empty one
 * has 64 KiB of address space, of which it touches what it needs.  Memory of a backlog is
 * kept for the next one up to 16 MiB, for each priority, and given back beyond that.
 *
 * Caveats.
 * A process may be killed at any instruction.  Inside mp_queue_put it leaves the message
 * in the queue or not; inside mp_queue_get the message stays for the next who comes, until
 * the step that takes it, and goes with the process after that step, as anything goes
 * that a process has just been given; mp_queue_lost counts those that were taken and not
 * yet the caller's.  A process killed later, be it on the last instructions of the call,
 * had its message: who must know what became of it counts with mp_joinable_queue
 * (joinable_queue.h).  Neither death blocks the queue, nor loses or doubles a message of
 * anybody else.  The memory of one block that it was fetching or giving back may stay
 * unused for the life of the family.
 * A process that is stopped (SIGSTOP) within one of these calls may hold up others at the
 * same end of the queue until it goes on, for nobody robs it.  Calls that do not wait then
 * return ETIMEDOUT after 100 ms; mp_queue_close, which needs the end of those who put, and
 * mp_queue_lost, which needs the other, wait for it.
 * Messages are bytes and no objects: pointers into private memory mean nothing elsewhere.
 */
#ifndef MP_QUEUE_H
#define MP_QUEUE_H

#include <sys/uio.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Messages, first in, first out.  Python: multiprocessing.Queue */
typedef struct mp_queue mp_queue;

typedef struct mp_queue_options {
    size_t struct_size;  /* set by MP_QUEUE_OPTIONS */
    size_t max_messages; /* there are never more; 0: as many as there is memory for */
    size_t max_size;     /* of a message, in bytes; 0: what there is memory for */
    size_t message_size; /* all messages are of so many bytes; 0: each of its own size */
    unsigned priorities; /* 0 to this less one may be given to messages; 0: 1; most: 32 */
    int pollable;        /* not 0: there is a descriptor, mp_queue_fileno */
    int joinable;        /* not 0: mp_joinable_queue_join works, see joinable_queue.h */
    int reserved;        /* 0 */
} mp_queue_options;

#define MP_QUEUE_OPTIONS(...) \
    (&(const mp_queue_options){.struct_size = sizeof(mp_queue_options), __VA_ARGS__})

/*
 * mp_queue_new - make a queue without messages.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL; .max_size is below .message_size; .priorities is above 32;
 *            .reserved is not 0; or the options are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *   EMFILE, ENFILE   no descriptors for a pollable queue, which takes two
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.Queue(maxsize)
 */
MP_API MP_MUST_CHECK int mp_queue_new(mp_queue **out, const mp_queue_options *options);

/*
 * mp_queue_free - free a queue with all that is in it, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever still waits in a call when it is
 * freed has used it afterwards.  To end those, close it and let them leave.
 *
 * The descriptors of a pollable queue are closed in this process; others keep theirs
 * until they end.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_queue_free(mp_queue *queue);

/*
 * mp_queue_put - put a message of `size` bytes, waiting up to `timeout_ms` for room.
 *
 * It has priority 0.  A message of 0 bytes is one too; `message` may be NULL then.
 *
 * Returns 0 when the message is there for all to take, or
 *   ETIMEDOUT   the queue stayed full
 *   EPIPE       the queue is closed
 *   EMSGSIZE    `size` is above .max_size, or is not .message_size
 *   ENOMEM      the arena has no room for it
 *   EINVAL      `queue`, or `message` with a size, is NULL; or a bad timeout
 *   EAGAIN      this process could not join the family: it has 16,383 members
 *   EPERM       those who poll are to be told, as is so with the first message after a get
 *               that found none, and this process has not inherited the descriptors
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.put(message, timeout=...), put_nowait(message)
 */
MP_API MP_MUST_CHECK int mp_queue_put(mp_queue *queue, const void *message, size_t size,
                                      int timeout_ms);

/*
 * mp_queue_put_priority - put a message that overtakes those of lower priority.
 *
 * As with POSIX's mq_send greater numbers are more urgent, and what is equally urgent
 * comes out in the order in which it went in.
 *
 * Returns as mp_queue_put, and EINVAL if `priority` is not below .priorities.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.PriorityQueue, which takes the lowest first
 */
MP_API MP_MUST_CHECK int mp_queue_put_priority(mp_queue *queue, unsigned priority,
                                               const void *message, size_t size,
                                               int timeout_ms);

/*
 * mp_queue_put_many - put `count` messages, at a lower price than one by one.
 *
 * As many as there is room for appear at once and next to each other; if the queue is
 * bounded the call then waits for more room.  `*put` is how many went in, also if the
 * call fails: those are in the queue.  All have priority 0.  To put none is no error.
 *
 * Returns as mp_queue_put, and EINVAL if `put`, or `messages` with a count, is NULL.
 * EMSGSIZE and EINVAL come before any message is put.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    for message in messages: queue.put(message)
 */
MP_API MP_MUST_CHECK int mp_queue_put_many(mp_queue *queue, const struct iovec *messages,
                                           size_t count, size_t *put, int timeout_ms);

/*
 * mp_queue_put_pointer - hand over a block of the arena: only its address is copied.
 *
 * `block` is what mp_shared_alloc returned, or lies within such a block, or is NULL.  Who
 * takes it decides what becomes of it: by custom, the process that gets it frees it.  A
 * block in a queue that is freed is not freed with it.  Freeing a block of a MiB or more
 * gives its pages back to the system, which costs more than copying it: let such blocks go
 * round, on a second queue by which those who are done with them return them.
 *
 * Returns as mp_queue_put for a message of the size of a pointer, and EINVAL if `block`
 * lies outside the arena.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 */
MP_API MP_MUST_CHECK int mp_queue_put_pointer(mp_queue *queue, void *block,
                                              int timeout_ms);

/*
 * mp_queue_get - take the next message, waiting up to `timeout_ms` for one.
 *
 * It is copied to `buffer`, which has room for `capacity` bytes; `*size` is its size
 * (`size` may be NULL).  A message that is too large stays in the queue as the next one,
 * and `*size` says what it needs.
 *
 * Returns 0, or
 *   ETIMEDOUT   no message came
 *   EPIPE       the queue is closed, and all of its messages have been taken
 *   EMSGSIZE    `capacity` is too small
 *   EINVAL      `queue`, or `buffer` with a capacity, is NULL; or a bad timeout
 *   EAGAIN      this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.get(timeout=...), get_nowait()
 */
MP_API MP_MUST_CHECK int mp_queue_get(mp_queue *queue, void *buffer, size_t capacity,
                                      size_t *size, int timeout_ms);

/*
 * mp_queue_get_alloc - take the next message, into memory that malloc gives.
 *
 * `*message` is freed by the caller with free(), and is never NULL after success, not for
 * a message of 0 bytes either.
 *
 * Returns as mp_queue_get but for EMSGSIZE, and
 *   ENOMEM   there is no memory: the message stays in the queue
 *   EINVAL   also if `message` or `size` is NULL
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.get()
 */
MP_API MP_MUST_CHECK int mp_queue_get_alloc(mp_queue *queue, void **message, size_t *size,
                                            int timeout_ms);

/*
 * mp_queue_get_many - take the messages that are there, `most` of them at most.
 *
 * Waits for the first only, and takes no others than those of its priority.  They are
 * copied to `buffer` one behind the other without gaps, as many as fit into `capacity`
 * bytes; `sizes[i]` is the size of the one with number i (NULL if all are of
 * .message_size), and `*count` how many there are.
 *
 * Returns as mp_queue_get; EMSGSIZE if not even the first fits, `sizes[0]` then says what
 * it needs; EINVAL also if `count` is NULL, `most` is 0, or `sizes` is NULL and messages
 * have sizes of their own.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    what `while True: queue.get_nowait()` is written for
 */
MP_API MP_MUST_CHECK int mp_queue_get_many(mp_queue *queue, void *buffer, size_t capacity,
                                           size_t *sizes, size_t most, size_t *count,
                                           int timeout_ms);

/*
 * mp_queue_get_pointer - take a block that was put by mp_queue_put_pointer.
 *
 * Returns as mp_queue_get; EMSGSIZE if the next message is not of the size of a pointer,
 * EINVAL also if `block` is NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 */
MP_API MP_MUST_CHECK int mp_queue_get_pointer(mp_queue *queue, void **block,
                                              int timeout_ms);

/*
 * mp_queue_qsize - how many messages are in the queue, as it was a moment ago.
 *
 * Exact, on every system: each message counts from the moment it can be taken until the
 * one at which it is.  0 for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    queue.qsize()
 */
MP_API size_t mp_queue_qsize(const mp_queue *queue);

/*
 * mp_queue_empty - whether there is no message to take; false for NULL.
 * mp_queue_full - whether there is no room, which is so only in a queue with
 * .max_messages; false for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    queue.empty(), queue.full()
 */
MP_API bool mp_queue_empty(const mp_queue *queue);
MP_API bool mp_queue_full(const mp_queue *queue);

/*
 * mp_queue_close - say that no more will come, and wake everybody who waits.
 *
 * Unlike in Python that holds for all processes: puts fail from now on with EPIPE; gets
 * take what is still there, and then fail with EPIPE.  Closing once more does nothing.
 * Those who poll a pollable queue are told if the caller has inherited its descriptors.
 *
 * Returns 0, or EINVAL if `queue` is NULL, or EAGAIN if this process could not join the
 * family.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    queue.close(); Python 3.13's queue.shutdown()
 */
MP_API int mp_queue_close(mp_queue *queue);

/*
 * mp_queue_closed - whether somebody has closed the queue; false for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 */
MP_API bool mp_queue_closed(const mp_queue *queue);

/*
 * mp_queue_lost - how many messages went with a process that was killed after it had
 * taken them and before its mp_queue_get returned.
 *
 * If the queue is joinable those count as well that a process had taken and not finished
 * (mp_joinable_queue_task_done) when it died.  What a dead process took is counted as soon
 * as somebody notices its death: the next to get, or one who waits.  0 for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 */
MP_API uint64_t mp_queue_lost(const mp_queue *queue);

/*
 * mp_queue_fileno - a descriptor that poll(2) finds readable while there are messages.
 *
 * For queues made with .pollable.  It is readable too when the queue is closed, and may be
 * readable for nothing: get with MP_NOWAIT, and after ETIMEDOUT poll again.  A get that
 * finds no message makes it unreadable, and only that does, in a process that has the
 * descriptor: get until ETIMEDOUT.
 *
 * It belongs to the queue: do not read it, do not close it.  Processes that were forked
 * before the queue was made don't have it.
 *
 * Returns 0 with `*fd` set, or
 *   ENOTSUP   the queue is not pollable
 *   EPERM     this process has not inherited the descriptor
 *   EINVAL    `queue` or `fd` is NULL
 *
 * Processes: the creator, and those forked after.  Threads: any.  Signal handlers: no.
 * Python:    queue._reader.fileno()
 */
MP_API int mp_queue_fileno(mp_queue *queue, int *fd);

#ifdef __cplusplus
}
#endif

#endif
