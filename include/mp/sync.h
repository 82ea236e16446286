/* SPDX-License-Identifier: MIT */
/*
 * sync.h - coordination between processes: all of it.
 *
 *   lock.h        a lock that one process holds at a time
 *   rlock.h       one that its holder may take again
 *   semaphore.h   a number of tokens
 *   condition.h   waiting until something is so
 *   event.h       a flag to wait for
 *   barrier.h     waiting for each other
 *   rwlock.h      many readers or one writer
 *
 * All of them lie in the arena (see shared.h): a pointer to one means the same in every
 * process of the family, whether it was inherited or passed on through shared memory.
 * None takes a descriptor or has a name.
 *
 * Any process may be killed at any instruction inside any of these calls.  The others
 * never wait for it longer than a tenth of a second, lose no wake-up that it was to give
 * or had got, and are told what they need to know: each header says by which error.
 * A process that is merely stopped is alive, and is waited for.
 */
#ifndef MP_SYNC_H
#define MP_SYNC_H

#include "barrier.h"
#include "condition.h"
#include "event.h"
#include "lock.h"
#include "rlock.h"
#include "rwlock.h"
#include "semaphore.h"

#endif
