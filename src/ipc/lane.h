/* SPDX-License-Identifier: MIT */
/*
 * lane.h - a stream of messages in the arena, for one who writes and one who reads.
 *
 * Messages lie one behind the other in segments, which form a ring:
 *
 *     +-> [ read | being read | written ] -> [ written | room ] -> [ spare ] -+
 *     |           ^ out                               ^ in                    |
 *     +-----------------------------------------------------------------------+
 *
 * Who writes turns to the next segment when a message does not fit any more, if that is
 * not the one that is being read, and else links a new one in.  So all segments can be
 * reached at any time, and what has been read is used again while it is warm.
 *
 * Each end has a word, the number of messages that passed it, and the place of the next
 * one.  Both change in one step: there are two places, and the word's lowest bit tells
 * which of them holds.  Whoever is killed before that step has done nothing, but for
 * leaving a spare segment; whoever is killed after it has done all.  lane.c has what the
 * ends do seldom.
 *
 * A message that tells its own size has it in front of it, in 8 bytes, and JUMP in its
 * place says that the next message is to be looked for in the next segment; so does too
 * little room for as much as that, or for a message of the fixed size.
 */
#ifndef MP_IPC_LANE_H
#define MP_IPC_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/atomic.h"

struct mp__segment {
    struct mp__segment *_Atomic next;
    size_t capacity; /* of `bytes`, a multiple of 8 */
    _Alignas(MP__CACHE_LINE) unsigned char bytes[];
};

struct mp__lane_end {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t word; /* messages times 2, and which place */
    struct {
        struct mp__segment *_Atomic segment;
        size_t offset;
    } places[2];
    uint64_t known;   /* so many may pass before the other end must be looked at */
    uint64_t settled; /* out: messages that were handed over */
};

/* In shared memory. */
struct mp__lane {
    struct mp__lane_end in, out;
    _Alignas(MP__CACHE_LINE) size_t fixed_size; /* of all messages, or 0 */
    _Atomic size_t held; /* bytes of all segments, about */
};

/* An end on its way: nobody knows of it before mp__lane_commit. */
struct mp__lane_cursor {
    struct mp__segment *segment;
    size_t offset;
    uint64_t word;
};

#define MP__LANE_HEADER sizeof(uint64_t)
#define MP__LANE_JUMP UINT64_MAX
#define MP__LANE_AHEAD (4 * MP__CACHE_LINE)
#define MP__LANE_SIZE_MAX ((size_t)1 << 62 < SIZE_MAX ? (size_t)1 << 62 : SIZE_MAX / 4)

/* Make it empty, of messages of `fixed_size` or, if that is 0, of any: 0 or ENOMEM. */
int mp__lane_open(struct mp__lane *lane, size_t fixed_size);

/* Free its segments; also of one that is all zero. */
void mp__lane_close(struct mp__lane *lane);

/* Turn to a segment with room for `need` bytes: 0 or ENOMEM.  By who writes. */
int mp__lane_turn(struct mp__lane *lane, struct mp__lane_cursor *in, size_t need);

/* Whether it holds so much that mp__lane_trim should be called when it is empty. */
bool mp__lane_is_fat(const struct mp__lane *lane);

/* Give back what is not needed.  By who writes and reads, while it is empty. */
void mp__lane_trim(struct mp__lane *lane);

static inline uint64_t mp__lane_passed(const struct mp__lane_end *end)
{
    return atomic_load_explicit(&end->word, memory_order_acquire) >> 1;
}

/* How many messages it has: of some moment during the call. */
static inline uint64_t mp__lane_count(const struct mp__lane *lane)
{
    uint64_t out = mp__lane_passed(&lane->out);

    return mp__lane_passed(&lane->in) - out;
}

/* By who has this end to itself. */
static inline struct mp__lane_cursor mp__lane_cursor(const struct mp__lane_end *end)
{
    uint64_t word = atomic_load_explicit(&end->word, memory_order_relaxed);

    return (struct mp__lane_cursor){
        .segment = atomic_load_explicit(&end->places[word & 1].segment,
                                        memory_order_relaxed),
        .offset = end->places[word & 1].offset,
        .word = word,
    };
}

/* `count` messages have passed, and this is where the next one goes. */
static inline void mp__lane_commit(struct mp__lane_end *end,
                                   const struct mp__lane_cursor *cursor, uint64_t count)
{
    unsigned other = ~cursor->word & 1;

    atomic_store_explicit(&end->places[other].segment, cursor->segment,
                          memory_order_relaxed);
    end->places[other].offset = cursor->offset;
    atomic_store_explicit(&end->word, ((cursor->word >> 1) + count) << 1 | other,
                          memory_order_release);
}

/* What a message of `size` bytes takes. */
static inline size_t mp__lane_stride(const struct mp__lane *lane, size_t size)
{
    size_t stride = (size + 7) & ~(size_t)7;

    return lane->fixed_size ? stride : stride + MP__LANE_HEADER;
}

/* Write a message behind the others: 0 or ENOMEM. */
static inline int mp__lane_write(struct mp__lane *lane, struct mp__lane_cursor *in,
                                 const void *message, size_t size)
{
    size_t stride = mp__lane_stride(lane, size);

    if (in->segment->capacity - in->offset < stride) {
        struct mp__lane_cursor next = *in; /* so that `in` may live in registers */
        int err = mp__lane_turn(lane, &next, stride);
        if (err)
            return err;
        *in = next;
    }

    unsigned char *to = in->segment->bytes + in->offset;
    if (!lane->fixed_size) {
        *(uint64_t *)(void *)to = size;
        to += MP__LANE_HEADER;
    }
    /* The locks that guard an end wait for each cache line: call the next ones early. */
    __builtin_prefetch(to + MP__LANE_AHEAD, 1);
    if (size)
        memcpy(to, message, size);
    in->offset += stride;
    return 0;
}

/* The next message and its size; there is one.  Valid until the end is committed. */
static inline const void *mp__lane_look(const struct mp__lane *lane,
                                        struct mp__lane_cursor *out, size_t *size)
{
    size_t least = lane->fixed_size ? mp__lane_stride(lane, lane->fixed_size)
                                    : MP__LANE_HEADER;
    for (;;) {
        const unsigned char *from = out->segment->bytes + out->offset;
        bool turns = out->segment->capacity - out->offset < least;

        if (!turns && lane->fixed_size) {
            *size = lane->fixed_size;
            return from;
        }
        if (!turns && *(const uint64_t *)(const void *)from != MP__LANE_JUMP) {
            *size = (size_t)*(const uint64_t *)(const void *)from;
            return from + MP__LANE_HEADER;
        }
        out->segment = atomic_load_explicit(&out->segment->next, memory_order_relaxed);
        out->offset = 0;
    }
}

/* Go behind the message of `size` bytes that was looked at. */
static inline void mp__lane_skip(const struct mp__lane *lane, struct mp__lane_cursor *out,
                                 size_t size)
{
    out->offset += mp__lane_stride(lane, size);
}

#endif
