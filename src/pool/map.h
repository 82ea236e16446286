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

#include "pool/pool.h"

struct mp__fold;
struct mp__map;

/* mp_pool_map, or with a `fold` and no results the part of mp_pool_reduce that is one. */
int mp__map_run(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                size_t item_size, void *results, size_t result_size,
                const mp_map_options *options, struct mp__fold *fold);

int mp__map_wait(mp_pool *pool, struct mp__map *map, int64_t deadline);
bool mp__map_settled(const struct mp__map *map); /* whether or not it is collected */
uint64_t mp__map_number(const struct mp__map *map); /* of its last task */
int mp__map_get(struct mp__map *map, void *value, size_t size);
void mp__map_cancel(mp_pool *pool, struct mp__map *map);
void mp__map_progress(struct mp__map *map, mp_progress *progress);
void mp__map_failure(const struct mp__map *map, mp_task_failure *failure);
void mp__map_free(mp_pool *pool, struct mp__map *map);
void mp__map_forget(struct mp__map *map); /* in a foreign process */

#endif
