/* SPDX-License-Identifier: MIT */
/*
 * test_step_reduce.c - a worker is killed at every instruction of a reduction.
 *
 * It is held in a task before, and stepped through the end of that, its first share of
 * the reduction, and the other worker's share: which is free, or is to be stolen.  The
 * value counts each item by itself.
 */
#include "support/test.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "stepkill.h"

#define ITEMS 10
#define CHUNK 2
/* From the end of the last item until the worker looks for other work. */
#define REPORT_STEPS 800

/* What really happened, in memory that libmp does not know. */
struct ledger {
    _Atomic pid_t victim;   /* the worker that is to be killed */
    _Atomic int held;       /* workers that wait in hold_task */
    _Atomic int go;         /* the victim may return from it */
    _Atomic int other_held; /* the other worker waits in its first item */
    _Atomic int killed;     /* it may go on */
    _Atomic int started[ITEMS];
    _Atomic int folded; /* items, by the victim */
};

static struct ledger *ledger;

/* The first worker that comes is the victim. */
static int hold_task(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    guard_child();
    pid_t nobody = 0;
    bool is_victim = atomic_compare_exchange_strong(&ledger->victim, &nobody, getpid());

    atomic_fetch_add(&ledger->held, 1);
    while (!atomic_load(is_victim ? &ledger->go : &ledger->killed))
        sched_yield();
    return 0;
}

static int count_item(const void *arg, void *result, void *context)
{
    (void)context;
    unsigned item = *(const unsigned *)arg;

    atomic_fetch_add(&ledger->started[item], 1);
    if (getpid() != ledger->victim) {
        atomic_store(&ledger->other_held, 1);
        while (!atomic_load(&ledger->killed))
            sched_yield();
    }
    ((unsigned char *)result)[item]++;
    if (getpid() == ledger->victim)
        atomic_fetch_add(&ledger->folded, 1);
    return 0;
}

static void add_counts(void *result, const void *other, void *context)
{
    (void)context;
    for (int i = 0; i < ITEMS; i++)
        ((unsigned char *)result)[i] += ((const unsigned char *)other)[i];
}

static bool are_held(void *arg)
{
    return ledger->held == *(int *)arg;
}

static bool other_is_held(void *arg)
{
    (void)arg;
    return ledger->other_held;
}

/* One kill: what is wanted, and what became of it. */
struct attempt {
    bool steals;
    unsigned steps;
    unsigned done;
};

/* Called while mp_pool_reduce waits, in its thread: let go, step, kill. */
static void step_and_kill(const mp_progress *progress, void *arg)
{
    struct attempt *attempt = arg;

    (void)progress;
    if (ledger->killed)
        return;
    if (attempt->steals)
        assert_true(eventually(other_is_held, NULL, 5000));
    assert_true(stepkill_seize(ledger->victim));
    atomic_store(&ledger->go, 1);
    int all = attempt->steals ? ITEMS - CHUNK : ITEMS;
    unsigned rest = REPORT_STEPS;
    for (; attempt->done < attempt->steps && rest > 0; attempt->done++) {
        if (stepkill_step(ledger->victim) != STEP_DONE)
            break;
        rest -= ledger->folded == all;
    }
    stepkill_kill(ledger->victim);
    atomic_store(&ledger->killed, 1);
}

/* Each item once; or if it must not be tried again, the value as it was. */
static void assert_reduced(int err, const unsigned char *counts, int retries,
                           const mp_task_failure *failure)
{
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(counts[i], err ? 0 : 1);
    assert_int_equal(failure->error, err);
    if (!err)
        return;
    assert_int_equal(retries, 0);
    assert_int_equal(err, EOWNERDEAD);
    assert_int_equal(failure->exitcode, -SIGKILL);
    assert_int_equal(failure->pid, ledger->victim);
    assert_true(failure->index < ITEMS);
}

static int kill_at(mp_pool *pool, int retries, struct attempt *attempt)
{
    unsigned items[ITEMS];
    unsigned char counts[ITEMS] = {0};
    mp_async_result *results[2];
    mp_task_failure failure;
    int held = attempt->steals ? 1 : 2;

    memset(ledger, 0, sizeof *ledger);
    for (unsigned i = 0; i < ITEMS; i++)
        items[i] = i;
    for (int i = 0; i < held; i++)
        assert_int_equal(
            mp_pool_apply_async(pool, hold_task, NULL, 0, 0, NULL, &results[i]), 0);
    assert_true(eventually(are_held, &held, 5000));
    int err =
        mp_pool_reduce(pool, count_item, add_counts, items, ITEMS, sizeof *items,
                       counts, sizeof counts,
                       MP_MAP_OPTIONS(.chunk_size = CHUNK, .retries = retries,
                                      .failure = &failure, .progress = step_and_kill,
                                      .progress_arg = attempt, .progress_ms = 1));
    assert_true(ledger->killed);
    assert_reduced(err, counts, retries, &failure);
    for (int i = 0; i < held; i++) {
        assert_int_equal(mp_async_result_wait(results[i], scaled(5000)), 0);
        mp_async_result_free(results[i]);
    }
    return err;
}

static void step_all(const char *name, bool steals, int retries)
{
    mp_pool *pool;
    struct attempt attempt = {.steals = steals, .steps = 1u << 20};
    unsigned limit = stepkill_limit(40), points = 0, failed = 0;

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .max_deaths = 1u << 30)), 0);
    kill_at(pool, retries, &attempt);
    unsigned length = attempt.done, stride = limit ? length / limit + 1 : 1;
    for (unsigned steps = 0; steps < length + stride; steps += stride, points++) {
        attempt = (struct attempt){.steals = steals, .steps = steps};
        failed += kill_at(pool, retries, &attempt) != 0;
    }
    fprintf(stderr, "%-26s %d retries  %5u steps, %5u points, %5u failed\n", name,
            retries, length, points, failed);
    assert_true(retries ? failed == 0 : failed > 0);
    mp_pool_free(pool);
}

static void test_free_share(void **state)
{
    (void)state;
    step_all("reduce: own and free share", false, 0);
    step_all("reduce: own and free share", false, 1);
}

static void test_stolen_share(void **state)
{
    (void)state;
    step_all("reduce: own share, theft", true, 0);
    step_all("reduce: own share, theft", true, 1);
}

int main(void)
{
    static const struct CMUnitTest step_reduce[] = {
        TEST(test_free_share),
        TEST(test_stolen_share),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_reduce);
}
