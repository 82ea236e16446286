/* SPDX-License-Identifier: MIT */
/* test_reduce.c - combining all items into one value. */
#include "support/pool_tasks.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

/* --- folds ------------------------------------------------------------------------ */

static int add_int(const void *arg, void *result, void *context)
{
    (void)context;
    *(int64_t *)result += *(const int *)arg;
    return 0;
}

static void sum_int(void *result, const void *other, void *context)
{
    (void)context;
    *(int64_t *)result += *(const int64_t *)other;
}

static int add_number(const void *arg, void *result, void *context)
{
    (void)context;
    *(uint64_t *)result += *(const uint64_t *)arg;
    return 0;
}

static void sum_number(void *result, const void *other, void *context)
{
    (void)context;
    *(uint64_t *)result += *(const uint64_t *)other;
}

/* The sum of the numbers below `count`. */
static uint64_t triangle(uint64_t count)
{
    return count % 2 ? (count - 1) / 2 * count : count / 2 * (count - 1);
}

static int add_times_context(const void *arg, void *result, void *context)
{
    *(int64_t *)result += *(const int *)arg * *(const int *)context;
    return 0;
}

static void sum_and_note(void *result, const void *other, void *context)
{
    sum_int(result, other, NULL);
    ((int *)context)[1]++;
}

static int fail_at_37(const void *arg, void *result, void *context)
{
    uint64_t item = *(const uint64_t *)arg;

    (void)context;
    ++*(uint64_t *)result;
    return item == 37 ? mp_task_fail(ERANGE, "item %d", (int)item) : 0;
}

static int die_at_37(const void *arg, void *result, void *context)
{
    (void)context;
    *(uint64_t *)result += *(const uint64_t *)arg;
    if (*(const uint64_t *)arg == 37)
        kill(getpid(), SIGKILL);
    return 0;
}

/* `context`: how often it was begun, in the arena.  The first time it dies. */
static int die_once_at_37(const void *arg, void *result, void *context)
{
    *(uint64_t *)result += *(const uint64_t *)arg;
    if (*(const uint64_t *)arg == 37 &&
        atomic_fetch_add((_Atomic int *)context, 1) == 0)
        kill(getpid(), SIGKILL);
    return 0;
}

static int hang_at_37(const void *arg, void *result, void *context)
{
    (void)context;
    if (*(const uint64_t *)arg == 37)
        for (;;)
            pause();
    ++*(uint64_t *)result;
    return 0;
}

/* --- helpers ---------------------------------------------------------------------- */

static void assert_range_works(mp_pool *pool, uint64_t count)
{
    uint64_t total = 0;

    assert_int_equal(mp_pool_reduce(pool, add_number, sum_number, NULL, count, 0,
                                    &total, sizeof total, NULL),
                     0);
    assert_int_equal(total, triangle(count));
}

/* --- values ----------------------------------------------------------------------- */

static void test_sums(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 7, 100, 65536, 65537, 1000000};
    mp_pool *pool = new_pool(3);
    int *here = malloc(1000000 * sizeof *here);
    int *arena = mp_shared_alloc(1000000 * sizeof *arena);

    assert_non_null(here);
    assert_non_null(arena);
    for (int i = 0; i < 1000000; i++)
        here[i] = arena[i] = i;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t of_here = 0, of_arena = 0;
        assert_int_equal(mp_pool_reduce(pool, add_int, sum_int, here, counts[i],
                                        sizeof *here, &of_here, sizeof of_here, NULL),
                         0);
        assert_int_equal(mp_pool_reduce(pool, add_int, sum_int, arena, counts[i],
                                        sizeof *arena, &of_arena, sizeof of_arena,
                                        NULL),
                         0);
        assert_int_equal(of_here, triangle(counts[i]));
        assert_int_equal(of_arena, triangle(counts[i]));
        assert_range_works(pool, counts[i]);
    }
    free(here);
    mp_shared_free(arena);
    mp_pool_free(pool);
}

/* More numbers than a job has room for. */
static void test_large_range(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);

    assert_range_works(pool, SANITIZED ? 1000000 : 20000000);
    mp_pool_free(pool);
}

static void test_chunks_and_contexts(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    int items[500];
    int *words = mp_shared_alloc(2 * sizeof *words);

    assert_non_null(words);
    for (int i = 0; i < 500; i++)
        items[i] = i;
    words[0] = 3;
    for (size_t chunk = 1; chunk < 600; chunk = chunk * 3 + 1) {
        int64_t total = 0;
        words[1] = 0;
        assert_int_equal(
            mp_pool_reduce(pool, add_times_context, sum_and_note, items, 500,
                           sizeof *items, &total, sizeof total,
                           MP_MAP_OPTIONS(.chunk_size = chunk, .context = words)),
            0);
        assert_int_equal(total, 3 * 499 * 500 / 2);
        assert_in_range(words[1], 1, 2);
    }
    mp_shared_free(words);
    mp_pool_free(pool);
}

/* Values of odd sizes, up to a megabyte: a histogram. */
struct histogram {
    size_t buckets;
};

static int count_bucket(const void *arg, void *result, void *context)
{
    size_t buckets = ((const struct histogram *)context)->buckets;
    unsigned char *bucket = (unsigned char *)result + *(const unsigned *)arg % buckets;

    ++*bucket;
    return 0;
}

static void add_histogram(void *result, const void *other, void *context)
{
    size_t buckets = ((const struct histogram *)context)->buckets;

    for (size_t i = 0; i < buckets; i++)
        ((unsigned char *)result)[i] += ((const unsigned char *)other)[i];
}

static void test_value_sizes(void **state)
{
    (void)state;
    enum { ITEMS = 50000 };
    static const size_t sizes[] = {1, 3, 63, 64, 65, 4097, (size_t)1 << 20};
    mp_pool *pool = new_pool(2);
    unsigned *items = malloc(ITEMS * sizeof *items);
    struct histogram *histogram = mp_shared_alloc(sizeof *histogram);

    assert_non_null(items);
    assert_non_null(histogram);
    for (unsigned i = 0; i < ITEMS; i++)
        items[i] = i * 7919;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *counts = calloc(1, sizes[i]), *expected = calloc(1, sizes[i]);
        assert_non_null(counts);
        assert_non_null(expected);
        histogram->buckets = sizes[i];
        for (unsigned k = 0; k < ITEMS; k++)
            count_bucket(&items[k], expected, histogram);
        assert_int_equal(mp_pool_reduce(pool, count_bucket, add_histogram, items, ITEMS,
                                        sizeof *items, counts, sizes[i],
                                        MP_MAP_OPTIONS(.context = histogram)),
                         0);
        assert_memory_equal(counts, expected, sizes[i]);
        free(counts);
        free(expected);
    }
    free(items);
    mp_shared_free(histogram);
    mp_pool_free(pool);
}

/* A maximum starts from what the caller gives, in every worker. */
static int take_larger(const void *arg, void *result, void *context)
{
    (void)context;
    if (*(const int *)arg > *(int *)result)
        *(int *)result = *(const int *)arg;
    return 0;
}

static void larger(void *result, const void *other, void *context)
{
    take_larger(other, result, context);
}

static void test_start_value(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    int items[100], most = -1000;

    for (int i = 0; i < 100; i++)
        items[i] = -100 + i * 37 % 100;
    assert_int_equal(mp_pool_reduce(pool, take_larger, larger, items, 100,
                                    sizeof *items, &most, sizeof most, NULL),
                     0);
    assert_int_equal(most, -1);
    most = -1000;
    assert_int_equal(mp_pool_reduce(pool, take_larger, larger, items, 0, sizeof *items,
                                    &most, sizeof most, NULL),
                     0);
    assert_int_equal(most, -1000);
    mp_pool_free(pool);
}

/* --- failures --------------------------------------------------------------------- */

static void test_failing_fold(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    mp_task_failure failure;

    for (size_t chunk = 0; chunk < 100; chunk += 33) {
        uint64_t total = 12345;
        /* Without an early end it would take minutes. */
        assert_int_equal(
            mp_pool_reduce(pool, fail_at_37, sum_number, NULL, (size_t)1 << 40, 0,
                           &total, sizeof total,
                           MP_MAP_OPTIONS(.failure = &failure, .chunk_size = chunk)),
            ERANGE);
        assert_int_equal(total, 12345);
        assert_int_equal(failure.error, ERANGE);
        assert_int_equal(failure.index, 37);
        assert_int_equal(failure.kind, MP_FAILURE_RETURNED);
        assert_string_equal(failure.text, "item 37");
    }
    assert_range_works(pool, 1000);
    mp_pool_free(pool);
}

static void test_dying_fold(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    mp_task_failure failure;
    uint64_t total = 5;

    for (int retries = 0; retries < 3; retries++) {
        assert_int_equal(
            mp_pool_reduce(pool, die_at_37, sum_number, NULL, 1000, 0, &total,
                           sizeof total,
                           MP_MAP_OPTIONS(.failure = &failure, .retries = retries)),
            EOWNERDEAD);
        assert_int_equal(total, 5);
        assert_int_equal(failure.index, 37);
        assert_int_equal(failure.kind, MP_FAILURE_DIED);
        assert_int_equal(failure.exitcode, -SIGKILL);
        assert_int_equal(failure.attempts, retries + 1);
    }
    assert_range_works(pool, 1000);
    mp_pool_free(pool);
}

static void test_retries(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    _Atomic int *begun = mp_shared_alloc(sizeof *begun);

    assert_non_null(begun);
    for (size_t chunk = 0; chunk < 100; chunk += 11) {
        uint64_t total = 0;
        atomic_store(begun, 0);
        assert_int_equal(
            mp_pool_reduce(pool, die_once_at_37, sum_number, NULL, 500, 0, &total,
                           sizeof total,
                           MP_MAP_OPTIONS(.retries = 1, .chunk_size = chunk,
                                          .context = (void *)begun)),
            0);
        assert_int_equal(total, triangle(500));
        assert_int_equal(*begun, 2);
    }
    mp_shared_free((void *)begun);
    mp_pool_free(pool);
}

static void test_time_limit(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    mp_task_failure failure;
    uint64_t total = 7;

    assert_int_equal(mp_pool_reduce(pool, hang_at_37, sum_number, NULL, 100, 0, &total,
                                    sizeof total,
                                    MP_MAP_OPTIONS(.failure = &failure, .retries = 5,
                                                   .time_limit_ms = 20)),
                     ETIME);
    assert_int_equal(total, 7);
    assert_int_equal(failure.index, 37);
    assert_int_equal(failure.kind, MP_FAILURE_TIME_LIMIT);
    /* Limits that nothing comes near change nothing. */
    total = 0;
    assert_int_equal(mp_pool_reduce(pool, add_number, sum_number, NULL, 1000, 0, &total,
                                    sizeof total,
                                    MP_MAP_OPTIONS(.time_limit_ms = 5000)),
                     0);
    assert_int_equal(total, triangle(1000));
    mp_pool_free(pool);
}

static void test_worn_workers(void **state)
{
    (void)state;
    mp_pool *pool;

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = 30)),
        0);
    assert_range_works(pool, 1000);
    mp_pool_free(pool);
}

/* Called while a reduction waits: ends the pool below it. */
static void terminate_pool(const mp_progress *progress, void *pool)
{
    (void)progress;
    assert_int_equal(mp_pool_terminate(pool), 0);
}

static void kill_supervisor(const mp_progress *progress, void *arg)
{
    pid_t below[8];

    (void)progress;
    /* The one that has the others below it comes first. */
    if (*(bool *)arg)
        return;
    assert_true(descendants(getpid(), below, 8) >= 3);
    kill(below[0], SIGKILL);
    *(bool *)arg = true;
}

static void test_end_of_pool(void **state)
{
    (void)state;
    leak_ignore_arena();
    mp_task_failure failure;
    uint64_t total = 9;
    bool killed = false;
    mp_pool *pool = new_pool(2);

    assert_int_equal(
        mp_pool_reduce(pool, hang_at_37, sum_number, NULL, 100, 0, &total, sizeof total,
                       MP_MAP_OPTIONS(.failure = &failure, .progress = terminate_pool,
                                      .progress_arg = pool, .progress_ms = 5)),
        ECANCELED);
    assert_int_equal(total, 9);
    assert_int_equal(failure.error, ECANCELED);
    assert_int_equal(mp_pool_reduce(pool, add_number, sum_number, NULL, 100, 0, &total,
                                    sizeof total, NULL),
                     EPIPE);
    mp_pool_free(pool);

    pool = new_pool(2);
    assert_int_equal(
        mp_pool_reduce(pool, hang_at_37, sum_number, NULL, 100, 0, &total, sizeof total,
                       MP_MAP_OPTIONS(.failure = &failure, .progress = kill_supervisor,
                                      .progress_arg = &killed, .progress_ms = 5)),
        EOWNERDEAD);
    assert_int_equal(total, 9);
    mp_pool_free(pool);
}

/* --- under fire ------------------------------------------------------------------- */

/* Workers write down their pids here, in memory that libmp does not know. */
struct fire {
    _Atomic pid_t running;
    unsigned kills;
};

static struct fire *fire;

static int add_and_note(const void *arg, void *result, void *context)
{
    (void)context;
    atomic_store_explicit(&fire->running, getpid(), memory_order_relaxed);
    *(uint64_t *)result += *(const uint64_t *)arg;
    return 0;
}

/* Only processes that are below this one are killed, whatever is written there. */
static void kill_worker(const mp_progress *progress, void *arg)
{
    pid_t below[16], pid = atomic_exchange(&fire->running, 0);
    size_t count = descendants(getpid(), below, 16);

    (void)progress;
    (void)arg;
    for (size_t i = 0; i < count; i++)
        if (below[i] == pid && kill(pid, SIGKILL) == 0)
            fire->kills++;
}

static void test_under_fire(void **state)
{
    (void)state;
    enum { ITEMS = 400000 };
    uint64_t total = 0;
    mp_pool *pool;

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3, .max_deaths = 1u << 30)), 0);
    for (int round = 0; round < 5; round++) {
        assert_int_equal(
            mp_pool_reduce(pool, add_and_note, sum_number, NULL, ITEMS, 0, &total,
                           sizeof total,
                           MP_MAP_OPTIONS(.retries = 100, .progress = kill_worker,
                                          .progress_ms = 1)),
            0);
        assert_int_equal(total, triangle(ITEMS));
        total = 0;
    }
    assert_true(fire->kills > 5);
    mp_pool_free(pool);
}

/* --- arguments -------------------------------------------------------------------- */

static int reduce_in_child(void *pool)
{
    uint64_t total = 0;

    return mp_pool_reduce(pool, add_number, sum_number, NULL, 10, 0, &total,
                          sizeof total, NULL);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    uint64_t total = 1;
    int items[4] = {0}, errors[4];

#define REDUCE(...) mp_pool_reduce(__VA_ARGS__)
    assert_int_equal(
        REDUCE(NULL, add_int, sum_int, items, 4, sizeof *items, &total, 8, NULL),
        EINVAL);
    assert_int_equal(
        REDUCE(pool, NULL, sum_int, items, 4, sizeof *items, &total, 8, NULL), EINVAL);
    assert_int_equal(
        REDUCE(pool, add_int, NULL, items, 4, sizeof *items, &total, 8, NULL), EINVAL);
    assert_int_equal(
        REDUCE(pool, add_int, sum_int, items, 4, sizeof *items, NULL, 8, NULL), EINVAL);
    assert_int_equal(
        REDUCE(pool, add_int, sum_int, items, 4, sizeof *items, &total, 0, NULL),
        EINVAL);
    assert_int_equal(REDUCE(pool, add_int, sum_int, items, 4, 0, &total, 8, NULL),
                     EINVAL);
    assert_int_equal(
        REDUCE(pool, add_int, sum_int, NULL, 4, sizeof *items, &total, 8, NULL),
        EINVAL);
    assert_int_equal(REDUCE(pool, add_int, sum_int, items, 4, sizeof *items, &total, 8,
                            MP_MAP_OPTIONS(.errors = errors)),
                     EINVAL);
    assert_int_equal(REDUCE(pool, add_int, sum_int, items, 4, sizeof *items, &total, 8,
                            MP_MAP_OPTIONS(.retries = -1)),
                     EINVAL);
    assert_int_equal(REDUCE(pool, add_int, sum_int, items, SIZE_MAX / 2, sizeof *items,
                            &total, 8, NULL),
                     EOVERFLOW);
    assert_int_equal(REDUCE(pool, add_int, sum_int, items, 4, sizeof *items, &total,
                            SIZE_MAX / 2, NULL),
                     ENOMEM);
    assert_int_equal(total, 1);
    assert_int_equal(child_run(reduce_in_child, pool), EPERM);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(
        REDUCE(pool, add_int, sum_int, items, 4, sizeof *items, &total, 8, NULL),
        EPIPE);
    assert_int_equal(total, 1);
    mp_pool_free(pool);
}

static void *reduce_often(void *pool)
{
    for (int i = 0; i < 50; i++)
        assert_range_works(pool, 1000 + (uint64_t)i * 100);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    mp_pool *pool = new_pool(2);

    leak_ignore_maps();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reduce_often, pool), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    mp_pool_free(pool);
}

int main(void)
{
    static const struct CMUnitTest reduce[] = {
        TEST(test_sums),
        TEST(test_large_range),
        TEST(test_chunks_and_contexts),
        TEST(test_value_sizes),
        TEST(test_start_value),
        TEST(test_failing_fold),
        TEST(test_dying_fold),
        TEST(test_retries),
        TEST(test_time_limit),
        TEST(test_worn_workers),
        TEST(test_end_of_pool),
        TEST(test_under_fire),
        TEST(test_bad_arguments),
        TEST(test_threads),
    };

    fire = shared_page(sizeof *fire);
    return TEST_MAIN(reduce);
}
