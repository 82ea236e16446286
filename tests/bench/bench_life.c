/* SPDX-License-Identifier: MIT */
/*
 * bench_life.c - what a pool costs while it does nothing: to make and to free, in
 * memory, and in processor time.
 *
 * The last two are read from the proc file system; without it they are absent.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { IDLE = 4, MOST_CHILDREN = 128 };

/* Workers of the pool that a life is measured of. */
struct crowd {
    size_t count;
    size_t quick_count;
};

static mp_pool *pool;

static int square(const void *arg, void *result, void *context)
{
    const int *x = arg;

    (void)context;
    *(int *)result = *x * *x;
    return 0;
}

/* That a pool came and went proves nothing if it cannot do anything. */
static int try_pool(mp_pool *tried)
{
    int x = 7, y = 0;
    int err = mp_pool_apply(tried, square, &x, sizeof(x), &y, sizeof(y), NULL);

    if (!err && y != 49)
        err = BENCH_WRONG;
    return err;
}

static int pool_life_round(const void *argument, double *figures)
{
    const struct crowd *crowd = argument;
    unsigned processes = (unsigned)bench_size(crowd->count, crowd->quick_count);
    mp_pool *made;

    double before = bench_now();
    int err = mp_pool_new(&made, MP_POOL_OPTIONS(.processes = processes));
    if (err)
        return err;
    err = try_pool(made);
    mp_pool_free(made);
    figures[0] = bench_now() - before;
    return err;
}

/* One more than the workers, for the supervisor. */
static int fork_life_round(const void *argument, double *figures)
{
    const struct crowd *crowd = argument;
    size_t count = bench_size(crowd->count, crowd->quick_count) + 1;

    double before = bench_now();
    for (size_t i = 0; i < count; i++) {
        pid_t pid = fork();

        if (pid < 0)
            return errno;
        if (pid == 0)
            _exit(0);
    }
    for (size_t i = 0; i < count; i++)
        if (wait(NULL) < 0)
            return errno;
    figures[0] = bench_now() - before;
    return 0;
}

static int parent_of(const char *pid)
{
    char path[64], line[512];
    int parent = -1;

    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    /* The name, in parentheses, may contain anything. */
    if (fgets(line, sizeof(line), file)) {
        const char *end = strrchr(line, ')');

        if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
            parent = -1;
    }
    fclose(file);
    return parent;
}

static size_t children_of(pid_t parent, pid_t *children)
{
    DIR *proc = opendir("/proc");
    size_t count = 0;

    if (!proc)
        return 0;
    for (;;) {
        const struct dirent *entry = readdir(proc);

        if (!entry || count == MOST_CHILDREN)
            break;
        int pid = atoi(entry->d_name);
        if (pid > 0 && parent_of(entry->d_name) == parent)
            children[count++] = pid;
    }
    closedir(proc);
    return count;
}

/* The proportional share of memory, in KiB: pages of many count for a part of each. */
static int share_of_memory(pid_t pid, double *kib)
{
    char path[64], line[256];
    int err = BENCH_ABSENT;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return BENCH_ABSENT;
    while (err && fgets(line, sizeof(line), file))
        if (sscanf(line, "Pss: %lf", kib) == 1)
            err = 0;
    fclose(file);
    return err;
}

static int mean_memory(const pid_t *pids, size_t count, double *figures)
{
    double sum = 0;

    if (count != IDLE)
        return count ? BENCH_WRONG : BENCH_ABSENT;
    for (size_t i = 0; i < count; i++) {
        double kib = 0;
        int err = share_of_memory(pids[i], &kib);

        if (err)
            return err;
        sum += kib;
    }
    figures[0] = sum / (double)count;
    return 0;
}

static int prepare_idle_pool(const void *argument)
{
    (void)argument;
    int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = IDLE));
    return err ? err : try_pool(pool);
}

static int pool_memory_round(const void *argument, double *figures)
{
    pid_t supervisor[MOST_CHILDREN], workers[MOST_CHILDREN];

    (void)argument;
    if (children_of(getpid(), supervisor) != 1)
        return BENCH_ABSENT;
    return mean_memory(workers, children_of(supervisor[0], workers), figures);
}

static int prepare_idle_forks(const void *argument)
{
    (void)argument;
    for (int i = 0; i < IDLE; i++) {
        pid_t pid = bench_fork();

        if (pid < 0)
            return errno;
        while (pid == 0)
            pause();
    }
    return 0;
}

static int fork_memory_round(const void *argument, double *figures)
{
    pid_t children[MOST_CHILDREN];

    (void)argument;
    return mean_memory(children, children_of(getpid(), children), figures);
}

static int add_cpu_time(pid_t pid, double *seconds)
{
    char path[64];
    double nanoseconds;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return BENCH_ABSENT;
    int found = fscanf(file, "%lf", &nanoseconds);
    fclose(file);
    if (found != 1)
        return BENCH_ABSENT;
    *seconds += nanoseconds * 1e-9;
    return 0;
}

static int cpu_time_of_pool(double *seconds)
{
    pid_t supervisor[MOST_CHILDREN], workers[MOST_CHILDREN];

    if (children_of(getpid(), supervisor) != 1)
        return BENCH_ABSENT;
    size_t count = children_of(supervisor[0], workers);
    *seconds = 0;
    int err = add_cpu_time(supervisor[0], seconds);
    for (size_t i = 0; i < count && !err; i++)
        err = add_cpu_time(workers[i], seconds);
    return err;
}

/* Processor time of supervisor and workers for each second that they do nothing. */
static int pool_idle_round(const void *argument, double *figures)
{
    double before = 0, after = 0;
    double length = bench_is_quick() ? 0.05 : 2;

    (void)argument;
    int err = cpu_time_of_pool(&before);
    bench_sleep(length);
    if (!err)
        err = cpu_time_of_pool(&after);
    figures[0] = (after - before) / length;
    return err;
}

static const struct crowd couple = {2, 2};
static const struct crowd company = {64, 4};
static const struct crowd regiment = {512, 8};

static const bench_contestant couples[] = {
    {"libmp", NULL, pool_life_round, &couple},
    {"3 forks, 3 waits", NULL, fork_life_round, &couple},
    {"Python Pool", bench_python_prepare, bench_program_round, "life_2"},
};
static const bench_row couple_rows[] = {
    {"pool: 2 workers, new, one task, free", "ms", 0, 1, 0, BENCH_INFO, 0},
    {"pool: 2 workers, new, one task, free", "ms", 0, 2, 0, BENCH_INFO, 0},
};

static const bench_contestant companies[] = {
    {"libmp", NULL, pool_life_round, &company},
    {"65 forks, 65 waits", NULL, fork_life_round, &company},
    {"Python Pool", bench_python_prepare, bench_program_round, "life_64"},
};
static const bench_row company_rows[] = {
    {"pool: 64 workers, new, one task, free", "ms", 0, 1, 0, BENCH_AT_MOST, 1.3},
    {"pool: 64 workers, new, one task, free", "ms", 0, 2, 0, BENCH_INFO, 0},
};

static const bench_contestant regiments[] = {
    {"libmp", NULL, pool_life_round, &regiment},
    {"513 forks, 513 waits", NULL, fork_life_round, &regiment},
};
static const bench_row regiment_rows[] = {
    {"pool: 512 workers, new, one task, free", "ms", 0, 1, 0, BENCH_INFO, 0},
};

static const bench_contestant memory[] = {
    {"libmp", prepare_idle_pool, pool_memory_round, NULL},
    {"bare forked child", prepare_idle_forks, fork_memory_round, NULL},
    {"Python Pool", bench_python_prepare, bench_program_round, "memory"},
};
static const bench_row memory_rows[] = {
    {"pool: memory of an idle worker, PSS", "KiB", 0, 1, 0, BENCH_INFO, 0},
    {"pool: memory of an idle worker, PSS", "KiB", 0, 2, 0, BENCH_INFO, 0},
};

static const bench_contestant idle[] = {
    {"libmp", prepare_idle_pool, pool_idle_round, NULL},
};
static const bench_row idle_rows[] = {
    {"pool: processor time a second, idle", "us", 0, BENCH_NOBODY, 0, BENCH_INFO, 0},
};

const bench_contest bench_life_contests[] = {
    BENCH_CONTEST("pool life 2", couples, couple_rows, 0),
    BENCH_CONTEST("pool life 64", companies, company_rows, 0),
    BENCH_CONTEST("pool life 512", regiments, regiment_rows, 0),
    BENCH_CONTEST("pool memory", memory, memory_rows, 3),
    BENCH_CONTEST("pool idle", idle, idle_rows, 7),
    {.name = NULL},
};
