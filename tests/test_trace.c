/* SPDX-License-Identifier: MIT */
/* test_trace.c - MP_TRACE: the file, and whether it tells what happened, also to those
   that were killed. */
#include "support/test.h"

#include <ctype.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "support/pool_tasks.h"
#include "support/rerun.h"

#define TASKS 1000
#define ITEMS 20000

/* --- programs that are traced ----------------------------------------------------- */

static int refuse(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return ERANGE;
}

/* Every thousandth item kills its worker, every hundredth fails. */
static int die_sometimes(const void *arg, void *result, void *context)
{
    const uint64_t item = *(const uint64_t *)arg;

    if (item % 1000 == 500)
        return die(arg, result, context);
    return item % 100 == 7 ? ERANGE : 0;
}

static void end(mp_pool *pool)
{
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, MP_FOREVER), 0);
    mp_pool_free(pool);
}

static void apply_many(mp_pool *pool, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(mp_pool_apply_async(pool, nothing, NULL, 0, 0, NULL, NULL), 0);
}

static int map_range(mp_pool *pool, mp_task_fn *task, size_t chunk)
{
    return mp_pool_map(pool, task, NULL, ITEMS, 0, NULL, 0,
                       MP_MAP_OPTIONS(.chunk_size = chunk));
}

static int plain(void)
{
    mp_pool *pool = new_pool(2);

    apply_many(pool, TASKS);
    assert_int_equal(mp_pool_apply(pool, refuse, NULL, 0, NULL, 0, NULL), ERANGE);
    assert_int_equal(map_range(pool, nothing, 7), 0);
    end(pool);
    return 0;
}

static int deaths(void)
{
    mp_pool *pool = new_pool(2);

    assert_int_equal(mp_pool_apply(pool, die, NULL, 0, NULL, 0, NULL), EOWNERDEAD);
    assert_int_equal(map_range(pool, die_sometimes, 13), ERANGE);
    end(pool);
    return 0;
}

#define KILLS 60

/* Workers are killed from outside, at any instruction: most of them write the trace. */
static int murders(void)
{
    mp_pool *pool = new_pool(2);
    uint64_t random = 88172645463325252;

    for (int i = 0; i < KILLS; i++) {
        mp_async_result *map;
        pid_t victim;
        assert_int_equal(
            mp_pool_apply(pool, get_pid, NULL, 0, &victim, sizeof victim, NULL), 0);
        assert_int_equal(mp_pool_map_async(pool, nothing, NULL, ITEMS, 0, NULL, 0,
                                           MP_MAP_OPTIONS(.chunk_size = 1), &map),
                         0);
        for (uint64_t k = next_random(&random) % 20000; k; k--)
            atomic_signal_fence(memory_order_seq_cst);
        kill(victim, SIGKILL);
        int err = mp_async_result_get(map, NULL, 0, MP_FOREVER);
        assert_true(err == 0 || err == EOWNERDEAD);
        mp_async_result_free(map);
    }
    end(pool);
    return 0;
}

static int with_own_pool(void *arg)
{
    (void)arg;
    mp_pool *pool = new_pool(1);

    apply_many(pool, TASKS);
    end(pool);
    return 0;
}

static int task_with_own_pool(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return with_own_pool(NULL);
}

#define FAMILY 6

/* Siblings that all make their first pool at the same time, and a worker with a pool.
 */
static int family(void)
{
    mp_process *all[FAMILY];
    int code;

    for (int i = 0; i < FAMILY; i++) {
        assert_int_equal(mp_process_new(&all[i], with_own_pool, NULL, NULL), 0);
        assert_int_equal(mp_process_start(all[i]), 0);
    }
    for (int i = 0; i < FAMILY; i++) {
        assert_int_equal(mp_process_join(all[i], MP_FOREVER), 0);
        assert_int_equal(mp_process_exitcode(all[i], &code), 0);
        assert_int_equal(code, 0);
        mp_process_free(all[i]);
    }
    mp_pool *pool = new_pool(1);
    assert_int_equal(mp_pool_apply(pool, task_with_own_pool, NULL, 0, NULL, 0, NULL),
                     0);
    end(pool);
    return 0;
}

/* The program goes elsewhere, and ends without freeing its pool. */
static int careless(void)
{
    if (chdir("/"))
        return 1;
    mp_pool *pool = new_pool(2);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mp_pool_apply(pool, nothing, NULL, 0, NULL, 0, NULL), 0);
    exit(0);
}

static int serial(void)
{
    setenv("MP_SERIAL", "1", 1);
    return plain();
}

/* --- reading the file ------------------------------------------------------------- */

static bool skip_value(const char **text);

static bool skip_string(const char **text)
{
    if (*(*text)++ != '"')
        return false;
    while (**text && **text != '"' && **text != '\\')
        ++*text;
    return *(*text)++ == '"';
}

static bool skip_number(const char **text)
{
    char *stop;

    (void)strtod(*text, &stop);
    bool any = stop != *text && !isspace((unsigned char)**text);
    *text = stop;
    return any;
}

static bool skip_object(const char **text)
{
    do {
        ++*text;
        if (!skip_string(text) || *(*text)++ != ':' || !skip_value(text))
            return false;
    } while (**text == ',');
    return *(*text)++ == '}';
}

/* JSON as far as a trace has it: objects, strings without escapes, numbers. */
static bool skip_value(const char **text)
{
    if (**text == '{')
        return skip_object(text);
    return **text == '"' ? skip_string(text) : skip_number(text);
}

static double number_in(const char *line, const char *name)
{
    const char *at = strstr(line, name);

    return at ? strtod(at + strlen(name), NULL) : 0;
}

struct seen {
    size_t tasks, batches, births, lives, killed, refused_tasks, failed_items;
    double items;
    size_t dead_batches, dead_tasks;
    unsigned char *times; /* each item of the map was run */
};

static void see_task(struct seen *seen, const char *line)
{
    int error = (int)number_in(line, "\"error\":");

    seen->tasks++;
    seen->refused_tasks += error == ERANGE;
    seen->dead_tasks += error == EOWNERDEAD;
    assert_true(number_in(line, "\"items\":") == 1);
}

static void see_batch(struct seen *seen, const char *line)
{
    size_t first = (size_t)number_in(line, "\"index\":");
    size_t items = (size_t)number_in(line, "\"items\":");

    seen->batches++;
    seen->dead_batches += number_in(line, "\"error\":") == EOWNERDEAD;
    seen->failed_items += (size_t)number_in(line, "\"failed\":");
    seen->items += (double)items;
    assert_true(items >= 1 && first + items <= ITEMS);
    for (size_t i = first; i < first + items; i++)
        seen->times[i]++;
}

static void see_line(struct seen *seen, const char *line)
{
    const char *at = line;

    if (!skip_value(&at) || strcmp(at, ",") != 0)
        fail_msg("no JSON: %s", line);
    assert_true(number_in(line, "\"pid\":") > 0);
    assert_true(number_in(line, "\"tid\":") > 0);
    if (strstr(line, "\"ph\":\"M\"")) {
        seen->births++;
        return;
    }
    assert_non_null(strstr(line, "\"ph\":\"X\""));
    assert_true(number_in(line, "\"ts\":") > 0 && number_in(line, "\"dur\":") >= 0);
    if (strstr(line, "\"name\":\"task\"")) {
        see_task(seen, line);
    } else if (strstr(line, "\"name\":\"map\"")) {
        see_batch(seen, line);
    } else {
        seen->lives++;
        seen->killed += number_in(line, "\"exitcode\":") == -9;
    }
}

static struct seen see(int fd)
{
    struct seen seen = {.times = calloc(ITEMS, 1)};
    char *text = whole_file(fd), *rest = NULL;
    size_t size = strlen(text);

    assert_non_null(seen.times);
    assert_true(size > 2 && text[size - 1] == '\n');
    char *line = strtok_r(text, "\n", &rest);
    assert_string_equal(line, "[");
    while ((line = strtok_r(NULL, "\n", &rest)) != NULL)
        see_line(&seen, line);
    free(text);
    return seen;
}

/* Run a part with a trace, over an older file that is longer, and read it. */
static struct seen trace(const char *part)
{
    char name[] = "/tmp/test_trace.XXXXXX";
    int fd = mkstemp(name);

    assert_true(fd >= 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "what was there before\n", 22), 22);
    int code = rerun(part, "MP_TRACE", name, -1);
    unlink(name);
    assert_int_equal(code, 0);
    struct seen seen = see(fd);
    close(fd);
    return seen;
}

/* --- tests ------------------------------------------------------------------------ */

static void assert_each_item_once(const struct seen *seen, unsigned times)
{
    for (size_t i = 0; i < ITEMS; i++)
        if (seen->times[i] != times)
            fail_msg("item %zu is %d times in the trace", i, seen->times[i]);
}

static void test_tells_what_ran(void **state)
{
    (void)state;
    struct seen seen = trace("plain");

    assert_int_equal(seen.tasks, TASKS + 1);
    assert_int_equal(seen.refused_tasks, 1);
    assert_each_item_once(&seen, 1);
    assert_true(seen.batches >= ITEMS / 7);
    assert_int_equal(seen.births, 2);
    assert_int_equal(seen.lives, 2);
    assert_int_equal(seen.killed, 0);
    free(seen.times);
}

static void test_tells_of_the_dead(void **state)
{
    (void)state;
    struct seen seen = trace("deaths");

    assert_int_equal(seen.tasks, 1);
    assert_int_equal(seen.dead_tasks, 1);
    assert_each_item_once(&seen, 1);
    assert_int_equal(seen.dead_batches, ITEMS / 1000);
    assert_int_equal(seen.failed_items, ITEMS / 1000 + ITEMS / 100);
    assert_int_equal(seen.killed, ITEMS / 1000 + 1);
    assert_int_equal(seen.lives, seen.births);
    free(seen.times);
}

static void test_nothing_lost_nor_doubled(void **state)
{
    (void)state;
    struct seen seen = trace("murders");

    assert_int_equal(seen.tasks, KILLS);
    assert_each_item_once(&seen, KILLS);
    assert_int_equal(seen.killed, KILLS);
    /* Who is killed last may not be replaced, for the pool is closed then. */
    assert_true(seen.lives == KILLS + 1 || seen.lives == KILLS + 2);
    assert_int_equal(seen.lives, seen.births);
    free(seen.times);
}

static void test_one_file_for_a_family(void **state)
{
    (void)state;
    struct seen seen = trace("family");

    assert_int_equal(seen.tasks, (FAMILY + 1) * TASKS + 1);
    assert_int_equal(seen.births, FAMILY + 2);
    assert_int_equal(seen.lives, FAMILY + 2);
    free(seen.times);
}

static void test_serial_pools_too(void **state)
{
    (void)state;
    struct seen seen = trace("serial");

    assert_int_equal(seen.tasks, TASKS + 1);
    assert_each_item_once(&seen, 1);
    assert_int_equal(seen.births, 1);
    assert_int_equal(seen.lives, 1);
    free(seen.times);
}

static int careless_in_directory(void *directory)
{
    struct rerun what = {"careless", "MP_TRACE", "of.%p.json", -1};

    if (chdir(directory))
        return 97;
    return rerun_body(&what);
}

/* The name is relative, with the pid in it; the program leaves the directory and its
   pool behind. */
static void test_where_the_file_is(void **state)
{
    (void)state;
    char directory[] = "/tmp/test_trace.XXXXXX", name[128];

    assert_non_null(mkdtemp(directory));
    pid_t pid = child_start(careless_in_directory, directory);
    assert_int_equal(child_wait(pid, 30000), 0);
    snprintf(name, sizeof name, "%s/of.%d.json", directory, (int)pid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    unlink(name);
    assert_int_equal(rmdir(directory), 0);
    assert_true(fd >= 0);
    struct seen seen = see(fd);
    close(fd);
    assert_int_equal(seen.tasks, 100);
    /* One of the two may have been ended before it began. */
    assert_true(seen.lives == 1 || seen.lives == 2);
    assert_int_equal(seen.lives, seen.births);
    free(seen.times);
}

/* The program goes on without a trace where there can be none. */
static void test_where_no_file_can_be(void **state)
{
    (void)state;
    static const char *const names[] = {"/nonexistent/trace", "/dev/full", "/", "",
                                        "/dev/null"};
    char fifo[] = "/tmp/test_trace.XXXXXX", long_name[2 * PATH_MAX];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(rerun("plain", "MP_TRACE", names[i], -1), 0);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_int_equal(rerun("plain", "MP_TRACE", long_name, -1), 0);
    assert_non_null(mkdtemp(fifo));
    rmdir(fifo);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(rerun("plain", "MP_TRACE", fifo, -1), 0);
    unlink(fifo);
}

int main(int argc, char **argv)
{
    static const struct part parts[] = {
        {"plain", plain},   {"deaths", deaths},     {"murders", murders},
        {"family", family}, {"careless", careless}, {"serial", serial},
    };
    const struct CMUnitTest tests[] = {
        TEST(test_tells_what_ran),           TEST(test_tells_of_the_dead),
        TEST(test_nothing_lost_nor_doubled), TEST(test_one_file_for_a_family),
        TEST(test_serial_pools_too),         TEST(test_where_the_file_is),
        TEST(test_where_no_file_can_be),
    };

    if (argc > 1)
        return rerun_part(argv[1], parts, sizeof parts / sizeof *parts);
    return TEST_MAIN(tests);
}
