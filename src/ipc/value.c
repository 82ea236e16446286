/* SPDX-License-Identifier: MIT */
/*
 * value.c - numbers, structs and arrays that processes share, with a lock.
 *
 * A value is an array of one item.  In the arena:
 *
 *   small   [ guard | size | count | kind | data ]     one cache line
 *   large   [ guard | size | count | kind |      ][ data ... ]
 *
 * What stands before the data never changes.  A small one has its data on the same
 * line, since who touches the one needs the other; the data of a large one begins a
 * line of its own.  Both are aligned for any type.
 *
 * A death leaves the data as they were at that instruction; the lock tells the next
 * one. Items of 1, 2, 4 and 8 bytes are copied by one load or store, and are never half
 * there.
 */
#include "mp/value.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/options.h"
#include "mp/shared.h"
#include "shm/alloc.h"

enum guard_kind { NO_GUARD, LOCK, RLOCK, OWN_RLOCK };

/* In shared memory. */
struct mp_array {
    _Alignas(MP__CACHE_LINE / 2) void *guard; /* an mp_lock or mp_rlock, or NULL */
    size_t size;                              /* of an item */
    size_t count;
    enum guard_kind kind;
};

#define HEAD ((size_t)MP__CACHE_LINE / 2)

_Static_assert(sizeof(struct mp_array) == HEAD, "small data follow on the same line");
_Static_assert(HEAD % _Alignof(max_align_t) == 0, "aligned for any type");

struct mp_value {
    mp_array item;
};

/* Where the data of so many bytes begin. */
static size_t data_offset(size_t bytes)
{
    return bytes <= HEAD ? HEAD : MP__CACHE_LINE;
}

static unsigned char *data_of(mp_array *array)
{
    return (unsigned char *)array + data_offset(array->count * array->size);
}

/* The lock that was asked for; a new one is made last, when nothing else can fail. */
static int choose_guard(mp_array *array, const mp_value_options *options)
{
    mp_rlock *own;

    array->kind = options->lock           ? LOCK
                  : options->rlock        ? RLOCK
                  : options->without_lock ? NO_GUARD
                                          : OWN_RLOCK;
    if (options->lock)
        array->guard = options->lock;
    if (options->rlock)
        array->guard = options->rlock;
    if (array->kind != OWN_RLOCK)
        return 0;
    int err = mp_rlock_new(&own, NULL);
    if (!err)
        array->guard = own;
    return err;
}

int mp_array_new(mp_array **out, size_t count, size_t item_size, const void *initial,
                 const mp_value_options *options)
{
    mp_value_options known;

    if (!out || !item_size)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (!!known.lock + !!known.rlock + !!known.without_lock > 1 || known.reserved)
        return EINVAL;
    if (count > (SIZE_MAX - MP__CACHE_LINE) / item_size)
        return EOVERFLOW;

    size_t bytes = count * item_size;
    mp_array *array = mp_shared_alloc(data_offset(bytes) + bytes);
    if (!array)
        return ENOMEM;
    array->size = item_size;
    array->count = count;
    if (initial && bytes)
        memcpy(data_of(array), initial, bytes);
    err = choose_guard(array, &known);
    if (err) {
        mp_shared_free(array);
        return err;
    }
    *out = array;
    return 0;
}

void mp_array_free(mp_array *array)
{
    if (mp__alloc_is_block(array) && array->kind == OWN_RLOCK)
        mp_rlock_free(array->guard);
    mp_shared_free(array);
}

void *mp_array_data(mp_array *array)
{
    return array ? data_of(array) : NULL;
}

size_t mp_array_count(const mp_array *array)
{
    return array ? array->count : 0;
}

int mp_array_acquire(mp_array *array, int timeout_ms)
{
    if (!array || array->kind == NO_GUARD)
        return EINVAL;
    return array->kind == LOCK ? mp_lock_acquire(array->guard, timeout_ms)
                               : mp_rlock_acquire(array->guard, timeout_ms);
}

int mp_array_release(mp_array *array)
{
    if (!array || array->kind == NO_GUARD)
        return EINVAL;
    return array->kind == LOCK ? mp_lock_release(array->guard)
                               : mp_rlock_release(array->guard);
}

union word {
    uint8_t one;
    uint16_t two;
    uint32_t four;
    uint64_t eight;
};

/* Copy an item out of shared memory: acquire, for who uses an item as a flag. */
static void copy_out(void *out, const void *item, size_t size)
{
    union word word;

    switch (size) {
    case 1:
        word.one = __atomic_load_n((const uint8_t *)item, __ATOMIC_ACQUIRE);
        break;
    case 2:
        word.two = __atomic_load_n((const uint16_t *)item, __ATOMIC_ACQUIRE);
        break;
    case 4:
        word.four = __atomic_load_n((const uint32_t *)item, __ATOMIC_ACQUIRE);
        break;
    case 8:
        word.eight = __atomic_load_n((const uint64_t *)item, __ATOMIC_ACQUIRE);
        break;
    default:
        memcpy(out, item, size);
        return;
    }
    memcpy(out, &word, size);
}

/* The way back.  What the caller has need not be aligned. */
static void copy_in(void *item, const void *in, size_t size)
{
    union word word;

    if (size <= sizeof(word))
        memcpy(&word, in, size);
    switch (size) {
    case 1:
        __atomic_store_n((uint8_t *)item, word.one, __ATOMIC_RELEASE);
        break;
    case 2:
        __atomic_store_n((uint16_t *)item, word.two, __ATOMIC_RELEASE);
        break;
    case 4:
        __atomic_store_n((uint32_t *)item, word.four, __ATOMIC_RELEASE);
        break;
    case 8:
        __atomic_store_n((uint64_t *)item, word.eight, __ATOMIC_RELEASE);
        break;
    default:
        memcpy(item, in, size);
    }
}

/* Take the lock to copy: `taken` is what it said, with the lock held if 0 is returned.
 */
static int open_item(mp_array *array, size_t index, const void *own, size_t size,
                     int *taken)
{
    *taken = 0;
    if (!array || !own || index >= array->count)
        return EINVAL;
    if (size != array->size)
        return EMSGSIZE;
    if (array->kind == NO_GUARD)
        return 0;
    *taken = mp_array_acquire(array, MP_FOREVER);
    return *taken == EOWNERDEAD ? 0 : *taken;
}

static int close_item(mp_array *array, int taken)
{
    int err = array->kind == NO_GUARD ? 0 : mp_array_release(array);

    return taken ? taken : err;
}

int mp_array_get(mp_array *array, size_t index, void *out, size_t size)
{
    int taken, err = open_item(array, index, out, size, &taken);

    if (err)
        return err;
    copy_out(out, data_of(array) + index * size, size);
    return close_item(array, taken);
}

int mp_array_set(mp_array *array, size_t index, const void *in, size_t size)
{
    int taken, err = open_item(array, index, in, size, &taken);

    if (err)
        return err;
    copy_in(data_of(array) + index * size, in, size);
    return close_item(array, taken);
}

/* A value is its only item: the pointers are the same, also when they are NULL. */
static mp_array *item_of(mp_value *value)
{
    return (mp_array *)value;
}

int mp_value_new(mp_value **out, size_t size, const void *initial,
                 const mp_value_options *options)
{
    mp_array *item;

    if (!out)
        return EINVAL;
    int err = mp_array_new(&item, 1, size, initial, options);
    if (!err)
        *out = (mp_value *)item;
    return err;
}

void mp_value_free(mp_value *value)
{
    mp_array_free(item_of(value));
}

void *mp_value_data(mp_value *value)
{
    return mp_array_data(item_of(value));
}

int mp_value_acquire(mp_value *value, int timeout_ms)
{
    return mp_array_acquire(item_of(value), timeout_ms);
}

int mp_value_release(mp_value *value)
{
    return mp_array_release(item_of(value));
}

int mp_value_get(mp_value *value, void *out, size_t size)
{
    return mp_array_get(item_of(value), 0, out, size);
}

int mp_value_set(mp_value *value, const void *in, size_t size)
{
    return mp_array_set(item_of(value), 0, in, size);
}

/* Unsigned words wrap around; what they held before is told as a signed number. */
int mp_value_fetch_add(mp_value *value, int64_t delta, int64_t *old)
{
    void *data = mp_value_data(value);
    int64_t before;

    switch (data ? value->item.size : 0) {
    case 1:
        before = (int8_t)__atomic_fetch_add((uint8_t *)data, (uint8_t)delta,
                                            __ATOMIC_SEQ_CST);
        break;
    case 2:
        before = (int16_t)__atomic_fetch_add((uint16_t *)data, (uint16_t)delta,
                                             __ATOMIC_SEQ_CST);
        break;
    case 4:
        before = (int32_t)__atomic_fetch_add((uint32_t *)data, (uint32_t)delta,
                                             __ATOMIC_SEQ_CST);
        break;
    case 8:
        before = (int64_t)__atomic_fetch_add((uint64_t *)data, (uint64_t)delta,
                                             __ATOMIC_SEQ_CST);
        break;
    default:
        return EINVAL;
    }
    if (old)
        *old = before;
    return 0;
}
