/* SPDX-License-Identifier: MIT */
/* test_base.c - errors in words, versions, and options of older and newer programs. */
#include "support/test.h"

#include <mp/mp.h>

static const int codes[] = {ETIMEDOUT, EPIPE,  EMSGSIZE, ECANCELED, EOWNERDEAD, EPERM,
                            EOVERFLOW, EBUSY,  EALREADY, ECHILD,    ESRCH,      EDEADLK,
                            EINVAL,    ENOMEM, EAGAIN,   EMFILE,    ENFILE};

#define CODES (sizeof codes / sizeof *codes)

static void test_every_code_has_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODES; i++) {
        const char *text = mp_strerror(codes[i]);
        assert_non_null(text);
        assert_true(strlen(text) > 3);
        assert_null(strstr(text, "Unknown"));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(text, mp_strerror(codes[j]));
    }
}

static void test_owner_dead_in_own_words(void **state)
{
    (void)state;
    assert_non_null(strstr(mp_strerror(EOWNERDEAD), "died"));
}

static void test_any_number_has_words(void **state)
{
    (void)state;
    static const int others[] = {0, ENOENT, EACCES, -1, 9999, INT32_MAX, INT32_MIN};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_non_null(mp_strerror(others[i]));
        assert_true(strlen(mp_strerror(others[i])) > 0);
    }
    assert_string_equal(mp_strerror(ENOENT), strerror(ENOENT));
}

/* A newer program's option struct: longer than what this libmp knows. */
struct newer_options {
    mp_pool_options known;
    uint64_t unknown;
};

static void test_options_of_a_newer_program(void **state)
{
    (void)state;
    struct newer_options options = {
        .known = {.struct_size = sizeof options, .processes = 1}};
    mp_pool *pool = NULL;

    options.unknown = 1;
    assert_int_equal(mp_pool_new(&pool, &options.known), EINVAL);
    assert_null(pool);

    /* What it does not use, an older libmp need not know. */
    options.unknown = 0;
    assert_int_equal(mp_pool_new(&pool, &options.known), 0);
    mp_pool_free(pool);
}

static void test_options_of_an_older_program(void **state)
{
    (void)state;
    mp_process_options options = {.struct_size = offsetof(mp_process_options, daemon),
                                  .name = "old",
                                  .daemon = 77 /* beyond its size: not read */};
    mp_process *p;

    assert_int_equal(mp_process_new(&p, NULL, NULL, &options), 0);
    assert_string_equal(mp_process_name(p), "old");
    mp_process_free(p);
}

static void test_options_without_sense(void **state)
{
    (void)state;
    mp_lock_options options = {.struct_size = 0};
    mp_lock *lock = NULL;

    assert_int_equal(mp_lock_new(&lock, &options), EINVAL);
    options.struct_size = 3;
    assert_int_equal(mp_lock_new(&lock, &options), EINVAL);
    assert_null(lock);
}

int main(void)
{
    static const struct CMUnitTest base[] = {
        TEST(test_every_code_has_words),        TEST(test_owner_dead_in_own_words),
        TEST(test_any_number_has_words),        TEST(test_options_of_a_newer_program),
        TEST(test_options_of_an_older_program), TEST(test_options_without_sense),
    };
    return TEST_MAIN(base);
}
