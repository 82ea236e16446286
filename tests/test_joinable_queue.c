/* SPDX-License-Identifier: MIT */
/* test_joinable_queue.c - a queue of which one knows when all is done. */
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

struct stage {
    mp_joinable_queue *jobs;
    _Atomic int taken, done, joined, told;
    int count;
};

static struct stage *open_stage(void)
{
    struct stage *stage = mp_shared_alloc(sizeof *stage);

    assert_non_null(stage);
    assert_int_equal(mp_joinable_queue_new(&stage->jobs, NULL), 0);
    return stage;
}

static void close_stage(struct stage *stage)
{
    mp_queue_free(stage->jobs);
    mp_shared_free(stage);
}

static void put(struct stage *stage, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(mp_queue_put(stage->jobs, &i, sizeof i, MP_NOWAIT), 0);
}

static int take(struct stage *stage)
{
    int job;

    return mp_queue_get(stage->jobs, &job, sizeof job, NULL, scaled(10000));
}

static void test_errors(void **state)
{
    (void)state;
    mp_joinable_queue *queue = NULL;
    mp_queue *plain;

    assert_int_equal(mp_joinable_queue_new(NULL, NULL), EINVAL);
    assert_int_equal(mp_joinable_queue_new(&queue, MP_QUEUE_OPTIONS(.priorities = 33)),
                     EINVAL);
    assert_int_equal(mp_joinable_queue_new(&queue, MP_QUEUE_OPTIONS(.reserved = 1)),
                     EINVAL);
    assert_int_equal(mp_joinable_queue_new(&queue, &(mp_queue_options){0}), EINVAL);
    assert_null(queue);
    assert_int_equal(mp_joinable_queue_task_done(NULL), EINVAL);
    assert_int_equal(mp_joinable_queue_join(NULL, 0), EINVAL);

    assert_int_equal(mp_queue_new(&plain, NULL), 0);
    assert_int_equal(mp_joinable_queue_task_done(plain), EINVAL);
    assert_int_equal(mp_joinable_queue_join(plain, MP_FOREVER), EINVAL);
    mp_queue_free(plain);

    assert_int_equal(mp_joinable_queue_new(&queue, NULL), 0);
    assert_int_equal(mp_joinable_queue_join(queue, -2), EINVAL);
    assert_int_equal(mp_joinable_queue_join(queue, INT32_MIN), EINVAL);
    mp_queue_free(queue);
}

static void test_counts(void **state)
{
    (void)state;
    struct stage *stage = open_stage();
    mp_joinable_queue *jobs = stage->jobs;

    assert_int_equal(mp_joinable_queue_join(jobs, MP_FOREVER), 0); /* nothing was put */
    assert_int_equal(mp_joinable_queue_task_done(jobs), EOVERFLOW);
    for (int round = 0; round < 50; round++) {
        put(stage, 3);
        assert_int_equal(mp_joinable_queue_task_done(jobs), EOVERFLOW);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(mp_joinable_queue_join(jobs, MP_NOWAIT), ETIMEDOUT);
            assert_int_equal(take(stage), 0);
            assert_int_equal(mp_joinable_queue_join(jobs, MP_NOWAIT), ETIMEDOUT);
            if (round % 2)
                assert_int_equal(mp_joinable_queue_task_done(jobs), 0);
        }
        for (int i = 0; round % 2 == 0 && i < 3; i++) {
            assert_int_equal(mp_joinable_queue_join(jobs, MP_NOWAIT), ETIMEDOUT);
            assert_int_equal(mp_joinable_queue_task_done(jobs), 0);
        }
        assert_int_equal(mp_joinable_queue_task_done(jobs), EOVERFLOW);
        assert_int_equal(mp_joinable_queue_join(jobs, MP_NOWAIT), 0);
        assert_int_equal(mp_joinable_queue_join(jobs, MP_FOREVER), 0);
    }
    assert_int_equal(mp_queue_lost(jobs), 0);
    close_stage(stage);
}

/* Every way to get counts; closing changes nothing about what is to be done. */
static void test_all_gets_count(void **state)
{
    (void)state;
    mp_joinable_queue *jobs;
    void *message, *block;
    size_t sizes[4], size, count;
    char bytes[32];

    assert_int_equal(mp_joinable_queue_new(
                         &jobs, MP_QUEUE_OPTIONS(.message_size = 8, .priorities = 2)),
                     0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(mp_queue_put_pointer(jobs, NULL, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_put_priority(jobs, 1, bytes, 8, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_close(jobs), 0);
    assert_int_equal(mp_queue_get_alloc(jobs, &message, &size, MP_NOWAIT), 0);
    free(message);
    assert_int_equal(mp_queue_get_pointer(jobs, &block, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_get_many(jobs, bytes, 32, sizes, 4, &count, MP_NOWAIT),
                     0);
    assert_int_equal(count, 4);
    assert_int_equal(mp_queue_get(jobs, bytes, 7, &size, MP_NOWAIT), EMSGSIZE);
    assert_int_equal(mp_queue_get(jobs, bytes, 8, &size, MP_NOWAIT), 0);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(mp_joinable_queue_join(jobs, 1), ETIMEDOUT);
        assert_int_equal(mp_joinable_queue_task_done(jobs), 0);
    }
    assert_int_equal(mp_joinable_queue_task_done(jobs), EOVERFLOW);
    assert_int_equal(mp_joinable_queue_join(jobs, MP_FOREVER), 0);
    mp_queue_free(jobs);
}

static void test_in_time(void **state)
{
    (void)state;
    struct stage *stage = open_stage();

    put(stage, 1);
    for (int taken = 0; taken < 2; taken++) {
        int64_t start = now_ms();
        assert_int_equal(mp_joinable_queue_join(stage->jobs, 150), ETIMEDOUT);
        assert_true(now_ms() - start >= 149);
        assert_true(now_ms() - start < scaled(1150));
        if (!taken)
            assert_int_equal(take(stage), 0);
    }
    close_stage(stage);
}

static int work(void *arg)
{
    struct stage *stage = arg;

    for (;;) {
        int err = take(stage);
        if (err)
            return err == EPIPE ? 0 : err;
        usleep(1000);
        atomic_fetch_add(&stage->done, 1);
        if (mp_joinable_queue_task_done(stage->jobs))
            return 100;
    }
}

/* Python's test_task_done: when join returns all are done. */
static void test_workers(void **state)
{
    (void)state;
    struct stage *stage = open_stage();
    pid_t pids[4];

    for (int i = 0; i < 4; i++)
        pids[i] = child_start(work, stage);
    for (int round = 1; round <= 10; round++) {
        put(stage, 10);
        assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_FOREVER), 0);
        assert_int_equal(stage->done, 10 * round);
    }
    assert_int_equal(mp_queue_close(stage->jobs), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(pids[i], 10000), 0);
    close_stage(stage);
}

/* Each job of a size above 0 puts two smaller ones before it is done. */
static int branch(void *arg)
{
    struct stage *stage = arg;
    int size;

    for (;;) {
        int err = mp_queue_get(stage->jobs, &size, sizeof size, NULL, scaled(20000));
        if (err)
            return err == EPIPE ? 0 : err;
        for (int i = 0; i < 2 && size > 0; i++) {
            int smaller = size - 1;
            if (mp_queue_put(stage->jobs, &smaller, sizeof smaller, MP_FOREVER))
                return 100;
        }
        atomic_fetch_add(&stage->done, 1);
        if (mp_joinable_queue_task_done(stage->jobs))
            return 101;
    }
}

static void test_work_makes_work(void **state)
{
    (void)state;
    struct stage *stage = open_stage();
    pid_t pids[4];

    for (int i = 0; i < 4; i++)
        pids[i] = child_start(branch, stage);
    for (int size = 6, round = 1; round <= 150; round++) {
        assert_int_equal(mp_queue_put(stage->jobs, &size, sizeof size, MP_FOREVER), 0);
        /* Both ways to find out. */
        if (round % 2)
            assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_FOREVER), 0);
        else
            while (mp_joinable_queue_join(stage->jobs, MP_NOWAIT) != 0)
                continue;
        assert_int_equal(stage->done, 127 * round);
    }
    assert_int_equal(mp_queue_close(stage->jobs), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(pids[i], 10000), 0);
    close_stage(stage);
}

static int not_mine(void *arg)
{
    return mp_joinable_queue_task_done(((struct stage *)arg)->jobs);
}

/* What was taken is for who took it to finish, and not for a child of it. */
static void test_only_who_took_it(void **state)
{
    (void)state;
    struct stage *stage = open_stage();

    put(stage, 1);
    assert_int_equal(child_run(not_mine, stage), EOVERFLOW);
    assert_int_equal(take(stage), 0);
    assert_int_equal(child_run(not_mine, stage), EOVERFLOW);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_NOWAIT), ETIMEDOUT);
    assert_int_equal(mp_joinable_queue_task_done(stage->jobs), 0);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_NOWAIT), 0);
    close_stage(stage);
}

/* Takes stage->count, finishes one of them, and waits to be killed, or ends. */
static int take_some(void *arg)
{
    struct stage *stage = arg;

    for (int i = 0; i < stage->count; i++)
        if (take(stage))
            return 1;
    if (mp_joinable_queue_task_done(stage->jobs))
        return 2;
    stage->taken = 1;
    while (stage->taken)
        pause();
    return 0;
}

static int take_some_and_end(void *arg)
{
    struct stage *stage = arg;

    for (int i = 0; i < stage->count; i++)
        if (take(stage))
            return 1;
    return mp_joinable_queue_task_done(stage->jobs);
}

static bool has_taken(void *arg)
{
    return ((struct stage *)arg)->taken;
}

static pid_t start_taker(struct stage *stage, int count)
{
    stage->count = count;
    stage->taken = 0;
    pid_t pid = child_start(take_some, stage);
    assert_true(eventually(has_taken, stage, 10000));
    return pid;
}

static void test_taker_is_killed(void **state)
{
    (void)state;
    struct stage *stage = open_stage();

    put(stage, 10);
    pid_t pid = start_taker(stage, 4);
    assert_int_equal(mp_queue_lost(stage->jobs), 0);
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    assert_int_equal(mp_queue_lost(stage->jobs), 3);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_NOWAIT), ETIMEDOUT);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(take(stage), 0);
        assert_int_equal(mp_joinable_queue_task_done(stage->jobs), 0);
    }
    /* Told once, then not again until others are lost. */
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_FOREVER), EOWNERDEAD);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_FOREVER), 0);
    assert_int_equal(mp_queue_lost(stage->jobs), 3);
    put(stage, 2);
    stage->count = 2;
    assert_int_equal(child_run(take_some_and_end, stage), 0);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_NOWAIT), EOWNERDEAD);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_lost(stage->jobs), 4);
    close_stage(stage);
}

static int wait_for_all(void *arg)
{
    struct stage *stage = arg;
    int err = mp_joinable_queue_join(stage->jobs, scaled(20000));

    atomic_fetch_add(&stage->told, err == EOWNERDEAD);
    atomic_fetch_add(&stage->joined, 1);
    return err == EOWNERDEAD ? 0 : err;
}

/* Those who wait already are woken by the death, and one of them is told. */
static void test_death_wakes(void **state)
{
    (void)state;
    struct stage *stage = open_stage();
    pid_t joiners[3];

    put(stage, 2);
    pid_t pid = start_taker(stage, 2);
    for (int i = 0; i < 3; i++) {
        joiners[i] = child_start(wait_for_all, stage);
        assert_true(process_sleeps(joiners[i], 5000));
    }
    usleep(100000);
    assert_int_equal(stage->joined, 0);
    int64_t start = now_ms();
    kill(pid, SIGKILL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(joiners[i], 10000), 0);
    assert_true(now_ms() - start < scaled(2000));
    assert_int_equal(stage->told, 1);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    close_stage(stage);
}

/* The places of the dead are others' soon; what they lost is counted on. */
static void test_many_deaths(void **state)
{
    (void)state;
    struct stage *stage = open_stage();

    put(stage, 40 * 3);
    stage->count = 3;
    for (uint64_t i = 1; i <= 40; i++) {
        assert_int_equal(child_run(take_some_and_end, stage), 0);
        assert_int_equal(mp_queue_lost(stage->jobs), 2 * i);
        /* Who waits for so long buries the dead. */
        if (i % 8 == 0 && i < 40)
            assert_int_equal(mp_joinable_queue_join(stage->jobs, 150), ETIMEDOUT);
    }
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_NOWAIT), EOWNERDEAD);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_NOWAIT), 0);
    close_stage(stage);
}

static void test_stopped_taker(void **state)
{
    (void)state;
    struct stage *stage = open_stage();

    put(stage, 1);
    pid_t pid = start_taker(stage, 1);
    kill(pid, SIGSTOP);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, 100), 0); /* it was done */
    put(stage, 2);
    pid_t other = start_taker(stage, 2);
    kill(other, SIGSTOP);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, 300), ETIMEDOUT);
    assert_int_equal(mp_queue_lost(stage->jobs), 0);
    kill(other, SIGKILL);
    kill(pid, SIGKILL);
    assert_int_equal(mp_joinable_queue_join(stage->jobs, scaled(10000)), EOWNERDEAD);
    assert_int_equal(child_wait(other, 5000), -SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    close_stage(stage);
}

static void *work_in_thread(void *arg)
{
    return (void *)(intptr_t)work(arg);
}

static void test_threads_are_one_taker(void **state)
{
    (void)state;
    struct stage *stage = open_stage();
    pthread_t threads[4];
    void *code;

    leak_ignore_maps();
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work_in_thread, stage);
    for (int round = 1; round <= 5; round++) {
        put(stage, 40);
        assert_int_equal(mp_joinable_queue_join(stage->jobs, MP_FOREVER), 0);
        assert_int_equal(stage->done, 40 * round);
    }
    assert_int_equal(mp_queue_close(stage->jobs), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &code);
        assert_null(code);
    }
    assert_int_equal(mp_joinable_queue_task_done(stage->jobs), EOVERFLOW);
    close_stage(stage);
}

int main(void)
{
    static const struct CMUnitTest joinable_queue_tests[] = {
        TEST(test_errors),           TEST(test_counts),
        TEST(test_all_gets_count),   TEST(test_in_time),
        TEST(test_workers),          TEST(test_work_makes_work),

        TEST(test_only_who_took_it), TEST(test_taker_is_killed),
        TEST(test_death_wakes),      TEST(test_many_deaths),
        TEST(test_stopped_taker),    TEST(test_threads_are_one_taker),
    };

    return TEST_MAIN(joinable_queue_tests);
}
