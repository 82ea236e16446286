/* SPDX-License-Identifier: MIT */
/*
 * lane.c - a stream of messages in the arena: its segments.
 *
 * Who is killed after it was given the memory of a segment and before it has linked it
 * into the ring, or after it has taken one out and before that is freed, leaves memory
 * that nobody has; everything else can be reached through the ring.
 */
#include "ipc/lane.h"

#include <errno.h>

#include "mp/shared.h"
#include "shm/arena.h"

/* What is kept for the next backlog. */
#define KEPT ((size_t)16 << 20)

/* A stream of large messages needs so many spares, however large they are. */
#define SPARES_KEPT 2
#define SPARES_TRIED 64

/* Sizes of few kinds, eight from a power of two to the next, fit each other's segments. */
static size_t block_size(size_t need)
{
    size_t whole = need + offsetof(struct mp__segment, bytes);
    size_t step = MP__SLAB_SIZE;

    while (step * 16 < whole)
        step *= 2;
    return (whole + step - 1) / step * step;
}

static size_t segment_size(const struct mp__segment *segment)
{
    return segment->capacity + offsetof(struct mp__segment, bytes);
}

static struct mp__segment *segment_new(struct mp__lane *lane, size_t need)
{
    if (need > MP__LANE_SIZE_MAX)
        return NULL;

    size_t size = block_size(need);
    struct mp__segment *segment = mp_shared_alloc(size);
    if (!segment)
        return NULL;
    segment->capacity = size - offsetof(struct mp__segment, bytes);
    atomic_fetch_add_explicit(&lane->held, size, memory_order_relaxed);
    return segment;
}

static void segment_free(struct mp__lane *lane, struct mp__segment *segment)
{
    atomic_fetch_sub_explicit(&lane->held, segment_size(segment), memory_order_relaxed);
    mp_shared_free(segment);
}

static struct mp__segment *next_of(struct mp__segment *segment)
{
    return atomic_load_explicit(&segment->next, memory_order_relaxed);
}

static void link_behind(struct mp__segment *segment, struct mp__segment *next)
{
    atomic_store_explicit(&next->next, next_of(segment), memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&segment->next, next, memory_order_release);
}

int mp__lane_open(struct mp__lane *lane, size_t fixed_size)
{
    lane->fixed_size = fixed_size;
    struct mp__segment *first =
        segment_new(lane, mp__lane_stride(lane, fixed_size ? fixed_size : 1));
    if (!first)
        return ENOMEM;

    atomic_store_explicit(&first->next, first, memory_order_relaxed);
    atomic_store_explicit(&lane->in.places[0].segment, first, memory_order_relaxed);
    atomic_store_explicit(&lane->out.places[0].segment, first, memory_order_relaxed);
    return 0;
}

void mp__lane_close(struct mp__lane *lane)
{
    struct mp__segment *first = mp__lane_cursor(&lane->in).segment;
    if (!first)
        return;

    struct mp__segment *next = next_of(first);
    while (next != first) {
        struct mp__segment *behind = next_of(next);
        mp_shared_free(next);
        next = behind;
    }
    mp_shared_free(first);
}

/*
 * The segment that is being read.  It may be left meanwhile, and is a spare then, but a
 * spare is never taken for it.  The word is looked at again because the place that does
 * not hold may be written to.
 */
static struct mp__segment *read_segment(const struct mp__lane *lane)
{
    struct mp__segment *segment;
    uint64_t word, again = atomic_load_explicit(&lane->out.word, memory_order_acquire);

    do {
        word = again;
        segment = atomic_load_explicit(&lane->out.places[word & 1].segment,
                                       memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        again = atomic_load_explicit(&lane->out.word, memory_order_relaxed);
    } while (again != word);
    return segment;
}

/*
 * Free spares behind `segment`, where the writer is or will be, beyond what is kept, that
 * one included; `least` of them are kept in any case.
 */
static void free_spares(struct mp__lane *lane, struct mp__segment *segment,
                        const struct mp__segment *end, unsigned least)
{
    size_t bytes = segment_size(segment);
    unsigned kept = 0;

    for (struct mp__segment *next; (next = next_of(segment)) != end;) {
        bytes += segment_size(next);
        if (++kept <= least || bytes <= KEPT) {
            segment = next;
            continue;
        }
        atomic_store_explicit(&segment->next, next_of(next), memory_order_relaxed);
        segment_free(lane, next);
    }
}

static void write_jump(const struct mp__lane *lane, struct mp__segment *segment,
                       size_t offset)
{
    if (!lane->fixed_size && segment->capacity - offset >= MP__LANE_HEADER)
        *(uint64_t *)(void *)(segment->bytes + offset) = MP__LANE_JUMP;
}

/* The first spare behind `old` that is large enough, or NULL; readers pass the others. */
static struct mp__segment *find_spare(const struct mp__lane *lane,
                                      struct mp__segment *old, size_t need,
                                      const struct mp__segment *read)
{
    struct mp__segment *spare = next_of(old);

    for (unsigned i = 0; i < SPARES_TRIED && spare != read; i++) {
        if (spare->capacity >= need)
            return spare;
        write_jump(lane, spare, 0);
        spare = next_of(spare);
    }
    return NULL;
}

int mp__lane_turn(struct mp__lane *lane, struct mp__lane_cursor *in, size_t need)
{
    const struct mp__segment *read = read_segment(lane);
    struct mp__segment *next = find_spare(lane, in->segment, need, read);

    if (!next) {
        next = segment_new(lane, need);
        if (!next)
            return ENOMEM;
        link_behind(in->segment, next);
    }
    write_jump(lane, in->segment, in->offset);
    in->segment = next;
    in->offset = 0;
    if (mp__lane_is_fat(lane))
        free_spares(lane, next, read, SPARES_KEPT);
    return 0;
}

bool mp__lane_is_fat(const struct mp__lane *lane)
{
    return atomic_load_explicit(&lane->held, memory_order_relaxed) > KEPT;
}

/* Let both ends leave a segment that is too large to be kept, and has no spares. */
static void leave_large_segment(struct mp__lane *lane)
{
    struct mp__lane_cursor in = mp__lane_cursor(&lane->in);
    struct mp__lane_cursor out = mp__lane_cursor(&lane->out);

    if (lane->fixed_size || segment_size(in.segment) <= KEPT || mp__lane_turn(lane, &in, 1))
        return;
    mp__lane_commit(&lane->in, &in, 0);
    out.segment = in.segment;
    out.offset = 0;
    mp__lane_commit(&lane->out, &out, 0);
}

static void free_all_spares(struct mp__lane *lane)
{
    struct mp__segment *segment = mp__lane_cursor(&lane->in).segment;

    free_spares(lane, segment, segment, 0);
}

/* Those who were killed between a segment and its count have left the count wrong. */
static void count_held(struct mp__lane *lane)
{
    struct mp__segment *first = mp__lane_cursor(&lane->in).segment;
    size_t held = segment_size(first);

    for (struct mp__segment *next = next_of(first); next != first; next = next_of(next))
        held += segment_size(next);
    atomic_store_explicit(&lane->held, held, memory_order_relaxed);
}

void mp__lane_trim(struct mp__lane *lane)
{
    count_held(lane);
    free_all_spares(lane);
    leave_large_segment(lane);
    free_all_spares(lane);
}
