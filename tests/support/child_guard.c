/* SPDX-License-Identifier: MIT */
#include "child_guard.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int scaled(int ms)
{
    const char *text = getenv("MP_TEST_TIMEOUT_MULTIPLIER");
    double factor = text ? atof(text) : 1;
    return factor > 1 ? (int)(ms * factor) : ms;
}

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void guard_child(void)
{
    static const int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};

    setenv("CMOCKA_TEST_ABORT", "1", 1);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        signal(caught[i], SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    alarm((unsigned)scaled(60000) / 1000);
}

pid_t child_start(child_body *body, void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        guard_child();
        int code = body(arg);
        fflush(NULL);
        _exit(code);
    }
    return pid;
}

void sleep_us(long us)
{
    nanosleep(
        &(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000},
        NULL);
}

bool eventually(bool (*holds)(void *arg), void *arg, int timeout_ms)
{
    int64_t end = now_ms() + scaled(timeout_ms);

    for (;;) {
        if (holds(arg))
            return true;
        if (now_ms() > end)
            return false;
        sleep_us(300);
    }
}

int child_wait(pid_t pid, int timeout_ms)
{
    int64_t end = now_ms() + scaled(timeout_ms);
    int status;
    pid_t ended;

    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && now_ms() < end)
        sleep_us(300);
    if (ended == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return CHILD_STUCK;
    }
    if (ended != pid)
        return CHILD_STUCK + errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int child_run(child_body *body, void *arg)
{
    return child_wait(child_start(body, arg), 30000);
}

void *shared_page(size_t size)
{
    void *page =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        abort();
    return page;
}

void shared_page_free(void *page, size_t size)
{
    munmap(page, size);
}

/* State and parent of a process; false if it is gone. */
static bool read_stat(pid_t pid, char *state, pid_t *parent)
{
    char path[64], text[512];

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;

    /* The name stands in brackets and may contain some itself. */
    char *end = strrchr(text, ')');
    int number;
    if (!end || sscanf(end + 1, " %c %d", state, &number) != 2)
        return false;
    *parent = number;
    return true;
}

char process_state(pid_t pid)
{
    char state;
    pid_t parent;
    return read_stat(pid, &state, &parent) ? state : 0;
}

static bool is_asleep(void *arg)
{
    return process_state(*(pid_t *)arg) == 'S';
}

bool process_sleeps(pid_t pid, int timeout_ms)
{
    return eventually(is_asleep, &pid, timeout_ms);
}

size_t descendants(pid_t pid, pid_t *out, size_t capacity)
{
    size_t count = 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        pid_t child = (pid_t)atoi(entry->d_name), parent;
        char state;
        if (child <= 0 || !read_stat(child, &state, &parent) || parent != pid)
            continue;
        if (count < capacity)
            out[count++] = child;
        count += descendants(child, out + count, capacity - count);
    }
    closedir(dir);
    return count;
}

static bool is_gone(pid_t pid)
{
    if (waitpid(pid, NULL, WNOHANG) == pid)
        return true;
    char state = process_state(pid);
    /* A zombie runs no more; it waits for a parent that is another's to be blamed for.
     */
    return state == 0 || state == 'Z' || state == 'X';
}

size_t survivors(const pid_t *pids, size_t count, int timeout_ms)
{
    int64_t end = now_ms() + scaled(timeout_ms);

    for (;;) {
        size_t left = 0;
        for (size_t i = 0; i < count; i++)
            left += !is_gone(pids[i]);
        if (left == 0)
            return 0;
        if (now_ms() > end) {
            for (size_t i = 0; i < count; i++)
                if (!is_gone(pids[i]))
                    kill(pids[i], SIGKILL);
            return left;
        }
        sleep_us(500);
    }
}
