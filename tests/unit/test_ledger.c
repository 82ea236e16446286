/* SPDX-License-Identifier: MIT */
/* test_ledger.c - whoever joins a queue looks at many entries, and they change
 * meanwhile. */
#include "support/test.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/arena.h"

enum { CHAIN = 5000, FAR = 16000 };

struct stage {
    mp_joinable_queue *jobs;
    _Atomic int taken, ended;
};

/* Each job puts the next one before it is done, so that there always is one to be done.
 */
static int pass_on(void *arg)
{
    struct stage *stage = arg;
    int job;

    for (;;) {
        int err = mp_queue_get(stage->jobs, &job, sizeof job, NULL, scaled(20000));
        if (err)
            return err == EPIPE ? 0 : err;
        stage->taken = job++;
        usleep(50); /* work, during which join looks */
        if (job == CHAIN)
            stage->ended = 1;
        else if (mp_queue_put(stage->jobs, &job, sizeof job, MP_FOREVER))
            return 100;
        while (job < CHAIN && stage->taken < job)
            sched_yield();
        if (mp_joinable_queue_task_done(stage->jobs))
            return 101;
    }
}

/*
 * Two work, and between their entries are thousands of others: when join comes to the
 * second, the job may have gone from there to the first, where it has looked already.
 */
static void test_chain(void **state)
{
    (void)state;
    struct stage *stage = mp_shared_alloc(sizeof *stage);
    int start = 0, err;

    assert_int_equal(mp_joinable_queue_new(&stage->jobs, NULL), 0);
    pid_t first = child_start(pass_on, stage);
    assert_true(process_sleeps(first, 5000));
    uint32_t next = atomic_exchange(&mp__arena->members_free, FAR);
    pid_t second = child_start(pass_on, stage);
    assert_true(process_sleeps(second, 5000));
    assert_true(mp__arena->members_used > FAR);
    mp__arena->members_free = next;

    assert_int_equal(mp_queue_put(stage->jobs, &start, sizeof start, MP_NOWAIT), 0);
    while ((err = mp_joinable_queue_join(stage->jobs, MP_NOWAIT)) == ETIMEDOUT)
        continue;
    assert_int_equal(err, 0);
    assert_int_equal(stage->ended, 1);
    assert_int_equal(mp_queue_close(stage->jobs), 0);
    assert_int_equal(child_wait(first, 10000), 0);
    assert_int_equal(child_wait(second, 10000), 0);
    mp_queue_free(stage->jobs);
    mp_shared_free(stage);
}

int main(void)
{
    static const struct CMUnitTest ledger_tests[] = {
        TEST(test_chain),
    };

    return TEST_MAIN(ledger_tests);
}
