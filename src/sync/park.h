/* SPDX-License-Identifier: MIT */
/*
 * park.h - where processes sleep.
 *
 * The word is the truth; parking only passes the time until it changes.  A wake may be
 * lost, because the one who was to give it was killed, and it may come for nothing:
 * callers look at their word again after every return, and sleep again if they must.
 *
 *   struct mp__sleep sleep = mp__sleep_until(deadline);
 *   while (the word says wait) {
 *       err = mp__park(&sleep, word, value, owner);
 *       if (err)
 *           return err;          ETIMEDOUT
 *   }
 */
#ifndef MP_SYNC_PARK_H
#define MP_SYNC_PARK_H

#include <stdbool.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "shm/member.h"

struct mp__sleep {
    int64_t deadline;
    unsigned slices; /* how many slices it has slept through, unwoken */
    bool watches;    /* a death since `deaths` was counted is a reason to look again */
    bool idles;      /* it may learn a quarter of a second late that somebody died */
    uint32_t deaths;
};

static inline struct mp__sleep mp__sleep_until(int64_t deadline)
{
    return (struct mp__sleep){.deadline = deadline};
}

/*
 * For who depends on more than one member: to be called before it looks who of them is
 * dead.  The next mp__park then returns at once if anyone has died since.
 */
void mp__sleep_watch(struct mp__sleep *sleep);

/*
 * Sleep while `*word == value`, for a slice of time at most.  `owner` is the member
 * that is waited for, or 0: if it is dead the call returns at once.
 * Returns 0 whenever the caller should look again, ETIMEDOUT once the deadline is over.
 */
int mp__park(struct mp__sleep *sleep, const _Atomic uint32_t *word, uint32_t value,
             uint64_t owner);

/* Wake up to `count` who are parked on `word`, and tell how many there were.  From any
   process, also from a signal handler. */
int mp__unpark(const _Atomic uint32_t *word, int count);

/*
 * For who is about to change a word on which others sleep, and to wake them: only of a
 * member's death in between will anybody know.  That the caller can't join any more costs
 * but time, as sleepers look again on their own.  From any process, also from a signal
 * handler.
 */
void mp__join_quietly(void);

static inline void mp__join_before_wake(void)
{
    if (!mp__self)
        mp__join_quietly();
}

/*
 * How many times longer than usual sleepers sleep before they look again on their own: 1.
 * With a large factor a wake that was lost shows as a hang: for tests.
 */
extern int64_t mp__slice_factor;

/* Wake everybody who is parked on anything, since a member died. */
void mp__unpark_all(void);

/*
 * Makes every burial call mp__unpark_all.  Runs by itself when the program is loaded;
 * may be called again.
 */
void mp__sync_init(void);

/* Processors that may be spun on: mp_cpu_count(), asked once. */
unsigned mp__spin_cpus(void);

/* The half of a 64-bit word in which its low 32 bits lie, to park on. */
static inline const _Atomic uint32_t *mp__low_half(const _Atomic uint64_t *word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (const _Atomic uint32_t *)(const void *)word + 1;
#else
    return (const _Atomic uint32_t *)(const void *)word;
#endif
}

/* How long to spin: less than waking a sleeper costs on another processor. */
#define MP__SPIN_NS INT64_C(50000)

/*
 * Whether to spin before parking, from how it went before.  Spinning is in vain while the
 * other side has no processor of its own to run on, and only trying tells: after each
 * spin in vain twice as many waits go by without one, up to 63.
 */
struct mp__spin {
    unsigned skip; /* waits that still go by */
    unsigned last; /* how many went by after the last spin in vain */
};

static inline bool mp__spin_wanted(struct mp__spin *spin)
{
    if (mp__spin_cpus() < 2)
        return false;
    if (!spin->skip)
        return true;
    spin->skip--;
    return false;
}

static inline void mp__spin_ended(struct mp__spin *spin, bool in_vain)
{
    spin->last = !in_vain ? 0 : spin->last < 32 ? 2 * spin->last + 1 : 63;
    spin->skip = spin->last;
}

/*
 * Look for a moment whether `done(arg)`, up to the deadline, unless that was in vain the
 * last times: whether it came true.
 */
static inline bool mp__spin_until(struct mp__spin *spin, int64_t deadline,
                                  bool (*done)(void *arg), void *arg)
{
    if (!deadline || !mp__spin_wanted(spin))
        return false;

    int64_t until = mp__now() + MP__SPIN_NS;
    if (deadline < until)
        until = deadline;
    bool is_done = false;
    do {
        for (unsigned i = 0; i < 64 && !is_done; i++) {
            mp__cpu_relax();
            is_done = done(arg);
        }
    } while (!is_done && mp__now() < until);
    mp__spin_ended(spin, !is_done);
    return is_done;
}

#endif
