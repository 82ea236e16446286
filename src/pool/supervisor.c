/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c - the process between the client and the workers: forks them, settles and
 * replaces those that die, and ends them all.
 *
 * It has one thread, runs no code of the host, and sleeps until a worker dies (SIGCHLD),
 * the client rings, or a worker has run its initializer.  When the client dies it is
 * killed through its life pipe, and the workers with it by their parent's death.
 */
#include "pool/pool.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proc/fork.h"
#include "shm/member.h"
#include "sync/park.h"

/* What workers are given between SIGTERM and SIGKILL. */
#define GRACE_NS (100 * MP__MILLISECOND)
/* How soon after a death at birth, or a failed fork, the next try comes: doubled, ... */
#define RETRY_FIRST_NS (10 * MP__MILLISECOND)
#define RETRY_MOST_NS (1000 * MP__MILLISECOND)

struct supervisor {
    struct mp__pool_shared *shared;
    int life;         /* of the workers: they die when this process does */
    pid_t pid;
    unsigned alive;
    unsigned wanted;   /* places that are to be filled */
    int64_t retry_at;  /* not before that */
    int64_t retry_ns;
};

static struct mp__pool_shared *rung_for; /* for the handler */

static void on_child(int signal)
{
    int saved = errno;

    (void)signal;
    atomic_store(&rung_for->supervisor_bell, 1);
    mp__unpark(&rung_for->supervisor_bell, 1);
    errno = saved;
}

/* The host's handlers must not run here, nor in workers. */
static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigemptyset(&action.sa_mask);
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = on_child;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    sigaction(SIGCHLD, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void be_worker(struct supervisor *self, unsigned worker)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    char name[32];

    mp__die_with_parent(self->pid, self->life);
    snprintf(name, sizeof(name), "PoolWorker-%u", worker + 1);
    mp__process_become(name, true);
    sigemptyset(&action.sa_mask);
    sigaction(SIGCHLD, &action, NULL);
    if (mp__join())
        _exit(1);
    atomic_store(&self->shared->workers[worker].member, mp__self);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    mp__worker_main(self->shared, worker);
}

static int start_worker(struct supervisor *self, unsigned place)
{
    struct mp__worker *worker = &self->shared->workers[place];
    pid_t pid;

    atomic_store(&worker->member, 0);
    atomic_store(&worker->ready, 0);
    atomic_store(&worker->leaving, 0);
    atomic_store(&worker->bell, 0);
    int err = mp__fork_passing(&pid, NULL, &self->life, 1);
    if (err)
        return err;
    if (pid == 0)
        be_worker(self, place);
    atomic_store(&worker->pid, pid);
    self->alive++;
    self->wanted--;
    return 0;
}

/* Fill every empty place, unless the last try was a failure not long ago. */
static int start_workers(struct supervisor *self)
{
    if (!self->wanted || mp__now() < self->retry_at)
        return 0;
    for (unsigned i = 0; i < self->shared->worker_count && self->wanted; i++) {
        if (atomic_load(&self->shared->workers[i].pid))
            continue;
        int err = start_worker(self, i);
        if (err) {
            self->retry_at = mp__now() + self->retry_ns;
            return err;
        }
    }
    return 0;
}

static bool has_place(const struct supervisor *self, pid_t pid, unsigned *place)
{
    for (unsigned i = 0; i < self->shared->worker_count; i++)
        if (atomic_load(&self->shared->workers[i].pid) == pid) {
            *place = i;
            return true;
        }
    return false;
}

/* Wait twice as long each time that workers die before they are ready. */
static void back_off(struct supervisor *self, bool was_ready)
{
    if (was_ready) {
        self->retry_ns = RETRY_FIRST_NS;
        return;
    }
    self->retry_at = mp__now() + self->retry_ns;
    if (self->retry_ns < RETRY_MOST_NS)
        self->retry_ns *= 2;
}

/* A worker has died and is a zombie still: its pid can't be reused before all is done. */
static void bury_worker(struct supervisor *self, pid_t pid, int exitcode)
{
    struct mp__pool_shared *shared = self->shared;
    unsigned place;

    if (!has_place(self, pid, &place)) {
        mp__child_reap(pid, &exitcode);
        return;
    }
    struct mp__worker *worker = &shared->workers[place];
    bool ready = atomic_load(&worker->ready) && !worker->initializer_error;
    bool left = atomic_load(&worker->leaving);

    mp__settle_worker(shared, place, pid, exitcode);
    atomic_store(&worker->pid, 0);
    mp__child_reap(pid, &exitcode);
    self->alive--;
    if (!left || mp__queue_has_work(shared))
        self->wanted++;
    back_off(self, ready);
}

static void bury_workers(struct supervisor *self)
{
    siginfo_t info;

    for (;;) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
            return;
        bury_worker(self, info.si_pid,
                    info.si_code == CLD_EXITED ? info.si_status : -info.si_status);
    }
}

static void signal_workers(const struct supervisor *self, int signal)
{
    for (unsigned i = 0; i < self->shared->worker_count; i++) {
        pid_t pid = atomic_load(&self->shared->workers[i].pid);
        if (pid)
            kill(pid, signal);
    }
}

static void nap(struct supervisor *self, int64_t deadline)
{
    struct mp__sleep sleep = mp__sleep_until(deadline);

    while (!atomic_load(&self->shared->supervisor_bell))
        if (mp__park(&sleep, &self->shared->supervisor_bell, 0, self->shared->client) ||
            getppid() != self->shared->client_pid)
            break;
    atomic_store(&self->shared->supervisor_bell, 0);
}

static _Noreturn void end_workers(struct supervisor *self)
{
    int64_t deadline = mp__now() + GRACE_NS;

    signal_workers(self, SIGTERM);
    bury_workers(self);
    while (self->alive && mp__now() < deadline) {
        nap(self, deadline);
        bury_workers(self);
    }
    signal_workers(self, SIGKILL);
    while (self->alive) {
        nap(self, mp__now() + GRACE_NS);
        bury_workers(self);
    }
    _exit(0);
}

/* Tell mp_pool_new how the start went, once. */
static void report_start(struct supervisor *self, int err)
{
    if (atomic_load(&self->shared->started))
        return;
    self->shared->start_error = err;
    atomic_store(&self->shared->started, 1);
    mp__unpark(&self->shared->started, 1);
}

/* 0 once all workers are ready, -1 while they are not, or what went wrong. */
static int check_start(const struct supervisor *self)
{
    bool ready = true;

    for (unsigned i = 0; i < self->shared->worker_count; i++) {
        const struct mp__worker *worker = &self->shared->workers[i];
        if (atomic_load(&worker->ready) && worker->initializer_error)
            return worker->initializer_error;
        if (!atomic_load(&worker->pid))
            return EOWNERDEAD;
        ready = ready && atomic_load(&worker->ready);
    }
    return ready ? 0 : -1;
}

static void start(struct supervisor *self)
{
    int err = start_workers(self);

    if (!err && self->shared->initializer) {
        for (;;) {
            bury_workers(self);
            err = check_start(self);
            if (err >= 0)
                break;
            nap(self, MP__NEVER);
        }
    }
    if (err) {
        atomic_store(&self->shared->state, MP__POOL_TERMINATED);
        signal_workers(self, SIGKILL);
    }
    report_start(self, err);
}

void mp__supervisor_main(struct mp__pool_shared *shared, int life)
{
    struct supervisor self = {.shared = shared,
                              .pid = getpid(),
                              .wanted = shared->worker_count,
                              .retry_ns = RETRY_FIRST_NS};

    rung_for = shared;
    reset_signals();
    mp__die_with_pipe(life);
    int pipe[2] = {-1, -1};
    int err = mp__join();
    if (!err)
        err = mp__fork_pipe(pipe);
    if (err) {
        report_start(&self, err);
        _exit(1);
    }
    self.life = pipe[0];
    atomic_store(&shared->supervisor, mp__self);
    start(&self);
    for (;;) {
        bury_workers(&self);
        uint32_t state = atomic_load(&shared->state);
        bool orphaned = getppid() != shared->client_pid;
        if (orphaned)
            signal_workers(&self, SIGKILL);
        if (orphaned || state == MP__POOL_TERMINATED)
            end_workers(&self);
        if (state == MP__POOL_CLOSED && !self.alive && !self.wanted)
            _exit(0);
        start_workers(&self);
        nap(&self, self.wanted ? self.retry_at : MP__NEVER);
    }
}
