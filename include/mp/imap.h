/* SPDX-License-Identifier: MIT */
/*
 * imap.h - a map whose results come one by one, while later items are still running.
 *
 *   mp_imap *squares;
 *   err = mp_pool_imap(pool, square, numbers, n,          for i, y in enumerate(
 *                      sizeof(int), sizeof(int),                  pool.imap(square,
 *                      NULL, &squares);                                     numbers)):
 *   while (!(err = mp_imap_next(squares, &y, &failure, MP_FOREVER)))
 *       printf("%d\n", y);                                    print(y)
 *   mp_imap_free(squares);
 *
 * Items come from an array, are numbers, or are made by a function when they are needed:
 * input of any length, also endless, takes as much memory as the window, which is how
 * many items may be under way or done and not yet taken.
 *
 * A failing item does not end it: mp_imap_next returns its error, once, and goes on with
 * the next one when it is called again.
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
 * more; or another error, which mp_imap_next returns in this item's place, and the input
 * ends there.  Runs in the thread that calls mp_imap_next, mp_pool_imap or
 * mp_pool_imap_unordered.
 */
typedef int mp_source_fn(void *item, void *state);

typedef struct mp_imap_options {
    size_t struct_size;     /* set by MP_IMAP_OPTIONS */
    void *context;          /* given to the tasks; NULL: the pool's */
    size_t chunk_size;      /* items that a worker takes at once; 0: 1 */
    size_t window;          /* items; 0: 64 for each worker, or 4 chunks if that is more */
    mp_source_fn *source;   /* makes the items: then `items` is NULL and `count` is how
                               many there are at most, or SIZE_MAX */
    void *source_state;     /* given to `source` */
    int time_limit_ms;      /* of each item; 0: the pool's */
    int soft_time_limit_ms; /* of each item; 0: the pool's */
    int retries;            /* run an item again up to so often if its worker dies */
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
 * Returns 0, or
 *   EINVAL   NULL, `items` and a source, or neither and an `item_size`
 *   EPIPE    the pool is closed, terminated or broken
 *   EPERM    another process made the pool
 *   ENOMEM   no memory, or the arena is full
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
 * `result` has room for the `result_size` bytes that mp_pool_imap was given.  If
 * `failure` is not NULL it is filled: its `index` is the item's, also when nothing has
 * failed; its `error` is then 0.
 *
 * Returns 0, or what the item's task returned, or
 *   EPIPE        there are no more items: `failure`, if given, has the error 0
 *   ETIMEDOUT    it is not there yet: likewise
 *   EOWNERDEAD, ETIME, ECANCELED   what befell the item: see task.h
 *   EINVAL       `map` is NULL, or a bad timeout
 *   EPERM        in another process than the pool's creator
 *
 * Processes: the creator of the pool.  Threads: any, one at a time.
 * Signal handlers: no.
 * Python:    next(iterator), iterator.next(timeout)
 */
MP_API int mp_imap_next(mp_imap *map, void *result, mp_task_failure *failure,
                        int timeout_ms);

/*
 * mp_imap_free - take no more of it, or do nothing with NULL.
 *
 * Items that no worker has begun are not run; the call waits for those that are running,
 * if they use memory of the caller.
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
