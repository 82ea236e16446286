/* SPDX-License-Identifier: MIT */
/* test_sentry.c - who keeps watch while everybody sleeps: see sync/park.c. */
#include "support/test.h"

#include <signal.h>

#include <mp/mp.h>

#include "shm/arena.h"
#include "sync/park.h"

/* A sleeper that watches for itself learns of a death within 75 ms; one that does not,
   in a quarter of a second, or half of the time sooner since it finds the sentry to be
   stale. On a busy machine either may take longer. */
#define SOON_MS   150
#define TRIES     12
#define MOST_LATE 3

/* Longer than the slice of sleep after which everybody looks around anyhow. */
#define FIRST_SLICE_MS 60

static _Atomic uint32_t *never;
static mp_lock *lock;

static int idle(void *arg)
{
    struct mp__sleep sleep = mp__sleep_until(MP__NEVER);

    (void)arg;
    sleep.idles = true;
    while (!atomic_load(never))
        if (mp__park(&sleep, never, 0, 0))
            return 1;
    return 0;
}

static bool sentry_is_lazy(void *arg)
{
    (void)arg;
    return atomic_load(&mp__arena->sentry) && atomic_load(&mp__arena->sentry_lazy);
}

static bool sentry_is_eager(void *arg)
{
    (void)arg;
    return !atomic_load(&mp__arena->sentry_lazy);
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, scaled(10000)), -SIGKILL);
}

static int hold(void *arg)
{
    (void)arg;
    if (mp_lock_acquire(lock, MP_FOREVER))
        return 1;
    for (;;)
        pause();
}

static bool is_held(void *arg)
{
    (void)arg;
    return mp_lock_locked(lock);
}

static int wait_for_lock(void *arg)
{
    int64_t *got_at = arg;
    int err = mp_lock_acquire(lock, MP_FOREVER);

    *got_at = now_ms();
    return err == EOWNERDEAD ? mp_lock_release(lock) : 1;
}

static void test_those_who_idle_have_a_lazy_sentry(void **state)
{
    (void)state;
    pid_t idlers[2] = {child_start(idle, NULL), child_start(idle, NULL)};

    assert_true(eventually(sentry_is_lazy, NULL, scaled(10000)));
    pid_t holder = child_start(hold, NULL);
    assert_true(eventually(is_held, NULL, scaled(10000)));
    int64_t *got_at = shared_page(sizeof(*got_at));
    pid_t waiter = child_start(wait_for_lock, got_at);
    assert_true(eventually(sentry_is_eager, NULL, scaled(10000)));
    end(holder);
    assert_int_equal(child_wait(waiter, scaled(10000)), 0);
    assert_true(eventually(sentry_is_lazy, NULL, scaled(10000)));

    atomic_store(never, 1);
    mp__unpark(never, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(child_wait(idlers[i], scaled(10000)), 0);
    atomic_store(never, 0);
    shared_page_free(got_at, sizeof(*got_at));
}

/* How long it took until a waiter knew that the holder had died.  The sentry sees
   nothing of it, as it is stopped while it is lazy. */
static int64_t time_beside_stopped_sentry(int64_t *got_at)
{
    pid_t idler = child_start(idle, NULL);

    assert_true(eventually(sentry_is_lazy, NULL, scaled(10000)));
    pid_t holder = child_start(hold, NULL);
    assert_true(eventually(is_held, NULL, scaled(10000)));
    pid_t waiter = child_start(wait_for_lock, got_at);
    assert_true(process_sleeps(waiter, scaled(10000)));
    kill(idler, SIGSTOP);
    sleep_us(FIRST_SLICE_MS * 1000);
    int64_t began = now_ms();
    kill(holder, SIGKILL);
    assert_int_equal(child_wait(waiter, scaled(10000)), 0);
    assert_int_equal(child_wait(holder, scaled(10000)), -SIGKILL);
    end(idler);
    return *got_at - began;
}

static void test_who_waits_beside_a_lazy_sentry_watches_for_itself(void **state)
{
    int64_t *got_at = shared_page(sizeof(*got_at));
    int late = 0;

    (void)state;
    for (int i = 0; i < TRIES; i++)
        late += time_beside_stopped_sentry(got_at) > scaled(SOON_MS);
    assert_in_range(late, 0, MOST_LATE);
    shared_page_free(got_at, sizeof(*got_at));
}

int main(void)
{
    static const struct CMUnitTest sentry[] = {
        TEST(test_those_who_idle_have_a_lazy_sentry),
        TEST(test_who_waits_beside_a_lazy_sentry_watches_for_itself),
    };

    never = mp_shared_alloc(sizeof(*never));
    if (!never || mp_lock_new(&lock, NULL))
        return 1;
    int failed = TEST_MAIN(sentry);
    mp_lock_free(lock);
    mp_shared_free((void *)never);
    return failed;
}
