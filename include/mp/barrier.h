/* SPDX-License-Identifier: MIT */
/*
 * barrier.h - waiting for each other.
 */
#ifndef MP_BARRIER_H
#define MP_BARRIER_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_barrier mp_barrier;

typedef int mp_action_fn(void *arg);

typedef struct mp_barrier_options {
    size_t struct_size; /* set by MP_BARRIER_OPTIONS */
    mp_action_fn *action;
    void *arg;
    int timeout_ms;
    int reserved;
} mp_barrier_options;

#define MP_BARRIER_OPTIONS(...) \
    (&(const mp_barrier_options){.struct_size = sizeof(mp_barrier_options), __VA_ARGS__})

MP_API MP_MUST_CHECK int mp_barrier_new(mp_barrier **out, unsigned parties,
                                        const mp_barrier_options *options);

MP_API void mp_barrier_free(mp_barrier *barrier);

MP_API MP_MUST_CHECK int mp_barrier_wait(mp_barrier *barrier, int timeout_ms,
                                         unsigned *index);

MP_API int mp_barrier_reset(mp_barrier *barrier);

MP_API int mp_barrier_abort(mp_barrier *barrier);

MP_API unsigned mp_barrier_parties(const mp_barrier *barrier);

MP_API unsigned mp_barrier_n_waiting(const mp_barrier *barrier);

MP_API bool mp_barrier_broken(const mp_barrier *barrier);

#ifdef __cplusplus
}
#endif

#endif
