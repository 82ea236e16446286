/* SPDX-License-Identifier: MIT */
/*
 * test_queue_wakes.c - queues give every wake that is owed.
 *
 * A sleeper looks again on its own after a while, which hides a wake that was lost.
 * Here it does not for hours: whoever is not woken is stuck, and the test sees it.
 */
#include "support/test.h"

#include <mp/mp.h>

#include "sync/park.h"

#define MOST        8
#define PATIENCE_MS 20000

/* What a process does: `index` is its number, from 0. */
struct part {
    int (*play)(int index);
    int index;
};

static mp_queue *queue, *back;

static int play_part(void *arg)
{
    const struct part *part = arg;

    return part->play(part->index);
}

static void start(pid_t *pids, int (*play)(int index), int count)
{
    for (int i = 0; i < count; i++) {
        struct part part = {play, i};
        pids[i] = child_start(play_part, &part);
    }
}

static void join(const pid_t *pids, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(child_wait(pids[i], PATIENCE_MS), 0);
}

/* So long that others go to sleep meanwhile. */
static void dwell(int round)
{
    if (round % 16)
        return;
    int64_t until = now_ms() + 1;
    while (now_ms() < until)
        continue;
}

static int put_number(mp_queue *where, int number)
{
    return mp_queue_put(where, &number, sizeof number, MP_FOREVER);
}

static int get_number(mp_queue *where)
{
    int number = -1;

    return mp_queue_get(where, &number, sizeof number, NULL, MP_FOREVER) ? -1 : number;
}

static int put_or_get(int index)
{
    for (int i = 0; i < 2000; i++) {
        dwell(i + index);
        if (index % 2 ? put_number(queue, i) : get_number(queue) < 0)
            return 1;
    }
    return 0;
}

static int echo(int index)
{
    for (int i = 0; i < 2000; i++) {
        dwell(i + 8 * index);
        if (index && put_number(queue, i))
            return 1;
        if (get_number(index ? back : queue) != i)
            return 2;
        if (!index && put_number(back, i))
            return 3;
    }
    return 0;
}

static void play(const mp_queue_options *options, int (*fn)(int index), int count)
{
    pid_t pids[MOST];

    assert_int_equal(mp_queue_new(&queue, options), 0);
    assert_int_equal(mp_queue_new(&back, options), 0);
    start(pids, fn, count);
    join(pids, count);
    assert_true(mp_queue_empty(queue));
    mp_queue_free(queue);
    mp_queue_free(back);
}

static void test_one_and_one(void **state)
{
    (void)state;
    play(NULL, echo, 2);
    play(MP_QUEUE_OPTIONS(.max_messages = 1, .priorities = 2), echo, 2);
}

static void test_many_and_many(void **state)
{
    (void)state;
    play(NULL, put_or_get, 6);
    play(MP_QUEUE_OPTIONS(.max_messages = 1), put_or_get, 6);
    play(MP_QUEUE_OPTIONS(.max_messages = 5, .message_size = sizeof(int)), put_or_get,
         8);
    play(MP_QUEUE_OPTIONS(.max_messages = 2, .pollable = 1, .joinable = 1), put_or_get,
         4);
}

/* Some by handfuls: as many are woken as can go on. */
static int by_handfuls(int index)
{
    int numbers[6] = {0};
    struct iovec messages[6];
    size_t sizes[6], count;

    for (int i = 0; i < 6; i++)
        messages[i] = (struct iovec){&numbers[i], sizeof(int)};
    for (int i = 0; i < 500; i++) {
        dwell(i + index);
        if (index == 0 && mp_queue_put_many(queue, messages, 6, &count, MP_FOREVER))
            return 1;
        if (index == 1)
            for (size_t got = 0; got < 3; got += count)
                if (mp_queue_get_many(queue, numbers, sizeof numbers, sizes, 3 - got,
                                      &count, MP_FOREVER))
                    return 2;
        for (int k = 0; index >= 2 && k < 3; k++)
            if (get_number(queue) < 0)
                return 3;
    }
    return 0;
}

static void test_handfuls(void **state)
{
    (void)state;
    play(NULL, by_handfuls, 3);
    play(MP_QUEUE_OPTIONS(.max_messages = 4), by_handfuls, 3);
}

static void all_sleep(const pid_t *pids, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(process_sleeps(pids[i], 5000));
}

static int get_until_closed(int index)
{
    (void)index;
    return mp_queue_get(queue, NULL, 0, NULL, MP_FOREVER) != EPIPE;
}

static int put_until_closed(int index)
{
    (void)index;
    return mp_queue_put(queue, NULL, 0, MP_FOREVER) != EPIPE;
}

static void test_close_wakes_all(void **state)
{
    (void)state;
    pid_t pids[MOST];

    for (int round = 0; round < 10; round++) {
        assert_int_equal(mp_queue_new(&queue, MP_QUEUE_OPTIONS(.max_messages = 1)), 0);
        if (round % 2)
            assert_int_equal(mp_queue_put(queue, NULL, 0, MP_NOWAIT), 0);
        start(pids, round % 2 ? put_until_closed : get_until_closed, MOST);
        all_sleep(pids, MOST);
        assert_int_equal(mp_queue_close(queue), 0);
        join(pids, MOST);
        mp_queue_free(queue);
    }
}

/* Those without room for it leave it, and the wake with it. */
static int get_small(int index)
{
    char bytes[8];
    void *block;
    size_t size, count;

    switch (index) {
    case 0:
        return mp_queue_get(queue, bytes, 3, &size, MP_FOREVER) != EMSGSIZE;
    case 1:
        return mp_queue_get_many(queue, bytes, 3, &size, 1, &count, MP_FOREVER) !=
               EMSGSIZE;
    case 2:
        return mp_queue_get_pointer(queue, &block, MP_FOREVER) != EMSGSIZE;
    default:
        return mp_queue_get(queue, bytes, 8, &size, MP_FOREVER) || size != 5;
    }
}

static void test_too_small(void **state)
{
    (void)state;
    for (int first = 0; first < 3; first++) {
        pid_t pids[2];
        assert_int_equal(mp_queue_new(&queue, NULL), 0);
        for (int i = 0; i < 2; i++) {
            struct part part = {get_small, i ? 3 : first};
            pids[i] = child_start(play_part, &part);
            all_sleep(pids + i, 1);
        }
        assert_int_equal(mp_queue_put(queue, "12345", 5, MP_NOWAIT), 0);
        join(pids, 2);
        mp_queue_free(queue);
    }
}

/* There is room for one, and no memory for what the first would put. */
static int put_large_or_small(int index)
{
    static const size_t huge = (size_t)1 << 46;
    struct iovec messages[] = {{queue, huge}};
    size_t put;

    switch (index) {
    case 0:
        return mp_queue_put(queue, queue, huge, MP_FOREVER) != ENOMEM;
    case 1:
        return mp_queue_put_many(queue, messages, 1, &put, MP_FOREVER) != ENOMEM;
    default:
        return mp_queue_put(queue, "12345", 5, MP_FOREVER);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        pid_t pids[2];
        assert_int_equal(mp_queue_new(&queue, MP_QUEUE_OPTIONS(.max_messages = 1)), 0);
        assert_int_equal(mp_queue_put(queue, NULL, 0, MP_NOWAIT), 0);
        for (int i = 0; i < 2; i++) {
            struct part part = {put_large_or_small, i ? 2 : first};
            pids[i] = child_start(play_part, &part);
            all_sleep(pids + i, 1);
        }
        assert_int_equal(mp_queue_get(queue, NULL, 0, NULL, MP_NOWAIT), 0);
        join(pids, 2);
        mp_queue_free(queue);
    }
}

/* Number 0 puts and joins; the others work. */
static int work(int index)
{
    for (int i = 0; i < 500; i++) {
        for (int k = 0; !index && k < 3; k++)
            if (put_number(queue, k))
                return 1;
        if (!index && mp_joinable_queue_join(queue, MP_FOREVER))
            return 2;
        if (index && get_number(queue) < 0)
            return 3;
        dwell(i + index);
        if (index && mp_joinable_queue_task_done(queue))
            return 4;
    }
    return 0;
}

static void test_join(void **state)
{
    (void)state;
    play(MP_QUEUE_OPTIONS(.joinable = 1), work, 4);
    play(MP_QUEUE_OPTIONS(.joinable = 1, .max_messages = 1), work, 4);
}

int main(void)
{
    static const struct CMUnitTest queue_wakes[] = {
        TEST(test_one_and_one), TEST(test_many_and_many),   TEST(test_handfuls),
        TEST(test_too_small),   TEST(test_close_wakes_all), TEST(test_no_memory),
        TEST(test_join),
    };

    mp__slice_factor = 1000000;
    return TEST_MAIN(queue_wakes);
}
