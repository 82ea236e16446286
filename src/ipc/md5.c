/* SPDX-License-Identifier: MIT */
/* md5.c - MD5 (RFC 1321), for Python before 3.12; as a digest it is broken, in HMAC not. */
#include "ipc/digest.h"

#include <string.h>

/* 2^32 times the sines of 1 to 64, without their signs. */
static const uint32_t constants[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a,
    0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
    0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
    0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
    0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
    0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
    0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
    0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
    0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static void start(struct mp__hash *hash)
{
    static const uint32_t first[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

    memcpy(hash->state.words, first, sizeof(first));
}

/* What is mixed in step i, and which word of the block is added there. */
static uint32_t mixed(int i, uint32_t b, uint32_t c, uint32_t d, int *word)
{
    switch (i / 16) {
    case 0:
        *word = i;
        return (b & c) | (~b & d);
    case 1:
        *word = (5 * i + 1) % 16;
        return (d & b) | (~d & c);
    case 2:
        *word = (3 * i + 5) % 16;
        return b ^ c ^ d;
    default:
        *word = 7 * i % 16;
        return c ^ (b | ~d);
    }
}

static void take_block(struct mp__hash *hash, const unsigned char *block)
{
    static const unsigned char turns[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t w[16], *state = hash->state.words;
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];

    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[3] << 24 | (uint32_t)block[2] << 16 |
               (uint32_t)block[1] << 8 | block[0];
    for (int i = 0; i < 64; i++) {
        int word;
        unsigned turn = turns[i / 16][i % 4];
        uint32_t sum = a + mixed(i, b, c, d, &word) + constants[i];
        sum += w[word];
        a = d;
        d = c;
        c = b;
        b += sum << turn | sum >> (32 - turn);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    mp__wipe(w, sizeof(w));
}

static void finish(struct mp__hash *hash, unsigned char *out)
{
    mp__hash_pad(&mp__md5, hash, 8, true);
    for (int i = 0; i < mp__md5.size; i++)
        out[i] = (unsigned char)(hash->state.words[i / 4] >> (i % 4 * 8));
}

const struct mp__digest mp__md5 = {"md5", 16, 64, start, take_block, finish};
