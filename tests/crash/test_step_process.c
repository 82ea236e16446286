/* SPDX-License-Identifier: MIT */
/*
 * test_step_process.c - a parent is killed at every instruction of a start.
 *
 * Daemons that it has, or has half, must be gone half a second later.
 */
#include "support/test.h"

#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/member.h"
#include "stepkill.h"

#define GONE_MS  500
#define CHILDREN 16

struct ledger {
    _Atomic int born;
    pid_t pids[CHILDREN]; /* of daemons that got as far as their target */
};

static struct ledger *ledger;

static int compute(void *arg)
{
    (void)arg;
    guard_child();
    int number = atomic_fetch_add(&ledger->born, 1);
    if (number < CHILDREN)
        ledger->pids[number] = getpid();
    for (;;)
        atomic_signal_fence(memory_order_seq_cst);
    return 0;
}

static void prepare(void *arg)
{
    (void)arg;
    memset(ledger, 0, sizeof *ledger);
}

static void start_victim(void *arg)
{
    (void)arg;
    mp_process *p;

    if (mp_process_new(&p, compute, NULL,
                       MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES)) != 0)
        abort();
    stepkill_begin();
    if (mp_process_start(p) != 0)
        abort();
    stepkill_end();
}

static void died(void *arg, pid_t pid)
{
    (void)arg;
    uint64_t member = mp__member_of_pid(pid);

    if (member)
        mp__member_bury(member);
}

/* Orphans become children of the tracer, which is a subreaper: ask it, not the check.
 */
static unsigned survivors_seen;

static bool nobody_left(void *arg)
{
    (void)arg;
    return reap_all(0);
}

static void count_orphans(void *arg)
{
    (void)arg;
    if (!eventually(nobody_left, NULL, GONE_MS)) {
        pid_t left[CHILDREN];
        size_t count = descendants(getpid(), left, CHILDREN);
        survivors_seen += count > 0;
        survivors(left, count, 0);
        reap_all(2000);
    }
}

/* Others can go on to start processes, in the same family. */
static int check(void *arg)
{
    (void)arg;
    mp_process *p;
    int code = -1;

    if (mp_process_new(&p, NULL, NULL, NULL) != 0 || mp_process_start(p) != 0)
        return STEPKILL_WRONG;
    if (mp_process_join(p, 1500) != 0 || mp_process_exitcode(p, &code) != 0 ||
        code != 0)
        return STEPKILL_WRONG;
    mp_process_free(p);
    return STEPKILL_RIGHT;
}

static void test_start_daemon(void **state)
{
    (void)state;
    leak_ignore_arena();
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "start a daemon",
                                             .prepare = prepare,
                                             .victim = start_victim,
                                             .died = died,
                                             .check = check,
                                             .clean = count_orphans,
                                             .check_ms = 3000,
                                             .limit = stepkill_limit(250)});
    assert_true(counts.points > 10);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
    assert_int_equal(survivors_seen, 0);
}

int main(void)
{
    static const struct CMUnitTest step_process[] = {
        TEST(test_start_daemon),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_process);
}
