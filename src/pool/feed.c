/* SPDX-License-Identifier: MIT */
/* feed.c - the input of an imap: making items, and giving them to the workers. */
#include <errno.h>
#include <mp/shared.h>
#include <string.h>

#include "base/size.h"
#include "pool/imap.h"
#include "pool/job.h"
#include "pool/result.h"

struct mp__slot_layout mp__slot_layout(const struct mp_imap *map)
{
    struct mp__slot_layout layout = {0};
    size_t items = map->copies ? map->item_size : 0;

    if (map->chunk == 1) {
        layout.results = mp__round_up(items, 16);
        layout.size = layout.results + map->result_size;
        return layout;
    }
    layout.results = mp__round_up(map->chunk * items, MP__CACHE_LINE);
    layout.details =
        layout.results + mp__round_up(map->chunk * map->result_size, MP__CACHE_LINE);
    layout.errors = layout.details + map->chunk * sizeof(mp_task_failure);
    layout.attempts = layout.errors + map->chunk * sizeof(int);
    layout.size = layout.attempts + (map->call.retries ? map->chunk : 0);
    return layout;
}

/* The slot's own memory: its task's lines are enough for a small item. */
static bool is_inline(const struct mp_imap *map, const struct mp__slot_layout *layout)
{
    return map->chunk == 1 && layout->size <= MP__INLINE_BYTES;
}

/* Making items */

/* Let the source make up to a chunk; how many it made. */
static uint32_t ask_source(struct mp_imap *map, char *memory)
{
    uint32_t count = 0;

    while (count < map->chunk && map->made + count < map->count) {
        int err = map->source(memory + count * map->item_size, map->source_state);
        if (err) {
            map->ended = true;
            map->source_error = err == EPIPE ? 0 : err;
            break;
        }
        count++;
    }
    return count;
}

static uint32_t copy_items(struct mp_imap *map, char *memory)
{
    uint64_t left = map->count - map->made;
    uint32_t count = left < map->chunk ? (uint32_t)left : map->chunk;

    if (map->items && map->copies)
        memcpy(memory, map->items + map->made * map->item_size, count * map->item_size);
    else if (!map->items && map->chunk == 1)
        memcpy(memory, &map->made, count * sizeof(map->made));
    return count;
}

/* Fill an idle slot: 0, or EPIPE if there is nothing more, or ENOMEM. */
static int prepare(struct mp_imap *map, struct mp__slot *slot)
{
    struct mp__slot_layout layout = mp__slot_layout(map);
    struct mp__window *window = &slot->window;

    if (!is_inline(map, &layout) && !window->block) {
        window->block = mp_shared_alloc(layout.size);
        if (!window->block)
            return ENOMEM;
    }
    char *memory = window->block ? window->block : slot->data;
    window->start = map->made;
    window->count = 0;
    window->task = NULL;
    window->job = NULL;
    slot->taken = 0;
    slot->error = 0;
    if (!map->ended)
        window->count = map->source ? ask_source(map, memory) : copy_items(map, memory);
    if (!window->count && map->source_error) {
        slot->error = map->source_error;
        slot->kind = MP_FAILURE_RETURNED;
        map->source_error = 0;
        window->count = 1;
    }
    map->made += window->count;
    map->ended |= map->made >= map->count;
    return window->count ? 0 : EPIPE;
}

/* Giving them to the workers; the mutex is held */

static int publish_single(struct mp_imap *map, struct mp__slot *slot)
{
    struct mp__slot_layout layout = mp__slot_layout(map);
    struct mp__window *window = &slot->window;
    struct mp__task *task;
    int err = mp__queue_reserve(map->pool, &window->number, &task);
    if (err)
        return err;
    char *memory = window->block;
    if (!memory) {
        memory = task->data;
        memcpy(memory, slot->data, sizeof(slot->data));
    }
    mp__task_prepare(task, &map->call);
    task->index = window->start;
    task->block = NULL;
    task->arg = map->copies ? memory : map->items + window->start * map->item_size;
    task->result = map->result_size ? memory + layout.results : NULL;
    window->task = task;
    mp__queue_publish(map->pool, window->number, task, true);
    return 0;
}

static void fill_job(const struct mp_imap *map, struct mp__window *window)
{
    struct mp__slot_layout layout = mp__slot_layout(map);
    struct mp__job *job = window->job;
    char *block = window->block;

    job->items = NULL;
    if (map->item_size)
        job->items = map->copies ? block : map->items + window->start * map->item_size;
    job->item_size = map->item_size;
    job->results = map->result_size ? block + layout.results : NULL;
    job->result_size = map->result_size;
    job->details = (mp_task_failure *)(void *)(block + layout.details);
    job->errors = (int *)(void *)(block + layout.errors);
    job->chunk = map->chunk;
    atomic_store_explicit(&job->crowd, 1, memory_order_relaxed);
    mp__window_deal(window, &map->call, block + layout.attempts, 1);
}

static int publish_chunk(struct mp_imap *map, struct mp__slot *slot)
{
    struct mp__window *window = &slot->window;

    window->job = mp__window_job(map->pool);
    if (!window->job)
        return ENOMEM;
    fill_job(map, window);
    int err = mp__window_publish(map->pool, window);
    if (err)
        mp__window_put_job(map->pool, window->job, MP__NO_TASK);
    return err;
}

static int publish(struct mp_imap *map)
{
    struct mp__slot *slot = map->prepared.first;

    if (!slot->error) {
        int err = map->chunk == 1 ? publish_single(map, slot) : publish_chunk(map, slot);
        if (err)
            return err;
        map->pool->submitted += slot->window.count;
    }
    mp__slot_append(&map->pending, mp__slot_remove(&map->prepared, NULL));
    return 0;
}

/* The pool is no more: that is the next item's error, and the last one's. */
static void refuse(struct mp_imap *map)
{
    bool broken = atomic_load(&map->pool->shared->state) == MP__POOL_BROKEN;
    struct mp__slot *slot = mp__slot_remove(&map->prepared, NULL);

    while (map->prepared.first)
        mp__slot_append(&map->idle, mp__slot_remove(&map->prepared, NULL));
    if (!slot && (!map->ended || map->source_error)) {
        slot = mp__slot_remove(&map->idle, NULL);
        if (!slot)
            return;
        slot->window.start = map->made;
    }
    map->ended = true;
    map->source_error = 0;
    if (!slot)
        return;
    slot->kind = broken ? MP_FAILURE_POOL : MP_FAILURE_CANCELLED;
    slot->error = mp__failure_error(slot->kind);
    slot->window.count = 1;
    slot->window.task = NULL;
    slot->taken = 0;
    mp__slot_append(&map->pending, slot);
}

void mp__slot_release(struct mp_imap *map, struct mp__slot *slot)
{
    struct mp__window *window = &slot->window;

    if (!window->task)
        return;
    if (window->job)
        mp__window_put_job(map->pool, window->job, window->number);
    mp__queue_release(map->pool, window->number);
    window->task = NULL;
}

static void recycle_spent(struct mp_imap *map)
{
    if (!map->spent.first)
        return;
    pthread_mutex_lock(&map->pool->mutex);
    while (map->spent.first) {
        struct mp__slot *slot = mp__slot_remove(&map->spent, NULL);
        mp__slot_release(map, slot);
        mp__slot_append(&map->idle, slot);
    }
    pthread_mutex_unlock(&map->pool->mutex);
}

/* 0, or ENOMEM: that is tried again when there is room. */
static int prepare_idle(struct mp_imap *map)
{
    int err = 0;

    while (!err && map->idle.first && mp__pool_takes(map->pool->shared) &&
           !(map->ended && !map->source_error)) {
        err = prepare(map, map->idle.first);
        if (!err)
            mp__slot_append(&map->prepared, mp__slot_remove(&map->idle, NULL));
    }
    return err == EPIPE ? 0 : err;
}

int mp__imap_feed(struct mp_imap *map)
{
    struct mp__pool_shared *shared = map->pool->shared;

    recycle_spent(map);
    int err = prepare_idle(map);
    pthread_mutex_lock(&map->pool->mutex);
    int refused = 0;
    while (!refused && map->prepared.first && mp__pool_takes(shared))
        refused = publish(map);
    if (!mp__pool_takes(shared))
        refuse(map);
    pthread_mutex_unlock(&map->pool->mutex);
    if (map->ended && !map->source_error && !map->prepared.first)
        mp__imap_feed_end(map);
    return refused ? refused : err;
}

void mp__imap_feed_end(struct mp_imap *map)
{
    if (!map->feeds)
        return;
    map->feeds = false;
    map->pool->imaps--;
    mp__pool_feed_end(map->pool);
}
