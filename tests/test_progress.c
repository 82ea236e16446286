/* SPDX-License-Identifier: MIT */
/* test_progress.c - the progress of maps, and what the bar prints on a terminal. */
#include "support/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <mp/mp.h>

/* --- calls ------------------------------------------------------------------------ */

/* What the calls of one map have said. */
struct calls {
    unsigned count;
    unsigned at_end; /* of these, with all items done */
    bool fell;       /* it went backwards */
    mp_progress last;
    _Atomic int *go; /* set by a call that finds one item left; or NULL */
};

static void note(const mp_progress *progress, void *arg)
{
    struct calls *calls = arg;

    calls->count++;
    calls->at_end += progress->done == progress->total;
    calls->fell |= progress->done < calls->last.done ||
                   progress->elapsed_ms < calls->last.elapsed_ms;
    calls->last = *progress;
    if (calls->go && progress->done == progress->total - 1)
        atomic_store(calls->go, 1);
}

/* The last item waits for the word at `context`, which only a call of `note` sets. */
static int wait_if_last(const void *arg, void *result, void *context)
{
    (void)result;
    guard_child();
    if (*(const uint64_t *)arg == 99)
        while (!atomic_load((_Atomic int *)context))
            sched_yield();
    return 0;
}

static int fail_if_odd(const void *arg, void *result, void *context)
{
    (void)context;
    if (result)
        *(int *)result = *(const int *)arg;
    return *(const int *)arg % 2 ? ERANGE : 0;
}

static mp_pool *make(void)
{
    mp_pool *pool;
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    return pool;
}

static void test_called_while_waiting(void **state)
{
    (void)state;
    mp_pool *pool = make();
    _Atomic int *go = mp_shared_alloc(sizeof *go);
    struct calls calls = {.go = go};

    assert_non_null(go);
    assert_int_equal(
        mp_pool_map(pool, wait_if_last, NULL, 100, 0, NULL, 0,
                    MP_MAP_OPTIONS(.context = (void *)go, .progress = note,
                                   .progress_arg = &calls, .progress_ms = 1)),
        0);
    assert_true(calls.count >= 2);
    assert_int_equal(calls.at_end, 1);
    assert_false(calls.fell);
    assert_int_equal(calls.last.done, 100);
    assert_int_equal(calls.last.total, 100);
    assert_int_equal(calls.last.failed, 0);
    mp_shared_free((void *)go);
    mp_pool_free(pool);
}

/* Of many windows, so that the caller copies meanwhile. */
static void test_failures_are_counted(void **state)
{
    (void)state;
    enum { ITEMS = 300000 };
    mp_pool *pool = make();
    int *items = malloc(ITEMS * sizeof *items),
        *results = malloc(ITEMS * sizeof *items);
    struct calls calls = {0};

    assert_non_null(items);
    assert_non_null(results);
    for (int i = 0; i < ITEMS; i++)
        items[i] = i;
    assert_int_equal(
        mp_pool_map(
            pool, fail_if_odd, items, ITEMS, sizeof *items, results, sizeof *results,
            MP_MAP_OPTIONS(.progress = note, .progress_arg = &calls, .progress_ms = 1)),
        ERANGE);
    assert_int_equal(calls.at_end, 1);
    assert_int_equal(calls.last.done, ITEMS);
    assert_int_equal(calls.last.failed, ITEMS / 2);
    free(items);
    free(results);
    mp_pool_free(pool);
}

static void test_called_once_at_the_end(void **state)
{
    (void)state;
    mp_pool *pool = make();
    struct calls calls = {0};
    int item = 2;

    /* Far too short for the ordinary interval; and nothing to do at all. */
    assert_int_equal(
        mp_pool_map(pool, fail_if_odd, &item, 1, sizeof item, NULL, 0,
                    MP_MAP_OPTIONS(.progress = note, .progress_arg = &calls)),
        0);
    assert_int_equal(calls.count, 1);
    assert_int_equal(calls.at_end, 1);
    assert_int_equal(
        mp_pool_map(pool, fail_if_odd, NULL, 0, 0, NULL, 0,
                    MP_MAP_OPTIONS(.progress = note, .progress_arg = &calls)),
        0);
    assert_int_equal(calls.count, 2);
    assert_int_equal(calls.last.total, 0);
    /* No call if nothing was run. */
    assert_int_equal(
        mp_pool_map(pool, fail_if_odd, &item, 1, sizeof item, NULL, 0,
                    MP_MAP_OPTIONS(.progress = note, .progress_arg = &calls,
                                   .progress_ms = -1)),
        EINVAL);
    mp_pool_close(pool);
    assert_int_equal(
        mp_pool_map(pool, fail_if_odd, &item, 1, sizeof item, NULL, 0,
                    MP_MAP_OPTIONS(.progress = note, .progress_arg = &calls)),
        EPIPE);
    assert_int_equal(calls.count, 2);
    mp_pool_free(pool);
}

static void test_stopped_map(void **state)
{
    (void)state;
    enum { ITEMS = 1000000 };
    mp_pool *pool = make();
    int *items = malloc(ITEMS * sizeof *items), *errors = malloc(ITEMS * sizeof *items);
    struct calls calls = {0};

    assert_non_null(items);
    assert_non_null(errors);
    for (int i = 0; i < ITEMS; i++)
        items[i] = 1;
    assert_int_equal(
        mp_pool_map(pool, fail_if_odd, items, ITEMS, sizeof *items, NULL, 0,
                    MP_MAP_OPTIONS(.stop_at_failure = 1, .errors = errors,
                                   .progress = note, .progress_arg = &calls)),
        ERANGE);
    assert_true(calls.count >= 1);
    /* Windows that were not begun are not done, but all have an error. */
    assert_true(calls.last.done < ITEMS);
    for (int i = 0; i < ITEMS; i++)
        if (errors[i] != ECANCELED)
            assert_int_equal(errors[i], ERANGE);
    free(items);
    free(errors);
    mp_pool_free(pool);
}

/* --- the bar ---------------------------------------------------------------------- */

/* Standard error is a terminal of its own between the two calls. */
struct terminal {
    int master;
    int saved; /* standard error as it was */
};

/* A system without /dev/pts, a bare chroot for example, has no terminals to give. */
static int open_slave(int master)
{
    const char *name = ptsname(master);

    if (grantpt(master) != 0 || unlockpt(master) != 0 || !name)
        return -1;
    return open(name, O_RDWR | O_NOCTTY);
}

static void terminal_open(struct terminal *terminal, unsigned short columns)
{
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    struct termios raw;

    terminal->master = posix_openpt(O_RDWR | O_NOCTTY);
    int slave = terminal->master < 0 ? -1 : open_slave(terminal->master);
    if (slave < 0) {
        fprintf(stderr, "SKIPPED: this system has no pseudo terminals\n");
        if (terminal->master >= 0)
            close(terminal->master);
        skip();
    }
    assert_int_equal(tcgetattr(slave, &raw), 0);
    raw.c_oflag &= ~(tcflag_t)OPOST;
    assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
    assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
    terminal->saved = dup(STDERR_FILENO);
    assert_true(terminal->saved >= 0);
    assert_int_equal(dup2(slave, STDERR_FILENO), STDERR_FILENO);
    close(slave);
}

/* What was printed in the meantime. */
static void terminal_close(struct terminal *terminal, char *text, size_t size)
{
    struct pollfd ready = {.fd = terminal->master, .events = POLLIN};
    size_t length = 0;

    while (poll(&ready, 1, 0) == 1 && ready.revents & POLLIN && length + 1 < size) {
        ssize_t got = read(terminal->master, text + length, size - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    text[length] = '\0';
    assert_int_equal(dup2(terminal->saved, STDERR_FILENO), STDERR_FILENO);
    close(terminal->saved);
    close(terminal->master);
}

static void draw(mp_progress progress, const char *title, unsigned short columns,
                 char *text, size_t size)
{
    struct terminal terminal;

    terminal_open(&terminal, columns);
    mp_progress_bar(&progress, (void *)(uintptr_t)title);
    terminal_close(&terminal, text, size);
}

static void assert_bar(mp_progress progress, const char *title, const char *expected)
{
    char text[4096];

    draw(progress, title, 70, text, sizeof text);
    assert_string_equal(text, expected);
}

static void test_bar(void **state)
{
    (void)state;
    unsetenv("COLUMNS");
    assert_bar(
        (mp_progress){.total = 10000}, NULL,
        "\r  0% [......................................................] 0/10000");
    assert_bar(
        (mp_progress){.done = 4200, .total = 10000, .elapsed_ms = 2000}, NULL,
        "\r 42% [#############....................] 4200/10000  2.1k/s  ETA 0:03");
    assert_bar(
        (mp_progress){.done = 5, .failed = 2, .total = 10, .elapsed_ms = 50000},
        "convert",
        "\rconvert  50% [###########...........] 5/10  0.1/s  ETA 0:50  2 failed");
    assert_bar(
        (mp_progress){.done = 9999, .total = 10000, .elapsed_ms = 2000}, "x",
        "\rx  99% [##############################.] 9999/10000  5.0k/s  ETA 0:00");
    assert_bar(
        (mp_progress){.done = 20000000, .total = 20000000, .elapsed_ms = 4000000},
        "all",
        "\rall 100% [####################] 20000000/20000000  5.0k/s  in 1:06:40\n");
    assert_bar(
        (mp_progress){.done = 0, .total = 0}, NULL,
        "\r100% [#################################################] 0/0  in 0:00\n");
    /* It may be asked for the progress of something that has no end. */
    assert_bar(
        (mp_progress){.done = 1, .total = UINT64_MAX, .elapsed_ms = 1000}, NULL,
        "\r  0% [..............] 1/18446744073709551615  1.0/s  ETA 277777:46:40");
}

/* One line is as long as another, and none is too long. */
static void test_widths(void **state)
{
    (void)state;
    char text[8192];
    mp_progress progress = {
        .done = 123456, .failed = 12, .total = 1234567, .elapsed_ms = 3456};

    for (unsigned short columns = 1; columns < 200; columns++) {
        draw(progress, columns % 2 ? NULL : "A title of some length", columns, text,
             sizeof text);
        assert_int_equal(text[0], '\r');
        size_t expected = columns < 20 ? 19 : columns - 1u;
        assert_int_equal(strlen(text), expected + 1);
        assert_null(strpbrk(text + 1, "\r\n"));
    }
    /* The environment says more than the terminal. */
    setenv("COLUMNS", "33", 1);
    draw(progress, NULL, 100, text, sizeof text);
    assert_int_equal(strlen(text), 33);
    /* What does not know its width has 80 columns. */
    setenv("COLUMNS", "", 1);
    draw(progress, NULL, 0, text, sizeof text);
    assert_int_equal(strlen(text), 80);
    unsetenv("COLUMNS");
}

/* Characters are cut as a whole. */
static void test_title_in_utf8(void **state)
{
    (void)state;
    char text[4096];
    mp_progress progress = {.done = 1, .total = 2};

    draw(progress, "\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac", 40, text, sizeof text);
    assert_int_equal(strncmp(text, "\r\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac  50% [", 17),
                     0);
    draw(progress, "\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", 20,
         text, sizeof text);
    assert_int_equal(strncmp(text, "\r\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac  50%", 15),
                     0);
}

static void test_silence(void **state)
{
    (void)state;
    char text[64];
    int ends[2], saved = dup(STDERR_FILENO);

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    mp_progress_bar(&(mp_progress){.done = 1, .total = 1}, NULL);
    mp_progress_bar(NULL, NULL);
    close(STDERR_FILENO);
    errno = ENOENT;
    mp_progress_bar(&(mp_progress){.done = 1, .total = 1}, NULL);
    assert_int_equal(errno, ENOENT);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    assert_int_equal(read(ends[0], text, sizeof text), 0);
    close(ends[0]);
}

/* With a map: the last line is the only one that ends. */
static void test_bar_of_a_map(void **state)
{
    (void)state;
    char text[8192];
    struct terminal terminal;
    int items[500] = {0};

    /* Workers must not inherit it; but where there is none, the test ends here. */
    terminal_open(&terminal, 60);
    terminal_close(&terminal, text, sizeof text);
    mp_pool *pool = make();
    terminal_open(&terminal, 60);
    int err = mp_pool_map(pool, fail_if_odd, items, 500, sizeof *items, NULL, 0,
                          MP_MAP_OPTIONS(.progress = mp_progress_bar,
                                         .progress_arg = "squares", .progress_ms = 1));
    terminal_close(&terminal, text, sizeof text);
    assert_int_equal(err, 0);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    const char *last = strrchr(text, '\r');
    assert_non_null(last);
    assert_int_equal(strncmp(last, "\rsquares 100% [####", 19), 0);
    assert_non_null(strstr(last, "] 500/500"));
    mp_pool_free(pool);
}

int main(void)
{
    static const struct CMUnitTest progress[] = {
        TEST(test_called_while_waiting),
        TEST(test_failures_are_counted),
        TEST(test_called_once_at_the_end),
        TEST(test_stopped_map),
        TEST(test_bar),
        TEST(test_widths),
        TEST(test_title_in_utf8),
        TEST(test_silence),
        TEST(test_bar_of_a_map),
    };

    return TEST_MAIN(progress);
}
