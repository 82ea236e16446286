/* SPDX-License-Identifier: MIT */
/* test_serial.c - MP_SERIAL=1: pools without processes. */
#include "support/pool_tasks.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

/* --- tasks ------------------------------------------------------------------------ */

static int order[1000];
static int order_count;

static int note_index(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    order[order_count++ % 1000] = (int)mp_task_index();
    return 0;
}

static int report_seed(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)context;
    *(uint64_t *)result = mp_task_seed();
    return 0;
}

static int add(const void *arg, void *result, void *context)
{
    (void)context;
    *(uint64_t *)result += *(const uint64_t *)arg;
    return 0;
}

static void add_up(void *result, const void *other, void *context)
{
    (void)context;
    *(uint64_t *)result += *(const uint64_t *)other;
}

/* Fibonacci numbers by tasks of tasks. */
static int fibonacci(const void *arg, void *result, void *context)
{
    int n = *(const int *)arg, one = n - 1, two = n - 2, a, b = 0;

    if (n < 2) {
        *(int *)result = n;
        return 0;
    }
    int err = mp_pool_apply(context, fibonacci, &one, sizeof one, &a, sizeof a,
                            MP_TASK_OPTIONS(.context = context));
    if (!err)
        err = mp_pool_apply(context, fibonacci, &two, sizeof two, &b, sizeof b,
                            MP_TASK_OPTIONS(.context = context));
    *(int *)result = a + b;
    return err;
}

/* An item that maps ten items of its own, then fails with a text of its own. */
static int map_within(const void *arg, void *result, void *context)
{
    int items[10], results[10], sum = 0;
    uint64_t index = mp_task_index(), seed = mp_task_seed();

    for (int i = 0; i < 10; i++)
        items[i] = *(const int *)arg + i;
    mp_task_fail(ERANGE, "mine");
    int err = mp_pool_map(context, fail_if_odd, items, 10, sizeof *items, results,
                          sizeof *results, NULL);
    if (err != ERANGE || mp_task_index() != index || mp_task_seed() != seed)
        return EINVAL;
    for (int i = 0; i < 10; i++)
        sum += items[i];
    *(int *)result = sum;
    return *(const int *)arg == 3 ? ERANGE : 0;
}

static int exit_three(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    exit(3);
}

static int terminate_at_five(const void *arg, void *result, void *context)
{
    (void)result;
    if (*(const int *)arg == 5)
        return mp_pool_terminate(context);
    return 0;
}

static int join_own(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    int err = mp_pool_close(context);

    return err ? err : mp_pool_join(context, MP_FOREVER);
}

/* Waits for the word at `context`, and says in the next one that it does. */
static int wait_in_thread(const void *arg, void *result, void *context)
{
    _Atomic int *word = context;
    (void)arg;
    (void)result;

    atomic_store(&word[1], 1);
    while (!atomic_load(word) && !mp_task_should_stop())
        sched_yield();
    return atomic_load(word) ? 0 : EINTR;
}

static int wait_to_be_stopped(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    while (!mp_task_should_stop())
        sched_yield();
    return EINTR;
}

/* --- helpers ---------------------------------------------------------------------- */

static mp_pool *make(void)
{
    mp_pool *pool;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3, .seed = 5)), 0);
    return pool;
}

static int serial_setup(void **state)
{
    setenv("MP_SERIAL", "1", 1);
    return leak_setup(state);
}

static int serial_teardown(void **state)
{
    unsetenv("MP_SERIAL");
    return leak_teardown(state);
}

#define SERIAL_TEST(function)                                                          \
    cmocka_unit_test_setup_teardown(function, serial_setup, serial_teardown)

/* --- tests ------------------------------------------------------------------------ */

static void test_forks_nothing(void **state)
{
    (void)state;
    mp_pool *pool = make();
    pid_t child, pid;

    assert_int_equal(descendants(getpid(), &child, 1), 0);
    assert_int_equal(mp_pool_apply(pool, get_pid, NULL, 0, &pid, sizeof pid, NULL), 0);
    assert_int_equal(pid, getpid());
    mp_pool_free(pool);
    setenv("MP_SERIAL", "0", 1);
    pool = make();
    assert_true(descendants(getpid(), &child, 1) >= 1);
    mp_pool_free(pool);
}

static void test_map(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    mp_pool *pool = make();
    int *items = calloc(COUNT, sizeof *items),
        *results = calloc(COUNT, sizeof *results);
    mp_task_failure failure;

    for (int i = 0; i < COUNT; i++)
        items[i] = i;
    assert_int_equal(mp_pool_map(pool, square, items, COUNT, sizeof *items, results,
                                 sizeof *results, NULL),
                     0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(results[i], i * i);
    assert_int_equal(mp_pool_map(pool, fail_if_odd, items, COUNT, sizeof *items,
                                 results, sizeof *results,
                                 MP_MAP_OPTIONS(.failure = &failure)),
                     ERANGE);
    assert_int_equal(failure.index, 1);
    assert_int_equal(failure.pid, getpid());
    assert_int_equal(failure.kind, MP_FAILURE_RETURNED);
    assert_string_equal(failure.text, "item 1 is odd");
    free(items);
    free(results);
    mp_pool_free(pool);
}

static void test_in_order(void **state)
{
    (void)state;
    mp_pool *pool = make();

    order_count = 0;
    assert_int_equal(mp_pool_map(pool, note_index, NULL, 1000, 0, NULL, 0, NULL), 0);
    assert_int_equal(order_count, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(order[i], i);
    mp_pool_free(pool);
}

static void test_async_is_settled_at_once(void **state)
{
    (void)state;
    mp_pool *pool = make();
    mp_async_result *result;
    int x = 7, y = 0;

    assert_int_equal(
        mp_pool_apply_async(pool, square, &x, sizeof x, sizeof y, NULL, &result), 0);
    assert_true(mp_async_result_ready(result));
    assert_int_equal(mp_async_result_cancel(result), EALREADY);
    assert_int_equal(mp_async_result_get(result, &y, sizeof y, MP_NOWAIT), 0);
    assert_int_equal(y, 49);
    mp_async_result_free(result);

    int items[3] = {1, 2, 3}, results[3];
    assert_int_equal(mp_pool_map_async(pool, square, items, 3, sizeof *items, results,
                                       sizeof *results, NULL, &result),
                     0);
    assert_int_equal(mp_async_result_get(result, NULL, 0, MP_NOWAIT), 0);
    assert_int_equal(results[2], 9);
    mp_pool_free(pool);
    mp_async_result_free(result);
}

static void seeds(uint64_t *out)
{
    mp_pool *pool = make();

    assert_int_equal(mp_pool_apply(pool, report_seed, NULL, 0, out, sizeof *out, NULL),
                     0);
    assert_int_equal(
        mp_pool_map(pool, report_seed, NULL, 10, 0, out + 1, sizeof *out, NULL), 0);
    mp_pool_free(pool);
}

static void test_same_seeds_as_with_processes(void **state)
{
    (void)state;
    uint64_t serial[11], parallel[11];

    seeds(serial);
    unsetenv("MP_SERIAL");
    seeds(parallel);
    assert_memory_equal(serial, parallel, sizeof serial);
    /* Outside of tasks there are none, in this thread too. */
    assert_int_equal(mp_task_seed(), 0);
    assert_int_equal(mp_task_index(), 0);
    assert_false(mp_task_should_stop());
}

static void test_tasks_of_tasks(void **state)
{
    (void)state;
    mp_pool *pool = make();
    int n = 12, result = 0, items[5] = {0, 1, 2, 3, 4}, results[5] = {0};
    mp_task_failure failure;

    assert_int_equal(mp_pool_apply(pool, fibonacci, &n, sizeof n, &result,
                                   sizeof result, MP_TASK_OPTIONS(.context = pool)),
                     0);
    assert_int_equal(result, 144);
    assert_int_equal(mp_pool_map(pool, map_within, items, 5, sizeof *items, results,
                                 sizeof *results,
                                 MP_MAP_OPTIONS(.context = pool, .failure = &failure)),
                     ERANGE);
    assert_int_equal(failure.index, 3);
    assert_string_equal(failure.text, "mine");
    for (int i = 0; i < 5; i++)
        assert_int_equal(results[i], 10 * i + 45);
    mp_pool_free(pool);
}

#define THREADS 4
#define ROUNDS  300

static void *submit_many(void *pool)
{
    for (int i = 0; i < ROUNDS; i++) {
        int n = i % 8, y = -1;
        int err = i % 2
                      ? mp_pool_apply(pool, square, &n, sizeof n, &y, sizeof y, NULL)
                      : mp_pool_map(pool, square, &n, 1, sizeof n, &y, sizeof y, NULL);
        if (err || y != n * n)
            return "wrong";
        if (i % 10 == 0 && mp_pool_apply(pool, fibonacci, &n, sizeof n, &y, sizeof y,
                                         MP_TASK_OPTIONS(.context = pool)))
            return "wrong";
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    leak_ignore_maps();
    mp_pool *pool = make();
    pthread_t threads[THREADS];
    void *wrong;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, pool), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    mp_pool_free(pool);
}

static int begun, ended;

static int begin_fn(void *context)
{
    begun++;
    return *(int *)context;
}

static void end_fn(void *context)
{
    (void)context;
    ended++;
}

static mp_pool *make_with_ends(int *err)
{
    mp_pool *pool = NULL;

    begun = ended = 0;
    int code =
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3, .initializer = begin_fn,
                                           .finalizer = end_fn, .context = err));
    assert_int_equal(code, *err);
    assert_int_equal(begun, 1);
    return pool;
}

static void test_initializer_and_finalizer(void **state)
{
    (void)state;
    int err = 0, x = 3, y;
    mp_pool *pool = make_with_ends(&err);

    assert_int_equal(mp_pool_join(pool, MP_FOREVER), EBUSY);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(ended, 1);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_apply(pool, square, &x, sizeof x, &y, sizeof y, NULL),
                     EPIPE);
    assert_int_equal(mp_pool_join(pool, 0), 0);
    assert_int_equal(mp_pool_join(pool, MP_FOREVER), 0);
    mp_pool_free(pool);
    assert_int_equal(ended, 1);

    pool = make_with_ends(&err);
    assert_int_equal(mp_pool_terminate(pool), 0);
    mp_pool_free(pool);
    assert_int_equal(ended, 0);

    err = ERANGE;
    assert_null(make_with_ends(&err));
    assert_int_equal(ended, 0);
}

static void test_terminate_within_a_task(void **state)
{
    (void)state;
    mp_pool *pool = make();
    int items[10], errors[10];

    for (int i = 0; i < 10; i++)
        items[i] = i;
    assert_int_equal(
        mp_pool_map(pool, terminate_at_five, items, 10, sizeof *items, NULL, 0,
                    MP_MAP_OPTIONS(.context = pool, .errors = errors, .chunk_size = 1)),
        ECANCELED);
    for (int i = 0; i < 10; i++)
        assert_int_equal(errors[i], i > 5 ? ECANCELED : 0);
    assert_int_equal(mp_pool_apply(pool, get_pid, NULL, 0, NULL, 0, NULL), EPIPE);
    assert_int_equal(mp_pool_join(pool, MP_FOREVER), 0);
    mp_pool_free(pool);
}

static void test_join_within_a_task(void **state)
{
    (void)state;
    mp_pool *pool = make();

    assert_int_equal(mp_pool_apply(pool, join_own, NULL, 0, NULL, 0,
                                   MP_TASK_OPTIONS(.context = pool)),
                     EDEADLK);
    assert_int_equal(mp_pool_join(pool, MP_FOREVER), 0);
    mp_pool_free(pool);
}

struct runner {
    mp_pool *pool;
    _Atomic int *words;
    int err;
};

static void *run_waiting_task(void *arg)
{
    struct runner *runner = arg;

    runner->err = mp_pool_apply(runner->pool, wait_in_thread, NULL, 0, NULL, 0,
                                MP_TASK_OPTIONS(.context = (void *)runner->words));
    return NULL;
}

static void start_runner(struct runner *runner, pthread_t *thread)
{
    assert_int_equal(pthread_create(thread, NULL, run_waiting_task, runner), 0);
    assert_true(eventually(word_is_set, (void *)&runner->words[1], 5000));
}

/* While another thread runs a task: joining in time is not possible, terminating asks
   the task to stop, and waits. */
static void test_while_another_thread_runs(void **state)
{
    (void)state;
    leak_ignore_maps();
    _Atomic int words[2] = {0, 0};
    struct runner runner = {.pool = make(), .words = words};
    mp_pool_status status;
    pthread_t thread;

    start_runner(&runner, &thread);
    assert_int_equal(mp_pool_get_status(runner.pool, &status), 0);
    assert_int_equal(status.alive, 1);
    assert_int_equal(status.busy, 1);
    assert_int_equal(status.running, 1);
    assert_int_equal(mp_pool_close(runner.pool), 0);
    assert_int_equal(mp_pool_join(runner.pool, 20), ETIMEDOUT);
    atomic_store(&words[0], 1);
    assert_int_equal(mp_pool_join(runner.pool, MP_FOREVER), 0);
    pthread_join(thread, NULL);
    assert_int_equal(runner.err, 0);
    mp_pool_free(runner.pool);

    atomic_store(&words[0], 0);
    atomic_store(&words[1], 0);
    runner.pool = make();
    start_runner(&runner, &thread);
    assert_int_equal(mp_pool_terminate(runner.pool), 0);
    pthread_join(thread, NULL);
    assert_int_equal(runner.err, EINTR);
    mp_pool_free(runner.pool);
}

/* A map of many windows, whose pool another thread closes during its first item. */
struct long_map {
    mp_pool *pool;
    _Atomic int begun;
    _Atomic int closed;
    _Atomic int items;
};

static int run_large(const void *arg, void *result, void *context)
{
    struct long_map *map = context;

    (void)arg;
    (void)result;
    atomic_store(&map->begun, 1);
    while (!atomic_load(&map->closed))
        usleep(100);
    atomic_fetch_add(&map->items, 1);
    return 0;
}

static void *close_long_map(void *arg)
{
    struct long_map *map = arg;

    while (!atomic_load(&map->begun))
        usleep(100);
    int err = mp_pool_close(map->pool);
    atomic_store(&map->closed, 1);
    if (!err)
        err = mp_pool_join(map->pool, scaled(5000));
    return (void *)(intptr_t)(err ? -err : atomic_load(&map->items));
}

static void test_closed_during_a_map(void **state)
{
    (void)state;
    enum { COUNT = 2000, SIZE = 4096 };
    int err = 0;
    struct long_map map = {.pool = make_with_ends(&err)};
    char *items = test_calloc(COUNT, SIZE);
    pthread_t closer;
    void *items_at_join;

    leak_ignore_maps();
    assert_int_equal(pthread_create(&closer, NULL, close_long_map, &map), 0);
    assert_int_equal(mp_pool_map(map.pool, run_large, items, COUNT, SIZE, NULL, 0,
                                 MP_MAP_OPTIONS(.context = &map)),
                     0);
    assert_int_equal(map.items, COUNT);
    assert_int_equal(pthread_join(closer, &items_at_join), 0);
    assert_int_equal((intptr_t)items_at_join, COUNT);
    assert_int_equal(ended, 1);
    mp_pool_free(map.pool);
    test_free(items);
}

static void test_finalizer_after_the_last_task(void **state)
{
    (void)state;
    leak_ignore_maps();
    int err = 0;
    _Atomic int words[2] = {0, 0};
    struct runner runner = {.pool = make_with_ends(&err), .words = words};
    pthread_t thread;

    start_runner(&runner, &thread);
    assert_int_equal(mp_pool_close(runner.pool), 0);
    assert_int_equal(ended, 0);
    atomic_store(&words[0], 1);
    pthread_join(thread, NULL);
    assert_int_equal(ended, 1);
    mp_pool_free(runner.pool);
    assert_int_equal(ended, 1);
}

static void test_limits(void **state)
{
    (void)state;
    mp_pool *pool = make();
    int x = 3, y = 0;

    assert_int_equal(mp_pool_apply(pool, wait_to_be_stopped, NULL, 0, NULL, 0,
                                   MP_TASK_OPTIONS(.soft_time_limit_ms = 5)),
                     EINTR);
    assert_int_equal(mp_pool_apply(pool, square, &x, sizeof x, &y, sizeof y,
                                   MP_TASK_OPTIONS(.time_limit_ms = 1, .retries = 2)),
                     0);
    assert_int_equal(y, 9);
    mp_pool_free(pool);

    /* A worker that is to be replaced after each item, but never is. */
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .lazy = true,
                                                        .max_tasks_per_child = 1,
                                                        .max_memory_per_child = 1,
                                                        .idle_timeout_ms = 1)),
                     0);
    order_count = 0;
    assert_int_equal(mp_pool_map(pool, note_index, NULL, 1000, 0, NULL, 0, NULL), 0);
    assert_int_equal(order_count, 1000);
    mp_pool_free(pool);
}

static void test_status_and_resize(void **state)
{
    (void)state;
    mp_pool *pool = make();
    mp_pool_status status;

    assert_int_equal(mp_pool_map(pool, note_index, NULL, 100, 0, NULL, 0, NULL), 0);
    assert_int_equal(mp_pool_resize(pool, 1), 0);
    assert_int_equal(mp_pool_get_status(pool, &status), 0);
    assert_int_equal(status.processes, 1);
    assert_int_equal(status.alive, 1);
    assert_int_equal(status.busy, 0);
    assert_int_equal(status.submitted, 100);
    assert_int_equal(status.done, 100);
    assert_int_equal(status.queued + status.running + status.failed, 0);
    assert_int_equal(status.error, 0);
    assert_int_equal(mp_pool_map(pool, note_index, NULL, 100, 0, NULL, 0, NULL), 0);
    mp_pool_free(pool);
}

static int next_number(void *item, void *state)
{
    *(int *)item = ++*(int *)state;
    return *(int *)state > 500 ? EPIPE : 0;
}

static void test_imap(void **state)
{
    (void)state;
    mp_pool *pool = make();
    for (size_t chunk = 1; chunk < 30; chunk += 9) {
        mp_imap *map;
        int made = 0, y, expected = 1;

        assert_int_equal(
            mp_pool_imap(pool, square, NULL, SIZE_MAX, sizeof(int), sizeof y,
                         MP_IMAP_OPTIONS(.source = next_number, .source_state = &made,
                                         .chunk_size = chunk),
                         &map),
            0);
        while (mp_imap_next(map, &y, NULL, MP_NOWAIT) == 0) {
            assert_int_equal(y, expected * expected);
            expected++;
        }
        assert_int_equal(expected, 501);
        mp_imap_free(map);
    }
    mp_pool_free(pool);
}

static void test_reduce(void **state)
{
    (void)state;
    mp_pool *pool = make();
    uint64_t sum = 0;

    assert_int_equal(
        mp_pool_reduce(pool, add, add_up, NULL, 100000, 0, &sum, sizeof sum, NULL), 0);
    assert_int_equal(sum, UINT64_C(100000) * 99999 / 2);
    mp_pool_free(pool);
}

static void called(mp_async_result *result, void *arg)
{
    (void)result;
    ++*(int *)arg;
}

static void test_callbacks_and_descriptor(void **state)
{
    (void)state;
    mp_pool *pool;
    int x = 2, calls = 0;
    struct pollfd readable = {.events = POLLIN};

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .pollable = true)), 0);
    assert_int_equal(mp_pool_fileno(pool, &readable.fd), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5; i++)
            assert_int_equal(
                mp_pool_apply_async(
                    pool, square, &x, sizeof x, sizeof(int),
                    MP_TASK_OPTIONS(.callback = called, .callback_arg = &calls), NULL),
                0);
        assert_int_equal(poll(&readable, 1, 0), 1);
        assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), 0);
        assert_int_equal(calls, 5 * (round + 1));
        assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), EPIPE);
        assert_int_equal(poll(&readable, 1, 0), 0);
    }
    mp_pool_free(pool);
}

static int exit_in_task(void *arg)
{
    (void)arg;
    mp_pool *pool = make();

    mp_pool_apply(pool, exit_three, NULL, 0, NULL, 0, NULL);
    return 9;
}

static int use_of_parent(void *pool)
{
    int x = 1, y;
    int err = mp_pool_apply(pool, square, &x, sizeof x, &y, sizeof y, NULL);

    mp_pool_free(pool);
    return err;
}

static void test_processes(void **state)
{
    (void)state;
    leak_ignore_arena(); /* a program that ends within a task frees nothing */
    mp_pool *pool = make();

    assert_int_equal(child_run(exit_in_task, NULL), 3);
    assert_int_equal(child_run(use_of_parent, pool), EPERM);
    mp_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERIAL_TEST(test_forks_nothing),
        SERIAL_TEST(test_map),
        SERIAL_TEST(test_in_order),
        SERIAL_TEST(test_async_is_settled_at_once),
        SERIAL_TEST(test_same_seeds_as_with_processes),
        SERIAL_TEST(test_tasks_of_tasks),
        SERIAL_TEST(test_threads),
        SERIAL_TEST(test_initializer_and_finalizer),
        SERIAL_TEST(test_terminate_within_a_task),
        SERIAL_TEST(test_join_within_a_task),
        SERIAL_TEST(test_while_another_thread_runs),
        SERIAL_TEST(test_finalizer_after_the_last_task),
        SERIAL_TEST(test_closed_during_a_map),
        SERIAL_TEST(test_limits),
        SERIAL_TEST(test_status_and_resize),
        SERIAL_TEST(test_imap),
        SERIAL_TEST(test_reduce),
        SERIAL_TEST(test_callbacks_and_descriptor),
        SERIAL_TEST(test_processes),
    };

    return TEST_MAIN(tests);
}
