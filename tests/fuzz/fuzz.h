/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the fuzzers have in common.
 *
 * A fuzzer gives a meaning to any bytes: what is done to the library, and what the rest
 * of the world does.  What comes of it is compared with a model that is written without
 * a look at the library.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What libFuzzer, or fuzz_main.c, calls with each input.  It returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* End the program, so that the input is kept, unless it is as it must be. */
#define MUST(what) ((what) ? (void)0 : must_failed(#what, __FILE__, __LINE__))

_Noreturn static inline void must_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: it is not so that %s\n", file, line, what);
    abort();
}

/* The bytes that are left of an input: when none are, all that is taken is 0. */
struct input {
    const uint8_t *at;
    size_t left;
};

static inline struct input take_bytes(struct input *input, size_t size)
{
    struct input taken = {input->at, size < input->left ? size : input->left};

    input->at += taken.left;
    input->left -= taken.left;
    return taken;
}

static inline unsigned take_byte(struct input *input)
{
    struct input taken = take_bytes(input, 1);

    return taken.left ? *taken.at : 0;
}

/* Below `end`, which is not 0. */
static inline unsigned take_below(struct input *input, unsigned end)
{
    return take_byte(input) % end;
}

/* Up to `most`: small numbers take one byte, any two, and powers of two are near. */
static inline size_t take_size(struct input *input, size_t most)
{
    unsigned first = take_byte(input), bits = 3;
    size_t size = first;

    while (bits < 31 && most >> bits)
        bits++;
    if (first >= 0xc0)
        size =
            ((size_t)1 << (2 + (first & 0x3f) % (bits - 1))) - 4 + take_byte(input) % 8;
    else if (first >= 0x80)
        size = (first & 0x3f) << 8 | take_byte(input);
    return size < most ? size : most;
}

/* One of 64 inputs, for all of its bytes, to do with it what takes long: what is made
   of it by a small change is not chosen as well. */
static inline bool is_chosen(struct input input)
{
    uint32_t sum = 0;

    while (input.left)
        sum = (sum + take_byte(&input)) * 16777619;
    return sum >> 26 == 1;
}

/* The bytes of message `number`, up to NOISE_MAX of them: all are different. */
#define NOISE_MAX ((size_t)1 << 18)

static inline const unsigned char *noise(size_t number)
{
    static unsigned char table[NOISE_MAX + 4096];

    for (size_t i = table[1] ? sizeof table : 0; i < sizeof table; i++)
        table[i] = (unsigned char)(i * 7 + i / 251 * 13 + i / 65521);
    return table + number % 4096;
}

#endif
