/* SPDX-License-Identifier: MIT */
/*
 * arena.h - the one shared mapping of a family of processes.
 *
 *   [ header | members | sleepers | slab hints | slab words | cell words | data ]
 *
 * The data are slabs of 64 KiB.
 *
 * Everything before the data is of fixed size and never reused for anything else, so a
 * process that was stopped for an hour in the middle of a compare-and-swap finds the
 * same kind of word where it left it.
 */
#ifndef MP_SHM_ARENA_H
#define MP_SHM_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/atomic.h"

#define MP__SLAB_SIZE ((size_t)64 << 10)
#define MP__MEMBERS_MAX 16383 /* fits the 14 bits of a cell word; slot 0 is no member */
#define MP__SLEEPERS_MAX 32768
#define MP__SLAB_CELLS 1024

/* The place that each sleeper has; sync/park.c says what is in it. */
#if defined(MP_PORTABLE) || !defined(__linux__)
#define MP__SLEEPER_SIZE 128
#else
#define MP__SLEEPER_SIZE 64
#endif

struct mp__member;
struct mp__sleeper;

/* What is good to know about a slab and may be wrong; the words are the truth. */
struct mp__slab_hint {
    _Alignas(MP__CACHE_LINE) _Atomic int32_t used; /* cells, about */
};

struct mp__arena {
    size_t size;       /* of the mapping */
    size_t slab_count; /* slabs of data */
    char *data;
    _Atomic uint64_t *slab_words;
    _Atomic uint32_t *cell_words; /* MP__SLAB_CELLS for each slab */
    struct mp__slab_hint *slab_hints;
    struct mp__member *members;
    struct mp__sleeper *sleepers;
    _Alignas(MP__CACHE_LINE) _Atomic uint32_t members_used; /* all others are fresh */
    _Atomic uint32_t members_free; /* a slot below which none is free, about */
    _Atomic uint32_t sleepers_used;
    _Atomic uint32_t slabs_used;
    _Atomic uint64_t threads; /* numbers given out so far, see sync/rlock.c */
    _Alignas(2 * MP__CACHE_LINE) _Atomic uint64_t sentry; /* who watches, see park.h */
    _Atomic int64_t sentry_seen; /* when it last looked */
    _Atomic uint32_t sentry_lazy; /* it looks seldom, see sync/park.c */
    _Atomic uint32_t deaths;     /* burials, modulo 2^32 */
    _Atomic uint64_t trace_end;  /* the trace file's length, see pool/trace.h */
    void *_Atomic trace_writer;  /* who is writing to it */
};

/* NULL until mp__arena_open. */
extern struct mp__arena *mp__arena;

/* Reserve the arena if this family has none yet: 0, or ENOMEM. */
int mp__arena_open(void);

#endif
