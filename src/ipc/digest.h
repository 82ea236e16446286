/* SPDX-License-Identifier: MIT */
/*
 * digest.h - the digests with which Python's connections prove that both ends hold a key:
 * md5, sha256, sha384, sha3_256 and sha3_384, and HMAC over each of them.
 *
 * Written to be right, small and independent of the data in time: what is hashed is a few
 * hundred bytes.  Of a secret no copy is left on the stack of these functions but what a
 * compiler keeps in registers.
 */
#ifndef MP_IPC_DIGEST_H
#define MP_IPC_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MP__DIGEST_MAX = 48,  /* bytes of the longest digest, sha384 */
    MP__BLOCK_MAX = 136,  /* bytes of the longest block, sha3_256's */
    MP__DIGEST_NAME_MAX = 8
};

/* Between two blocks: the words of the state, and the bytes that wait for more. */
struct mp__hash {
    union {
        uint32_t words[8];
        uint64_t longs[25];
    } state;
    uint64_t size; /* of all bytes so far */
    unsigned char block[MP__BLOCK_MAX];
};

struct mp__digest {
    char name[MP__DIGEST_NAME_MAX + 1]; /* as Python's hashlib has it */
    unsigned char size;
    unsigned char block_size;
    void (*start)(struct mp__hash *hash);
    void (*take_block)(struct mp__hash *hash, const unsigned char *block);
    void (*finish)(struct mp__hash *hash, unsigned char *out);
};

extern const struct mp__digest mp__md5, mp__sha256, mp__sha384, mp__sha3_256, mp__sha3_384;

/* The digest of that name, which need not end in a zero byte, or NULL. */
const struct mp__digest *mp__digest_find(const char *name, size_t length);

/* Hash in pieces: start, any number of updates, finish. */
void mp__hash_start(const struct mp__digest *digest, struct mp__hash *hash);
void mp__hash_update(const struct mp__digest *digest, struct mp__hash *hash,
                     const void *bytes, size_t size);
void mp__hash_finish(const struct mp__digest *digest, struct mp__hash *hash,
                     unsigned char *out); /* and wipe `hash` */

/* HMAC (RFC 2104) of a message: `digest->size` bytes. */
void mp__hmac(const struct mp__digest *digest, const void *key, size_t key_size,
              const void *message, size_t size, unsigned char *out);

/* Whether so many bytes are equal, in a time that does not tell where they are not. */
bool mp__equal(const void *one, const void *other, size_t size);

/* Overwrite with zeros, also where a compiler sees that nobody will look. */
void mp__wipe(void *memory, size_t size);

/* For the digests: end what is hashed with a 1 bit, zeros, and the number of bits in the
   last `length_size` bytes of a block. */
void mp__hash_pad(const struct mp__digest *digest, struct mp__hash *hash,
                  size_t length_size, bool little_endian);

#endif
