/* SPDX-License-Identifier: MIT */
/*
 * lock.pml - a model of src/sync/lock.c over src/sync/park.c, for spin.
 *
 * USERS processes take the lock and release it as often as they like.  A killer ends up
 * to KILLS of them, each between any two steps.  The kernel makes a death visible some
 * time later, and then a sentry buries the dead: it counts the death and wakes the
 * sleepers.  The sentry may be killed as well; then another one begins anew.
 *
 * What spin proves, for every order of the steps:
 *   - never do two living processes hold the lock;
 *   - the death of a holder is told to the next holder, once, and nobody is told of a
 *     death that was none;
 *   - no wake-up is lost.  Sleep has no slices here, so whom nobody wakes sleeps for
 *     ever; and since everybody else may leave at any time, spin then finds a state in
 *     which nothing moves: an "invalid end state".
 *
 * Left out are the order of memory (a step is seen by all at once), the slices of sleep
 * and how the sentry is found, spinning, and releases by processes that are not holders.
 *
 * Each BUG_... takes away something that the lock can't do without; spin must notice.
 * run.sh tries them all, and proves the model itself with these:
 *
 *   ordinary: -DKILLS=1
 *   ordinary: -DKILLS=2 -DIMPATIENT=USERS
 *   nightly:  -DKILLS=2
 *   bugs:     -DKILLS=1
 *   BUG_BURIED_BEFORE_WAKE: -DKILLS=2 -DUSERS=2
 */
#ifndef USERS
#define USERS 3 /* at most 4 */
#endif
#ifndef KILLS
#define KILLS 2
#endif

/* The word: 0 while nobody holds the lock, else an owner, maybe with CONTENDED. */
#define CONTENDED   1
#define NAME(user)  (((user) + 1) * 2)
#define CLAIMED     (5 * 2) /* BUG_TWO_STEPS: somebody's who can't be told */

#ifndef IMPATIENT
#define IMPATIENT 0 /* the user who may give up waiting; USERS: nobody */
#endif

/* The others are alike, so they die in order: what else happens is the same renamed. */
#define IN_ORDER(who)                                                                  \
    ((who) == IMPATIENT || (who) == 0 || ((who) == 1 && IMPATIENT == 0) ||             \
     (killed & BIT((who) - 1)))

/* Sets of processes are bits. */
#define BIT(user)   (1 << (user))
#define OWNER(word) (1 << ((word) / 2 - 1))

byte word;
byte deaths;        /* how many burials were begun, as in the arena */
byte kills = KILLS; /* how many more there may be */
byte killed;        /* takes no more steps */
byte gone;          /* are dead, says mp__member_is_dead */
byte buried;
byte record;        /* have a record that names the word */
byte asleep;        /* are in the kernel's queue of the word */

/* What is to be proved speaks of these: who holds the lock, and whether the death of a
   holder has still to be told. */
byte holders;
bool untold;

inline take(value, told)
{
    word = value;
    assert(holders == 0);
    assert(told == untold);
    holders = BIT(me);
    untold = false
}

/* Ends at `inside` with the lock, or goes on with the word that was in the way. */
inline try_take()
{
    atomic { record = record & ~BIT(me); met = word };
    do
    :: atomic {
        met == 0 ->
        if
#ifdef BUG_TWO_STEPS
        :: word == 0 -> take(CLAIMED, false); goto claimed
#else
        :: word == 0 -> take(NAME(me) + contended, false); goto inside
#endif
        :: else -> met = word
        fi
    }
    :: met != 0 && (gone & OWNER(met)) ->
        atomic {
            if
#ifdef BUG_TAKEOVER_STORES
            :: true -> take(NAME(me) + CONTENDED, true); goto inside
#else
            :: word == met -> take(NAME(me) + CONTENDED, true); goto inside
            :: else -> met = word
#endif
            fi
        }
    :: atomic {
        met != 0 && !(gone & OWNER(met)) ->
        if
        :: !in_time -> goto idle /* ETIMEDOUT, after a last try */
        :: else -> break
        fi
    }
    od
}

/* Ends at `again` whenever the lock should be tried again. */
inline sleep_on()
{
    atomic {
#ifndef BUG_FORGETS_CONTENDED
        contended = CONTENDED;
#endif
        if
        :: met & CONTENDED
        :: !(met & CONTENDED) && word == met -> met = met + CONTENDED; word = met
        :: else -> met = 0; goto again
        fi
    };

    /* mp__park: the record, then the count of deaths, then the look at the owner. */
    record = record | BIT(me);
    seen = deaths;
#ifndef BUG_NO_LOOK_AT_OWNER
    atomic {
        if
        :: gone & OWNER(met) -> seen = 0; met = 0; goto again
        :: else
        fi
    };
#endif
    atomic {
        if
#ifdef BUG_DEATHS_NOT_COMPARED
        :: word == met -> asleep = asleep | BIT(me)
#else
        :: word == met && deaths == seen -> asleep = asleep | BIT(me)
#endif
        :: else -> seen = 0; met = 0; goto again
        fi;
        seen = 0;
        met = 0;
        if
        :: true
        :: me == IMPATIENT -> goto impatient
        fi
    };
    !(asleep & BIT(me)) -> goto again;
impatient:
    atomic {
        if
        :: !(asleep & BIT(me))
        :: asleep & BIT(me) -> asleep = asleep & ~BIT(me); in_time = false
        fi;
        goto again
    }
}

inline release()
{
#ifdef BUG_RELEASE_STORES
    met = word;
    atomic { word = 0; holders = 0 };
#else
    atomic { met = word; word = 0; holders = 0 };
#endif
#ifndef BUG_NO_WAKE
    /* The kernel chooses whom to wake; any choice must do. */
    if
    :: !(met & CONTENDED)
    :: (met & CONTENDED) && asleep == 0
    :: atomic { (met & CONTENDED) && (asleep & 1) -> asleep = asleep & ~1 }
    :: atomic { (met & CONTENDED) && (asleep & 2) -> asleep = asleep & ~2 }
    :: atomic { (met & CONTENDED) && (asleep & 4) -> asleep = asleep & ~4 }
    :: atomic { (met & CONTENDED) && (asleep & 8) -> asleep = asleep & ~8 }
    fi
#endif
}

proctype user(byte me)
{
    byte met, seen, contended;
    bool in_time;

    {
        true; /* no label may come first */
idle:
        atomic {
            met = 0;
            contended = 0;
            if
            :: in_time = true
            :: me == IMPATIENT -> in_time = false /* MP_NOWAIT */
            :: goto leave
            fi
        };
again:
        try_take();
        sleep_on();
#ifdef BUG_TWO_STEPS
claimed:
        atomic { word = NAME(me) + (word & CONTENDED) };
#endif
inside:
        release();
        goto idle
    } unless { killed & BIT(me) };
leave:
    atomic {
        killed = killed | BIT(me); /* who has left is no victim any more */
        met = 0;
        seen = 0;
        contended = 0;
        in_time = false
    }
}

inline kill(who)
{
    kills > 0 && !(killed & BIT(who)) && IN_ORDER(who) ->
    kills--;
    killed = killed | BIT(who);
    asleep = asleep & ~BIT(who);
    untold = untold || (holders & BIT(who));
    holders = holders & ~BIT(who)
}

proctype killer(byte victim)
{
end_alive:
    atomic { kill(victim) };
    gone = gone | BIT(victim)
}

/*
 * mp__member_bury, by whoever it is: until the slot is free, which comes last, a burial
 * that was broken off is begun again.
 */
proctype sentry()
{
    byte dead;

end_watch:
    do
    :: atomic {
        (gone & ~buried) != 0 ->
        dead = 0;
        do
        :: gone & ~buried & BIT(dead) -> break
        :: else -> dead++
        od
    };
#ifdef BUG_BURIED_BEFORE_WAKE
        buried = buried | BIT(dead);
#endif
        deaths++;
        if
        :: atomic { kills > 0 -> kills--; goto end_watch }
        :: true
        fi;
#ifndef BUG_DEATH_WAKES_NOBODY
        /* The word is found by any record that names it. */
        if
        :: record != 0 -> asleep = 0
        :: record == 0
        fi;
#endif
        if
        :: atomic { kills > 0 -> kills--; goto end_watch }
        :: true
        fi;
        buried = buried | BIT(dead)
    /* At some time the killing ends: or else, if somebody sleeps for ever, his death
       would be a way on. */
    :: kills > 0 -> kills = 0
    od
}

init
{
    byte i;

    atomic {
        for (i : 0 .. USERS - 1) {
            run user(i);
            run killer(i)
        }
        run sentry()
    }
}
