/* SPDX-License-Identifier: MIT */
/*
 * harness.h - six workers that use one object, and a test that kills them.
 *
 * The workers use it for all they are worth and write what they do into a ledger of
 * which libmp knows nothing.  The test kills some of them at random moments, replaces
 * them, and closes a gate: within two seconds all that live must have come to it, so
 * that nobody hangs; then the object must be whole again, exactly.  And so on.
 *
 *   worker   round round round X       (new) round round | gate
 *   worker   round round ...                       round | gate
 *   test     strike ... strike ... close the gate           look   open the gate ...
 *
 * In the ledger a worker is a number that is never used again.  Before it is killed it
 * is marked as doomed; who comes after it may find its traces, but not those of others.
 */
#ifndef SYNC_KILLS_HARNESS_H
#define SYNC_KILLS_HARNESS_H

#include "support/test.h"

#include <stdatomic.h>

#include <mp/mp.h>

#define WORKERS 6
#define MANY    64
#define PERSONS (1u << 21) /* how many workers there may be in one run */

/* What a worker does; FIRST is before its first round. */
enum phase { FIRST, OUT, ASKING, INSIDE, LEAVING, READING, WAITING, PHASES };
enum { DOOMED = 1, TOLD = 2 };

/* A worker, and all who come after it in its place. */
struct seat {
    _Alignas(64) _Atomic uint32_t person;
    _Atomic uint32_t gate; /* the last one that it has come to */
    _Atomic int phase;
    _Atomic uint32_t moves; /* phases it has entered, counted before it does so */
    _Atomic bool is_new;    /* has not done anything yet */
    pid_t pid;              /* known to the test only */
};

/* From a death to the next round that anybody completes. */
struct recoveries {
    _Atomic uint32_t count;
    uint32_t settled; /* of these it is known that they count */
    int64_t times[PERSONS];
};

struct ledger {
    _Atomic(const char *) wrong;
    _Atomic int wrong_error;
    _Atomic uint32_t gate; /* odd: closed */
    _Atomic uint64_t rounds;
    _Atomic uint32_t told;   /* how often somebody was told of a death */
    _Atomic uint32_t holder; /* the person that may write */
    _Atomic unsigned long kills;
    uint32_t persons;
    bool are_buried;              /* in this cycle: all who die, by the test */
    _Atomic int64_t slice_factor; /* in this cycle: how long sleepers sleep */
    unsigned unburied;          /* in this cycle: libmp has to notice them by itself */
    unsigned long judged, slow; /* cycles */
    unsigned long killed[PHASES];
    /* Of single scenes. */
    unsigned lost, doubtful;      /* tokens that the dead had, or may have had */
    _Atomic uint32_t completions; /* of a barrier */
    _Atomic uint64_t taken[256];  /* indices that the last of them have given */
    _Atomic int due;              /* notifications that nobody has had yet */
    enum phase killed_in;
    _Atomic bool unsettled;      /* the count of them was lost with a worker */
    unsigned calls, seats_count; /* calls: what the test did at the gate */
    struct seat seats[MANY];
    _Atomic uint8_t fate[PERSONS];
    /* Not 0: when somebody died, after which nobody has completed a round yet. */
    _Atomic int64_t death;
    _Atomic bool death_is_unburied;
    unsigned long excused; /* late, while the machine was busy with other things */
    struct recoveries buried, noticed;
};

/* One kind of object, and what is done with it. */
struct scene {
    const char *name;
    unsigned burst; /* so many die before the gate is closed, at most */
    void (*open)(unsigned workers);
    void (*close)(void);
    bool (*round)(void);               /* in a worker: whether it has got anywhere */
    void (*died)(const struct seat *); /* a worker was killed, or NULL */
    unsigned (*may_die)(void);         /* how many more, before the gate; or NULL */
    void (*release)(bool all_are_settled); /* the gate is closed: let go who waits */
    void (*look)(void); /* nobody is at work: is all as it should be? */
    bool may_rest;      /* nobody gets anywhere if all of them wait */
};

extern const struct scene lock_scene, rlock_scene, semaphore_scene, owned_scene,
    event_scene, barrier_scene, rwlock_scene, condition_scene;

extern struct ledger *ledger;
extern struct seat *my_seat; /* in a worker */
extern uint32_t self;        /* number of this worker; 0 in the test */

/* Set by main before anything runs. */
extern unsigned long kills_wanted; /* of each kind */
extern int time_limit_ms;          /* of each kind, or 0 */
extern uint64_t seed;

/* A run of one scene; and once more, with more workers than processors and no kills. */
void run_with_kills(const struct scene *chosen);
void run_in_peace(const struct scene *chosen);

/* Something is not as it should be: the first of these is told at the end. */
void wrong(const char *what, int error);
void expect(int error, int expected, const char *what);

unsigned roll(unsigned sides);
bool is_doomed(uint32_t person);
void enter(enum phase phase);

/* How many of those who live are in this phase. */
unsigned count_phase(enum phase phase);

int64_t now_ns(void);

/* Stay for a moment, sometimes for longer. */
void dwell(void);

/* Most waits are for ever; a few are short, so that there are those who give up. */
int some_timeout(void);

/* Whether an acquire has got it; all that it may say else is that time is over. */
bool has_got(int error, int timeout);

/*
 * The caller alone may write now, and `error` is what it was told.  Only who was told
 * of a death may find somebody's name, and nobody's is found twice.  The order is the
 * lock's to keep: that is why the ledger is relaxed.
 */
void claim(int error);
void disclaim(void);

/* The test itself comes in, when nobody else does. */
void claim_in_peace(int error);

/* Kill a worker after a while and replace it. */
void strike_one(struct seat *seat, int64_t after_ns);

/*
 * Look again in a moment, and count how long it was: false once it was too long in all.
 * If the moment lasts, the machine is busy with other things, and how long anything
 * takes says little about libmp.
 */
bool rest(int64_t *waited);

/* Sort `times` and say in a line of stderr how long they were. */
void tell_times(const char *what, int64_t *times, size_t count);

/* holders.c: one process after the other, without the ledger. */
void stop_holders(void);
void kill_holders(size_t count);

#endif
