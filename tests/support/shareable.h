/* SPDX-License-Identifier: MIT */
/* shareable.h - what the tests of shareable lists have in common. */
#ifndef TEST_SHAREABLE_H
#define TEST_SHAREABLE_H

#include "test.h"

#include <unistd.h>

#include <mp/mp.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static inline const char *own_name(void)
{
    static char name[64];

    if (!name[0])
        snprintf(name, sizeof name, "mpt_list_%d", (int)getpid());
    return name;
}

static inline mp_shareable_list *make(const mp_shareable_item *items, size_t count)
{
    mp_shareable_list *list = NULL;

    assert_int_equal(
        mp_shareable_list_new(&list, items, count,
                              MP_SHAREABLE_LIST_OPTIONS(.name = own_name())),
        0);
    assert_int_equal(mp_shareable_list_len(list), count);
    return list;
}

static inline mp_shareable_list *attach(void)
{
    mp_shareable_list *list = NULL;

    assert_int_equal(mp_shareable_list_attach(&list, own_name(), NULL), 0);
    return list;
}

static inline void end(mp_shareable_list *list)
{
    assert_int_equal(mp_shareable_list_unlink(list), 0);
    mp_shareable_list_free(list);
}

static inline mp_shareable_item get(const mp_shareable_list *list, size_t index)
{
    static char buffer[1000];
    mp_shareable_item item;

    assert_int_equal(mp_shareable_list_get(list, index, &item, buffer, sizeof buffer),
                     0);
    return item;
}

static inline void set(mp_shareable_list *list, size_t index,
                       const mp_shareable_item *item)
{
    assert_int_equal(mp_shareable_list_set(list, index, item), 0);
}

static inline void expect_bytes(const mp_shareable_list *list, size_t index,
                                const void *bytes, size_t size)
{
    mp_shareable_item item = get(list, index);

    assert_int_equal(item.type, MP_SHAREABLE_TYPE_BYTES);
    assert_int_equal(item.size, size);
    assert_memory_equal(item.as.data, bytes, size);
}

static inline void expect_str(const mp_shareable_list *list, size_t index,
                              const char *text)
{
    mp_shareable_item item = get(list, index);

    assert_int_equal(item.type, MP_SHAREABLE_TYPE_STR);
    assert_int_equal(item.size, strlen(text));
    assert_string_equal(item.as.text, text);
}

static inline void expect_int(const mp_shareable_list *list, size_t index,
                              int64_t integer)
{
    mp_shareable_item item = get(list, index);

    assert_int_equal(item.type, MP_SHAREABLE_TYPE_INT);
    assert_true(item.as.integer == integer);
}

static inline void expect_format(const mp_shareable_list *list, const char *expected)
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
static inline const mp_shareable_item *example(void)
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

static inline void expect_example(const mp_shareable_list *list)
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
static inline size_t example_bytes(unsigned char bytes[299])
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

static inline void expect_block(const void *bytes, size_t size)
{
    mp_shared_memory *memory;

    assert_int_equal(mp_shared_memory_attach(&memory, own_name(), NULL), 0);
    assert_int_equal(mp_shared_memory_size(memory), size);
    assert_memory_equal(mp_shared_memory_buffer(memory), bytes, size);
    mp_shared_memory_free(memory);
}

/* A block that holds these bytes, under the own name. */
static inline mp_shared_memory *plant(const void *bytes, size_t size)
{
    mp_shared_memory *memory = NULL;

    assert_int_equal(mp_shared_memory_new(&memory, size,
                                          MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
                     0);
    memcpy(mp_shared_memory_buffer(memory), bytes, size);
    return memory;
}

static inline void unplant(mp_shared_memory *memory)
{
    assert_int_equal(mp_shared_memory_unlink(memory), 0);
    mp_shared_memory_free(memory);
}

#endif
