/* SPDX-License-Identifier: MIT */
/*
 * watch.c - items that take too long, or were cancelled, are ended with their workers.
 *
 * A worker is doomed first, in a word that says which item is meant (pool.h), and only
 * if that is the one that it is still at: so nothing else is ever hit.
 */
#include <signal.h>

#include "base/log.h"
#include "pool/supervisor.h"

static int64_t grace(const struct mp__supervisor *self)
{
    return self->shared->options.grace_ms * MP__MILLISECOND;
}

static void end_worker(struct mp__supervisor *self, unsigned place, mp_failure_kind why,
                       int64_t now)
{
    struct mp__charge *charge = &self->charges[place];

    charge->ending = why;
    mp__log(MP_LOG_WARNING, "PoolWorker-%u (pid %d) is ended: its item %s", place + 1,
            atomic_load(&self->shared->workers[place].pid),
            why == MP_FAILURE_TIME_LIMIT ? "took too long" : "was cancelled");
    charge->act_at = now + grace(self);
    kill(atomic_load(&self->shared->workers[place].pid), SIGTERM);
}

/* It has been sent SIGTERM and is there still. */
static int64_t insist(struct mp__supervisor *self, unsigned place, int64_t now)
{
    struct mp__charge *charge = &self->charges[place];

    if (now < charge->act_at)
        return charge->act_at;
    kill(atomic_load(&self->shared->workers[place].pid), SIGKILL);
    charge->act_at = MP__NEVER;
    return MP__NEVER;
}

static int64_t watch_cancel(struct mp__supervisor *self, unsigned place, int64_t now)
{
    struct mp__worker *worker = &self->shared->workers[place];
    struct mp__charge *charge = &self->charges[place];
    uint64_t asked = atomic_load(&worker->cancel);

    if (!asked || atomic_load(&worker->current) != asked)
        return MP__NEVER;
    if (charge->cancel != asked) {
        /* A task that looks whether it should stop is given the time to do so. */
        charge->cancel = asked;
        charge->act_at = now + (atomic_load(&worker->polls) ? grace(self) : 0);
    }
    if (now < charge->act_at)
        return charge->act_at;
    if (atomic_compare_exchange_strong(&worker->current, &asked, asked | MP__DOOMED))
        end_worker(self, place, MP_FAILURE_CANCELLED, now);
    return charge->act_at;
}

static int64_t watch_deadline(struct mp__supervisor *self, unsigned place, int64_t now)
{
    struct mp__worker *worker = &self->shared->workers[place];
    uint64_t deadline = atomic_load(&worker->deadline);

    if (!deadline || deadline == MP__DOOMED)
        return MP__NEVER;
    if (now < (int64_t)deadline)
        return (int64_t)deadline;
    /* No two items of a worker have the same deadline, unless both are over. */
    if (!atomic_compare_exchange_strong(&worker->deadline, &deadline, MP__DOOMED))
        return now;
    end_worker(self, place, MP_FAILURE_TIME_LIMIT, now);
    return self->charges[place].act_at;
}

static int64_t watch_place(struct mp__supervisor *self, unsigned place, int64_t now)
{
    if (!atomic_load(&self->shared->workers[place].pid))
        return MP__NEVER;
    if (self->charges[place].ending)
        return insist(self, place, now);

    int64_t cancel = watch_cancel(self, place, now);
    if (self->charges[place].ending)
        return cancel;
    int64_t deadline = watch_deadline(self, place, now);
    return cancel < deadline ? cancel : deadline;
}

static int64_t watch_all(struct mp__supervisor *self)
{
    int64_t next = MP__NEVER, now = mp__now();

    for (unsigned place = 0; place < self->shared->place_count; place++) {
        int64_t when = watch_place(self, place, now);
        if (when < next)
            next = when;
    }
    return next;
}

int64_t mp__watch(struct mp__supervisor *self)
{
    struct mp__pool_shared *shared = self->shared;
    int64_t said = MP__NEVER, next = watch_all(self);

    /* Partner of mp__limits_begin: say when, then look whether there is anything before. */
    while (next < said || said == MP__NEVER) {
        said = next;
        atomic_store(&shared->looks_at, (uint64_t)said);
        next = watch_all(self);
        if (said == MP__NEVER && next == MP__NEVER)
            break;
    }
    return said;
}
