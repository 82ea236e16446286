/* SPDX-License-Identifier: MIT */
/*
 * shared.h - memory that all processes of a program see at the same address.
 *
 *   int *counter = mp_shared_alloc(sizeof *counter);     counter = Value('i', 0)
 *   if (!counter)
 *       return ENOMEM;
 *   ...                             start processes; all of them see *counter
 *   mp_shared_free(counter);
 *
 * The arena.  Before its first fork a program that uses libmp reserves one large
 * anonymous shared mapping, the arena.  All processes that come from it have the
 * arena at the same address: a pointer into it means the same in every one of
 * them, wherever the block was allocated and by whom.  The arena has no name in
 * any file system, so nothing of it remains when the last process ends, however
 * it ends.  It is reserved and not committed: a page costs memory when it is
 * touched, and large blocks give theirs back when they are freed.
 *
 * Its size follows the memory of the machine and is halved until the system
 * accepts it; address-space limits and strict overcommit are respected.  The
 * environment variable MP_ARENA_SIZE sets it: a number of bytes, or with K, M or
 * G behind it.
 *
 * Caveats.
 * A process that is killed inside these calls harms nobody: what it was about to
 * allocate or free is put right by whoever notices the death.  A block that was
 * handed to a process stays allocated when this process dies, for others may
 * have its address: whoever shares a block decides who frees it.  That holds from
 * the instruction that makes the block the caller's, a few before the call returns.
 * Locks, values and all other objects that lie in the arena are blocks.  One that is freed
 * while others use it is a block that was freed: who waits for it is not told, and once its
 * memory is allocated again its users spoil what lies there then.  Freeing an object twice
 * does nothing, as long as its memory has not been allocated again.
 * Blocks are not locked: two processes that write one need an mp_lock, or atomics.
 * A program that forks before it has called libmp has two families after that,
 * with an arena each; pointers mean nothing across families.
 */
#ifndef MP_SHARED_H
#define MP_SHARED_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * mp_shared_alloc - allocate `size` bytes that the whole family sees.
 *
 * The block is zeroed and aligned to 64 bytes, a cache line of its own; blocks of
 * more than 16 KiB are aligned to 64 KiB.  A size of 0 is taken as 1.
 *
 * Returns the block, or NULL when the arena has no room for it or could not be
 * reserved at all.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    sharedctypes.RawArray('c', size)
 */
MP_API MP_MUST_CHECK void *mp_shared_alloc(size_t size);

/*
 * mp_shared_free - give a block back.
 *
 * `block` is what mp_shared_alloc returned, in this or in any other process, or
 * NULL.  A pointer that is not the start of an allocated block, and a block that
 * was freed before and not allocated again, are ignored.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_shared_free(void *block);

/*
 * mp_shared_contains - whether an address lies in the arena.
 *
 * What lies there, and only that, may be handed to other processes by pointer,
 * and is used in place by pools.
 *
 * Processes: any.  Threads: any.  Signal handlers: yes.
 */
MP_API bool mp_shared_contains(const void *address);

/* What mp_shared_stat reports; all in bytes. */
typedef struct mp_shared_statistics {
    size_t reserved; /* what can be allocated in all, if nothing is */
    size_t used;     /* what is allocated now, rounding included */
} mp_shared_statistics;

/*
 * mp_shared_stat - how large the arena is and how much of it is in use.
 *
 * Counts at leisure, block by block: meant for tests and for diagnosis.  While
 * others allocate the figures are those of some moment during the call.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL
 *   ENOMEM   no arena could be reserved
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 */
MP_API int mp_shared_stat(mp_shared_statistics *out);

#ifdef __cplusplus
}
#endif

#endif
