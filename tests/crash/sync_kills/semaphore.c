/* SPDX-License-Identifier: MIT */
/* semaphore.c - three tokens: those that nobody owns, and those that come back. */
#include "crash/sync_kills/harness.h"

#define TOKENS 3

/*
 * Not owned: what a worker held when it died is lost, and the test counts how many it
 * must put back: surely one for each that died with a token, perhaps one for each that
 * died in a call.  Of three tokens at most two are lost before that.  Half of what is
 * surely lost comes back at once, so that more than two can die between two gates.
 */
static mp_semaphore *semaphore;
static bool owned;

static void semaphore_open(unsigned workers)
{
    (void)workers;
    assert_int_equal(
        mp_semaphore_new(&semaphore, TOKENS, MP_SEMAPHORE_OPTIONS(.max_value = TOKENS)),
        0);
    owned = false;
}

static void semaphore_close(void)
{
    mp_semaphore_free(semaphore);
}

/* Of both kinds of tokens; but only owned ones tell of a death. */
static bool semaphore_round(void)
{
    int timeout = some_timeout();

    enter(ASKING);
    int err = mp_semaphore_acquire(semaphore, timeout);
    if (!has_got(err, timeout)) {
        enter(OUT);
        return false;
    }
    if (err && owned)
        atomic_fetch_add(&ledger->told, 1);
    else
        expect(err, 0, "acquire");
    enter(INSIDE);
    if (count_phase(INSIDE) > TOKENS)
        wrong("more are inside than there are tokens", 0);
    dwell();
    enter(LEAVING);
    expect(mp_semaphore_release(semaphore), 0, "release");
    enter(OUT);
    dwell();
    return true;
}

static void semaphore_died(const struct seat *seat)
{
    if (seat->phase == INSIDE && roll(2))
        expect(mp_semaphore_release(semaphore), 0, "put a token back at once");
    else if (seat->phase == INSIDE)
        ledger->lost++;
    else if (seat->phase == ASKING || seat->phase == LEAVING)
        ledger->doubtful++;
}

static unsigned semaphore_may_die(void)
{
    return TOKENS - 1 - ledger->lost - ledger->doubtful;
}

static void semaphore_look(void)
{
    unsigned value = mp_semaphore_value(semaphore);

    if (value + ledger->lost > TOKENS)
        wrong("there are too many tokens", (int)value);
    if (value + ledger->lost + ledger->doubtful < TOKENS)
        wrong("tokens have vanished", (int)value);
    for (; value < TOKENS; value++)
        expect(mp_semaphore_release(semaphore), 0, "put a token back");
    expect(mp_semaphore_release(semaphore), EOVERFLOW, "put back one too many");
    expect((int)mp_semaphore_value(semaphore), TOKENS, "value");
    ledger->lost = ledger->doubtful = 0;
}

const struct scene semaphore_scene = {
    .name = "semaphore",
    .burst = 16,
    .open = semaphore_open,
    .close = semaphore_close,
    .round = semaphore_round,
    .died = semaphore_died,
    .may_die = semaphore_may_die,
    .look = semaphore_look,
};

/* Owned: tokens of the dead come back by themselves, and each tells of it once. */
static void owned_open(unsigned workers)
{
    (void)workers;
    assert_int_equal(
        mp_semaphore_new(&semaphore, TOKENS, MP_SEMAPHORE_OPTIONS(.owned = 1)), 0);
    owned = true;
}

static void owned_died(const struct seat *seat)
{
    if (seat->phase == INSIDE)
        ledger->lost++;
    else if (seat->phase == ASKING || seat->phase == LEAVING)
        ledger->doubtful++;
}

static void owned_look(void)
{
    expect((int)mp_semaphore_value(semaphore), TOKENS, "value");
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < TOKENS; i++) {
            int err = mp_semaphore_acquire(semaphore, MP_NOWAIT);
            if (err && (again || err != EOWNERDEAD))
                wrong("acquire in peace", err);
            else if (err)
                atomic_fetch_add(&ledger->told, 1);
        }
        expect(mp_semaphore_acquire(semaphore, MP_NOWAIT), ETIMEDOUT, "one too many");
        for (unsigned i = 0; i < TOKENS; i++)
            expect(mp_semaphore_release(semaphore), 0, "release in peace");
        expect(mp_semaphore_release(semaphore), EPERM, "release what is not one's own");
    }
    /* Who died after it was told, and before it counted that, had a token itself. */
    if (ledger->told < ledger->lost)
        wrong("a death was not told", (int)ledger->told);
    if (ledger->told > ledger->lost + ledger->doubtful)
        wrong("a death was told of one who held nothing", (int)ledger->told);
}

const struct scene owned_scene = {
    .name = "owned semaphore",
    .burst = 16,
    .open = owned_open,
    .close = semaphore_close,
    .round = semaphore_round,
    .died = owned_died,
    .look = owned_look,
};
