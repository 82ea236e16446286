/* SPDX-License-Identifier: MIT */
#include "leak_check.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "child_guard.h"

#define FDS     1024
#define TARGET  64
#define SIGNALS 64

/* glibc sets it at the first sigaction and does not hide it. */
#define SA_RESTORER_BIT 0x04000000

/* Whether the C library's malloc gives memory back to the system as it likes. */
#ifdef __GLIBC__
#define MALLOC_UNMAPS 0
#else
#define MALLOC_UNMAPS 1
#endif

struct snapshot {
    char fds[FDS][TARGET];
    size_t maps, shared_maps, shm_names, temporary_files, arena_used;
    void (*handlers[SIGNALS])(int);
    int flags[SIGNALS];
    sigset_t mask;
};

static struct snapshot before, after;
static bool ignore_maps, ignore_arena;

void leak_ignore_maps(void)
{
    ignore_maps = true;
}

void leak_ignore_arena(void)
{
    ignore_arena = true;
}

static void read_fds(struct snapshot *s)
{
    for (int fd = 0; fd < FDS; fd++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(path, s->fds[fd], TARGET - 1);
        s->fds[fd][size > 0 ? size : 0] = 0;
    }
}

static void read_maps(struct snapshot *s)
{
    char line[512], permissions[8];
    unsigned long inode;
    FILE *file = fopen("/proc/self/maps", "re");

    s->maps = s->shared_maps = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*s %7s %*s %*s %lu", permissions, &inode) != 2)
            continue;
        bool is_shared = permissions[3] == 's';
        s->shared_maps += is_shared;
        s->maps += is_shared || inode != 0 || !MALLOC_UNMAPS;
    }
    if (file)
        fclose(file);
}

static size_t count_names(const char *path, const char *prefix)
{
    size_t count = 0;
    DIR *dir = opendir(path);

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.' &&
                 strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (dir)
        closedir(dir);
    return count;
}

static size_t count_temporary_files(void)
{
    return count_names("/tmp", "mp") + count_names("/tmp", "libmp");
}

static void read_signals(struct snapshot *s)
{
    for (int i = 1; i < SIGNALS; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) != 0)
            continue;
        s->handlers[i] = action.sa_handler;
        s->flags[i] = action.sa_flags & ~SA_RESTORER_BIT;
    }
    sigprocmask(SIG_BLOCK, NULL, &s->mask);
}

static void take(struct snapshot *s)
{
    mp_shared_statistics stat = {0};

    mp_shared_stat(&stat);
    s->arena_used = stat.used;
    read_fds(s);
    s->shm_names = count_names("/dev/shm", "");
    s->temporary_files = count_temporary_files();
    read_signals(s);
    read_maps(s);
}

static int differ(const char *what, size_t was, size_t is)
{
    if (was == is)
        return 0;
    fprintf(stderr, "left behind: %s was %zu and is %zu\n", what, was, is);
    return 1;
}

static int compare_signals(void)
{
    int found = 0;

    for (int i = 1; i < SIGNALS; i++) {
        if (before.handlers[i] != after.handlers[i] ||
            before.flags[i] != after.flags[i]) {
            fprintf(stderr, "left behind: another action for signal %d\n", i);
            found++;
        }
        if (sigismember(&before.mask, i) != sigismember(&after.mask, i)) {
            fprintf(stderr, "left behind: signal %d in the mask has changed\n", i);
            found++;
        }
    }
    return found;
}

static int compare_fds(void)
{
    int found = 0;

    for (int fd = 0; fd < FDS; fd++) {
        if (strcmp(before.fds[fd], after.fds[fd]) == 0)
            continue;
        fprintf(stderr, "left behind: descriptor %d was '%s' and is '%s'\n", fd,
                before.fds[fd], after.fds[fd]);
        found++;
    }
    return found;
}

bool reap_all(int timeout_ms)
{
    int64_t end = now_ms() + scaled(timeout_ms);

    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0)
            return errno == ECHILD;
        if (pid == 0 && now_ms() > end)
            return false;
        if (pid == 0)
            usleep(300);
    }
}

/* Whoever is left is told of and ended, so that the next test starts from nothing. */
static int compare_children(void)
{
    pid_t left[256];
    int found = 0;

    for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0; found++)
        fprintf(stderr, "left behind: zombie %d\n", (int)pid);
    if (errno == ECHILD)
        return found;
    size_t count = descendants(getpid(), left, 256);
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "left behind: process %d in state %c\n", (int)left[i],
                process_state(left[i]));
        kill(left[i], SIGKILL);
        found++;
    }
    reap_all(2000);
    return found + 1;
}

static bool names_are_gone(void *arg)
{
    (void)arg;
    return count_names("/dev/shm", "") <= before.shm_names &&
           count_temporary_files() <= before.temporary_files;
}

/* Other programs make names too, and remove them again or not: ours are never removed
   by themselves. */
static int compare_names(void)
{
    if (eventually(names_are_gone, NULL, 3000))
        return 0;
    return differ("names in /dev/shm", before.shm_names, count_names("/dev/shm", "")) +
           differ("temporary files", before.temporary_files, count_temporary_files());
}

int leak_setup(void **state)
{
    (void)state;
    ignore_maps = ignore_arena = false;
    take(&before);
    return 0;
}

int leak_teardown(void **state)
{
    (void)state;
    int found = compare_children();
    take(&after);
    found += compare_fds() + compare_signals();
    found += compare_names();
    found += differ("shared mappings", before.shared_maps, after.shared_maps);
    if (!ignore_maps && !SANITIZED)
        found += differ("mappings", before.maps, after.maps);
    if (!ignore_arena)
        found += differ("bytes used in the arena", before.arena_used, after.arena_used);
    return found ? -1 : 0;
}

void leak_begin(void)
{
    mp_process *p;
    mp_pool *pool;

    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    /* Line buffers and the like are made at the first use. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (mp_process_new(&p, NULL, NULL, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES)) ==
        0) {
        if (mp_process_start(p) == 0)
            mp_process_join(p, MP_FOREVER);
        mp_process_free(p);
    }
    if (mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1)) == 0)
        mp_pool_free(pool);
    take(&before);
    take(&after);
}
