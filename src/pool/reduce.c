/* SPDX-License-Identifier: MIT */
/*
 * reduce.c - mp_pool_reduce: a map whose results are not one for each item but one for
 * each place.
 *
 * A place has two values in the arena and a word, which outlive its workers:
 *
 *   end (24 bits) | used | which        values[which] counts, and holds every item of
 *                                       its worker's hand before `end`; unless it is
 *                                       `used` the value to start from counts instead
 *
 * A worker has taken a batch, items `next` to `end` - 1 of its hand (job.h):
 *
 *   begin    word = next | used | which            which: as it was
 *            at = 2 * next, without MP__AT_NEW
 *            values[!which] = values[which]
 *   fold     every item into values[!which]; `at` says which item is running
 *            at = 2 * end
 *   commit   word = end | used | !which            the whole batch, in one store
 *
 * What counts is never written to, so a worker may die at any instruction.  Whoever
 * settles it makes its hand FREE again from the first item on that does not count:
 *
 *   before `begin` has stored the word, which may be about another hand or window: `at`
 *   is still new, and it is the first item of the hand that `at` names
 *   later: it is the word's `end`
 *
 * Only if the worker died within an item, and that item may not be tried again, the
 * item fails, and with it the reduction: the rest is dropped.
 *
 * A word needs no lock, for it is written by the one worker that is in the place, and
 * read by others once that one is dead, or when the map is settled.  A worker touches
 * these values only while it owns a hand, so that the map is not settled and they are
 * there.  They stay from window to window, and a window begins with new hands.
 */
#include "pool/reduce.h"

#include <errno.h>
#include <mp/shared.h>
#include <string.h>

#include "base/size.h"
#include "pool/job.h"
#include "pool/map.h"

enum { WHICH = 1, USED = 2, END_SHIFT = 2 };

struct place {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t word;
};

struct mp__fold {
    size_t size;   /* of a value */
    size_t stride; /* from one value to the next */
    char *start;   /* the value to start from */
    char *values;  /* two for each place */
    struct place places[];
};

static char *value_of(const struct mp__fold *fold, unsigned place, uint64_t which)
{
    return fold->values + (2 * (size_t)place + which) * fold->stride;
}

static uint64_t get_word(const struct mp__fold *fold, unsigned place)
{
    return atomic_load_explicit(&fold->places[place].word, memory_order_relaxed);
}

/* Whoever dies before this has done what stands above it, and nothing below. */
static void set_word(struct mp__fold *fold, unsigned place, uint64_t word)
{
    mp__kill_point_order();
    atomic_store_explicit(&fold->places[place].word, word, memory_order_relaxed);
    mp__kill_point_order();
}

char *mp__fold_begin(struct mp__fold *fold, struct mp__worker *self, unsigned place,
                     uint32_t next)
{
    uint64_t flags = get_word(fold, place) & (USED | WHICH);
    char *value = value_of(fold, place, !(flags & WHICH));

    set_word(fold, place, (uint64_t)next << END_SHIFT | flags);
    mp__worker_set_at(self, (uint64_t)next << 1);
    memcpy(value, flags & USED ? value_of(fold, place, flags & WHICH) : fold->start,
           fold->size);
    return value;
}

void mp__fold_commit(struct mp__fold *fold, unsigned place, uint32_t end)
{
    uint64_t which = ~get_word(fold, place) & WHICH;

    set_word(fold, place, (uint64_t)end << END_SHIFT | USED | which);
}

uint32_t mp__fold_next(const struct mp__fold *fold, unsigned place, uint64_t at)
{
    return (uint32_t)(at & MP__AT_NEW ? at >> 1 : get_word(fold, place) >> END_SHIFT);
}

/* Pages of values that no worker comes to are not touched. */
static int new_fold(struct mp__fold **out, unsigned places, const void *start, size_t size)
{
    size_t head = mp__round_up(sizeof(struct mp__fold) + places * sizeof(struct place),
                               MP__CACHE_LINE);
    size_t stride = mp__round_up(size, MP__CACHE_LINE);
    size_t values = 2 * (size_t)places + 1;

    if (size > SIZE_MAX / 4 / values)
        return ENOMEM;
    struct mp__fold *fold = mp_shared_alloc(head + values * stride);
    if (!fold)
        return ENOMEM;
    fold->size = size;
    fold->stride = stride;
    fold->start = (char *)fold + head;
    fold->values = fold->start + fold->stride;
    memcpy(fold->start, start, size);
    *out = fold;
    return 0;
}

static void combine_all(const struct mp__fold *fold, unsigned places,
                        mp_combine_fn *combine, void *result, void *context)
{
    for (unsigned i = 0; i < places; i++) {
        uint64_t word = get_word(fold, i);
        if (word & USED)
            combine(result, value_of(fold, i, word & WHICH), context);
    }
}

int mp_pool_reduce(mp_pool *pool, mp_task_fn *fold, mp_combine_fn *combine,
                   const void *items, size_t count, size_t item_size, void *result,
                   size_t result_size, const mp_map_options *options)
{
    mp_map_options known;
    struct mp__fold *values;
    int err = mp__map_options(&known, pool, options);
    if (!err && (!fold || !combine || !result || !result_size || known.errors))
        err = EINVAL;
    if (!err)
        err = new_fold(&values, pool->shared->place_count, result, result_size);
    if (err)
        return err;

    err = mp__map_run(pool, fold, items, count, item_size, NULL, 0, &known, values);
    if (!err)
        combine_all(values, pool->shared->place_count, combine, result,
                    known.context ? known.context : pool->shared->options.context);
    mp_shared_free(values);
    return err;
}
