/* SPDX-License-Identifier: MIT */
/*
 * condition.h - waiting until something is so.
 *
 *   mp_condition *changed;
 *   int err = mp_condition_new(&changed, NULL);         changed = Condition()
 *   ...                                                 start processes; pass `changed`
 *
 *   err = mp_condition_acquire(changed, MP_FOREVER);    with changed:
 *   while (!err && box->count == 0)                         while not box:
 *       err = mp_condition_wait(changed, MP_FOREVER);           changed.wait()
 *   ...                                                     item = box.pop()
 *   mp_condition_release(changed);
 *
 *   err = mp_condition_acquire(changed, MP_FOREVER);    with changed:
 *   box->items[box->count++] = item;                        box.append(item)
 *   mp_condition_notify(changed, 1);                        changed.notify()
 *   mp_condition_release(changed);
 *
 * A condition goes with a lock, which guards what is waited for.  Waiting lets go of the
 * lock, sleeps until it is notified, and takes the lock again.  Without options the
 * condition has a recursive lock of its own; several conditions may share one lock.
 *
 * A notification goes to those who wait when it is given, in the order in which they
 * began, and is not kept for later ones.  Who gets it still has to wait for the lock, so
 * what it waits for may be over by then: look again, or use mp_condition_wait_for.
 *
 * An mp_condition lies in the arena (see shared.h): its pointer means the same in every
 * process of the family.  It takes nine cache lines, and more for more than 27 waiters
 * at once.
 *
 * Caveats.
 * A process may be killed at any instruction.
 * If it waited, it is forgotten.  If it had been notified and did not return yet, its
 * notification goes on to another one who waits; only in the course of that, when a
 * second process dies on the way, may one more than was notified return.  Notifying
 * never waits for a waiter, dead or alive.
 * If it held the lock, EOWNERDEAD tells the next one to take it, *with the lock held*,
 * once (see lock.h).  That may be one who waits: it then returns at once, so that not
 * all wait for one who is dead.  Whether it was notified, too, is not told: look at
 * what is waited for after EOWNERDEAD as well.
 * A waiter that is merely stopped is alive, and keeps its notification.
 */
#ifndef MP_CONDITION_H
#define MP_CONDITION_H

#include "base.h"

#include "lock.h"
#include "rlock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Waiting until something is so.  Python: multiprocessing.Condition */
typedef struct mp_condition mp_condition;

/* Whether it is so.  Called with the lock held. */
typedef bool mp_predicate_fn(void *arg);

/* The lock that goes with the condition; it must live at least as long.  Neither: a
   recursive lock of its own. */
typedef struct mp_condition_options {
    size_t struct_size; /* set by MP_CONDITION_OPTIONS */
    mp_lock *lock;      /* this one, */
    mp_rlock *rlock;    /* or this one */
} mp_condition_options;

#define MP_CONDITION_OPTIONS(...)                                                      \
    (&(const mp_condition_options){.struct_size = sizeof(mp_condition_options),        \
                                   __VA_ARGS__})

/*
 * mp_condition_new - make a condition, for which nobody waits.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, both locks are given, or the options are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.Condition(lock)
 */
MP_API MP_MUST_CHECK int mp_condition_new(mp_condition **out,
                                          const mp_condition_options *options);

/*
 * mp_condition_free - free a condition, and its lock if it is its own, or do nothing
 * with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever still waits when it is freed has
 * used it afterwards.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_condition_free(mp_condition *condition);

/*
 * mp_condition_acquire - take the lock of the condition, waiting up to `timeout_ms`.
 *
 * Returns what mp_lock_acquire or mp_rlock_acquire return: 0 with the lock held, or
 *   EOWNERDEAD   with the lock held as well: the last holder died holding it
 *   ETIMEDOUT    somebody else held it all the time
 *   EOVERFLOW    a recursive lock, taken too often
 *   EINVAL       `condition` is NULL, or the timeout is negative and not MP_FOREVER
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    condition.acquire(block, timeout)
 */
MP_API MP_MUST_CHECK int mp_condition_acquire(mp_condition *condition, int timeout_ms);

/*
 * mp_condition_release - release the lock of the condition.
 *
 * Returns what mp_lock_release or mp_rlock_release return: 0, or
 *   EPERM       a recursive lock, which the calling thread does not hold
 *   EOVERFLOW   any other lock, which nobody holds
 *   EINVAL      `condition` is NULL
 *
 * Processes: any of the family.  Threads: the one that holds it.  Signal handlers: no.
 * Python:    condition.release()
 */
MP_API int mp_condition_release(mp_condition *condition);

/*
 * mp_condition_wait - let go of the lock, wait up to `timeout_ms` to be notified, and
 * take the lock again.
 *
 * The caller must hold the lock: the calling thread if it is a recursive one, and
 * otherwise the calling process.  A recursive lock is let go of entirely, however often
 * it was acquired, and taken as often again.  The lock is held again when the call
 * returns, whatever it returns; taking it may last longer than the timeout.  A
 * notification that arrives meanwhile counts as in time.  With MP_NOWAIT others have a
 * chance to take the lock, and that is all.
 *
 * Returns 0 when it was notified, or
 *   ETIMEDOUT    it was not
 *   EOWNERDEAD   the last holder of the lock died holding it; notified or not
 *   EPERM        the caller does not hold the lock
 *   EINVAL       `condition` is NULL, or the timeout is negative and not MP_FOREVER
 *   ENOMEM       the arena is full; the lock was not let go of
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    condition.wait(timeout); AssertionError is EPERM here
 */
MP_API MP_MUST_CHECK int mp_condition_wait(mp_condition *condition, int timeout_ms);

/*
 * mp_condition_wait_for - wait, up to `timeout_ms` in all, until predicate(arg) is true.
 *
 * The predicate is called with the lock held: at first, and each time after waiting.  It
 * is not called after EOWNERDEAD, for what it looks at may be half-written.  With
 * MP_NOWAIT it is called once, and the lock is not let go of.
 *
 * Returns 0 when it is true, or
 *   ETIMEDOUT    it was false when the time was over
 *   EINVAL       `predicate` is NULL, too
 *   and EOWNERDEAD, EPERM and ENOMEM as mp_condition_wait
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    condition.wait_for(predicate, timeout)
 */
MP_API MP_MUST_CHECK int mp_condition_wait_for(mp_condition *condition,
                                               mp_predicate_fn *predicate, void *arg,
                                               int timeout_ms);

/*
 * mp_condition_notify - notify those `count` who have waited longest, or all if there
 * are not so many.  Does nothing if nobody waits.
 *
 * The caller must hold the lock, as for mp_condition_wait, and keeps it.
 *
 * Returns 0, or
 *   EPERM    the caller does not hold the lock
 *   EINVAL   `condition` is NULL
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    condition.notify(n)
 */
MP_API int mp_condition_notify(mp_condition *condition, size_t count);

/*
 * mp_condition_notify_all - notify all who wait.  As mp_condition_notify.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    condition.notify_all()
 */
MP_API int mp_condition_notify_all(mp_condition *condition);

#ifdef __cplusplus
}
#endif

#endif
