/* SPDX-License-Identifier: MIT */
/* test_shareable_list_malformed.c - what other programs may do to a list. */
#include "support/shareable.h"

#include <signal.h>
#include <stdatomic.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_malformed),         TEST(test_malformed_items),
        TEST(test_python_38),         TEST(test_spoiled_meanwhile),
        TEST(test_items_that_change),
    };

    own_name();
    return TEST_MAIN(tests);
}
