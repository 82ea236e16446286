/* SPDX-License-Identifier: MIT */
/* test_shareable_list_errors.c - lists and items that can't be, and lists that are
   closed or only for reading. */
#include "support/shareable.h"

#include <sys/resource.h>

static mp_shareable_item of_no_type(void)
{
    mp_shareable_item odd = MP_SHAREABLE_INT(0);

    memset(&odd.type, 0x55, sizeof odd.type);
    return odd;
}

static void test_bad_options(void **state)
{
    (void)state;
    mp_shareable_list *none = NULL;
    mp_shareable_item item = MP_SHAREABLE_INT(0);
    struct {
        mp_shareable_list_options options;
        size_t newer;
    } newer = {{.struct_size = sizeof newer}, 1};

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
    assert_int_equal(mp_shareable_list_attach(NULL, "x", NULL), EINVAL);
    assert_int_equal(mp_shareable_list_attach(&none, NULL, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_attach(&none, "x", &newer.options), EINVAL);
    assert_int_equal(
        mp_shareable_list_attach(&none, "x", MP_SHAREABLE_LIST_OPTIONS(.name = "x")),
        EINVAL);
    assert_int_equal(mp_shareable_list_attach(&none, own_name(), NULL), ENOENT);
    assert_null(none);

    mp_shareable_list *list = make(&item, 1);
    assert_int_equal(
        mp_shareable_list_new(&none, &item, 1,
                              MP_SHAREABLE_LIST_OPTIONS(.name = own_name())),
        EEXIST);
    assert_null(none);
    end(list);
}

/* No UTF-8: too long forms, surrogates, beyond the last letter, cut, out of place. */
static const char *const not_utf8[] = {
    "\x80",     "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xed\xa0\x80",
    "\xef\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5",         "\xff",
    "a\xc3",    "\xe2\x82z",        "\xc3\xa9\xa9"};

static void test_bad_items(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11), *none = NULL;
    mp_shareable_item item;
    size_t number = 77;
    const mp_shareable_item bad[] = {
        MP_SHAREABLE_STR(NULL),
        MP_SHAREABLE_STR_OF(NULL, 3),
        MP_SHAREABLE_BYTES(NULL, 3),
        of_no_type(),
    };

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
    assert_null(none);
    assert_int_equal(number, 77);
    expect_example(list);
    end(list);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    mp_shareable_list *list = make(example(), 11);
    mp_shareable_item item = MP_SHAREABLE_INT(5);
    char buffer[100];
    size_t number = 77;

    assert_int_equal(mp_shareable_list_set(list, 11, &item), EINVAL);
    assert_int_equal(mp_shareable_list_set(list, SIZE_MAX, &item), EINVAL);
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
    assert_int_equal(mp_shareable_list_count(NULL, &item, &number), EINVAL);
    assert_int_equal(mp_shareable_list_count(list, NULL, &number), EINVAL);
    assert_int_equal(mp_shareable_list_count(list, &item, NULL), EINVAL);
    assert_int_equal(mp_shareable_list_format(NULL, buffer, 100, &number), EINVAL);
    assert_int_equal(mp_shareable_list_format(list, NULL, 100, &number), EINVAL);
    assert_int_equal(number, 77);
    assert_int_equal(item.as.integer, 5);
    expect_example(list);
    end(list);
}

static void test_null(void **state)
{
    (void)state;
    assert_int_equal(mp_shareable_list_close(NULL), EINVAL);
    assert_int_equal(mp_shareable_list_unlink(NULL), EINVAL);
    assert_null(mp_shareable_list_name(NULL));
    assert_int_equal(mp_shareable_list_len(NULL), 0);
    mp_shareable_list_free(NULL);
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
        TEST(test_bad_options), TEST(test_bad_items), TEST(test_bad_arguments),
        TEST(test_null),        TEST(test_closed),    TEST(test_read_only),
        TEST(test_descriptors),
    };

    own_name();
    return TEST_MAIN(tests);
}
