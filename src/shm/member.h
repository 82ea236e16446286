/* SPDX-License-Identifier: MIT */
/*
 * member.h - who is in the family, and who of them is alive.
 *
 * Each process that uses libmp has a slot in the arena.  Its identity is a 64-bit
 * number, slot and generation, which is never used again: words in shared memory that
 * name an owner hold it, so that a reused slot or pid is never taken for the one that
 * died.
 *
 *   bits 32..63  generation, from 1     bits 16..29  slot, from 1     others  zero
 */
#ifndef MP_SHM_MEMBER_H
#define MP_SHM_MEMBER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/atomic.h"

#define MP__MEMBER_MASK UINT64_C(0xffffffff3fff0000)

/* This process's identity, or 0 if it has not joined yet; 0 in forked children. */
extern uint64_t mp__self;

/* How often this process's line of ancestors forked; a handle of an earlier count was
   inherited and belongs to another process. */
extern unsigned mp__fork_epoch;

/* Reserve the arena and join the family: 0, ENOMEM, or EAGAIN if it is full. */
int mp__member_join(void);

static inline int mp__join(void)
{
    return __atomic_load_n(&mp__self, __ATOMIC_ACQUIRE) ? 0 : mp__member_join();
}

/* Whether the process behind `member` has died.  False for a stopped one. */
bool mp__member_is_dead(uint64_t member);

/*
 * The caller knows that it has died, for it is its parent and sees its zombie: mark it
 * dead, sweep what it left, wake all who sleep, and free its slot.  Any number of
 * processes may do this, in part or again.
 */
void mp__member_bury(uint64_t member);

/*
 * For who buries many, and has one thread: from now on sleepers are not woken for each of
 * them, but all at once when it is off again.  If the caller dies before, its own burial
 * wakes them.
 */
void mp__member_hush(bool on);

/* The pid that `member` has or had, or 0 if its slot is another's by now, or for 0. */
pid_t mp__member_pid(uint64_t member);

/* The member that has this pid, or 0.  To be asked while the pid can't be reused. */
uint64_t mp__member_of_pid(pid_t pid);

/* Look at every member, and bury the dead. */
void mp__member_watch(void);

/* Brackets a call during which the member's death needs mp__alloc_sweep. */
void mp__member_enter(void);
void mp__member_leave(void);

/* Called after each death, by whoever buries: set once by the floor above. */
extern void (*mp__member_on_death)(void);

#endif
