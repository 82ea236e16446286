/* SPDX-License-Identifier: MIT */
/*
 * fork.c - fork, and what every child of this process must find.
 *
 * The handlers given to pthread_atfork run for the host's own fork as well: its child
 * closes what libmp keeps, and starts as a process without children.  The list of kept
 * descriptors is locked across any fork, so that the child sees it whole.  Signals are
 * blocked wherever it is locked: a handler that forks would wait for itself.
 */
#include "proc/fork.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__has_include) && !defined(MP_PORTABLE)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define HAVE_SINGLE_THREADED 1
#endif
#endif

#include "base/io.h"
#include "base/sys.h"
#include "base/thread_local.h"
#include "proc/process.h"

#define FIRST_CAPACITY 32

unsigned mp__proc_epoch;

static int first_fds[FIRST_CAPACITY];

static struct {
    pthread_mutex_t mutex;
    int *fds;
    size_t count;
    size_t capacity;
    /* While some thread forks, with the lock: */
    sigset_t mask;
    const char *_Atomic forker; /* who is in mp__fork, or NULL */
    const int *passed_fds;      /* what its child keeps */
    size_t passed_count;
} kept = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .fds = first_fds, .capacity = FIRST_CAPACITY};

static atomic_bool handlers_set;

/* Its address tells a thread from all others. */
static MP__THREAD_LOCAL char this_thread;

static void lock_kept(sigset_t *mask)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, mask);
    pthread_mutex_lock(&kept.mutex);
}

static void unlock_kept(const sigset_t *mask)
{
    pthread_mutex_unlock(&kept.mutex);
    pthread_sigmask(SIG_SETMASK, mask, NULL);
}

static bool fork_is_ours(void)
{
    return atomic_load_explicit(&kept.forker, memory_order_relaxed) == &this_thread;
}

static void before_fork(void)
{
    sigset_t mask;

    if (fork_is_ours())
        return;
    lock_kept(&mask);
    kept.mask = mask;
}

static void after_fork_in_parent(void)
{
    const sigset_t mask = kept.mask;

    if (!fork_is_ours())
        unlock_kept(&mask);
}

static bool is_passed(int fd)
{
    for (size_t i = 0; i < kept.passed_count; i++)
        if (kept.passed_fds[i] == fd)
            return true;
    return false;
}

/* Calls only what a signal handler may: another thread may have held any lock.  The
   fewer functions, the better: the dynamic linker may look each up in each child. */
static void after_fork_in_child(void)
{
    const bool ours = fork_is_ours();

    for (size_t i = 0; i < kept.count; i++)
        if (!ours || !is_passed(kept.fds[i]))
            close(kept.fds[i]);
    kept.count = 0;
    mp__proc_epoch++;
    mp__child_forked();
    mp__children_forked();
    mp__process_forked(ours);

    kept.forker = NULL;
    kept.mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    if (!ours)
        pthread_sigmask(SIG_SETMASK, &kept.mask, NULL);
}

int mp__fork_ready(void)
{
    if (atomic_load_explicit(&handlers_set, memory_order_acquire))
        return 0;

    sigset_t mask;
    int err = 0;

    lock_kept(&mask);
    if (!atomic_load_explicit(&handlers_set, memory_order_relaxed)) {
        err = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
        if (!err)
            atomic_store_explicit(&handlers_set, true, memory_order_release);
    }
    unlock_kept(&mask);
    return err;
}

/*
 * In a program with several threads another one may hold the lock of any stream for as
 * long as it likes, waiting for input: only those that programs print to are flushed.
 */
void mp__flush(void)
{
#ifdef HAVE_SINGLE_THREADED
    if (__libc_single_threaded) {
        fflush(NULL);
        return;
    }
#endif
    fflush(stdout);
    fflush(stderr);
}

int mp__fork(pid_t *pid, sigset_t *mask, const int *fds, size_t count)
{
    sigset_t old;

    int err = mp__fork_ready();
    if (err)
        return err;

    lock_kept(&old);
    kept.passed_fds = fds;
    kept.passed_count = count;
    kept.forker = &this_thread;

    pid_t child;
    err = mp__sys_fork(&child);

    if (err || child != 0) {
        kept.forker = NULL;
        unlock_kept(&old);
    }
    if (err)
        return err;
    if (mask)
        *mask = old;
    *pid = child;
    return 0;
}

void mp__fork_unblock(const sigset_t *mask)
{
    pthread_sigmask(SIG_SETMASK, mask, NULL);
}

/* With the lock: room for `more` descriptors, or ENOMEM. */
static int reserve(size_t more)
{
    if (kept.count + more <= kept.capacity)
        return 0;

    const size_t capacity = kept.capacity * 2;
    int *fds = mp__sys_calloc(capacity, sizeof(*fds));
    if (!fds)
        return ENOMEM;
    memcpy(fds, kept.fds, kept.count * sizeof(*fds));
    if (kept.fds != first_fds)
        free(kept.fds);
    kept.fds = fds;
    kept.capacity = capacity;
    return 0;
}

/* With the lock, and with room.  Twice is once. */
static void add(int fd)
{
    for (size_t i = 0; i < kept.count; i++)
        if (kept.fds[i] == fd)
            return;
    kept.fds[kept.count++] = fd;
}

/* With the lock.  Recent ones go first. */
static void drop(int fd)
{
    for (size_t i = kept.count; i > 0; i--) {
        if (kept.fds[i - 1] == fd) {
            kept.fds[i - 1] = kept.fds[--kept.count];
            return;
        }
    }
}

int mp__fork_keep(int fd)
{
    sigset_t mask;

    int err = mp__fork_ready();
    if (err)
        return err;

    lock_kept(&mask);
    err = reserve(1);
    if (!err)
        add(fd);
    unlock_kept(&mask);
    return err;
}

void mp__fork_forget(int fd)
{
    sigset_t mask;

    lock_kept(&mask);
    drop(fd);
    unlock_kept(&mask);
}

int mp__fork_pipe(int fds[2])
{
    sigset_t mask;

    int err = mp__fork_ready();
    if (err)
        return err;

    lock_kept(&mask);
    err = reserve(2);
    if (!err)
        err = mp__pipe(fds);
    if (!err) {
        add(fds[0]);
        add(fds[1]);
    }
    unlock_kept(&mask);
    return err;
}

void mp__fork_close(int *fd)
{
    sigset_t mask;

    if (*fd == -1)
        return;
    lock_kept(&mask);
    drop(*fd);
    mp__close(fd);
    unlock_kept(&mask);
}
