/* SPDX-License-Identifier: MIT */
/*
 * condition.pml - a model of how src/sync/condition.c keeps notifications, for spin.
 *
 * WAITERS processes wait, each in a slot of its own, and a notifier notifies one of them,
 * CALLS times.  A killer ends up to KILLS of them all, each between any two steps.  The
 * kernel makes a death visible some time later, and then everybody who sleeps is woken.
 *
 * What spin proves, for every order of the steps.  When nothing moves any more, and
 * somebody alive sleeps still,
 *   - as many have returned notified as were, though some died who had been;
 *   - the sleeper itself was not notified;
 *   - the lock is not held by a dead process, of which nobody would be told.
 * And no more return notified than were, unless two have died.
 *
 * The lock is one step here: see lock.pml for what is behind it, and for what is left out
 * of both.  Nobody comes to wait later, and slots are not used again.
 *
 * Each BUG_... takes away something that the condition can't do without; spin must notice.
 * run.sh tries them all, and proves the model itself with these:
 *
 *   ordinary: -DKILLS=2 -DWAITERS=2
 *   ordinary: -DKILLS=1 -DWAITERS=3
 *   nightly:  -DKILLS=2 -DWAITERS=3
 *   bugs:     -DKILLS=2 -DWAITERS=3 -DCALLS=1
 *   BUG_KEEPS_TWO: -DKILLS=1 -DWAITERS=3
 */
#ifndef WAITERS
#define WAITERS 3
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef CALLS
#define CALLS 2
#endif

/* A slot's word. */
#define WAITING     1
#define ASLEEP      2
#define NOTIFIED    4
#define NAME(who)   (((who) + 1) * 8)
#define OWNER(word) ((word) / 8 - 1)

#define BIT(who)    (1 << (who))
#define NOTIFIER    WAITERS
#define NOBODY      15
#define IMPATIENT   0 /* the waiter whose time may be over */

byte slot[WAITERS]; /* the tickets are in the order of the slots */
byte holder = NOBODY;
byte deaths;
byte swept;         /* deaths_seen of the condition */
byte kills = KILLS;
byte killed;        /* takes no more steps */
byte gone;          /* is dead, says mp__member_is_dead */
byte asleep;        /* is in the kernel's queue of its slot */

/* What is to be proved speaks of these. */
byte called;   /* notifications that were begun */
byte promised; /* that were given, said the call */
byte returned; /* that a wait has returned with */

#define IS_GONE(who) (gone & BIT(who))

/*
 * give, until one has it or nobody waits; `gave` tells which.  Whoever is seen not to wait
 * never waits again, so all slots can be gone through in the step that sees one waiting.
 */
inline give_to_first()
{
    do
    :: atomic {
        at = 0;
        do
        :: at < WAITERS && !(slot[at] & WAITING) -> at++
        :: else -> break
        od;
        if
        :: at == WAITERS -> at = 0; gave = false; break
        :: else ->
            seen = slot[at];
            slot[at] = NAME(OWNER(seen)) + NOTIFIED
        fi
    };
        if
        :: atomic { seen & ASLEEP -> asleep = asleep & ~BIT(OWNER(seen)) }
        :: !(seen & ASLEEP)
        fi;
        atomic {
            seen = NAME(OWNER(seen)) + NOTIFIED;
#ifdef BUG_GIVES_TO_DEAD
            gave = true;
#else
            gave = !IS_GONE(OWNER(seen)) || slot[at] != seen;
#endif
            if
            :: gave -> at = 0; seen = 0; break
            :: else -> slot[at] = 0; seen = 0
            fi
        }
    od
}

#define IS_LEFT(word) (((word) & NOTIFIED) && IS_GONE(OWNER(word)))

/* Go through the slots and take over what one of the dead was given. */
inline inherit()
{
    do
    :: from == WAITERS -> break
#ifdef BUG_FREES_FIRST
    :: atomic { from < WAITERS && IS_LEFT(slot[from]) -> slot[from] = 0 };
        slot[mine] = NAME(me) + NOTIFIED;
        break
#else
    :: atomic { from < WAITERS && IS_LEFT(slot[from]) -> slot[from] = NAME(me) + NOTIFIED };
        if
        :: atomic { slot[mine] & WAITING -> slot[mine] = 0; mine = from }
#ifdef BUG_KEEPS_TWO
        :: slot[mine] & NOTIFIED -> slot[from] = 0
#else
        :: slot[mine] & NOTIFIED -> give_to_first(); slot[from] = 0
#endif
        fi;
        break
#endif
    :: atomic { from < WAITERS && !IS_LEFT(slot[from]) -> from++ }
    od;
    atomic { from = 0; gave = false }
}

proctype waiter(byte me)
{
    byte mine, at, from, seen, counted;
    bool gave;

    {
        mine = me;
again:
        atomic {
            if
            :: slot[mine] & NOTIFIED -> goto pick_up
            :: else -> slot[mine] = slot[mine] | ASLEEP
            fi
        };
        /* mp__park: the kernel compares what the waiter saw. */
        atomic {
            if
#ifdef BUG_DEATHS_NOT_COMPARED
            :: slot[mine] & WAITING -> asleep = asleep | BIT(me)
#else
            :: (slot[mine] & WAITING) && deaths == counted -> asleep = asleep | BIT(me)
#endif
            :: else
            fi
        };
end_asleep:
        atomic {
            if
            :: !(asleep & BIT(me))
            :: me == IMPATIENT && (asleep & BIT(me)) ->
                asleep = asleep & ~BIT(me);
                goto pick_up
            fi;
            if
            :: deaths == counted -> goto again
            :: else -> counted = deaths
            fi
        };
#ifndef BUG_NO_INHERITANCE
        inherit();
#endif
#ifndef BUG_NOBODY_SUCCEEDS
        atomic {
            if
            :: holder != NOBODY && IS_GONE(holder) -> holder = me; goto picked_up
            :: else
            fi
        };
#endif
        goto again;
pick_up:
        atomic { holder == NOBODY || IS_GONE(holder) -> holder = me };
picked_up:
        atomic {
#ifdef BUG_TIME_IS_OVER
            returned = returned + (me != IMPATIENT && (slot[mine] & NOTIFIED) -> 1 : 0);
#else
            returned = returned + (slot[mine] & NOTIFIED -> 1 : 0);
#endif
            slot[mine] = 0;
#if KILLS < 2
            assert(returned <= called)
#endif
        };
        atomic { holder = NOBODY; killed = killed | BIT(me) }
    } unless { killed & BIT(me) };
    atomic { mine = 0; at = 0; from = 0; seen = 0; counted = 0; gave = false }
}

/* At the start of mp_condition_notify. */
inline sweep()
{
    if
    :: atomic { deaths != swept -> counted = deaths };
        do
        :: from == WAITERS -> break
        :: atomic { from < WAITERS && IS_LEFT(slot[from]) ->
            slot[from] = NAME(NOTIFIER) + NOTIFIED
        };
            give_to_first();
            atomic { slot[from] = 0; from++ }
        :: atomic { from < WAITERS && !IS_LEFT(slot[from]) ->
            if
            :: (slot[from] & WAITING) && IS_GONE(OWNER(slot[from])) -> slot[from] = 0
            :: else
            fi;
            from++
        }
        od;
        atomic { swept = counted; counted = 0; from = 0 }
    :: deaths == swept
    fi
}

proctype notifier()
{
    byte at, from, seen, counted, calls;
    bool gave;

    {
        atomic { holder == NOBODY || IS_GONE(holder) -> holder = NOTIFIER };
        do
        :: calls == CALLS -> break
        :: atomic { calls < CALLS -> called++; calls++ };
            sweep();
            give_to_first();
            atomic { promised = promised + (gave -> 1 : 0); gave = false }
        od;
        atomic { holder = NOBODY; killed = killed | BIT(NOTIFIER) }
    } unless { killed & BIT(NOTIFIER) };
    atomic { at = 0; from = 0; seen = 0; counted = 0; calls = 0; gave = false }
}

proctype killer(byte victim)
{
end_alive:
    atomic {
        kills > 0 && !(killed & BIT(victim)) ->
        kills--;
        killed = killed | BIT(victim);
        asleep = asleep & ~BIT(victim)
    };
    gone = gone | BIT(victim);
    /* The burial: see lock.pml for the death of one who buries. */
    atomic { deaths++; asleep = 0 }
}

proctype judge()
{
end_open:
    do
    :: kills > 0 -> kills = 0
    :: timeout ->
        assert(!asleep || returned >= promised);
        assert(!asleep || holder == NOBODY || !IS_GONE(holder));
        byte i;
        for (i : 0 .. WAITERS - 1) {
            assert(!(slot[i] & NOTIFIED) || !(asleep & BIT(OWNER(slot[i]))))
        }
        break
    od
}

init
{
    byte i;

    atomic {
        for (i : 0 .. WAITERS - 1) {
            slot[i] = NAME(i) + WAITING;
            run waiter(i);
            run killer(i)
        }
        run notifier();
        run killer(NOTIFIER);
        run judge()
    }
}
