/* SPDX-License-Identifier: MIT */
/*
 * value.h - numbers, structs and arrays that processes share, with a lock.
 *
 *   mp_value *counter;
 *   int64_t zero = 0;
 *   int err = mp_value_new(&counter, sizeof zero,        counter = Value('q', 0)
 *                          &zero, NULL);
 *   if (err)
 *       return err;
 *   ...                                                  start processes
 *   err = mp_value_acquire(counter, MP_FOREVER);         with counter.get_lock():
 *   if (err && err != EOWNERDEAD)
 *       return err;
 *   MP_VALUE(counter, int64_t) += 1;                         counter.value += 1
 *   mp_value_release(counter);
 *   ...
 *   mp_value_fetch_add(counter, 1, NULL);                the same, and much quicker
 *
 * `counter.value += 1` without get_lock() loses counts in Python: it takes the lock to
 * read, lets go, takes it again to write, and another process may have counted in
 * between.  mp_value_get followed by mp_value_set is the same mistake here.  Either take
 * the lock around both, as above, or let mp_value_fetch_add do it in one step.
 *
 * A value is a number of bytes that all processes of the family see at the same
 * address: of an int, a double, a struct.  An array is a fixed number of such items,
 * one behind the other.  Both lie in the arena (see shared.h); a pointer to one means the
 * same in every process of the family.  Pointers inside them are good for all processes
 * only if they point into the arena as well.
 *
 * The lock.  By default each value and each array has an mp_rlock of its own, so that
 * mp_value_get may be called between mp_value_acquire and mp_value_release.  The options
 * name an mp_lock or an mp_rlock instead, which several values may share; an mp_lock is
 * not recursive: whoever holds it uses mp_value_data, and waits for ever in mp_value_get.
 *
 * Caveats.
 * A process may be killed while it holds the lock.  The next acquire, get or set in any
 * process returns EOWNERDEAD, once, and has done its work all the same: what the value
 * holds may be half-written, and only the program knows how to put it right.
 * Values and items of 1, 2, 4 and 8 bytes are always read and written in one piece, with
 * or without lock, by get, set and fetch_add: nobody ever sees, and no death leaves, a
 * half of one.
 * The lock excludes only those who take it: mp_value_data and mp_value_fetch_add don't.
 */
#ifndef MP_VALUE_H
#define MP_VALUE_H

#include "base.h"

#include "lock.h"
#include "rlock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Some bytes that processes share.  Python: multiprocessing.Value */
typedef struct mp_value mp_value;

/* Some items that processes share.  Python: multiprocessing.Array */
typedef struct mp_array mp_array;

/*
 * Which lock guards it: at most one of the three; none of them: an mp_rlock of its own.
 * A lock that is given must live as long as the value, and is not freed with it.
 */
typedef struct mp_value_options {
    size_t struct_size; /* set by MP_VALUE_OPTIONS */
    mp_lock *lock;      /* this one */
    mp_rlock *rlock;    /* this one */
    int without_lock;   /* not 0: no lock.  Python: lock=False, RawValue, RawArray */
    int reserved;       /* zero */
} mp_value_options;

#define MP_VALUE_OPTIONS(...) \
    (&(const mp_value_options){.struct_size = sizeof(mp_value_options), __VA_ARGS__})

/*
 * mp_value_new - make a value of `size` bytes.
 *
 * It is a copy of the `size` bytes at `initial`, or all zero if `initial` is NULL.
 *
 * Returns 0, or
 *   EINVAL      `out` is NULL, `size` is 0, more than one lock was chosen, or the
 *               options are of a newer libmp
 *   EOVERFLOW   no memory can be that large
 *   ENOMEM      the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    Value(typecode, initial, lock=lock)
 */
MP_API MP_MUST_CHECK int mp_value_new(mp_value **out, size_t size, const void *initial,
                                      const mp_value_options *options);

/*
 * mp_value_free - free a value and the lock that it made, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process, nor the pointer to its data.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_value_free(mp_value *value);

/*
 * mp_value_data - where the bytes are, or NULL for NULL.
 *
 * The address stays the same for the life of the value, in every process, and is aligned
 * for any type.  Take the lock before you look there, or use atomics.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    value.get_obj()
 */
MP_API void *mp_value_data(mp_value *value);

/*
 * The value as an object of its type, to read and to assign to while the lock is held:
 *
 *   MP_VALUE(counter, int64_t) += 1;
 *   MP_VALUE(point, struct point).x = 2.5;
 *
 * The type is not checked: it must be the one that the value was made for.
 */
#define MP_VALUE(value, type) (*(type *)mp_value_data(value))

/*
 * mp_value_acquire - take the value's lock, waiting up to `timeout_ms` for it.
 *
 * Returns 0 with the lock held, or
 *   EOWNERDEAD   with the lock held as well: the last holder died holding it
 *   ETIMEDOUT    somebody else held it all the time
 *   EOVERFLOW    this thread has taken its mp_rlock too often
 *   EINVAL       `value` is NULL or without lock, or the timeout is negative and not
 *                MP_FOREVER
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    value.acquire(block, timeout), value.get_lock()
 */
MP_API MP_MUST_CHECK int mp_value_acquire(mp_value *value, int timeout_ms);

/*
 * mp_value_release - let go of the value's lock.
 *
 * Returns 0, or what the lock says when it is not the caller's to release:
 *   EPERM       it is an mp_rlock, also the value's own, that another thread or nobody
 *               holds
 *   EOVERFLOW   it is an mp_lock that nobody holds
 *   EINVAL      `value` is NULL or without lock
 *
 * Processes: any of the family.  Threads: the one that acquired it; with an mp_lock,
 * any.  Signal handlers: no.
 * Python:    value.release()
 */
MP_API int mp_value_release(mp_value *value);

/*
 * mp_value_get - copy the value to `out`, which has `size` bytes.
 *
 * Takes the lock for as long as it copies, however long that takes to get; without lock
 * it just copies.
 *
 * Returns 0, or
 *   EOWNERDEAD   `out` has a copy, but a holder of the lock died holding it: what it
 *                was writing may be half-written
 *   EMSGSIZE     `size` is not the size of the value
 *   EINVAL       `value` or `out` is NULL
 *   EOVERFLOW    this thread has taken its mp_rlock too often
 *   EAGAIN       this process could not join the family
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no, but for a value
 * without lock.
 * Python:    value.value
 */
MP_API int mp_value_get(mp_value *value, void *out, size_t size);

/*
 * mp_value_set - copy `size` bytes at `in` to the value.
 *
 * Takes the lock as mp_value_get does.  A process that is killed in it, and holds the
 * lock, leaves EOWNERDEAD for the next one.
 *
 * Returns 0, or
 *   EOWNERDEAD   the value is set, as a whole; a holder of the lock died holding it,
 *                and may have half-written what else the lock guards
 *   EMSGSIZE     `size` is not the size of the value
 *   EINVAL       `value` or `in` is NULL
 *   EOVERFLOW    this thread has taken its mp_rlock too often
 *   EAGAIN       this process could not join the family
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no, but for a value
 * without lock.
 * Python:    value.value = x
 */
MP_API int mp_value_set(mp_value *value, const void *in, size_t size);

/*
 * mp_value_fetch_add - add to a whole number in one step, without the lock.
 *
 * For values of 1, 2, 4 and 8 bytes.  The sum wraps around as two's complement does, so
 * signed and unsigned numbers are all the same to it.  `old`, if not NULL, receives what
 * the number was before, taken for a signed one: `(uint32_t)old` is an unsigned one of 4
 * bytes.  A delta of 0 reads the number.
 *
 * It takes a few nanoseconds where the lock takes tens, and a process that is killed in
 * it has added all or nothing.  It does not wait for a holder of the lock: what is
 * counted with it must be written with it everywhere, or with mp_value_set before the
 * others start.
 *
 * Returns 0, or
 *   EINVAL   `value` is NULL or of another size
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    with value.get_lock(): value.value += delta
 */
MP_API int mp_value_fetch_add(mp_value *value, int64_t delta, int64_t *old);

/*
 * mp_array_new - make an array of `count` items of `item_size` bytes each.
 *
 * It is a copy of the items at `initial`, or all zero if `initial` is NULL.  `count` may
 * be 0.
 *
 * Returns 0, or
 *   EINVAL      `out` is NULL, `item_size` is 0, more than one lock was chosen, or the
 *               options are of a newer libmp
 *   EOVERFLOW   no memory can be that large
 *   ENOMEM      the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    Array(typecode, count or initial, lock=lock)
 */
MP_API MP_MUST_CHECK int mp_array_new(mp_array **out, size_t count, size_t item_size,
                                      const void *initial,
                                      const mp_value_options *options);

/*
 * mp_array_free - free an array and the lock that it made, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process, nor the pointer to its items.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_array_free(mp_array *array);

/*
 * mp_array_data - where the first item is, or NULL for NULL.
 *
 * As mp_value_data; the items follow one another without gaps.  Slices are copied with
 * memcpy, under the lock.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    array.get_obj()
 */
MP_API void *mp_array_data(mp_array *array);

/*
 * The items as a C array, to be used while the lock is held.  No index is checked.
 *
 *   double *sums = MP_ARRAY(array, double);
 *   MP_ARRAY(array, int)[3] = 7;
 */
#define MP_ARRAY(array, type) ((type *)mp_array_data(array))

/*
 * mp_array_count - how many items it has; 0 for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    len(array)
 */
MP_API size_t mp_array_count(const mp_array *array);

/*
 * mp_array_acquire - take the array's lock: see mp_value_acquire, also for the errors.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    array.acquire(block, timeout), array.get_lock()
 */
MP_API MP_MUST_CHECK int mp_array_acquire(mp_array *array, int timeout_ms);

/*
 * mp_array_release - let go of the array's lock: see mp_value_release, also for the
 * errors.
 *
 * Processes: any of the family.  Threads: as there.  Signal handlers: no.
 * Python:    array.release()
 */
MP_API int mp_array_release(mp_array *array);

/*
 * mp_array_get - copy item `index` to `out`, which has `size` bytes.
 *
 * Takes the lock as mp_value_get does.  The first item is 0, and none is negative.
 *
 * Returns 0, or
 *   EOWNERDEAD   `out` has a copy, but a holder of the lock died holding it
 *   EMSGSIZE     `size` is not the size of an item
 *   EINVAL       `array` or `out` is NULL, or there is no such item
 *   EOVERFLOW    this thread has taken its mp_rlock too often
 *   EAGAIN       this process could not join the family
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no, but for an array
 * without lock.
 * Python:    array[index]
 */
MP_API int mp_array_get(mp_array *array, size_t index, void *out, size_t size);

/*
 * mp_array_set - copy `size` bytes at `in` to item `index`.
 *
 * Takes the lock as mp_value_get does.
 *
 * Returns 0, or
 *   EOWNERDEAD   the item is set, but a holder of the lock died holding it
 *   EMSGSIZE     `size` is not the size of an item
 *   EINVAL       `array` or `in` is NULL, or there is no such item
 *   EOVERFLOW    this thread has taken its mp_rlock too often
 *   EAGAIN       this process could not join the family
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no, but for an array
 * without lock.
 * Python:    array[index] = x
 */
MP_API int mp_array_set(mp_array *array, size_t index, const void *in, size_t size);

#ifdef __cplusplus
}
#endif

#endif
