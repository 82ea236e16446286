/* SPDX-License-Identifier: MIT */
/*
 * barrier.h - a meeting point: everybody waits there until all have arrived.
 *
 *   mp_barrier *barrier;
 *   int err = mp_barrier_new(&barrier, 3, NULL);         barrier = Barrier(3)
 *   if (err)
 *       return err;
 *   ...                                                  start 3 processes
 *   unsigned index;
 *   first_half();
 *   err = mp_barrier_wait(barrier, MP_FOREVER, &index);  index = barrier.wait()
 *   if (err)                                             (BrokenBarrierError)
 *       return err;
 *   if (index == 0)                                      if index == 0:
 *       puts("all have done their first half");              print('all have ...')
 *   second_half();
 *
 * When the last of the parties arrives all go on, and the barrier is ready for their
 * next meeting.  What each did before it arrived is seen by all after they left.  More
 * processes than the barrier has parties may use it: whoever comes while a meeting is
 * complete but not over yet takes part in the next.
 *
 * An mp_barrier lies in the arena (see shared.h): its pointer means the same in every
 * process of the family.
 *
 * A broken barrier lets nobody wait: who waits, and who comes later, gets ECANCELED
 * until somebody calls mp_barrier_reset.  It breaks when a wait is not in time, when the
 * action fails, when one who waits dies, and by mp_barrier_abort.
 *
 * Caveats.
 * A process may be killed at any instruction.  If it had arrived, and the last one had
 * not yet, or if it was the last one and ran the action, the barrier breaks within a
 * tenth of a second: nobody waits for the dead, and a dead process is not counted as
 * one who arrived.  If it dies before it arrives, or after the meeting, the barrier does
 * not know that somebody is missing: the others wait until their timeout.  After the
 * wait returned 0 all arrived alive; they may have died since.
 * A waiter that is merely stopped is alive, and has arrived.
 * Each wait is an arrival: two threads of one process are two parties.
 */
#ifndef MP_BARRIER_H
#define MP_BARRIER_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A meeting point.  Python: multiprocessing.Barrier */
typedef struct mp_barrier mp_barrier;

/*
 * What the last to arrive does before anybody leaves.  Returns 0, or an error number:
 * then the barrier breaks.  It must not wait at the same barrier.
 */
typedef int mp_action_fn(void *arg);

/* Choices for a barrier; zero is the default. */
typedef struct mp_barrier_options {
    size_t struct_size;   /* set by MP_BARRIER_OPTIONS */
    mp_action_fn *action; /* runs in the last to arrive, or NULL */
    void *arg;            /* what `action` is called with: it must mean the same in all */
    int timeout_ms;       /* what MP_FOREVER means to mp_barrier_wait; 0: for ever */
    int reserved;         /* zero */
} mp_barrier_options;

#define MP_BARRIER_OPTIONS(...) \
    (&(const mp_barrier_options){.struct_size = sizeof(mp_barrier_options), __VA_ARGS__})

/*
 * mp_barrier_new - make a barrier at which `parties` meet, of whom nobody is there yet.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, `parties` is 0 or more than 65,535, or the options make no
 *            sense or are of a newer libmp
 *   ENOMEM   the arena is full or could not be reserved
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.Barrier(parties, action, timeout)
 */
MP_API MP_MUST_CHECK int mp_barrier_new(mp_barrier **out, unsigned parties,
                                        const mp_barrier_options *options);

/*
 * mp_barrier_free - free a barrier, or do nothing with NULL.
 *
 * Nobody may use it afterwards, in any process; whoever has not returned from
 * mp_barrier_wait yet uses it.
 *
 * Processes: any of the family, once.  Threads: any.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_barrier_free(mp_barrier *barrier);

/*
 * mp_barrier_wait - arrive, and wait up to `timeout_ms` until all have arrived.
 *
 * The barrier's action, if it has one, is run by the last to arrive, in its process and
 * thread, before anybody returns.  It takes the time that it takes: no wait ends because
 * of it.  MP_NOWAIT is for who knows to be the last.
 *
 * `*index` receives the place in the order of arrival: 0 for the first, parties - 1 for
 * the last, a different one for each.  `index` may be NULL.
 *
 * Returns 0 when all have arrived, or
 *   ETIMEDOUT    they did not arrive in time; the barrier is broken now.  Also if the
 *                meeting was complete before this call, and its action took too long:
 *                then the barrier is not broken
 *   ECANCELED    the barrier is broken, or was reset during this call
 *   EINVAL       `barrier` is NULL, or the timeout is negative and not MP_FOREVER
 *   EAGAIN       this process could not join the family: it has 16,383 members
 *   others       what the action returned that this call ran; the barrier is broken now
 *
 * A caller that the system lets run again only when 16 more meetings have ended, and
 * that would return 0, may get ECANCELED if there was a reset since.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    barrier.wait(timeout)
 */
MP_API MP_MUST_CHECK int mp_barrier_wait(mp_barrier *barrier, int timeout_ms,
                                         unsigned *index);

/*
 * mp_barrier_reset - make the barrier as it was when it was new.
 *
 * Those who wait get ECANCELED.  If one of them runs the action, it goes on to its end.
 * Leaves errno alone.
 *
 * Returns 0, or EINVAL if `barrier` is NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    barrier.reset()
 */
MP_API int mp_barrier_reset(mp_barrier *barrier);

/*
 * mp_barrier_abort - break the barrier.
 *
 * Those who wait get ECANCELED, and so does whoever comes, until mp_barrier_reset.  Leaves
 * errno alone.
 *
 * Returns 0, or EINVAL if `barrier` is NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    barrier.abort()
 */
MP_API int mp_barrier_abort(mp_barrier *barrier);

/*
 * mp_barrier_parties - how many it takes.  0 for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    barrier.parties
 */
MP_API unsigned mp_barrier_parties(const mp_barrier *barrier);

/*
 * mp_barrier_n_waiting - how many have arrived and wait, as it was a moment ago; the dead
 * are not counted.  0 if the barrier is broken, and for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: no.
 * Python:    barrier.n_waiting
 */
MP_API unsigned mp_barrier_n_waiting(const mp_barrier *barrier);

/*
 * mp_barrier_broken - whether the barrier is broken, as it was a moment ago.  A death
 * breaks it when somebody waits or comes to wait.  False for NULL.
 *
 * Processes: any of the family.  Threads: any.  Signal handlers: yes.
 * Python:    barrier.broken
 */
MP_API bool mp_barrier_broken(const mp_barrier *barrier);

#ifdef __cplusplus
}
#endif

#endif
