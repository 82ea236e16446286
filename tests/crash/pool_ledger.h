/* SPDX-License-Identifier: MIT */
/*
 * pool_ledger.h - what really happened to the items of pools, in memory that libmp
 * knows nothing of.
 *
 * The client enters each item before it submits it and settles it when it is told of
 * it; the task itself writes when a run begins and ends.  Whatever is killed:
 *
 *   every item that was entered is settled, once
 *   what is told to be done was run to its end by its last run, and that is its result
 *   no item is run more often than its retries allow, nor twice at the same time, nor
 *     after it was settled
 *   who is told to have died has died, and all retries were used up
 */
#ifndef CRASH_POOL_LEDGER_H
#define CRASH_POOL_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include <mp/mp.h>

/* What an item may end with, besides 0. */
enum {
    LEDGER_DIES = 1,    /* EOWNERDEAD: somebody kills workers */
    LEDGER_LATE = 2,    /* ETIME */
    LEDGER_CANCELS = 4, /* ECANCELED */
    LEDGER_FAILS = 8    /* LEDGER_ERROR, which the task returns */
};

#define LEDGER_ERROR 7777

/* An item is named by its index and by how often that index was entered. */
struct ledger_ref {
    uint32_t item;
    uint32_t round;
};

struct ledger;

struct ledger *ledger_new(size_t items);
void ledger_free(struct ledger *ledger);

/* In the client. */
struct ledger_ref ledger_enter(struct ledger *ledger, size_t item, int retries,
                               unsigned may);
void ledger_settle(struct ledger *ledger, struct ledger_ref ref, int error,
                   uint64_t value,
                   const mp_task_failure *failure); /* NULL: not known */

/* In whoever kills: before the signal is sent. */
void ledger_kills(struct ledger *ledger, pid_t pid);

/* In the task: its first and its last act.  The first returns the number of the run,
   the last the result. */
uint32_t ledger_begin(struct ledger *ledger, struct ledger_ref ref);
uint64_t ledger_end(struct ledger *ledger, struct ledger_ref ref, uint32_t run);

/* How often an item was begun. */
uint32_t ledger_begun(const struct ledger *ledger, size_t item);

/* All that was entered should be settled by now: how much was wrong since this was
   asked last; it was printed. */
unsigned long ledger_faults(struct ledger *ledger);

#endif
