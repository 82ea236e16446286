/* SPDX-License-Identifier: MIT */
/*
 * semaphore.h - a number of tokens: acquire takes one, waiting for it, release gives
 * one.
 *
 *   mp_semaphore *slots;
 *   int err = mp_semaphore_new(&slots, 3,               slots = Semaphore(3)
 *                              MP_SEMAPHORE_OPTIONS(.owned = 1));
 *   if (err)
 *       return err;
 *   ...                                                 start processes; pass `slots`
 *   err = mp_semaphore_acquire(slots, MP_FOREVER);      with slots:
 *   if (err && err != EOWNERDEAD)
 *       return err;
 *   download(url);                                      three at a time
 *   mp_semaphore_release(slots);
 *
 * Which one to choose.  Tokens are anonymous, or owned by the process that took them.
 *   anonymous   for counting: one process releases what another acquires, as a producer
 *               does for each message and a consumer before each.  This is Python's
 *               Semaphore, and with .max_value = n and value n its BoundedSemaphore(n).
 *   owned       for sharing: a token stands for a connection, a licence, a place at a
 *               table, and is given back by the process that took it.
 *
 * An mp_semaphore lies in the arena (see shared.h): its pointer means the same in every
 * process of the family.  It takes one cache line, or as many as 8 bytes for each owned
 * token fill; no descriptor and no name.
 *
 * Caveats.
 * A process may be killed at any instruction.  The anonymous tokens that it had taken
 * are gone, since nobody knows what they stood for.  The owned tokens that it had come
 * back: acquire hands out each of them with EOWNERDEAD instead of 0, once, for the
 * resource behind it may have been left half-way.  Free tokens are handed out first.
 * In either case nobody waits in vain for a token that is there.
 * A process that is merely stopped is alive, and keeps its tokens.
 * The owner is the process.  A thread that ends, or a fork, gives nothing back: the child
 * owns nothing, and its parent's tokens stay its parent's.
 * Who waits longest is not always served first.
 */
#ifndef MP_SEMAPHORE_H
#define MP_SEMAPHORE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A number of tokens.  Python: multiprocessing.Semaphore, BoundedSemaphore */
typedef struct mp_semaphore mp_semaphore;

typedef struct mp_semaphore_options {
    size_t struct_size; /* set by MP_SEMAPHORE_OPTIONS */
    unsigned max_value; /* there are never more; 0: 2147483647, or `value` if owned */
    int owned;          /* not 0: tokens of a process that died come back */
} mp_semaphore_options;

#define MP_SEMAPHORE_OPTIONS(...)                                                  \
    (&(const mp_semaphore_options){.struct_size = sizeof(mp_semaphore_options),    \
                                   __VA_ARGS__})

/*
 * mp_semaphore_new - make a semaphore with `value` tokens.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL; `value` is above .max_value; .max_value is above 2147483647;
 *            or, with .owned, `value` is 0 or above 65535, or .max_value is neither 0
 *            nor `value`; or the options are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.Semaphore(value), BoundedSemaphore(value); the latter with
 *            .max_value = value, which for a value of 0 there is no way to say
 */
MP_API MP_MUST_CHECK int mp_semaphore_new(mp_semaphore **out, unsigned value,
                                          const mp_semaphore_options *options);

/*
 * mp_semaphore_free - free a semaphore, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever still waits in
 * mp_semaphore_acquire when it is freed has used it afterwards.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_semaphore_free(mp_semaphore *semaphore);

/*
 * mp_semaphore_acquire - take a token, waiting up to `timeout_ms` for one.
 *
 * Returns 0 with a token taken, or
 *   EOWNERDEAD   with a token taken as well: the process that owned it died.  Only if
 *                the semaphore is owned; once for each token.
 *   ETIMEDOUT    there was none in time
 *   EINVAL       `semaphore` is NULL, or the timeout is negative and not MP_FOREVER
 *   EAGAIN       this process could not join the family, which has 16,383 members: never
 *                while there are anonymous tokens
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    semaphore.acquire(block, timeout)
 */
MP_API MP_MUST_CHECK int mp_semaphore_acquire(mp_semaphore *semaphore, int timeout_ms);

/*
 * mp_semaphore_release - give a token, and wake one who waits for it.
 *
 * An anonymous token may come from any process, whether it took one or not.  An owned
 * one is one of those that the calling process took.  Leaves errno alone.
 *
 * Returns 0, or
 *   EOVERFLOW   there are .max_value tokens already; exact, however many release at once
 *   EPERM       the semaphore is owned, and the calling process owns no token
 *   EINVAL      `semaphore` is NULL
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    semaphore.release()
 */
MP_API int mp_semaphore_release(mp_semaphore *semaphore);

/*
 * mp_semaphore_value - how many tokens there are to take, as it was a moment ago; those
 * that a dead process owned are among them.  0 for NULL.
 *
 * An owned semaphore is counted token by token.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes, if not owned.
 * Python:    semaphore.get_value()
 */
MP_API unsigned mp_semaphore_value(const mp_semaphore *semaphore);

/*
 * mp_semaphore_locked - whether there was no token to take a moment ago.  False for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes, if not owned.
 * Python:    semaphore.locked() (3.14)
 */
MP_API bool mp_semaphore_locked(const mp_semaphore *semaphore);

#ifdef __cplusplus
}
#endif

#endif
