/* SPDX-License-Identifier: MIT */
/*
 * python.h - real Python programs at the other end.
 *
 * MP_TEST_PYTHONS names the interpreters, with spaces between; else it is python3. What
 * is not found is skipped, and said.  The scripts stand beside the tests: a script's
 * first argument is the function of it to call, the others are that function's.
 */
#ifndef TEST_PYTHON_H
#define TEST_PYTHON_H

#include "support/test.h"

#include <mp/mp.h>

struct python {
    char program[256];
    int version; /* 312 for Python 3.12 */
};

extern struct python pythons[16];
extern size_t python_count;

/* A script that runs, with its standard output. */
struct script {
    pid_t pid;
    FILE *output;
};

/* No descriptor for the script to inherit. */
#define NOTHING_KEPT (-1)

/* Find the interpreters of a version from `least` on: false if there is none. */
bool python_find(int least);

/*
 * Run `script function(arguments...)`, which come as text and end with NULL.  The
 * descriptor `kept` stays open in it under the same number, and is still the caller's.
 * It is killed if it lives for five minutes.
 */
struct script python_start(const struct python *python, const char *script,
                           const char *function, int kept, ...);

/* The next line of its output, without newline; valid until the next call. */
const char *python_line(struct script *script);

/* The next line is this one. */
void python_says(struct script *script, const char *expected);

/* It says nothing more, and has ended well, with all that it had started. */
void python_ends(struct script *script);

/* The same for one that was killed, or that kills itself. */
void python_is_killed(struct script *script);

/* Call the test for each of the interpreters. */
#define FOR_EACH_PYTHON(it)                                                            \
    for (const struct python *it = pythons; it < pythons + python_count; it++)

/* The main of a program of such tests, which is skipped where there is no Python. */
#define PYTHON_MAIN(least, tests) (python_find(least) ? TEST_MAIN(tests) : SKIPPED)

/* --- what is sent and looked at on both sides ------------------------------------- */

/* Byte `i` is (i + seed) % 251, here and in the scripts. */
void pattern_fill(unsigned char *bytes, size_t size, size_t seed);
bool pattern_is(const unsigned char *bytes, size_t size, size_t seed);

void send_pattern(mp_connection *connection, size_t size, size_t seed);
void expect_pattern(mp_connection *connection, size_t size, size_t seed);

/* Send back whatever comes, until the stream ends. */
void echo(mp_connection *connection);

#endif
