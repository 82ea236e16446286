/* SPDX-License-Identifier: MIT */
/*
 * queue_ledger.h - what went into a queue and what came out, in memory that libmp knows
 * nothing of.
 *
 * A producer has a number that nobody else has had, and numbers its messages from 1. It
 * announces them before it puts them, and acknowledges them when they are in.  Whoever
 * gets one enters it.  When the queue is empty and nobody is at work:
 *
 *   what was acknowledged was got once, or it is missing; what was announced only, once
 *     or not at all; and nothing else was
 *   so many are missing at most as the consumers may have held that were killed
 */
#ifndef CRASH_QUEUE_LEDGER_H
#define CRASH_QUEUE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LEDGER_PRODUCERS =
        1 << 13,            /* several times what is needed between two judgements */
    LEDGER_MESSAGES = 1024, /* of each producer */
    LEDGER_PRIORITIES = 4
};

/* How a message begins. */
struct ledger_head {
    uint32_t producer; /* 0: go to the gate */
    uint16_t number;
    uint16_t priority;
    uint32_t size;
    uint32_t check;
};

void ledger_begin(void);
void ledger_end(void);

/* A number for a producer; 0 if there is none any more. */
uint32_t ledger_producer(void);

/* The producer is about to put `count` messages: the number of the first, or 0 if it
   has put as many as it may. */
unsigned ledger_announce(uint32_t producer, unsigned count);

/* All that it announced is in; or so many of it are not, and never will be. */
void ledger_acknowledge(uint32_t producer, unsigned but);

/* Make the message at `message`, of `size` bytes. */
void ledger_fill(void *message, size_t size, uint32_t producer, unsigned number,
                 unsigned priority);

/* The caller has got a message: NULL, or what is wrong with it.  Those of a producer
   that are equally urgent come to a consumer in the order of their numbers. */
const char *ledger_enter(const void *message, size_t size, struct ledger_head *head);

/* Nobody is at work, and producers go on with new numbers: NULL, or what is wrong; and
   how many have gone missing, and how many were got, since this was asked last.  When
   half of the numbers are used up a new volume of the ledger begins. */
const char *ledger_judge(unsigned long *missing, unsigned long *got);

#endif
