/* SPDX-License-Identifier: MIT */
/* test_queue_deaths.c - users of a queue that are stopped or killed. */
#include "support/parcel.h"

#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#define LARGE ((size_t)8 << 20)

enum { NUMBERS = 200000 };

struct stage {
    mp_queue *queue;
    _Atomic int got;
    _Atomic unsigned char seen[NUMBERS];
};

static struct stage *open_stage(const mp_queue_options *options)
{
    struct stage *stage = mp_shared_alloc(sizeof *stage);

    assert_non_null(stage);
    assert_int_equal(mp_queue_new(&stage->queue, options), 0);
    return stage;
}

static void close_stage(struct stage *stage)
{
    mp_queue_free(stage->queue);
    mp_shared_free(stage);
}

static bool is_stopped(void *arg)
{
    return process_state(*(pid_t *)arg) == 'T';
}

static void stop(pid_t pid)
{
    kill(pid, SIGSTOP);
    assert_true(eventually(is_stopped, &pid, 5000));
}

static int put_and_get_large(void *arg)
{
    struct stage *stage = arg;
    unsigned char *bytes = calloc(1, LARGE);
    size_t size;
    int err;

    for (;;) {
        err = mp_queue_put(stage->queue, bytes, LARGE, MP_FOREVER);
        if (!err)
            err = mp_queue_get(stage->queue, bytes, LARGE, &size, MP_FOREVER);
        if (err)
            break;
    }
    free(bytes);
    return err == EPIPE ? 0 : err;
}

/* Not before 100 ms are over if the end is held, and not much later. */
static bool is_held(int (*try)(mp_queue *, int), mp_queue *queue)
{
    int64_t start = now_ms();

    if (try(queue, MP_NOWAIT) != ETIMEDOUT || now_ms() - start < 50)
        return false;
    assert_true(now_ms() - start >= 99);
    start = now_ms();
    assert_int_equal(try(queue, 30), ETIMEDOUT);
    assert_true(now_ms() - start >= 29);
    assert_true(now_ms() - start < scaled(1000));
    return true;
}

static int try_get(mp_queue *queue, int timeout_ms)
{
    int err = mp_queue_get(queue, NULL, 0, NULL, timeout_ms);

    return err == EMSGSIZE ? 0 : err;
}

static int try_put(mp_queue *queue, int timeout_ms)
{
    return mp_queue_put(queue, NULL, 0, timeout_ms);
}

/* It may hold up its end, of which nobody robs it, and not the other. */
static void test_stopped_in_a_call(void **state)
{
    (void)state;
    struct stage *stage = open_stage(MP_QUEUE_OPTIONS(.pollable = 1));
    int putting = 0, getting = 0;
    pid_t pid = child_start(put_and_get_large, stage);

    for (useconds_t i = 0; i < 200 && (!putting || !getting); i++) {
        usleep(1000 + 777 * i % 5000);
        stop(pid);
        if (mp_queue_empty(stage->queue)) {
            putting += is_held(try_put, stage->queue);
        } else if (is_held(try_get, stage->queue)) {
            getting++;
            assert_int_equal(try_put(stage->queue, MP_NOWAIT), 0);
        }
        kill(pid, SIGCONT);
        while (mp_queue_get(stage->queue, NULL, 0, NULL, MP_NOWAIT) == 0)
            continue;
    }
    assert_true(putting && getting);
    assert_int_equal(mp_queue_close(stage->queue), 0);
    assert_int_equal(child_wait(pid, 10000), 0);
    close_stage(stage);
}

static int count_all(void *arg)
{
    struct stage *stage = arg;
    int err;

    while (!(err = mp_queue_get(stage->queue, NULL, 0, NULL, scaled(20000))))
        atomic_fetch_add(&stage->got, 1);
    return err == EPIPE ? 0 : err;
}

static bool got_one(void *arg)
{
    return ((struct stage *)arg)->got > 0;
}

/* One is stopped while it waits, and may be the one that the first put wakes. */
static void test_stopped_waiter(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct stage *stage = open_stage(NULL);
        pid_t pids[2];

        for (int i = 0; i < 2; i++) {
            pids[i] = child_start(count_all, stage);
            assert_true(process_sleeps(pids[i], 5000));
        }
        stop(pids[which]);
        for (int i = 0; i < 2; i++)
            assert_int_equal(mp_queue_put(stage->queue, NULL, 0, MP_NOWAIT), 0);
        assert_true(eventually(got_one, stage, 5000));
        kill(pids[which], SIGCONT);
        assert_int_equal(mp_queue_close(stage->queue), 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(child_wait(pids[i], 10000), 0);
        assert_int_equal(stage->got, 2);
        close_stage(stage);
    }
}

static int take_numbers(void *arg)
{
    struct stage *stage = arg;
    int number;

    for (;;) {
        if (mp_queue_get(stage->queue, &number, sizeof number, NULL, MP_FOREVER))
            return 1;
        atomic_fetch_add(&stage->seen[number], 1);
    }
}

static int count_seen(const struct stage *stage, int put)
{
    int seen = 0;

    for (int i = 0; i < put; i++) {
        assert_true(stage->seen[i] <= 1);
        seen += stage->seen[i];
    }
    return seen;
}

/* Each takes at most one message along, the one that it was just being given. */
static void killed_consumers(const mp_queue_options *options, int rounds)
{
    struct stage *stage = open_stage(options);
    int put = 0, rest = 0, number;

    for (useconds_t i = 0; i < (useconds_t)rounds; i++) {
        pid_t pid = child_start(take_numbers, stage);
        for (int64_t end = now_ms() + 3 + i % 9; now_ms() < end && put < NUMBERS;)
            for (int k = 0; k < 50 && put < NUMBERS; k++)
                put += !mp_queue_put(stage->queue, &put, sizeof put, 1);
        kill(pid, SIGKILL);
        assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    }
    int seen = count_seen(stage, put);
    for (int before = -1; !mp_queue_get(stage->queue, &number, sizeof number, NULL, 0);
         before = number, rest++) {
        assert_true(number > before && stage->seen[number] == 0);
    }
    assert_in_range(put - seen - rest, 0, rounds);
    assert_true(mp_queue_lost(stage->queue) <= (uint64_t)(put - seen - rest));
    close_stage(stage);
}

static void test_killed_consumers(void **state)
{
    (void)state;
    killed_consumers(NULL, 60);
    killed_consumers(MP_QUEUE_OPTIONS(.max_messages = 5, .message_size = 4), 60);
    killed_consumers(MP_QUEUE_OPTIONS(.max_messages = 100, .pollable = 1), 30);
}

static int put_parcels(void *arg)
{
    struct stage *stage = arg;
    unsigned char *bytes = malloc(100000);

    for (uint64_t i = 0;; i++) {
        memcpy(bytes, &i, sizeof i);
        parcel_fill(bytes + sizeof i, i % 50 * 2000, i);
        if (mp_queue_put(stage->queue, bytes, sizeof i + i % 50 * 2000, MP_FOREVER))
            return 1;
    }
}

/* What it had put is all there, and whole, and what comes after finds its way. */
static void test_killed_producers(void **state)
{
    (void)state;
    struct stage *stage = open_stage(MP_QUEUE_OPTIONS(.max_messages = 300));
    unsigned char *bytes = malloc(100000);
    uint64_t number;
    size_t size;

    leak_ignore_arena(); /* a segment that was not linked yet */
    for (useconds_t i = 0; i < 60; i++) {
        pid_t pid = child_start(put_parcels, stage);
        usleep(2000 + 300 * i);
        kill(pid, SIGKILL);
        assert_int_equal(child_wait(pid, 5000), -SIGKILL);
        for (uint64_t next = 0; !mp_queue_get(stage->queue, bytes, 100000, &size, 0);
             next++) {
            memcpy(&number, bytes, sizeof number);
            assert_int_equal(number, next);
            assert_int_equal(size, sizeof number + next % 50 * 2000);
            assert_true(parcel_is(bytes + sizeof number, size - sizeof number, next));
        }
        assert_true(mp_queue_empty(stage->queue));
    }
    assert_int_equal(mp_queue_lost(stage->queue), 0);
    free(bytes);
    close_stage(stage);
}

int main(void)
{
    static const struct CMUnitTest queue_death_tests[] = {
        TEST(test_stopped_in_a_call),
        TEST(test_stopped_waiter),
        TEST(test_killed_consumers),
        TEST(test_killed_producers),
    };

    return TEST_MAIN(queue_death_tests);
}
