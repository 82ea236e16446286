/* SPDX-License-Identifier: MIT */
/*
 * rerun.h - this test program once more, with another environment, for what libmp reads
 * when it is loaded.  main() of such a test begins with
 *
 *   if (argc > 1)
 *       return rerun_part(argv[1], parts, count);
 */
#ifndef TEST_RERUN_H
#define TEST_RERUN_H

#include <fcntl.h>
#include <unistd.h>

#include "test.h"

struct part {
    const char *name;
    int (*run)(void);
};

static inline int rerun_part(const char *name, const struct part *parts, size_t count)
{
    guard_child();
    for (size_t i = 0; i < count; i++)
        if (strcmp(parts[i].name, name) == 0)
            return parts[i].run();
    return 99;
}

struct rerun {
    const char *part;
    const char *variable; /* of the environment, or NULL */
    const char *value;
    int error_fd; /* becomes stderr, or -1 */
};

static inline int rerun_body(void *arg)
{
    const struct rerun *what = arg;

    if (what->variable)
        setenv(what->variable, what->value, 1);
    if (what->error_fd >= 0)
        dup2(what->error_fd, STDERR_FILENO);
    execl("/proc/self/exe", "test", what->part, (char *)NULL);
    return 98;
}

/* Returns as child_run. */
static inline int rerun(const char *part, const char *variable, const char *value,
                        int error_fd)
{
    struct rerun what = {part, variable, value, error_fd};

    return child_run(rerun_body, &what);
}

/* A file of a test, by descriptor: what is in it, with a zero behind, to be freed. */
static inline char *whole_file(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = malloc((size_t)size + 1);

    if (!text || pread(fd, text, (size_t)size, 0) != (ssize_t)size)
        abort();
    text[size] = 0;
    return text;
}

#endif
