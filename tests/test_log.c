/* SPDX-License-Identifier: MIT */
/* test_log.c - what libmp tells of processes and pools, where, and to whom. */
#include "support/test.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "support/pool_tasks.h"
#include "support/rerun.h"

/* --- programs that are watched ---------------------------------------------------- */

static int three(void *arg)
{
    (void)arg;
    return 3;
}

static void run_process(const char *name)
{
    mp_process *p;

    assert_int_equal(mp_process_new(&p, three, NULL, MP_PROCESS_OPTIONS(.name = name)),
                     0);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(mp_process_join(p, MP_FOREVER), 0);
    mp_process_free(p);
}

/* A pool whose worker dies once and is replaced, and a process. */
static int live(void)
{
    mp_pool *pool;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1)), 0);
    assert_int_equal(mp_pool_apply(pool, die, NULL, 0, NULL, 0, NULL), EOWNERDEAD);
    assert_int_equal(mp_pool_apply(pool, nothing, NULL, 0, NULL, 0, NULL), 0);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, MP_FOREVER), 0);
    mp_pool_free(pool);
    run_process("Walter");
    return 0;
}

static int never_initialized(void *context)
{
    (void)context;
    _exit(7);
}

static int break_down(void)
{
    mp_pool *pool;
    mp_pool_status status;

    assert_int_equal(
        mp_pool_new(&pool,
                    MP_POOL_OPTIONS(.processes = 1, .max_deaths = 2, .lazy = true,
                                    .initializer = never_initialized)),
        0);
    assert_int_equal(mp_pool_apply(pool, nothing, NULL, 0, NULL, 0, NULL), EOWNERDEAD);
    assert_int_equal(mp_pool_get_status(pool, &status), 0);
    mp_pool_free(pool);
    return 0;
}

/* Stderr has no reader: the program must not notice. */
static int lose_the_reader(void)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    close(fds[0]);
    close(fds[1]);
    errno = ERANGE;
    run_process("Walter");
    return 0;
}

#define CROWD 40

static int crowd(void)
{
    mp_process *all[CROWD];

    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(mp_process_new(&all[i], three, NULL, NULL), 0);
        assert_int_equal(mp_process_start(all[i]), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(mp_process_join(all[i], MP_FOREVER), 0);
        mp_process_free(all[i]);
    }
    return 0;
}

static int by_hand(void)
{
    run_process("Unseen");
    mp_log_to_stderr(MP_LOG_INFO);
    run_process("Seen");
    mp_log_to_stderr(0);
    run_process("Unseen");
    return 0;
}

/* --- reading what they said ------------------------------------------------------- */

static char *run(const char *part, const char *level)
{
    char name[] = "/tmp/test_log.XXXXXX";
    int fd = mkstemp(name);

    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(rerun(part, level ? "MP_LOG" : NULL, level, fd), 0);
    char *text = whole_file(fd);
    close(fd);
    return text;
}

/* "2026-11-24T01:43:15.123456Z info [4711 MainProcess] text" */
static bool is_well_formed(const char *line)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.ddddddZ ";
    int pid, end = 0;
    char level[16], name[64];

    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'd' ? line[i] < '0' || line[i] > '9' : line[i] != shape[i])
            return false;
    if (sscanf(line + strlen(shape), "%15s [%d %63[^]]] %n", level, &pid, name, &end) !=
        3)
        return false;
    return end && pid > 0 && line[strlen(shape) + (size_t)end];
}

static size_t check_lines(const char *text)
{
    char *copy = strdup(text);
    size_t count = 0;

    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n"), count++)
        if (!is_well_formed(line))
            fail_msg("not a line of a log: %s", line);
    free(copy);
    return count;
}

/* --- tests ------------------------------------------------------------------------ */

static void test_silent_unless_asked(void **state)
{
    (void)state;
    static const char *const levels[] = {NULL, "", "0", "yes", "INFO!"};

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        char *text = run("live", levels[i]);
        assert_string_equal(text, "");
        free(text);
    }
}

static void test_tells_of_lives(void **state)
{
    (void)state;
    char *text = run("live", "info");

    check_lines(text);
    assert_int_equal(count_of(text, "PoolSupervisor] PoolWorker-1 forked, pid "), 2);
    assert_int_equal(count_of(text, "MainProcess] pool of 1 workers (supervisor "), 2);
    assert_int_equal(count_of(text, ") made\n"), 1);
    assert_int_equal(count_of(text, "warning [") + count_of(text, "error ["), 1);
    assert_int_equal(count_of(text, "died: signal 9\n"), 1);
    assert_int_equal(count_of(text, ") closed\n"), 1);
    assert_int_equal(count_of(text, "left: the pool is closed\n"), 1);
    assert_int_equal(count_of(text, "MainProcess] Walter started, pid "), 1);
    assert_int_equal(count_of(text, ") ended: exit code 3\n"), 1);
    assert_int_equal(count_of(text, "debug ["), 0);
    free(text);
}

static void test_debug_tells_more(void **state)
{
    (void)state;
    char *text = run("live", "debug");

    check_lines(text);
    assert_int_equal(count_of(text, " Walter] runs\n"), 1);
    assert_int_equal(count_of(text, " Walter] ends: exit code 3\n"), 1);
    assert_int_equal(count_of(text, " PoolWorker-1] ends: exit code 0\n"), 1);
    free(text);
}

static void test_levels(void **state)
{
    (void)state;
    char *text = run("live", "warning");

    assert_int_equal(check_lines(text), 1);
    assert_int_equal(count_of(text, " warning ["), 1);
    free(text);
    text = run("live", "error");
    assert_string_equal(text, "");
    free(text);
}

static void test_tells_why_a_pool_broke(void **state)
{
    (void)state;
    char *text = run("break_down", "error");

    assert_int_equal(check_lines(text), 2);
    assert_int_equal(count_of(text, "PoolSupervisor] pool broken: 2 workers died"), 1);
    assert_int_equal(count_of(text, "exit code 7"), 2);
    free(text);
}

static void test_stderr_without_a_reader(void **state)
{
    (void)state;
    assert_int_equal(rerun("lose_the_reader", "MP_LOG", "debug", -1), 0);
}

static void test_lines_stay_whole(void **state)
{
    (void)state;
    char *text = run("crowd", "debug");

    assert_int_equal(check_lines(text), 4 * CROWD);
    free(text);
}

static void test_to_stderr_by_hand(void **state)
{
    (void)state;
    char *text = run("by_hand", NULL);

    assert_int_equal(check_lines(text), 2);
    assert_int_equal(count_of(text, "Seen"), 2);
    free(text);
}

/* What the callback was told, in all processes. */
struct heard {
    atomic_int lines, supervisor, others, bad;
    pid_t client;
};

static void hear(mp_log_level level, const char *line, void *arg)
{
    struct heard *heard = arg;
    long pid = 0;
    char name[64] = "";

    atomic_fetch_add(&heard->lines, 1);
    if (sscanf(line, "[%ld %63[^]]] ", &pid, name) != 2 || pid != getpid() ||
        strchr(line, '\n') || level < MP_LOG_DEBUG || level > MP_LOG_ERROR)
        atomic_fetch_add(&heard->bad, 1);
    if (strcmp(name, "PoolSupervisor") == 0)
        atomic_fetch_add(&heard->supervisor, 1);
    else if (pid != heard->client)
        atomic_fetch_add(&heard->others, 1);
}

static void test_callback(void **state)
{
    (void)state;
    struct heard *heard = shared_page(sizeof *heard);

    heard->client = getpid();
    mp_log_set(hear, heard);
    assert_int_equal(live(), 0);
    mp_log_set(NULL, NULL);
    int lines = atomic_load(&heard->lines);
    assert_int_equal(live(), 0);

    assert_int_equal(atomic_load(&heard->lines), lines);
    assert_int_equal(atomic_load(&heard->bad), 0);
    /* Forked twice, died once, left once. */
    assert_int_equal(atomic_load(&heard->supervisor), 4);
    assert_int_equal(atomic_load(&heard->others), 3);
    shared_page_free(heard, sizeof *heard);
}

static void count_line(mp_log_level level, const char *line, void *arg)
{
    (void)level;
    (void)line;
    ++*(int *)arg;
    errno = EXDEV;
}

static void test_errno_is_kept(void **state)
{
    (void)state;
    mp_pool *pool;
    int lines = 0;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1)), 0);
    mp_log_set(count_line, &lines);
    errno = ERANGE;
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(errno, ERANGE);
    mp_log_set(NULL, NULL);
    assert_int_equal(lines, 1);
    mp_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"live", live},
        {"break_down", break_down},
        {"lose_the_reader", lose_the_reader},
        {"crowd", crowd},
        {"by_hand", by_hand},
    };
    const struct CMUnitTest tests[] = {
        TEST(test_silent_unless_asked),
        TEST(test_tells_of_lives),
        TEST(test_debug_tells_more),
        TEST(test_levels),
        TEST(test_tells_why_a_pool_broke),
        TEST(test_stderr_without_a_reader),
        TEST(test_lines_stay_whole),
        TEST(test_to_stderr_by_hand),
        TEST(test_callback),
        TEST(test_errno_is_kept),
    };

    if (argc > 1)
        return rerun_part(argv[1], parts, sizeof parts / sizeof *parts);
    return TEST_MAIN(tests);
}
