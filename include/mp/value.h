/* SPDX-License-Identifier: MIT */
/*
 * value.h - numbers and arrays that processes share, with a lock.
 */
#ifndef MP_VALUE_H
#define MP_VALUE_H

#include "base.h"

#include "lock.h"
#include "rlock.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_value mp_value;
typedef struct mp_array mp_array;

typedef struct mp_value_options {
    size_t struct_size; /* set by MP_VALUE_OPTIONS */
    mp_lock *lock;
    mp_rlock *rlock;
    int without_lock;
    int reserved;
} mp_value_options;

#define MP_VALUE_OPTIONS(...) \
    (&(const mp_value_options){.struct_size = sizeof(mp_value_options), __VA_ARGS__})

MP_API MP_MUST_CHECK int mp_value_new(mp_value **out, size_t size, const void *initial,
                                      const mp_value_options *options);

MP_API void mp_value_free(mp_value *value);

MP_API void *mp_value_data(mp_value *value);

MP_API MP_MUST_CHECK int mp_value_acquire(mp_value *value, int timeout_ms);

MP_API int mp_value_release(mp_value *value);

MP_API int mp_value_get(mp_value *value, void *out, size_t size);

MP_API int mp_value_set(mp_value *value, const void *in, size_t size);

MP_API int mp_value_fetch_add(mp_value *value, int64_t delta, int64_t *old);

MP_API MP_MUST_CHECK int mp_array_new(mp_array **out, size_t count, size_t item_size,
                                      const void *initial,
                                      const mp_value_options *options);

MP_API void mp_array_free(mp_array *array);

MP_API void *mp_array_data(mp_array *array);

MP_API size_t mp_array_count(const mp_array *array);

MP_API MP_MUST_CHECK int mp_array_acquire(mp_array *array, int timeout_ms);

MP_API int mp_array_release(mp_array *array);

MP_API int mp_array_get(mp_array *array, size_t index, void *out, size_t size);

MP_API int mp_array_set(mp_array *array, size_t index, const void *in, size_t size);

#ifdef __cplusplus
}
#endif

#endif
