/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what the subjects of the benchmark share.
 *
 * A contest puts libmp and its yardsticks through the same work.  Every contestant
 * lives in a process of its own, forked before anybody has called libmp, so that none
 * pays for the heap, the fork handlers or the threads of another, and so that one that
 * crashes or hangs costs its own rows only.  The driver asks the contestants in turn
 * for one round each, again and again: what the machine does to one of them it does to
 * its neighbours in the same round, and a ratio taken inside a round survives it.
 *
 * A row of the table compares two contestants, or one with a number.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <mp/mp.h>

/* What a contestant may return besides 0 and errno values, which are positive. */
enum {
    BENCH_WRONG = -1,  /* it computed a wrong result */
    BENCH_ABSENT = -2, /* this machine or this build does not have it */
    BENCH_DIED = -3,   /* seen by the driver */
    BENCH_HUNG = -4    /* seen by the driver */
};

/* How many figures a round yields at most; rows name the one that they show. */
enum { BENCH_FIGURES = 2 };

/* A round fills its figures in seconds, in pieces per second, or in plain numbers. */
typedef struct bench_contestant {
    const char *name;
    int (*prepare)(const void *argument); /* once, unmeasured; may be NULL */
    int (*round)(const void *argument, double *figures);
    const void *argument;
} bench_contestant;

typedef enum bench_sense { BENCH_INFO, BENCH_AT_MOST, BENCH_AT_LEAST } bench_sense;

enum { BENCH_NOBODY = -1 };

typedef struct bench_row {
    const char *what;
    const char *unit; /* "ns", "us", "ms", "M/s", "k/s": scales the figure; or any */
    int ours;         /* which contestant is libmp */
    int theirs;       /* the yardstick, or BENCH_NOBODY: our figure stands alone */
    int figure;
    bench_sense sense;
    double target; /* for the ratio, or for our figure if it stands alone */
} bench_row;

typedef struct bench_contest {
    const char *name; /* NULL ends a list of contests */
    const bench_contestant *contestants;
    size_t contestant_count;
    const bench_row *rows;
    size_t row_count;
    int most_rounds; /* for what takes long; 0: as many as asked for */
} bench_contest;

#define BENCH_COUNT(array) (sizeof(array) / sizeof(*(array)))
#define BENCH_CONTEST(title, who, what, rounds)                                        \
    {                                                                                  \
        .name = (title), .contestants = (who), .contestant_count = BENCH_COUNT(who),   \
        .rows = (what), .row_count = BENCH_COUNT(what), .most_rounds = (rounds)        \
    }

/* Processes that every parallel contestant uses, so that figures can be compared. */
enum { BENCH_PROCESSES = 2 };

extern const bench_contest bench_process_contests[];
extern const bench_contest bench_lock_contests[];
extern const bench_contest bench_sync_contests[];
extern const bench_contest bench_wake_contests[];
extern const bench_contest bench_barrier_contests[];
extern const bench_contest bench_map_contests[];
extern const bench_contest bench_map_long_contests[];
extern const bench_contest bench_apply_contests[];
extern const bench_contest bench_stream_contests[];
extern const bench_contest bench_life_contests[];
extern const bench_contest bench_death_contests[];
extern const bench_contest bench_queue_contests[];
extern const bench_contest bench_queue_stream_contests[];
extern const bench_contest bench_connection_contests[];

/* bench_size - how much to do: `full`, or `quick` in a run that only tries things. */
size_t bench_size(size_t full, size_t quick);

/* bench_is_quick - whether the run only tries things. */
bool bench_is_quick(void);

/* bench_now - seconds of a clock that nobody sets. */
double bench_now(void);

/* bench_sleep - let `seconds` pass. */
void bench_sleep(double seconds);

/* bench_median - the middle one of `count` values, which are sorted on the way. */
double bench_median(double *values, size_t count);

/* bench_shared - zeroed memory that forked children share, or NULL; never freed. */
void *bench_shared(size_t size);

/*
 * bench_fork - fork a standing worker of a yardstick, as fork does.
 *
 * The worker need not end by itself: it ends with the contestant that forked it, who
 * must not wait for it.  It leaves the contestant's line to the driver alone, so that
 * the driver sees the contestant's end.
 */
pid_t bench_fork(void);

/*
 * bench_take_processor - run on the `nth` of `of` processors only.
 * bench_move - let another process do that.
 *
 * For contests between processes that have a processor each: left to itself the system
 * may put two that have slept together on one for a while.  libmp is told how many there
 * are, since it would count one: to be called before it is asked.
 *
 * bench_move returns 0, or BENCH_ABSENT where that can't be done.
 */
void bench_take_processor(unsigned nth, unsigned of);
int bench_move(pid_t pid, unsigned nth);

/*
 * bench_end_with - in a child that was just forked: end when `parent` does.
 *
 * Where the system cannot do that, only if the parent has gone already.
 */
void bench_end_with(pid_t parent);

/*
 * bench_openmp_guided, bench_openmp_dynamic - run the task once for each item in
 * BENCH_PROCESSES threads, with schedule(guided) or schedule(dynamic, 1).
 *
 * They are a translation unit of their own, so that the compiler cannot see which
 * function it is that they call, just as it cannot in the pool.
 *
 * Return 0, BENCH_ABSENT in a build without OpenMP, or the bits of all that the tasks
 * returned.
 */
int bench_openmp_guided(mp_task_fn *task, const void *items, size_t count,
                        size_t item_size, void *results, size_t result_size);
int bench_openmp_dynamic(mp_task_fn *task, const void *items, size_t count,
                         size_t item_size, void *results, size_t result_size);

/*
 * bench_openmp_tasks - as they, with an OpenMP task for each item, all of one thread's.
 */
int bench_openmp_tasks(mp_task_fn *task, const void *items, size_t count,
                       size_t item_size, void *results, size_t result_size);

/*
 * bench_openmp_sum - add up doubles: `fold` adds an item to the sum of its thread.
 */
int bench_openmp_sum(mp_task_fn *fold, const double *items, size_t count, double *sum);

/*
 * bench_python_prepare, bench_python_message_prepare, bench_perl_prepare,
 * bench_tbb_prepare - a contestant that bench_python.py, bench_python_message.py,
 * bench_perl.pl or bench_tbb.cpp plays; the argument is the name of what it shall do.
 *
 * Return BENCH_ABSENT if the interpreter or the library is not installed.
 */
int bench_python_prepare(const void *argument);
int bench_python_message_prepare(const void *argument);
int bench_perl_prepare(const void *argument);
int bench_tbb_prepare(const void *argument);

/* bench_program_round - a round of any of these: figure 0 is what the program says. */
int bench_program_round(const void *argument, double *figures);

#endif
