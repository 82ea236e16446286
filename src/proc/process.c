/* SPDX-License-Identifier: MIT */
/*
 * process.c - processes as objects.
 *
 * What a process costs is one fork: an object has no descriptor and no thread unless it
 * is a daemon or somebody asks for its sentinel.  Where the system has no pidfds, each
 * process has a pipe from the start, whose other end dies with the child.
 *
 * In a child the object that it was started from is the current process, and the one
 * that was current in the parent is the parent process.  Both stay as long as it lives.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "proc/fork.h"
#include "proc/process.h"
#include "shm/member.h"
#include "sync/park.h"

/* Between two looks at a parent that no descriptor tells about. */
#define PARENT_NAP (10 * MP__MILLISECOND)

static char main_name[] = "MainProcess";
static char no_path[] = "";

static mp_process main_process = {
    .name = main_name, .path = no_path, .sentinel = -1, .tether = -1};

/* A child that mp__fork made and that nothing else stands for. */
static mp_process helper_process = {.path = no_path, .sentinel = -1, .tether = -1};
static char helper_name[64];

static mp_process *current = &main_process;
static mp_process *parent;

/* Children get their numbers when they are made, started or not. */
static atomic_uint children_made;

/* All objects of this process that were not freed: who forgets one leaks nothing. */
static mp_process *made;
static pthread_mutex_t made_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Who is who */

mp_process *mp__process_current(void)
{
    return current;
}

mp_process *mp_current_process(void)
{
    return current;
}

mp_process *mp_parent_process(void)
{
    return parent;
}

/* A child of the host's own keeps the name, as in Python, but nobody started it and
   nobody will end it. */
void mp__process_forked(bool by_libmp)
{
    parent = NULL;
    if (!by_libmp)
        current->daemon = false;
    made = NULL;
    pthread_mutex_init(&made_mutex, NULL);
}

void mp__process_enter(mp_process *self, mp_process *from)
{
    current = self;
    mp__log_name = self->name;
    parent = from;
    atomic_store_explicit(&children_made, 0, memory_order_relaxed);
}

void mp__process_become(const char *name, bool daemon)
{
    const size_t length = strlen(name);
    const size_t fits = length < sizeof(helper_name) ? length : sizeof(helper_name) - 1;

    memcpy(helper_name, name, fits);
    helper_name[fits] = '\0';
    helper_process.name = helper_name;
    helper_process.daemon = daemon;
    mp__process_enter(&helper_process, NULL);
}

/* Whether mp_process_free and mp_process_close have no business with it. */
static bool is_permanent(const mp_process *p)
{
    return p == current || p == parent || p == &main_process || p == &helper_process;
}

static bool is_own(const mp_process *p)
{
    return p->epoch == mp__proc_epoch && !is_permanent(p);
}

/* What all that needs a child that was started asks first. */
static int check_child(const mp_process *p)
{
    if (!p || p->closed)
        return EINVAL;
    if (!is_own(p))
        return ECHILD;
    return p->state == MP__PROCESS_NEW ? EINVAL : 0;
}

/* Making */

/* "2" in the main process, "1:2" in its first child. */
static char *new_path(unsigned number)
{
    const char *own = current->path;
    const size_t size = strlen(own) + sizeof(":4294967295");
    char *path = mp__sys_calloc(1, size);

    if (path)
        snprintf(path, size, "%s%s%u", own, *own ? ":" : "", number);
    return path;
}

static char *copy_name(const char *name)
{
    const size_t size = strlen(name) + 1;
    char *copy = mp__sys_calloc(1, size);

    if (copy)
        memcpy(copy, name, size);
    return copy;
}

static char *default_name(const mp_process_class *cls, const char *path)
{
    const char *base = cls && cls->name ? cls->name : "Process";
    const size_t size = strlen(base) + strlen(path) + sizeof("-");
    char *name = mp__sys_calloc(1, size);

    if (name)
        snprintf(name, size, "%s-%s", base, path);
    return name;
}

static int read_options(mp_process_options *known, const mp_process_options *options)
{
    const int err = mp__options_read(known, sizeof(*known), options);

    if (err)
        return err;
    if (known->daemon < MP_DAEMON_INHERIT || known->daemon > MP_DAEMON_NO)
        return EINVAL;
    return known->reserved ? EINVAL : 0;
}

static int fill(mp_process *p, const void *data, const mp_process_options *options)
{
    const size_t data_size = p->cls ? p->cls->data_size : 0;
    const unsigned number = 1 + atomic_fetch_add(&children_made, 1);

    p->path = new_path(number);
    if (!p->path)
        return ENOMEM;
    p->name = options->name ? copy_name(options->name) : default_name(p->cls, p->path);
    if (!p->name)
        return ENOMEM;
    if (data_size) {
        p->data = mp__sys_calloc(1, data_size);
        if (!p->data)
            return ENOMEM;
        if (data)
            memcpy(p->data, data, data_size);
    }

    p->daemon = options->daemon == MP_DAEMON_INHERIT ? current->daemon
                                                     : options->daemon == MP_DAEMON_YES;
    p->epoch = mp__proc_epoch;
    p->sentinel = -1;
    p->tether = -1;
    return 0;
}

static void link_made(mp_process *p)
{
    pthread_mutex_lock(&made_mutex);
    p->made_next = made;
    p->made_link = &made;
    if (made)
        made->made_link = &p->made_next;
    made = p;
    pthread_mutex_unlock(&made_mutex);
}

static void unlink_made(mp_process *p)
{
    pthread_mutex_lock(&made_mutex);
    *p->made_link = p->made_next;
    if (p->made_next)
        p->made_next->made_link = p->made_link;
    pthread_mutex_unlock(&made_mutex);
}

static void free_memory(mp_process *p)
{
    free(p->data);
    free(p->name);
    free(p->path);
    free(p);
}

static int new_process(mp_process **out, const mp_process *what, const void *data,
                       const mp_process_options *options)
{
    mp_process_options known;

    int err = read_options(&known, options);
    if (err)
        return err;
    /* An object that a child of the host's own inherits must be foreign to it. */
    err = mp__fork_ready();
    if (err)
        return err;

    mp_process *p = mp__sys_calloc(1, sizeof(*p));
    if (!p)
        return ENOMEM;
    *p = *what;
    err = fill(p, data, &known);
    if (err) {
        free_memory(p);
        return err;
    }
    link_made(p);
    *out = p;
    return 0;
}

int mp_process_new(mp_process **out, mp_target_fn *target, void *arg,
                   const mp_process_options *options)
{
    if (!out)
        return EINVAL;
    return new_process(out, &(mp_process){.target = target, .arg = arg}, NULL, options);
}

int mp_process_new_of(mp_process **out, const mp_process_class *cls, const void *data,
                      const mp_process_options *options)
{
    if (!out || !cls || !cls->run)
        return EINVAL;
    return new_process(out, &(mp_process){.cls = cls}, data, options);
}

/* Starting */

static int open_pipes(mp_process *p, struct mp__child_start *start)
{
    int fds[2];

    if (p->daemon) {
        const int err = mp__fork_pipe(fds);
        if (err)
            return err;
        start->tether = fds[0];
        p->tether = fds[1];
    }
    if (!mp__have_pidfd()) {
        const int err = mp__fork_pipe(fds);
        if (err)
            return err;
        p->sentinel = fds[0];
        start->sentinel = fds[1];
    }
    return 0;
}

/* The parent's side of what the child got. */
static void close_passed(struct mp__child_start *start)
{
    mp__fork_close(&start->tether);
    mp__fork_close(&start->sentinel);
}

static int fork_child(mp_process *p, struct mp__child_start *start)
{
    const int passed[] = {start->tether, start->sentinel};
    pid_t pid;

    mp__flush();
    const int err = mp__fork(&pid, &start->mask, passed, sizeof(passed) / sizeof(*passed));
    if (err)
        return err;
    if (pid == 0)
        mp__child_main(p, start);

    mp__children_lock();
    p->pid = pid;
    p->state = MP__PROCESS_RUNNING;
    mp__children_add(p);
    mp__children_unlock();
    mp__log(MP_LOG_INFO, "%s started, pid %d", p->name, (int)pid);
    return 0;
}

static int start_child(mp_process *p)
{
    struct mp__child_start start = {.parent = current, .tether = -1, .sentinel = -1};

    p->life = mp__life_new();
    if (!p->life)
        return ENOMEM;
    int err = open_pipes(p, &start);
    if (!err)
        err = fork_child(p, &start);
    close_passed(&start);
    if (err) {
        mp__fork_close(&p->tether);
        mp__fork_close(&p->sentinel);
        mp__life_free(p->life);
        p->life = NULL;
    }
    return err;
}

int mp_process_start(mp_process *p)
{
    if (!p || p->closed || p == &main_process || p == &helper_process)
        return EINVAL;
    if (!is_own(p))
        return EPERM;
    if (p->state != MP__PROCESS_NEW)
        return EALREADY;

    /* The arena must be there before the first fork: one address for all. */
    int err = mp__join();
    if (!err)
        err = mp__children_at_exit();
    if (err)
        return err;
    mp__sync_init();

    mp__children_reap_some();
    mp__children_lock();
    current->pid = getpid(); /* for the child, whose parent it will be */
    mp__children_unlock();
    return start_child(p);
}

/* How it is, and how it was */

static bool has_ended(mp_process *p)
{
    mp__children_lock();
    const bool ended = p->state != MP__PROCESS_RUNNING || mp__children_settle(p);
    mp__children_unlock();
    return ended;
}

static bool parent_lives(void)
{
    return getppid() == parent->pid;
}

static int join_parent(int64_t deadline)
{
    int fd = -1;
    int err = 0;

    /* Should the pid be another's by now, the parent is not the parent any more. */
    if (deadline != 0 && parent_lives() && mp__pidfd(parent->pid, &fd))
        fd = -1;
    while (parent_lives()) {
        const int64_t now = deadline == 0 ? 0 : mp__now();

        err = now >= deadline ? ETIMEDOUT : 0;
        if (err)
            break;
        if (fd == -1)
            mp__nap_until(deadline - now > PARENT_NAP ? now + PARENT_NAP : deadline);
        else if (mp__poll_one(fd, POLLIN, deadline) != ETIMEDOUT)
            mp__close(&fd); /* a look every now and then will do for the rest */
    }
    mp__close(&fd);
    return err;
}

int mp_process_join(mp_process *p, int timeout_ms)
{
    int64_t deadline;

    if (!p || mp__deadline(timeout_ms, &deadline))
        return EINVAL;
    if (p == current)
        return EDEADLK;
    if (p == parent)
        return join_parent(deadline);
    int err = check_child(p);
    if (err)
        return err;

    mp__children_lock();
    const bool ended = p->state == MP__PROCESS_ENDED;
    mp__children_unlock();
    if (ended)
        return 0;
    if (p->sentinel != -1 && deadline != MP__NEVER)
        err = mp__child_wait_on(p->pid, p->sentinel, mp__have_pidfd(), deadline);
    else
        err = mp__child_wait(p->pid, deadline);
    if (err == ETIMEDOUT)
        return err;
    (void)has_ended(p);
    return 0;
}

bool mp_process_is_alive(mp_process *p)
{
    if (!p || p->closed)
        return false;
    if (p == current)
        return true;
    if (p == parent)
        return parent_lives();
    if (!is_own(p) || p->state == MP__PROCESS_NEW)
        return false;
    return !has_ended(p);
}

int mp_process_exitcode(mp_process *p, int *code)
{
    if (!p || !code || p->closed)
        return EINVAL;
    if (!is_own(p))
        return ECHILD;
    if (p->state == MP__PROCESS_NEW || !has_ended(p))
        return EBUSY;
    if (!p->status_known)
        return ESRCH;
    *code = p->exitcode;
    return 0;
}

/* With the lock nobody reaps it: until kill returns the pid is the child's. */
static int send(mp_process *p, int signal)
{
    int err = check_child(p);

    if (err)
        return err;
    mp__children_lock();
    if (!mp__children_settle(p) && kill(p->pid, signal) == -1 && errno == EPERM)
        err = EPERM;
    mp__children_unlock();
    return err;
}

int mp_process_terminate(mp_process *p)
{
    return send(p, SIGTERM);
}

int mp_process_kill(mp_process *p)
{
    return send(p, SIGKILL);
}

int mp_process_interrupt(mp_process *p)
{
    return send(p, SIGINT);
}

/* The sentinel */

/* For a process that has ended: a pipe with a byte in it and without a writer. */
static int open_ended(int *fd)
{
    int fds[2];

    const int err = mp__fork_pipe(fds);
    if (err)
        return err;
    const ssize_t written = write(fds[1], "", 1); /* without it: POLLHUP only */
    (void)written;
    mp__fork_close(&fds[1]);
    *fd = fds[0];
    return 0;
}

/* With the lock, so that the pid is the child's unless the host reaps it. */
static int open_pidfd(mp_process *p, int *fd)
{
    int opened = -1;

    int err = mp__pidfd(p->pid, &opened);
    if (mp__child_state(p->pid) == ECHILD) {
        mp__close(&opened);
        mp__children_settle(p);
        return p->status_known ? open_ended(fd) : ESRCH;
    }
    if (err)
        return err;
    err = mp__fork_keep(opened);
    if (err) {
        mp__close(&opened);
        return err;
    }
    *fd = opened;
    return 0;
}

/* With the lock. */
static int open_sentinel(mp_process *p)
{
    const bool ended = mp__children_settle(p);

    if (ended && !p->status_known)
        return ESRCH;
    if (p->sentinel != -1)
        return 0;
    return ended ? open_ended(&p->sentinel) : open_pidfd(p, &p->sentinel);
}

int mp_process_sentinel(mp_process *p, int *fd)
{
    if (!fd)
        return EINVAL;
    int err = check_child(p);
    if (err)
        return err;

    mp__children_lock();
    if (!p->watched)
        err = open_sentinel(p);
    if (!err) {
        p->watched = true;
        *fd = p->sentinel;
    }
    mp__children_unlock();
    return err;
}

/* The end of an object */

int mp_process_close(mp_process *p)
{
    if (!p || !is_own(p))
        return EINVAL;
    if (p->closed)
        return 0;
    if (!has_ended(p))
        return EBUSY;
    mp__fork_close(&p->sentinel);
    p->closed = true;
    return 0;
}

void mp__process_destroy(mp_process *p)
{
    mp__fork_close(&p->sentinel);
    if (p->cls && p->cls->release)
        p->cls->release(p->data);
    unlink_made(p);
    free_memory(p);
}

void mp_process_free(mp_process *p)
{
    if (!p || is_permanent(p))
        return;
    if (!is_own(p)) {
        free_memory(p);
        return;
    }

    mp__children_lock();
    const bool runs = p->state == MP__PROCESS_RUNNING && !mp__children_settle(p);
    if (runs)
        p->dropped = true;
    mp__children_unlock();
    if (!runs)
        mp__process_destroy(p);
}

/* What can be read */

pid_t mp_process_pid(const mp_process *p)
{
    if (!p || p->closed)
        return 0;
    return p == current ? getpid() : p->pid;
}

const char *mp_process_name(const mp_process *p)
{
    return p ? p->name : "";
}

int mp_process_set_name(mp_process *p, const char *name)
{
    if (!p || !name)
        return EINVAL;

    char *copy = copy_name(name);
    if (!copy)
        return ENOMEM;
    if (p->name != main_name && p->name != helper_name)
        free(p->name);
    p->name = copy;
    if (p == current)
        mp__log_name = copy;
    return 0;
}

bool mp_process_is_daemon(const mp_process *p)
{
    return p && p->daemon;
}

int mp_process_set_daemon(mp_process *p, bool daemon)
{
    if (!p)
        return EINVAL;
    if (!is_own(p) || p->state != MP__PROCESS_NEW || p->closed)
        return EALREADY;
    p->daemon = daemon;
    return 0;
}

void *mp_process_data(mp_process *p)
{
    return p && !p->closed ? p->data : NULL;
}
