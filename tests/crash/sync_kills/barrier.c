/* SPDX-License-Identifier: MIT */
/*
 * barrier.c - a barrier that all workers pass, again and again.
 *
 * As many parties as workers: while a worker has come back from a wait and lives, the
 * barrier can't be passed again, so the ledger knows which passage it was.  A death
 * breaks the barrier, and who hears of it resets it.
 */
#include "crash/sync_kills/harness.h"

static mp_barrier *barrier;

/* Who lives and has been here before, but is not among those who wait.  The dead may be
   among them: they may have died just now. */
static bool is_missing(const struct seat *seat)
{
    uint32_t person = seat->person;
    bool is_new = seat->is_new;

    return !is_new && seat->phase != WAITING && !is_doomed(person);
}

static int barrier_action(void *arg)
{
    (void)arg;
    uint32_t next = ledger->completions + 1;
    unsigned missing = 0;

    for (unsigned i = 0; i < ledger->seats_count; i++)
        missing += is_missing(&ledger->seats[i]);
    /* From the gate the test breaks the barrier, also while the action runs. */
    if (missing && ledger->gate % 2 == 0)
        wrong("passed before all had come", (int)missing);
    atomic_store(&ledger->taken[next % 256], 0);
    atomic_store(&ledger->completions, next);
    return 0;
}

static void barrier_open(unsigned workers)
{
    assert_int_equal(
        mp_barrier_new(&barrier, workers, MP_BARRIER_OPTIONS(.action = barrier_action)),
        0);
}

static void barrier_close(void)
{
    mp_barrier_free(barrier);
}

static bool barrier_round(void)
{
    unsigned index = MANY;

    enter(WAITING);
    my_seat->is_new = false;
    int err = mp_barrier_wait(barrier, MP_FOREVER, &index);
    enter(OUT);
    if (err == ECANCELED) {
        if (ledger->gate % 2 == 0 && mp_barrier_broken(barrier))
            expect(mp_barrier_reset(barrier), 0, "reset");
        return false;
    }
    expect(err, 0, "wait");
    if (index >= ledger->seats_count)
        wrong("no such index", (int)index);
    if (atomic_fetch_or(&ledger->taken[ledger->completions % 256], UINT64_C(1)
                                                                       << index) &
        UINT64_C(1) << index)
        wrong("two have the same index", (int)index);
    dwell();
    return true;
}

/* Who is about to reset it has not come yet: it may have to be broken again. */
static void barrier_release(bool all_are_settled)
{
    if (all_are_settled && !mp_barrier_broken(barrier))
        expect(mp_barrier_abort(barrier), 0, "abort at the gate");
}

static void barrier_look(void)
{
    expect((int)mp_barrier_n_waiting(barrier), 0, "nobody waits");
    expect(mp_barrier_reset(barrier), 0, "reset in peace");
    expect(mp_barrier_broken(barrier), false, "whole again");
    expect(mp_barrier_wait(barrier, MP_NOWAIT, NULL), ETIMEDOUT, "alone");
    expect(mp_barrier_broken(barrier), true, "broken by who has no time");
    expect(mp_barrier_wait(barrier, MP_FOREVER, NULL), ECANCELED, "wait while broken");
    expect(mp_barrier_reset(barrier), 0, "reset once more");
}

const struct scene barrier_scene = {
    .name = "barrier",
    .burst = 8,
    .open = barrier_open,
    .close = barrier_close,
    .round = barrier_round,
    .release = barrier_release,
    .look = barrier_look,
};
