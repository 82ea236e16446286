/* SPDX-License-Identifier: MIT */
/*
 * event.h - a flag that one process sets and any number wait for.
 *
 *   mp_event *ready;
 *   int err = mp_event_new(&ready, NULL);               ready = Event()
 *   if (err)
 *       return err;
 *   ...                                                 start processes; pass `ready`
 *   err = mp_event_wait(ready, 5000);                   in some: ready.wait(5)
 *   if (err == ETIMEDOUT)
 *       return give_up();
 *   ...
 *   mp_event_set(ready);                                in another: ready.set()
 *
 * An event stays set until it is cleared: who comes later does not wait at all.  What a
 * process wrote before it set the event, those see whose wait returned 0 for it.
 *
 * An mp_event lies in the arena (see shared.h): its pointer means the same in every
 * process of the family.  It takes one cache line, no descriptor and no name.
 *
 * Caveats.
 * An event that is set and cleared at once still wakes all who waited when it was set:
 * their waits return 0, though the event is not set any more when they look.  Python's
 * tell False then, or go on waiting.
 * A process may be killed at any instruction.  Inside these calls it leaves the event
 * set or not set, and nobody waits for one that is set.
 * Who is to set an event may die before it does, and then nobody will: wait with a
 * timeout, or for the process, if that can be.
 * Work that is announced by an event and looked for after mp_event_clear is never missed:
 * clear, look for work, wait.
 */
#ifndef MP_EVENT_H
#define MP_EVENT_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A flag to wait for.  Python: multiprocessing.Event */
typedef struct mp_event mp_event;

/* There is nothing to choose about an event yet. */
typedef struct mp_event_options {
    size_t struct_size; /* set by MP_EVENT_OPTIONS */
} mp_event_options;

#define MP_EVENT_OPTIONS(...) \
    (&(const mp_event_options){.struct_size = sizeof(mp_event_options), __VA_ARGS__})

/*
 * mp_event_new - make an event, which is not set.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, or the options are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.Event()
 */
MP_API MP_MUST_CHECK int mp_event_new(mp_event **out, const mp_event_options *options);

/*
 * mp_event_free - free an event, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever still waits in mp_event_wait
 * when it is freed has used it afterwards.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_event_free(mp_event *event);

/*
 * mp_event_set - set the event, and wake all who wait for it.  Does nothing if it is set
 * already.  Leaves errno alone.
 *
 * May be called from a handler that interrupted any call for the same event.
 *
 * Returns 0, or
 *   EINVAL   `event` is NULL
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    event.set()
 */
MP_API int mp_event_set(mp_event *event);

/*
 * mp_event_clear - make the event one that is not set, so that waiting waits again.
 *
 * Returns 0, or
 *   EINVAL   `event` is NULL
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    event.clear()
 */
MP_API int mp_event_clear(mp_event *event);

/*
 * mp_event_is_set - whether the event is set, as it was a moment ago.  False for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    event.is_set()
 */
MP_API bool mp_event_is_set(const mp_event *event);

/*
 * mp_event_wait - wait up to `timeout_ms` for the event to be set.
 *
 * Returns 0 if it is set, or was set since the call began, or
 *   ETIMEDOUT   it was not set in time
 *   EINVAL      `event` is NULL, or the timeout is negative and not MP_FOREVER
 *   EAGAIN      this process could not join the family: it has 16,383 members
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    event.wait(timeout)
 */
MP_API MP_MUST_CHECK int mp_event_wait(mp_event *event, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
