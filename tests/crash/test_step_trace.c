/* SPDX-License-Identifier: MIT */
/*
 * test_step_trace.c - whoever writes a trace is killed at every instruction of it: no
 * event is lost or doubled, and no line torn.
 */
#include "support/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mp/mp.h>

#include "pool/trace.h"
#include "shm/member.h"
#include "stepkill.h"

static struct mp__pool_shared *shared;
static const mp_task_failure death = {.error = EOWNERDEAD, .exitcode = -9};
static off_t start; /* of what this victim and its check write */

static off_t file_size(void)
{
    struct stat stat_of_it;

    assert_int_equal(stat(getenv("MP_TRACE"), &stat_of_it), 0);
    return stat_of_it.st_size;
}

static void prepare(void *arg)
{
    (void)arg;
    memset(shared->traces, 0, 2 * sizeof *shared->traces);
    start = file_size();
    mp__trace_enter(shared, 0);
    /* Its birth need not be written: that is half of all instructions. */
    atomic_store(&shared->traces[0].written, 1);
}

/* What a worker left is written by its supervisor, which is killed. */
static void bury(void *arg)
{
    (void)arg;
    stepkill_begin();
    mp__trace_bury(shared, 0, &death);
    stepkill_end();
}

/* Another worker's life comes in between; then somebody else does it once more. */
static int check(void *arg)
{
    char text[4096] = "";
    (void)arg;

    mp__trace_enter(shared, 1);
    mp__trace_bury(shared, 1, &death);
    mp__trace_bury(shared, 0, &death);
    int fd = open(getenv("MP_TRACE"), O_RDONLY | O_CLOEXEC);
    ssize_t size = pread(fd, text, sizeof text - 1, start);
    close(fd);
    if (size <= 0 || text[size - 1] != '\n' || count_of(text, "\n") != 3 ||
        count_of(text, "}},\n{") != 2 || count_of(text, "process_name") != 1 ||
        count_of(text, "PoolWorker-1") != 1 || count_of(text, "PoolWorker-2") != 2) {
        fprintf(stderr, "%s", text);
        return STEPKILL_WRONG;
    }
    return STEPKILL_RIGHT;
}

static void test_writer(void **state)
{
    (void)state;
    const struct stepkill_case c = {
        .name = "trace: bury",
        .prepare = prepare,
        .victim = bury,
        .check = check,
        .check_ms = 2000,
        .limit = stepkill_limit(2000),
    };

    assert_int_equal(mp__join(), 0);
    shared = mp_shared_alloc(sizeof *shared);
    assert_non_null(shared);
    shared->place_count = 2;
    shared->workers = mp_shared_alloc(2 * sizeof *shared->workers);
    mp__trace_prepare(shared);
    assert_non_null(shared->traces);
    struct stepkill_counts counts = stepkill_run(&c);
    assert_true(counts.points > 0);
    assert_int_equal(counts.stuck + counts.wrong, 0);
    mp__trace_free(shared);
    mp_shared_free(shared->workers);
    mp_shared_free(shared);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {TEST(test_writer)};

    if (!stepkill_allowed())
        return SKIPPED;
    if (argc == 1) {
        /* What libmp reads when it is loaded. */
        char name[] = "/tmp/test_step_trace.XXXXXX";
        close(mkstemp(name));
        setenv("MP_TRACE", name, 1);
        execl("/proc/self/exe", argv[0], "traced", (char *)NULL);
        return 1;
    }
    int failed = TEST_MAIN(tests);
    unlink(getenv("MP_TRACE"));
    return failed;
}
