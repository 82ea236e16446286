/* SPDX-License-Identifier: MIT */
/* lock.c - locks: taken once, and taken by the same one again. */
#include "crash/sync_kills/harness.h"

/* --- lock ------------------------------------------------------------------------- */

static mp_lock *lock;

static void lock_open(unsigned workers)
{
    (void)workers;
    assert_int_equal(mp_lock_new(&lock, NULL), 0);
}

static void lock_close(void)
{
    mp_lock_free(lock);
}

static bool lock_round(void)
{
    int timeout = some_timeout();

    enter(ASKING);
    int err = mp_lock_acquire(lock, timeout);
    if (!has_got(err, timeout)) {
        enter(OUT);
        return false;
    }
    claim(err);
    enter(INSIDE);
    dwell();
    enter(LEAVING);
    disclaim();
    expect(mp_lock_release(lock), 0, "release");
    enter(OUT);
    dwell();
    return true;
}

static void lock_look(void)
{
    claim_in_peace(mp_lock_acquire(lock, MP_NOWAIT));
    disclaim();
    expect(mp_lock_release(lock), 0, "release in peace");
    expect(mp_lock_acquire(lock, MP_NOWAIT), 0, "acquire after the repair");
    expect(mp_lock_release(lock), 0, "release after the repair");
    expect(mp_lock_release(lock), EOVERFLOW, "nobody holds it");
}

const struct scene lock_scene = {
    .name = "lock",
    .burst = 16,
    .open = lock_open,
    .close = lock_close,
    .round = lock_round,
    .look = lock_look,
};

/* --- rlock ------------------------------------------------------------------------ */

static mp_rlock *rlock;

static void rlock_open(unsigned workers)
{
    (void)workers;
    assert_int_equal(mp_rlock_new(&rlock, NULL), 0);
}

static void rlock_close(void)
{
    mp_rlock_free(rlock);
}

static bool rlock_round(void)
{
    int timeout = some_timeout();
    unsigned depth = roll(3);

    enter(ASKING);
    int err = mp_rlock_acquire(rlock, timeout);
    if (!has_got(err, timeout)) {
        enter(OUT);
        return false;
    }
    claim(err);
    enter(INSIDE);
    for (unsigned i = 0; i < depth; i++)
        expect(mp_rlock_acquire(rlock, MP_NOWAIT), 0, "acquire again");
    dwell();
    enter(LEAVING);
    for (unsigned i = 0; i < depth; i++)
        expect(mp_rlock_release(rlock), 0, "release one of several");
    disclaim();
    expect(mp_rlock_release(rlock), 0, "release");
    expect(mp_rlock_release(rlock), EPERM, "release what is not one's own");
    enter(OUT);
    dwell();
    return true;
}

static void rlock_look(void)
{
    claim_in_peace(mp_rlock_acquire(rlock, MP_NOWAIT));
    expect(mp_rlock_acquire(rlock, MP_NOWAIT), 0, "acquire again in peace");
    expect(mp_rlock_release(rlock), 0, "release one of two in peace");
    disclaim();
    expect(mp_rlock_release(rlock), 0, "release in peace");
    expect(mp_rlock_acquire(rlock, MP_NOWAIT), 0, "acquire after the repair");
    expect(mp_rlock_release(rlock), 0, "release after the repair");
    expect(mp_rlock_release(rlock), EPERM, "nobody holds it");
}

const struct scene rlock_scene = {
    .name = "rlock",
    .burst = 16,
    .open = rlock_open,
    .close = rlock_close,
    .round = rlock_round,
    .look = rlock_look,
};
