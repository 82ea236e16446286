/* SPDX-License-Identifier: MIT */
/*
 * staff.c - as many workers as there should be: forked, replaced, sent away, buried.
 *
 * A worker that is about to have run all the items it may, is replaced beforehand: the
 * new one is on standby in a spare place until the old one has left, so that there are
 * never more at work than there should be, and no time without.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/sys.h"
#include "pool/supervisor.h"
#include "proc/fork.h"
#include "shm/member.h"
#include "sync/park.h"

/* The most that the time before the next try is doubled to. */
#define RETRY_MOST_NS (200 * MP__MILLISECOND)

static struct mp__worker *worker_in(const struct mp__supervisor *self, unsigned place)
{
    return &self->shared->workers[place];
}

/* Forking */

static void limit_memory(size_t bytes)
{
    struct rlimit limit;

    if (!bytes || getrlimit(RLIMIT_DATA, &limit))
        return;
    if (limit.rlim_max == RLIM_INFINITY || bytes < limit.rlim_max)
        limit.rlim_max = (rlim_t)bytes;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_DATA, &limit);
}

static _Noreturn void be_worker(struct mp__supervisor *self, unsigned place,
                                const char *name)
{
    const mp_pool_options *options = &self->shared->options;
    struct sigaction action = {.sa_handler = SIG_DFL};

    mp__die_with_parent(self->pid, self->life);
    if (self->shared->heed[1] >= 0)
        mp__fork_keep(self->shared->heed[1]);
    mp__process_become(name, true);
    mp__show_name(name);
    /* The supervisor may be killed before it says so. */
    atomic_store(&worker_in(self, place)->pid, getpid());
    sigemptyset(&action.sa_mask);
    sigaction(SIGCHLD, &action, NULL);
    if (mp__join())
        _exit(1);
    atomic_store(&worker_in(self, place)->member, mp__self);
    if (options->pin)
        mp__cpu_pin(place);
    limit_memory(options->memory_limit);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    mp__worker_main(self->shared, place);
}

/*
 * How many items have been run in a place when its new worker is to leave.  Those of the
 * first generation run fewer, each another number, so that not all are replaced at the
 * same time.
 */
static uint64_t items_most(const struct mp__supervisor *self, unsigned place, bool first)
{
    uint64_t most = self->shared->options.max_tasks_per_child;
    uint64_t done = atomic_load(&worker_in(self, place)->done);

    if (first)
        most -= most / 2 / self->shared->place_count * place;
    return most && most < UINT64_MAX - done ? done + most : UINT64_MAX;
}

static int start_worker(struct mp__supervisor *self, unsigned place, bool standby)
{
    struct mp__worker *worker = worker_in(self, place);
    bool first = !standby && !atomic_load(&worker->done);
    pid_t pid;

    atomic_store(&worker->member, 0);
    atomic_store(&worker->ready, 0);
    atomic_store(&worker->leaving, MP__STAYS);
    atomic_store(&worker->bell, 0);
    atomic_store(&worker->surplus, 0);
    atomic_store(&worker->worn, 0);
    atomic_store(&worker->cancel, 0);
    atomic_store(&worker->returned, 0);
    atomic_store(&worker->standby, standby);
    worker->items_most = items_most(self, place, first);
    self->charges[place] = (struct mp__charge){0};
    /* Here and not in the worker, which would have to map what formats it. */
    char name[32];
    snprintf(name, sizeof(name), "PoolWorker-%u", place + 1);
    const int passed[] = {self->life, self->shared->heed[1]};
    int err = mp__fork(&pid, NULL, passed, 2);
    if (err)
        return err;
    if (pid == 0)
        be_worker(self, place, name);
    mp__log(MP_LOG_INFO, "%s forked, pid %d", name, (int)pid);
    atomic_store(&worker->pid, pid);
    self->alive++;
    return 0;
}

/* Not yet, if the last try failed a moment ago. */
static bool may_start(struct mp__supervisor *self)
{
    if (mp__now() >= self->retry_at)
        return true;
    self->fill_at = self->retry_at;
    return false;
}

/* Start a worker in any free place; EAGAIN if there is none. */
static int start_anywhere(struct mp__supervisor *self, bool standby)
{
    int err = EAGAIN;

    for (unsigned i = 0; i < self->shared->place_count; i++)
        if (!atomic_load(&worker_in(self, i)->pid)) {
            err = start_worker(self, i, standby);
            break;
        }
    if (err && !standby)
        self->fill_at = self->retry_at = mp__now() + self->retry_ns;
    return err;
}

/* As many as there should be */

struct headcount {
    unsigned at_work; /* or ready for it: all but the following, and the surplus */
    unsigned standby;
    unsigned worn; /* at work, and to be replaced soon */
};

static struct headcount count_heads(const struct mp__supervisor *self)
{
    struct headcount count = {0};

    for (unsigned i = 0; i < self->shared->place_count; i++) {
        const struct mp__worker *worker = worker_in(self, i);
        if (!atomic_load(&worker->pid) || atomic_load(&worker->surplus))
            continue;
        if (atomic_load(&worker->standby))
            count.standby++;
        else
            count.at_work++;
        count.worn += atomic_load(&worker->worn) != 0;
    }
    return count;
}

static bool promote(struct mp__supervisor *self)
{
    for (unsigned i = 0; i < self->shared->place_count; i++) {
        struct mp__worker *worker = worker_in(self, i);
        if (!atomic_load(&worker->pid) || !atomic_load(&worker->standby))
            continue;
        atomic_store(&worker->standby, 0);
        mp__unpark(&worker->standby, 1);
        return true;
    }
    return false;
}

static void send_away(struct mp__worker *worker)
{
    atomic_store(&worker->surplus, 1);
    atomic_store(&worker->standby, 0);
    mp__unpark(&worker->standby, 1);
    atomic_store(&worker->bell, 1);
    mp__unpark(&worker->bell, 1);
}

/* Send `count` workers away: those that do nothing first. */
static void shrink(struct mp__supervisor *self, unsigned count)
{
    for (int round = 0; round < 2; round++)
        for (unsigned i = self->shared->place_count; i-- > 0 && count;) {
            struct mp__worker *worker = worker_in(self, i);
            if (!atomic_load(&worker->pid) || atomic_load(&worker->surplus) ||
                (round == 0 && atomic_load(&worker->current)))
                continue;
            send_away(worker);
            count--;
        }
}

/* Workers that are about to look for work: new ones, and those that are just awake. */
static unsigned count_coming(const struct mp__supervisor *self)
{
    unsigned coming = 0;

    for (unsigned i = 0; i < self->shared->place_count; i++) {
        const struct mp__worker *worker = worker_in(self, i);
        coming += atomic_load(&worker->pid) && !atomic_load(&worker->current) &&
                  !atomic_load(&worker->surplus) && !atomic_load(&worker->standby) &&
                  !atomic_load(&worker->leaving);
    }
    return coming;
}

/* Those that had nothing to do come back when there is: one for each task that waits, or
   one more for a map.  Whoever takes one of several rings for the next. */
static void call_back(struct mp__supervisor *self, unsigned wanted)
{
    struct mp__pool_shared *shared = self->shared;
    uint32_t resting = atomic_load(&shared->resting);
    uint64_t map;

    if (resting > wanted)
        resting = wanted;
    if (resting && mp__open_lowest(shared, &map))
        resting--;
    if (resting) {
        uint64_t tail = atomic_load(&shared->tail), head = atomic_load(&shared->head);
        unsigned coming = count_coming(self);
        uint64_t lack = tail > head + coming ? tail - head - coming : 0;
        resting = lack < resting ? resting - (uint32_t)lack : 0;
    }
    atomic_store(&shared->resting, resting);
}

int mp__staff_fill(struct mp__supervisor *self)
{
    struct mp__pool_shared *shared = self->shared;
    bool open = mp__pool_takes(shared);
    unsigned wanted = atomic_load(&shared->wanted);
    int err = 0;

    self->fill_at = MP__NEVER;
    call_back(self, wanted);
    struct headcount heads = count_heads(self);
    if (heads.at_work + heads.standby > wanted + heads.worn) {
        shrink(self, heads.at_work + heads.standby - wanted - heads.worn);
        heads = count_heads(self);
    }
    if (!open && !mp__queue_has_work(shared))
        return 0;

    unsigned resting = atomic_load(&shared->resting);
    while (!err && heads.at_work + resting < wanted) {
        if (!promote(self)) {
            if (!may_start(self))
                return 0;
            err = start_anywhere(self, false);
        } else {
            heads.standby--;
        }
        heads.at_work++;
    }
    while (open && heads.standby < heads.worn && may_start(self) &&
           !start_anywhere(self, true))
        heads.standby++;
    return err;
}

/* Burying */

static bool has_place(const struct mp__supervisor *self, pid_t pid, unsigned *place)
{
    for (unsigned i = 0; i < self->shared->place_count; i++)
        if (atomic_load(&worker_in(self, i)->pid) == pid) {
            *place = i;
            return true;
        }
    return false;
}

static uint64_t items_done(const struct mp__supervisor *self)
{
    uint64_t done = 0;

    for (unsigned i = 0; i < self->shared->place_count; i++)
        done += atomic_load(&worker_in(self, i)->done);
    return done;
}

static void break_pool(struct mp__supervisor *self, const struct mp__worker *worker,
                       const mp_task_failure *last)
{
    struct mp__pool_shared *shared = self->shared;
    bool initialized = !atomic_load(&worker->ready) || !worker->initializer_error;
    const char *how = last->exitcode < 0 ? "signal" : "exit code";
    int code = last->exitcode < 0 ? -last->exitcode : last->exitcode;

    if (!initialized) {
        how = "the initializer returned";
        code = worker->initializer_error;
    }
    snprintf(shared->reason, sizeof(shared->reason),
             "%u workers died and no item was finished; the last of them: pid %d, %s %d",
             self->deaths, (int)last->pid, how, code);
    mp__log(MP_LOG_ERROR, "pool broken: %s", shared->reason);
    atomic_store(&shared->state, MP__POOL_BROKEN);
}

/*
 * A worker died that nobody has sent away: does that happen too often?  Those that die at
 * birth are forked less and less often, so that no window would ever see enough of them.
 */
static void count_death(struct mp__supervisor *self, const struct mp__worker *worker,
                        bool was_ready, const mp_task_failure *death)
{
    const mp_pool_options *options = &self->shared->options;
    int64_t window = options->death_window_ms * MP__MILLISECOND;
    int64_t now = mp__now();
    uint64_t done = items_done(self);

    if (done != self->done || (was_ready && now - self->deaths_since > window)) {
        self->deaths = 0;
        self->deaths_since = now;
        self->done = done;
    }
    atomic_fetch_add(&self->shared->deaths, 1);
    uint32_t state = atomic_load(&self->shared->state);
    if (++self->deaths >= options->max_deaths &&
        (state == MP__POOL_OPEN || state == MP__POOL_CLOSED))
        break_pool(self, worker, death);
}

/* Wait twice as long each time that workers die before they are ready. */
static void back_off(struct mp__supervisor *self, bool was_ready)
{
    if (was_ready) {
        self->retry_ns = MP__RETRY_FIRST_NS;
        return;
    }
    self->retry_at = mp__now() + self->retry_ns;
    if (self->retry_ns < RETRY_MOST_NS)
        self->retry_ns *= 2;
}

/* What is to be said of the item that a dead worker was at. */
static mp_task_failure describe(const struct mp__supervisor *self, unsigned place,
                                const mp_task_failure *death)
{
    mp_task_failure what = *death;
    uint32_t state = atomic_load(&self->shared->state);

    what.kind = self->charges[place].ending;
    if (state == MP__POOL_TERMINATED)
        what.kind = MP_FAILURE_CANCELLED;
    else if (state == MP__POOL_BROKEN)
        what.kind = MP_FAILURE_POOL;
    else if (!what.kind)
        what.kind = what.exitcode < 0 ? MP_FAILURE_DIED : MP_FAILURE_EXITED;
    what.error = mp__failure_error(what.kind);
    return what;
}

static void tell_end(const struct mp__supervisor *self, unsigned place,
                     const mp_task_failure *death, enum mp__leave left)
{
    static const char *const reasons[] = {
        [MP__LEAVES_CLOSED] = "the pool is closed",
        [MP__LEAVES_WORN] = "it is to be replaced",
        [MP__LEAVES_SURPLUS] = "there are too many",
        [MP__LEAVES_IDLE] = "it had nothing to do",
    };
    uint32_t state = atomic_load(&self->shared->state);
    bool wanted = state == MP__POOL_TERMINATED || state == MP__POOL_BROKEN;

    if (left)
        mp__log(MP_LOG_INFO, "PoolWorker-%u (pid %d) left: %s", place + 1, (int)death->pid,
                reasons[left]);
    else
        mp__log(wanted ? MP_LOG_INFO : MP_LOG_WARNING, "PoolWorker-%u (pid %d) died: %s %d",
                place + 1, (int)death->pid, MP__LOG_END(death->exitcode));
}

/* A worker has died and is a zombie still: its pid can't be reused before all is done. */
static void bury_worker(struct mp__supervisor *self, const mp_task_failure *death)
{
    struct mp__pool_shared *shared = self->shared;
    int exitcode;
    unsigned place;

    if (!has_place(self, death->pid, &place)) {
        mp__child_reap(death->pid, &exitcode);
        return;
    }
    struct mp__worker *worker = worker_in(self, place);
    bool ready = atomic_load(&worker->ready) && !worker->initializer_error;
    enum mp__leave left = atomic_load(&worker->leaving);
    mp_task_failure what = describe(self, place, death);

    tell_end(self, place, death, left);
    mp__settle_worker(shared, place, &what);
    atomic_store(&worker->pid, 0);
    mp__child_reap(death->pid, &exitcode);
    self->alive--;
    if (left == MP__LEAVES_IDLE)
        atomic_fetch_add(&shared->resting, 1);
    if (!left) {
        if (!self->charges[place].ending)
            count_death(self, worker, ready, death);
        back_off(self, ready);
    }
}

void mp__staff_bury(struct mp__supervisor *self)
{
    siginfo_t info;
    size_t max_rss;
    bool any = false;

    mp__member_hush(true);
    while (!mp__sys_zombie(&info, &max_rss)) {
        mp_task_failure death = {
            .pid = info.si_pid,
            .exitcode = info.si_code == CLD_EXITED ? info.si_status : -info.si_status,
            .max_rss = max_rss,
        };
        bury_worker(self, &death);
        any = true;
    }
    if (any)
        mp__settle_tell(self->shared);
    mp__member_hush(false);
}

void mp__staff_signal(const struct mp__supervisor *self, int signal)
{
    for (unsigned i = 0; i < self->shared->place_count; i++) {
        pid_t pid = atomic_load(&worker_in(self, i)->pid);
        if (pid)
            kill(pid, signal);
    }
}
