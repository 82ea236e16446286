/* SPDX-License-Identifier: MIT */
/*
 * bench_lock.c - mp_lock beside the process-shared primitives of POSIX.
 *
 * All of them are called through the same pair of pointers, so that none has an
 * advantage from being inlined.  The lock and what it guards lie on different lines.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "bench_sync.h"

enum { CONTENDERS = 8, LINE = 64 };

static const double CONTEST_TIME = 0.3;
static const double QUICK_TIME = 0.01;

struct kind {
    struct bench_lock_kind calls;
    bool libmp; /* processes and memory come from libmp as well */
};

/* What the contenders share: `counter` is guarded by the lock and by nothing else. */
struct arena {
    _Alignas(LINE) atomic_int ready;
    _Alignas(LINE) atomic_bool go;
    _Alignas(LINE) atomic_bool stop;
    _Alignas(LINE) volatile unsigned long counter;
    struct {
        _Alignas(LINE) unsigned long done;
        int error;
    } contenders[CONTENDERS];
};

static const struct kind *own_kind;
static void *own_lock;
static struct arena *own_arena;

static int make_libmp(void **lock)
{
    mp_lock *made;
    int err = mp_lock_new(&made, NULL);

    if (!err)
        *lock = made;
    return err;
}

static int acquire_libmp(void *lock)
{
    return mp_lock_acquire(lock, MP_FOREVER);
}

static int release_libmp(void *lock)
{
    return mp_lock_release(lock);
}

static int make_semaphore(void **lock)
{
    sem_t *made = bench_shared(sizeof(*made));

    if (!made || sem_init(made, 1, 1))
        return errno;
    *lock = made;
    return 0;
}

static int acquire_semaphore(void *lock)
{
    return sem_wait(lock);
}

static int release_semaphore(void *lock)
{
    return sem_post(lock);
}

static int make_mutex_of(void **lock, int robust)
{
    pthread_mutex_t *made = bench_shared(sizeof(*made));
    pthread_mutexattr_t attributes;

    if (!made)
        return errno;
    int err = pthread_mutexattr_init(&attributes);
    if (!err)
        err = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!err)
        err = pthread_mutexattr_setrobust(&attributes, robust);
    if (!err)
        err = pthread_mutex_init(made, &attributes);
    *lock = made;
    return err;
}

static int make_mutex(void **lock)
{
    return make_mutex_of(lock, PTHREAD_MUTEX_STALLED);
}

static int make_robust(void **lock)
{
    return make_mutex_of(lock, PTHREAD_MUTEX_ROBUST);
}

static int acquire_mutex(void *lock)
{
    return pthread_mutex_lock(lock);
}

static int release_mutex(void *lock)
{
    return pthread_mutex_unlock(lock);
}

static int prepare(const void *argument)
{
    own_kind = argument;
    own_arena = own_kind->libmp ? mp_shared_alloc(sizeof(*own_arena))
                                : bench_shared(sizeof(*own_arena));
    return own_arena ? own_kind->calls.make(&own_lock) : ENOMEM;
}

static int alone_round(const void *argument, double *figures)
{
    const struct kind *kind = argument;

    return bench_lock_alone(&kind->calls, own_lock, bench_size(1000000, 1000), figures);
}

/* One contender, in a process of its own. */
static int contend(void *arg)
{
    size_t index = *(const size_t *)arg;
    unsigned long done = 0;
    int failures = 0;

    atomic_fetch_add(&own_arena->ready, 1);
    while (!atomic_load(&own_arena->go))
        bench_sleep(0.0001);
    while (!atomic_load_explicit(&own_arena->stop, memory_order_relaxed)) {
        failures |= own_kind->calls.acquire(own_lock);
        own_arena->counter++;
        failures |= own_kind->calls.release(own_lock);
        done++;
    }
    own_arena->contenders[index].done = done;
    own_arena->contenders[index].error = failures;
    return failures != 0;
}

static double let_contend(void)
{
    while (atomic_load(&own_arena->ready) < CONTENDERS)
        bench_sleep(0.001);
    double before = bench_now();
    atomic_store(&own_arena->go, true);
    bench_sleep(bench_is_quick() ? QUICK_TIME : CONTEST_TIME);
    atomic_store(&own_arena->stop, true);
    return bench_now() - before;
}

static int contend_in_libmp(double *elapsed)
{
    mp_process *processes[CONTENDERS] = {NULL};
    int err = 0;

    for (size_t i = 0; i < CONTENDERS && !err; i++) {
        err = mp_process_new(&processes[i], contend, &i, NULL);
        if (!err)
            err = mp_process_start(processes[i]);
    }
    if (err)
        return err;
    *elapsed = let_contend();
    for (size_t i = 0; i < CONTENDERS; i++) {
        if (!err)
            err = mp_process_join(processes[i], MP_FOREVER);
        mp_process_free(processes[i]);
    }
    return err;
}

static int contend_in_forks(double *elapsed)
{
    for (size_t i = 0; i < CONTENDERS; i++) {
        pid_t pid = fork();

        if (pid < 0)
            return errno;
        if (pid == 0)
            _exit(contend(&i));
    }
    *elapsed = let_contend();
    for (size_t i = 0; i < CONTENDERS; i++)
        if (wait(NULL) < 0)
            return errno;
    return 0;
}

static int judge(double elapsed, double *figures)
{
    unsigned long sum = 0, least = 0, most = 0;

    for (size_t i = 0; i < CONTENDERS; i++) {
        unsigned long done = own_arena->contenders[i].done;

        if (own_arena->contenders[i].error)
            return own_arena->contenders[i].error;
        sum += done;
        most = done > most ? done : most;
        least = i == 0 || done < least ? done : least;
    }
    figures[0] = (double)sum / elapsed;
    figures[1] = most ? (double)least / (double)most : 0;
    return sum == own_arena->counter ? 0 : BENCH_WRONG;
}

static int contended_round(const void *argument, double *figures)
{
    const struct kind *kind = argument;
    double elapsed = 0;

    own_arena->counter = 0;
    memset(own_arena->contenders, 0, sizeof(own_arena->contenders));
    atomic_store(&own_arena->ready, 0);
    atomic_store(&own_arena->go, false);
    atomic_store(&own_arena->stop, false);
    int err = kind->libmp ? contend_in_libmp(&elapsed) : contend_in_forks(&elapsed);
    return err ? err : judge(elapsed, figures);
}

static const struct kind libmp_kind = {{make_libmp, acquire_libmp, release_libmp},
                                       true};
static const struct kind semaphore_kind = {
    {make_semaphore, acquire_semaphore, release_semaphore}, false};
static const struct kind robust_kind = {{make_robust, acquire_mutex, release_mutex},
                                        false};
static const struct kind mutex_kind = {{make_mutex, acquire_mutex, release_mutex},
                                       false};

static const bench_contestant alone[] = {
    {"libmp", prepare, alone_round, &libmp_kind},
    {"sem_t, shared", prepare, alone_round, &semaphore_kind},
    {"robust mutex, shared", prepare, alone_round, &robust_kind},
    {"mutex, shared", prepare, alone_round, &mutex_kind},
};

static const bench_row alone_rows[] = {
    {"lock: acquire and release, alone", "ns", 0, 1, 0, BENCH_AT_MOST, 1.0},
    {"lock: acquire and release, alone", "ns", 0, 2, 0, BENCH_AT_MOST, 0.7},
    {"lock: acquire and release, alone", "ns", 0, 3, 0, BENCH_INFO, 0},
};

static const bench_contestant contended[] = {
    {"libmp", prepare, contended_round, &libmp_kind},
    {"mutex, shared", prepare, contended_round, &mutex_kind},
    {"sem_t, shared", prepare, contended_round, &semaphore_kind},
    {"robust mutex, shared", prepare, contended_round, &robust_kind},
};

static const bench_row contended_rows[] = {
    {"lock: 8 processes contend", "M/s", 0, 1, 0, BENCH_AT_LEAST, 1.0},
    {"lock: 8 processes contend", "M/s", 0, 2, 0, BENCH_INFO, 0},
    {"lock: 8 processes contend", "M/s", 0, 3, 0, BENCH_INFO, 0},
    {"lock: slowest to fastest of the 8", "", 0, BENCH_NOBODY, 1, BENCH_AT_LEAST, 0.25},
    {"lock: slowest to fastest of the 8", "", 0, 1, 1, BENCH_INFO, 0},
};

const bench_contest bench_lock_contests[] = {
    BENCH_CONTEST("lock alone", alone, alone_rows, 0),
    BENCH_CONTEST("lock contended", contended, contended_rows, 0),
    {.name = NULL},
};
