/* SPDX-License-Identifier: MIT */
/*
 * cpu.c - how many processors there are, and how many may be used.
 *
 * A quota of processor time is a limit of a control group: "cpu.max" of version 2 holds
 * "<quota> <period>", version 1 has a file for each.  A group has no more than the
 * groups above it, so all up to the root are read.  In a container the root that is
 * seen is the container's own group, and the path that the kernel names may not exist
 * below it: what can't be read sets no limit.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cpu.h"
#include "mp/context.h"

#if defined(__linux__) && !defined(MP_PORTABLE)
#define HAVE_LINUX 1
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#endif

#define CPU_BOUND 65535 /* of MP_CPU_COUNT */

unsigned mp_processor_count(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    return online > 0 ? (unsigned)online : 1;
}

/* What MP_CPU_COUNT asks for, or 0. */
static unsigned count_of_environment(void)
{
    const char *text = getenv("MP_CPU_COUNT");
    if (!text || *text < '0' || *text > '9')
        return 0;

    char *end;
    long count = strtol(text, &end, 10);
    return *end || count < 1 || count > CPU_BOUND ? 0 : (unsigned)count;
}

#ifdef HAVE_LINUX

#define MASK_BOUND (1 << 20) /* processors; far above what any kernel is built for */

/* The beginning of a small file as a string; false if there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;

    size_t length = 0;
    while (length < size - 1) {
        ssize_t got = read(fd, text + length, size - 1 - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    close(fd);
    text[length] = '\0';
    return length > 0;
}

/* The processors of the affinity mask, or 0 if that can't be known. */
static unsigned count_of_affinity(void)
{
    cpu_set_t usual;

    if (!sched_getaffinity(0, sizeof(usual), &usual))
        return (unsigned)CPU_COUNT(&usual);

    /* EINVAL: the kernel's mask is larger than the one it was offered. */
    for (size_t cpus = CPU_SETSIZE; errno == EINVAL && cpus < MASK_BOUND;) {
        cpus *= 2;
        size_t size = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *set = mp__sys_calloc(1, size);
        if (!set)
            return 0;

        int failed = sched_getaffinity(0, size, set);
        int err = errno;
        unsigned count = failed ? 0 : (unsigned)CPU_COUNT_S(size, set);
        free(set);
        if (!failed)
            return count;
        errno = err;
    }
    return 0;
}

/* Processors that a quota is worth, rounded up; 0 for none. */
static unsigned worth(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;

    long long count = quota / period + (quota % period != 0);
    return count > CPU_BOUND ? CPU_BOUND : (unsigned)count;
}

/* The beginning of the file `name` of a group as a string; false if there is none. */
static bool read_of_group(const char *group, const char *name, char *text, size_t size)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", group, name);

    return length > 0 && length < (int)sizeof(path) && read_text(path, text, size);
}

/* The limit that a group of version 2 sets itself. */
static unsigned quota_of_unified(const char *group)
{
    char text[64];

    if (!read_of_group(group, "cpu.max", text, sizeof(text)))
        return 0;

    char *end;
    long long quota = strtoll(text, &end, 10); /* 0 for "max" */
    return worth(quota, strtoll(end, NULL, 10));
}

/* The limit that a group of version 1 sets itself; its quota is -1 for none. */
static unsigned quota_of_legacy(const char *group)
{
    char quota[32], period[32];

    if (!read_of_group(group, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !read_of_group(group, "cpu.cfs_period_us", period, sizeof(period)))
        return 0;
    return worth(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static unsigned smaller_limit(unsigned a, unsigned b)
{
    return !a || (b && b < a) ? b : a;
}

/* The smallest limit of the group `name` and the groups above it, below `root`. */
static unsigned quota_along(const char *root, const char *name,
                            unsigned (*quota_of)(const char *group))
{
    char group[PATH_MAX];
    size_t root_length = strlen(root);

    /* "/../x" is a group outside of what this container sees. */
    if (strncmp(name, "/..", 3) == 0)
        name = "";
    if (snprintf(group, sizeof(group), "%s%s", root, name) >= (int)sizeof(group))
        return 0;

    unsigned limit = 0;
    for (;;) {
        limit = smaller_limit(limit, quota_of(group));
        char *slash = strrchr(group + root_length, '/');
        if (!slash)
            return limit;
        *slash = '\0';
    }
}

/* Whether the list "a,b,c" contains "cpu". */
static bool lists_cpu(const char *list)
{
    for (; *list; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == 3 && strncmp(list, "cpu", 3) == 0)
            return true;
    return false;
}

/* One line of /proc/self/cgroup: "<number>:<controllers>:<group>". */
static unsigned quota_of_line(char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return 0;

    *group++ = '\0';
    controllers++;
    if (!*controllers)
        return smaller_limit(
            quota_along("/sys/fs/cgroup", group, quota_of_unified),
            quota_along("/sys/fs/cgroup/unified", group, quota_of_unified));
    if (lists_cpu(controllers))
        return quota_along("/sys/fs/cgroup/cpu", group, quota_of_legacy);
    return 0;
}

static unsigned count_of_quota(void)
{
    char text[8192], *rest = text;

    if (!read_text("/proc/self/cgroup", text, sizeof(text)))
        return 0;

    unsigned limit = 0;
    while (*rest) {
        char *line = rest;
        rest += strcspn(rest, "\n");
        if (*rest)
            *rest++ = '\0';
        limit = smaller_limit(limit, quota_of_line(line));
    }
    return limit;
}

static unsigned count_of_limits(void)
{
    return smaller_limit(count_of_affinity(), count_of_quota());
}

#else

static unsigned count_of_limits(void)
{
    return 0;
}

#endif

unsigned mp_cpu_count(void)
{
    unsigned count = count_of_environment();
    if (count)
        return count;

    unsigned online = mp_processor_count();
    unsigned limit = count_of_limits();
    return limit && limit < online ? limit : online;
}

#ifdef HAVE_LINUX

void mp__cpu_pin(unsigned nth)
{
    cpu_set_t all, one;

    if (sched_getaffinity(0, sizeof(all), &all))
        return; /* more processors than fit: leave it to the system */
    nth %= (unsigned)CPU_COUNT(&all);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && nth-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof(one), &one);
            return;
        }
}

#else

void mp__cpu_pin(unsigned nth)
{
    (void)nth;
}

#endif
