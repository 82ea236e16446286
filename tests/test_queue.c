/* SPDX-License-Identifier: MIT */
/* test_queue.c - what each call of a queue does. */
#include "support/parcel.h"

#include <mp/mp.h>

static mp_queue *open_queue(const mp_queue_options *options)
{
    mp_queue *queue;

    assert_int_equal(mp_queue_new(&queue, options), 0);
    assert_true(mp_shared_contains(queue));
    assert_true(mp_queue_empty(queue));
    assert_int_equal(mp_queue_qsize(queue), 0);
    return queue;
}

static void put_int(mp_queue *queue, int value)
{
    assert_int_equal(mp_queue_put(queue, &value, sizeof value, MP_NOWAIT), 0);
}

static int get_int(mp_queue *queue)
{
    int value = -1;
    size_t size = 0;

    assert_int_equal(mp_queue_get(queue, &value, sizeof value, &size, MP_NOWAIT), 0);
    assert_int_equal(size, sizeof value);
    return value;
}

static size_t arena_used(void)
{
    mp_shared_statistics stat;

    assert_int_equal(mp_shared_stat(&stat), 0);
    return stat.used;
}

/* All sizes, twice, into one queue; then out, in order and unharmed. */
static void through(const mp_queue_options *options)
{
    mp_queue *queue = open_queue(options);
    unsigned char *parcel = malloc(PARCEL_MOST), *got = malloc(PARCEL_MOST);
    size_t size, first = options && options->message_size;

    for (size_t i = 0; i < 2 * PARCEL_SIZES; i++) {
        size = first ? options->message_size : parcel_sizes[i % PARCEL_SIZES];
        parcel_fill(parcel, size, i);
        assert_int_equal(mp_queue_put(queue, size ? parcel : NULL, size, MP_NOWAIT), 0);
        assert_int_equal(mp_queue_qsize(queue), i + 1);
    }
    for (size_t i = 0; i < 2 * PARCEL_SIZES; i++) {
        assert_int_equal(mp_queue_get(queue, got, PARCEL_MOST, &size, MP_NOWAIT), 0);
        assert_int_equal(size, first ? options->message_size
                                     : parcel_sizes[i % PARCEL_SIZES]);
        assert_true(parcel_is(got, size, i));
    }
    assert_true(mp_queue_empty(queue));
    assert_int_equal(mp_queue_lost(queue), 0);
    free(parcel);
    free(got);
    mp_queue_free(queue);
}

static void test_any_size(void **state)
{
    (void)state;
    through(NULL);
    through(MP_QUEUE_OPTIONS(.max_messages = 2 * PARCEL_SIZES, .priorities = 3));
    through(MP_QUEUE_OPTIONS(.pollable = 1, .joinable = 1, .max_size = PARCEL_MOST));
}

static void test_one_size(void **state)
{
    (void)state;
    for (size_t i = 1; i + 1 < PARCEL_SIZES; i++)
        through(MP_QUEUE_OPTIONS(.message_size = parcel_sizes[i]));
}

static void test_bound(void **state)
{
    (void)state;
    for (size_t most = 1; most < 4; most++) {
        mp_queue *queue = open_queue(MP_QUEUE_OPTIONS(.max_messages = most));
        int next_in = 0, next_out = 0;

        for (int round = 0; round < 3000; round++) {
            while (!mp_queue_full(queue))
                put_int(queue, next_in++);
            assert_int_equal(mp_queue_qsize(queue), most);
            assert_int_equal(mp_queue_put(queue, &round, sizeof round, MP_NOWAIT),
                             ETIMEDOUT);
            for (size_t i = 0; i <= (size_t)round % most; i++) {
                assert_false(mp_queue_empty(queue));
                assert_int_equal(get_int(queue), next_out++);
                assert_false(mp_queue_full(queue));
                assert_int_equal(mp_queue_qsize(queue), most - 1 - i);
            }
        }
        mp_queue_free(queue);
    }
}

/* A queue without a bound is never full. */
static void test_no_bound(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    size_t empty = arena_used();

    for (int i = 0; i < 500000; i++)
        put_int(queue, i);
    assert_false(mp_queue_full(queue));
    assert_int_equal(mp_queue_qsize(queue), 500000);
    for (int i = 0; i < 500000; i++)
        assert_int_equal(get_int(queue), i);
    assert_true(arena_used() <= empty + (16 << 20));
    mp_queue_free(queue);
}

static void fill(mp_queue *queue, size_t messages, size_t size)
{
    unsigned char *parcel = malloc(size);

    for (size_t i = 0; i < messages; i++) {
        parcel_fill(parcel, size, i);
        assert_int_equal(mp_queue_put(queue, parcel, size, MP_NOWAIT), 0);
    }
    free(parcel);
}

static void drain(mp_queue *queue, size_t messages, size_t size)
{
    unsigned char *parcel = malloc(size);

    for (size_t i = 0; i < messages; i++) {
        assert_int_equal(mp_queue_get(queue, parcel, size, NULL, MP_NOWAIT), 0);
        assert_true(parcel_is(parcel, size, i));
    }
    assert_true(mp_queue_empty(queue));
    free(parcel);
}

/* Of what held a backlog 16 MiB are kept, of messages of any size. */
static void test_backlog_is_given_back(void **state)
{
    (void)state;
    const size_t kept = (size_t)16 << 20;

    for (size_t size = 1000; size < 100 << 20; size *= 37) {
        mp_queue *queue = open_queue(NULL);
        size_t empty = arena_used(), messages = ((size_t)60 << 20) / size + 1;

        fill(queue, messages, size);
        assert_true(arena_used() - empty >= messages * size - 65536);
        drain(queue, messages, size);
        assert_true(arena_used() - empty <= kept);
        fill(queue, 3, size);
        drain(queue, 3, size);
        assert_true(arena_used() - empty <= kept);
        mp_queue_free(queue);
    }
}

static void test_free_takes_all_along(void **state)
{
    (void)state;
    size_t before = arena_used();
    mp_queue *queue =
        open_queue(MP_QUEUE_OPTIONS(.priorities = 5, .joinable = 1, .pollable = 1));

    for (size_t i = 0; i < PARCEL_SIZES; i++)
        fill(queue, i, parcel_sizes[i]);
    mp_queue_free(queue);
    assert_int_equal(arena_used(), before);
}

static void test_get_alloc(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    unsigned char *parcel = malloc(PARCEL_MOST);

    for (size_t i = 0; i < PARCEL_SIZES; i++) {
        parcel_fill(parcel, parcel_sizes[i], i);
        assert_int_equal(mp_queue_put(queue, parcel, parcel_sizes[i], MP_NOWAIT), 0);
    }
    for (size_t i = 0; i < PARCEL_SIZES; i++) {
        void *message = NULL;
        size_t size = 77;
        assert_int_equal(mp_queue_get_alloc(queue, &message, &size, MP_NOWAIT), 0);
        assert_non_null(message);
        assert_int_equal(size, parcel_sizes[i]);
        assert_true(parcel_is(message, size, i));
        free(message);
    }
    free(parcel);
    mp_queue_free(queue);
}

/* A priority above overtakes; what is equally urgent keeps its order. */
static void test_priorities(void **state)
{
    (void)state;
    mp_queue *queue =
        open_queue(MP_QUEUE_OPTIONS(.priorities = 4, .max_messages = 400));
    int value;
    uint64_t seed = 1;

    for (int i = 0; i < 400; i++) {
        unsigned priority = (unsigned)(next_random(&seed) % 4);
        value = (int)priority * 1000 + i;
        assert_int_equal(
            mp_queue_put_priority(queue, priority, &value, sizeof value, MP_NOWAIT), 0);
    }
    assert_true(mp_queue_full(queue));
    assert_int_equal(mp_queue_put_priority(queue, 3, &value, sizeof value, 1),
                     ETIMEDOUT);
    assert_int_equal(mp_queue_put_priority(queue, 4, &value, sizeof value, 0), EINVAL);
    int before = get_int(queue);
    for (int i = 1; i < 400; i++) {
        value = get_int(queue);
        assert_true(value / 1000 < before / 1000 ||
                    (value / 1000 == before / 1000 && value > before));
        before = value;
    }
    /* One that comes late overtakes those that were known to be there. */
    put_int(queue, 1);
    put_int(queue, 2);
    assert_int_equal(get_int(queue), 1);
    value = 3;
    assert_int_equal(mp_queue_put_priority(queue, 2, &value, sizeof value, 0), 0);
    assert_int_equal(get_int(queue), 3);
    assert_int_equal(get_int(queue), 2);
    mp_queue_free(queue);
}

static void test_pointers(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(MP_QUEUE_OPTIONS(.message_size = sizeof(void *)));
    char *block = mp_shared_alloc(1 << 20), outside;
    void *got = &outside;

    strcpy(block, "large");
    assert_int_equal(mp_queue_put_pointer(queue, block, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_put_pointer(queue, block + 100, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_put_pointer(queue, NULL, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_put_pointer(queue, &outside, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_queue_put_pointer(queue, malloc, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_queue_get_pointer(queue, &got, MP_NOWAIT), 0);
    assert_ptr_equal(got, block);
    assert_string_equal(got, "large");
    assert_int_equal(mp_queue_get_pointer(queue, &got, MP_NOWAIT), 0);
    assert_ptr_equal(got, block + 100);
    assert_int_equal(mp_queue_get_pointer(queue, &got, MP_NOWAIT), 0);
    assert_null(got);
    assert_int_equal(mp_queue_put_pointer(queue, block, MP_NOWAIT), 0);
    mp_queue_free(queue); /* and not what it holds */
    assert_string_equal(block, "large");
    mp_shared_free(block);
}

int main(void)
{
    static const struct CMUnitTest queue_tests[] = {
        TEST(test_any_size),
        TEST(test_one_size),
        TEST(test_bound),
        TEST(test_no_bound),
        TEST(test_backlog_is_given_back),
        TEST(test_free_takes_all_along),
        TEST(test_get_alloc),
        TEST(test_priorities),
        TEST(test_pointers),
    };

    return TEST_MAIN(queue_tests);
}
