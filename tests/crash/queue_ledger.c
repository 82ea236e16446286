/* SPDX-License-Identifier: MIT */
#include "queue_ledger.h"

#include <stdatomic.h>
#include <string.h>

#include "support/child_guard.h"

struct producer {
    _Atomic uint32_t announced;
    _Atomic uint32_t acknowledged;
    _Atomic uint8_t got[LEDGER_MESSAGES + 1];
};

static struct shared {
    _Atomic uint32_t used;
    uint32_t judged;
    uint32_t volume; /* numbers begin again in each */
    struct producer producers[LEDGER_PRODUCERS];
} * shared;

/* What this consumer has had in this volume. */
static uint16_t last[LEDGER_PRODUCERS][LEDGER_PRIORITIES];
static uint32_t own_volume;

void ledger_begin(void)
{
    shared = shared_page(sizeof *shared);
}

void ledger_end(void)
{
    shared_page_free(shared, sizeof *shared);
    shared = NULL;
}

uint32_t ledger_producer(void)
{
    uint32_t producer = atomic_fetch_add(&shared->used, 1) + 1;
    return producer < LEDGER_PRODUCERS ? producer : 0;
}

unsigned ledger_announce(uint32_t producer, unsigned count)
{
    struct producer *p = &shared->producers[producer];
    uint32_t before = p->announced;

    if (before + count > LEDGER_MESSAGES)
        return 0;
    p->announced = before + count;
    return before + 1;
}

void ledger_acknowledge(uint32_t producer, unsigned but)
{
    struct producer *p = &shared->producers[producer];

    p->announced -= but;
    p->acknowledged = p->announced;
}

static uint32_t check_of(const struct ledger_head *head)
{
    return (head->producer * 2654435761u ^ head->number) * 2246822519u ^
           (head->size + head->priority) * 3266489917u;
}

void ledger_fill(void *message, size_t size, uint32_t producer, unsigned number,
                 unsigned priority)
{
    struct ledger_head head = {producer, (uint16_t)number, (uint16_t)priority,
                               (uint32_t)size, 0};

    head.check = check_of(&head);
    memcpy(message, &head, sizeof head);
    memset((char *)message + sizeof head, (int)(head.check & 0xff), size - sizeof head);
}

static bool is_whole(const unsigned char *message, size_t size,
                     struct ledger_head *head)
{
    if (size < sizeof *head)
        return false;
    memcpy(head, message, sizeof *head);
    if (head->size != size || head->check != check_of(head) ||
        head->producer >= LEDGER_PRODUCERS || head->number > LEDGER_MESSAGES ||
        head->priority >= LEDGER_PRIORITIES)
        return false;
    for (size_t i = sizeof *head; i < size; i++)
        if (message[i] != (unsigned char)head->check)
            return false;
    return true;
}

const char *ledger_enter(const void *message, size_t size, struct ledger_head *head)
{
    if (!is_whole(message, size, head))
        return "a message is not what was put";
    if (head->producer == 0)
        return NULL;

    if (own_volume != shared->volume) {
        own_volume = shared->volume;
        memset(last, 0, sizeof last);
    }
    uint16_t *before = &last[head->producer][head->priority];
    if (head->number <= *before)
        return "a message has overtaken one of the same producer, or comes twice";
    *before = head->number;
    if (atomic_fetch_add(&shared->producers[head->producer].got[head->number], 1) != 0)
        return "a message was got twice";
    return NULL;
}

static const char *judge_one(struct producer *p, unsigned long *missing,
                             unsigned long *got)
{
    for (unsigned number = 1; number <= LEDGER_MESSAGES; number++) {
        unsigned times = p->got[number];
        if (times && number > p->announced)
            return "a message was got that nobody has put";
        if (times > 1)
            return "a message was got twice";
        *got += times;
        *missing += number <= p->acknowledged && !times;
    }
    return NULL;
}

static void begin_volume(void)
{
    memset(shared->producers, 0, sizeof shared->producers);
    shared->used = shared->judged = 0;
    shared->volume++;
}

/* Who lives on goes on with another number. */
const char *ledger_judge(unsigned long *missing, unsigned long *got)
{
    const uint32_t used = shared->used;
    const char *wrong = used < LEDGER_PRODUCERS ? NULL : "there are too few numbers";

    *missing = *got = 0;
    for (uint32_t i = shared->judged + 1; i <= used && !wrong; i++)
        wrong = judge_one(&shared->producers[i], missing, got);
    shared->judged = used;
    if (used > LEDGER_PRODUCERS / 2)
        begin_volume();
    return wrong;
}
