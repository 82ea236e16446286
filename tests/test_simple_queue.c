/* SPDX-License-Identifier: MIT */
/* test_simple_queue.c - the queue with nothing to choose. */
#include "support/parcel.h"

#include <mp/mp.h>

static void test_errors(void **state)
{
    (void)state;
    mp_simple_queue *queue;
    char bytes[4];
    size_t size = 0;

    assert_int_equal(mp_simple_queue_new(NULL), EINVAL);
    mp_simple_queue_free(NULL);
    assert_int_equal(mp_simple_queue_put(NULL, "x", 1), EINVAL);
    assert_int_equal(mp_simple_queue_get(NULL, bytes, 4, &size), EINVAL);
    assert_int_equal(mp_simple_queue_close(NULL), EINVAL);
    assert_false(mp_simple_queue_empty(NULL));

    assert_int_equal(mp_simple_queue_new(&queue), 0);
    assert_true(mp_shared_contains(queue));
    assert_int_equal(mp_simple_queue_put(queue, NULL, 1), EINVAL);
    assert_int_equal(mp_simple_queue_put(queue, bytes, SIZE_MAX), ENOMEM);
    assert_int_equal(mp_simple_queue_get(queue, NULL, 1, &size), EINVAL);
    assert_int_equal(mp_simple_queue_put(queue, "hello", 5), 0);
    assert_int_equal(mp_simple_queue_get(queue, bytes, 4, &size), EMSGSIZE);
    assert_int_equal(size, 5);
    assert_false(mp_simple_queue_empty(queue));
    mp_simple_queue_free(queue);
}

static void test_close(void **state)
{
    (void)state;
    mp_simple_queue *queue;
    char bytes[4];
    size_t size = 77;

    assert_int_equal(mp_simple_queue_new(&queue), 0);
    assert_true(mp_simple_queue_empty(queue));
    assert_int_equal(mp_simple_queue_put(queue, NULL, 0), 0);
    assert_false(mp_simple_queue_empty(queue));
    assert_int_equal(mp_simple_queue_close(queue), 0);
    assert_int_equal(mp_simple_queue_close(queue), 0);
    assert_int_equal(mp_simple_queue_put(queue, "x", 1), EPIPE);
    assert_int_equal(mp_simple_queue_get(queue, bytes, 4, &size), 0);
    assert_int_equal(size, 0);
    assert_int_equal(mp_simple_queue_get(queue, bytes, 4, NULL), EPIPE);
    assert_true(mp_simple_queue_empty(queue));
    mp_simple_queue_free(queue);
}

static int put_parcels(void *queue)
{
    unsigned char *parcel = malloc(PARCEL_MOST);
    int err = 0;

    for (size_t i = 0; i < PARCEL_SIZES && !err; i++) {
        parcel_fill(parcel, parcel_sizes[i], i);
        err = mp_simple_queue_put(queue, parcel, parcel_sizes[i]);
    }
    free(parcel);
    return err;
}

/* A put never waits: far more than a pipe holds, with nobody there to read it. */
static void test_from_a_child(void **state)
{
    (void)state;
    mp_simple_queue *queue;
    unsigned char *parcel = malloc(PARCEL_MOST);
    size_t size;

    assert_int_equal(mp_simple_queue_new(&queue), 0);
    assert_int_equal(child_run(put_parcels, queue), 0);
    pid_t pid = child_start(put_parcels, queue);
    for (size_t i = 0; i < 2 * PARCEL_SIZES; i++) {
        assert_int_equal(mp_simple_queue_get(queue, parcel, PARCEL_MOST, &size), 0);
        assert_int_equal(size, parcel_sizes[i % PARCEL_SIZES]);
        assert_true(parcel_is(parcel, size, i % PARCEL_SIZES));
    }
    assert_int_equal(child_wait(pid, 5000), 0);
    assert_true(mp_simple_queue_empty(queue));
    free(parcel);
    mp_simple_queue_free(queue);
}

int main(void)
{
    static const struct CMUnitTest simple_queue_tests[] = {
        TEST(test_errors),
        TEST(test_close),
        TEST(test_from_a_child),
    };

    return TEST_MAIN(simple_queue_tests);
}
