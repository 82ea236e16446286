/* SPDX-License-Identifier: MIT */
/* hmac.c - hashing in pieces, HMAC, and the care that secrets want. */
#include "ipc/digest.h"

#include <string.h>

static const struct mp__digest *const digests[] = {&mp__sha256, &mp__sha384, &mp__sha3_256,
                                                   &mp__sha3_384, &mp__md5};

const struct mp__digest *mp__digest_find(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof(digests) / sizeof(*digests); i++)
        if (strlen(digests[i]->name) == length && !memcmp(digests[i]->name, name, length))
            return digests[i];
    return NULL;
}

void mp__wipe(void *memory, size_t size)
{
    memset(memory, 0, size);
    /* The compiler is told that somebody reads it. */
    __asm__ __volatile__("" : : "r"(memory) : "memory");
}

bool mp__equal(const void *one, const void *other, size_t size)
{
    const volatile unsigned char *a = one, *b = other;
    unsigned char differ = 0;

    for (size_t i = 0; i < size; i++)
        differ = (unsigned char)(differ | (a[i] ^ b[i]));
    return !differ;
}

void mp__hash_start(const struct mp__digest *digest, struct mp__hash *hash)
{
    memset(hash, 0, sizeof(*hash));
    digest->start(hash);
}

void mp__hash_update(const struct mp__digest *digest, struct mp__hash *hash,
                     const void *bytes, size_t size)
{
    const unsigned char *next = bytes;

    while (size) {
        size_t held = (size_t)(hash->size % digest->block_size);
        size_t room = digest->block_size - held;
        size_t taken = size < room ? size : room;

        memcpy(hash->block + held, next, taken);
        hash->size += taken;
        next += taken;
        size -= taken;
        if (taken == room)
            digest->take_block(hash, hash->block);
    }
}

void mp__hash_finish(const struct mp__digest *digest, struct mp__hash *hash,
                     unsigned char *out)
{
    digest->finish(hash, out);
    mp__wipe(hash, sizeof(*hash));
}

void mp__hash_pad(const struct mp__digest *digest, struct mp__hash *hash,
                  size_t length_size, bool little_endian)
{
    static const unsigned char end = 0x80, zero = 0;
    uint64_t bits = hash->size * 8;
    unsigned char length[8];

    for (size_t i = 0; i < 8; i++)
        length[little_endian ? i : 7 - i] = (unsigned char)(bits >> (8 * i));
    mp__hash_update(digest, hash, &end, 1);
    while ((hash->size + length_size) % digest->block_size)
        mp__hash_update(digest, hash, &zero, 1);
    /* Of a longer length the upper bytes are zero: nobody hashes 2^61 bytes. */
    for (size_t i = 8; i < length_size; i++)
        mp__hash_update(digest, hash, &zero, 1);
    mp__hash_update(digest, hash, length, 8);
}

/* Hash the key's block, every byte of it changed by `mask`, and then the message. */
static void keyed(const struct mp__digest *digest, const unsigned char *key,
                  unsigned char mask, const void *message, size_t size,
                  unsigned char *out)
{
    struct mp__hash hash;
    unsigned char block[MP__BLOCK_MAX];

    for (size_t i = 0; i < digest->block_size; i++)
        block[i] = key[i] ^ mask;
    mp__hash_start(digest, &hash);
    mp__hash_update(digest, &hash, block, digest->block_size);
    mp__hash_update(digest, &hash, message, size);
    mp__hash_finish(digest, &hash, out);
    mp__wipe(block, sizeof(block));
}

void mp__hmac(const struct mp__digest *digest, const void *key, size_t key_size,
              const void *message, size_t size, unsigned char *out)
{
    unsigned char block[MP__BLOCK_MAX] = {0}, inner[MP__DIGEST_MAX];
    struct mp__hash hash;

    if (key_size > digest->block_size) {
        mp__hash_start(digest, &hash);
        mp__hash_update(digest, &hash, key, key_size);
        mp__hash_finish(digest, &hash, block);
    } else if (key_size) {
        memcpy(block, key, key_size);
    }
    keyed(digest, block, 0x36, message, size, inner);
    keyed(digest, block, 0x5c, inner, digest->size, out);
    mp__wipe(block, sizeof(block));
    mp__wipe(inner, sizeof(inner));
}
