/* SPDX-License-Identifier: MIT */
/*
 * log.c - one write(2) for each line, without stdio and without locks: children of
 * programs with several threads tell things too.
 */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/thread_local.h"

#define LINE_SIZE 480 /* less than PIPE_BUF anywhere: lines are not torn */
#define NOTHING INT_MAX

_Atomic int mp__log_least = NOTHING;
const char *mp__log_name = "MainProcess";

static _Atomic int stderr_least = NOTHING;
static mp_log_fn *_Atomic callback;
static void *_Atomic callback_arg;

/* A callback that calls libmp all the same is not told of that. */
static MP__THREAD_LOCAL bool telling;

static const struct {
    mp_log_level level;
    const char *name;
} levels[] = {
    {MP_LOG_DEBUG, "debug"},
    {MP_LOG_INFO, "info"},
    {MP_LOG_WARNING, "warning"},
    {MP_LOG_ERROR, "error"},
};

static const char *level_name(mp_log_level level)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
        if (level <= levels[i].level)
            return levels[i].name;
    return "error";
}

const char *mp__environment(const char *name)
{
    return getuid() == geteuid() && getgid() == getegid() ? getenv(name) : NULL;
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *wanted = mp__environment("MP_LOG");

    for (size_t i = 0; wanted && i < sizeof(levels) / sizeof(*levels); i++)
        if (strcmp(wanted, levels[i].name) == 0)
            mp_log_to_stderr(levels[i].level);
}

/* The C library's own functions read files and take locks for the time of the place: this
   is UTC.  Days are counted from March, so that February's length comes last. */
static int print_time(char *text, size_t size)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    const long long days = now.tv_sec / 86400 + 719468;
    const long seconds = (long)(now.tv_sec % 86400);
    const long long era = days / 146097;
    const long day_of_era = (long)(days % 146097);
    const long year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const long day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const long from_march = (5 * day_of_year + 2) / 153;
    const long day = day_of_year - (153 * from_march + 2) / 5 + 1;
    const long month = from_march < 10 ? from_march + 3 : from_march - 9;
    const long long year = year_of_era + era * 400 + (month <= 2);

    return snprintf(text, size, "%04lld-%02ld-%02ldT%02ld:%02ld:%02ld.%06ldZ", year, month,
                    day, seconds / 3600, seconds / 60 % 60, seconds % 60,
                    now.tv_nsec / 1000);
}

/* Stderr may be a pipe that nobody reads: the host must not get a signal for that. */
static void write_quietly(const char *line, size_t size)
{
    sigset_t pipe, old, pending;
    int signal;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &old);
    const bool failed = write(STDERR_FILENO, line, size) < 0 && errno == EPIPE;
    if (failed && !sigismember(&pending, SIGPIPE)) {
        sigpending(&pending);
        if (sigismember(&pending, SIGPIPE))
            sigwait(&pipe, &signal);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static size_t cut(int wanted, size_t room)
{
    return wanted < 0 ? 0 : (size_t)wanted < room ? (size_t)wanted : room - 1;
}

static size_t print_start(char *text, size_t size, mp_log_level level)
{
    const size_t length = cut(print_time(text, size), size);
    const size_t room = size - length;

    return length + cut(snprintf(text + length, room, " %s ", level_name(level)), room);
}

static size_t print_line(char *line, const char *format, va_list arguments)
{
    const int wanted =
        snprintf(line, LINE_SIZE, "[%ld %s] ", (long)getpid(), mp__log_name);
    const size_t length = cut(wanted, LINE_SIZE);

    const size_t room = LINE_SIZE - length;
    return length + cut(vsnprintf(line + length, room, format, arguments), room);
}

void mp__log_tell(mp_log_level level, const char *format, ...)
{
    const int saved = errno;
    mp_log_fn *const call = atomic_load(&callback);
    char text[LINE_SIZE + 48];
    size_t start = 0;
    va_list arguments;

    if (telling)
        return;
    if (!call)
        start = print_start(text, sizeof(text), level);
    va_start(arguments, format);
    size_t length = start + print_line(text + start, format, arguments);
    va_end(arguments);
    if (call) {
        telling = true;
        call(level, text, atomic_load(&callback_arg));
        telling = false;
    } else {
        text[length++] = '\n';
        write_quietly(text, length);
    }
    errno = saved;
}

static void choose_least(void)
{
    atomic_store(&mp__log_least,
                 atomic_load(&callback) ? MP_LOG_DEBUG : atomic_load(&stderr_least));
}

void mp_log_set(mp_log_fn *new_callback, void *arg)
{
    atomic_store(&callback_arg, arg);
    atomic_store(&callback, new_callback);
    choose_least();
}

void mp_log_to_stderr(mp_log_level level)
{
    atomic_store(&stderr_least, (int)level <= 0 ? NOTHING : (int)level);
    choose_least();
}
