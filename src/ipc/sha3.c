/* SPDX-License-Identifier: MIT */
/* sha3.c - SHA3-256 and SHA3-384 (FIPS 202). */
#include "ipc/digest.h"

#include <string.h>

static const uint64_t round_constants[24] = {
    0x0000000000000001ull, 0x0000000000008082ull, 0x800000000000808aull,
    0x8000000080008000ull, 0x000000000000808bull, 0x0000000080000001ull,
    0x8000000080008081ull, 0x8000000000008009ull, 0x000000000000008aull,
    0x0000000000000088ull, 0x0000000080008009ull, 0x000000008000000aull,
    0x000000008000808bull, 0x800000000000008bull, 0x8000000000008089ull,
    0x8000000000008003ull, 0x8000000000008002ull, 0x8000000000000080ull,
    0x000000000000800aull, 0x800000008000000aull, 0x8000000080008081ull,
    0x8000000000008080ull, 0x0000000080000001ull, 0x8000000080008008ull,
};

/* Where the walk through the lanes goes next, and how far it turns the one it takes along.
 */
static const unsigned char lane_after[24] = {10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4,
                                             15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1};
static const unsigned char turns[24] = {1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14,
                                        27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44};

static uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

/* Every lane takes up the parities of two columns beside its own. */
static void theta(uint64_t *lanes)
{
    uint64_t parity[5];

    for (int x = 0; x < 5; x++)
        parity[x] = lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20];
    for (int i = 0; i < 25; i++)
        lanes[i] ^= parity[(i + 4) % 5] ^ rotate(parity[(i + 1) % 5], 1);
}

/* Lanes are turned and change places. */
static void rho_and_pi(uint64_t *lanes)
{
    uint64_t moved = lanes[1];

    for (int i = 0; i < 24; i++) {
        uint64_t next = lanes[lane_after[i]];
        lanes[lane_after[i]] = rotate(moved, turns[i]);
        moved = next;
    }
}

/* The one step that is not linear: along rows. */
static void chi(uint64_t *lanes)
{
    for (uint64_t *row = lanes; row < lanes + 25; row += 5) {
        uint64_t first = row[0], second = row[1];
        row[0] ^= ~row[1] & row[2];
        row[1] ^= ~row[2] & row[3];
        row[2] ^= ~row[3] & row[4];
        row[3] ^= ~row[4] & first;
        row[4] ^= ~first & second;
    }
}

static void start(struct mp__hash *hash)
{
    (void)hash; /* all zero */
}

static void absorb(struct mp__hash *hash, const unsigned char *block, size_t size)
{
    uint64_t *lanes = hash->state.longs;

    for (size_t i = 0; i < size; i++)
        lanes[i / 8] ^= (uint64_t)block[i] << (i % 8 * 8);
    for (int i = 0; i < 24; i++) {
        theta(lanes);
        rho_and_pi(lanes);
        chi(lanes);
        lanes[0] ^= round_constants[i];
    }
}

/* End with the bits 01, which make it SHA-3, a 1, zeros, and a 1 at the end of a block. */
static void finish(struct mp__hash *hash, unsigned char *out,
                   const struct mp__digest *digest)
{
    size_t held = (size_t)(hash->size % digest->block_size);

    memset(hash->block + held, 0, digest->block_size - held);
    hash->block[held] = 0x06;
    hash->block[digest->block_size - 1] |= 0x80;
    absorb(hash, hash->block, digest->block_size);
    for (int i = 0; i < digest->size; i++)
        out[i] = (unsigned char)(hash->state.longs[i / 8] >> (i % 8 * 8));
}

static void take_block_256(struct mp__hash *hash, const unsigned char *block)
{
    absorb(hash, block, mp__sha3_256.block_size);
}

static void take_block_384(struct mp__hash *hash, const unsigned char *block)
{
    absorb(hash, block, mp__sha3_384.block_size);
}

static void finish_256(struct mp__hash *hash, unsigned char *out)
{
    finish(hash, out, &mp__sha3_256);
}

static void finish_384(struct mp__hash *hash, unsigned char *out)
{
    finish(hash, out, &mp__sha3_384);
}

const struct mp__digest mp__sha3_256 = {"sha3_256", 32, 136, start, take_block_256,
                                        finish_256};
const struct mp__digest mp__sha3_384 = {"sha3_384", 48, 104, start, take_block_384,
                                        finish_384};
