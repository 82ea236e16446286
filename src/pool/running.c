/* SPDX-License-Identifier: MIT */
/* running.c - the running item: its limits, its text, and what it may ask. */
#include "pool/running.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "pool/job.h"

static struct mp__running running;

void mp__running_put_aside(struct mp__running *kept)
{
    *kept = running;
}

void mp__running_take_up(const struct mp__running *kept)
{
    running = *kept;
}

void mp__running_enter(struct mp__pool_shared *shared, unsigned place)
{
    running.shared = shared;
    running.self = &shared->workers[place];
    running.done_before = atomic_load(&running.self->done);
}

void mp__running_begin(const struct mp__task *task, const struct mp__job *job)
{
    running.task = task;
    running.job = job;
    running.soft_until = 0;
    if (atomic_load_explicit(&running.self->polls, memory_order_relaxed))
        atomic_store_explicit(&running.self->polls, 0, memory_order_relaxed);
}

void mp__limits_begin(const struct mp__limits *limits)
{
    struct mp__pool_shared *shared = running.shared;

    if (!limits->hard && !limits->soft)
        return;
    int64_t now = mp__now();
    running.soft_until = limits->soft ? now + limits->soft * MP__MILLISECOND : 0;
    if (!limits->hard)
        return;
    uint64_t until = (uint64_t)(now + limits->hard * MP__MILLISECOND);
    /* Partner of the supervisor, which says when it looks, and then looks once more. */
    atomic_store(&running.self->deadline, until);
    if (atomic_load(&shared->looks_at) > until)
        mp__supervisor_ring(shared);
}

void mp__limits_end(void)
{
    uint64_t until = atomic_load_explicit(&running.self->deadline, memory_order_relaxed);

    if (until && (until == MP__DOOMED ||
                  !atomic_compare_exchange_strong(&running.self->deadline, &until, 0)))
        mp__await_end();
}

void mp__await_end(void)
{
    for (;;)
        pause();
}

uint32_t mp__worker_may_run(uint32_t items)
{
    struct mp__worker *self = running.self;
    uint64_t done = atomic_load_explicit(&self->done, memory_order_relaxed);

    if (mp__worker_leaves())
        return 0;
    if (items < self->items_most - done)
        return items;
    /* These are its last: time to have somebody else made ready. */
    if (!atomic_exchange(&self->worn, 1))
        mp__supervisor_ring(running.shared);
    return (uint32_t)(self->items_most - done);
}

/* A worker is born with what its parent had; it may run at least one item with that. */
static bool has_grown(size_t most, uint64_t done)
{
    struct rusage usage;

#ifdef __APPLE__
    const size_t unit = 1;
#else
    const size_t unit = 1024;
#endif
    return done != running.done_before && getrusage(RUSAGE_SELF, &usage) == 0 &&
           (size_t)usage.ru_maxrss > most / unit;
}

enum mp__leave mp__worker_leaves(void)
{
    const struct mp__worker *self = running.self;
    size_t memory = running.shared->options.max_memory_per_child;

    if (atomic_load_explicit(&self->surplus, memory_order_relaxed))
        return MP__LEAVES_SURPLUS;
    uint64_t done = atomic_load_explicit(&self->done, memory_order_relaxed);
    if (done >= self->items_most)
        return MP__LEAVES_WORN;
    return memory && has_grown(memory, done) ? MP__LEAVES_WORN : MP__STAYS;
}

int mp_task_fail(int error, const char *format, ...)
{
    va_list arguments;

    if (!running.shared || !format)
        return error;
    va_start(arguments, format);
    vsnprintf(running.text, sizeof(running.text), format, arguments);
    va_end(arguments);
    running.error = error;
    return error;
}

/* The text is used up: a later task that fails without one must not inherit it. */
const char *mp__task_text(int error)
{
    bool meant = running.error == error;

    running.error = 0;
    return meant ? running.text : "";
}

bool mp_task_should_stop(void)
{
    struct mp__worker *self = running.self;

    if (!running.shared)
        return false;
    uint64_t current = atomic_load_explicit(&self->current, memory_order_relaxed);
    current &= ~MP__DOOMED;
    if (!current)
        return false;
    if (!atomic_load_explicit(&self->polls, memory_order_relaxed))
        atomic_store(&self->polls, 1);
    return atomic_load_explicit(&self->cancel, memory_order_relaxed) == current ||
           atomic_load(&running.shared->state) == MP__POOL_TERMINATED ||
           (running.soft_until && mp__now() >= running.soft_until);
}

uint64_t mp_task_index(void)
{
    if (!running.shared)
        return 0;
    if (!running.job)
        return running.task ? running.task->index : 0;
    return running.job->first + (mp__worker_at(running.self) >> 1);
}

/* As splitmix64 does it: every bit of the input concerns every bit of the output. */
static uint64_t mix(uint64_t bits)
{
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

uint64_t mp_task_seed(void)
{
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);

    if (!running.shared || (!running.job && !running.task))
        return 0;
    uint64_t call = running.job ? running.job->call : running.task->call;
    uint64_t seed = mix(running.shared->options.seed + golden);
    seed = mix(seed + (call + 1) * golden);
    return mix(seed + (mp_task_index() + 1) * golden);
}
