/* SPDX-License-Identifier: MIT */
/* queue_wait.c - waiting at the ends of a queue: see queue_wait.h. */
#include "ipc/queue_wait.h"

#include <errno.h>

#include "base/thread_local.h"

#define LINGER_NS 300

/* Of one who does not want to wait, for an end that others use for a moment. */
#define MOMENT (100 * MP__MILLISECOND)

static MP__THREAD_LOCAL struct mp__spin history;

int mp__queue_lock_slowly(mp_lock *lock, int64_t deadline)
{
    int err = mp__lock_acquire(lock, deadline ? deadline : mp__now() + MOMENT);

    return err == EOWNERDEAD ? 0 : err;
}

struct awaited {
    const mp_queue *queue;
    mp__queue_there_fn *there;
};

static bool has_come(void *arg)
{
    const struct awaited *awaited = arg;

    return awaited->there(awaited->queue) || mp__queue_is_closed(awaited->queue);
}

/*
 * A stream of which each message is taken as soon as it comes is several times slower than
 * one that is taken by handfuls, since its cache lines go to and fro for each.  So who
 * had to wait for a moment goes on waiting for another, unless that brought no more
 * messages the last times.
 */
static void linger(const mp_queue *queue, mp__queue_there_fn *there)
{
    static MP__THREAD_LOCAL struct mp__spin gains;

    if (!mp__spin_wanted(&gains))
        return;
    int64_t until = mp__now() + LINGER_NS;
    do
        mp__cpu_relax();
    while (mp__now() < until);
    mp__spin_ended(&gains, there(queue) < 2);
}

int mp__queue_wait(mp_queue *queue, struct mp__bell *bell, mp__queue_there_fn *there,
                   struct mp__queue_wait *wait)
{
    struct awaited awaited = {queue, there};

    if (!wait->deadline || wait->over)
        return ETIMEDOUT;
    if (!wait->spun) {
        wait->spun = true;
        if (mp__spin_until(&history, wait->deadline, has_come, &awaited)) {
            linger(queue, there);
            return 0;
        }
    }

    uint32_t calls = mp__bell_come(bell);
    mp__sleep_watch(&wait->sleep); /* for those who die before their ring */
    if (has_come(&awaited))
        return 0;
    int err = mp__bell_wait(bell, calls, &wait->sleep);
    wait->over = err == ETIMEDOUT;
    return wait->over ? 0 : err;
}

int mp__queue_leave(mp_queue *queue, struct mp__bell *bell, mp__queue_there_fn *there,
                    int err)
{
    if (there(queue)) {
        atomic_thread_fence(memory_order_seq_cst);
        mp__bell_ring(bell, 1);
    }
    return err;
}
