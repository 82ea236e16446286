/* SPDX-License-Identifier: MIT */
/*
 * condition.h - waiting until something is so.
 */
#ifndef MP_CONDITION_H
#define MP_CONDITION_H

#include "base.h"

#include "lock.h"
#include "rlock.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_condition mp_condition;

typedef bool mp_predicate_fn(void *arg);

typedef struct mp_condition_options {
    size_t struct_size; /* set by MP_CONDITION_OPTIONS */
    mp_lock *lock;
    mp_rlock *rlock;
} mp_condition_options;

#define MP_CONDITION_OPTIONS(...) \
    (&(const mp_condition_options){.struct_size = sizeof(mp_condition_options), __VA_ARGS__})

MP_API MP_MUST_CHECK int mp_condition_new(mp_condition **out,
                                          const mp_condition_options *options);

MP_API void mp_condition_free(mp_condition *condition);

MP_API MP_MUST_CHECK int mp_condition_acquire(mp_condition *condition, int timeout_ms);

MP_API int mp_condition_release(mp_condition *condition);

MP_API MP_MUST_CHECK int mp_condition_wait(mp_condition *condition, int timeout_ms);

MP_API MP_MUST_CHECK int mp_condition_wait_for(mp_condition *condition,
                                               mp_predicate_fn *predicate, void *arg,
                                               int timeout_ms);

MP_API int mp_condition_notify(mp_condition *condition, size_t count);

MP_API int mp_condition_notify_all(mp_condition *condition);

#ifdef __cplusplus
}
#endif

#endif
