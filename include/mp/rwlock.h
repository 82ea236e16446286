/* SPDX-License-Identifier: MIT */
/*
 * rwlock.h - a lock that many processes hold for reading, or one for writing.
 *
 *   mp_rwlock *lock;
 *   int err = mp_rwlock_new(&lock, NULL);           lock = RWLock()
 *   if (err)
 *       return err;
 *   ...                                             start processes; pass `lock`
 *   err = mp_rwlock_acquire_read(lock, MP_FOREVER); with lock.reading():
 *   if (err == EOWNERDEAD)
 *       repair(table);                              a writer died; we may write
 *   else if (err)
 *       return err;
 *   found = look_up(table, key);
 *   mp_rwlock_release(lock);
 *
 * Python's multiprocessing has no such lock; its users build one from a Lock and a
 * Condition, or take one that is based on files.
 *
 * Each process that reads counts its reads in a word of its own, so that readers on
 * different processors don't disturb each other, and that a death tells what it held.
 *
 * Readers give way to a writer that waits, and readers who waited for a writer go in
 * before the next one, so that neither starve.
 *
 * Caveats.
 * A process may be killed at any instruction.  If it wrote, the next acquire in any
 * process, *for reading or for writing*, returns EOWNERDEAD with the lock held *for
 * writing*: the data may be half-written, and nobody may read them before they are put
 * right.  Whoever is told may write, and releases as always.  This is reported once.
 * If it read, or waited, nothing is reported, for it has changed nothing.
 * A holder that is merely stopped is alive, and keeps its lock.
 * The holder is the process.  Any of its threads may release what another acquired.
 * A process may read any number of times at once, in one thread or in many; a second
 * read never waits for a writer that waits for the first one.
 * Everything else waits for itself, and is not detected, since other threads might be
 * the ones to release: to acquire for writing while reading or writing, and to
 * acquire for reading while writing.
 */
#ifndef MP_RWLOCK_H
#define MP_RWLOCK_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A lock for many readers or one writer.  Python: none */
typedef struct mp_rwlock mp_rwlock;

/* There is nothing to choose about it yet. */
typedef struct mp_rwlock_options {
    size_t struct_size; /* set by MP_RWLOCK_OPTIONS */
} mp_rwlock_options;

#define MP_RWLOCK_OPTIONS(...) \
    (&(const mp_rwlock_options){.struct_size = sizeof(mp_rwlock_options), __VA_ARGS__})

/*
 * mp_rwlock_new - make a lock, which nobody holds.
 *
 * It takes 768 bytes of the arena, no descriptor and no name, and more only if it is
 * read in a family of more than 63 members: then up to 16 bytes for each of them.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, or the options are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    none
 */
MP_API MP_MUST_CHECK int mp_rwlock_new(mp_rwlock **out, const mp_rwlock_options *options);

/*
 * mp_rwlock_free - free a lock, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever still waits for it when it is
 * freed has used it afterwards.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_rwlock_free(mp_rwlock *lock);

/*
 * mp_rwlock_acquire_read - take the lock for reading, waiting up to `timeout_ms` while
 * somebody writes or waits to write.
 *
 * A process that reads already does not give way to those who wait to write.  For each
 * successful call there must be one release.
 *
 * Returns 0 with the lock held for reading, or
 *   EOWNERDEAD   with the lock held *for writing*: the last writer died holding it
 *   ETIMEDOUT    somebody else wrote, or waited to write, all the time
 *   EINVAL       `lock` is NULL, or the timeout is negative and not MP_FOREVER
 *   EOVERFLOW    this process reads 65,535 times already
 *   ENOMEM       the arena is full; only where the family has more than 63 members
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    none
 */
MP_API MP_MUST_CHECK int mp_rwlock_acquire_read(mp_rwlock *lock, int timeout_ms);

/*
 * mp_rwlock_acquire_write - take the lock for writing, waiting up to `timeout_ms` until
 * nobody else writes or reads.
 *
 * While it waits for those who read, no others begin to.
 *
 * Returns 0 with the lock held for writing, or
 *   EOWNERDEAD   with the lock held as well: the last writer died holding it
 *   ETIMEDOUT    others read or wrote all the time
 *   EINVAL       `lock` is NULL, or the timeout is negative and not MP_FOREVER
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    none
 */
MP_API MP_MUST_CHECK int mp_rwlock_acquire_write(mp_rwlock *lock, int timeout_ms);

/*
 * mp_rwlock_release - let go of the lock, as it was acquired: stop writing if this
 * process writes, or end one of its reads.  Wakes those who may have it now.  Leaves errno
 * alone.
 *
 * Returns 0, or
 *   EPERM    this process neither writes nor reads
 *   EINVAL   `lock` is NULL
 *
 * Processes: the one that acquired it.  Threads: any.  Signal handlers: yes.
 * Python:    none
 */
MP_API int mp_rwlock_release(mp_rwlock *lock);

#ifdef __cplusplus
}
#endif

#endif
