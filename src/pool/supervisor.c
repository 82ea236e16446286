/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c - the supervisor's life: start, duties in turn, end.
 *
 * It has one thread, runs no code of the host, and sleeps until a worker dies (SIGCHLD),
 * somebody rings, or the time of an item is over.  When the client dies it is killed
 * through its life pipe, and the workers with it by their parent's death.
 */
#include "pool/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "proc/fork.h"
#include "shm/member.h"
#include "sync/park.h"

/* Half of the time that work may wait for a worker that was to see it on its own, and much
   longer than a worker spins. */
#define RELIEVE_NS (20 * MP__MILLISECOND)
#define RELIEVE_WOKEN_NS (1000 * MP__MILLISECOND) /* for one that was woken */

static struct mp__pool_shared *rung_for; /* for the handler */

void mp__supervisor_ring(struct mp__pool_shared *shared)
{
    atomic_store(&shared->supervisor_bell, 1);
    mp__unpark(&shared->supervisor_bell, 1);
}

static void on_child(int signal)
{
    int saved = errno;

    (void)signal;
    mp__supervisor_ring(rung_for);
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

static void nap(struct mp__supervisor *self, int64_t deadline)
{
    struct mp__sleep sleep = mp__sleep_until(deadline);

    sleep.idles = true; /* SIGCHLD wakes it, and the end of the client's pipe kills it */
    while (!atomic_load(&self->shared->supervisor_bell))
        if (mp__park(&sleep, &self->shared->supervisor_bell, 0, self->shared->client) ||
            getppid() != self->shared->client_pid)
            break;
    atomic_store(&self->shared->supervisor_bell, 0);
}

static _Noreturn void end_workers(struct mp__supervisor *self)
{
    int64_t grace = self->shared->options.grace_ms * MP__MILLISECOND;
    int64_t deadline = mp__now() + grace;

    mp__staff_signal(self, SIGTERM);
    mp__staff_bury(self);
    while (self->alive && mp__now() < deadline) {
        nap(self, deadline);
        mp__staff_bury(self);
    }
    mp__staff_signal(self, SIGKILL);
    while (self->alive) {
        nap(self, mp__now() + grace);
        mp__staff_bury(self);
    }
    _exit(0);
}

/* Tell mp_pool_new how the start went, once. */
static void report_start(struct mp__supervisor *self, int err)
{
    if (atomic_load(&self->shared->started))
        return;
    self->shared->start_error = err;
    atomic_store(&self->shared->started, 1);
    mp__unpark(&self->shared->started, 1);
}

/* 0 once all workers are ready, -1 while they are not, or what went wrong. */
static int check_start(const struct mp__supervisor *self)
{
    unsigned ready = 0;

    for (unsigned i = 0; i < self->shared->place_count; i++) {
        const struct mp__worker *worker = &self->shared->workers[i];
        if (atomic_load(&worker->ready) && worker->initializer_error)
            return worker->initializer_error;
        ready += atomic_load(&worker->pid) && atomic_load(&worker->ready);
    }
    if (atomic_load(&self->shared->deaths))
        return EOWNERDEAD;
    /* Who idles for long may have left again. */
    ready += atomic_load(&self->shared->resting);
    return ready >= atomic_load(&self->shared->wanted) ? 0 : -1;
}

static void start(struct mp__supervisor *self)
{
    int err = mp__staff_fill(self);

    if (!err && self->shared->options.initializer && !self->shared->options.lazy) {
        for (;;) {
            mp__staff_bury(self);
            err = check_start(self);
            if (err >= 0)
                break;
            nap(self, MP__NEVER);
        }
    }
    if (err) {
        atomic_store(&self->shared->state, MP__POOL_TERMINATED);
        mp__staff_signal(self, SIGKILL);
    }
    report_start(self, err);
}

/*
 * Work was left to who spins for it, or to who was woken for it.  That is nearly always
 * right; a look once in a while costs nothing, and finds out if that one was stopped.
 */
static int64_t relieve(struct mp__supervisor *self)
{
    int64_t now = mp__now();

    if (atomic_load(&self->shared->relied) && self->relieve_at > now + RELIEVE_NS)
        self->relieve_at = now + RELIEVE_NS;
    if (now < self->relieve_at)
        return self->relieve_at;
    self->relieve_at = now + RELIEVE_WOKEN_NS;
    self->spinner = mp__queue_relieve(self->shared, self->spinner);
    return self->relieve_at;
}

/* Do what is to be done now; when there will be more. */
static int64_t do_duties(struct mp__supervisor *self)
{
    mp__staff_bury(self);
    if (atomic_exchange(&self->shared->nudged, 0))
        mp__pool_tell(self->shared);

    uint32_t state = atomic_load(&self->shared->state);
    bool orphaned = getppid() != self->shared->client_pid;
    if (orphaned || state == MP__POOL_BROKEN)
        mp__staff_signal(self, SIGKILL);
    if (orphaned || state == MP__POOL_TERMINATED || state == MP__POOL_BROKEN)
        end_workers(self);
    mp__staff_fill(self);
    if (state == MP__POOL_CLOSED && !mp__pool_takes(self->shared) && !self->alive &&
        !mp__queue_has_work(self->shared))
        _exit(0);
    int64_t next = mp__watch(self), look = relieve(self);
    if (look < next)
        next = look;
    return self->fill_at < next ? self->fill_at : next;
}

void mp__supervisor_main(struct mp__pool_shared *shared, int life)
{
    struct mp__supervisor self = {
        .shared = shared,
        .pid = getpid(),
        .charges = mp__sys_calloc(shared->place_count, sizeof(struct mp__charge)),
        .retry_ns = MP__RETRY_FIRST_NS,
        .relieve_at = mp__now() + RELIEVE_WOKEN_NS,
    };

    rung_for = shared;
    mp__log_name = "PoolSupervisor";
    reset_signals();
    mp__child_hook_exit(); /* of the workers */
    mp__show_name("PoolSupervisor");
    mp__die_with_pipe(life);
    if (shared->heed[1] >= 0)
        mp__fork_keep(shared->heed[1]);
    int pipe[2] = {-1, -1};
    int err = self.charges ? mp__join() : ENOMEM;
    if (!err)
        err = mp__fork_pipe(pipe);
    if (err) {
        report_start(&self, err);
        _exit(1);
    }
    self.life = pipe[0];
    atomic_store(&shared->supervisor, mp__self);
    start(&self);
    for (;;)
        nap(&self, do_duties(&self));
}
