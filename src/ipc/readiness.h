/* SPDX-License-Identifier: MIT */
/*
 * readiness.h - the descriptor of a pollable queue.
 *
 * A pipe that has a byte in it whenever the queue has a message or is closed.  All that is
 * done to it is done under the lock of the putting end:
 *
 *   put        a byte is written, unless one is known to be there; only then comes the
 *              message
 *   withdraw   if there is no message: the byte is no more known to be there; it is read
 *
 * Who is killed on the way leaves a byte too many, never one too few.
 */
#ifndef MP_IPC_READINESS_H
#define MP_IPC_READINESS_H

#include "ipc/queue.h"

int mp__readiness_open(mp_queue *queue);

/* Closes this process's descriptors; does nothing for a queue without. */
void mp__readiness_close(mp_queue *queue);

/* By who is about to put, with the lock: 0, or EPERM if this process has not got them. */
int mp__readiness_tell(mp_queue *queue);

/* By who found no message, without the lock. */
void mp__readiness_withdraw(mp_queue *queue);

#endif
