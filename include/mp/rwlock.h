/* SPDX-License-Identifier: MIT */
/*
 * rwlock.h - many readers or one writer.
 */
#ifndef MP_RWLOCK_H
#define MP_RWLOCK_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_rwlock mp_rwlock;

typedef struct mp_rwlock_options {
    size_t struct_size; /* set by MP_RWLOCK_OPTIONS */
} mp_rwlock_options;

#define MP_RWLOCK_OPTIONS(...) \
    (&(const mp_rwlock_options){.struct_size = sizeof(mp_rwlock_options), __VA_ARGS__})

MP_API MP_MUST_CHECK int mp_rwlock_new(mp_rwlock **out, const mp_rwlock_options *options);

MP_API void mp_rwlock_free(mp_rwlock *lock);

MP_API MP_MUST_CHECK int mp_rwlock_acquire_read(mp_rwlock *lock, int timeout_ms);

MP_API MP_MUST_CHECK int mp_rwlock_acquire_write(mp_rwlock *lock, int timeout_ms);

MP_API int mp_rwlock_release(mp_rwlock *lock);

#ifdef __cplusplus
}
#endif

#endif
