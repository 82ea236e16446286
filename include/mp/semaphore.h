/* SPDX-License-Identifier: MIT */
/*
 * semaphore.h - a number of tokens.
 */
#ifndef MP_SEMAPHORE_H
#define MP_SEMAPHORE_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_semaphore mp_semaphore;

typedef struct mp_semaphore_options {
    size_t struct_size; /* set by MP_SEMAPHORE_OPTIONS */
    unsigned max_value;
    int owned;
} mp_semaphore_options;

#define MP_SEMAPHORE_OPTIONS(...) \
    (&(const mp_semaphore_options){.struct_size = sizeof(mp_semaphore_options), __VA_ARGS__})

MP_API MP_MUST_CHECK int mp_semaphore_new(mp_semaphore **out, unsigned value,
                                          const mp_semaphore_options *options);

MP_API void mp_semaphore_free(mp_semaphore *semaphore);

MP_API MP_MUST_CHECK int mp_semaphore_acquire(mp_semaphore *semaphore, int timeout_ms);

MP_API int mp_semaphore_release(mp_semaphore *semaphore);

MP_API unsigned mp_semaphore_value(const mp_semaphore *semaphore);

MP_API bool mp_semaphore_locked(const mp_semaphore *semaphore);

#ifdef __cplusplus
}
#endif

#endif
