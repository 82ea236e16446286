/* SPDX-License-Identifier: MIT */
/*
 * ledger.h - who has taken messages of a joinable queue and not finished them.
 *
 * Each member of the family has an entry, found by its slot: who it is, and how many it
 * has.  A get adds to it under the lock of the getting end; mp_joinable_queue_task_done
 * takes away, without.  All is done when no message is in the queue, and no entry of a
 * live member has any; the queue is looked at first, since a message is in an entry before
 * it has left the queue.
 *
 * A get writes down what it is about to change, and how many messages had been taken
 * before.  If it is killed before it has taken any, the next one to get undoes that.  The
 * entry of a dead member is what was lost with it, until its slot is another's: then
 * that is added to `buried`, in the same step as above.
 */
#ifndef MP_IPC_LEDGER_H
#define MP_IPC_LEDGER_H

#include "ipc/queue.h"

int mp__ledger_open(mp_queue *queue);

/* By who holds the lock of the getting end, right before the messages are taken. */
void mp__ledger_take(mp_queue *queue, size_t count);

/* By who holds that lock: how many went with processes that died. */
uint64_t mp__ledger_lost(mp_queue *queue);

#endif
