/* SPDX-License-Identifier: MIT */
#include "pool_ledger.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "support/child_guard.h"

#define PIDS 65536

/* Faults that are printed; the others are only counted. */
#define TOLD 20

struct entry {
    _Atomic uint32_t round; /* 0: it was never entered */
    _Atomic uint32_t begun;
    _Atomic uint32_t ended;   /* the last run that came to its end */
    _Atomic uint32_t settled; /* times */
    _Atomic pid_t runner;     /* of the last run */
    uint32_t begun_when_settled;
    int retries;
    unsigned may;
};

struct ledger {
    size_t size;
    _Atomic unsigned long faults;
    _Atomic unsigned killed[PIDS / 32]; /* a bit for each pid */
    struct entry entries[];
};

static size_t bytes(size_t items)
{
    return sizeof(struct ledger) + items * sizeof(struct entry);
}

struct ledger *ledger_new(size_t items)
{
    struct ledger *ledger = shared_page(bytes(items));

    ledger->size = items;
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    shared_page_free(ledger, bytes(ledger->size));
}

static void fault(struct ledger *ledger, uint32_t item, const char *what, long detail)
{
    const struct entry *entry = &ledger->entries[item];

    if (atomic_fetch_add(&ledger->faults, 1) >= TOLD)
        return;
    fprintf(stderr,
            "ledger: item %u of round %u %s (%ld): begun %u, ended %u, settled %u, "
            "retries %d, may %#x, last run by %d\n",
            item, entry->round, what, detail, entry->begun, entry->ended,
            entry->settled, entry->retries, entry->may, (int)entry->runner);
}

static uint64_t value_of(struct ledger_ref ref, uint32_t run)
{
    return ((uint64_t)ref.round << 32 | ref.item) * UINT64_C(0x9e3779b97f4a7c15) + run;
}

/* --- in the client ---------------------------------------------------------------- */

static void check_left(struct ledger *ledger, uint32_t item)
{
    const struct entry *entry = &ledger->entries[item];

    if (!entry->round)
        return;
    if (entry->settled != 1)
        fault(ledger, item, "was not settled once", entry->settled);
    else if (entry->begun != entry->begun_when_settled)
        fault(ledger, item, "was begun after it was settled",
              entry->begun_when_settled);
}

struct ledger_ref ledger_enter(struct ledger *ledger, size_t item, int retries,
                               unsigned may)
{
    struct entry *entry = &ledger->entries[item];

    check_left(ledger, (uint32_t)item);
    entry->retries = retries;
    entry->may = may;
    entry->begun = entry->ended = entry->settled = 0;
    entry->runner = 0;
    return (struct ledger_ref){(uint32_t)item, atomic_fetch_add(&entry->round, 1) + 1};
}

static unsigned permission_for(int error)
{
    switch (error) {
    case EOWNERDEAD:
        return LEDGER_DIES;
    case ETIME:
        return LEDGER_LATE;
    case ECANCELED:
        return LEDGER_CANCELS;
    case LEDGER_ERROR:
        return LEDGER_FAILS;
    default:
        return 0;
    }
}

static bool was_killed(const struct ledger *ledger, pid_t pid)
{
    return atomic_load(&ledger->killed[(unsigned)pid % PIDS / 32]) >>
               ((unsigned)pid % 32) &
           1;
}

static void check_failure(struct ledger *ledger, uint32_t item,
                          const mp_task_failure *failure)
{
    const struct entry *entry = &ledger->entries[item];
    unsigned attempts = (unsigned)failure->attempts;

    /* A worker that dies before the first instruction of the task has tried, too. */
    if (attempts < entry->begun || attempts > (unsigned)entry->retries + 1)
        fault(ledger, item, "tells of so many attempts", failure->attempts);
    if (failure->error != EOWNERDEAD || failure->kind == MP_FAILURE_POOL)
        return;
    if (attempts != (unsigned)entry->retries + 1)
        fault(ledger, item, "died before all retries were used up", failure->attempts);
    if (!was_killed(ledger, failure->pid))
        fault(ledger, item, "names one whom nobody killed", failure->pid);
    if (failure->kind != (failure->exitcode < 0 ? MP_FAILURE_DIED : MP_FAILURE_EXITED))
        fault(ledger, item, "died in another way", failure->exitcode);
}

void ledger_settle(struct ledger *ledger, struct ledger_ref ref, int error,
                   uint64_t value, const mp_task_failure *failure)
{
    struct entry *entry = &ledger->entries[ref.item];
    uint32_t begun = atomic_load(&entry->begun);

    if (entry->round != ref.round)
        fault(ledger, ref.item, "is of another round", ref.round);
    if (atomic_fetch_add(&entry->settled, 1))
        fault(ledger, ref.item, "is settled again", error);
    entry->begun_when_settled = begun;
    if (begun > (uint32_t)entry->retries + 1)
        fault(ledger, ref.item, "was begun too often", error);
    if (error && !(permission_for(error) & entry->may))
        fault(ledger, ref.item, "ends with an error it can't have", error);
    if (failure && failure->error != error)
        fault(ledger, ref.item, "has two errors", failure->error);
    if ((!error || error == LEDGER_ERROR) && (!begun || entry->ended != begun))
        fault(ledger, ref.item, "was not run to its end by its last run", error);
    if (!error && value != value_of(ref, begun))
        fault(ledger, ref.item, "has a wrong result", (long)value);
    if (error && failure)
        check_failure(ledger, ref.item, failure);
}

void ledger_kills(struct ledger *ledger, pid_t pid)
{
    atomic_fetch_or(&ledger->killed[(unsigned)pid % PIDS / 32],
                    1u << ((unsigned)pid % 32));
}

uint32_t ledger_begun(const struct ledger *ledger, size_t item)
{
    return ledger->entries[item].begun;
}

unsigned long ledger_faults(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->size; i++)
        check_left(ledger, i);
    return atomic_exchange(&ledger->faults, 0);
}

/* --- in the task ------------------------------------------------------------------ */

static bool is_alive(pid_t pid)
{
    char state = process_state(pid);
    return state != 0 && state != 'Z' && state != 'X';
}

uint32_t ledger_begin(struct ledger *ledger, struct ledger_ref ref)
{
    struct entry *entry = &ledger->entries[ref.item];
    pid_t before = atomic_exchange(&entry->runner, getpid());

    if (entry->round != ref.round || entry->settled)
        fault(ledger, ref.item, "runs although it was settled", ref.round);
    if (before && is_alive(before))
        fault(ledger, ref.item, "runs twice at the same time", before);
    return atomic_fetch_add(&entry->begun, 1) + 1;
}

uint64_t ledger_end(struct ledger *ledger, struct ledger_ref ref, uint32_t run)
{
    atomic_store(&ledger->entries[ref.item].ended, run);
    return value_of(ref, run);
}
