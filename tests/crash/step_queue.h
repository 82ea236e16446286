/* SPDX-License-Identifier: MIT */
/*
 * step_queue.h - a queue whose messages tell who put them, and a log of who took them.
 *
 * Those who put are senders, each of which numbers its messages from 1.  Whoever takes
 * a message looks whether it is whole and behind the last one that it had of that
 * sender, and enters it in the log; only the victim enters nothing.  So the log says
 * afterwards
 *
 *   there     messages of the victim that others have got: once each
 *   missing   messages of others that were put, and that none of them has got: the
 * victim must have taken those, and none else
 */
#ifndef CRASH_STEP_QUEUE_H
#define CRASH_STEP_QUEUE_H

#include "support/test.h"

#include <stdatomic.h>

#include <mp/mp.h>

#include "roles.h"

enum sender { VICTIM, EARLIER, OTHER, LATER, SENDERS };
enum { MESSAGES = 1024, SMALL = 40 };

/* What is particular to a case: its `how`. */
struct queue_case {
    mp_queue_options options; /* but for struct_size */
    size_t size;              /* of messages; 0: SMALL */
    unsigned earlier;         /* how many are there when the victim begins */
    unsigned count;           /* how many the victim puts or takes; 0: 1 */
    unsigned priority;        /* of the victim's message */
    bool waits;               /* the victim waits until something is given */
    bool others_put;          /* so do those who sleep: else they get */
    bool piecemeal;           /* what it puts or takes need not go in one step */
};

/* Outside libmp. */
struct message_log {
    _Atomic uint32_t begun[SENDERS];
    _Atomic uint32_t put[SENDERS];
    _Atomic uint8_t got[SENDERS][MESSAGES + 1];
    _Atomic int stop;       /* bystanders are to leave */
    _Atomic int bystanders; /* how many have not left yet */
    _Atomic int seen_lost;  /* not 0: mp_queue_lost has counted some */
};

extern mp_queue *queue;
extern struct message_log *message_log;

/* In main; then a role_object is made of these two. */
void log_begin(void);
void make_queue(void *how);
void discard_queue(void);

/* Put the next message of `sender`: as mp_queue_put_priority. */
int put_as(enum sender sender, unsigned priority, size_t size, int timeout_ms);

/* Take a message and enter it: as mp_queue_get; EBADMSG if it is not what it must be.
 */
int take(int timeout_ms);

/* Enter a message that was taken in another way: false if it is not what it must be. */
bool enter_message(const void *message, size_t size);

/* Put as many of size `size` as are there earlier. */
void put_earlier(unsigned count, size_t size);

/* Whether poll finds a pollable queue's descriptor readable. */
bool is_readable(void);

/* All that is there now; false if anything is wrong with it. */
bool drain(void);

/* Whether the log is right so far; sets how much is there and missing. */
bool count_up(unsigned *there, unsigned *missing);

/* --- roles ------------------------------------------------------------------------ */

/* Of the victim: `before`, which makes its messages, and `operate`. */
bool make_messages(void *how);
bool victim_puts(void *how);
bool victim_puts_many(void *how);
bool victim_gets(void *how);
bool victim_gets_many(void *how);

/* Of sleepers. */
bool sleeper_gets(void *how);
bool sleeper_puts(void *how);

/* A process that goes on putting and getting, until the check begins. */
void start_bystander(void *how);
bool bystanders_leave(void);

/* For `unblock`: a message more, or a message less. */
void give_message(void *how);
void give_room(void *how);

/* Nobody is there: putting, getting, waiting and being bounded work as ever. */
bool still_works(const struct queue_case *c);

/* All of it was put, or nothing; all of it was taken, or nothing; and the first. */
bool check_put(void *how);
bool check_get(void *how);

/* BURIED with sleepers that do not look around by themselves, and NOT_BURIED. */
void expect_queue_survives(const struct role_case *c);

#endif
