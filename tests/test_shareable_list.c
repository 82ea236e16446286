/* SPDX-License-Identifier: MIT */
/* test_shareable_list.c - lists that C and Python share. */
#include "support/shareable.h"

#include <math.h>

static void test_example(void **state)
{
    (void)state;
    unsigned char bytes[299], nothing[16] = {0};
    mp_shareable_list *list = make(example(), 11);

    assert_string_equal(mp_shareable_list_name(list), own_name());
    assert_int_equal(example_bytes(bytes), 299);
    expect_block(bytes, 299);
    expect_example(list);
    mp_shareable_list *other = attach();
    expect_example(other);
    mp_shareable_list_free(other);
    end(list);

    list = make(NULL, 0);
    expect_block(nothing, 16);
    expect_format(list, "");
    other = attach();
    assert_int_equal(mp_shareable_list_len(other), 0);
    mp_shareable_list_free(other);
    end(list);
}

static void test_replace(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11), *other = attach();

    /* All that take 8 bytes change places freely; what one sets the other sees. */
    set(list, 2, &MP_SHAREABLE_INT(INT64_MIN));
    expect_int(other, 2, INT64_MIN);
    set(other, 2, &MP_SHAREABLE_NONE());
    assert_int_equal(get(list, 2).type, MP_SHAREABLE_TYPE_NONE);
    set(list, 2, &MP_SHAREABLE_BOOL(true));
    assert_true(get(other, 2).as.truth);
    set(list, 2, &MP_SHAREABLE_BOOL(false));
    assert_int_equal(get(other, 2).type, MP_SHAREABLE_TYPE_BOOL);
    assert_false(get(other, 2).as.truth);
    set(list, 2, &MP_SHAREABLE_FLOAT(INFINITY));
    assert_true(isinf(get(other, 2).as.real));
    set(list, 2, &MP_SHAREABLE_STR("in place"));
    expect_str(other, 2, "in place"); /* which fills it to the last byte */
    expect_format(other, "8s8s8sqxxxxxx?xxxxxxxx?q8s8s8s16s");

    /* A number in the place of a text keeps the text's room. */
    set(list, 10, &MP_SHAREABLE_INT(5));
    expect_int(other, 10, 5);
    expect_format(other, "8s8s8sqxxxxxx?xxxxxxxx?q8s8s8sq");
    set(list, 10, &MP_SHAREABLE_BYTES("0123456789abcdef", 16));
    expect_bytes(other, 10, "0123456789abcdef", 16);
    set(list, 10, &MP_SHAREABLE_STR("short"));
    expect_str(other, 10, "short");
    set(list, 10, &MP_SHAREABLE_BYTES(NULL, 0));
    expect_bytes(other, 10, "", 0);

    mp_shareable_list_free(other);
    end(list);
}

static void test_replace_texts(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11), *other = attach();

    /* What is too long leaves all as it was. */
    set(list, 0, &MP_SHAREABLE_STR("kept"));
    assert_int_equal(mp_shareable_list_set(list, 0, &MP_SHAREABLE_STR("nine byte")),
                     EMSGSIZE);
    assert_int_equal(
        mp_shareable_list_set(list, 0, &MP_SHAREABLE_BYTES("nine byte", 9)), EMSGSIZE);
    assert_int_equal(
        mp_shareable_list_set(list, 0, &MP_SHAREABLE_BYTES("", (size_t)1 << 40)),
        EMSGSIZE);
    expect_str(other, 0, "kept");
    expect_int(other, 3, 100);

    /* Zero bytes count while there is something behind them. */
    set(list, 1, &MP_SHAREABLE_BYTES("a\0b\0\0", 5));
    expect_bytes(other, 1, "a\0b", 3);
    set(list, 1, &MP_SHAREABLE_STR_OF("c\0d", 3));
    assert_int_equal(get(other, 1).size, 3);
    assert_memory_equal(get(other, 1).as.text, "c\0d", 4);
    mp_shareable_list_free(other);
    end(list);
}

/* Room: letters divided by 8, and 8 more; but never less than the bytes that there are.
 */
static void test_room(void **state)
{
    (void)state;
    char zeros[100] = {0};
    const mp_shareable_item items[] = {
        MP_SHAREABLE_STR("1234567"),
        MP_SHAREABLE_STR("12345678"),
        MP_SHAREABLE_STR("1234567" E),
        MP_SHAREABLE_STR(E E E E E E E E),
        MP_SHAREABLE_STR(E E E E E E E E E), /* which Python would cut */
        MP_SHAREABLE_STR("\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x82\xac"),
        MP_SHAREABLE_BYTES("1234567", 7),
        MP_SHAREABLE_BYTES("12345678", 8),
        MP_SHAREABLE_BYTES(zeros, 100),
    };
    mp_shareable_list *list = make(items, COUNT(items));

    expect_format(list, "8s16s16s16s24s16s8s16s104s");
    expect_str(list, 3, items[3].as.text);
    expect_str(list, 4, items[4].as.text);
    expect_str(list, 5, items[5].as.text);
    expect_bytes(list, 8, "", 0);
    memset(zeros, 'z', sizeof zeros);
    set(list, 8, &MP_SHAREABLE_BYTES(zeros, 100));
    expect_bytes(list, 8, zeros, 100);
    end(list);
}

static void test_buffers(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11);
    mp_shareable_item item = MP_SHAREABLE_INT(7);
    char buffer[9];

    memset(buffer, '#', sizeof buffer);
    assert_int_equal(mp_shareable_list_get(list, 10, &item, buffer, 8), EMSGSIZE);
    assert_int_equal(item.type, MP_SHAREABLE_TYPE_STR);
    assert_int_equal(item.size, 8);
    assert_memory_equal(buffer, "#########", 9);
    assert_int_equal(mp_shareable_list_get(list, 10, &item, buffer, 9), 0);
    assert_ptr_equal(item.as.text, buffer);
    assert_string_equal(buffer, "aaaaaaaa");

    /* Bytes have no zero byte behind them. */
    memset(buffer, '#', sizeof buffer);
    assert_int_equal(mp_shareable_list_get(list, 1, &item, NULL, 0), EMSGSIZE);
    assert_int_equal(item.type, MP_SHAREABLE_TYPE_BYTES);
    assert_int_equal(item.size, 5);
    assert_int_equal(mp_shareable_list_get(list, 1, &item, buffer, 4), EMSGSIZE);
    assert_int_equal(mp_shareable_list_get(list, 1, &item, buffer, 5), 0);
    assert_memory_equal(buffer, "HoWdY####", 9);

    /* Numbers need none, and an empty str one of a byte. */
    assert_int_equal(mp_shareable_list_get(list, 3, &item, NULL, 0), 0);
    assert_true(item.as.integer == 100);
    assert_int_equal(mp_shareable_list_get(list, 7, &item, NULL, 0), EMSGSIZE);
    assert_int_equal(item.size, 0);
    assert_int_equal(mp_shareable_list_get(list, 7, &item, buffer, 1), 0);
    assert_string_equal(item.as.text, "");
    set(list, 1, &MP_SHAREABLE_BYTES("", 0));
    assert_int_equal(mp_shareable_list_get(list, 1, &item, NULL, 0), 0);
    assert_int_equal(item.size, 0);

    char format[sizeof example_format];
    size_t size = 0;
    assert_int_equal(mp_shareable_list_format(list, NULL, 0, &size), EMSGSIZE);
    assert_int_equal(size, strlen(example_format));
    assert_int_equal(mp_shareable_list_format(list, format, size, NULL), EMSGSIZE);
    assert_int_equal(mp_shareable_list_format(list, format, size + 1, NULL), 0);
    assert_string_equal(format, example_format);
    end(list);
}

static void expect_index(const mp_shareable_list *list, mp_shareable_item item,
                         int index, int count)
{
    size_t found = 12345, equal = 12345;

    assert_int_equal(mp_shareable_list_index(list, &item, &found),
                     index < 0 ? ENOENT : 0);
    assert_int_equal(found, index < 0 ? 12345 : index);
    assert_int_equal(mp_shareable_list_count(list, &item, &equal), 0);
    assert_int_equal(equal, count);
}

/* What is equal in Python is equal. */
static void test_index_and_count(void **state)
{
    (void)state;
    const int64_t large = ((int64_t)1 << 53) + 1;
    const mp_shareable_item items[] = {
        MP_SHAREABLE_STR("one"),     MP_SHAREABLE_INT(1),
        MP_SHAREABLE_FLOAT(1.0),     MP_SHAREABLE_BOOL(true),
        MP_SHAREABLE_BOOL(false),    MP_SHAREABLE_NONE(),
        MP_SHAREABLE_BYTES("b", 1),  MP_SHAREABLE_STR("b"),
        MP_SHAREABLE_FLOAT(NAN),     MP_SHAREABLE_INT(large),
        MP_SHAREABLE_FLOAT(0x1p53),  MP_SHAREABLE_INT(INT64_MAX),
        MP_SHAREABLE_FLOAT(0x1p63),  MP_SHAREABLE_FLOAT(-0.0),
        MP_SHAREABLE_INT(INT64_MIN), MP_SHAREABLE_BYTES("", 0),
        MP_SHAREABLE_FLOAT(0.5),
    };
    mp_shareable_list *list = make(items, COUNT(items));

    expect_index(list, MP_SHAREABLE_INT(1), 1, 3);
    expect_index(list, MP_SHAREABLE_FLOAT(1), 1, 3);
    expect_index(list, MP_SHAREABLE_BOOL(true), 1, 3);
    expect_index(list, MP_SHAREABLE_INT(0), 4, 2);
    expect_index(list, MP_SHAREABLE_FLOAT(0.5), 16, 1);
    expect_index(list, MP_SHAREABLE_FLOAT(1.5), -1, 0);
    expect_index(list, MP_SHAREABLE_NONE(), 5, 1);
    expect_index(list, MP_SHAREABLE_STR("one"), 0, 1);
    expect_index(list, MP_SHAREABLE_STR("on"), -1, 0);
    expect_index(list, MP_SHAREABLE_STR("b"), 7, 1);
    expect_index(list, MP_SHAREABLE_BYTES("b", 1), 6, 1);
    expect_index(list, MP_SHAREABLE_BYTES("b\0", 2), -1, 0);
    expect_index(list, MP_SHAREABLE_BYTES(NULL, 0), 15, 1);
    expect_index(list, MP_SHAREABLE_STR(""), -1, 0);
    expect_index(list, MP_SHAREABLE_FLOAT(NAN), -1, 0);
    expect_index(list, MP_SHAREABLE_INT(large), 9, 1);
    expect_index(list, MP_SHAREABLE_INT(large - 1), 10, 1);
    expect_index(list, MP_SHAREABLE_INT(INT64_MAX), 11, 1);
    expect_index(list, MP_SHAREABLE_FLOAT(0x1p63), 12, 1);
    expect_index(list, MP_SHAREABLE_FLOAT(-0x1p63), 14, 1);
    expect_index(list, MP_SHAREABLE_FLOAT(-INFINITY), -1, 0);
    end(list);
}

/* A format has 8 bytes for the number and the s. */
static void test_largest(void **state)
{
    (void)state;
    enum { MOST = 9999991 };
    mp_shareable_list *list = NULL;
    char *large = malloc(MOST + 100), *back = malloc(MOST + 100);
    mp_shareable_item item;

    memset(large, 'l', MOST + 100);
    item = MP_SHAREABLE_STR_OF(large, MOST + 1);
    assert_int_equal(mp_shareable_list_new(&list, &item, 1, NULL), EOVERFLOW);
    item = MP_SHAREABLE_BYTES(large, SIZE_MAX);
    assert_int_equal(mp_shareable_list_new(&list, &item, 1, NULL), EOVERFLOW);
    item = MP_SHAREABLE_STR_OF(large, MOST);
    assert_int_equal(mp_shareable_list_new(&list, &item, 1, NULL), 0);
    expect_format(list, "9999992s");
    set(list, 0, &MP_SHAREABLE_BYTES(large, MOST + 1));
    assert_int_equal(
        mp_shareable_list_set(list, 0, &MP_SHAREABLE_BYTES(large, MOST + 2)), EMSGSIZE);
    assert_int_equal(mp_shareable_list_get(list, 0, &item, back, MOST + 100), 0);
    assert_int_equal(item.size, MOST + 1);
    assert_memory_equal(back, large, MOST + 1);
    end(list);
    free(large);
    free(back);
}

static void test_many(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    mp_shareable_item *items = malloc(MANY * sizeof *items);

    for (int i = 0; i < MANY; i++)
        items[i] = i % 2 ? MP_SHAREABLE_INT(i) : MP_SHAREABLE_STR("even");
    mp_shareable_list *list = make(items, MANY), *other = attach();
    for (size_t i = 0; i < MANY; i += 2)
        expect_str(other, i, "even");
    for (size_t i = 1; i < MANY; i += 2)
        expect_int(other, i, (int64_t)i);
    expect_index(other, MP_SHAREABLE_STR("even"), 0, MANY / 2);
    mp_shareable_list_free(other);
    end(list);
    free(items);
}

static int count_up(void *arg)
{
    mp_shareable_list *list = attach();

    for (int64_t i = 1; i <= 200000; i++)
        if (mp_shareable_list_set(list, 3, &MP_SHAREABLE_INT(i << 32 | i)) != 0)
            return 1;
    mp_shareable_list_free(list);
    return arg != NULL;
}

/* A number is never half of one and half of another. */
static void test_whole_numbers(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11);

    set(list, 3, &MP_SHAREABLE_INT(0));
    pid_t pid = child_start(count_up, NULL);
    for (int64_t last = 0, now = 0; now != 200000; last = now) {
        int64_t both = get(list, 3).as.integer;
        now = both & 0xffffffff;
        assert_true(both >> 32 == now);
        assert_true(now >= last);
    }
    assert_int_equal(child_wait(pid, 20000), 0);
    end(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_example), TEST(test_replace), TEST(test_replace_texts),
        TEST(test_room),    TEST(test_buffers), TEST(test_index_and_count),
        TEST(test_largest), TEST(test_many),    TEST(test_whole_numbers),
    };

    own_name();
    return TEST_MAIN(tests);
}
