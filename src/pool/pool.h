/* SPDX-License-Identifier: MIT */
/*
 * pool.h - how a pool is built.  Three kinds of processes share it:
 *
 *   client       made the pool: submits tasks, waits, takes results
 *   supervisor   its only child: forks workers, settles what the dead ones left
 *   workers      take tasks, run them, report
 *
 * In the arena:   mp__pool_shared  ->  workers[]            a few lines for each
 *                                  ->  directory[]  ->  segments of 512 tasks
 *                                       a task that is a map  ->  mp__job
 *
 * Tasks are numbered from 0 for the life of the pool.  The truth about task n is its
 * word, which holds n itself, so that whoever comes late finds that it is another:
 *
 *   QUEUED(n) -> RUNNING(n, w) -> DONE(n)      by the worker w, with compare-and-swap
 *                RUNNING(n, w) -> DONE(n)      by the supervisor, if w died: failed,
 *                RUNNING(n, w) -> QUEUED(n)    or to be tried again
 *                QUEUED(n)     -> DONE(n)      by the client: cancelled, or pool ended
 *
 * `head` and `tail`, idle bits and the spinner are hints.  A worker says in `current`
 * which task it is about to take before it takes it; whoever settles a dead worker
 * finds there what it had: nothing (the task is still QUEUED: the head is moved back),
 * a task, or its part in a map (job.h).
 *
 * To end one task and no other, the supervisor first dooms its worker, in a word that
 * the worker must change to get on:
 *
 *   current    n + 1 -> 0          by the worker, when it is through with task n
 *              n + 1 -> doomed     by the supervisor: task n was cancelled
 *   deadline   time -> 0           by the worker, when an item with a limit is done
 *              time -> doomed      by the supervisor, once that time is over
 *
 * A worker that finds itself doomed waits there for its end.  Only then it is sent
 * signals.
 *
 * There may be more places than workers: for mp_pool_resize, and because a replacement
 * is there, on standby, before the one whose time is up leaves.
 *
 * A killed client takes the pool with it.  A killed supervisor takes the workers with
 * it; the client then fails whatever is not settled.
 */
#ifndef MP_POOL_POOL_H
#define MP_POOL_POOL_H

#include <mp/pool.h>

#include <pthread.h>
#include <signal.h>

#include "base/atomic.h"

#define MP__WORKERS_MAX 4096
#define MP__PLACES_MAX (MP__WORKERS_MAX + 1 + MP__WORKERS_MAX / 16) /* with spare ones */
#define MP__SEGMENT_TASKS 512
#define MP__DIRECTORY_SIZE 8192
#define MP__OPEN_MAPS 64
#define MP__INLINE_BYTES 32
#define MP__DOOMED (UINT64_C(1) << 63) /* in `current` and `deadline` */

struct mp__job;

/* The word of a task: number (40 bits), worker + 1 (14 bits at 10), flags and state. */
enum {
    MP__TASK_QUEUED = 1,
    MP__TASK_RUNNING = 2,
    MP__TASK_DONE = 3, /* settled, as its `error` says */
    MP__TASK_STATE = 7,
    MP__TASK_WAITED = 8 /* somebody is parked on the word */
};

static inline uint64_t mp__task_word(uint64_t number, unsigned worker, unsigned state)
{
    return number << 24 | (uint64_t)worker << 10 | state;
}

static inline bool mp__task_word_is(uint64_t word, uint64_t number)
{
    return word >> 24 == (number & 0xffffffffff);
}

/* When an item is to end, in milliseconds from its start; 0: no limit. */
struct mp__limits {
    int hard;
    int soft;
};

#define MP__RETRIES_MAX 255

/* What is the same for all items of a call of apply, map or imap. */
struct mp__call {
    mp_task_fn *task;
    void *context;
    struct mp__limits limits;
    unsigned retries;
    uint64_t number; /* for mp_task_seed */
};

struct mp__task {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t word;
    mp_task_fn *task;
    void *context;
    const void *arg;
    void *result;
    void *block;         /* holds arg and result where they are not inline, or NULL */
    struct mp__job *job; /* a map; NULL for a single task */
    char *text;          /* what mp_task_fail was given, or NULL */
    char data[MP__INLINE_BYTES];
    struct mp__limits limits;
    uint8_t retries;
    uint8_t attempts; /* before the last one */
    uint8_t kind;     /* enum mp_failure_kind */
    _Atomic uint8_t cancelled; /* do not try again */
    int error;
    union {
        uint64_t index; /* until it is settled: for mp_task_index */
        struct {
            int exitcode;
            pid_t pid;
        };
    };
    union {
        uint64_t call;  /* until it is settled: for mp_task_seed */
        size_t max_rss; /* then, if its worker ended */
    };
};
_Static_assert(sizeof(struct mp__task) == 2 * MP__CACHE_LINE, "two lines");

/* Why a worker goes. */
enum mp__leave {
    MP__STAYS,
    MP__LEAVES_CLOSED, /* the pool was closed, and there is nothing left to do */
    MP__LEAVES_WORN,   /* it has run so many items, or has so much memory: replace it */
    MP__LEAVES_SURPLUS, /* there are too many */
    MP__LEAVES_IDLE    /* it has had nothing to do for long: replace it when there is */
};

/* A worker's place in the pool; a replacement gets the place of the one that died. */
struct mp__worker {
    /* Written by the worker for every item. */
    _Alignas(MP__CACHE_LINE) struct mp_task_loop_state loop; /* of the map it is with */
    _Atomic uint64_t current; /* number of the task it is with, + 1 */
    _Atomic uint64_t done;    /* items that were run here to their end, ever */
    _Atomic uint64_t failed;  /* of these */
    _Atomic uint32_t batch;   /* first item of its batch, while an item runs */
    /* Written by the worker for every item that has limits. */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t deadline; /* 0: none */
    _Atomic uint32_t polls; /* it has asked mp_task_should_stop */
    /* While it writes down that an item of a map failed: item + 1, its error above. */
    _Atomic uint64_t returned;
    /* Written by those who wake it, or want something of it. */
    _Alignas(MP__CACHE_LINE) _Atomic uint32_t bell;
    _Atomic uint32_t surplus; /* it is to leave */
    _Atomic uint32_t standby; /* it is to wait until another has left */
    _Atomic uint64_t cancel;  /* number of a task that is to end, + 1 */
    /* Written at birth and death. */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t member;
    _Atomic int pid;           /* 0: nobody is here */
    _Atomic uint32_t ready;    /* its initializer has run */
    _Atomic uint32_t leaving;  /* enum mp__leave */
    _Atomic uint32_t worn;     /* it runs its last item */
    int initializer_error;
    uint64_t items_most;       /* that it may run; UINT64_MAX: any number */
};

/* Where a worker is in its map: 2 * item, + 1 while the item runs. */
static inline uint64_t mp__worker_at(const struct mp__worker *worker)
{
    return __atomic_load_n(&worker->loop.at, __ATOMIC_RELAXED);
}

/* Only the worker itself counts. */
static inline void mp__worker_count(_Atomic uint64_t *counter, uint64_t items)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + items, memory_order_relaxed);
}

/* Whoever dies before this has not yet done what follows it. */
static inline void mp__worker_set_at(struct mp__worker *worker, uint64_t at)
{
    mp__kill_point_order();
    __atomic_store_n(&worker->loop.at, at, __ATOMIC_RELAXED);
    mp__kill_point_order();
}

enum mp__pool_state {
    MP__POOL_OPEN,
    MP__POOL_CLOSED,
    MP__POOL_TERMINATED,
    MP__POOL_BROKEN /* the supervisor died */
};

struct mp__pool_shared {
    /* Constant once the supervisor runs. */
    unsigned place_count;
    unsigned idle_words;
    unsigned open_size;
    pid_t client_pid;
    uint64_t client;
    mp_pool_options options; /* with the defaults filled in */
    int heed[2];             /* pipe of mp_pool_fileno, or -1: the client's end, theirs */
    struct mp__worker *workers;
    struct mp__trace *traces; /* of each place, or NULL: see trace.h */
    struct mp__task *_Atomic *directory;

    _Alignas(MP__CACHE_LINE) _Atomic uint32_t state;
    _Atomic uint32_t started; /* `start_error` is what mp_pool_new returns */
    int start_error;
    _Atomic uint32_t supervisor_bell;
    _Atomic uint64_t supervisor;
    _Atomic uint32_t wanted;    /* workers that there should be */
    _Atomic uint32_t resting;   /* of these, not there until there is work */
    _Atomic uint32_t deaths;    /* of workers, that nobody wanted */
    _Atomic uint64_t unrun;     /* items that failed without being run to their end */
    _Atomic uint32_t feeds;     /* calls that bring more tasks, though it be closed */
    _Atomic uint64_t furthest;  /* where `head` was before it was moved back */
    _Atomic uint64_t looks_at;  /* when the supervisor looks at deadlines next */
    char reason[MP_TASK_TEXT_SIZE]; /* why the pool is broken */

    /* For who waits for any of several: see settle.c. */
    _Alignas(MP__CACHE_LINE) _Atomic uint32_t listens;
    _Atomic uint32_t heard;
    _Atomic uint32_t armed;  /* odd: a byte is wanted in the pipe */
    _Atomic uint32_t nudged; /* the supervisor is to write it */

    _Alignas(MP__CACHE_LINE) _Atomic uint64_t tail; /* tasks below are published */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t head; /* tasks below were offered */
    /* Worker + 1 that spins for work (16 bits), and a number that is another each time. */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t spinner;
    _Atomic uint32_t relied; /* somebody has left work to it: the supervisor looks later */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t open[MP__OPEN_MAPS]; /* map number + 1 */
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t idle[MP__PLACES_MAX / 64 + 1];
};

/* Whether more tasks may come. */
static inline bool mp__pool_takes(const struct mp__pool_shared *shared)
{
    uint32_t state = atomic_load(&shared->state);

    return state == MP__POOL_OPEN ||
           (state == MP__POOL_CLOSED && atomic_load(&shared->feeds));
}

/* A segment as the client sees it. */
struct mp__segment {
    struct mp__task *tasks;
    unsigned held; /* tasks that a result still stands for */
};

/* Results whose callback is still to be run: see callback.c. */
struct mp__callbacks {
    mp_async_result *first;
    mp_async_result *last;
};

struct mp_pool {
    struct mp__pool_shared *shared;
    unsigned epoch; /* mp__fork_epoch of the creator */
    pid_t supervisor_pid;
    int life; /* the supervisor and so the workers die when this is closed */
    pthread_mutex_t mutex;
    struct mp__serial *serial; /* there are no processes: serial.c; else NULL */
    _Atomic bool ended; /* the supervisor is gone and everything is settled */
    bool freed; /* only results keep it */
    unsigned results;   /* and calls under way, which the pool must outlive */
    struct mp__callbacks outstanding;
    struct mp__callbacks ripe;
    int silence;        /* the write end of a pipe into which nobody writes, or -1 */
    _Atomic unsigned imaps; /* of the `feeds`, those that wait for their caller */
    uint64_t calls;     /* of apply and map so far */
    uint64_t submitted; /* items so far */
    struct mp__segment *segments; /* MP__DIRECTORY_SIZE, as the directory */
    uint64_t oldest;              /* segments below are recycled */
    uint64_t newest;              /* segments below were added */
    struct mp__task **spare;
    size_t spare_count;
    struct mp__job *idle_jobs; /* linked; of this pool's size */
    mp_pool *next; /* in the list that exit walks */
    mp_pool **link;
};

/* queue.c, client's side; the mutex is held. */
int mp__queue_reserve(mp_pool *pool, uint64_t *number, struct mp__task **task);
void mp__queue_publish(mp_pool *pool, uint64_t number, struct mp__task *task, bool held);
void mp__queue_release(mp_pool *pool, uint64_t number); /* nobody asks for it any more */
void mp__queue_free(mp_pool *pool);

/* queue.c, everybody's. */
struct mp__task *mp__queue_task(struct mp__pool_shared *shared, uint64_t number);
void mp__queue_ring(struct mp__pool_shared *shared);     /* wake one if nobody looks */
void mp__queue_ring_all(struct mp__pool_shared *shared); /* wake all */
/* This worker is the one that spins, if none is: its word, or 0; and is it no more. */
uint64_t mp__queue_spin_begin(struct mp__pool_shared *shared, unsigned worker);
void mp__queue_spin_end(struct mp__pool_shared *shared, uint64_t spinner);
/* Take the role from who has it still since `spinner` was returned, and see to it that work
   which was left to that one is done.  Returns who has it now, or 0. */
uint64_t mp__queue_relieve(struct mp__pool_shared *shared, uint64_t spinner);
void mp__queue_rewind(struct mp__pool_shared *shared, uint64_t number);
uint64_t mp__queue_begun(struct mp__pool_shared *shared); /* tasks from here on are not */
bool mp__queue_has_work(struct mp__pool_shared *shared);
void mp__queue_idle_clear(struct mp__pool_shared *shared, unsigned worker);
unsigned mp__queue_awake(const struct mp__pool_shared *shared);
void mp__open_insert(struct mp__pool_shared *shared, uint64_t number);
void mp__open_remove(struct mp__pool_shared *shared, uint64_t number);
bool mp__open_lowest(struct mp__pool_shared *shared, uint64_t *number);

static inline bool mp__task_settled(const struct mp__task *task)
{
    return (atomic_load_explicit(&task->word, memory_order_acquire) & MP__TASK_STATE) ==
           MP__TASK_DONE;
}

/* settle.c */
bool mp__task_take(struct mp__task *task, uint64_t number, unsigned taker);
/* The job of a task, and the task's word as it was no earlier: if that says that it is not
   settled, the job is the one that goes with it.  Who was stopped in between may find
   another task there. */
struct mp__job *mp__task_job(const struct mp__task *task, uint64_t *word);
void mp__task_settle(struct mp__pool_shared *shared, struct mp__task *task,
                     uint64_t number); /* -> DONE */
void mp__task_offer(struct mp__pool_shared *shared, struct mp__task *task,
                    uint64_t number); /* RUNNING -> QUEUED */
bool mp__task_withdraw(struct mp__pool_shared *shared, struct mp__task *task,
                       uint64_t number); /* QUEUED -> DONE: cancelled */
bool mp__task_drop_items(struct mp__pool_shared *shared, struct mp__task *task,
                         struct mp__job *job,
                         uint64_t number); /* that nobody has begun: was that the rest? */
void mp__task_cancel(struct mp__pool_shared *shared, struct mp__task *task,
                     uint64_t number); /* a single one, wherever it is */
void mp__task_end(struct mp__pool_shared *shared, uint64_t number); /* with its workers */
void mp__settle_worker(struct mp__pool_shared *shared, unsigned worker,
                       const mp_task_failure *death);
/* After that, once for any number of them: one may have died between taking a flag or
   another's idle bit and acting on it. */
void mp__settle_tell(struct mp__pool_shared *shared);
int mp__failure_error(mp_failure_kind kind); /* of items that were not run to their end */
void mp__settle_all(mp_pool *pool, mp_failure_kind kind);
void mp__listeners_wake(struct mp__pool_shared *shared);
void mp__pool_tell(struct mp__pool_shared *shared); /* something was settled */
void mp__supervisor_ring(struct mp__pool_shared *shared);

/* serial.c: pools without processes. */
bool mp__serial_wanted(void);
int mp__serial_start(mp_pool *pool);
void mp__serial_run(mp_pool *pool); /* what is queued; without the mutex */
void mp__serial_close(mp_pool *pool);
int mp__serial_join(mp_pool *pool, int64_t deadline);
void mp__serial_terminate(mp_pool *pool);
void mp__serial_exit(mp_pool *pool);
void mp__serial_free(mp_pool *pool);

/* worker.c: take the next task that is queued, if any, and run it. */
bool mp__worker_take_next(struct mp__pool_shared *shared, unsigned place);

/* worker.c, supervisor.c: what the two kinds of processes run. */
_Noreturn void mp__worker_main(struct mp__pool_shared *shared, unsigned place);
_Noreturn void mp__supervisor_main(struct mp__pool_shared *shared, int life);

/* pool.c */
int mp__pool_check(const mp_pool *pool); /* may this process use it: 0, EINVAL, EPERM */
int mp__pool_accepts(const mp_pool *pool); /* 0 or EPIPE */
/*
 * A call that brings its tasks one after the other is counted while it does: the pool
 * takes them also after it was closed.  `begin` is 0 or EPIPE; the mutex is held.
 */
int mp__pool_feed_begin(mp_pool *pool);
void mp__pool_feed_end(mp_pool *pool);
void mp__pool_watch(mp_pool *pool); /* settle everything if the supervisor has died */
/* One of its `results` is done with it.  The mutex is held, and is not any more. */
void mp__pool_release(mp_pool *pool);
void mp__pool_destroy(mp_pool *pool);

/* map.c: whether this thread is in a map that has still to submit items */
bool mp__map_is_feeding(const mp_pool *pool);

/* listen.c: the pipe of mp_pool_fileno, if there is to be one */
int mp__heed_open(mp_pool *pool);
void mp__heed_forked(mp_pool *pool); /* the supervisor has it now */
void mp__heed_close(mp_pool *pool);

/* result.c: from the options of a call, and those of the pool where it leaves them out.
   EINVAL if they make no sense. */
int mp__call_read(struct mp__call *call, const mp_pool *pool, mp_task_fn *task,
                  void *context, int hard_ms, int soft_ms, int retries);

/* result.c */
int mp__task_wait(mp_pool *pool, struct mp__task *task, int64_t deadline);

#endif
