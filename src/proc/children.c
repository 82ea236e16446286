/* SPDX-License-Identifier: MIT */
/*
 * children.c - the set of children: waiting for them, reaping them, ending them.
 *
 * Waiting leaves the zombie where it is, and needs no lock.  Reaping is done under the
 * lock, so that it happens once and that no signal is ever sent to a pid that was given
 * back.  What the dead process left in the arena is put right before its pid is free.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/sys.h"
#include "proc/fork.h"
#include "proc/process.h"
#include "shm/member.h"

/* How long a daemon may take to end by SIGTERM. */
#define PATIENCE (500 * MP__MILLISECOND)

/* How long a descriptor that may tell too late is trusted. */
#define PIPE_SLICE (20 * MP__MILLISECOND)

/* Sleeps between two looks where there is no descriptor: from a tenth of a millisecond
   on, doubled up to ten. */
#define FIRST_NAP (MP__MILLISECOND / 10)
#define LONGEST_NAP (10 * MP__MILLISECOND)

/* At each start ended children are looked for if there is a zombie.  A host that
   ignores SIGCHLD has none: once in so many starts they are looked for anyway. */
#define STARTS_PER_LOOK 64

/* A table of lives fills a few pages, of which few are ever touched. */
#define LIVES 4000

/*
 * Not in the arena: a child's first touch of it makes the kernel build page tables, for
 * several microseconds, while these pages lie beside those that any child touches.
 */
struct lives {
    struct lives *next;
    size_t first_free; /* no place below it is free */
    struct mp__life places[LIVES];
};

void (*mp__exit_pools)(void);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(mp_process *) oldest; /* changes with the lock */
static mp_process *newest;
static mp_process *waste;     /* dropped and ended: destroyed at unlocking */
static mp_process *lent_dead; /* as well, at the next mp_active_children */
static struct lives *tables;
static unsigned starts;
static bool exit_registered;

/* The parent's lists in a child: never walked, but memory that can be found. */
static mp_process *inherited[3];

void mp__children_lock(void)
{
    pthread_mutex_lock(&mutex);
}

void mp__children_unlock(void)
{
    mp_process *p = waste;

    waste = NULL;
    pthread_mutex_unlock(&mutex);
    while (p) {
        mp_process *next = p->next;

        mp__process_destroy(p);
        p = next;
    }
}

void mp__children_forked(void)
{
    inherited[0] = oldest;
    inherited[1] = waste;
    inherited[2] = lent_dead;
    oldest = NULL;
    newest = waste = lent_dead = NULL;
    tables = NULL; /* the parent's; this process's own life lies there */
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

void mp__children_add(mp_process *p)
{
    p->next = NULL;
    p->prev = newest;
    if (newest)
        newest->next = p;
    else
        oldest = p;
    newest = p;
}

static void take_out(mp_process *p)
{
    if (p->prev)
        p->prev->next = p->next;
    else
        oldest = p->next;
    if (p->next)
        p->next->prev = p->prev;
    else
        newest = p->prev;
    p->next = p->prev = NULL;
}

/* Lives */

static struct mp__life *take_place(struct lives *table)
{
    for (size_t i = table->first_free; i < LIVES; i++) {
        struct mp__life *life = &table->places[i];

        table->first_free = i + 1;
        if (!atomic_load_explicit(&life->ended, memory_order_relaxed)) {
            atomic_store_explicit(&life->ended, MP__LIFE_TAKEN, memory_order_relaxed);
            return life;
        }
    }
    return NULL;
}

static void free_place(struct mp__life *life)
{
    struct lives *table = tables;

    while (life < table->places || life >= table->places + LIVES)
        table = table->next;
    const size_t i = (size_t)(life - table->places);

    atomic_store_explicit(&life->ended, 0, memory_order_relaxed);
    if (i < table->first_free)
        table->first_free = i;
}

static struct mp__life *find_place(void)
{
    struct mp__life *life = NULL;

    for (struct lives *table = tables; table && !life; table = table->next)
        life = take_place(table);
    if (life)
        return life;

    void *memory;
    if (mp__sys_map_shared(sizeof(struct lives), &memory))
        return NULL;
    struct lives *table = memory;
    table->next = tables;
    tables = table;
    return take_place(table);
}

struct mp__life *mp__life_new(void)
{
    mp__children_lock();
    struct mp__life *life = find_place();
    mp__children_unlock();
    return life;
}

void mp__life_free(struct mp__life *life)
{
    mp__children_lock();
    free_place(life);
    mp__children_unlock();
}

/* Waiting */

int mp__child_state(pid_t pid)
{
    siginfo_t info;
    int status;

    do {
        memset(&info, 0, sizeof(info));
        status = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    } while (status == -1 && errno == EINTR);
    if (status == -1)
        return ECHILD;
    return info.si_pid == pid ? 0 : EBUSY;
}

bool mp__have_pidfd(void)
{
    static atomic_int known; /* 0, or 1 for yes and 2 for no */

    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (!answer) {
        int fd = -1;
        const int err = mp__sys_pidfd(getpid(), &fd);

        /* Too few descriptors mean nothing; a filter of system calls means no. */
        answer = err && err != EMFILE && err != ENFILE && err != ENOMEM ? 2 : 1;
        if (!err)
            mp__close(&fd);
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 1;
}

static int wait_for_ever(pid_t pid)
{
    siginfo_t info;

    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == -1)
        if (errno != EINTR)
            return ECHILD;
    return 0;
}

void mp__nap_until(int64_t moment)
{
    const int64_t left = moment - mp__now();

    if (left <= 0)
        return;
    const struct timespec nap = {.tv_sec = (time_t)(left / 1000000000),
                                 .tv_nsec = (long)(left % 1000000000)};
    nanosleep(&nap, NULL);
}

int mp__child_wait_on(pid_t pid, int fd, bool sure, int64_t deadline)
{
    int64_t nap = FIRST_NAP;

    for (;;) {
        const int err = mp__child_state(pid);
        if (err != EBUSY)
            return err;
        const int64_t now = deadline == 0 ? 0 : mp__now();
        if (now >= deadline)
            return ETIMEDOUT;

        int64_t until = deadline;
        if (fd != -1) {
            if (!sure && until - now > PIPE_SLICE)
                until = now + PIPE_SLICE;
            /* Readable, and yet it may run on: a child may close what it inherited. */
            if (mp__poll_one(fd, POLLIN, until) != ETIMEDOUT)
                if (mp__child_state(pid) == EBUSY)
                    fd = -1;
            continue;
        }
        if (until - now > nap)
            until = now + nap;
        mp__nap_until(until);
        if (nap < LONGEST_NAP)
            nap *= 2;
    }
}

int mp__child_wait(pid_t pid, int64_t deadline)
{
    if (deadline == MP__NEVER)
        return wait_for_ever(pid);

    int err = mp__child_state(pid);
    if (err != EBUSY)
        return err;
    if (deadline == 0)
        return ETIMEDOUT;

    /* Should the host reap it here, and the pid be used again, it is another process's:
       the state, asked again, is that of no child. */
    int fd = -1;
    if (mp__pidfd(pid, &fd))
        fd = -1;
    err = mp__child_wait_on(pid, fd, true, deadline);
    mp__close(&fd);
    return err;
}

int mp__child_reap(pid_t pid, int *exitcode)
{
    int err = mp__child_state(pid);
    if (err == EBUSY)
        return err;
    if (err) {
        mp__member_watch();
        return err;
    }

    /* The zombie holds the pid: whoever has it in the family is the one that died. */
    const uint64_t member = mp__member_of_pid(pid);
    if (member)
        mp__member_bury(member);

    int status;
    pid_t reaped;
    do
        reaped = waitpid(pid, &status, WNOHANG);
    while (reaped == -1 && errno == EINTR);
    if (reaped != pid)
        return reaped == 0 ? EBUSY : ECHILD;
    *exitcode = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    return 0;
}

/* Reaping */

/* The host took the status, but a child that ended by itself has told it. */
static bool status_of_life(const struct mp__life *life, int *exitcode)
{
    const uint32_t ended = atomic_load_explicit(&life->ended, memory_order_acquire);

    if (!(ended & MP__LIFE_ENDED))
        return false;
    *exitcode = (int)(ended & 0xff);
    return true;
}

static void tell_end(const mp_process *p)
{
    if (p->status_known)
        mp__log(MP_LOG_INFO, "%s (pid %d) ended: %s %d", p->name, (int)p->pid,
                MP__LOG_END(p->exitcode));
    else
        mp__log(MP_LOG_INFO, "%s (pid %d) ended", p->name, (int)p->pid);
}

bool mp__children_settle(mp_process *p)
{
    if (p->state == MP__PROCESS_ENDED)
        return true;

    const int err = mp__child_reap(p->pid, &p->exitcode);
    if (err == EBUSY)
        return false;
    p->status_known = !err || status_of_life(p->life, &p->exitcode);
    p->state = MP__PROCESS_ENDED;
    tell_end(p);
    free_place(p->life);
    p->life = NULL;
    mp__fork_close(&p->tether);
    take_out(p);
    if (p->dropped) {
        mp_process **list = p->lent ? &lent_dead : &waste;

        p->next = *list;
        *list = p;
    }
    return true;
}

static void settle_all(void)
{
    for (mp_process *p = oldest, *next; p; p = next) {
        next = p->next;
        mp__children_settle(p);
    }
}

/* Whether one of this process's children, libmp's or not, is a zombie; one system call
   for any number of them. */
static bool has_zombie(void)
{
    siginfo_t info;

    memset(&info, 0, sizeof(info));
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1)
        return true;
    return info.si_pid != 0;
}

void mp__children_reap_some(void)
{
    mp__children_lock();
    if (oldest && (++starts % STARTS_PER_LOOK == 0 || has_zombie()))
        settle_all();
    mp__children_unlock();
}

int mp__children_at_exit(void)
{
    int err = 0;

    mp__children_lock();
    if (!exit_registered) {
        if (atexit(mp__children_end) != 0)
            err = ENOMEM;
        else
            exit_registered = true;
    }
    mp__children_unlock();
    return err;
}

int mp_active_children(mp_process **children, size_t capacity, size_t *count)
{
    if (!count || (!children && capacity))
        return EINVAL;

    size_t found = 0;
    mp__children_lock();
    waste = lent_dead;
    lent_dead = NULL;
    settle_all();
    for (mp_process *p = oldest; p; p = p->next, found++) {
        if (found < capacity) {
            children[found] = p;
            p->lent = true;
        }
    }
    mp__children_unlock();
    *count = found;
    return found > capacity ? EMSGSIZE : 0;
}

/* Ending */

static void signal_daemons(int signal)
{
    mp__children_lock();
    settle_all();
    for (const mp_process *p = oldest; p; p = p->next)
        if (p->daemon)
            kill(p->pid, signal);
    mp__children_unlock();
}

/* A child that is to be waited for, a daemon if there is one: its pid, or 0.  By pid,
   because other threads may reap and free it meanwhile. */
static pid_t next_to_end(bool *daemon)
{
    mp__children_lock();
    const mp_process *p = oldest;
    while (p && !p->daemon)
        p = p->next;
    *daemon = p;
    if (!p)
        p = oldest;
    const pid_t pid = p ? p->pid : 0;
    mp__children_unlock();
    return pid;
}

static void settle_pid(pid_t pid)
{
    mp__children_lock();
    mp_process *p = oldest;
    while (p && p->pid != pid)
        p = p->next;
    if (p)
        mp__children_settle(p);
    mp__children_unlock();
}

static void end_processes(void)
{
    bool daemon;
    pid_t pid = next_to_end(&daemon);

    if (!pid)
        return;
    signal_daemons(SIGTERM);
    const int64_t deadline = mp__now() + PATIENCE;
    for (; pid; pid = next_to_end(&daemon)) {
        if (daemon && mp__child_wait(pid, deadline) == ETIMEDOUT)
            signal_daemons(SIGKILL);
        (void)mp__child_wait(pid, MP__NEVER);
        settle_pid(pid);
    }
}

void mp__children_end(void)
{
    if (mp__exit_pools)
        mp__exit_pools();
    /* Most children have none, and end without touching one page more. */
    if (!oldest && !lent_dead)
        return;
    end_processes();

    mp__children_lock();
    waste = lent_dead;
    lent_dead = NULL;
    mp__children_unlock();
}
