/* SPDX-License-Identifier: MIT */
/* test_queue_errors.c - each error of each call of a queue, and what is left by them.
 */
#include "support/parcel.h"
#include "support/rerun.h"

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

static void test_bad_options(void **state)
{
    (void)state;
    mp_queue *untouched = NULL;
    struct {
        mp_queue_options options;
        size_t newer;
    } newer = {{.struct_size = sizeof newer}, 1};
    const mp_queue_options *bad[] = {
        MP_QUEUE_OPTIONS(.max_size = 7, .message_size = 8),
        MP_QUEUE_OPTIONS(.priorities = 33),
        MP_QUEUE_OPTIONS(.priorities = (unsigned)-1),
        MP_QUEUE_OPTIONS(.reserved = 1),
        &newer.options,
    };

    assert_int_equal(mp_queue_new(NULL, NULL), EINVAL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mp_queue_new(&untouched, bad[i]), EINVAL);
    for (size_t size = SIZE_MAX; size > SIZE_MAX / 8; size -= SIZE_MAX / 16)
        assert_int_equal(
            mp_queue_new(&untouched, MP_QUEUE_OPTIONS(.message_size = size)), ENOMEM);
    assert_null(untouched);

    mp_queue_free(open_queue(MP_QUEUE_OPTIONS(.max_size = 8, .message_size = 8)));
    mp_queue_free(open_queue(MP_QUEUE_OPTIONS(.priorities = 32)));
}

static void test_null(void **state)
{
    (void)state;
    char byte = 0;
    size_t count = 0;
    void *memory = NULL;
    struct iovec one = {&byte, 1};
    int fd;

    mp_queue_free(NULL);
    assert_int_equal(mp_queue_put(NULL, &byte, 1, 0), EINVAL);
    assert_int_equal(mp_queue_put_priority(NULL, 0, &byte, 1, 0), EINVAL);
    assert_int_equal(mp_queue_put_many(NULL, &one, 1, &count, 0), EINVAL);
    assert_int_equal(mp_queue_put_pointer(NULL, NULL, 0), EINVAL);
    assert_int_equal(mp_queue_get(NULL, &byte, 1, NULL, 0), EINVAL);
    assert_int_equal(mp_queue_get_alloc(NULL, &memory, &count, 0), EINVAL);
    assert_int_equal(mp_queue_get_many(NULL, &byte, 1, &count, 1, &count, 0), EINVAL);
    assert_int_equal(mp_queue_get_pointer(NULL, &memory, 0), EINVAL);
    assert_int_equal(mp_queue_close(NULL), EINVAL);
    assert_int_equal(mp_queue_fileno(NULL, &fd), EINVAL);
    assert_false(mp_queue_empty(NULL) || mp_queue_full(NULL) || mp_queue_closed(NULL));
    assert_int_equal(mp_queue_qsize(NULL), 0);
    assert_int_equal(mp_queue_lost(NULL), 0);
}

static void test_bad_input(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    char byte = 0;
    size_t count = 77, size;
    void *memory = NULL;
    struct iovec one = {&byte, 1}, bad[] = {{&byte, 1}, {NULL, 1}};

    assert_int_equal(mp_queue_put(queue, NULL, 1, 0), EINVAL);
    assert_int_equal(mp_queue_put(queue, &byte, 1, -2), EINVAL);
    assert_int_equal(mp_queue_put(queue, &byte, 1, INT32_MIN), EINVAL);
    assert_int_equal(mp_queue_put_priority(queue, 1, &byte, 1, 0), EINVAL);
    assert_int_equal(mp_queue_put_many(queue, NULL, 1, &count, 0), EINVAL);
    assert_int_equal(mp_queue_put_many(queue, &one, 1, NULL, 0), EINVAL);
    assert_int_equal(mp_queue_put_many(queue, &one, 1, &count, -2), EINVAL);
    assert_int_equal(mp_queue_put_many(queue, bad, 2, &count, 0), EINVAL);
    assert_int_equal(count, 0);
    assert_int_equal(mp_queue_put_pointer(queue, &byte, 0), EINVAL);
    assert_int_equal(mp_queue_put_pointer(queue, NULL, -2), EINVAL);
    assert_int_equal(mp_queue_get(queue, NULL, 1, &size, 0), EINVAL);
    assert_int_equal(mp_queue_get(queue, &byte, 1, &size, -2), EINVAL);
    assert_int_equal(mp_queue_get_alloc(queue, NULL, &size, 0), EINVAL);
    assert_int_equal(mp_queue_get_alloc(queue, &memory, NULL, 0), EINVAL);
    assert_int_equal(mp_queue_get_alloc(queue, &memory, &size, -2), EINVAL);
    assert_int_equal(mp_queue_get_many(queue, NULL, 1, &size, 1, &count, 0), EINVAL);
    assert_int_equal(mp_queue_get_many(queue, &byte, 1, NULL, 1, &count, 0), EINVAL);
    assert_int_equal(mp_queue_get_many(queue, &byte, 1, &size, 0, &count, 0), EINVAL);
    assert_int_equal(mp_queue_get_many(queue, &byte, 1, &size, 1, NULL, 0), EINVAL);
    assert_int_equal(mp_queue_get_many(queue, &byte, 1, &size, 1, &count, -2), EINVAL);
    assert_int_equal(mp_queue_get_pointer(queue, NULL, 0), EINVAL);
    assert_int_equal(mp_queue_get_pointer(queue, &memory, -2), EINVAL);
    assert_null(memory);
    assert_int_equal(mp_queue_qsize(queue), 0);
    mp_queue_free(queue);
}

static void test_timeouts(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(MP_QUEUE_OPTIONS(.max_messages = 1));
    struct iovec message = {queue, 8};
    void *memory;
    size_t size, count;
    char bytes[8];

    for (int ms = 0; ms <= 200; ms = ms ? 200 * ms : 1) {
        int64_t start = now_ms();
        assert_int_equal(mp_queue_get(queue, bytes, 8, &size, ms), ETIMEDOUT);
        assert_int_equal(mp_queue_get_alloc(queue, &memory, &size, ms), ETIMEDOUT);
        assert_int_equal(mp_queue_get_pointer(queue, &memory, ms), ETIMEDOUT);
        assert_int_equal(mp_queue_get_many(queue, bytes, 8, &size, 1, &count, ms),
                         ETIMEDOUT);
        assert_true(now_ms() - start >= 4 * ms - 1);
        assert_true(now_ms() - start < scaled(4 * ms + 1000));

        assert_int_equal(mp_queue_put(queue, bytes, 8, ms), 0);
        start = now_ms();
        assert_int_equal(mp_queue_put(queue, bytes, 8, ms), ETIMEDOUT);
        assert_int_equal(mp_queue_put_priority(queue, 0, bytes, 8, ms), ETIMEDOUT);
        assert_int_equal(mp_queue_put_many(queue, &message, 1, &count, ms), ETIMEDOUT);
        assert_int_equal(mp_queue_put_pointer(queue, queue, ms), ETIMEDOUT);
        assert_true(now_ms() - start >= 4 * ms - 1);
        assert_true(now_ms() - start < scaled(4 * ms + 1000));
        assert_int_equal(mp_queue_get(queue, bytes, 8, &size, ms), 0);
    }
    mp_queue_free(queue);
}

static void test_close(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    struct iovec message = {queue, 8};
    size_t size, count = 77;
    void *memory;
    char bytes[8];

    put_int(queue, 1);
    put_int(queue, 2);
    assert_false(mp_queue_closed(queue));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mp_queue_close(queue), 0);
        assert_true(mp_queue_closed(queue));
    }
    for (int ms = MP_FOREVER; ms <= 1; ms++) {
        assert_int_equal(mp_queue_put(queue, bytes, 8, ms), EPIPE);
        assert_int_equal(mp_queue_put_priority(queue, 0, bytes, 8, ms), EPIPE);
        assert_int_equal(mp_queue_put_pointer(queue, NULL, ms), EPIPE);
        assert_int_equal(mp_queue_put_many(queue, &message, 1, &count, ms), EPIPE);
        assert_int_equal(count, 0);
    }
    assert_int_equal(mp_queue_qsize(queue), 2);
    assert_int_equal(get_int(queue), 1);
    assert_int_equal(get_int(queue), 2);
    for (int ms = MP_FOREVER; ms <= 1; ms++) {
        assert_int_equal(mp_queue_get(queue, bytes, 8, &size, ms), EPIPE);
        assert_int_equal(mp_queue_get_alloc(queue, &memory, &size, ms), EPIPE);
        assert_int_equal(mp_queue_get_pointer(queue, &memory, ms), EPIPE);
        assert_int_equal(mp_queue_get_many(queue, bytes, 8, &size, 1, &count, ms),
                         EPIPE);
    }
    assert_true(mp_queue_empty(queue));
    mp_queue_free(queue);
}

static void test_wrong_size(void **state)
{
    (void)state;
    mp_queue *bounded = open_queue(MP_QUEUE_OPTIONS(.max_size = 10));
    mp_queue *fixed = open_queue(MP_QUEUE_OPTIONS(.message_size = 10));
    mp_queue *open = open_queue(MP_QUEUE_OPTIONS(.max_size = SIZE_MAX));
    char bytes[11] = "0123456789";
    struct iovec messages[] = {{bytes, 10}, {bytes, 11}};
    size_t count = 77;

    assert_int_equal(mp_queue_put(bounded, bytes, 11, MP_FOREVER), EMSGSIZE);
    assert_int_equal(mp_queue_put(bounded, bytes, SIZE_MAX, MP_FOREVER), EMSGSIZE);
    assert_int_equal(mp_queue_put(fixed, bytes, 11, MP_FOREVER), EMSGSIZE);
    assert_int_equal(mp_queue_put(fixed, bytes, 9, MP_FOREVER), EMSGSIZE);
    assert_int_equal(mp_queue_put(fixed, NULL, 0, MP_FOREVER), EMSGSIZE);
    assert_int_equal(mp_queue_put_pointer(fixed, NULL, MP_FOREVER), EMSGSIZE);
    assert_int_equal(mp_queue_put_many(bounded, messages, 2, &count, 0), EMSGSIZE);
    assert_int_equal(count, 0);
    assert_int_equal(mp_queue_put_many(fixed, messages, 2, &count, 0), EMSGSIZE);
    /* What no arena can hold, also where adding to it would overflow. */
    for (size_t size = SIZE_MAX; size > SIZE_MAX / 8; size -= SIZE_MAX / 16)
        assert_int_equal(mp_queue_put(open, bytes, size, MP_FOREVER), ENOMEM);
    for (size_t size = SIZE_MAX; size > SIZE_MAX - 100; size--)
        assert_int_equal(mp_queue_put(open, bytes, size, MP_FOREVER), ENOMEM);
    assert_true(mp_queue_empty(bounded) && mp_queue_empty(fixed) &&
                mp_queue_empty(open));
    put_int(open, 5);
    assert_int_equal(get_int(open), 5);
    mp_queue_free(bounded);
    mp_queue_free(fixed);
    mp_queue_free(open);
}

/* What is too large for the buffer stays the next one. */
static void test_small_buffer(void **state)
{
    (void)state;
    mp_queue *queue = open_queue(NULL);
    char bytes[8];
    size_t size, count = 77;
    void *block;

    assert_int_equal(mp_queue_put(queue, "hello", 5, MP_NOWAIT), 0);
    assert_int_equal(mp_queue_put(queue, "x", 1, MP_NOWAIT), 0);
    for (size_t room = 0; room < 5; room++) {
        size = 0;
        assert_int_equal(mp_queue_get(queue, bytes, room, &size, 0), EMSGSIZE);
        assert_int_equal(size, 5);
        assert_int_equal(mp_queue_get(queue, room ? bytes : NULL, room, NULL, 0),
                         EMSGSIZE);
        size = 0;
        assert_int_equal(mp_queue_get_many(queue, bytes, room, &size, 1, &count, 0),
                         EMSGSIZE);
        assert_int_equal(size, 5);
        assert_int_equal(count, 77);
    }
    assert_int_equal(mp_queue_get_pointer(queue, &block, 0), EMSGSIZE);
    assert_int_equal(mp_queue_qsize(queue), 2);
    assert_int_equal(mp_queue_get(queue, bytes, 5, &size, 0), 0);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(mp_queue_get(queue, bytes, 1, NULL, 0), 0);
    assert_int_equal(bytes[0], 'x');
    mp_queue_free(queue);
}

/* In an arena of 8 MiB: what there is no room for fails, and harms nothing. */
static int fill_the_arena(void)
{
    mp_queue *queue, *other = NULL;
    unsigned char *parcel = calloc(1, PARCEL_MOST), got[1000];
    size_t put = 0, some = 0, size;
    struct iovec messages[] = {{parcel, 1000}, {parcel, PARCEL_MOST}, {parcel, 1000}};

    assert_int_equal(mp_queue_new(&queue, MP_QUEUE_OPTIONS(.pollable = 1)), 0);
    assert_int_equal(mp_queue_put(queue, parcel, PARCEL_MOST, MP_FOREVER), ENOMEM);
    assert_int_equal(mp_queue_put_many(queue, messages, 3, &some, MP_FOREVER), ENOMEM);
    assert_int_equal(some, 1);
    assert_int_equal(mp_queue_put_many(queue, messages + 1, 2, &some, MP_FOREVER),
                     ENOMEM);
    assert_int_equal(some, 0);
    parcel_fill(parcel, 1000, 0);
    for (int err = 0; !err; put += !err)
        err = mp_queue_put(queue, parcel, 1000, MP_FOREVER);
    assert_true(put > 4000 && put < 8389);
    assert_int_equal(mp_queue_qsize(queue), put + 1);
    assert_int_equal(mp_queue_new(&other, NULL), ENOMEM);
    assert_int_equal(mp_queue_new(&other, MP_QUEUE_OPTIONS(.joinable = 1)), ENOMEM);
    assert_null(other);
    assert_int_equal(mp_queue_get(queue, got, 1000, &size, MP_NOWAIT), 0);
    put -= 65; /* the segment in which both ends meet is not free as a whole */
    for (int round = 0; round < 3; round++) {
        while (!mp_queue_empty(queue)) {
            assert_int_equal(mp_queue_get(queue, got, 1000, &size, MP_NOWAIT), 0);
            assert_true(size == 1000 && parcel_is(got, 1000, 0));
        }
        for (size_t i = 0; i < put; i++)
            assert_int_equal(mp_queue_put(queue, parcel, 1000, MP_FOREVER), 0);
    }
    mp_queue_free(queue);
    free(parcel);
    return 0;
}

static void test_full_arena(void **state)
{
    (void)state;
    assert_int_equal(rerun("fill_the_arena", "MP_ARENA_SIZE", "8M", -1), 0);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {{"fill_the_arena", fill_the_arena}};
    static const struct CMUnitTest queue_error_tests[] = {
        TEST(test_bad_options),  TEST(test_null),       TEST(test_bad_input),
        TEST(test_timeouts),     TEST(test_close),      TEST(test_wrong_size),
        TEST(test_small_buffer), TEST(test_full_arena),
    };

    if (argc > 1)
        return rerun_part(argv[1], parts, sizeof parts / sizeof *parts);
    return TEST_MAIN(queue_error_tests);
}
