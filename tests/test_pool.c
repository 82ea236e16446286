/* SPDX-License-Identifier: MIT */
/* test_pool.c - pools of workers, and parallel map. */
#include "support/pool_tasks.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#define SOON scaled(5000)

/* --- tasks ------------------------------------------------------------------------ */

static int add_context(const void *arg, void *result, void *context)
{
    *(int *)result = *(const int *)arg + *(int *)context;
    return 0;
}

/* By the signal that is the argument. */
static int die_by(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    guard_child();
    kill(getpid(), *(const int *)arg);
    for (;;)
        pause();
    return 0;
}

static int exit_task(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    exit(*(const int *)arg);
}

static int leave_task(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    _exit(*(const int *)arg);
}

static int compute_for_ever(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    guard_child();
    if (context)
        atomic_fetch_add((_Atomic int *)context, 1);
    for (;;)
        atomic_signal_fence(memory_order_seq_cst);
    return 0;
}

static int ignore_and_compute(const void *arg, void *result, void *context)
{
    signal(SIGTERM, SIG_IGN);
    return compute_for_ever(arg, result, context);
}

/* For tasks that don't look at their item. */
static const char no_items[200];

/* --- helpers ---------------------------------------------------------------------- */

/* Two words that a task waits for and answers with. */
static _Atomic int *new_words(void)
{
    _Atomic int *words = mp_shared_alloc(2 * sizeof *words);
    assert_non_null(words);
    return words;
}

static void assert_works(mp_pool *pool)
{
    int items[50], results[50];

    for (int i = 0; i < 50; i++)
        items[i] = i;
    assert_int_equal(mp_pool_map(pool, square, items, 50, sizeof *items, results,
                                 sizeof *results, NULL),
                     0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(results[i], i * i);
}

/* --- map -------------------------------------------------------------------------- */

static void test_map(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 5; workers += 2) {
        mp_pool *pool = new_pool(workers);
        assert_works(pool);
        assert_works(pool);
        mp_pool_free(pool);
    }
    mp_pool *pool;
    assert_int_equal(mp_pool_new(&pool, NULL), 0);
    assert_works(pool);
    mp_pool_free(pool);
}

static void test_map_of_sizes(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 63, 64, 65, 1000, 100000};
    static const size_t chunks[] = {0, 1, 7, 1000, 1000000};
    int *items = malloc(100000 * sizeof *items),
        *results = malloc(100000 * sizeof *results);
    mp_pool *pool = new_pool(2);

    for (int i = 0; i < 100000; i++)
        items[i] = i % 30000;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (size_t k = 0; k < sizeof chunks / sizeof *chunks; k++) {
            memset(results, 0xff, counts[c] * sizeof *results);
            assert_int_equal(mp_pool_map(pool, square, items, counts[c], sizeof *items,
                                         results, sizeof *results,
                                         MP_MAP_OPTIONS(.chunk_size = chunks[k])),
                             0);
            for (size_t i = 0; i < counts[c]; i++)
                assert_int_equal(results[i], items[i] * items[i]);
        }
    }
    mp_pool_free(pool);
    free(items);
    free(results);
}

static void test_map_in_place(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    int *items = mp_shared_alloc(COUNT * sizeof *items);
    int *results = mp_shared_alloc(COUNT * sizeof *results);
    int *errors = mp_shared_alloc(COUNT * sizeof *errors);
    mp_pool *pool = new_pool(2);

    for (int i = 0; i < COUNT; i++)
        items[i] = i;
    assert_int_equal(mp_pool_map(pool, fail_if_odd, items, COUNT, sizeof *items,
                                 results, sizeof *results,
                                 MP_MAP_OPTIONS(.errors = errors)),
                     ERANGE);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(errors[i], i % 2 ? ERANGE : 0);
        if (i % 2 == 0)
            assert_int_equal(results[i], i);
    }
    mp_pool_free(pool);
    mp_shared_free(items);
    mp_shared_free(results);
    mp_shared_free(errors);
}

struct big {
    char bytes[100000];
};

static int reverse_big(const void *arg, void *result, void *context)
{
    const struct big *in = arg;
    struct big *out = result;
    (void)context;
    for (size_t i = 0; i < sizeof in->bytes; i++)
        out->bytes[i] = in->bytes[sizeof in->bytes - 1 - i];
    return 0;
}

static void test_map_of_large_items(void **state)
{
    (void)state;
    enum { COUNT = 60 };
    struct big *items = malloc(COUNT * sizeof *items),
               *out = malloc(COUNT * sizeof *out);
    mp_pool *pool = new_pool(2);

    leak_ignore_maps();
    for (int i = 0; i < COUNT; i++)
        for (size_t k = 0; k < sizeof items->bytes; k++)
            items[i].bytes[k] = (char)((size_t)i * 7 + k % 251);
    assert_int_equal(mp_pool_map(pool, reverse_big, items, COUNT, sizeof *items, out,
                                 sizeof *out, NULL),
                     0);
    for (int i = 0; i < COUNT; i++)
        for (size_t k = 0; k < sizeof items->bytes; k += 991)
            assert_int_equal(out[i].bytes[k],
                             items[i].bytes[sizeof items->bytes - 1 - k]);
    mp_pool_free(pool);
    free(items);
    free(out);
}

static int check_alignment(const void *arg, void *result, void *context)
{
    (void)context;
    return (uintptr_t)arg % 16 || (uintptr_t)result % 16 ? EFAULT : 0;
}

static void test_alignment_of_copies(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    static _Alignas(16) char items[64 * 16], results[64 * 16];
    char odd[3] = {1, 2, 3}, result[5];

    assert_int_equal(
        mp_pool_map(pool, check_alignment, items, 64, 16, results, 16, NULL), 0);
    assert_int_equal(mp_pool_apply(pool, check_alignment, odd, sizeof odd, result,
                                   sizeof result, NULL),
                     0);
    mp_pool_free(pool);
}

static void test_map_without_results(void **state)
{
    (void)state;
    int items[10] = {0};
    mp_pool *pool = new_pool(2);

    assert_int_equal(
        mp_pool_map(pool, nothing, items, 10, sizeof *items, NULL, 0, NULL), 0);
    assert_int_equal(mp_pool_map(pool, nothing, NULL, 0, 0, NULL, 0, NULL), 0);
    mp_pool_free(pool);
}

static void test_failing_items(void **state)
{
    (void)state;
    enum { COUNT = 101 };
    int items[COUNT], results[COUNT], errors[COUNT];
    mp_task_failure failure;
    mp_pool *pool = new_pool(3);

    for (int i = 0; i < COUNT; i++)
        items[i] = 2 * i + (i >= 40);
    assert_int_equal(mp_pool_map(pool, fail_if_odd, items, COUNT, sizeof *items,
                                 results, sizeof *results,
                                 MP_MAP_OPTIONS(.failure = &failure, .errors = errors)),
                     ERANGE);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(errors[i], i >= 40 ? ERANGE : 0);
        if (i < 40)
            assert_int_equal(results[i], items[i]);
    }
    assert_int_equal(failure.error, ERANGE);
    assert_int_equal(failure.index, 40);
    assert_string_equal(failure.text, "item 81 is odd");
    assert_true(failure.pid > 0);
    assert_int_equal(mp_pool_map(pool, fail_if_odd, items, 40, sizeof *items, results,
                                 sizeof *results, MP_MAP_OPTIONS(.failure = &failure)),
                     0);
    assert_int_equal(failure.error, 0);
    mp_pool_free(pool);
}

static int fail_at_length(const void *arg, void *result, void *context)
{
    static char text[1000];
    (void)arg;
    (void)result;
    (void)context;
    memset(text, 'x', sizeof text - 1);
    return mp_task_fail(12345, "%s", text);
}

static void test_text_is_cut(void **state)
{
    (void)state;
    mp_task_failure failure;
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply(pool, fail_at_length, NULL, 0, NULL, 0,
                                   MP_TASK_OPTIONS(.failure = &failure)),
                     12345);
    assert_int_equal(failure.error, 12345);
    assert_int_equal(strlen(failure.text), MP_TASK_TEXT_SIZE - 1);
    mp_pool_free(pool);
    /* Outside a task the text is dropped. */
    assert_int_equal(mp_task_fail(EIO, "%d", 1), EIO);
}

/* Texts of other tasks, and of tasks that then succeed, do not stick. */
static int set_text_and_succeed(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    mp_task_fail(EIO, "forgotten");
    return 0;
}

static int fail_without_text(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return ENOENT;
}

static void test_text_does_not_stick(void **state)
{
    (void)state;
    mp_task_failure failure;
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply(pool, set_text_and_succeed, NULL, 0, NULL, 0, NULL),
                     0);
    assert_int_equal(mp_pool_apply(pool, fail_without_text, NULL, 0, NULL, 0,
                                   MP_TASK_OPTIONS(.failure = &failure)),
                     ENOENT);
    assert_string_equal(failure.text, "");
    mp_pool_free(pool);
}

/* --- context, initializer --------------------------------------------------------- */

static void test_contexts(void **state)
{
    (void)state;
    static int of_pool = 1000, of_call = 20;
    int item = 3, result = 0;
    mp_pool *pool;

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1, .context = &of_pool)), 0);
    assert_int_equal(mp_pool_apply(pool, add_context, &item, sizeof item, &result,
                                   sizeof result, NULL),
                     0);
    assert_int_equal(result, 1003);
    assert_int_equal(mp_pool_apply(pool, add_context, &item, sizeof item, &result,
                                   sizeof result, MP_TASK_OPTIONS(.context = &of_call)),
                     0);
    assert_int_equal(result, 23);
    assert_int_equal(mp_pool_map(pool, add_context, &item, 1, sizeof item, &result,
                                 sizeof result, MP_MAP_OPTIONS(.context = &of_call)),
                     0);
    assert_int_equal(result, 23);
    mp_pool_free(pool);
}

static int initialized;

static int initialize(void *context)
{
    initialized = *(int *)context;
    return 0;
}

static int get_initialized(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)context;
    *(int *)result = initialized;
    return 0;
}

static int fail_to_initialize(void *context)
{
    return *(int *)context;
}

static int die_initializing(void *context)
{
    (void)context;
    kill(getpid(), SIGKILL);
    return 0;
}

static void test_initializer(void **state)
{
    (void)state;
    int context = 4242, results[20], signal_number = SIGKILL;
    mp_pool *pool;

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .context = &context,
                                           .initializer = initialize)),
        0);
    assert_int_equal(mp_pool_map(pool, get_initialized, no_items, 20, 1, results,
                                 sizeof *results, NULL),
                     0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(results[i], 4242);
    /* A replacement is initialized as well. */
    for (int i = 0; i < 4; i++)
        assert_int_equal(mp_pool_apply(pool, die_by, &signal_number,
                                       sizeof signal_number, NULL, 0, NULL),
                         EOWNERDEAD);
    assert_int_equal(mp_pool_map(pool, get_initialized, no_items, 20, 1, results,
                                 sizeof *results, NULL),
                     0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(results[i], 4242);
    assert_int_equal(initialized, 0);
    mp_pool_free(pool);
}

static void test_initializer_fails(void **state)
{
    (void)state;
    int context = EDOM;
    mp_pool *pool = NULL;

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3, .context = &context,
                                           .initializer = fail_to_initialize)),
        EDOM);
    assert_null(pool);
    assert_int_equal(
        mp_pool_new(&pool,
                    MP_POOL_OPTIONS(.processes = 3, .initializer = die_initializing)),
        EOWNERDEAD);
    assert_null(pool);
}

/* --- bad input -------------------------------------------------------------------- */

static void test_bad_input(void **state)
{
    (void)state;
    mp_pool *pool = NULL;
    mp_async_result *result = NULL;
    int item = 1, out;
    bool flag;
    mp_task_failure failure;

    assert_int_equal(mp_pool_new(NULL, NULL), EINVAL);
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 4097)), EINVAL);
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = UINT32_MAX)),
                     EINVAL);
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1, .reserved = 1)),
                     EINVAL);
    assert_null(pool);
    assert_int_equal(mp_pool_apply(NULL, square, &item, 4, &out, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_map(NULL, square, &item, 1, 4, &out, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_close(NULL), EINVAL);
    assert_int_equal(mp_pool_terminate(NULL), EINVAL);
    assert_int_equal(mp_pool_join(NULL, MP_NOWAIT), EINVAL);
    mp_pool_free(NULL);
    assert_int_equal(mp_async_result_wait(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_async_result_get(NULL, NULL, 0, MP_NOWAIT), EINVAL);
    assert_false(mp_async_result_ready(NULL));
    assert_int_equal(mp_async_result_successful(NULL, &flag), EINVAL);
    assert_int_equal(mp_async_result_failure(NULL, &failure), EINVAL);
    mp_async_result_free(NULL);

    pool = new_pool(1);
    assert_int_equal(mp_pool_apply(pool, NULL, &item, 4, &out, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_apply(pool, square, NULL, 4, &out, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_apply(pool, square, &item, 4, NULL, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_map(pool, NULL, &item, 1, 4, &out, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_map(pool, square, NULL, 1, 4, &out, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_map(pool, square, &item, 1, 4, NULL, 4, NULL), EINVAL);
    assert_int_equal(mp_pool_map(pool, square, &item, SIZE_MAX, 4, &out, 4, NULL),
                     EOVERFLOW);
    assert_int_equal(mp_pool_map(pool, square, &item, SIZE_MAX / 4, 8, &out, 8, NULL),
                     EOVERFLOW);
    assert_int_equal(mp_pool_map(pool, nothing, &item, 3, SIZE_MAX / 2, NULL, 0, NULL),
                     EOVERFLOW);
    assert_int_equal(
        mp_pool_map(pool, nothing, no_items, 3, 1, &out, SIZE_MAX / 2, NULL),
        EOVERFLOW);
    assert_int_equal(mp_pool_apply_async(pool, NULL, NULL, 0, 0, NULL, &result),
                     EINVAL);
    assert_int_equal(mp_pool_map_async(pool, square, &item, 1, 4, &out, 4, NULL, NULL),
                     EINVAL);
    int err = mp_pool_apply(pool, nothing, &item, SIZE_MAX - 3, NULL, 0, NULL);
    assert_true(err == ENOMEM || err == EOVERFLOW);
    err = mp_pool_apply_async(pool, nothing, NULL, 0, SIZE_MAX - 3, NULL, &result);
    assert_true(err == ENOMEM || err == EOVERFLOW);
    assert_null(result);
    assert_int_equal(mp_pool_join(pool, MP_NOWAIT), EBUSY);
    assert_int_equal(mp_pool_join(pool, -2), EINVAL);
    assert_works(pool);
    mp_pool_free(pool);
}

static void test_bad_input_of_results(void **state)
{
    (void)state;
    int item = 5, out = 0;
    mp_async_result *result;
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply_async(pool, square, &item, sizeof item, sizeof out,
                                         NULL, &result),
                     0);
    assert_int_equal(mp_async_result_wait(result, -7), EINVAL);
    assert_int_equal(mp_async_result_get(result, &out, sizeof out, -7), EINVAL);
    assert_int_equal(mp_async_result_get(result, NULL, 4, SOON), EINVAL);
    assert_int_equal(mp_async_result_wait(result, SOON), 0);
    assert_int_equal(mp_async_result_get(result, &out, 2, SOON), EMSGSIZE);
    assert_int_equal(out, 0);
    assert_int_equal(mp_async_result_get(result, &out, sizeof out, SOON), 0);
    assert_int_equal(out, 25);
    assert_int_equal(mp_async_result_failure(result, NULL), EINVAL);
    assert_int_equal(mp_async_result_successful(result, NULL), EINVAL);
    mp_async_result_free(result);
    mp_pool_free(pool);
}

/* --- asynchronous ----------------------------------------------------------------- */

static void test_async_apply(void **state)
{
    (void)state;
    int item = 9, out = 0;
    bool good;
    mp_task_failure failure;
    mp_async_result *result, *waiting;
    _Atomic int *words = new_words();
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply_async(pool, wait_for_word, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = words), &waiting),
                     0);
    assert_int_equal(mp_pool_apply_async(pool, square, &item, sizeof item, sizeof out,
                                         NULL, &result),
                     0);
    item = 0; /* the argument was copied */
    assert_false(mp_async_result_ready(waiting));
    assert_int_equal(mp_async_result_wait(waiting, 50), ETIMEDOUT);
    assert_int_equal(mp_async_result_get(result, &out, sizeof out, MP_NOWAIT),
                     ETIMEDOUT);
    assert_int_equal(mp_async_result_successful(result, &good), EBUSY);
    assert_int_equal(mp_async_result_failure(result, &failure), EBUSY);
    atomic_store(&words[0], 1);
    assert_int_equal(mp_async_result_get(result, &out, sizeof out, SOON), 0);
    assert_int_equal(out, 81);
    out = 0;
    assert_int_equal(mp_async_result_get(result, &out, sizeof out, MP_NOWAIT), 0);
    assert_int_equal(out, 81);
    assert_true(mp_async_result_ready(result));
    assert_int_equal(mp_async_result_successful(result, &good), 0);
    assert_true(good);
    assert_int_equal(mp_async_result_failure(result, &failure), 0);
    assert_int_equal(failure.error, 0);
    assert_int_equal(mp_async_result_get(waiting, NULL, 0, SOON), 0);
    mp_async_result_free(result);
    mp_async_result_free(waiting);
    mp_pool_free(pool);
    mp_shared_free(words);
}

static int count_in_arena(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    atomic_fetch_add((_Atomic int *)context, 1);
    return 0;
}

static void test_fire_and_forget(void **state)
{
    (void)state;
    enum { TASKS = 2000 };
    _Atomic int *counter = new_words();
    mp_pool *pool = new_pool(2);

    for (int i = 0; i < TASKS; i++)
        assert_int_equal(mp_pool_apply_async(pool, count_in_arena, &i, sizeof i, 16,
                                             MP_TASK_OPTIONS(.context = counter), NULL),
                         0);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, scaled(20000)), 0);
    assert_int_equal(counter[0], TASKS);
    mp_pool_free(pool);
    mp_shared_free(counter);
}

static void test_async_map(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static int items[COUNT], results[COUNT], errors[COUNT];
    mp_async_result *result;
    bool good;
    mp_pool *pool = new_pool(2);

    for (int i = 0; i < COUNT; i++)
        items[i] = i;
    assert_int_equal(mp_pool_map_async(pool, square, items, COUNT, sizeof *items,
                                       results, sizeof *results,
                                       MP_MAP_OPTIONS(.errors = errors), &result),
                     0);
    memset(items, 0, sizeof items); /* they were copied */
    assert_int_equal(mp_async_result_get(result, NULL, 0, SOON), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(results[i], i * i);
        assert_int_equal(errors[i], 0);
    }
    assert_int_equal(mp_async_result_successful(result, &good), 0);
    assert_true(good);
    mp_async_result_free(result);
    mp_pool_free(pool);
}

static void test_results_outlive_the_pool(void **state)
{
    (void)state;
    int item = 6, out = 0;
    mp_async_result *result;
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply_async(pool, square, &item, sizeof item, sizeof out,
                                         NULL, &result),
                     0);
    assert_int_equal(mp_async_result_wait(result, SOON), 0);
    mp_pool_free(pool);
    assert_int_equal(mp_async_result_get(result, &out, sizeof out, MP_NOWAIT), 0);
    assert_int_equal(out, 36);
    mp_async_result_free(result);
}

static void test_many_results(void **state)
{
    (void)state;
    enum { TASKS = 3000 };
    static mp_async_result *results[TASKS];
    mp_pool *pool = new_pool(2);

    for (int i = 0; i < TASKS; i++)
        assert_int_equal(mp_pool_apply_async(pool, square, &i, sizeof i, sizeof i, NULL,
                                             &results[i]),
                         0);
    for (int i = TASKS - 1; i >= 0; i--) {
        int out;
        assert_int_equal(mp_async_result_get(results[i], &out, sizeof out, SOON), 0);
        assert_int_equal(out, i * i);
        mp_async_result_free(results[i]);
    }
    mp_pool_free(pool);
}

static void test_dropped_result(void **state)
{
    (void)state;
    _Atomic int *words = new_words();
    mp_async_result *result;
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply_async(pool, wait_for_word, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = words), &result),
                     0);
    mp_async_result_free(result);
    atomic_store(&words[0], 1);
    assert_works(pool);
    assert_int_equal(words[1], 1);
    mp_pool_free(pool);
    mp_shared_free(words);
}

struct submitter {
    mp_pool *pool;
    int number;
};

static void *submit_from_thread(void *arg)
{
    struct submitter *submitter = arg;
    int items[40], out[40];

    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 40; i++)
            items[i] = submitter->number * 100 + i;
        if (mp_pool_map(submitter->pool, square, items, 40, sizeof *items, out,
                        sizeof *out, NULL) != 0)
            return arg;
        for (int i = 0; i < 40; i++)
            if (out[i] != items[i] * items[i])
                return arg;
    }
    return NULL;
}

static void test_threads_share_a_pool(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct submitter submitters[4];
    mp_pool *pool = new_pool(2);

    leak_ignore_maps();
    for (int i = 0; i < 4; i++) {
        submitters[i] = (struct submitter){pool, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, submit_from_thread, &submitters[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    mp_pool_free(pool);
}

/* --- close, terminate, join ------------------------------------------------------- */

static void test_close_and_join(void **state)
{
    (void)state;
    int item = 2, out;
    mp_pool *pool = new_pool(2);

    assert_works(pool);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(
        mp_pool_apply(pool, square, &item, sizeof item, &out, sizeof out, NULL), EPIPE);
    assert_int_equal(
        mp_pool_map(pool, square, &item, 1, sizeof item, &out, sizeof out, NULL),
        EPIPE);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    assert_int_equal(mp_pool_join(pool, MP_NOWAIT), 0);
    assert_int_equal(mp_pool_terminate(pool), 0);
    assert_int_equal(mp_pool_close(pool), 0);
    mp_pool_free(pool);
}

static void test_join_times_out(void **state)
{
    (void)state;
    _Atomic int *words = new_words();
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply_async(pool, wait_for_word, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = words), NULL),
                     0);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, 50), ETIMEDOUT);
    atomic_store(&words[0], 1);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_pool_free(pool);
    mp_shared_free(words);
}

static void terminate_under(mp_task_fn *task)
{
    enum { COUNT = 20 };
    _Atomic int *words = new_words();
    int errors[COUNT];
    mp_async_result *running, *map;
    bool good;
    mp_pool *pool = new_pool(2);

    assert_int_equal(mp_pool_apply_async(pool, task, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = &words[0]),
                                         &running),
                     0);
    assert_int_equal(
        mp_pool_map_async(pool, task, no_items, COUNT, 1, NULL, 0,
                          MP_MAP_OPTIONS(.context = &words[0], .errors = errors), &map),
        0);
    assert_true(eventually(word_is_set, &words[0], 5000));
    int64_t start = now_ms();
    assert_int_equal(mp_pool_terminate(pool), 0);
    assert_true(now_ms() - start < scaled(1500));
    assert_int_equal(mp_async_result_get(running, NULL, 0, MP_NOWAIT), ECANCELED);
    assert_int_equal(mp_async_result_get(map, NULL, 0, MP_NOWAIT), ECANCELED);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(errors[i], ECANCELED);
    assert_int_equal(mp_async_result_successful(map, &good), 0);
    assert_false(good);
    assert_int_equal(mp_pool_apply(pool, nothing, NULL, 0, NULL, 0, NULL), EPIPE);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_async_result_free(running);
    mp_async_result_free(map);
    mp_pool_free(pool);
    mp_shared_free(words);
}

static void test_terminate(void **state)
{
    (void)state;
    terminate_under(compute_for_ever);
    terminate_under(ignore_and_compute);
}

static int stop_self(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    atomic_store((_Atomic int *)context, getpid());
    raise(SIGSTOP);
    return 0;
}

static void test_terminate_stopped_worker(void **state)
{
    (void)state;
    _Atomic int *words = new_words();
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_pool_apply_async(pool, stop_self, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = words), NULL),
                     0);
    assert_true(eventually(word_is_set, words, 5000));
    int64_t start = now_ms();
    assert_int_equal(mp_pool_terminate(pool), 0);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    assert_true(now_ms() - start < scaled(2000));
    mp_pool_free(pool);
    mp_shared_free(words);
}

static void test_free_under_work(void **state)
{
    (void)state;
    _Atomic int *words = new_words();
    mp_async_result *result;
    mp_pool *pool = new_pool(2);

    assert_int_equal(mp_pool_apply_async(pool, compute_for_ever, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = words), &result),
                     0);
    assert_true(eventually(word_is_set, words, 5000));
    mp_pool_free(pool);
    assert_int_equal(mp_async_result_get(result, NULL, 0, MP_NOWAIT), ECANCELED);
    mp_async_result_free(result);
    mp_shared_free(words);
}

/* --- deaths ----------------------------------------------------------------------- */

static void expect_death(mp_pool *pool, mp_task_fn *task, int arg, int exitcode)
{
    mp_task_failure failure;

    assert_int_equal(mp_pool_apply(pool, task, &arg, sizeof arg, NULL, 0,
                                   MP_TASK_OPTIONS(.failure = &failure)),
                     EOWNERDEAD);
    assert_int_equal(failure.error, EOWNERDEAD);
    assert_int_equal(failure.exitcode, exitcode);
    assert_true(failure.pid > 0);
    assert_int_equal(failure.index, 0);
}

static void test_workers_die_in_every_way(void **state)
{
    (void)state;
    static const int signals[] = {SIGKILL, SIGSEGV, SIGBUS, SIGABRT,
                                  SIGFPE,  SIGTERM, SIGUSR1};
    mp_pool *pool = new_pool(2);

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        expect_death(pool, die_by, signals[i], -signals[i]);
    expect_death(pool, exit_task, 0, 0);
    expect_death(pool, exit_task, 3, 3);
    expect_death(pool, leave_task, 0, 0);
    expect_death(pool, leave_task, 9, 9);
    assert_works(pool);
    mp_pool_free(pool);
}

static int die_if_seven(const void *arg, void *result, void *context)
{
    int item = *(const int *)arg;

    if (item == 7 || item == 500) {
        guard_child();
        kill(getpid(), SIGKILL);
    }
    return square(arg, result, context);
}

static void test_exactly_the_running_item_is_lost(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static const size_t chunks[] = {0, 1, 10, 1000};
    static int items[COUNT], results[COUNT], errors[COUNT];
    mp_pool *pool = new_pool(2);

    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        mp_task_failure failure;
        for (int i = 0; i < COUNT; i++)
            items[i] = i;
        assert_int_equal(
            mp_pool_map(pool, die_if_seven, items, COUNT, sizeof *items, results,
                        sizeof *results,
                        MP_MAP_OPTIONS(.chunk_size = chunks[c], .failure = &failure,
                                       .errors = errors)),
            EOWNERDEAD);
        assert_int_equal(failure.index, 7);
        assert_int_equal(failure.exitcode, -SIGKILL);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(errors[i], i == 7 || i == 500 ? EOWNERDEAD : 0);
            if (errors[i] == 0)
                assert_int_equal(results[i], i * i);
        }
    }
    mp_pool_free(pool);
}

static void test_every_item_kills(void **state)
{
    (void)state;
    enum { COUNT = 30 };
    int items[COUNT], errors[COUNT];
    mp_pool *pool = new_pool(2);

    for (int i = 0; i < COUNT; i++)
        items[i] = SIGKILL;
    assert_int_equal(mp_pool_map(pool, die_by, items, COUNT, sizeof *items, NULL, 0,
                                 MP_MAP_OPTIONS(.errors = errors)),
                     EOWNERDEAD);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(errors[i], EOWNERDEAD);
    assert_works(pool);
    mp_pool_free(pool);
}

/* A task that dies with a lock: the next who takes it is told. */
static int die_with_lock(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    if (mp_lock_acquire(context, MP_FOREVER) == 0)
        kill(getpid(), SIGKILL);
    return 0;
}

static void test_lock_of_a_dead_worker(void **state)
{
    (void)state;
    mp_lock *lock;
    mp_pool *pool = new_pool(1);

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_int_equal(mp_pool_apply(pool, die_with_lock, NULL, 0, NULL, 0,
                                   MP_TASK_OPTIONS(.context = lock)),
                     EOWNERDEAD);
    assert_int_equal(mp_lock_acquire(lock, SOON), EOWNERDEAD);
    assert_int_equal(mp_lock_release(lock), 0);
    mp_pool_free(pool);
    mp_lock_free(lock);
}

static bool has_one_child(void *arg)
{
    pid_t *found = arg;
    return descendants(getpid(), found, 16) > 0;
}

/* The supervisor is the only child of this process while it has a pool. */
static pid_t supervisor_of(void)
{
    pid_t below[16], parent_of[16];
    assert_true(eventually(has_one_child, below, 2000));
    for (int i = 0; i < 16; i++) {
        size_t count = descendants(below[i], parent_of, 16);
        if (count > 0)
            return below[i];
    }
    fail();
    return 0;
}

static void test_supervisor_is_killed(void **state)
{
    (void)state;
    enum { COUNT = 10 };
    _Atomic int *words = new_words();
    int errors[COUNT];
    mp_async_result *map;
    pid_t workers[8];
    mp_pool *pool = new_pool(2);

    leak_ignore_arena();
    assert_int_equal(
        mp_pool_map_async(pool, compute_for_ever, no_items, COUNT, 1, NULL, 0,
                          MP_MAP_OPTIONS(.context = words, .errors = errors), &map),
        0);
    assert_true(eventually(word_is_set, words, 5000));
    pid_t supervisor = supervisor_of();
    size_t count = descendants(supervisor, workers, 8);
    assert_int_equal(count, 2);
    kill(supervisor, SIGKILL);
    assert_int_equal(mp_async_result_wait(map, SOON), 0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(errors[i], EOWNERDEAD);
    assert_int_equal(mp_async_result_get(map, NULL, 0, MP_NOWAIT), EOWNERDEAD);
    assert_int_equal(mp_pool_apply(pool, nothing, NULL, 0, NULL, 0, NULL), EPIPE);
    assert_int_equal(survivors(workers, count, 500), 0);
    mp_async_result_free(map);
    mp_pool_free(pool);
    mp_shared_free(words);
}

/* --- what workers are like -------------------------------------------------------- */

static int own_state(const void *arg, void *result, void *context)
{
    struct sigaction action;
    (void)arg;
    (void)result;
    (void)context;
    sigaction(SIGINT, NULL, &action);
    if (action.sa_handler != SIG_IGN)
        return 1000;
    for (int i = 1; i < 32; i++) {
        if (i == SIGINT || i == SIGKILL || i == SIGSTOP)
            continue;
        sigaction(i, NULL, &action);
        if (action.sa_handler != SIG_DFL)
            return 1000 + i;
    }
    return 0;
}

static void ignore_it(int signal_number)
{
    (void)signal_number;
}

static void test_signals_of_workers(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore_it}, old;

    sigaction(SIGUSR1, &action, &old);
    mp_pool *pool = new_pool(1);
    assert_int_equal(mp_pool_apply(pool, own_state, NULL, 0, NULL, 0, NULL), 0);
    mp_pool_free(pool);
    sigaction(SIGUSR1, &old, NULL);
}

static int snapshot = 1;

static int get_snapshot(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)context;
    *(int *)result = snapshot;
    return 0;
}

/* Replacements too are copies of the program as it was when the pool was made. */
static void test_workers_are_snapshots(void **state)
{
    (void)state;
    int value = 0;

    snapshot = 2;
    mp_pool *pool = new_pool(1);
    snapshot = 3;
    expect_death(pool, die_by, SIGKILL, -SIGKILL);
    assert_int_equal(
        mp_pool_apply(pool, get_snapshot, NULL, 0, &value, sizeof value, NULL), 0);
    assert_int_equal(value, 2);
    mp_pool_free(pool);
}

static void test_workers_are_other_processes(void **state)
{
    (void)state;
    pid_t pids[200];
    size_t count;
    mp_pool *pool = new_pool(2);

    assert_int_equal(
        mp_pool_map(pool, get_pid, no_items, 200, 1, pids, sizeof *pids, NULL), 0);
    for (int i = 0; i < 200; i++)
        assert_int_not_equal(pids[i], getpid());
    /* process.h does not see them. */
    assert_int_equal(mp_active_children(NULL, 0, &count), 0);
    assert_int_equal(count, 0);
    mp_pool_free(pool);
}

static int use_in_child(void *arg)
{
    mp_pool *pool = arg;
    int item = 1, out;

    assert_int_equal(
        mp_pool_apply(pool, square, &item, sizeof item, &out, sizeof out, NULL), EPERM);
    assert_int_equal(
        mp_pool_map(pool, square, &item, 1, sizeof item, &out, sizeof out, NULL),
        EPERM);
    assert_int_equal(mp_pool_close(pool), EPERM);
    assert_int_equal(mp_pool_terminate(pool), EPERM);
    assert_int_equal(mp_pool_join(pool, MP_NOWAIT), EPERM);
    mp_pool_free(pool);
    return 0;
}

static void test_pool_in_a_child(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);

    assert_int_equal(child_run(use_in_child, pool), 0);
    assert_works(pool);
    mp_pool_free(pool);
}

struct inherited {
    mp_pool *pool;
    mp_async_result *result;
};

static int free_in_child(void *arg)
{
    const struct inherited *inherited = arg;

    mp_pool_free(inherited->pool);
    mp_async_result_free(inherited->result);
    return 0;
}

/* In whatever order: a sanitizer sees it if one looks at what is gone. */
static void test_free_in_a_child(void **state)
{
    (void)state;
    struct inherited inherited = {.pool = new_pool(1)};
    int x = 3;

    assert_int_equal(mp_pool_apply_async(inherited.pool, square, &x, sizeof x, sizeof x,
                                         NULL, &inherited.result),
                     0);
    assert_int_equal(child_run(free_in_child, &inherited), 0);
    assert_int_equal(mp_async_result_get(inherited.result, &x, sizeof x, SOON), 0);
    assert_int_equal(x, 9);
    mp_async_result_free(inherited.result);
    mp_pool_free(inherited.pool);
}

static int pool_in_process(void *arg)
{
    (void)arg;
    guard_child();
    mp_pool *pool = new_pool(2);
    assert_works(pool);
    mp_pool_free(pool);
    return 0;
}

static int pool_in_task(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return pool_in_process(NULL);
}

static void test_pools_anywhere(void **state)
{
    (void)state;
    mp_process *p;
    int code;

    assert_int_equal(mp_process_new(&p, pool_in_process, NULL,
                                    MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES)),
                     0);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(mp_process_join(p, SOON), 0);
    assert_int_equal(mp_process_exitcode(p, &code), 0);
    assert_int_equal(code, 0);
    mp_process_free(p);

    mp_pool *pool = new_pool(1);
    assert_int_equal(mp_pool_apply(pool, pool_in_task, NULL, 0, NULL, 0, NULL), 0);
    mp_pool_free(pool);
}

static void test_several_pools(void **state)
{
    (void)state;
    mp_pool *a = new_pool(2), *b = new_pool(1), *c = new_pool(3);

    assert_works(c);
    assert_works(a);
    mp_pool_free(a);
    assert_works(b);
    assert_works(c);
    mp_pool_free(c);
    assert_works(b);
    mp_pool_free(b);
}

/* --- parents and hosts ------------------------------------------------------------ */

struct family {
    _Atomic int running;
};

static int computing_parent(void *arg)
{
    mp_pool *pool = new_pool(2);

    assert_int_equal(mp_pool_apply_async(pool, compute_for_ever, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = arg), NULL),
                     0);
    for (;;)
        pause();
    return 0;
}

static void test_parent_is_killed(void **state)
{
    (void)state;
    _Atomic int *running = mp_shared_alloc(sizeof *running);
    pid_t below[16];

    leak_ignore_arena();
    pid_t pid = child_start(computing_parent, running);
    assert_true(eventually(word_is_set, running, 5000));
    size_t count = descendants(pid, below, 16);
    assert_int_equal(count, 3);
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    assert_int_equal(survivors(below, count, 500), 0);
    reap_all(1000);
    mp_shared_free(running);
}

static int parent_that_exits(void *arg)
{
    mp_pool *pool = new_pool(2);

    assert_int_equal(mp_pool_apply_async(pool, compute_for_ever, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = arg), NULL),
                     0);
    while (!atomic_load((_Atomic int *)arg))
        sched_yield();
    exit(6);
}

static void test_parent_exits(void **state)
{
    (void)state;
    _Atomic int *running = mp_shared_alloc(sizeof *running);

    leak_ignore_arena();
    assert_int_equal(child_run(parent_that_exits, running), 6);
    assert_true(reap_all(500));
    mp_shared_free(running);
}

static int host_ignores_sigchld(void *arg)
{
    (void)arg;
    signal(SIGCHLD, SIG_IGN);
    mp_pool *pool = new_pool(2);
    assert_works(pool);
    expect_death(pool, die_by, SIGKILL, -SIGKILL);
    assert_works(pool);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_pool_free(pool);
    return 0;
}

static void test_host_ignores_sigchld(void **state)
{
    (void)state;
    leak_ignore_arena();
    assert_int_equal(child_run(host_ignores_sigchld, NULL), 0);
}

static int host_reaps_everything(void *arg)
{
    (void)arg;
    mp_pool *pool = new_pool(2);
    assert_works(pool);
    assert_int_equal(mp_pool_terminate(pool), 0);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_pool_free(pool);
    return 0;
}

static void test_host_reaps_everything(void **state)
{
    (void)state;
    leak_ignore_arena();
    assert_int_equal(child_run(host_reaps_everything, NULL), 0);
}

/* --- without resources ------------------------------------------------------------ */

static int without_descriptors(void *arg)
{
    struct rlimit limit, none;
    mp_pool *pool = NULL;
    (void)arg;

    mp_pool_free(new_pool(1));
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2));
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(err, EMFILE);
    assert_null(pool);
    pool = new_pool(2);
    assert_works(pool);
    mp_pool_free(pool);
    return 0;
}

static void test_no_descriptors(void **state)
{
    (void)state;
    leak_ignore_arena();
    assert_int_equal(child_run(without_descriptors, NULL), 0);
}

static void test_sleeping_pool_costs_no_time(void **state)
{
    (void)state;
    struct rusage before, after;
    mp_pool *pool = new_pool(2);

    assert_works(pool);
    usleep(500000); /* to prove that nothing happens */
    getrusage(RUSAGE_CHILDREN, &before);
    mp_pool_free(pool);
    getrusage(RUSAGE_CHILDREN, &after);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
              after.ru_utime.tv_usec - before.ru_utime.tv_usec;
    assert_true(us < 100000);
}

int main(void)
{
    static const struct CMUnitTest pool[] = {
        TEST(test_map),
        TEST(test_map_of_sizes),
        TEST(test_map_in_place),
        TEST(test_map_of_large_items),
        TEST(test_alignment_of_copies),
        TEST(test_map_without_results),
        TEST(test_failing_items),
        TEST(test_text_is_cut),
        TEST(test_text_does_not_stick),
        TEST(test_contexts),
        TEST(test_initializer),
        TEST(test_initializer_fails),
        TEST(test_bad_input),
        TEST(test_bad_input_of_results),
        TEST(test_async_apply),
        TEST(test_fire_and_forget),
        TEST(test_async_map),
        TEST(test_results_outlive_the_pool),
        TEST(test_many_results),
        TEST(test_dropped_result),
        TEST(test_threads_share_a_pool),
        TEST(test_close_and_join),
        TEST(test_join_times_out),
        TEST(test_terminate),
        TEST(test_terminate_stopped_worker),
        TEST(test_free_under_work),
        TEST(test_workers_die_in_every_way),
        TEST(test_exactly_the_running_item_is_lost),
        TEST(test_every_item_kills),
        TEST(test_lock_of_a_dead_worker),
        TEST(test_supervisor_is_killed),
        TEST(test_signals_of_workers),
        TEST(test_workers_are_snapshots),
        TEST(test_workers_are_other_processes),
        TEST(test_pool_in_a_child),
        TEST(test_free_in_a_child),
        TEST(test_pools_anywhere),
        TEST(test_several_pools),
        TEST(test_parent_is_killed),
        TEST(test_parent_exits),
        TEST(test_host_ignores_sigchld),
        TEST(test_host_reaps_everything),
        TEST(test_no_descriptors),
        TEST(test_sleeping_pool_costs_no_time),
    };
    return TEST_MAIN(pool);
}
