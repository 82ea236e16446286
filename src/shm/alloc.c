/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - the allocator of the arena.
 *
 * The data are slabs of 64 KiB.  A block of more than 16 KiB is a run of slabs, a
 * smaller one is a cell in a slab that is cut into cells of one size.  Slabs and cells
 * have words each, in tables that are never used for anything else:
 *
 *   slab    bits 0..3 state  4 dirty  5 was ever cut  6..31 generation  32..63 payload
 *     FREE
 *     CLAIMED(member)   someone is at work here, and this is who
 *     SMALL(class)      cut into cells
 *     HEAD(n)           the first of a run of n, allocated
 *     TAIL(head)        the others of a run
 *
 *   cell    bits 0..1 state   2..31 member
 *     CLEAN, DIRTY      free; the bytes of a clean one are zero
 *     CLAIMED(member)
 *     USED
 *
 * Every step is one compare-and-swap that names who takes it.  A slab's generation
 * grows each time it becomes free, so that whoever was stopped before such a step fails
 * with it later.  There are no lists and no locks; counts and cursors are hints.  What
 * a death leaves behind is CLAIMED words, which mp__alloc_sweep frees:
 *
 *   run, being allocated   CLAIMED ascending; TAILs ascending; the head at last
 *   run, being freed       HEAD -> CLAIMED; TAILs free, descending; the head at last
 *       In both cases it is a CLAIMED slab with its TAILs behind it, without a gap.
 *   cell, being allocated  CLAIMED; then the slab's word is looked at again, because it
 *                          may have become something else; zeroed; USED
 *   slab, taken back       all cells CLAIMED, so that none is in use; slab CLAIMED;
 *                          cells free; slab free
 *
 * Only who is named in a CLAIMED word goes on from there, and nobody else before it has
 * died: so it may give pages back to the system while it is there, and nobody has
 * written to them yet.
 */
#include "shm/alloc.h"

#include <mp/shared.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/arena.h"
#include "shm/member.h"

enum slab_state { SLAB_FREE, SLAB_CLAIMED, SLAB_SMALL, SLAB_HEAD, SLAB_TAIL };

#define SLAB_STATE UINT64_C(0x0f)
#define SLAB_DIRTY UINT64_C(0x10)
#define SLAB_WAS_CUT UINT64_C(0x20)
#define SLAB_GENERATION UINT64_C(0xffffffc0)
#define SLAB_ONE_GENERATION UINT64_C(0x40)

enum cell_state { CELL_CLEAN, CELL_DIRTY, CELL_CLAIMED, CELL_USED };

#define CELL_STATE UINT32_C(3)

#define CLASSES 16
#define SMALL_MOST 16384
#define NO_SLAB UINT32_MAX

/* Giving pages back and touching them again pays only for large blocks. */
#define REMOVE_LEAST ((size_t)1 << 20)

/* How many slabs a search looks at before it takes new ones behind all others. */
#define SEARCH_SMALL 64
#define SEARCH_LARGE 1024

static const uint32_t class_sizes[CLASSES] = {
    64,   128,  192,  256,  384,  512,  768,   1024,
    1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384,
};

/*
 * Where this process allocates next.  Threads share these and may overwrite each
 * other's hints; each value by itself makes sense at any time.
 */
static struct {
    _Atomic uint32_t slab;  /* plus 1; 0 is none */
    _Atomic uint32_t next;  /* the cell to look at next */
    _Atomic uint32_t freed; /* plus 1; a cell that was freed just now and is warm */
} local_class[CLASSES];
static _Atomic uint32_t local_small_cursor;
static _Atomic uint32_t local_large_cursor;
static _Atomic uint32_t local_deaths; /* when counts were last looked into */

/* Words */

static uint32_t hint_get(_Atomic uint32_t *hint)
{
    return atomic_load_explicit(hint, memory_order_relaxed);
}

static void hint_set(_Atomic uint32_t *hint, uint32_t value)
{
    atomic_store_explicit(hint, value, memory_order_relaxed);
}

static _Atomic uint64_t *slab_at(uint32_t slab)
{
    return &mp__arena->slab_words[slab];
}

static uint64_t slab_load(uint32_t slab)
{
    return atomic_load_explicit(slab_at(slab), memory_order_acquire);
}

static bool slab_change(uint32_t slab, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(slab_at(slab), &from, to);
}

static enum slab_state slab_state(uint64_t word)
{
    return (enum slab_state)(word & SLAB_STATE);
}

static uint32_t slab_payload(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint64_t slab_with(uint64_t word, enum slab_state state, uint32_t payload)
{
    uint64_t kept = word & (SLAB_DIRTY | SLAB_WAS_CUT | SLAB_GENERATION);
    return kept | (uint64_t)state | (uint64_t)payload << 32;
}

/* The word that follows `word` when its slab becomes free. */
static uint64_t slab_freed(uint64_t word, bool dirty)
{
    uint64_t generation = (word + SLAB_ONE_GENERATION) & SLAB_GENERATION;
    return (word & SLAB_WAS_CUT) | generation | (dirty ? SLAB_DIRTY : 0);
}

static char *slab_data(uint32_t slab)
{
    return mp__arena->data + slab * MP__SLAB_SIZE;
}

static _Atomic int32_t *slab_used(uint32_t slab)
{
    return &mp__arena->slab_hints[slab].used;
}

static _Atomic uint32_t *cell_at(uint32_t slab, uint32_t cell)
{
    return &mp__arena->cell_words[(size_t)slab * MP__SLAB_CELLS + cell];
}

static bool cell_change(_Atomic uint32_t *word, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong(word, &from, to);
}

static bool cell_is_free(uint32_t word)
{
    return (word & CELL_STATE) <= CELL_DIRTY;
}

/* A member in 30 bits: its slot and the low half of its generation. */
static uint32_t owner_of(uint64_t member)
{
    uint32_t generation = (uint32_t)(member >> 32) & 0xffff;
    return generation << 14 | (uint32_t)(member >> 16 & MP__MEMBERS_MAX);
}

static uint32_t cell_claimed_by(uint32_t owner)
{
    return owner << 2 | CELL_CLAIMED;
}

/* Sizes are 1, 1.5, 2, 3, 4, 6, 8 ... times 64, except that there is no 1.5. */
static unsigned class_of(size_t size)
{
    unsigned units = (unsigned)((size + 63) / 64);
    if (units <= 2)
        return units - 1;
    unsigned below = units - 1;
    unsigned log = 31u - (unsigned)__builtin_clz(below);
    return 2 * log + (below >> (log - 1) & 1);
}

static uint32_t class_cells(unsigned class)
{
    return (uint32_t)MP__SLAB_SIZE / class_sizes[class];
}

static uint32_t slabs_used(void)
{
    return atomic_load_explicit(&mp__arena->slabs_used, memory_order_acquire);
}

/*
 * Reserve `n` slabs behind all that were ever used, or NO_SLAB.  The mark moves before
 * the slabs are touched: a sweep looks only at what lies below it.
 */
static uint32_t extend(uint32_t n)
{
    uint32_t used = slabs_used();
    do {
        if (n > mp__arena->slab_count - used)
            return NO_SLAB;
    } while (!atomic_compare_exchange_weak(&mp__arena->slabs_used, &used, used + n));
    return used;
}

static void extend_to(uint32_t least)
{
    uint32_t used = slabs_used();
    while (used < least)
        if (atomic_compare_exchange_weak(&mp__arena->slabs_used, &used, least))
            break;
}

/* Taking an emptied slab back */

static uint32_t count_cells_taken(uint32_t slab, uint32_t cells)
{
    uint32_t taken = 0;
    for (uint32_t cell = 0; cell < cells; ++cell) {
        uint32_t word = atomic_load_explicit(cell_at(slab, cell), memory_order_relaxed);
        taken += !cell_is_free(word);
    }
    return taken;
}

/* Claim cells from the first on; returns how many until one was not free. */
static uint32_t claim_cells(uint32_t slab, uint32_t cells, uint32_t claimed)
{
    for (uint32_t cell = 0; cell < cells; ++cell) {
        _Atomic uint32_t *word = cell_at(slab, cell);
        uint32_t old = atomic_load_explicit(word, memory_order_relaxed);
        if (!cell_is_free(old) || !cell_change(word, old, claimed))
            return cell;
    }
    return cells;
}

static void release_cells(uint32_t slab, uint32_t cells)
{
    for (uint32_t cell = 0; cell < cells; ++cell)
        atomic_store_explicit(cell_at(slab, cell), CELL_DIRTY, memory_order_release);
}

/*
 * Make a slab free whose word was `word`, if none of its cells is in use.  Someone who
 * claims a cell after this has released it sees that the slab's word has changed.
 */
static bool retire(uint32_t slab, uint64_t word)
{
    uint32_t cells = class_cells(slab_payload(word));
    uint32_t taken = count_cells_taken(slab, cells);
    if (taken) {
        atomic_store_explicit(slab_used(slab), (int32_t)taken, memory_order_relaxed);
        return false;
    }

    uint32_t owner = owner_of(mp__self);
    uint32_t claimed = claim_cells(slab, cells, cell_claimed_by(owner));
    uint64_t mine = slab_with(word, SLAB_CLAIMED, owner);
    bool done = claimed == cells && slab_change(slab, word, mine);
    release_cells(slab, claimed);
    if (done) {
        atomic_store_explicit(slab_used(slab), 0, memory_order_relaxed);
        slab_change(slab, mine, slab_freed(mine, true));
    }
    return done;
}

/* Emptied slabs are left as they are until a search for another size meets them. */
static bool retire_if_empty(uint32_t slab, uint64_t word)
{
    if (atomic_load_explicit(slab_used(slab), memory_order_relaxed) > 0)
        return false;
    if (hint_get(&local_class[slab_payload(word)].slab) == slab + 1)
        return false;
    return retire(slab, word);
}

/*
 * The last resort: counts are believed only if they say that a slab is quite full, and
 * nobody has died since they were last looked into: a process that is killed between a
 * step and its count leaves the count wrong.
 */
static bool retire_all(void)
{
    bool any = false;
    uint32_t used = slabs_used();
    uint32_t deaths = atomic_load_explicit(&mp__arena->deaths, memory_order_relaxed);
    bool doubted = hint_get(&local_deaths) != deaths;

    hint_set(&local_deaths, deaths);
    for (uint32_t slab = 0; slab < used; ++slab) {
        uint64_t word = slab_load(slab);
        if (slab_state(word) != SLAB_SMALL)
            continue;
        int32_t about = atomic_load_explicit(slab_used(slab), memory_order_relaxed);
        if (doubted || about <= 1 + (int32_t)class_cells(slab_payload(word)) / 64)
            any |= retire(slab, word);
    }
    return any;
}

/* Small blocks */

/* Allocate this cell of a slab whose word was `word`, if it is free. */
static void *cell_take(uint32_t slab, uint64_t word, uint32_t cell)
{
    _Atomic uint32_t *at = cell_at(slab, cell);
    uint32_t old = atomic_load_explicit(at, memory_order_relaxed);
    if (!cell_is_free(old))
        return NULL;
    uint32_t mine = cell_claimed_by(owner_of(mp__self));
    if (!cell_change(at, old, mine))
        return NULL;
    if (slab_load(slab) != word) {
        cell_change(at, mine, old);
        return NULL;
    }

    uint32_t size = class_sizes[slab_payload(word)];
    char *block = slab_data(slab) + cell * size;
    if (old == CELL_DIRTY || (word & SLAB_DIRTY))
        memset(block, 0, size);
    atomic_store_explicit(at, CELL_USED, memory_order_release);
    atomic_fetch_add_explicit(slab_used(slab), 1, memory_order_relaxed);
    return block;
}

/* Allocate any cell of a slab, beginning with the one that is known to be warm. */
static void *slab_take(unsigned class, uint32_t slab, uint64_t word)
{
    uint32_t cells = class_cells(class);
    uint32_t freed = hint_get(&local_class[class].freed);
    if (freed) {
        hint_set(&local_class[class].freed, 0);
        void *block = cell_take(slab, word, freed - 1);
        if (block)
            return block;
    }

    uint32_t cell = hint_get(&local_class[class].next);
    for (uint32_t tried = 0; tried < cells; ++tried, ++cell) {
        if (cell >= cells)
            cell = 0;
        void *block = cell_take(slab, word, cell);
        if (block) {
            hint_set(&local_class[class].next, cell + 1);
            return block;
        }
    }
    return NULL;
}

/* Go on in another slab from now on. */
static void *slab_move_to(unsigned class, uint32_t slab, uint64_t word)
{
    hint_set(&local_class[class].freed, 0);
    hint_set(&local_class[class].next, 0);
    void *block = slab_take(class, slab, word);
    hint_set(&local_class[class].slab, block ? slab + 1 : 0);
    return block;
}

static void *slab_cut(unsigned class, uint32_t slab)
{
    uint64_t word = slab_load(slab);
    if (slab_state(word) != SLAB_FREE)
        return NULL;
    uint64_t cut = slab_with(word | SLAB_WAS_CUT, SLAB_SMALL, class);
    return slab_change(slab, word, cut) ? slab_move_to(class, slab, cut) : NULL;
}

/* A slab that is nearly full would have to be left again soon. */
static bool has_room(unsigned class, uint32_t slab)
{
    uint32_t cells = class_cells(class);
    int32_t used = atomic_load_explicit(slab_used(slab), memory_order_relaxed);
    return used <= (int32_t)(cells - cells / 4);
}

/*
 * Search the slabs that were ever used, from where the last search ended: one of this
 * class that has room (any room, if `thorough`), else one that is free.
 */
static void *search_small(unsigned class, bool thorough)
{
    uint32_t used = slabs_used();
    uint32_t steps = thorough || used < SEARCH_SMALL ? used : SEARCH_SMALL;
    uint32_t slab = hint_get(&local_small_cursor);
    uint32_t spare = NO_SLAB;
    void *block = NULL;

    for (; steps > 0 && !block; --steps, ++slab) {
        if (slab >= used)
            slab = 0;
        uint64_t word = slab_load(slab);
        enum slab_state state = slab_state(word);
        if (state == SLAB_SMALL && slab_payload(word) == class) {
            if (thorough || has_room(class, slab))
                block = slab_move_to(class, slab, word);
        } else if (state == SLAB_SMALL && spare == NO_SLAB) {
            if (retire_if_empty(slab, word))
                spare = slab;
        } else if (state == SLAB_FREE && spare == NO_SLAB) {
            spare = slab;
        } else if (state == SLAB_HEAD) {
            slab += slab_payload(word) - 1;
        }
    }
    hint_set(&local_small_cursor, slab);
    if (!block && spare != NO_SLAB)
        block = slab_cut(class, spare);
    return block;
}

/* Slabs behind all others are free, unless a thorough search for a run came first. */
static void *cut_new(unsigned class)
{
    for (;;) {
        uint32_t slab = extend(1);
        if (slab == NO_SLAB)
            return NULL;
        void *block = slab_cut(class, slab);
        if (block)
            return block;
    }
}

static void *small_alloc_anywhere(unsigned class)
{
    void *block = search_small(class, false);
    if (!block)
        block = cut_new(class);
    if (!block)
        block = search_small(class, true);
    if (!block && retire_all())
        block = search_small(class, true);
    return block;
}

static void *small_alloc(size_t size)
{
    unsigned class = class_of(size);
    uint32_t hint = hint_get(&local_class[class].slab);
    if (hint) {
        uint64_t word = slab_load(hint - 1);
        if (slab_state(word) == SLAB_SMALL && slab_payload(word) == class) {
            void *block = slab_take(class, hint - 1, word);
            if (block)
                return block;
        }
    }
    return small_alloc_anywhere(class);
}

/* A single step, which leaves nothing to sweep. */
/* The cell that begins at this offset in a slab, or NULL if none does. */
static _Atomic uint32_t *cell_from(uint32_t slab, unsigned class, uint32_t offset)
{
    uint32_t size = class_sizes[class];
    uint32_t cell = offset / size;
    return offset % size || cell >= class_cells(class) ? NULL : cell_at(slab, cell);
}

static void small_free(uint32_t slab, uint64_t word, uint32_t offset)
{
    unsigned class = slab_payload(word);
    _Atomic uint32_t *cell = cell_from(slab, class, offset);
    if (!cell || !cell_change(cell, CELL_USED, CELL_DIRTY))
        return;
    atomic_fetch_sub_explicit(slab_used(slab), 1, memory_order_relaxed);
    if (hint_get(&local_class[class].slab) == slab + 1)
        hint_set(&local_class[class].freed, offset / class_sizes[class] + 1);
}

/* Large blocks */

/* Free slabs that are claimed by this process, the last one first. */
static void run_release(uint32_t head, uint32_t n, bool dirty)
{
    for (uint32_t i = n; i-- > 0;) {
        uint64_t word = slab_load(head + i);
        slab_change(head + i, word, slab_freed(word, dirty));
    }
}

/* Undo the claims on slabs that were not written to yet. */
static void run_unclaim(uint32_t head, uint32_t n)
{
    for (uint32_t i = n; i-- > 0;) {
        uint64_t word = slab_load(head + i);
        slab_change(head + i, word, slab_freed(word, word & SLAB_DIRTY));
    }
}

/* Claim n slabs; returns how many until one was not free, having undone them then. */
static uint32_t run_claim(uint32_t head, uint32_t n)
{
    uint32_t owner = owner_of(mp__self);
    for (uint32_t i = 0; i < n; ++i) {
        uint64_t word = slab_load(head + i);
        if (slab_state(word) != SLAB_FREE
            || !slab_change(head + i, word, slab_with(word, SLAB_CLAIMED, owner))) {
            run_unclaim(head, i);
            return i;
        }
    }
    return n;
}

/* Make a block of n claimed slabs. */
static void *run_commit(uint32_t head, uint32_t n)
{
    for (uint32_t i = 0; i < n; ++i) {
        uint64_t word = slab_load(head + i);
        if (word & SLAB_DIRTY)
            memset(slab_data(head + i), 0, MP__SLAB_SIZE);
        if (i)
            slab_change(head + i, word, slab_with(word, SLAB_TAIL, head));
    }
    uint64_t word = slab_load(head);
    slab_change(head, word, slab_with(word, SLAB_HEAD, n));
    return slab_data(head);
}

/* How far a search for a run goes on behind this slab; *run counts free ones so far. */
static uint32_t run_step(uint32_t slab, uint32_t *run)
{
    uint64_t word = slab_load(slab);
    enum slab_state state = slab_state(word);
    if (state == SLAB_FREE
        || (state == SLAB_SMALL && retire_if_empty(slab, word))) {
        ++*run;
        return slab + 1;
    }
    *run = 0;
    return slab + (state == SLAB_HEAD ? slab_payload(word) : 1);
}

/* Search from `from` for a run of n that ends at `to` at most, in `*steps` steps. */
static void *search_run(uint32_t n, uint32_t from, uint32_t to, uint64_t *steps)
{
    uint32_t run = 0;
    for (uint32_t slab = from; slab < to && *steps > 0; --*steps) {
        slab = run_step(slab, &run);
        hint_set(&local_large_cursor, slab);
        if (run < n)
            continue;
        uint32_t head = slab - n;
        extend_to(slab);
        uint32_t claimed = run_claim(head, n);
        if (claimed == n)
            return run_commit(head, n);
        run = n - claimed - 1;
    }
    return NULL;
}

static void *search_large(uint32_t n)
{
    uint64_t steps = SEARCH_LARGE + (uint64_t)2 * n;
    uint32_t used = slabs_used();
    uint32_t cursor = hint_get(&local_large_cursor);
    if (cursor > used)
        cursor = 0;
    void *block = search_run(n, cursor, used, &steps);
    if (!block)
        block = search_run(n, 0, used, &steps);
    return block;
}

static void *take_new_run(uint32_t n)
{
    for (;;) {
        uint32_t head = extend(n);
        if (head == NO_SLAB)
            return NULL;
        if (run_claim(head, n) == n)
            return run_commit(head, n);
    }
}

static void *search_all(uint32_t n)
{
    uint64_t steps = UINT64_MAX;
    return search_run(n, 0, (uint32_t)mp__arena->slab_count, &steps);
}

static void *large_alloc(size_t size)
{
    size_t count = size / MP__SLAB_SIZE + (size % MP__SLAB_SIZE != 0);
    if (count > mp__arena->slab_count)
        return NULL;
    uint32_t n = (uint32_t)count;
    void *block = search_large(n);
    if (!block)
        block = take_new_run(n);
    if (!block)
        block = search_all(n);
    if (!block && retire_all())
        block = search_all(n);
    return block;
}

/* Give the pages of a run back; whether its bytes are zero now. */
static bool run_remove(uint32_t head, uint32_t n)
{
#if defined(MP_PORTABLE) || !defined(MADV_REMOVE)
    (void)head;
    (void)n;
    return false;
#else
    size_t size = n * MP__SLAB_SIZE;
    return size >= REMOVE_LEAST && !madvise(slab_data(head), size, MADV_REMOVE);
#endif
}

static void large_free(uint32_t head, uint64_t word)
{
    uint32_t n = slab_payload(word);
    mp__member_enter();
    uint64_t mine = slab_with(word, SLAB_CLAIMED, owner_of(mp__self));
    if (mp__self && slab_change(head, word, mine)) {
        run_release(head, n, !run_remove(head, n));
        hint_set(&local_large_cursor, head);
    }
    mp__member_leave();
}

/* After a death */

static void sweep_cells(uint32_t slab, uint32_t owner)
{
    uint32_t claimed = cell_claimed_by(owner);
    for (uint32_t cell = 0; cell < MP__SLAB_CELLS; ++cell) {
        _Atomic uint32_t *word = cell_at(slab, cell);
        if (atomic_load_explicit(word, memory_order_relaxed) == claimed)
            cell_change(word, claimed, CELL_DIRTY);
    }
}

static bool is_tail_of(uint64_t word, uint32_t head)
{
    return slab_state(word) == SLAB_TAIL && slab_payload(word) == head;
}

/*
 * Free a run that the dead member was making or freeing.  Others may be at it too: a
 * TAIL belongs to this run only if the head is still what it was, after it was read.
 */
static void sweep_run(uint32_t head, uint64_t word)
{
    uint32_t n = 1;
    while (head + n < mp__arena->slab_count && is_tail_of(slab_load(head + n), head))
        ++n;
    while (--n > 0) {
        uint64_t tail = slab_load(head + n);
        if (slab_load(head) != word)
            return;
        if (is_tail_of(tail, head))
            slab_change(head + n, tail, slab_freed(tail, true));
    }
    slab_change(head, word, slab_freed(word, true));
}

/*
 * Cells come before their slab, and are looked for in every slab that was ever cut: the
 * dead may have claimed one that it was about to give back, the slab being no longer
 * what it thought.
 */
void mp__alloc_sweep(uint64_t member)
{
    uint32_t owner = owner_of(member);
    uint32_t used = slabs_used();
    for (uint32_t slab = 0; slab < used; ++slab) {
        uint64_t word = slab_load(slab);
        if (word & SLAB_WAS_CUT)
            sweep_cells(slab, owner);
        if (slab_state(word) == SLAB_CLAIMED && slab_payload(word) == owner)
            sweep_run(slab, word);
    }
}

void mp__alloc_after_fork(void)
{
    for (unsigned class = 0; class < CLASSES; ++class) {
        hint_set(&local_class[class].slab, 0);
        hint_set(&local_class[class].next, 0);
        hint_set(&local_class[class].freed, 0);
    }
}

/* What programs call */

void *mp_shared_alloc(size_t size)
{
    if (mp__join())
        return NULL;
    if (!size)
        size = 1;
    mp__member_enter();
    void *block = size <= SMALL_MOST ? small_alloc(size) : large_alloc(size);
    mp__member_leave();
    return block;
}

/* The slab in which a block of the arena begins, and how far inside. */
static uint32_t slab_of(const void *block, uint32_t *inside)
{
    size_t offset = (size_t)((const char *)block - mp__arena->data);
    *inside = (uint32_t)(offset % MP__SLAB_SIZE);
    return (uint32_t)(offset / MP__SLAB_SIZE);
}

bool mp__alloc_is_block(const void *block)
{
    uint32_t inside;
    if (!mp_shared_contains(block))
        return false;
    uint32_t slab = slab_of(block, &inside);
    uint64_t word = slab_load(slab);
    if (slab_state(word) != SLAB_SMALL)
        return slab_state(word) == SLAB_HEAD && !inside;
    _Atomic uint32_t *cell = cell_from(slab, slab_payload(word), inside);
    return cell && atomic_load_explicit(cell, memory_order_relaxed) == CELL_USED;
}

void mp_shared_free(void *block)
{
    uint32_t inside;
    if (!mp_shared_contains(block))
        return;
    uint32_t slab = slab_of(block, &inside);
    uint64_t word = slab_load(slab);
    if (slab_state(word) == SLAB_SMALL)
        small_free(slab, word, inside);
    else if (slab_state(word) == SLAB_HEAD && !inside)
        large_free(slab, word);
}

bool mp_shared_contains(const void *address)
{
    const struct mp__arena *arena = mp__arena;
    if (!arena)
        return false;
    uintptr_t offset = (uintptr_t)address - (uintptr_t)arena->data;
    return offset < arena->slab_count * MP__SLAB_SIZE;
}

static size_t small_used(uint32_t slab, unsigned class)
{
    size_t used = 0;
    for (uint32_t cell = 0; cell < class_cells(class); ++cell)
        used += atomic_load_explicit(cell_at(slab, cell), memory_order_relaxed)
                == CELL_USED;
    return used * class_sizes[class];
}

int mp_shared_stat(mp_shared_statistics *out)
{
    if (!out)
        return EINVAL;
    int err = mp__arena_open();
    if (err)
        return err;

    size_t bytes = 0;
    uint32_t used = slabs_used();
    for (uint32_t slab = 0; slab < used; ++slab) {
        uint64_t word = slab_load(slab);
        if (slab_state(word) == SLAB_SMALL)
            bytes += small_used(slab, slab_payload(word));
        else if (slab_state(word) == SLAB_HEAD)
            bytes += slab_payload(word) * MP__SLAB_SIZE;
    }
    out->reserved = mp__arena->slab_count * MP__SLAB_SIZE;
    out->used = bytes;
    return 0;
}
