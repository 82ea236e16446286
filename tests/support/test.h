/* SPDX-License-Identifier: MIT */
/* test.h - what every test program includes: cmocka, the guard, the checks after tests.
 */
#ifndef TEST_TEST_H
#define TEST_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "child_guard.h"
#include "leak_check.h"

#define TEST(function)                                                                 \
    cmocka_unit_test_setup_teardown(function, leak_setup, leak_teardown)

/* Run an array of TEST()s as a program: its return value is main's. */
#define TEST_MAIN(tests) test_main(#tests, tests, sizeof(tests) / sizeof *(tests))

#define SKIPPED          77

static inline int test_main(const char *name, const struct CMUnitTest *tests,
                            size_t count)
{
    leak_begin();
    return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

/* The value of a whole number in the environment, or `otherwise`. */
static inline unsigned long env_number(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

/* xorshift64: the same numbers from the same seed everywhere. */
static inline uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* How often `what` stands in `text`. */
static inline size_t count_of(const char *text, const char *what)
{
    size_t count = 0;

    while ((text = strstr(text, what)) != NULL) {
        count++;
        text += strlen(what);
    }
    return count;
}

#endif
