/* SPDX-License-Identifier: MIT */
/* sha2.c - SHA-256 and SHA-384 (FIPS 180-4). */
#include "ipc/digest.h"

#include <string.h>

/* The first 32 bits of the fractions of the cube roots of the first 64 primes. */
static const uint32_t constants_32[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* The first 64 bits of those of the first 80. */
static const uint64_t constants_64[80] = {
    0x428a2f98d728ae22ull, 0x7137449123ef65cdull, 0xb5c0fbcfec4d3b2full,
    0xe9b5dba58189dbbcull, 0x3956c25bf348b538ull, 0x59f111f1b605d019ull,
    0x923f82a4af194f9bull, 0xab1c5ed5da6d8118ull, 0xd807aa98a3030242ull,
    0x12835b0145706fbeull, 0x243185be4ee4b28cull, 0x550c7dc3d5ffb4e2ull,
    0x72be5d74f27b896full, 0x80deb1fe3b1696b1ull, 0x9bdc06a725c71235ull,
    0xc19bf174cf692694ull, 0xe49b69c19ef14ad2ull, 0xefbe4786384f25e3ull,
    0x0fc19dc68b8cd5b5ull, 0x240ca1cc77ac9c65ull, 0x2de92c6f592b0275ull,
    0x4a7484aa6ea6e483ull, 0x5cb0a9dcbd41fbd4ull, 0x76f988da831153b5ull,
    0x983e5152ee66dfabull, 0xa831c66d2db43210ull, 0xb00327c898fb213full,
    0xbf597fc7beef0ee4ull, 0xc6e00bf33da88fc2ull, 0xd5a79147930aa725ull,
    0x06ca6351e003826full, 0x142929670a0e6e70ull, 0x27b70a8546d22ffcull,
    0x2e1b21385c26c926ull, 0x4d2c6dfc5ac42aedull, 0x53380d139d95b3dfull,
    0x650a73548baf63deull, 0x766a0abb3c77b2a8ull, 0x81c2c92e47edaee6ull,
    0x92722c851482353bull, 0xa2bfe8a14cf10364ull, 0xa81a664bbc423001ull,
    0xc24b8b70d0f89791ull, 0xc76c51a30654be30ull, 0xd192e819d6ef5218ull,
    0xd69906245565a910ull, 0xf40e35855771202aull, 0x106aa07032bbd1b8ull,
    0x19a4c116b8d2d0c8ull, 0x1e376c085141ab53ull, 0x2748774cdf8eeb99ull,
    0x34b0bcb5e19b48a8ull, 0x391c0cb3c5c95a63ull, 0x4ed8aa4ae3418acbull,
    0x5b9cca4f7763e373ull, 0x682e6ff3d6b2b8a3ull, 0x748f82ee5defb2fcull,
    0x78a5636f43172f60ull, 0x84c87814a1f0ab72ull, 0x8cc702081a6439ecull,
    0x90befffa23631e28ull, 0xa4506cebde82bde9ull, 0xbef9a3f7b2c67915ull,
    0xc67178f2e372532bull, 0xca273eceea26619cull, 0xd186b8c721c0c207ull,
    0xeada7dd6cde0eb1eull, 0xf57d4f7fee6ed178ull, 0x06f067aa72176fbaull,
    0x0a637dc5a2c898a6ull, 0x113f9804bef90daeull, 0x1b710b35131c471bull,
    0x28db77f523047d84ull, 0x32caab7b40c72493ull, 0x3c9ebe0a15c9bebcull,
    0x431d67c49c100d4cull, 0x4cc5d4becb3e42b6ull, 0x597f299cfc657e2aull,
    0x5fcb6fab3ad6faecull, 0x6c44198c4a475817ull,
};

static uint32_t rotate_32(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint64_t rotate_64(uint64_t x, unsigned n)
{
    return x >> n | x << (64 - n);
}

static void start_256(struct mp__hash *hash)
{
    static const uint32_t first[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };

    memcpy(hash->state.words, first, sizeof(first));
}

/* The message schedule: 16 words of the block, and what follows from them. */
static void schedule_256(uint32_t *w, const unsigned char *block)
{
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 |
               (uint32_t)block[2] << 8 | block[3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate_32(a, 7) ^ rotate_32(a, 18) ^ a >> 3) +
               (rotate_32(b, 17) ^ rotate_32(b, 19) ^ b >> 10);
    }
}

static void take_block_256(struct mp__hash *hash, const unsigned char *block)
{
    uint32_t w[64], v[8];

    schedule_256(w, block);
    memcpy(v, hash->state.words, sizeof(v));
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[0], e = v[4];
        uint32_t one = v[7] + (rotate_32(e, 6) ^ rotate_32(e, 11) ^ rotate_32(e, 25)) +
                       ((e & v[5]) ^ (~e & v[6])) + constants_32[i] + w[i];
        uint32_t two = (rotate_32(a, 2) ^ rotate_32(a, 13) ^ rotate_32(a, 22)) +
                       ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(*v));
        v[4] += one;
        v[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        hash->state.words[i] += v[i];
    mp__wipe(w, sizeof(w));
    mp__wipe(v, sizeof(v));
}

static void finish_256(struct mp__hash *hash, unsigned char *out)
{
    mp__hash_pad(&mp__sha256, hash, 8, false);
    for (int i = 0; i < mp__sha256.size; i++)
        out[i] = (unsigned char)(hash->state.words[i / 4] >> (24 - i % 4 * 8));
}

static void start_384(struct mp__hash *hash)
{
    static const uint64_t first[8] = {
        0xcbbb9d5dc1059ed8ull, 0x629a292a367cd507ull, 0x9159015a3070dd17ull,
        0x152fecd8f70e5939ull, 0x67332667ffc00b31ull, 0x8eb44a8768581511ull,
        0xdb0c2e0d64f98fa7ull, 0x47b5481dbefa4fa4ull,
    };

    memcpy(hash->state.longs, first, sizeof(first));
}

static void schedule_384(uint64_t *w, const unsigned char *block)
{
    for (int i = 0; i < 16; i++) {
        w[i] = 0;
        for (int j = 0; j < 8; j++)
            w[i] = w[i] << 8 | *block++;
    }
    for (int i = 16; i < 80; i++) {
        uint64_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate_64(a, 1) ^ rotate_64(a, 8) ^ a >> 7) +
               (rotate_64(b, 19) ^ rotate_64(b, 61) ^ b >> 6);
    }
}

static void take_block_384(struct mp__hash *hash, const unsigned char *block)
{
    uint64_t w[80], v[8];

    schedule_384(w, block);
    memcpy(v, hash->state.longs, sizeof(v));
    for (int i = 0; i < 80; i++) {
        uint64_t a = v[0], e = v[4];
        uint64_t one = v[7] + (rotate_64(e, 14) ^ rotate_64(e, 18) ^ rotate_64(e, 41)) +
                       ((e & v[5]) ^ (~e & v[6])) + constants_64[i] + w[i];
        uint64_t two = (rotate_64(a, 28) ^ rotate_64(a, 34) ^ rotate_64(a, 39)) +
                       ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(*v));
        v[4] += one;
        v[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        hash->state.longs[i] += v[i];
    mp__wipe(w, sizeof(w));
    mp__wipe(v, sizeof(v));
}

static void finish_384(struct mp__hash *hash, unsigned char *out)
{
    mp__hash_pad(&mp__sha384, hash, 16, false);
    for (int i = 0; i < mp__sha384.size; i++)
        out[i] = (unsigned char)(hash->state.longs[i / 8] >> (56 - i % 8 * 8));
}

const struct mp__digest mp__sha256 = {"sha256", 32, 64, start_256, take_block_256,
                                      finish_256};
const struct mp__digest mp__sha384 = {"sha384", 48, 128, start_384, take_block_384,
                                      finish_384};
