/* SPDX-License-Identifier: MIT */
/*
 * trace.h - what workers did when, for viewers of Chrome's trace format (mp/log.h).
 *
 * Each place of a pool has a buffer in the arena.  Its worker writes events there, and
 * them to the file when the buffer is nearly full; what a dead one has left, and what it
 * was at, is written by whoever settles it.
 *
 *   records   | written ... | made ... |       numbered for ever, in their slots in turn
 *
 * The file is locked with flock(2), which dies with its holder, and its true length is a
 * word in the arena.  Who writes says so first, and so no event is lost or doubled, and
 * no line torn, wherever it is killed:
 *
 *   1  `upto` and `end` of the buffer: which records come, and how long the file is then
 *   2  the arena's `trace_writer` = the buffer
 *   3  the lines, behind `trace_end`
 *   4  the arena's `trace_end` = `end`: it is done
 *   5  `written` = `upto`, `trace_writer` = NULL
 *
 * Whoever locks the file next and finds a writer there, does 5 for it if 4 was done, and
 * cuts the file back to `trace_end` if not.
 */
#ifndef MP_POOL_TRACE_H
#define MP_POOL_TRACE_H

#include <limits.h>

#include "pool/pool.h"

#define MP__TRACE_RECORDS 256
#define MP__TRACE_SERIAL UINT_MAX

enum mp__trace_kind { MP__TRACE_BIRTH, MP__TRACE_TASK, MP__TRACE_MAP, MP__TRACE_LIFE };

struct mp__trace_record {
    uint64_t function;
    uint64_t number; /* of the task, in its pool */
    uint64_t first;  /* index of the first item */
    int64_t began;
    int64_t ended;
    uint32_t next;   /* the same item, within the job */
    uint32_t items;
    uint32_t failed; /* until it has ended: those of the worker before it */
    int32_t error;   /* of a life: the exit code */
    pid_t pid;
    uint32_t kind;
};

struct mp__trace {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t made; /* records below are complete */
    _Atomic uint64_t open;                          /* made + 1: `now` is running */
    struct mp__trace_record now;
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t written; /* records below are in the file */
    _Atomic uint64_t upto;
    _Atomic uint64_t end;
    int64_t born;
    uint64_t done_before; /* items, by those who had the place before */
    unsigned place; /* MP__TRACE_SERIAL: there are none */
    _Atomic int pid; /* whose it is, or 0 */
    struct mp__trace_record records[MP__TRACE_RECORDS];
};

/* The buffer of this process, or NULL: nothing is traced. */
extern struct mp__trace *mp__trace_own;

/* Client: begin the file if nobody has, and give a pool buffers, if a trace is wanted. */
void mp__trace_prepare(struct mp__pool_shared *shared);

/* This process is the one in `place` from now on. */
void mp__trace_enter(struct mp__pool_shared *shared, unsigned place);

/* The same for a pool that has no processes: it enters again for each task. */
void mp__trace_enter_serial(struct mp__pool_shared *shared);

/* If there is a buffer: a single task begins, or a batch at item `next`.  True. */
bool mp__trace_task(struct mp__trace_record *event, const struct mp__worker *self,
                    const struct mp__task *task);
bool mp__trace_batch(struct mp__trace_record *event, const struct mp__worker *self,
                     const struct mp__job *job, uint32_t next);

/* What has begun has run so many items to their end. */
void mp__trace_end(struct mp__trace_record *event, const struct mp__worker *self,
                   uint32_t items, int error);

/* The process in `place` has ended: write what it left, how it died, and what it was at. */
void mp__trace_bury(struct mp__pool_shared *shared, unsigned place,
                    const mp_task_failure *death);

void mp__trace_free(struct mp__pool_shared *shared);

#endif
