/* SPDX-License-Identifier: MIT */
/*
 * event.c - an event that workers set, clear and wait for.
 *
 * At the gate it is set once, when nobody can clear it any more: all must come.
 */
#include "crash/sync_kills/harness.h"

static mp_event *event;

static void event_open(unsigned workers)
{
    (void)workers;
    assert_int_equal(mp_event_new(&event, NULL), 0);
}

static void event_close(void)
{
    mp_event_free(event);
}

static bool event_round(void)
{
    unsigned side = roll(8);
    int timeout = some_timeout();

    if (side == 0)
        expect(mp_event_set(event), 0, "set");
    if (side < 2)
        expect(mp_event_clear(event), 0, "clear");
    if (side == 2)
        expect(mp_event_set(event), 0, "set");
    if (side > 2) {
        enter(WAITING);
        int err = mp_event_wait(event, timeout);
        enter(OUT);
        if (err && (timeout == MP_FOREVER || err != ETIMEDOUT))
            wrong("wait", err);
    }
    dwell();
    return true;
}

static void event_release(bool all_are_settled)
{
    if (all_are_settled && ledger->calls++ == 0)
        expect(mp_event_set(event), 0, "set at the gate");
}

static void event_look(void)
{
    expect(mp_event_set(event), 0, "set in peace");
    expect(mp_event_is_set(event), true, "is set");
    expect(mp_event_wait(event, MP_NOWAIT), 0, "wait for what is set");
    expect(mp_event_clear(event), 0, "clear in peace");
    expect(mp_event_is_set(event), false, "is cleared");
    expect(mp_event_wait(event, MP_NOWAIT), ETIMEDOUT, "wait for what is cleared");
}

const struct scene event_scene = {
    .name = "event",
    .burst = 16,
    .open = event_open,
    .close = event_close,
    .round = event_round,
    .release = event_release,
    .look = event_look,
    .may_rest = true,
};
