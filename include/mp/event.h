/* SPDX-License-Identifier: MIT */
/*
 * event.h - a flag to wait for.
 */
#ifndef MP_EVENT_H
#define MP_EVENT_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_event mp_event;

typedef struct mp_event_options {
    size_t struct_size; /* set by MP_EVENT_OPTIONS */
} mp_event_options;

#define MP_EVENT_OPTIONS(...) \
    (&(const mp_event_options){.struct_size = sizeof(mp_event_options), __VA_ARGS__})

MP_API MP_MUST_CHECK int mp_event_new(mp_event **out, const mp_event_options *options);

MP_API void mp_event_free(mp_event *event);

MP_API int mp_event_set(mp_event *event);

MP_API int mp_event_clear(mp_event *event);

MP_API bool mp_event_is_set(const mp_event *event);

MP_API MP_MUST_CHECK int mp_event_wait(mp_event *event, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
