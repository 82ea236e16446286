/* SPDX-License-Identifier: MIT */
/* member_slot.h - what a member's slot in the arena looks like, for this floor only. */
#ifndef MP_SHM_MEMBER_SLOT_H
#define MP_SHM_MEMBER_SLOT_H

#include <pthread.h>

#include "base/atomic.h"

/*
 * In shared memory, and never used for anything else.  `word` is the truth:
 *
 *   bits 32..63  generation     bits 28..31  state     bits 0..27  pid
 *
 * `token` is made once for each slot and never again: who is about to unlock it, having
 * asked whether an earlier owner is alive, must not find a list of another process in it.
 */
struct mp__member {
    _Alignas(2 * MP__CACHE_LINE) _Atomic uint64_t word;
    _Atomic int64_t registered;   /* when it joined; for seeing that its pid was reused */
    _Atomic uint32_t busy;        /* calls of the allocator that are under way */
    _Atomic uint32_t token_lost;  /* alive without holding the token: ask for the pid */
    _Atomic uint32_t token_made;
    pthread_mutex_t token;        /* held while it lives, dropped by the kernel */
};

#endif
