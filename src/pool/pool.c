/* SPDX-License-Identifier: MIT */
/* pool.c - the client's side of a pool's life: new, close, terminate, join, free. */
#include "pool/pool.h"

#include <errno.h>
#include <mp/context.h>
#include <mp/shared.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "pool/job.h"
#include "pool/result.h"
#include "pool/trace.h"
#include "proc/fork.h"
#include "shm/member.h"
#include "sync/park.h"

/* What the supervisor has beyond the grace time of its workers, or else it is killed. */
#define SUPERVISOR_GRACE_MS 700
/* Workers whose supervisor died are being killed by the kernel. */
#define ORPHAN_GRACE_NS (2000 * MP__MILLISECOND)

/* This process's pools, for exit.  A forked child sees its parent's, by their epoch. */
static mp_pool *pools;
static pthread_mutex_t pools_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned pools_epoch;

static void lock_pools(void)
{
    if (pools_epoch != mp__fork_epoch) {
        /* Another thread of the parent may have held the mutex at the fork. */
        pthread_mutex_init(&pools_mutex, NULL);
        pools = NULL;
        pools_epoch = mp__fork_epoch;
    }
    pthread_mutex_lock(&pools_mutex);
}

static void exit_pools(void)
{
    lock_pools();
    mp_pool *pool = pools;
    pthread_mutex_unlock(&pools_mutex);

    for (; pool; pool = pool->next)
        if (pool->serial)
            mp__serial_exit(pool);
        else
            mp_pool_terminate(pool);
}

static void link_pool(mp_pool *pool)
{
    lock_pools();
    mp__exit_pools = exit_pools;
    pool->next = pools;
    pool->link = &pools;
    if (pools)
        pools->link = &pool->next;
    pools = pool;
    pthread_mutex_unlock(&pools_mutex);
}

static void unlink_pool(mp_pool *pool)
{
    lock_pools();
    *pool->link = pool->next;
    if (pool->next)
        pool->next->link = pool->link;
    pthread_mutex_unlock(&pools_mutex);
}

int mp__pool_check(const mp_pool *pool)
{
    if (!pool)
        return EINVAL;
    return pool->epoch == mp__fork_epoch ? 0 : EPERM;
}

int mp__pool_accepts(const mp_pool *pool)
{
    return atomic_load_explicit(&pool->shared->state, memory_order_acquire) == MP__POOL_OPEN
               ? 0
               : EPIPE;
}

int mp__pool_feed_begin(mp_pool *pool)
{
    int err = mp__pool_accepts(pool);

    if (!err)
        atomic_fetch_add(&pool->shared->feeds, 1);
    return err;
}

void mp__pool_feed_end(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;

    if (atomic_fetch_sub(&shared->feeds, 1) == 1 && !mp__pool_takes(shared)) {
        /* The pool was closed meanwhile, and the workers have waited for this one. */
        mp__queue_ring_all(shared);
        mp__supervisor_ring(shared);
        if (pool->serial)
            mp__serial_close(pool);
    }
}

static void tell(const mp_pool *pool, const char *what)
{
    if (pool->serial)
        mp__log(MP_LOG_INFO, "serial pool %s", what);
    else
        mp__log(MP_LOG_INFO, "pool of %u workers (supervisor %d) %s",
                atomic_load(&pool->shared->wanted), (int)pool->supervisor_pid, what);
}

static void free_shared(struct mp__pool_shared *shared)
{
    if (!shared)
        return;
    mp__trace_free(shared);
    mp_shared_free(shared->workers);
    mp_shared_free((void *)shared->directory);
    mp_shared_free(shared);
}

/* Fill in what the caller has left to the library; EINVAL if that can't be. */
static int complete_options(mp_pool_options *options)
{
    if (!options->processes)
        options->processes = mp_cpu_count();
    if (!options->max_processes)
        options->max_processes = options->processes;
    if (!options->grace_ms)
        options->grace_ms = 100;
    if (!options->death_window_ms)
        options->death_window_ms = 10000;
    if (!options->max_deaths)
        options->max_deaths = 100 + 4 * options->processes;
    bool makes_sense =
        options->max_processes >= options->processes &&
        options->max_processes <= MP__WORKERS_MAX && options->time_limit_ms >= 0 &&
        options->soft_time_limit_ms >= 0 && options->grace_ms >= 0 &&
        options->idle_timeout_ms >= 0 && options->death_window_ms >= 0 &&
        !options->reserved;
    return makes_sense ? 0 : EINVAL;
}

/* Places: one for each worker, and spare ones if workers are replaced beforehand. */
static unsigned count_places(const mp_pool_options *options)
{
    unsigned spare = options->max_tasks_per_child ? 1 + options->max_processes / 16 : 0;

    return options->max_processes + spare;
}

static int new_shared(struct mp__pool_shared **out, const mp_pool_options *options)
{
    struct mp__pool_shared *shared = mp_shared_alloc(sizeof(*shared));
    if (!shared)
        return ENOMEM;
    unsigned places = count_places(options);
    shared->workers = mp_shared_alloc(places * sizeof(struct mp__worker));
    shared->directory = mp_shared_alloc(MP__DIRECTORY_SIZE * sizeof(void *));
    if (!shared->workers || !shared->directory) {
        free_shared(shared);
        return ENOMEM;
    }
    shared->place_count = places;
    shared->idle_words = (places + 63) / 64;
    shared->open_size = places < MP__OPEN_MAPS ? places : MP__OPEN_MAPS;
    shared->client_pid = getpid();
    shared->client = mp__self;
    shared->options = *options;
    shared->heed[0] = shared->heed[1] = -1;
    shared->wanted = options->processes;
    shared->resting = options->lazy ? options->processes : 0;
    *out = shared;
    return 0;
}

void mp__pool_release(mp_pool *pool)
{
    pool->results--;
    bool last = pool->freed && pool->results == 0;
    pthread_mutex_unlock(&pool->mutex);
    if (last)
        mp__pool_destroy(pool);
}

void mp__pool_destroy(mp_pool *pool)
{
    bool own = pool->epoch == mp__fork_epoch;

    while (own && pool->idle_jobs) {
        struct mp__job *job = pool->idle_jobs;
        pool->idle_jobs = job->next;
        mp__job_free(job);
    }
    if (own) {
        mp__heed_close(pool);
        mp__queue_free(pool);
        free_shared(pool->shared);
        pthread_mutex_destroy(&pool->mutex);
        mp__serial_free(pool);
    }
    free(pool->segments);
    free(pool->spare);
    free(pool);
}

static int new_client(mp_pool **out, const mp_pool_options *options)
{
    mp_pool *pool = mp__sys_calloc(1, sizeof(*pool));
    if (!pool)
        return ENOMEM;
    pool->epoch = mp__fork_epoch;
    pool->life = -1;
    pool->silence = -1;
    pthread_mutex_init(&pool->mutex, NULL);
    pool->segments = mp__sys_calloc(MP__DIRECTORY_SIZE, sizeof(*pool->segments));
    pool->spare = mp__sys_calloc(MP__DIRECTORY_SIZE, sizeof(void *));
    int err = pool->segments && pool->spare ? new_shared(&pool->shared, options) : ENOMEM;
    if (err) {
        mp__pool_destroy(pool);
        return err;
    }
    *out = pool;
    return 0;
}

static int start_supervisor(mp_pool *pool)
{
    int pipe[2];
    int err = mp__fork_pipe(pipe);
    if (err)
        return err;

    err = mp__heed_open(pool);
    if (!err) {
        const int passed[] = {pipe[0], pool->shared->heed[1]};
        mp__flush();
        err = mp__fork(&pool->supervisor_pid, NULL, passed, 2);
    }
    if (err)
        mp__fork_close(&pipe[1]);
    else if (pool->supervisor_pid == 0)
        mp__supervisor_main(pool->shared, pipe[0]);
    mp__fork_close(&pipe[0]);
    mp__heed_forked(pool);
    pool->life = pipe[1];
    return err;
}

/* Wait until the supervisor has said how the start went. */
static int wait_until_started(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;
    struct mp__sleep sleep = mp__sleep_until(MP__NEVER);

    while (!atomic_load(&shared->started)) {
        if (mp__child_wait(pool->supervisor_pid, 0) != ETIMEDOUT)
            return EOWNERDEAD;
        mp__park(&sleep, &shared->started, 0, atomic_load(&shared->supervisor));
    }
    return shared->start_error;
}

static void nap(void)
{
    mp__poll_one(-1, 0, mp__now() + MP__MILLISECOND);
}

/* An orphan of the supervisor becomes a child of this process if it is a subreaper. */
static void reap_orphan(pid_t pid, int64_t deadline)
{
    while (waitpid(pid, NULL, WNOHANG) == 0 && mp__now() < deadline)
        nap();
}

/* After the supervisor: wait until no worker is left, and settle what they had. */
static void settle_orphans(mp_pool *pool, mp_failure_kind kind)
{
    struct mp__pool_shared *shared = pool->shared;
    int64_t deadline = mp__now() + ORPHAN_GRACE_NS;

    mp_task_failure death = {
        .error = mp__failure_error(kind), .exitcode = -SIGKILL, .kind = kind};

    for (unsigned i = 0; i < shared->place_count; i++) {
        struct mp__worker *worker = &shared->workers[i];
        uint64_t member = atomic_load(&worker->member);
        pid_t pid = atomic_load(&worker->pid);
        while (member && pid && !mp__member_is_dead(member)) {
            if (mp__now() > deadline)
                kill(pid, SIGKILL);
            nap();
        }
        death.pid = pid;
        if (pid)
            mp__settle_worker(shared, i, &death);
        if (member && pid)
            mp__member_bury(member);
        if (pid)
            reap_orphan(pid, deadline);
        atomic_store(&worker->pid, 0);
    }
    mp__settle_tell(shared);
}

/* The supervisor has ended: settle the rest, and reap it. */
static void finish(mp_pool *pool, mp_failure_kind kind)
{
    int exitcode;

    pthread_mutex_lock(&pool->mutex);
    if (!pool->ended) {
        settle_orphans(pool, kind);
        mp__settle_all(pool, kind);
        mp__child_reap(pool->supervisor_pid, &exitcode);
        mp__fork_close(&pool->life);
        pool->ended = true;
    }
    pthread_mutex_unlock(&pool->mutex);
}

int mp_pool_new(mp_pool **out, const mp_pool_options *options)
{
    mp_pool_options known;
    int err = out ? mp__options_read(&known, sizeof(known), options) : EINVAL;
    if (!err)
        err = complete_options(&known);
    if (!err)
        err = mp__join();
    if (err)
        return err;
    mp__sync_init();
    mp__spin_cpus(); /* asked here once, for all the processes to come */

    mp_pool *pool;
    err = new_client(&pool, &known);
    if (err)
        return err;
    mp__trace_prepare(pool->shared);
    err = mp__serial_wanted() ? mp__serial_start(pool) : start_supervisor(pool);
    if (err) {
        mp__pool_destroy(pool);
        return err;
    }
    link_pool(pool);
    err = wait_until_started(pool);
    if (err) {
        mp__log(MP_LOG_ERROR, "no pool: %s", mp_strerror(err));
        mp_pool_free(pool);
        return err;
    }
    tell(pool, "made");
    *out = pool;
    return 0;
}

void mp__pool_watch(mp_pool *pool)
{
    struct mp__pool_shared *shared = pool->shared;
    uint32_t open = MP__POOL_OPEN;

    if (pool->ended || pool->serial ||
        !mp__member_is_dead(atomic_load(&shared->supervisor)))
        return;
    mp__child_wait(pool->supervisor_pid, MP__NEVER);
    /* A pool that is closed and fed by an imap would go on being fed. */
    uint32_t closed = MP__POOL_CLOSED;
    if (!atomic_compare_exchange_strong(&shared->state, &open, MP__POOL_BROKEN) &&
        mp__pool_takes(shared))
        atomic_compare_exchange_strong(&shared->state, &closed, MP__POOL_BROKEN);
    uint32_t state = atomic_load(&shared->state);
    if (state == MP__POOL_BROKEN)
        mp__log(MP_LOG_ERROR, "pool (supervisor %d) broken: %s", (int)pool->supervisor_pid,
                *shared->reason ? shared->reason : "the supervisor died");
    finish(pool, state == MP__POOL_TERMINATED ? MP_FAILURE_CANCELLED : MP_FAILURE_POOL);
}

int mp_pool_resize(mp_pool *pool, unsigned processes)
{
    int err = mp__pool_check(pool);
    if (err)
        return err;
    if (!processes || processes > pool->shared->options.max_processes)
        return EINVAL;
    err = mp__pool_accepts(pool);
    if (err)
        return err;
    atomic_store(&pool->shared->wanted, processes);
    tell(pool, "resized");
    mp__supervisor_ring(pool->shared);
    return 0;
}

int mp_pool_close(mp_pool *pool)
{
    uint32_t open = MP__POOL_OPEN;
    int err = mp__pool_check(pool);
    if (err)
        return err;
    pthread_mutex_lock(&pool->mutex);
    bool closed =
        atomic_compare_exchange_strong(&pool->shared->state, &open, MP__POOL_CLOSED);
    pthread_mutex_unlock(&pool->mutex);
    if (closed && pool->serial)
        mp__serial_close(pool);
    if (closed) {
        tell(pool, "closed");
        mp__queue_ring_all(pool->shared);
        mp__supervisor_ring(pool->shared);
    }
    return 0;
}

int mp_pool_terminate(mp_pool *pool)
{
    int err = mp__pool_check(pool);
    if (err || pool->ended)
        return err;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->shared->state, MP__POOL_TERMINATED);
    pthread_mutex_unlock(&pool->mutex);
    tell(pool, "terminated");
    if (pool->serial) {
        mp__serial_terminate(pool);
        return 0;
    }
    mp__supervisor_ring(pool->shared);
    int64_t grace_ms = (int64_t)pool->shared->options.grace_ms + SUPERVISOR_GRACE_MS;
    int64_t deadline = mp__now() + grace_ms * MP__MILLISECOND;
    if (mp__child_wait(pool->supervisor_pid, deadline) == ETIMEDOUT) {
        kill(pool->supervisor_pid, SIGKILL);
        mp__child_wait(pool->supervisor_pid, MP__NEVER);
    }
    finish(pool, MP_FAILURE_CANCELLED);
    return 0;
}

int mp_pool_join(mp_pool *pool, int timeout_ms)
{
    int64_t deadline;
    int err = mp__pool_check(pool);
    if (err)
        return err;
    err = mp__deadline(timeout_ms, &deadline);
    if (err || pool->ended)
        return err;
    if (!mp__pool_accepts(pool) || (mp__pool_takes(pool->shared) && pool->imaps))
        return EBUSY;
    if (mp__map_is_feeding(pool))
        return EDEADLK;
    if (pool->serial)
        return mp__serial_join(pool, deadline);
    if (mp__child_wait(pool->supervisor_pid, deadline) == ETIMEDOUT)
        return ETIMEDOUT;
    finish(pool, MP_FAILURE_POOL);
    return 0;
}

void mp_pool_free(mp_pool *pool)
{
    if (!pool)
        return;
    if (pool->epoch != mp__fork_epoch) {
        pool->freed = true;
        if (!pool->results)
            mp__pool_destroy(pool);
        return;
    }
    mp_pool_terminate(pool);
    unlink_pool(pool);
    mp__callbacks_drop(pool);
    mp__heed_close(pool);
    pthread_mutex_lock(&pool->mutex);
    pool->freed = true;
    pool->results++;
    mp__pool_release(pool);
}
