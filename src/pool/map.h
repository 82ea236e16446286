/* SPDX-License-Identifier: MIT */
/*
 * map.h - a map as the client sees it: a row of windows.
 *
 * A window is a stretch of items that is one job (job.h).  What lies in the arena is
 * handed over where it is; what does not is copied, a window at a time, into a block of
 * the arena, and results out of it.  Only so many windows are under way that copying and
 * computing overlap, unless nobody is there to copy meanwhile (map_async).
 */
#ifndef MP_POOL_MAP_H
#define MP_POOL_MAP_H

#include "pool/window.h"

struct mp__fold;

struct mp__map {
    struct mp__call call;
    const char *items;
    size_t count;
    size_t item_size;
    char *results;
    size_t result_size;
    int *errors;
    size_t chunk;
    bool may_be_short; /* who waits for it calls others when it is not */
    bool stops;             /* at the first failure */
    _Atomic uint32_t *stop; /* in the arena: an item has failed; NULL: `stops` is not set */
    bool cancelled;         /* no more windows */
    bool feeds;             /* is counted in the pool's `feeds` */
    struct mp__fold *fold;  /* a reduction; or NULL */
    int64_t began;
    mp_progress_fn *progress; /* or NULL */
    void *progress_arg;
    int64_t progress_ns;
    int64_t tell_at; /* when `progress` is to be called next */
    uint64_t failed; /* items of collected windows */
    bool copies_items;
    bool copies_results;
    bool copies_errors;
    size_t window_items;
    size_t window_count;
    size_t submitted;
    _Atomic size_t collected;
    pthread_mutex_t mutex;   /* of who collects, cancels or counts windows */
    mp_task_failure failure; /* of the lowest index so far; its error is 0 if none */
    size_t slots;            /* windows that `windows` has room for, reused in turn */
    struct mp__window windows[];
};

/* One that is under way, or the slot for one that is to be submitted. */
static inline struct mp__window *mp__map_window(struct mp__map *map, size_t number)
{
    return &map->windows[number % map->slots];
}

/* map.c: may this process use the pool, and what are the options of its call? */
int mp__map_options(mp_map_options *known, const mp_pool *pool,
                    const mp_map_options *options);

/* map.c: mp_pool_map, or with a `fold` and no results the part of mp_pool_reduce that is
   one. */
int mp__map_run(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                size_t item_size, void *results, size_t result_size,
                const mp_map_options *known, struct mp__fold *fold);

/* map_windows.c: for the two kinds of map. */
int mp__map_new(struct mp__map **out, const struct mp__map *plan, unsigned workers,
                bool in_turn);
int mp__map_submit(mp_pool *pool, struct mp__map *map); /* the next window */
void mp__map_feed_end(mp_pool *pool, struct mp__map *map); /* it was the last one */
/* Every window is under way: wait for half of them, and take what they brought. */
int mp__map_collect_half(mp_pool *pool, struct mp__map *map);
void mp__map_tell(struct mp__map *map); /* call `progress` if it is time */
void mp__map_discard(mp_pool *pool, struct mp__map *map); /* all of it is collected */

/* map_windows.c: for who has its result. */
int mp__map_wait(mp_pool *pool, struct mp__map *map, int64_t deadline);
bool mp__map_settled(struct mp__map *map); /* whether or not it is collected */
uint64_t mp__map_number(struct mp__map *map); /* of its last task */
int mp__map_get(struct mp__map *map, void *value, size_t size);
void mp__map_cancel(mp_pool *pool, struct mp__map *map);
void mp__map_progress(struct mp__map *map, mp_progress *progress);
void mp__map_failure(const struct mp__map *map, mp_task_failure *failure);
void mp__map_free(mp_pool *pool, struct mp__map *map);
void mp__map_forget(struct mp__map *map); /* in a foreign process */

#endif
