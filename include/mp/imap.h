/* SPDX-License-Identifier: MIT */
/*
 * imap.h - a map whose results come one by one, while later items are still running.
 *
 *   mp_imap *squares;
 *   err = mp_pool_imap(pool, square, numbers, n,          for i, y in enumerate(
 *                      sizeof(int), sizeof(int),                  pool.imap(square,
 *                      NULL, &squares);                                     numbers)):
 *   while (!(err = mp_imap_next(squares, &y, &failure,
 *                               MP_FOREVER)) || failure.error)
 *       if (err)
 *           report(&failure);                                 except Exception: ...
 *       else
 *           printf("%d\n", y);                                print(y)
 *   mp_imap_free(squares);
 *
 * Items come from an array, are numbers, or are made by a function when they are needed:
 * input of any length, also endless, takes as much memory as the window, which is how
 * many items may be under way or done and not yet taken.
 *
 * A failing item does not end it: mp_imap_next returns its error, once, and goes on with
 * the next one when it is called again.  At the end it returns EPIPE and `failure.error`
 * is 0, which is how the loop above knows.
 *
 * Caveats.
 * The input goes on when results are taken: an imap that nobody asks any more stands
 * still, with its window full.
 * A pool that is closed goes on taking what its imaps still bring, as Python's does, and
 * its workers stay for that; until the last item was given to them, or the imap is freed,
 * mp_pool_join returns EBUSY instead of waiting for what might never come.
 * When the pool is terminated, or breaks, what it has of the items fails with ECANCELED
 * or EOWNERDEAD, and so does the first item that it has not got; there the input ends.
 */
#ifndef MP_IMAP_H
#define MP_IMAP_H

#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_imap mp_imap;

/*
 * Makes the next item: writes its bytes to `item`, and returns 0; or EPIPE: there are no
 * more; or another error, which mp_imap_next returns in this item's place (of an unordered
 * imap, before items that are still running), and the input ends there; attempts is 0.
 * Runs in the thread that calls mp_imap_next, mp_pool_imap or mp_pool_imap_unordered, for
 * several items in a row, and holds no lock of libmp; it must not use this imap itself.
 */
typedef int mp_source_fn(void *item, void *state);

typedef struct mp_imap_options {
    size_t struct_size;     /* set by MP_IMAP_OPTIONS */
    void *context;          /* given to the tasks; NULL: the pool's */
    size_t chunk_size;      /* items that a worker takes at once; 0: 1; more than 4096, or
                               than the window, is as much as that */
    size_t window;          /* items; 0: 64 for each worker, but not more than 16 MiB, or
                               2 items for each worker or 4 chunks if that is more */
    mp_source_fn *source;   /* makes the items: then `items` is NULL and `count` is how
                               many there are at most, or SIZE_MAX; 0 is none at all */
    void *source_state;     /* given to `source` */
    int time_limit_ms;      /* of each item; 0: the pool's */
    int soft_time_limit_ms; /* of each item; 0: the pool's */
    int retries;            /* run an item again up to so often if its worker dies or it
                               calls exit; not for other failures */
    int reserved;           /* zero */
} mp_imap_options;

#define MP_IMAP_OPTIONS(...) \
    (&(const mp_imap_options){.struct_size = sizeof(mp_imap_options), __VA_ARGS__})

/*
 * mp_pool_imap, mp_pool_imap_unordered - begin a map whose results are taken one by one:
 * in the order of the items, or in the order in which they are done.
 *
 * Item i is the `item_size` bytes at `items + i * item_size`.  Items in the arena are
 * used where they are; others are copied, and may change once they have been: at the
 * latest when their result is there.  If `items` is NULL and `item_size` is 0, and there
 * is no source, the items are the numbers from 0 to `count - 1`, and each task gets a
 * pointer to a uint64_t.
 *
 * The items of a chunk are there together, when the last of them is done.
 *
 * The imap stays valid when its pool is freed, and must be freed all the same.
 *
 * Returns 0, or
 *   EINVAL      `pool`, `task` or `out` is NULL; both `items` and a source; either of
 *               them without an `item_size`, or an `item_size` without them; options that
 *               make no sense, or of a newer libmp
 *   EPIPE       the pool is closed, terminated or broken
 *   EPERM       another process made the pool
 *   EOVERFLOW   `count` times `item_size`, or a chunk, does not fit into memory
 *   ENOMEM      no memory, or the arena is full
 *   EAGAIN      four million tasks wait already
 *
 * Processes: the creator of the pool.  Threads: any.  Signal handlers: no.
 * Python:    pool.imap(task, items, chunksize), pool.imap_unordered(...)
 */
MP_API int mp_pool_imap(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                        size_t item_size, size_t result_size,
                        const mp_imap_options *options, mp_imap **out);
MP_API int mp_pool_imap_unordered(mp_pool *pool, mp_task_fn *task, const void *items,
                                  size_t count, size_t item_size, size_t result_size,
                                  const mp_imap_options *options, mp_imap **out);

/*
 * mp_imap_next - wait up to `timeout_ms` for the next result, and take it.
 *
 * `result` has room for the `result_size` bytes that mp_pool_imap was given, or is NULL
 * if they are not wanted.  If `failure` is not NULL it is filled: its `index` is the
 * item's, also when nothing has failed; its `error` is then 0, as after every other return.
 *
 * Returns 0, or what the item's task returned, or
 *   EPIPE        there are no more items
 *   ETIMEDOUT    it is not there yet
 *   EOWNERDEAD, ETIME, ECANCELED   what befell the item: see task.h
 *   ENOMEM, EAGAIN   there is no memory for the next items, or no room in the pool; none
 *                is lost: it may be called again
 *   EINVAL       `map` is NULL, or a bad timeout
 *   EPERM        in another process than the pool's creator
 * Where a task may return one of these numbers itself, `failure` tells: for what is not
 * the error of an item its `error` is 0.
 *
 * Processes: the creator of the pool.  Threads: any, one at a time for an imap.
 * Signal handlers: no.
 * Python:    next(iterator), iterator.next(timeout)
 */
MP_API int mp_imap_next(mp_imap *map, void *result, mp_task_failure *failure,
                        int timeout_ms);

/*
 * mp_imap_free - take no more of it, or do nothing with NULL.
 *
 * Items that no worker has begun are not run (a chunk is begun as a whole).  Those that
 * are running come to their end; the call waits for that only if the items lie in the
 * arena and are used in place, so that they may be freed after it.
 *
 * Processes: the creator of the pool; in another only memory is freed.  Threads: any.
 * Signal handlers: no.
 * Python:    del iterator
 */
MP_API void mp_imap_free(mp_imap *map);

#ifdef __cplusplus
}
#endif

#endif
