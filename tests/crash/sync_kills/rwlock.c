/* SPDX-License-Identifier: MIT */
/* rwlock.c - many read or one writes; whoever does sees in the ledger who else does. */
#include "crash/sync_kills/harness.h"

static mp_rwlock *rwlock;

static void rwlock_open(unsigned workers)
{
    (void)workers;
    assert_int_equal(mp_rwlock_new(&rwlock, NULL), 0);
}

static void rwlock_close(void)
{
    mp_rwlock_free(rwlock);
}

static void expect_no_writer(void)
{
    uint32_t holder = atomic_load_explicit(&ledger->holder, memory_order_relaxed);

    if (holder)
        wrong("it reads beside a writer, or a death was not told", (int)holder);
}

static void expect_no_reader(void)
{
    if (count_phase(READING) != 0)
        wrong("it writes beside a reader", 0);
}

static void write_something(int told)
{
    claim(told);
    enter(INSIDE);
    expect_no_reader();
    dwell();
    expect_no_reader();
    enter(LEAVING);
    disclaim();
}

static void read_something(void)
{
    bool twice = roll(4) == 0;

    enter(READING);
    expect_no_writer();
    if (twice)
        expect(mp_rwlock_acquire_read(rwlock, MP_FOREVER), 0, "read again");
    dwell();
    if (twice)
        expect(mp_rwlock_release(rwlock), 0, "release one of two");
    expect_no_writer();
    enter(LEAVING);
}

/* Whoever is told of a writer's death holds it for writing, though it asked to read. */
static bool rwlock_round(void)
{
    int timeout = some_timeout();
    bool writes = roll(3) == 0;

    enter(ASKING);
    int err = writes ? mp_rwlock_acquire_write(rwlock, timeout)
                     : mp_rwlock_acquire_read(rwlock, timeout);
    if (!has_got(err, timeout)) {
        enter(OUT);
        return false;
    }
    if (writes || err)
        write_something(err);
    else
        read_something();
    expect(mp_rwlock_release(rwlock), 0, "release");
    enter(OUT);
    dwell();
    return true;
}

static void rwlock_look(void)
{
    int err = roll(2) ? mp_rwlock_acquire_write(rwlock, scaled(1000))
                      : mp_rwlock_acquire_read(rwlock, scaled(1000));

    claim_in_peace(err);
    disclaim();
    expect(mp_rwlock_release(rwlock), 0, "release in peace");
    expect(mp_rwlock_acquire_write(rwlock, MP_NOWAIT), 0, "write after the repair");
    expect(mp_rwlock_release(rwlock), 0, "release after the repair");
    expect(mp_rwlock_acquire_read(rwlock, MP_NOWAIT), 0, "read after the repair");
    expect(mp_rwlock_release(rwlock), 0, "release after the repair");
    expect(mp_rwlock_release(rwlock), EPERM, "nobody holds it");
}

const struct scene rwlock_scene = {
    .name = "rwlock",
    .burst = 16,
    .open = rwlock_open,
    .close = rwlock_close,
    .round = rwlock_round,
    .look = rwlock_look,
};
