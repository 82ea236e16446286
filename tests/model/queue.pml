/* SPDX-License-Identifier: MIT */
/*
 * queue.pml - a model of src/ipc/queue.c over src/sync/bell.c and park.c, for spin.
 *
 * PRODUCERS put messages into a queue that has room for one, up to PUTS each, and CONSUMERS
 * get up to GETS each.  A killer ends up to KILLS of them, each between any two steps.  The
 * kernel makes a death visible some time later, and then a sentry buries the dead: it
 * counts the death and wakes the sleepers.
 *
 * What spin proves, for every order of the steps:
 *   - no message is got twice, and none is passed over, but for what a consumer took that
 *     was killed;
 *   - no wake-up is lost.  Sleep has no slices here: when nothing moves any more nobody
 *     sleeps who waits for a message while there is one, or for room.
 *
 * Left out are the order of memory (a step is seen by all at once), how the locks are
 * waited for (lock.pml has that), and what lane.h does: a commit is one step.
 *
 * Each BUG_... takes away something that the queue can't do without; spin must notice.
 * run.sh tries them all, and proves the model itself with these:
 *
 *   ordinary: -DPRODUCERS=1 -DCONSUMERS=2 -DPUTS=2
 *   ordinary: -DPRODUCERS=2 -DCONSUMERS=1 -DGETS=2
 *   nightly:  -DPRODUCERS=1 -DCONSUMERS=2 -DPUTS=2 -DGETS=2
 *   nightly:  -DPRODUCERS=2 -DCONSUMERS=2
 *   bugs:     -DPRODUCERS=1 -DCONSUMERS=2 -DPUTS=2
 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef PUTS
#define PUTS 1
#endif
#ifndef GETS
#define GETS 1
#endif

#define USERS     (PRODUCERS + CONSUMERS)
#define SMALL     PRODUCERS /* the consumer whose buffer may be too small */
#define ROOM      1         /* for so many messages */

/* Sets of processes are bits. */
#define BIT(user) (1 << (user))

/* Ends, each with a lock and a bell: what the bell of an end is waited at for is brought
   about at the other. */
#define PUT       0
#define GET       1

byte in, out;    /* messages that passed the ends */
byte holder[2];  /* of the locks: a set of one, or 0 */
byte rings[2];   /* of the bells: the low half of `calls` */
byte came[2];    /* and the high half */
byte asleep[2];  /* are in the kernel's queue of that bell */
byte deaths;     /* how many burials were begun, as in the arena */
byte kills = KILLS;
byte killed;     /* takes no more steps */
byte gone;       /* are dead, says mp__member_is_dead */
byte buried;
byte got;        /* which messages were taken */

#define MESSAGES  (in != out)
#define HAS_ROOM  (in - out < ROOM)
#define READY(end) ((end == GET && MESSAGES) || (end == PUT && HAS_ROOM))

inline lock(end)
{
    atomic {
        holder[end] == 0 || (holder[end] & gone) -> holder[end] = BIT(me)
    }
}

inline unlock(end)
{
    atomic { holder[end] = 0 }
}

/* Goes to `again` whenever it should be tried again. */
inline wait_at(end)
{
#ifdef BUG_LOOKS_FIRST
    if
    :: READY(end) -> goto again
    :: else
    fi;
    atomic { came[end]++; calls = rings[end] };
    seen = deaths;
#else
    atomic { came[end]++; calls = rings[end] };
    seen = deaths;
    if
    :: atomic { READY(end) -> calls = 0; seen = 0; goto again }
    :: else
    fi;
#endif
    atomic {
        if
#ifdef BUG_NO_WATCH
        :: rings[end] == calls -> asleep[end] = asleep[end] | BIT(me)
#else
        :: rings[end] == calls && deaths == seen ->
            asleep[end] = asleep[end] | BIT(me)
#endif
        :: else -> calls = 0; seen = 0; goto again
        fi;
        calls = 0;
        seen = 0
    };
end_asleep:
    atomic { !(asleep[end] & BIT(me)) -> goto again }
}

/* The kernel chooses whom to wake; any choice must do. */
inline unpark_one(end)
{
    if
    :: atomic { asleep[end] == 0 -> woke = false }
    :: atomic { asleep[end] & 1 -> asleep[end] = asleep[end] & ~1; woke = true }
    :: atomic { asleep[end] & 2 -> asleep[end] = asleep[end] & ~2; woke = true }
    :: atomic { asleep[end] & 4 -> asleep[end] = asleep[end] & ~4; woke = true }
    :: atomic { asleep[end] & 8 -> asleep[end] = asleep[end] & ~8; woke = true }
    fi
}

inline ring(end)
{
#ifdef BUG_NO_RING
    skip
#else
    atomic {
        if
        :: came[end] == 0 -> calls = 255
        :: else -> rings[end]++; calls = rings[end]; seen = came[end]
        fi
    };
    if
    :: calls == 255
    :: else ->
        unpark_one(end);
        atomic {
            if
#ifdef BUG_FORGETS_SLEEPERS
            :: rings[end] == calls && came[end] == seen -> came[end] = 0
#else
#ifdef BUG_CLEARS_BLINDLY
            :: !woke -> came[end] = 0
#else
            :: !woke && rings[end] == calls && came[end] == seen -> came[end] = 0
#endif
#endif
            :: else
            fi;
            woke = false
        }
    fi;
    atomic { calls = 0; seen = 0 }
#endif
}

proctype producer(byte me)
{
    byte calls, seen, turns = PUTS;
    bool woke;

    {
        true; /* no label may come first */
idle:
        if
        :: atomic { turns > 0 -> turns-- }
        :: goto leave
        fi;
again:
        lock(PUT);
        if
        :: atomic { HAS_ROOM -> skip }
        :: atomic { !HAS_ROOM -> holder[PUT] = 0; goto no_room }
        fi;
#ifdef BUG_RINGS_FIRST
        ring(GET);
#endif
        atomic { in++ };
        unlock(PUT);
#ifndef BUG_RINGS_FIRST
        ring(GET);
#endif
        goto idle;
no_room:
        wait_at(PUT)
    } unless { killed & BIT(me) };
leave:
    atomic { killed = killed | BIT(me); calls = 0; seen = 0; turns = 0; woke = false }
}

/* Takes a message that it has copied, and knows that it has it. */
inline take_it()
{
#ifdef BUG_COUNTS_IN_PLACE
    atomic { assert(!(got & BIT(out))); got = got | BIT(out) };
    out++
#else
    atomic { assert(!(got & BIT(out))); got = got | BIT(out); out++ }
#endif
}

proctype consumer(byte me)
{
    byte calls, seen, turns = GETS;
    bool woke;

    {
        true;
idle:
        if
        :: atomic { turns > 0 -> turns-- }
        :: goto leave
        fi;
again:
        lock(GET);
        if
        :: atomic { MESSAGES -> skip }
        :: atomic { !MESSAGES -> holder[GET] = 0; goto nothing }
        fi;
        if
        :: true
        :: atomic { me == SMALL -> holder[GET] = 0; goto too_small }
        fi;
        take_it();
        unlock(GET);
        ring(PUT);
        goto idle;
too_small:
#ifndef BUG_NOT_PASSED_ON
        if
        :: MESSAGES -> ring(GET)
        :: else
        fi;
#endif
        goto leave;
nothing:
        wait_at(GET)
    } unless { killed & BIT(me) };
leave:
    atomic { killed = killed | BIT(me); calls = 0; seen = 0; turns = 0; woke = false }
}

inline kill(who)
{
    kills > 0 && !(killed & BIT(who)) ->
    kills--;
    killed = killed | BIT(who);
    asleep[PUT] = asleep[PUT] & ~BIT(who);
    asleep[GET] = asleep[GET] & ~BIT(who)
}

proctype killer(byte victim)
{
end_alive:
    atomic { kill(victim) };
    gone = gone | BIT(victim)
}

proctype sentry()
{
end_watch:
    do
    :: atomic { (gone & ~buried) != 0 -> buried = gone };
        deaths++;
#ifndef BUG_DEATH_WAKES_NOBODY
        atomic { asleep[PUT] = 0; asleep[GET] = 0 }
#endif
    /* At some time the killing ends: or else the death of who sleeps would be a way on. */
    :: kills > 0 -> kills = 0
    od
}

/* Nothing moves any more. */
proctype judge()
{
end_trial:
    atomic {
        timeout ->
        assert(!(MESSAGES && asleep[GET]));
        assert(!(HAS_ROOM && asleep[PUT]));
        assert(got == BIT(out) - 1)
    }
}

init
{
    byte i;

    atomic {
        for (i : 0 .. PRODUCERS - 1) {
            run producer(i)
        };
        for (i : PRODUCERS .. USERS - 1) {
            run consumer(i)
        };
        for (i : 0 .. USERS - 1) {
            run killer(i)
        };
        run sentry();
        run judge()
    }
}
