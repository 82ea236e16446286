/* SPDX-License-Identifier: MIT */
/*
 * condition.c - workers that notify, or wait to be notified.
 *
 * `due` counts, under the lock, the notifications that somebody is still to get.  It is
 * exact as long as nobody dies who waits or holds the lock.
 *
 * At the gate nobody is at work but those who wait.  What was due must find its way to
 * them; then the test notifies one after the other, or all at once, until all have
 * come.
 */
#include "crash/sync_kills/harness.h"

static mp_condition *condition;

static void condition_open(unsigned workers)
{
    (void)workers;
    assert_int_equal(mp_condition_new(&condition, NULL), 0);
}

static void condition_close(void)
{
    mp_condition_free(condition);
}

/* The lock was taken: what a dead holder was about to count is not known any more. */
static void condition_enter(int error)
{
    claim(error);
    if (error)
        ledger->unsettled = true;
}

static void notify_somebody(void)
{
    int waiting = (int)count_phase(WAITING);

    if (roll(8) == 0) {
        ledger->due = waiting;
        expect(mp_condition_notify_all(condition), 0, "notify_all");
    } else if (waiting > ledger->due) {
        ledger->due++;
        expect(mp_condition_notify(condition, 1), 0, "notify");
    }
}

static void wait_for_somebody(void)
{
    int timeout = some_timeout();

    enter(WAITING);
    disclaim();
    int err = mp_condition_wait(condition, timeout);
    if (err == ETIMEDOUT && timeout == MP_FOREVER)
        wrong("wait", err);
    if (err && err != ETIMEDOUT && err != EOWNERDEAD)
        wrong("wait", err);
    condition_enter(err == EOWNERDEAD ? err : 0);
    enter(INSIDE);
    if (err == 0 && ledger->due > 0)
        ledger->due--;
    else if (err == 0 && ledger->kills == 0)
        wrong("woken by nobody", 0);
}

static bool condition_round(void)
{
    enter(ASKING);
    int err = mp_condition_acquire(condition, MP_FOREVER);

    has_got(err, MP_FOREVER);
    condition_enter(err);
    enter(INSIDE);
    dwell();
    if (roll(3) == 0)
        notify_somebody();
    else
        wait_for_somebody();
    enter(LEAVING);
    disclaim();
    expect(mp_condition_release(condition), 0, "release");
    enter(OUT);
    dwell();
    return true;
}

static void condition_died(const struct seat *seat)
{
    ledger->killed_in = (enum phase)seat->phase;
    if (seat->phase == WAITING)
        ledger->unsettled = true;
}

/* By the test, when only those are left who wait: it counts how many they were, of
   which there must be fewer before it calls again. */
static void call_waiters(bool all)
{
    claim_in_peace(mp_condition_acquire(condition, scaled(1000)));
    unsigned waiting = count_phase(WAITING);
    ledger->calls = all ? 1 : waiting;
    ledger->due = all ? (int)waiting : 1;
    expect(mp_condition_notify(condition, all ? SIZE_MAX : 1), 0, "notify at the gate");
    disclaim();
    expect(mp_condition_release(condition), 0, "release at the gate");
}

/*
 * One is notified and one is killed.  Should they be the same, another must get the
 * notification in its place, unless the dead one had come back with it.
 */
static void call_and_kill(void)
{
    unsigned place = roll(ledger->seats_count);
    uint32_t told = ledger->told;

    while (ledger->seats[place].phase != WAITING)
        place = (place + 1) % ledger->seats_count;
    call_waiters(false);
    unsigned called = ledger->calls;
    ledger->calls = 0;
    strike_one(&ledger->seats[place], roll(30000));
    claim_in_peace(mp_condition_acquire(condition, scaled(1000)));
    if (ledger->killed_in == WAITING && ledger->told == told)
        ledger->calls = called - 1;
    disclaim();
    expect(mp_condition_release(condition), 0, "release after the kill");
}

/* Everybody waits who has not come: one call, and then the next one has to come. */
static void condition_release(bool all_are_settled)
{
    unsigned waiting = count_phase(WAITING);

    if (!all_are_settled || waiting == 0 ||
        (ledger->calls != 0 && waiting >= ledger->calls) ||
        (ledger->due > 0 && !ledger->unsettled))
        return;
    if (ledger->kills > 0 && waiting > 1 && ledger->gate % 4 == 1)
        call_and_kill();
    else
        call_waiters(roll(4) == 0);
}

static void condition_look(void)
{
    claim_in_peace(mp_condition_acquire(condition, MP_NOWAIT));
    expect(mp_condition_notify_all(condition), 0, "notify nobody");
    disclaim();
    expect(mp_condition_wait(condition, MP_NOWAIT), ETIMEDOUT, "wait in vain");
    expect(mp_condition_release(condition), 0, "release in peace");
    expect(mp_condition_release(condition), EPERM, "nobody holds it");
    if (ledger->due != 0 && !ledger->unsettled)
        wrong("notifications were lost", ledger->due);
    ledger->due = 0;
    ledger->unsettled = false;
}

const struct scene condition_scene = {
    .name = "condition",
    .burst = 8,
    .open = condition_open,
    .close = condition_close,
    .round = condition_round,
    .died = condition_died,
    .release = condition_release,
    .look = condition_look,
    .may_rest = true,
};
