/* SPDX-License-Identifier: MIT */
/*
 * rlock.h - a lock that its holder may take again.
 */
#ifndef MP_RLOCK_H
#define MP_RLOCK_H

#include "base.h"

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_rlock mp_rlock;

typedef struct mp_rlock_options {
    size_t struct_size; /* set by MP_RLOCK_OPTIONS */
} mp_rlock_options;

#define MP_RLOCK_OPTIONS(...) \
    (&(const mp_rlock_options){.struct_size = sizeof(mp_rlock_options), __VA_ARGS__})

MP_API MP_MUST_CHECK int mp_rlock_new(mp_rlock **out, const mp_rlock_options *options);

MP_API void mp_rlock_free(mp_rlock *lock);

MP_API MP_MUST_CHECK int mp_rlock_acquire(mp_rlock *lock, int timeout_ms);

MP_API int mp_rlock_release(mp_rlock *lock);

MP_API bool mp_rlock_locked(const mp_rlock *lock);

MP_API pid_t mp_rlock_owner(const mp_rlock *lock);

#ifdef __cplusplus
}
#endif

#endif
