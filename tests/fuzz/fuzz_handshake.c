/* SPDX-License-Identifier: MIT */
/*
 * fuzz_handshake.c - what a stranger can do to those who prove to each other that they
 * hold a key; and addresses as text.
 *
 * The first byte of the input tells which of the three parts it is for.
 */
#include "handshake.h"

#include "base/random.h"

/* All inputs find the same random numbers, none of them twice.  See CMakeLists.txt. */
static uint64_t random_state;

int __wrap_mp__random(void *out, size_t size);

int __wrap_mp__random(void *out, size_t size)
{
    unsigned char *bytes = out;

    for (size_t i = 0; i < size; i++) {
        random_state =
            random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
        bytes[i] = (unsigned char)(random_state >> 56);
    }
    return 0;
}

struct mp__auth_terms take_terms(struct input *input)
{
    static const char *const digests[] = {"sha256", "md5", "sha384", "sha3_256",
                                          "sha3_384"};
    static const char *const keys[] = {"mellon", "melon"};
    unsigned what = take_byte(input);
    const char *key = keys[what & 1];
    struct mp__auth_terms terms;

    MUST(!mp__auth_terms_read(&terms, key, strlen(key), digests[(what >> 2) % 5],
                              what & 2));
    return terms;
}

bool have_same_key(const struct mp__auth_terms *one, const struct mp__auth_terms *other)
{
    return one->key == other->key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    unsigned part = take_below(&input, 4);

    random_state = 1;
    if (part == 0)
        fuzz_address(&input);
    else if (part == 1)
        fuzz_steps(&input);
    else
        fuzz_messages(&input);
    return 0;
}
