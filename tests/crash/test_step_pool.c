/* SPDX-License-Identifier: MIT */
/*
 * test_step_pool.c - workers and clients of pools are killed at every instruction.
 *
 * A worker: from the middle of a task through its return, its report and the taking of
 * two further tasks.  A client: through the submission of a task.
 */
#include "support/test.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "stepkill.h"

#define ITEMS 6

/* What really happened, in memory that libmp does not know. */
struct ledger {
    _Atomic pid_t victim;     /* the worker that is to be killed */
    _Atomic int held;         /* it waits in its task for the tracer */
    _Atomic int go;           /* it is being stepped, and may return from its task */
    _Atomic int killed;       /* the other worker may go on */
    _Atomic int victim_tasks; /* tasks that the victim has begun */
    _Atomic int started[ITEMS];
    pid_t ran_by[ITEMS];
};

static struct ledger *ledger;

/* The first worker that comes is the victim; the other leaves it the next items. */
static int held_task(const void *arg, void *result, void *context)
{
    (void)context;
    guard_child();
    int item = *(const int *)arg;
    pid_t me = getpid(), nobody = 0;

    ledger->ran_by[item] = me;
    atomic_fetch_add(&ledger->started[item], 1);
    if (atomic_compare_exchange_strong(&ledger->victim, &nobody, me)) {
        atomic_store(&ledger->held, 1);
        while (!atomic_load(&ledger->go))
            sched_yield();
    } else if (nobody != me) {
        while (!atomic_load(&ledger->killed))
            sched_yield();
    }
    if (atomic_load(&ledger->victim) == me)
        atomic_fetch_add(&ledger->victim_tasks, 1);
    *(int *)result = item * item + 1;
    return 0;
}

static bool victim_is_held(void *arg)
{
    (void)arg;
    return ledger->held;
}

/* Let go, step, kill.  Returns the steps done; `*over` once two more tasks were taken.
 */
static unsigned step_and_kill(pid_t pid, unsigned steps, bool *over)
{
    unsigned done = 0;

    atomic_store(&ledger->go, 1);
    for (; done < steps && ledger->victim_tasks < 3; done++)
        if (stepkill_step(pid) != STEP_DONE)
            break;
    *over = done < steps;
    stepkill_kill(pid);
    atomic_store(&ledger->killed, 1);
    return done;
}

/* Exactly once: each item is right or reported, and at most one is reported. */
static void assert_settled(int err, const int *results, const int *errors,
                           const mp_task_failure *failure, pid_t victim)
{
    int failed = 0;

    for (int i = 0; i < ITEMS; i++) {
        if (errors[i] == 0) {
            assert_int_equal(results[i], i * i + 1);
            assert_int_equal(ledger->started[i], 1);
            continue;
        }
        assert_int_equal(errors[i], EOWNERDEAD);
        assert_true(ledger->started[i] <= 1);
        if (ledger->started[i])
            assert_int_equal(ledger->ran_by[i], victim);
        assert_int_equal(failure->index, i);
        failed++;
    }
    assert_true(failed <= 1);
    assert_int_equal(err, failed ? EOWNERDEAD : 0);
    assert_int_equal(failure->error, err);
    if (failed) {
        assert_int_equal(failure->exitcode, -SIGKILL);
        assert_int_equal(failure->pid, victim);
    }
}

/* One victim, killed `steps` instructions after it was let go. */
static unsigned kill_worker_at(mp_pool *pool, unsigned steps, bool *over)
{
    int items[ITEMS], results[ITEMS] = {0}, errors[ITEMS];
    mp_async_result *result;
    mp_task_failure failure;

    memset(ledger, 0, sizeof *ledger);
    for (int i = 0; i < ITEMS; i++) {
        items[i] = i;
        errors[i] = -1;
    }
    assert_int_equal(
        mp_pool_map_async(pool, held_task, items, ITEMS, sizeof *items, results,
                          sizeof *results,
                          MP_MAP_OPTIONS(.chunk_size = 1, .errors = errors), &result),
        0);
    assert_true(eventually(victim_is_held, NULL, 5000));
    pid_t victim = ledger->victim;
    assert_true(stepkill_seize(victim));
    unsigned done = step_and_kill(victim, steps, over);
    assert_int_equal(mp_async_result_wait(result, scaled(5000)), 0);
    assert_int_equal(mp_async_result_failure(result, &failure), 0);
    int err = mp_async_result_get(result, NULL, 0, MP_NOWAIT);
    assert_settled(err, results, errors, &failure, victim);
    mp_async_result_free(result);
    return done;
}

static void test_worker(void **state)
{
    (void)state;
    mp_pool *pool;
    bool over;
    unsigned limit = stepkill_limit(150), points = 0;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    unsigned length = kill_worker_at(pool, 1u << 20, &over);
    unsigned stride = limit ? length / limit + 1 : 1;
    for (unsigned steps = 0; steps < length + stride; steps += stride, points++)
        kill_worker_at(pool, steps, &over);
    fprintf(stderr, "worker: return, report, take   %5u steps, %5u points\n", length,
            points);
    mp_pool_free(pool);
}

/* --- a client is killed while it submits ------------------------------------------ */

static struct {
    pid_t pids[32];
    size_t count;
    unsigned survived;
} family;

static int short_task(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    guard_child();
    atomic_fetch_add(&ledger->started[*(const int *)arg], 1);
    return 0;
}

static void submit_victim(void *arg)
{
    (void)arg;
    mp_pool *pool;
    int item = 1;

    if (mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)) != 0)
        abort();
    stepkill_begin();
    if (mp_pool_apply_async(pool, short_task, &item, sizeof item, 0, NULL, NULL) != 0)
        abort();
    stepkill_end();
}

static void prepare_submit(void *arg)
{
    (void)arg;
    memset(ledger, 0, sizeof *ledger);
}

static void note_family(void *arg, pid_t pid)
{
    (void)arg;
    family.count = descendants(pid, family.pids, 32);
}

static int check_submit(void *arg)
{
    (void)arg;
    return ledger->started[1] <= 1 ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void count_survivors(void *arg)
{
    (void)arg;
    family.survived += survivors(family.pids, family.count, 500) > 0;
    reap_all(2000);
}

static void test_client(void **state)
{
    (void)state;
    leak_ignore_arena();
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "client: apply_async",
                                             .prepare = prepare_submit,
                                             .victim = submit_victim,
                                             .paused = note_family,
                                             .check = check_submit,
                                             .clean = count_survivors,
                                             .check_ms = 2000,
                                             .limit = stepkill_limit(60)});
    assert_true(counts.points > 10);
    assert_true(family.count >= 3);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
    assert_int_equal(family.survived, 0);
}

int main(void)
{
    static const struct CMUnitTest step_pool[] = {
        TEST(test_worker),
        TEST(test_client),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_pool);
}
