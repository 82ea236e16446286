/* SPDX-License-Identifier: MIT */
/*
 * example.h - what the examples share: an error check of one word, and sleeping.
 *
 * Every example takes --scale=NUMBER, by which all its sleeps are multiplied:
 * `process_class --scale=0.01` is done in 40 milliseconds instead of 4 seconds.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mp/mp.h>

static const char *example_name = "example";
static double example_scale = 1;

/* Ends the program with a message if a call of libmp has failed. */
static inline void check(int err, const char *what)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s: %s\n", example_name, what, mp_strerror(err));
    exit(EXIT_FAILURE);
}

/* To be called first: takes the program's name, and --scale, from the arguments. */
static inline void begin(int argc, char **argv)
{
    static const char option[] = "--scale=";

    if (argc > 0) {
        const char *slash = strrchr(argv[0], '/');
        example_name = slash ? slash + 1 : argv[0];
    }
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], option, sizeof(option) - 1) != 0)
            continue;
        char *end;
        example_scale = strtod(argv[i] + sizeof(option) - 1, &end);
        if (*end != '\0' || !(example_scale >= 0 && example_scale <= 1000))
            check(EINVAL, argv[i]);
    }
}

/* Whether the program was given an option. */
static inline bool has_option(int argc, char **argv, const char *option)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], option) == 0)
            return true;
    return false;
}

/* time.sleep(count), times the scale. */
static inline void sleep_seconds(double count)
{
    const double scaled = count * example_scale;
    struct timespec rest = {.tv_sec = (time_t)scaled};

    rest.tv_nsec = (long)((scaled - (double)rest.tv_sec) * 1e9);
    while (nanosleep(&rest, &rest) == -1 && errno == EINTR)
        ; /* A signal that was handled shortens no sleep, as in Python. */
}

#endif
