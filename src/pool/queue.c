/* SPDX-License-Identifier: MIT */
/*
 * queue.c - where task n lies, which of them are offered, and who is woken for them.
 *
 * Tasks lie in segments of 512.  The directory maps segment numbers to segments; the
 * client reuses a segment for a later number when all its tasks are settled and nobody
 * holds a result of them, and never gives its memory back before the workers are gone:
 * a worker that was stopped for long finds a word there, of another number.
 */
#include "pool/pool.h"

#include <errno.h>
#include <mp/shared.h>
#include <stdlib.h>

#include "base/sys.h"
#include "pool/job.h"
#include "sync/park.h"

#define AHEAD 8 /* tasks */

static struct mp__segment *segment_of(mp_pool *pool, uint64_t number)
{
    return &pool->segments[number / MP__SEGMENT_TASKS % MP__DIRECTORY_SIZE];
}

struct mp__task *mp__queue_task(struct mp__pool_shared *shared, uint64_t number)
{
    uint64_t segment = number / MP__SEGMENT_TASKS % MP__DIRECTORY_SIZE;
    struct mp__task *tasks =
        atomic_load_explicit(&shared->directory[segment], memory_order_acquire);

    return tasks ? &tasks[number % MP__SEGMENT_TASKS] : NULL;
}

/* Give back what a settled task holds that nobody will ask for; most hold nothing. */
static void drop(struct mp__task *task)
{
    if (!task->block && !task->text)
        return;
    mp_shared_free(task->block);
    mp_shared_free(task->text);
    task->block = NULL;
    task->text = NULL;
}

/* Take segment `index` out of the directory if nothing in it is needed any more. */
static bool recycle(mp_pool *pool, uint64_t index)
{
    struct mp__segment *segment = &pool->segments[index % MP__DIRECTORY_SIZE];

    if (!segment->tasks)
        return true;
    if (segment->held)
        return false;
    for (unsigned i = 0; i < MP__SEGMENT_TASKS; i++)
        if (!mp__task_settled(&segment->tasks[i]))
            return false;
    for (unsigned i = 0; i < MP__SEGMENT_TASKS; i++)
        drop(&segment->tasks[i]);
    atomic_store(&pool->shared->directory[index % MP__DIRECTORY_SIZE], NULL);
    pool->spare[pool->spare_count++] = segment->tasks;
    segment->tasks = NULL;
    return true;
}

/* Recycle what can be, oldest first; a few long tasks must not hold up all behind them. */
static void recycle_some(mp_pool *pool, uint64_t newest)
{
    enum { LOOK_AHEAD = 4 };

    while (pool->oldest < newest && recycle(pool, pool->oldest))
        pool->oldest++;
    for (uint64_t i = pool->oldest + 1; i < newest && i < pool->oldest + LOOK_AHEAD; i++)
        recycle(pool, i);
}

static int add_segment(mp_pool *pool, uint64_t index)
{
    struct mp__segment *segment = &pool->segments[index % MP__DIRECTORY_SIZE];

    recycle_some(pool, index);
    if (segment->tasks)
        return EAGAIN;
    if (pool->spare_count)
        segment->tasks = pool->spare[--pool->spare_count];
    else
        segment->tasks = mp_shared_alloc(MP__SEGMENT_TASKS * sizeof(struct mp__task));
    if (!segment->tasks)
        return ENOMEM;
    segment->held = 0;
    atomic_store_explicit(&pool->shared->directory[index % MP__DIRECTORY_SIZE],
                          segment->tasks, memory_order_release);
    return 0;
}

int mp__queue_reserve(mp_pool *pool, uint64_t *number, struct mp__task **task)
{
    uint64_t next = atomic_load_explicit(&pool->shared->tail, memory_order_relaxed);
    struct mp__segment *segment = segment_of(pool, next);

    if (next / MP__SEGMENT_TASKS == pool->newest) {
        int err = add_segment(pool, pool->newest);
        if (err)
            return err;
        pool->newest++;
    }
    *number = next;
    *task = &segment->tasks[next % MP__SEGMENT_TASKS];
    /* A worker had it last: call the lines of a later one before its turn comes. */
    __builtin_prefetch(*task + AHEAD, 1);
    __builtin_prefetch((*task + AHEAD)->data, 1);
    return 0;
}

void mp__queue_publish(mp_pool *pool, uint64_t number, struct mp__task *task, bool held)
{
    if (held)
        segment_of(pool, number)->held++;
    atomic_store_explicit(&task->cancelled, 0, memory_order_relaxed);
    atomic_store_explicit(&task->word, mp__task_word(number, 0, MP__TASK_QUEUED),
                          memory_order_release);
    /* Sequentially consistent, as is a worker's idle bit: one of the two sees the other. */
    atomic_store(&pool->shared->tail, number + 1);
    mp__queue_ring(pool->shared);
    if (pool->serial) {
        pthread_mutex_unlock(&pool->mutex);
        mp__serial_run(pool);
        pthread_mutex_lock(&pool->mutex);
    }
}

void mp__queue_release(mp_pool *pool, uint64_t number)
{
    struct mp__task *task = mp__queue_task(pool->shared, number);

    if (mp__task_settled(task))
        drop(task);
    segment_of(pool, number)->held--;
}

void mp__queue_free(mp_pool *pool)
{
    for (size_t i = 0; pool->segments && i < MP__DIRECTORY_SIZE; i++) {
        struct mp__task *tasks = pool->segments[i].tasks;
        for (unsigned k = 0; tasks && k < MP__SEGMENT_TASKS; k++)
            drop(&tasks[k]);
        mp_shared_free(tasks);
    }
    while (pool->spare_count)
        mp_shared_free(pool->spare[--pool->spare_count]);
}

void mp__queue_rewind(struct mp__pool_shared *shared, uint64_t number)
{
    uint64_t head = atomic_load(&shared->head);

    while (head > number) {
        uint64_t furthest = atomic_load(&shared->furthest);
        while (furthest < head &&
               !atomic_compare_exchange_weak(&shared->furthest, &furthest, head))
            continue;
        if (atomic_compare_exchange_weak(&shared->head, &head, number))
            return;
    }
}

uint64_t mp__queue_begun(struct mp__pool_shared *shared)
{
    /* In this order: who moves the head back has said before where it was. */
    uint64_t head = atomic_load(&shared->head);
    uint64_t furthest = atomic_load(&shared->furthest);

    return head > furthest ? head : furthest;
}

bool mp__queue_has_work(struct mp__pool_shared *shared)
{
    uint64_t number;

    return atomic_load(&shared->head) < atomic_load(&shared->tail) ||
           mp__open_lowest(shared, &number);
}

/* Wake `worker` if its idle bit is still there to be taken. */
static bool wake(struct mp__pool_shared *shared, unsigned worker)
{
    uint64_t bit = UINT64_C(1) << worker % 64;

    if (!(atomic_fetch_and(&shared->idle[worker / 64], ~bit) & bit))
        return false;
    atomic_store(&shared->workers[worker].bell, 1);
    mp__unpark(&shared->workers[worker].bell, 1);
    return true;
}

uint64_t mp__queue_spin_begin(struct mp__pool_shared *shared, unsigned worker)
{
    static uint64_t turns;
    uint64_t nobody = 0, own = ++turns << 16 | (worker + 1);

    return atomic_compare_exchange_strong(&shared->spinner, &nobody, own) ? own : 0;
}

void mp__queue_spin_end(struct mp__pool_shared *shared, uint64_t spinner)
{
    atomic_compare_exchange_strong(&shared->spinner, &spinner, 0);
}

/* It may be stopped before it sees what it is to do.  Whoever sets the flag rings; others
   that find it set have published their work before the supervisor clears it and looks. */
static void rely_on_spinner(struct mp__pool_shared *shared)
{
    if (!atomic_load(&shared->relied) && !atomic_exchange(&shared->relied, 1))
        mp__supervisor_ring(shared);
}

uint64_t mp__queue_relieve(struct mp__pool_shared *shared, uint64_t spinner)
{
    atomic_store(&shared->relied, 0);
    if (spinner)
        mp__queue_spin_end(shared, spinner);
    if (mp__queue_has_work(shared))
        mp__queue_ring(shared);
    return atomic_load(&shared->spinner);
}

void mp__queue_ring(struct mp__pool_shared *shared)
{
    if (atomic_load(&shared->spinner)) {
        rely_on_spinner(shared);
        return;
    }
    for (unsigned i = 0; i < shared->idle_words; i++) {
        uint64_t idle = atomic_load(&shared->idle[i]);
        while (idle) {
            if (wake(shared, i * 64 + (unsigned)__builtin_ctzll(idle)))
                return;
            idle &= idle - 1;
        }
    }
    if (atomic_load(&shared->resting))
        mp__supervisor_ring(shared);
}

void mp__queue_ring_all(struct mp__pool_shared *shared)
{
    for (unsigned i = 0; i < shared->place_count; i++) {
        struct mp__worker *worker = &shared->workers[i];
        mp__queue_idle_clear(shared, i);
        atomic_store(&worker->bell, 1);
        mp__unpark(&worker->bell, 1);
        if (atomic_load(&worker->standby))
            mp__unpark(&worker->standby, 1);
    }
}

void mp__queue_idle_clear(struct mp__pool_shared *shared, unsigned worker)
{
    atomic_fetch_and(&shared->idle[worker / 64], ~(UINT64_C(1) << worker % 64));
}

unsigned mp__queue_awake(const struct mp__pool_shared *shared)
{
    unsigned idle = 0;

    for (unsigned i = 0; i < shared->idle_words; i++)
        idle += (unsigned)__builtin_popcountll(
            atomic_load_explicit(&shared->idle[i], memory_order_relaxed));
    unsigned wanted = atomic_load_explicit(&shared->wanted, memory_order_relaxed);
    return idle < wanted ? wanted - idle : 0;
}

/*
 * The table of open maps lets workers join a map that another holds the number of.  It is
 * a hint: the holder works on its map whether it is there or not.  Whoever removes a map
 * looks again whether it has items, and whoever brings items inserts afterwards.
 */
void mp__open_insert(struct mp__pool_shared *shared, uint64_t number)
{
    for (unsigned i = 0; i < shared->open_size; i++)
        if (atomic_load(&shared->open[i]) == number + 1)
            return;
    for (unsigned i = 0; i < shared->open_size; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&shared->open[i], &none, number + 1))
            return;
    }
}

void mp__open_remove(struct mp__pool_shared *shared, uint64_t number)
{
    for (unsigned i = 0; i < shared->open_size; i++) {
        uint64_t there = number + 1;
        atomic_compare_exchange_strong(&shared->open[i], &there, 0);
    }
}

bool mp__open_lowest(struct mp__pool_shared *shared, uint64_t *number)
{
    uint64_t lowest = UINT64_MAX;

    for (unsigned i = 0; i < shared->open_size; i++) {
        uint64_t there = atomic_load(&shared->open[i]);
        if (there && there - 1 < lowest)
            lowest = there - 1;
    }
    *number = lowest;
    return lowest != UINT64_MAX;
}
