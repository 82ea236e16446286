/* SPDX-License-Identifier: MIT */
/*
 * rlock.h - a lock that its holder may take again.
 *
 *   mp_rlock *lock;
 *   int err = mp_rlock_new(&lock, NULL);            lock = RLock()
 *   ...                                             start processes; pass `lock`
 *
 *   int deposit(struct account *account, int sum)
 *   {
 *       int err = mp_rlock_acquire(lock, MP_FOREVER);    with lock:
 *       if (err && err != EOWNERDEAD)
 *           return err;
 *       if (err == EOWNERDEAD)
 *           repair(account);                        the holder died half-way
 *       account->balance += sum;
 *       err = log_balance(account);                 takes the lock once more
 *       mp_rlock_release(lock);
 *       return err;
 *   }
 *
 * The holder is a thread of a process.  It may acquire the lock again as often as it
 * likes, and must release it as often; then others may have it.
 *
 * An mp_rlock lies in the arena (see shared.h), takes one cache line, and is as quick as
 * an mp_lock.  Where no function calls another one that takes the same lock, an mp_lock
 * does as well.
 *
 * Caveats.
 * A process may be killed at any instruction.  If one of its threads held the lock, the
 * next acquire in any process returns EOWNERDEAD *with the lock held*, once: the
 * data that it guards may be half-written.  See lock.h.
 * A holder that is merely stopped is alive, and keeps its lock.
 * A thread that ends without releasing leaves the lock held until its process ends.
 * A forked child is not the holder, although its parent was when it forked.
 */
#ifndef MP_RLOCK_H
#define MP_RLOCK_H

#include <sys/types.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A lock that its holder may take again.  Python: multiprocessing.RLock */
typedef struct mp_rlock mp_rlock;

/* There is nothing to choose about a recursive lock yet. */
typedef struct mp_rlock_options {
    size_t struct_size; /* set by MP_RLOCK_OPTIONS */
} mp_rlock_options;

#define MP_RLOCK_OPTIONS(...) \
    (&(const mp_rlock_options){.struct_size = sizeof(mp_rlock_options), __VA_ARGS__})

/*
 * mp_rlock_new - make a recursive lock, which nobody holds.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, or the options are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.RLock()
 */
MP_API MP_MUST_CHECK int mp_rlock_new(mp_rlock **out, const mp_rlock_options *options);

/*
 * mp_rlock_free - free a recursive lock, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever still waits in
 * mp_rlock_acquire when it is freed has used it afterwards.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_rlock_free(mp_rlock *lock);

/*
 * mp_rlock_acquire - take the lock, waiting up to `timeout_ms` for it, or take it once
 * more, at once, if the calling thread holds it already.
 *
 * Returns 0 with the lock held, or
 *   EOWNERDEAD   with the lock held as well: the last holder died holding it
 *   ETIMEDOUT    somebody else held it all the time
 *   EOVERFLOW    the caller holds it 4,294,967,295 times, and not once more now
 *   EINVAL       `lock` is NULL, or the timeout is negative and not MP_FOREVER
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    rlock.acquire(block, timeout)
 */
MP_API MP_MUST_CHECK int mp_rlock_acquire(mp_rlock *lock, int timeout_ms);

/*
 * mp_rlock_release - take back one acquire; if it was the first one, let go of the lock
 * and wake one who waits for it.
 *
 * Returns 0, or
 *   EPERM    the calling thread does not hold the lock
 *   EINVAL   `lock` is NULL
 *
 * Processes: any of the family.  Threads: the one that holds it.  Signal handlers: no.
 * Python:    rlock.release(); AssertionError is EPERM here
 */
MP_API int mp_rlock_release(mp_rlock *lock);

/*
 * mp_rlock_locked - whether anybody holds the lock, the caller included, as it was a
 * moment ago.  A holder that died still holds it.  False for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    rlock.locked() (3.14)
 */
MP_API bool mp_rlock_locked(const mp_rlock *lock);

/*
 * mp_rlock_owner - the pid of the process that holds the lock, as it was a moment ago,
 * or 0 if nobody does, or for NULL.  For messages: by the time it is looked at, the
 * process may have released the lock, and died.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    repr(rlock)
 */
MP_API pid_t mp_rlock_owner(const mp_rlock *lock);

#ifdef __cplusplus
}
#endif

#endif
