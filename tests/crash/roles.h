/* SPDX-License-Identifier: MIT */
/*
 * roles.h - those around a process that is killed, and what they note.
 *
 * A program test_step_<type>.c kills at every instruction of what a process does with
 * an object of that type (see stepkill.h).  What is the same for all types is here:
 *
 *   tracer     makes the object and starts the others; after each kill it ends them all
 *   holder     has what the victim wants, until it may let go
 *   sleepers   wait already when the victim begins, and must get in without help
 *   victim     joins the family, begins, operates, and is killed
 *   checker    comes afterwards, and says whether all is right: late after two seconds
 *   watchman   sleeps elsewhere, and keeps watch for the family
 *
 * Each of them notes in `roles` what it finds.  That is all zero before each victim,
 * but for what begins with "seen".  A point is wrong if anybody failed, or if the check
 * says so.
 *
 * A case comes in two forms.  BURIED: the victim's parent tells libmp of the death
 * before it reaps.  NOT_BURIED: those whom it concerns have to find out.
 */
#ifndef CRASH_ROLES_H
#define CRASH_ROLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "stepkill.h"
#include "support/child_guard.h"

#define ROLES_CHECK_MS 2000
#define ROLES_START_MS 20000 /* the others are where they should be, or never will be  \
                              */
#define ROLES_NIGHT 7200     /* seconds: for alarm() in a child that lives that long */

enum { ROLES_HELPERS = 16 };

enum burial { BURIED, NOT_BURIED };

/* Outside libmp, so that a bug in it cannot hide here. */
struct roles {
    pid_t helpers[ROLES_HELPERS]; /* all who are to be ended */
    pid_t holder, victim;
    int sleepers;
    _Atomic int got;    /* sleepers that got in, all being right */
    _Atomic int failed; /* what anybody found wrong */
    _Atomic int inside; /* processes that believe they are alone with the object */
    _Atomic int told;   /* EOWNERDEAD returned since the kill */
    _Atomic int holder_holds;
    _Atomic int may_release;  /* the holder may let go */
    _Atomic int64_t began;    /* when the victim began, in milliseconds */
    _Atomic int unblocked;    /* the victim slept, and was to wake */
    _Atomic int finished;     /* the victim got through */
    _Atomic int seen_without; /* by any point so far: its operation had no effect, */
    _Atomic int seen_with;    /* or it had */
};

extern struct roles *roles;

/* The object that all of them work with. */
struct role_object {
    void (*make)(void *how); /* in the tracer, before each victim */
    void (*discard)(void);   /* in the tracer, after each check */
};

/* Functions that are told `how` get what the case says.  All but those of the victim,
   the sleepers and the checker are called in the tracer; NULL is nothing. */
struct role_case {
    const char *name;
    void *how;                  /* what is particular to the type */
    void (*prepare)(void *how); /* once the object is made */
    bool (*before)(void *how);  /* what the victim does before it begins */
    bool (*operate)(void *how); /* and when: false if it went as it must not */
    bool (*sleeper)(void *how); /* what others have begun before it */
    int sleepers;               /* how many; they do not see the victim join */
    void (*paused)(void *how);  /* when these sleep, and the victim is to begin */
    void (*unblock)(void *how); /* once it sleeps */
    bool (*check)(void *how);   /* by the checker, who may wait for the others */
    unsigned limit;             /* points in the ordinary run, spread evenly; 0: all */
    bool newcomer; /* the victim is no member of the family before it begins */
    bool ordered;  /* it takes the same number of steps each time; its effect is seen */
    bool both_ends; /* the effect is seen from some points, and not from others */
    bool watched;   /* there is a watchman, or else the victim is not seen to block */
};

/* In main, first of all.  False if nothing can be traced: then it returns SKIPPED. */
bool roles_begin(const struct role_object *object);

/* Kill at all points, and assert that nobody is stuck and nothing is wrong. */
void expect_no_failure(const struct role_case *c, enum burial burial);
void expect_no_failure_either_way(const struct role_case *c);

/* What they do around each victim, for tests that kill nobody. */
void roles_prepare(void *how);
void roles_clean(void);

/* --- helpers: all that are started here are ended after the check ----------------- */

pid_t start_helper(child_body *body, void *arg);

/* As child_wait. */
int wait_helper(pid_t helper, int timeout_ms);

void end_helper(pid_t helper);

/* Start sleepers, and wait until they sleep. */
void start_sleepers(bool (*gets_in)(void *how), void *how, int count);

/* Wait until all sleepers got in: false as soon as anybody failed. */
bool all_sleepers_got_in(void);

/* Start a holder, and wait until it holds.  Its body acquires, calls hold(), and
   releases; or it calls hold_for_good(), which ends when it is killed. */
void start_holder(child_body *body, void *arg);
void hold(void);
void hold_for_good(void);
void let_holder_release(void *how);

/* Between looks at something that nothing announces. */
void pause_shortly(void);

/* --- what they note --------------------------------------------------------------- */

/* An acquire returned `err`, and nobody else may be there now: false if that is wrong.
   A death that it tells is counted. */
bool step_in(int err);
void step_out(void);

/* The victim, or anyone, found something wrong. */
void note_failure(void);

/* The check sees whether the operation had its effect. */
void note_effect(bool effect);

/* As note_effect.  The effect comes at one point on the way, and does not go; and when
   the victim got through, there is no doubt: false if this is not so. */
bool is_plausible(bool effect);

#endif
