/* SPDX-License-Identifier: MIT */
/* test_shareable_list.c - lists that C and Python share. */
#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mp/mp.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *own_name(void)
{
    static char name[64];

    if (!name[0])
        snprintf(name, sizeof name, "mpt_list_%d", (int)getpid());
    return name;
}

static mp_shareable_list *make(const mp_shareable_item *items, size_t count)
{
    mp_shareable_list *list = NULL;

    assert_int_equal(
        mp_shareable_list_new(&list, items, count,
                              MP_SHAREABLE_LIST_OPTIONS(.name = own_name())),
        0);
    assert_int_equal(mp_shareable_list_len(list), count);
    return list;
}

static mp_shareable_list *attach(void)
{
    mp_shareable_list *list = NULL;

    assert_int_equal(mp_shareable_list_attach(&list, own_name(), NULL), 0);
    return list;
}

static void end(mp_shareable_list *list)
{
    assert_int_equal(mp_shareable_list_unlink(list), 0);
    mp_shareable_list_free(list);
}

static mp_shareable_item get(const mp_shareable_list *list, size_t index)
{
    static char buffer[1000];
    mp_shareable_item item;

    assert_int_equal(mp_shareable_list_get(list, index, &item, buffer, sizeof buffer),
                     0);
    return item;
}

static void set(mp_shareable_list *list, size_t index, const mp_shareable_item *item)
{
    assert_int_equal(mp_shareable_list_set(list, index, item), 0);
}

static void expect_bytes(const mp_shareable_list *list, size_t index, const void *bytes,
                         size_t size)
{
    mp_shareable_item item = get(list, index);

    assert_int_equal(item.type, MP_SHAREABLE_TYPE_BYTES);
    assert_int_equal(item.size, size);
    assert_memory_equal(item.as.data, bytes, size);
}

static void expect_str(const mp_shareable_list *list, size_t index, const char *text)
{
    mp_shareable_item item = get(list, index);

    assert_int_equal(item.type, MP_SHAREABLE_TYPE_STR);
    assert_int_equal(item.size, strlen(text));
    assert_string_equal(item.as.text, text);
}

static void expect_int(const mp_shareable_list *list, size_t index, int64_t integer)
{
    mp_shareable_item item = get(list, index);

    assert_int_equal(item.type, MP_SHAREABLE_TYPE_INT);
    assert_true(item.as.integer == integer);
}

static void expect_format(const mp_shareable_list *list, const char *expected)
{
    char text[500];
    size_t size = 0;

    assert_int_equal(mp_shareable_list_format(list, text, sizeof text, &size), 0);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
}

#define E "\xc3\xa9" /* a letter of two bytes */

/* ['howdy', b'HoWdY', -273.154, 100, None, True, 42, '', 'eeee', b'x\0\0', 'aaaaaaaa'],
   with accents on the e's. */
static const mp_shareable_item *example(void)
{
    static mp_shareable_item items[11];
    const mp_shareable_item made[] = {
        MP_SHAREABLE_STR("howdy"),    MP_SHAREABLE_BYTES("HoWdY", 5),
        MP_SHAREABLE_FLOAT(-273.154), MP_SHAREABLE_INT(100),
        MP_SHAREABLE_NONE(),          MP_SHAREABLE_BOOL(true),
        MP_SHAREABLE_INT(42),         MP_SHAREABLE_STR(""),
        MP_SHAREABLE_STR(E E E E),    MP_SHAREABLE_BYTES("x\0\0", 3),
        MP_SHAREABLE_STR("aaaaaaaa"),
    };

    memcpy(items, made, sizeof made);
    return items;
}

static const char example_format[] = "8s8sdqxxxxxx?xxxxxxxx?q8s8s8s16s";

static void expect_example(const mp_shareable_list *list)
{
    expect_str(list, 0, "howdy");
    expect_bytes(list, 1, "HoWdY", 5);
    assert_int_equal(get(list, 2).type, MP_SHAREABLE_TYPE_FLOAT);
    assert_true(get(list, 2).as.real == -273.154);
    expect_int(list, 3, 100);
    assert_int_equal(get(list, 4).type, MP_SHAREABLE_TYPE_NONE);
    assert_int_equal(get(list, 5).type, MP_SHAREABLE_TYPE_BOOL);
    assert_true(get(list, 5).as.truth);
    expect_int(list, 6, 42);
    expect_str(list, 7, "");
    expect_str(list, 8, E E E E);
    expect_bytes(list, 9, "x", 1); /* zero bytes at the end are forgotten */
    expect_str(list, 10, "aaaaaaaa");
    expect_format(list, example_format);
}

/* All of its 299 bytes, put together by hand from what Python wrote. */
static size_t example_bytes(unsigned char bytes[299])
{
    static const int64_t head[] = {11, 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 96};
    static const char formats[11][8] = {"8s", "8s", "d",  "q",  "xxxxxx?x", "xxxxxxx?",
                                        "q",  "8s", "8s", "8s", "16s"};
    static const char codes[11] = {1, 2, 0, 0, 3, 0, 0, 1, 1, 2, 1};
    unsigned char *data = bytes + sizeof head;
    int64_t hundred = 100, answer = 42;
    double cold = -273.154;

    memset(bytes, 0, 299);
    memcpy(bytes, head, sizeof head);
    memcpy(data, "howdy", 5);
    memcpy(data + 8, "HoWdY", 5);
    memcpy(data + 16, &cold, 8);
    memcpy(data + 24, &hundred, 8);
    data[40 + 7] = 1;
    memcpy(data + 48, &answer, 8);
    memcpy(data + 64, E E E E, 8);
    memcpy(data + 72, "x", 1);
    memcpy(data + 80, "aaaaaaaa", 8);
    memcpy(data + 96, formats, sizeof formats);
    memcpy(data + 96 + sizeof formats, codes, sizeof codes);
    return sizeof head + 96 + sizeof formats + sizeof codes;
}

static void expect_block(const void *bytes, size_t size)
{
    mp_shared_memory *memory;

    assert_int_equal(mp_shared_memory_attach(&memory, own_name(), NULL), 0);
    assert_int_equal(mp_shared_memory_size(memory), size);
    assert_memory_equal(mp_shared_memory_buffer(memory), bytes, size);
    mp_shared_memory_free(memory);
}

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

/* A block that holds these bytes, under the own name. */
static mp_shared_memory *plant(const void *bytes, size_t size)
{
    mp_shared_memory *memory = NULL;

    assert_int_equal(mp_shared_memory_new(&memory, size,
                                          MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
                     0);
    memcpy(mp_shared_memory_buffer(memory), bytes, size);
    return memory;
}

static void unplant(mp_shared_memory *memory)
{
    assert_int_equal(mp_shared_memory_unlink(memory), 0);
    mp_shared_memory_free(memory);
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

/* No UTF-8: too long forms, surrogates, beyond the last letter, cut, out of place. */
static const char *const not_utf8[] = {
    "\x80",     "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xed\xa0\x80",
    "\xef\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5",         "\xff",
    "a\xc3",    "\xe2\x82z",        "\xc3\xa9\xa9"};

static void test_bad_input(void **state)
{
    (void)state;
    mp_shareable_list *none = NULL;
    mp_shareable_item item = MP_SHAREABLE_INT(0), odd = MP_SHAREABLE_INT(0);
    char buffer[100];
    size_t number = 77;
    struct {
        mp_shareable_list_options options;
        size_t newer;
    } newer = {{.struct_size = sizeof newer}, 1};
    const mp_shareable_item bad[] = {
        MP_SHAREABLE_STR(NULL),
        MP_SHAREABLE_STR_OF(NULL, 3),
        MP_SHAREABLE_BYTES(NULL, 3),
    };

    memset(&odd.type, 0x55, sizeof odd.type);
    assert_int_equal(mp_shareable_list_new(NULL, NULL, 0, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_new(&none, NULL, 1, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_new(&none, &item, 1, &newer.options), EINVAL);
    assert_int_equal(mp_shareable_list_new(&none, &item, 1,
                                           MP_SHAREABLE_LIST_OPTIONS(.read_only = 1)),
                     EINVAL);
    assert_int_equal(mp_shareable_list_new(&none, &item, 1,
                                           MP_SHAREABLE_LIST_OPTIONS(.any_owner = 1)),
                     EINVAL);
    assert_int_equal(mp_shareable_list_new(&none, &item, 1,
                                           MP_SHAREABLE_LIST_OPTIONS(.name = "a/b")),
                     EINVAL);
    assert_int_equal(mp_shareable_list_new(&none, &odd, 1, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_attach(NULL, "x", NULL), EINVAL);
    assert_int_equal(mp_shareable_list_attach(&none, NULL, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_attach(&none, "x", &newer.options), EINVAL);
    assert_int_equal(
        mp_shareable_list_attach(&none, "x", MP_SHAREABLE_LIST_OPTIONS(.name = "x")),
        EINVAL);
    assert_int_equal(mp_shareable_list_attach(&none, own_name(), NULL), ENOENT);
    assert_null(none);

    mp_shareable_list *list = make(example(), 11);
    assert_int_equal(
        mp_shareable_list_new(&none, &item, 1,
                              MP_SHAREABLE_LIST_OPTIONS(.name = own_name())),
        EEXIST);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(mp_shareable_list_new(&none, &bad[i], 1, NULL), EINVAL);
        assert_int_equal(mp_shareable_list_set(list, 0, &bad[i]), EINVAL);
        assert_int_equal(mp_shareable_list_index(list, &bad[i], &number), EINVAL);
        assert_int_equal(mp_shareable_list_count(list, &bad[i], &number), EINVAL);
    }
    for (size_t i = 0; i < COUNT(not_utf8); i++) {
        item = MP_SHAREABLE_STR(not_utf8[i]);
        assert_int_equal(mp_shareable_list_new(&none, &item, 1, NULL), EINVAL);
        assert_int_equal(mp_shareable_list_set(list, 0, &item), EINVAL);
    }
    assert_int_equal(mp_shareable_list_set(list, 11, &item), EINVAL);
    item = MP_SHAREABLE_INT(5);
    assert_int_equal(mp_shareable_list_set(list, 11, &item), EINVAL);
    assert_int_equal(mp_shareable_list_set(list, SIZE_MAX, &item), EINVAL);
    assert_int_equal(mp_shareable_list_set(list, 0, &odd), EINVAL);
    assert_int_equal(mp_shareable_list_set(list, 0, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_set(NULL, 0, &item), EINVAL);
    assert_int_equal(mp_shareable_list_get(list, 11, &item, buffer, 100), EINVAL);
    assert_int_equal(mp_shareable_list_get(list, (size_t)-1, &item, buffer, 100),
                     EINVAL);
    assert_int_equal(mp_shareable_list_get(list, 0, NULL, buffer, 100), EINVAL);
    assert_int_equal(mp_shareable_list_get(list, 0, &item, NULL, 100), EINVAL);
    assert_int_equal(mp_shareable_list_get(NULL, 0, &item, buffer, 100), EINVAL);
    assert_int_equal(mp_shareable_list_index(NULL, &item, &number), EINVAL);
    assert_int_equal(mp_shareable_list_index(list, NULL, &number), EINVAL);
    assert_int_equal(mp_shareable_list_index(list, &item, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_index(list, &odd, &number), EINVAL);
    assert_int_equal(mp_shareable_list_count(NULL, &item, &number), EINVAL);
    assert_int_equal(mp_shareable_list_count(list, NULL, &number), EINVAL);
    assert_int_equal(mp_shareable_list_count(list, &item, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_format(NULL, buffer, 100, &number), EINVAL);
    assert_int_equal(mp_shareable_list_format(list, NULL, 100, &number), EINVAL);
    assert_int_equal(number, 77);
    assert_int_equal(item.as.integer, 5);
    expect_example(list);

    assert_int_equal(mp_shareable_list_close(NULL), EINVAL);
    assert_int_equal(mp_shareable_list_unlink(NULL), EINVAL);
    assert_null(mp_shareable_list_name(NULL));
    assert_int_equal(mp_shareable_list_len(NULL), 0);
    mp_shareable_list_free(NULL);
    end(list);
}

static void test_closed(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11), *other = attach();
    mp_shareable_item item;
    char buffer[100];
    size_t number;

    assert_int_equal(mp_shareable_list_close(list), 0);
    assert_int_equal(mp_shareable_list_close(list), 0);
    assert_int_equal(mp_shareable_list_get(list, 3, &item, buffer, 100), EINVAL);
    assert_int_equal(mp_shareable_list_set(list, 3, &MP_SHAREABLE_INT(1)), EINVAL);
    assert_int_equal(mp_shareable_list_index(list, &MP_SHAREABLE_INT(1), &number),
                     EINVAL);
    assert_int_equal(mp_shareable_list_count(list, &MP_SHAREABLE_INT(1), &number),
                     EINVAL);
    assert_int_equal(mp_shareable_list_format(list, buffer, 100, &number), EINVAL);
    assert_int_equal(mp_shareable_list_len(list), 11);
    assert_string_equal(mp_shareable_list_name(list), own_name());
    expect_example(other);
    assert_int_equal(mp_shareable_list_unlink(list), 0);
    assert_int_equal(mp_shareable_list_unlink(other), ENOENT);
    mp_shareable_list_free(list);
    expect_example(other);
    mp_shareable_list_free(other);
}

static void test_read_only(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11), *reader;

    assert_int_equal(
        mp_shareable_list_attach(&reader, own_name(),
                                 MP_SHAREABLE_LIST_OPTIONS(.read_only = 1)),
        0);
    expect_example(reader);
    assert_int_equal(mp_shareable_list_set(reader, 3, &MP_SHAREABLE_INT(1)), EPERM);
    set(list, 3, &MP_SHAREABLE_INT(1));
    expect_int(reader, 3, 1);
    mp_shareable_list_free(reader);
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

/* Attach to whatever is there; if it passes for a list, do all that can be done with
 * it. */
static void use_anything(void)
{
    mp_shareable_list *list;
    mp_shareable_item item;
    char buffer[200];
    size_t number;
    int err = mp_shareable_list_attach(&list, own_name(), NULL);

    if (err) {
        assert_int_equal(err, EPROTO);
        return;
    }
    for (size_t i = 0; i < mp_shareable_list_len(list); i++) {
        err = mp_shareable_list_get(list, i, &item, buffer, sizeof buffer);
        assert_true(err == 0 || err == EPROTO || err == EMSGSIZE);
        err = mp_shareable_list_set(list, i, &MP_SHAREABLE_STR("x"));
        assert_true(err == 0 || err == EPROTO);
    }
    err = mp_shareable_list_index(list, &MP_SHAREABLE_INT(6), &number);
    assert_true(err == 0 || err == EPROTO || err == ENOENT);
    err = mp_shareable_list_count(list, &MP_SHAREABLE_STR("x"), &number);
    assert_true(err == 0 || err == EPROTO);
    err = mp_shareable_list_format(list, buffer, sizeof buffer, &number);
    assert_true(err == 0 || err == EPROTO || err == EMSGSIZE);
    mp_shareable_list_free(list);
}

/* One bit is wrong, for each bit; and the list ends too early, at each byte. */
static void test_malformed(void **state)
{
    (void)state;
    unsigned char bytes[299];
    size_t size = example_bytes(bytes);
    mp_shared_memory *memory = plant(bytes, size);
    mp_shareable_list *list;

    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(mp_shared_memory_buffer(memory), bytes, size);
        ((unsigned char *)mp_shared_memory_buffer(memory))[bit / 8] ^=
            (unsigned char)(1 << bit % 8);
        use_anything();
    }
    unplant(memory);
    for (size_t cut = 1; cut < size; cut++) {
        memory = plant(bytes, cut);
        assert_int_equal(mp_shareable_list_attach(&list, own_name(), NULL), EPROTO);
        unplant(memory);
    }
}

static void expect_malformed_item(size_t at, const void *with, size_t size,
                                  size_t index)
{
    unsigned char bytes[299];
    size_t number;
    char buffer[100];
    mp_shareable_item item = MP_SHAREABLE_INT(77);

    example_bytes(bytes);
    memcpy(bytes + at, with, size);
    mp_shared_memory *memory = plant(bytes, sizeof bytes);
    mp_shareable_list *list = attach();
    assert_int_equal(mp_shareable_list_get(list, index, &item, buffer, 100), EPROTO);
    assert_true(item.as.integer == 77);
    assert_int_equal(
        mp_shareable_list_index(list, &MP_SHAREABLE_STR("absent"), &number), EPROTO);
    assert_int_equal(
        mp_shareable_list_count(list, &MP_SHAREABLE_STR("absent"), &number), EPROTO);
    assert_int_equal(mp_shareable_list_format(list, buffer, 100, &number), EPROTO);
    /* It can be put right. */
    set(list, index, &MP_SHAREABLE_STR("right"));
    expect_str(list, index, "right");
    expect_format(list,
                  index == 0 ? example_format : "8s8sd8sxxxxxx?xxxxxxxx?q8s8s8s16s");
    mp_shareable_list_free(list);
    unplant(memory);
}

/* Formats and codes that Python does not write, one by one. */
static void test_malformed_items(void **state)
{
    (void)state;
    enum { FORMATS = 200, CODES = 288 };
    static const char formats[][8] = {"",          "s",        "0s",  "16s",
                                      "8sx",       "99999999", "-8s", " 8s",
                                      "8s\0\0\0s", "q",        "8S",  "9999999s"};
    static const char words[][8] = {"Q", "<q", "q q", "qq", "8s", "xxxxxx?x", "\xffq"};
    static const unsigned char codes[] = {0, 3, 4, 255};
    unsigned char bytes[299], text[8] = "abc\xc3";
    size_t number;

    for (size_t i = 0; i < COUNT(formats); i++)
        expect_malformed_item(FORMATS, formats[i], 8, 0);
    for (size_t i = 0; i < COUNT(words); i++)
        expect_malformed_item(FORMATS + 3 * 8, words[i], 8, 3);
    for (size_t i = 0; i < COUNT(codes); i++)
        expect_malformed_item(CODES, &codes[i], 1, 0);

    /* A str of another program that is no UTF-8: as bytes it would be good. */
    mp_shareable_item item;
    char buffer[20];
    example_bytes(bytes);
    memcpy(bytes + 104, text, 8);
    mp_shared_memory *memory = plant(bytes, sizeof bytes);
    mp_shareable_list *list = attach();
    assert_int_equal(mp_shareable_list_get(list, 0, &item, buffer, 20), EPROTO);
    assert_int_equal(mp_shareable_list_index(list, &MP_SHAREABLE_INT(100), &number),
                     EPROTO);
    assert_int_equal(
        mp_shareable_list_count(list, &MP_SHAREABLE_BYTES(text, 4), &number), EPROTO);
    mp_shareable_list_free(list);
    unplant(memory);
}

/* Python 3.8 has sizes in the place of offsets, and one fewer of them. */
static void test_python_38(void **state)
{
    (void)state;
    int64_t old[] = {2, 8, 8, 5, 6, 'q', 'q', 0};
    mp_shareable_list *list = NULL;
    mp_shared_memory *memory = plant(old, sizeof old);

    assert_int_equal(mp_shareable_list_attach(&list, own_name(), NULL), EPROTO);
    assert_null(list);
    unplant(memory);
}

static int spoil_for_ever(void *arg)
{
    uint64_t seed = 12345;
    mp_shared_memory *memory;

    (void)arg;
    if (mp_shared_memory_attach(&memory, own_name(), NULL) != 0)
        return 1;
    _Atomic unsigned char *bytes = mp_shared_memory_buffer(memory);
    size_t size = mp_shared_memory_size(memory);
    for (;;) {
        uint64_t random = next_random(&seed);
        bytes[random % size] ^= (unsigned char)(1 << (random >> 60) % 8);
        if ((random >> 32) % 64 == 0)
            example_bytes((unsigned char *)bytes);
    }
    return 0;
}

/* Everything changes while it is read. */
static void test_spoiled_meanwhile(void **state)
{
    (void)state;
    unsigned char bytes[299];
    int64_t stop;

    example_bytes(bytes);
    mp_shared_memory *memory = plant(bytes, sizeof bytes);
    pid_t pid = child_start(spoil_for_ever, NULL);
    for (stop = now_ms() + 700; now_ms() < stop;)
        use_anything();
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 20000), -SIGKILL);
    unplant(memory);
}

/* Letters of two bytes, or twice as many of one: they need less room, or more. */
static int change_for_ever(void *arg)
{
    volatile unsigned char *text = arg;

    for (;;)
        for (int i = 0; i < 16; i += 2) {
            text[i] = text[i] == 'a' ? 0xc3 : 'a';
            text[i + 1] = text[i + 1] == 'a' ? 0xa9 : 'a';
        }
    return 0;
}

/* Items that point to shared memory may change while they are put into a list. */
static void test_items_that_change(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    char *text = shared_page(17);
    mp_shareable_item items[MANY];
    int64_t stop = now_ms() + 700;

    memset(text, 'a', 16);
    for (int i = 0; i < MANY; i++)
        items[i] = MP_SHAREABLE_STR(text);
    pid_t pid = child_start(change_for_ever, text);
    while (now_ms() < stop) {
        mp_shareable_list *list;
        mp_shareable_item item;
        char buffer[17];
        int err = mp_shareable_list_new(&list, items, MANY, NULL);
        if (err) {
            assert_int_equal(err, EINVAL);
            continue;
        }
        assert_int_equal(mp_shareable_list_len(list), MANY);
        for (size_t i = 0; i < MANY; i++) {
            err = mp_shareable_list_get(list, i, &item, buffer, sizeof buffer);
            assert_true(err == 0 || err == EPROTO);
        }
        end(list);
    }
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 20000), -SIGKILL);
    shared_page_free(text, 17);
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

static int without_descriptors(void *arg)
{
    mp_shareable_list *list = make(example(), 11), *more = NULL;

    (void)arg;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){20, 20}), 0);
    while (dup(0) >= 0)
        ;
    assert_int_equal(mp_shareable_list_new(&more, example(), 11, NULL), EMFILE);
    assert_int_equal(mp_shareable_list_attach(&more, own_name(), NULL), EMFILE);
    assert_null(more);
    expect_example(list);
    end(list);
    return 0;
}

static void test_descriptors(void **state)
{
    (void)state;
    assert_int_equal(child_run(without_descriptors, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_example),
        TEST(test_replace),
        TEST(test_room),
        TEST(test_buffers),
        TEST(test_index_and_count),
        TEST(test_bad_input),
        TEST(test_closed),
        TEST(test_read_only),
        TEST(test_largest),
        TEST(test_many),
        TEST(test_malformed),
        TEST(test_malformed_items),
        TEST(test_python_38),
        TEST(test_spoiled_meanwhile),
        TEST(test_items_that_change),
        TEST(test_whole_numbers),
        TEST(test_descriptors),
    };

    own_name();
    return TEST_MAIN(tests);
}
