/* SPDX-License-Identifier: MIT */
/* test_queue_many.c - several messages in one call. */
#include "support/parcel.h"

#include <mp/mp.h>

enum { MOST = 100 };

static mp_queue *open_queue(const mp_queue_options *options)
{
    mp_queue *queue;

    assert_int_equal(mp_queue_new(&queue, options), 0);
    return queue;
}

/* Numbers from `first` on, of 8 bytes each, that live until the next call. */
static const struct iovec *numbers(uint64_t first)
{
    static uint64_t values[MOST];
    static struct iovec messages[MOST];

    for (uint64_t i = 0; i < MOST; i++) {
        values[i] = first + i;
        messages[i] = (struct iovec){&values[i], sizeof *values};
    }
    return messages;
}

static void expect(mp_queue *queue, uint64_t first, size_t count)
{
    uint64_t got[MOST];
    size_t sizes[MOST], some = 0;

    assert_int_equal(mp_queue_get_many(queue, got, sizeof got, sizes, MOST, &some, 0),
                     0);
    assert_int_equal(some, count);
    for (size_t i = 0; i < some; i++) {
        assert_int_equal(sizes[i], 8);
        assert_int_equal(got[i], first + i);
    }
}

static void test_all_sizes(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    struct iovec messages[PARCEL_SIZES];
    unsigned char *buffer = malloc(2 * PARCEL_MOST), *at = buffer;
    size_t sizes[PARCEL_SIZES + 1], count = 0;

    for (size_t i = 0; i < PARCEL_SIZES; i++) {
        size_t size = parcel_sizes[i];
        messages[i] = (struct iovec){size ? malloc(size) : NULL, size};
        parcel_fill(messages[i].iov_base, size, i);
    }
    assert_int_equal(mp_queue_put_many(queue, messages, PARCEL_SIZES, &count, 0), 0);
    assert_int_equal(count, PARCEL_SIZES);
    assert_int_equal(mp_queue_qsize(queue), PARCEL_SIZES);
    assert_int_equal(mp_queue_get_many(queue, buffer, 2 * PARCEL_MOST, sizes,
                                       PARCEL_SIZES + 1, &count, 0),
                     0);
    assert_int_equal(count, PARCEL_SIZES);
    for (size_t i = 0; i < PARCEL_SIZES; at += sizes[i++]) {
        assert_int_equal(sizes[i], parcel_sizes[i]);
        assert_true(parcel_is(at, sizes[i], i));
        free(messages[i].iov_base);
    }
    free(buffer);
    mp_queue_free(queue);
}

static void test_none(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    size_t count = 77;

    assert_int_equal(mp_queue_put_many(queue, NULL, 0, &count, MP_FOREVER), 0);
    assert_int_equal(count, 0);
    assert_true(mp_queue_empty(queue));
    mp_queue_free(queue);
}

/* As many as there is room for go in. */
static void test_bound(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(MP_QUEUE_OPTIONS(.max_messages = 10));
    size_t count = 77;
    uint64_t number;

    assert_int_equal(mp_queue_put_many(queue, numbers(0), 7, &count, 0), 0);
    assert_int_equal(count, 7);
    assert_int_equal(mp_queue_put_many(queue, numbers(7), 7, &count, 0), ETIMEDOUT);
    assert_int_equal(count, 3);
    assert_true(mp_queue_full(queue));
    assert_int_equal(mp_queue_put_many(queue, numbers(7), 7, &count, 20), ETIMEDOUT);
    assert_int_equal(count, 0);
    expect(queue, 0, 10);

    /* Room that has come since the last look counts too, and so do messages. */
    assert_int_equal(mp_queue_put_many(queue, numbers(0), 9, &count, 0), 0);
    assert_int_equal(mp_queue_get(queue, &number, 8, NULL, 0), 0);
    expect(queue, 1, 8);
    assert_int_equal(mp_queue_put_many(queue, numbers(0), 10, &count, 0), 0);
    assert_int_equal(count, 10);
    assert_int_equal(mp_queue_get(queue, &number, 8, NULL, 0), 0);
    assert_int_equal(mp_queue_put_many(queue, numbers(10), 1, &count, 0), 0);
    expect(queue, 1, 10);
    mp_queue_free(queue);
}

static void test_part_of_what_is_there(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    uint64_t got[MOST];
    size_t sizes[MOST], count;

    assert_int_equal(mp_queue_put_many(queue, numbers(0), 20, &count, 0), 0);
    assert_int_equal(mp_queue_get_many(queue, got, sizeof got, sizes, 5, &count, 0), 0);
    assert_int_equal(count, 5);
    assert_int_equal(got[4], 4);
    /* Two and a half fit: two are taken, and nothing is written behind them. */
    memset(got, 0xff, sizeof got);
    sizes[2] = 77;
    assert_int_equal(mp_queue_get_many(queue, got, 20, sizes, MOST, &count, 0), 0);
    assert_int_equal(count, 2);
    assert_int_equal(got[1], 6);
    assert_int_equal(got[2], UINT64_MAX);
    assert_int_equal(sizes[2], 77);
    expect(queue, 7, 13);
    mp_queue_free(queue);
}

static void test_fixed_size_needs_no_sizes(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(MP_QUEUE_OPTIONS(.message_size = 8));
    uint64_t got[MOST];
    size_t count = 77;

    assert_int_equal(mp_queue_put_many(queue, numbers(0), 30, &count, 0), 0);
    assert_int_equal(mp_queue_get_many(queue, got, 7, NULL, MOST, &count, 0), EMSGSIZE);
    assert_int_equal(count, 30);
    assert_int_equal(mp_queue_get_many(queue, got, 83, NULL, MOST, &count, 0), 0);
    assert_int_equal(count, 10);
    expect(queue, 10, 20);
    mp_queue_free(queue);
}

/* What is urgent comes first; the rest is for the next call. */
static void test_one_priority_at_a_time(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(MP_QUEUE_OPTIONS(.priorities = 2));
    size_t count;

    assert_int_equal(mp_queue_put_many(queue, numbers(0), 5, &count, 0), 0);
    for (uint64_t i = 100; i < 103; i++)
        assert_int_equal(mp_queue_put_priority(queue, 1, &i, sizeof i, 0), 0);
    expect(queue, 100, 3);
    expect(queue, 0, 5);
    mp_queue_free(queue);
}

/* More than there is ever room for: it waits for those who take. */
static int put_thousands(void *arg)
{
    size_t count = 0;
    uint64_t put = 0;

    for (; put < 5000; put += count)
        if (mp_queue_put_many(arg, numbers(put), MOST, &count, MP_FOREVER) ||
            count != MOST)
            return 1;
    return 0;
}

static void test_waits_for_room(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(MP_QUEUE_OPTIONS(.max_messages = 13));
    uint64_t next = 0, got[MOST];
    size_t sizes[MOST], count;
    pid_t pid = child_start(put_thousands, queue);

    while (next < 5000) {
        assert_int_equal(mp_queue_get_many(queue, got, sizeof got, sizes, 1 + next % 20,
                                           &count, 10000),
                         0);
        assert_in_range(count, 1, 13);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(got[i], next++);
    }
    assert_int_equal(child_wait(pid, 5000), 0);
    mp_queue_free(queue);
}

/* What there is room for is together, whoever else puts. */
static int put_batches(void *arg)
{
    size_t count;

    for (uint64_t i = 0; i < 300; i++)
        if (mp_queue_put_many(arg, numbers(MOST * i), MOST, &count, MP_FOREVER))
            return 1;
    return 0;
}

static void test_batches_stay_together(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    pid_t pids[3];
    uint64_t number;

    for (int i = 0; i < 3; i++)
        pids[i] = child_start(put_batches, queue);
    for (uint64_t i = 0; i < 3 * 300 * MOST; i++) {
        static uint64_t before;
        assert_int_equal(mp_queue_get(queue, &number, sizeof number, NULL, 10000), 0);
        assert_true(i % MOST ? number == before + 1 : number % MOST == 0);
        before = number;
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(pids[i], 5000), 0);
    mp_queue_free(queue);
}

int main(void)
{
    static const struct CMUnitTest queue_many_tests[] = {
        TEST(test_all_sizes),
        TEST(test_none),
        TEST(test_bound),
        TEST(test_part_of_what_is_there),
        TEST(test_fixed_size_needs_no_sizes),
        TEST(test_one_priority_at_a_time),
        TEST(test_waits_for_room),
        TEST(test_batches_stay_together),
    };

    return TEST_MAIN(queue_many_tests);
}
