/* SPDX-License-Identifier: MIT */
/* member_slot.h - what a member's slot in the arena looks like, for this floor only. */
#ifndef MP_SHM_MEMBER_SLOT_H
#define MP_SHM_MEMBER_SLOT_H

#include <pthread.h>

#include "base/atomic.h"

/* What holding the token, or not, says about a live member. */
enum mp__token_state {
    MP__TOKEN_HELD,    /* it lives as long as the token can't be taken */
    MP__TOKEN_LOST,    /* it lives without: ask for its pid */
    MP__TOKEN_DROPPED, /* somebody took it: dead, unless the system says it is not */
};

/*
 * In shared memory, and never used for anything else.  `word` is the truth:
 *
 *   bits 32..63  generation     bits 28..31  state     bits 0..27  pid
 *
 * `token` is made once for each slot and never again: someone who is about to unlock
 * it, having asked whether an earlier owner is alive, must not find pointers of another
 * process in it.
 */
struct mp__member {
    _Alignas(2 * MP__CACHE_LINE) _Atomic uint64_t word;
    _Atomic int64_t registered;  /* when it joined: an older pid is another's */
    _Atomic uint32_t busy;       /* calls of the allocator that are under way */
    _Atomic uint32_t token_state;
    _Atomic uint32_t token_made;
    pthread_mutex_t token; /* held while it lives, dropped by the kernel */
};

#endif
