/* SPDX-License-Identifier: MIT */
/*
 * lock.h - a lock that one process holds at a time.
 *
 *   mp_lock *lock;
 *   int err = mp_lock_new(&lock, NULL);             lock = Lock()
 *   if (err)
 *       return err;
 *   ...                                             start processes; pass `lock`
 *   err = mp_lock_acquire(lock, MP_FOREVER);        with lock:
 *   if (err && err != EOWNERDEAD)
 *       return err;
 *   if (err == EOWNERDEAD)
 *       repair(account);                            the holder died half-way
 *   account->balance -= 10;
 *   mp_lock_release(lock);
 *
 * An mp_lock lies in the arena (see shared.h): its pointer means the same in every
 * process of the family, whether it was inherited or passed on through shared
 * memory.  It takes one cache line, no descriptor and no name.
 *
 * Caveats.
 * A process may be killed at any instruction.  If it held the lock, the next
 * acquire in any process returns EOWNERDEAD *with the lock held*: the data that it
 * guards may be half-written, and only the program knows how to put it right.
 * This is reported once; the acquire after that returns 0 again.
 * A holder that is merely stopped is alive, and keeps its lock.
 * The holder is the process.  A thread that ends without releasing leaves the lock
 * held by its process.
 */
#ifndef MP_LOCK_H
#define MP_LOCK_H

#include <sys/types.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A lock that one process holds at a time.  Python: multiprocessing.Lock */
typedef struct mp_lock mp_lock;

/* There is nothing to choose about a lock yet. */
typedef struct mp_lock_options {
    size_t struct_size; /* set by MP_LOCK_OPTIONS */
} mp_lock_options;

#define MP_LOCK_OPTIONS(...) \
    (&(const mp_lock_options){.struct_size = sizeof(mp_lock_options), __VA_ARGS__})

/*
 * mp_lock_new - make a lock, which nobody holds.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, or the options are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.Lock()
 */
MP_API MP_MUST_CHECK int mp_lock_new(mp_lock **out, const mp_lock_options *options);

/*
 * mp_lock_free - free a lock, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever still waits in
 * mp_lock_acquire when it is freed has used it afterwards.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_lock_free(mp_lock *lock);

/*
 * mp_lock_acquire - take the lock, waiting up to `timeout_ms` for it.
 *
 * Not recursive: a process that holds the lock and acquires it again waits, for
 * another thread or process may release it.
 *
 * Returns 0 with the lock held, or
 *   EOWNERDEAD   with the lock held as well: the last holder died holding it
 *   ETIMEDOUT    somebody else held it all the time
 *   EINVAL       `lock` is NULL, or the timeout is negative and not MP_FOREVER
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    lock.acquire(block, timeout)
 */
MP_API MP_MUST_CHECK int mp_lock_acquire(mp_lock *lock, int timeout_ms);

/*
 * mp_lock_release - let go of the lock, and wake one who waits for it.
 *
 * Any process of the family may release it, not only the one that holds it.  If the one
 * that held it is dead, nobody will be told of that any more.  Leaves errno alone.
 *
 * Returns 0, or
 *   EOVERFLOW   nobody holds the lock
 *   EINVAL      `lock` is NULL
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    lock.release()
 */
MP_API int mp_lock_release(mp_lock *lock);

/*
 * mp_lock_locked - whether anybody holds the lock, as it was a moment ago.  A holder
 * that died still holds it.  False for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    lock.locked() (3.14)
 */
MP_API bool mp_lock_locked(const mp_lock *lock);

/*
 * mp_lock_owner - the pid of the process that holds the lock, as it was a moment ago, or
 * 0 if nobody does, or for NULL.  For messages: by the time it is looked at, the process
 * may have released the lock, and died.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    repr(lock)
 */
MP_API pid_t mp_lock_owner(const mp_lock *lock);

#ifdef __cplusplus
}
#endif

#endif
