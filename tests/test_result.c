/* SPDX-License-Identifier: MIT */
/* test_result.c - waiting for any of several results, callbacks, the event loop,
 * status. */
#include "support/pool_tasks.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#define SOON scaled(5000)
/* Sanitizers and a slow machine get fewer rounds of the same. */
#define ROUNDS (SANITIZED ? 5000 : 100000)

/* --- tasks and helpers ------------------------------------------------------------ */

static int fail_task(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return mp_task_fail(ERANGE, "as it was told");
}

/* The same with two words for each attempt. */
static int die_at_first(const void *arg, void *result, void *context)
{
    _Atomic int *word = context;

    if (atomic_load(&word[1]))
        return wait_for_word(arg, result, &word[2]);
    wait_for_word(arg, result, context);
    return die(arg, result, context);
}

static mp_pool *make_pollable(unsigned processes)
{
    mp_pool *pool;
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = processes, .pollable = true)),
        0);
    return pool;
}

static _Atomic int *new_words(void)
{
    _Atomic int *words = mp_shared_alloc(4 * sizeof *words);
    assert_non_null(words);
    return words;
}

static mp_async_result *start(mp_pool *pool, mp_task_fn *task, _Atomic int *words)
{
    mp_async_result *result;
    assert_int_equal(mp_pool_apply_async(pool, task, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = (void *)words),
                                         &result),
                     0);
    return result;
}

static mp_async_result *start_and_see(mp_pool *pool, mp_task_fn *task,
                                      _Atomic int *words)
{
    mp_async_result *result = start(pool, task, words);
    assert_true(eventually(word_is_set, (void *)&words[1], SOON));
    return result;
}

static void call(mp_pool *pool, mp_task_fn *task, mp_done_fn *callback, void *arg,
                 mp_async_result **out)
{
    assert_int_equal(
        mp_pool_apply_async(pool, task, NULL, 0, 0,
                            MP_TASK_OPTIONS(.callback = callback, .callback_arg = arg),
                            out),
        0);
}

/* The supervisor is the only child of this process while it has a pool. */
static pid_t supervisor_of(mp_pool *pool)
{
    pid_t below[16];
    (void)pool;
    assert_true(descendants(getpid(), below, 16) > 0);
    return below[0];
}

static void count_call(mp_async_result *result, void *arg)
{
    assert_true(mp_async_result_ready(result));
    (*(int *)arg)++;
}

/* --- any and all ------------------------------------------------------------------ */

static void test_any(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(3);
    _Atomic int *words[3];
    mp_async_result *results[5] = {NULL};
    size_t index = 99;

    for (int i = 0; i < 3; i++) {
        words[i] = new_words();
        results[i + 1] = start(pool, wait_for_word, words[i]);
    }
    assert_int_equal(mp_async_result_wait_any(results, 5, MP_NOWAIT, &index),
                     ETIMEDOUT);
    assert_int_equal(mp_async_result_wait_any(results, 5, 20, &index), ETIMEDOUT);
    assert_int_equal(index, 99);

    static const int order[] = {2, 0, 1};
    for (int i = 0; i < 3; i++) {
        atomic_store(words[order[i]], 1);
        assert_int_equal(mp_async_result_wait_any(results, 5, SOON, &index), 0);
        assert_int_equal(index, order[i] + 1);
        mp_async_result_free(results[index]);
        results[index] = NULL;
    }
    assert_int_equal(mp_async_result_wait_any(results, 5, MP_FOREVER, &index), EPIPE);
    for (int i = 0; i < 3; i++)
        mp_shared_free((void *)words[i]);
    mp_pool_free(pool);
}

/* Of those that are settled the one that was submitted first, wherever it stands. */
static void test_any_names_the_first(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    mp_async_result *results[20];
    size_t index;

    for (int i = 19; i >= 0; i--)
        results[i] = start(pool, i % 2 ? nothing : fail_task, NULL);
    assert_int_equal(mp_async_result_wait_all(results, 20, SOON), 0);
    for (size_t i = 20; i-- > 0;) {
        assert_int_equal(mp_async_result_wait_any(results, 20, MP_NOWAIT, &index), 0);
        assert_int_equal(index, i);
        mp_async_result_free(results[i]);
        results[i] = NULL;
    }
    mp_pool_free(pool);
}

static void test_any_of_maps(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    _Atomic int *words = new_words();
    mp_async_result *results[3];
    static int items[1000], squares[1000];
    size_t index;

    for (int i = 0; i < 1000; i++)
        items[i] = i;
    results[0] = start_and_see(pool, wait_for_word, words);
    assert_int_equal(mp_pool_map_async(pool, square, items, 1000, sizeof *items,
                                       squares, sizeof *squares, NULL, &results[1]),
                     0);
    assert_int_equal(
        mp_pool_map_async(pool, square, NULL, 0, 0, NULL, 0, NULL, &results[2]), 0);
    assert_int_equal(mp_async_result_wait_any(results, 2, SOON, &index), 0);
    assert_int_equal(index, 1);
    assert_int_equal(mp_async_result_get(results[1], NULL, 0, MP_NOWAIT), 0);
    assert_int_equal(squares[999], 999 * 999);
    mp_async_result *last[] = {results[0], results[2]};
    assert_int_equal(mp_async_result_wait_any(last, 2, MP_NOWAIT, &index), 0);
    assert_int_equal(index, 1);
    atomic_store(words, 1);
    assert_int_equal(mp_async_result_wait_all(results, 3, SOON), 0);
    for (int i = 0; i < 3; i++)
        mp_async_result_free(results[i]);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void test_all(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    _Atomic int *words = new_words();
    mp_async_result *results[10] = {NULL};

    assert_int_equal(mp_async_result_wait_all(results, 10, MP_FOREVER), 0);
    assert_int_equal(mp_async_result_wait_all(NULL, 0, MP_FOREVER), 0);
    for (int i = 1; i < 9; i++)
        results[i] =
            i == 5 ? start(pool, wait_for_word, words) : start(pool, nothing, NULL);
    assert_int_equal(mp_async_result_wait_all(results, 10, MP_NOWAIT), ETIMEDOUT);
    assert_int_equal(mp_async_result_wait_all(results, 10, 20), ETIMEDOUT);
    atomic_store(words, 1);
    assert_int_equal(mp_async_result_wait_all(results, 10, SOON), 0);
    for (int i = 1; i < 9; i++)
        mp_async_result_free(results[i]);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1), *other = new_pool(1);
    mp_async_result *results[] = {start(pool, nothing, NULL),
                                  start(other, nothing, NULL)};
    mp_progress progress;
    mp_pool_status status;
    size_t index;
    int fd;

    assert_int_equal(mp_async_result_wait_any(NULL, 1, 0, &index), EINVAL);
    assert_int_equal(mp_async_result_wait_any(NULL, 0, 0, &index), EPIPE);
    assert_int_equal(mp_async_result_wait_any(results, 1, 0, NULL), EINVAL);
    assert_int_equal(mp_async_result_wait_any(results, 1, -2, &index), EINVAL);
    assert_int_equal(mp_async_result_wait_any(results, 2, 0, &index), EINVAL);
    assert_int_equal(mp_async_result_wait_all(NULL, 1, 0), EINVAL);
    assert_int_equal(mp_async_result_wait_all(results, 2, -2), EINVAL);
    assert_int_equal(mp_async_result_wait_all(results, 2, SOON), 0);
    assert_int_equal(mp_async_result_progress(NULL, &progress), EINVAL);
    assert_int_equal(mp_async_result_progress(results[0], NULL), EINVAL);
    assert_int_equal(mp_pool_poll(NULL, 0), EINVAL);
    assert_int_equal(mp_pool_poll(pool, -2), EINVAL);
    assert_int_equal(mp_pool_poll(pool, MP_FOREVER), EPIPE);
    assert_int_equal(mp_pool_fileno(NULL, &fd), EINVAL);
    assert_int_equal(mp_pool_fileno(pool, NULL), EINVAL);
    assert_int_equal(mp_pool_fileno(pool, &fd), ENOTSUP);
    assert_int_equal(mp_pool_get_status(NULL, &status), EINVAL);
    assert_int_equal(mp_pool_get_status(pool, NULL), EINVAL);
    for (int i = 0; i < 2; i++)
        mp_async_result_free(results[i]);
    mp_pool_free(pool);
    mp_pool_free(other);
}

static void test_any_when_workers_are_killed(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(3);
    _Atomic int *words = new_words();
    mp_async_result *results[11];
    size_t index;

    results[0] = start_and_see(pool, wait_for_word, words);
    for (int i = 1; i < 11; i++)
        results[i] = start(pool, die, NULL);
    for (int i = 1; i < 11; i++) {
        assert_int_equal(mp_async_result_wait_any(results, 11, SOON, &index), 0);
        assert_int_not_equal(index, 0);
        assert_int_equal(mp_async_result_get(results[index], NULL, 0, 0), EOWNERDEAD);
        mp_async_result_free(results[index]);
        results[index] = NULL;
    }
    atomic_store(words, 1);
    assert_int_equal(mp_async_result_wait_any(results, 11, SOON, &index), 0);
    assert_int_equal(index, 0);
    mp_async_result_free(results[0]);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void test_any_when_the_supervisor_is_killed(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    _Atomic int *words = new_words();
    mp_async_result *results[3];
    size_t index;

    for (int i = 0; i < 3; i++)
        results[i] = i ? start(pool, wait_for_word, words)
                       : start_and_see(pool, wait_for_word, words);
    kill(supervisor_of(pool), SIGKILL);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(mp_async_result_wait_any(results, 3, SOON, &index), 0);
        assert_int_equal(index, i);
        assert_int_equal(mp_async_result_get(results[i], NULL, 0, 0), EOWNERDEAD);
        mp_async_result_free(results[i]);
        results[i] = NULL;
    }
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void *terminate_from_thread(void *arg)
{
    usleep(
        20000); /* The other one may be asleep by then; it is as good if it is not. */
    return (void *)(intptr_t)mp_pool_terminate(arg);
}

static void test_any_when_the_pool_is_terminated(void **state)
{
    (void)state;
    leak_ignore_maps();
    mp_pool *pool = new_pool(2);
    _Atomic int *words = new_words();
    mp_async_result *results[3];
    pthread_t thread;
    size_t index;
    int calls = 0;

    for (int i = 0; i < 3; i++)
        results[i] = start(pool, wait_for_word, words);
    call(pool, nothing, count_call, &calls, NULL);
    assert_int_equal(pthread_create(&thread, NULL, terminate_from_thread, pool), 0);
    assert_int_equal(mp_async_result_wait_any(results, 3, SOON, &index), 0);
    assert_int_equal(mp_async_result_get(results[index], NULL, 0, 0), ECANCELED);
    assert_int_equal(mp_pool_poll(pool, SOON), 0);
    assert_int_equal(calls, 1);
    void *err;
    pthread_join(thread, &err);
    assert_null(err);
    assert_int_equal(mp_async_result_wait_all(results, 3, MP_NOWAIT), 0);
    for (int i = 0; i < 3; i++)
        mp_async_result_free(results[i]);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

/* --- callbacks -------------------------------------------------------------------- */

typedef void find_fn(mp_pool *pool, mp_async_result *result);

static void find_by_wait(mp_pool *pool, mp_async_result *result)
{
    (void)pool;
    assert_int_equal(mp_async_result_wait(result, SOON), 0);
}

static void find_by_get(mp_pool *pool, mp_async_result *result)
{
    (void)pool;
    assert_int_equal(mp_async_result_get(result, NULL, 0, SOON), 0);
}

static bool is_ready(void *result)
{
    return mp_async_result_ready(result);
}

static void find_by_ready(mp_pool *pool, mp_async_result *result)
{
    (void)pool;
    assert_true(eventually(is_ready, result, SOON));
}

static void find_by_any(mp_pool *pool, mp_async_result *result)
{
    size_t index;
    (void)pool;
    assert_int_equal(mp_async_result_wait_any(&result, 1, SOON, &index), 0);
}

static void find_by_all(mp_pool *pool, mp_async_result *result)
{
    (void)pool;
    assert_int_equal(mp_async_result_wait_all(&result, 1, SOON), 0);
}

static void find_by_poll(mp_pool *pool, mp_async_result *result)
{
    (void)result;
    assert_int_equal(mp_pool_poll(pool, SOON), 0);
}

static void free_result(mp_async_result *result, void *arg)
{
    (*(int *)arg)++;
    mp_async_result_free(result);
}

/* Once, whoever finds it; with the result kept, and with it freed by the callback. */
static void test_callback_runs_once(void **state)
{
    (void)state;
    static find_fn *const finds[] = {find_by_wait, find_by_get, find_by_ready,
                                     find_by_any,  find_by_all, find_by_poll};
    mp_pool *pool = new_pool(2);

    for (size_t i = 0; i < sizeof finds / sizeof *finds; i++) {
        mp_async_result *result;
        int calls = 0;
        call(pool, nothing, count_call, &calls, &result);
        finds[i](pool, result);
        assert_int_equal(calls, 1);
        for (size_t k = 0; k < sizeof finds / sizeof *finds - 1; k++)
            finds[k](pool, result);
        assert_int_equal(mp_pool_poll(pool, MP_FOREVER), EPIPE);
        assert_int_equal(calls, 1);
        mp_async_result_free(result);

        if (finds[i] == find_by_ready)
            continue;
        call(pool, nothing, free_result, &calls, &result);
        finds[i](pool, result);
        assert_int_equal(calls, 2);
    }
    mp_pool_free(pool);
}

static void test_get_before_the_callback_frees(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    mp_async_result *result;
    int item = 12, value = 0, calls = 0;

    assert_int_equal(mp_pool_apply_async(pool, square, &item, sizeof item, sizeof value,
                                         MP_TASK_OPTIONS(.callback = free_result,
                                                         .callback_arg = &calls),
                                         &result),
                     0);
    assert_int_equal(mp_async_result_get(result, &value, sizeof value, SOON), 0);
    assert_int_equal(value, 144);
    assert_int_equal(calls, 1);
    mp_pool_free(pool);
}

/* What else a result tells does not run it. */
static void test_callback_is_not_run_by_questions(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    mp_async_result *first, *last;
    mp_task_failure failure;
    mp_progress progress;
    bool successful;
    int calls = 0;

    call(pool, fail_task, count_call, &calls, &first);
    last = start(pool, nothing, NULL);
    assert_int_equal(mp_async_result_wait(last, SOON), 0);
    assert_int_equal(mp_async_result_failure(first, &failure), 0);
    assert_int_equal(failure.error, ERANGE);
    assert_int_equal(mp_async_result_successful(first, &successful), 0);
    assert_false(successful);
    assert_int_equal(mp_async_result_progress(first, &progress), 0);
    assert_int_equal(progress.done, 1);
    assert_int_equal(calls, 0);
    /* And is not run any more once the result is freed. */
    mp_async_result_free(first);
    assert_int_equal(mp_pool_poll(pool, 0), EPIPE);
    assert_int_equal(calls, 0);
    mp_async_result_free(last);
    mp_pool_free(pool);
}

static void test_callback_of_cancelled(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    _Atomic int *words = new_words();
    mp_async_result *running, *queued, *map;
    int calls = 0;

    running = start_and_see(pool, wait_for_word, words);
    call(pool, nothing, count_call, &calls, &queued);
    assert_int_equal(mp_pool_map_async(
                         pool, nothing, words, 4, sizeof *words, NULL, 0,
                         MP_MAP_OPTIONS(.callback = count_call, .callback_arg = &calls),
                         &map),
                     0);
    assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), ETIMEDOUT);
    assert_int_equal(mp_async_result_cancel(queued), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(mp_async_result_cancel(queued), EALREADY);
    assert_int_equal(mp_async_result_cancel(map), 0);
    assert_int_equal(calls, 2);
    assert_int_equal(mp_async_result_get(map, NULL, 0, 0), ECANCELED);
    assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), EPIPE);
    mp_async_result_free(queued);
    mp_async_result_free(map);

    /* What runs is ended, and then found by whoever looks. */
    atomic_store(words, 1);
    assert_int_equal(mp_async_result_wait(running, SOON), 0);
    mp_async_result_free(running);
    atomic_store(words, 0);
    atomic_store(&words[1], 0);
    assert_int_equal(mp_pool_apply_async(pool, wait_for_word, NULL, 0, 0,
                                         MP_TASK_OPTIONS(.context = (void *)words,
                                                         .callback = count_call,
                                                         .callback_arg = &calls),
                                         &running),
                     0);
    assert_true(eventually(word_is_set, (void *)&words[1], SOON));
    assert_int_equal(mp_async_result_cancel(running), 0);
    /* It may have ended before cancel has looked whether it has. */
    if (calls == 2)
        assert_int_equal(mp_pool_poll(pool, SOON), 0);
    assert_int_equal(calls, 3);
    assert_int_equal(mp_async_result_get(running, NULL, 0, 0), ECANCELED);
    mp_async_result_free(running);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void test_callbacks_of_maps(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    static int items[500], squares[500];
    mp_async_result *result;
    int calls = 0;

    for (int i = 0; i < 500; i++)
        items[i] = i;
    assert_int_equal(
        mp_pool_map_async(
            pool, square, items, 500, sizeof *items, squares, sizeof *squares,
            MP_MAP_OPTIONS(.callback = count_call, .callback_arg = &calls), &result),
        0);
    assert_int_equal(mp_pool_poll(pool, SOON), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(squares[499], 499 * 499);
    mp_async_result_free(result);

    /* Without items it is settled at once, before tasks that nobody has begun. */
    _Atomic int *words = new_words();
    mp_async_result *held[3];
    for (int i = 0; i < 3; i++)
        held[i] = start(pool, wait_for_word, words);
    int other = 0;
    call(pool, nothing, count_call, &other, NULL);
    assert_int_equal(mp_pool_map_async(pool, square, NULL, 0, 0, NULL, 0,
                                       MP_MAP_OPTIONS(.callback = free_result,
                                                      .callback_arg = &calls),
                                       &result),
                     0);
    assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), 0);
    assert_int_equal(calls, 2);
    assert_int_equal(other, 0);
    atomic_store(words, 1);
    assert_int_equal(mp_pool_poll(pool, SOON), 0);
    assert_int_equal(other, 1);
    for (int i = 0; i < 3; i++)
        mp_async_result_free(held[i]);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

struct chain {
    mp_pool *pool;
    int left;
};

static void submit_next(mp_async_result *result, void *arg)
{
    struct chain *chain = arg;

    assert_int_equal(mp_async_result_get(result, NULL, 0, MP_NOWAIT), 0);
    if (--chain->left)
        call(chain->pool, nothing, submit_next, chain, NULL);
}

static void test_callback_submits_more(void **state)
{
    (void)state;
    struct chain chain = {new_pool(2), 2000};

    call(chain.pool, nothing, submit_next, &chain, NULL);
    int err;
    while (!(err = mp_pool_poll(chain.pool, MP_FOREVER)))
        continue;
    assert_int_equal(err, EPIPE);
    assert_int_equal(chain.left, 0);
    mp_pool_free(chain.pool);
}

static void free_pool(mp_async_result *result, void *arg)
{
    (void)result;
    mp_pool_free(*(mp_pool **)arg);
    *(mp_pool **)arg = NULL;
}

static void test_callback_frees_the_pool(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        mp_pool *pool = round == 1 ? make_pollable(2) : new_pool(2);
        mp_async_result *result;
        int dropped = 0;
        call(pool, nothing, free_pool, &pool, round ? NULL : &result);
        for (int i = 0; i < 10; i++)
            call(pool, nothing, count_call, &dropped, NULL);
        while (pool)
            assert_int_equal(mp_pool_poll(pool, MP_FOREVER), 0);
        if (!round)
            mp_async_result_free(result);
    }
}

/* Who still has the result is called after the pool has gone; others are not. */
static void test_callbacks_outlive_the_pool(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    _Atomic int *words = new_words();
    mp_async_result *held, *kept, *dropped;
    int calls = 0, never = 0;

    held = start_and_see(pool, wait_for_word, words);
    call(pool, nothing, count_call, &calls, &kept);
    call(pool, nothing, count_call, &never, NULL);
    call(pool, nothing, count_call, &never, &dropped);
    mp_pool_free(pool);
    assert_int_equal(calls, 0);
    assert_int_equal(mp_async_result_get(kept, NULL, 0, MP_NOWAIT), ECANCELED);
    assert_int_equal(calls, 1);
    mp_async_result_free(kept);
    mp_async_result_free(dropped);
    mp_async_result_free(held);
    assert_int_equal(never, 0);
    mp_shared_free((void *)words);
}

struct order {
    uint64_t last;
    int calls;
};

static void note_order(mp_async_result *result, void *arg)
{
    struct order *order = arg;
    uint64_t value;

    assert_int_equal(mp_async_result_get(result, &value, sizeof value, MP_NOWAIT), 0);
    assert_true(value > order->last);
    order->last = value;
    order->calls++;
}

static int copy_number(const void *arg, void *result, void *context)
{
    (void)context;
    memcpy(result, arg, sizeof(uint64_t));
    return 0;
}

/* Many, in the order of submission, and not in the square of the time. */
static void test_many_callbacks(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    struct order order = {0};

    for (uint64_t i = 1; i <= ROUNDS; i++)
        assert_int_equal(mp_pool_apply_async(pool, copy_number, &i, sizeof i, sizeof i,
                                             MP_TASK_OPTIONS(.callback = note_order,
                                                             .callback_arg = &order),
                                             NULL),
                         0);
    mp_async_result *last = start(pool, nothing, NULL);
    assert_int_equal(mp_async_result_wait(last, scaled(20000)), 0);
    mp_async_result_free(last);
    /* The other worker may be at one of them still, which then comes later. */
    int64_t began = now_ms();
    while (mp_pool_poll(pool, SOON) == 0)
        order.last = 0;
    assert_int_equal(order.calls, ROUNDS);
    assert_true(now_ms() - began < scaled(1000));
    mp_pool_free(pool);
}

/* While all of them are queued behind one, a look at the first is enough. */
static void test_poll_does_not_look_at_what_is_queued(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    _Atomic int *words = new_words();
    int calls = 0;

    mp_async_result *held = start_and_see(pool, wait_for_word, words);
    for (int i = 0; i < ROUNDS; i++)
        call(pool, nothing, count_call, &calls, NULL);
    int64_t began = now_ms();
    for (int i = 0; i < 10000; i++)
        assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), ETIMEDOUT);
    assert_true(now_ms() - began < scaled(1000));
    atomic_store(words, 1);
    while (mp_pool_poll(pool, SOON) == 0)
        continue;
    assert_int_equal(calls, ROUNDS);
    mp_async_result_free(held);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

/* Waits for the word at `context` if the one after it is set. */
static int start_when_told(void *context)
{
    _Atomic int *words = context;

    while (atomic_load(&words[1]) && !atomic_load(words))
        sched_yield();
    return 0;
}

static bool has_seen_a_death(void *pool)
{
    mp_pool_status status;
    return mp_pool_get_status(pool, &status) == 0 && status.deaths == 1;
}

/* A retry moves the queue's head back before what was settled in the meantime. */
static void test_callbacks_behind_a_retry(void **state)
{
    (void)state;
    _Atomic int *words = new_words(), *block = new_words(), *gate = new_words();
    mp_async_result *dies, *blocks;
    int calls = 0;
    mp_pool *pool;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2,
                                                        .initializer = start_when_told,
                                                        .context = (void *)gate)),
                     0);
    atomic_store(&gate[1], 1);
    assert_int_equal(
        mp_pool_apply_async(pool, die_at_first, NULL, 0, 0,
                            MP_TASK_OPTIONS(.context = (void *)words, .retries = 1,
                                            .callback = count_call,
                                            .callback_arg = &calls),
                            &dies),
        0);
    assert_true(eventually(word_is_set, (void *)&words[1], SOON));
    for (int i = 0; i < 10; i++)
        call(pool, nothing, count_call, &calls, NULL);
    blocks = start_and_see(pool, wait_for_word, block);
    atomic_store(words, 1);
    assert_true(eventually(has_seen_a_death, pool, SOON));
    assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), 0);
    assert_int_equal(calls, 10);
    atomic_store(gate, 1);
    atomic_store(&words[2], 1);
    atomic_store(block, 1);
    assert_int_equal(mp_async_result_get(dies, NULL, 0, SOON), 0);
    assert_int_equal(mp_async_result_get(blocks, NULL, 0, SOON), 0);
    assert_int_equal(calls, 11);
    mp_async_result_free(dies);
    mp_async_result_free(blocks);
    mp_shared_free((void *)words);
    mp_shared_free((void *)block);
    mp_shared_free((void *)gate);
    mp_pool_free(pool);
}

static void test_callbacks_of_killed_workers(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    int calls = 0;

    for (int i = 0; i < 20; i++)
        call(pool, i % 2 ? die : nothing, count_call, &calls, NULL);
    int err;
    while (!(err = mp_pool_poll(pool, SOON)))
        continue;
    assert_int_equal(err, EPIPE);
    assert_int_equal(calls, 20);
    mp_pool_free(pool);
}

/* --- threads ---------------------------------------------------------------------- */

struct crowd {
    mp_pool *pool;
    _Atomic int calls;
    _Atomic int *each; /* how often the callback of each has run */
    _Atomic int next;
    int count;
    _Atomic bool over;
};

struct one {
    struct crowd *crowd;
    int number;
};

static void count_one(mp_async_result *result, void *arg)
{
    struct one *one = arg;

    if (mp_async_result_get(result, NULL, 0, MP_NOWAIT) == 0)
        atomic_fetch_add(&one->crowd->each[one->number], 1);
    atomic_fetch_add(&one->crowd->calls, 1);
    free(one);
}

static void *poll_from_thread(void *arg)
{
    struct crowd *crowd = arg;

    while (!atomic_load(&crowd->over)) {
        int err = mp_pool_poll(crowd->pool, 1);
        if (err == EPIPE)
            sched_yield();
        else if (err && err != ETIMEDOUT)
            return (void *)1;
    }
    return NULL;
}

/* Every other one is waited for as well, and every third a map. */
static void *submit_from_thread(void *arg)
{
    struct crowd *crowd = arg;
    static const char items[8];
    int number;

    while ((number = atomic_fetch_add(&crowd->next, 1)) < crowd->count) {
        struct one *one = malloc(sizeof *one);
        mp_async_result *result;
        *one = (struct one){crowd, number};
        bool map = number % 3 == 0, waits = map || number % 2;
        int err = map ? mp_pool_map_async(
                            crowd->pool, nothing, items, 8, 1, NULL, 0,
                            MP_MAP_OPTIONS(.callback = count_one, .callback_arg = one),
                            &result)
                      : mp_pool_apply_async(
                            crowd->pool, nothing, NULL, 0, 0,
                            MP_TASK_OPTIONS(.callback = count_one, .callback_arg = one),
                            waits ? &result : NULL);
        if (!err && waits)
            err = mp_async_result_get(result, NULL, 0, MP_FOREVER);
        /* Somebody else may be in the callback still. */
        while (!err && waits && !atomic_load(&crowd->each[number]))
            sched_yield();
        if (err)
            return (void *)1;
        if (waits)
            mp_async_result_free(result);
    }
    return NULL;
}

static void test_callbacks_in_threads(void **state)
{
    (void)state;
    leak_ignore_maps();
    int count = ROUNDS / 5;
    struct crowd crowd = {.pool = new_pool(2), .count = count};
    crowd.each = calloc((size_t)count, sizeof *crowd.each);
    pthread_t threads[5];
    void *failed;

    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i < 2 ? submit_from_thread : poll_from_thread,
                                        &crowd),
                         0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    while (mp_pool_poll(crowd.pool, SOON) == 0)
        continue;
    atomic_store(&crowd.over, true);
    for (int i = 2; i < 5; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(crowd.calls, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(crowd.each[i], 1);
    free((void *)crowd.each);
    mp_pool_free(crowd.pool);
}

static void *poll_once(void *pool)
{
    return (void *)(intptr_t)mp_pool_poll(pool, MP_FOREVER);
}

/* Who waits for the last callback, which is dropped, waits for nothing any more. */
static void test_poll_ends_when_the_last_is_dropped(void **state)
{
    (void)state;
    leak_ignore_maps();
    mp_pool *pool = new_pool(1);
    _Atomic int *words = new_words();
    mp_async_result *held, *last;
    pthread_t thread;
    void *err;
    int calls = 0;

    for (int round = 0; round < 20; round++) {
        atomic_store(words, 0);
        atomic_store(&words[1], 0);
        held = start_and_see(pool, wait_for_word, words);
        call(pool, nothing, count_call, &calls, &last);
        assert_int_equal(pthread_create(&thread, NULL, poll_once, pool), 0);
        usleep((useconds_t)round * 200); /* It may sleep, or be about to. */
        mp_async_result_free(last);
        pthread_join(thread, &err);
        assert_int_equal((intptr_t)err, EPIPE);
        atomic_store(words, 1);
        assert_int_equal(mp_async_result_wait(held, SOON), 0);
        mp_async_result_free(held);
    }
    assert_int_equal(calls, 0);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void *wait_from_thread(void *result)
{
    return (void *)(intptr_t)mp_async_result_get(result, NULL, 0, MP_FOREVER);
}

static void test_cancel_while_another_waits(void **state)
{
    (void)state;
    leak_ignore_maps();
    mp_pool *pool = new_pool(2);
    _Atomic int *words = new_words();
    static const char items[100];
    mp_async_result *map;
    mp_progress progress;
    pthread_t thread;
    void *err;

    for (int round = 0; round < 20; round++) {
        atomic_store(words, 0);
        atomic_store(&words[1], 0);
        assert_int_equal(mp_pool_map_async(pool, wait_for_word, items, 100, 1, NULL, 0,
                                           MP_MAP_OPTIONS(.context = (void *)words),
                                           &map),
                         0);
        assert_true(eventually(word_is_set, (void *)&words[1], SOON));
        assert_int_equal(pthread_create(&thread, NULL, wait_from_thread, map), 0);
        assert_int_equal(mp_async_result_progress(map, &progress), 0);
        assert_int_equal(progress.total, 100);
        if (round % 2)
            atomic_store(words, 1);
        int cancelled = mp_async_result_cancel(map);
        assert_true(cancelled == 0 || cancelled == EALREADY);
        pthread_join(thread, &err);
        assert_true((intptr_t)err == ECANCELED || (round % 2 && !err));
        mp_async_result_free(map);
    }
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

/* --- the descriptor --------------------------------------------------------------- */

static bool readable(int fd, int timeout_ms)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};

    return poll(&polled, 1, timeout_ms) == 1;
}

static int fileno_of(mp_pool *pool)
{
    int fd = -1, again;
    assert_int_equal(mp_pool_fileno(pool, &fd), 0);
    assert_int_equal(mp_pool_fileno(pool, &again), 0);
    assert_int_equal(fd, again);
    return fd;
}

static void test_fileno(void **state)
{
    (void)state;
    mp_pool *pool = make_pollable(2);
    _Atomic int *words = new_words();
    mp_async_result *result, *queued;
    int fd = fileno_of(pool), calls = 0;

    assert_false(readable(fd, 0));
    assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), EPIPE);
    assert_false(readable(fd, 0));

    /* A result with a callback. */
    call(pool, nothing, count_call, &calls, NULL);
    assert_true(readable(fd, SOON));
    assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), 0);
    assert_int_equal(calls, 1);
    assert_false(readable(fd, 20));

    /* One without, and a failure. */
    for (int i = 0; i < 2; i++) {
        result = start(pool, i ? fail_task : nothing, NULL);
        assert_true(readable(fd, SOON));
        assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), EPIPE);
        assert_true(mp_async_result_ready(result));
        assert_false(readable(fd, 20));
        mp_async_result_free(result);
    }

    /* Nothing while a task is running; then that it was cancelled. */
    result = start_and_see(pool, wait_for_word, words);
    assert_false(readable(fd, 50));
    assert_int_equal(mp_async_result_cancel(result), 0);
    assert_true(readable(fd, SOON));
    assert_int_equal(mp_async_result_get(result, NULL, 0, SOON), ECANCELED);
    mp_async_result_free(result);

    /* What the client itself settles. */
    atomic_store(&words[1], 0);
    result = start_and_see(pool, wait_for_word, words);
    mp_async_result *other = start(pool, wait_for_word, words);
    queued = start(pool, nothing, NULL);
    while (mp_pool_poll(pool, MP_NOWAIT) == EPIPE && readable(fd, 20))
        continue;
    assert_false(mp_async_result_ready(queued));
    assert_int_equal(mp_async_result_cancel(queued), 0);
    assert_true(readable(fd, SOON));
    atomic_store(words, 1);
    mp_async_result_free(queued);
    mp_async_result_free(other);
    mp_async_result_free(result);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void test_fileno_when_a_worker_is_killed(void **state)
{
    (void)state;
    mp_pool *pool = make_pollable(1);
    int fd = fileno_of(pool), calls = 0;

    for (int i = 1; i <= 10; i++) {
        call(pool, die, count_call, &calls, NULL);
        while (calls < i) {
            assert_true(readable(fd, SOON));
            mp_pool_poll(pool, MP_NOWAIT);
        }
    }
    mp_pool_free(pool);
}

/* The pipe's other end is gone: readable at once, and quiet once that was seen. */
static void test_fileno_when_the_supervisor_is_killed(void **state)
{
    (void)state;
    mp_pool *pool = make_pollable(2);
    _Atomic int *words = new_words();
    int fd = fileno_of(pool), calls = 0;

    for (int i = 0; i < 4; i++)
        assert_int_equal(mp_pool_apply_async(pool, wait_for_word, NULL, 0, 0,
                                             MP_TASK_OPTIONS(.context = (void *)words,
                                                             .callback = count_call,
                                                             .callback_arg = &calls),
                                             NULL),
                         0);
    assert_false(readable(fd, 20));
    kill(supervisor_of(pool), SIGKILL);
    while (calls < 4) {
        assert_true(readable(fd, SOON));
        mp_pool_poll(pool, MP_NOWAIT);
    }
    assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), EPIPE);
    assert_false(readable(fd, 20));
    assert_int_equal(fileno_of(pool), fd);
    mp_pool_free(pool);
    mp_shared_free((void *)words);
}

static void test_fileno_when_the_pool_ends(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        mp_pool *pool = make_pollable(2);
        int fd = fileno_of(pool), calls = 0;
        for (int i = 0; i < 5; i++)
            call(pool, nothing, count_call, &calls, NULL);
        assert_int_equal(round ? mp_pool_terminate(pool) : mp_pool_close(pool), 0);
        assert_int_equal(mp_pool_join(pool, SOON), 0);
        assert_true(readable(fd, SOON));
        assert_int_equal(mp_pool_poll(pool, MP_NOWAIT), 0);
        assert_int_equal(calls, 5);
        mp_pool_poll(pool, MP_NOWAIT);
        assert_false(readable(fd, 20));
        mp_pool_free(pool);
    }
}

/* Nobody but the pool may keep the pipe open, not even who is started by a task. */
static int stay(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return 0;
}

static int leave_a_child(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)context;
    *(pid_t *)result = child_start(stay, NULL);
    return 0;
}

static void test_fileno_with_a_stray_child(void **state)
{
    (void)state;
    mp_pool *pool = make_pollable(1);
    int fd = fileno_of(pool);
    pid_t stray;

    assert_int_equal(
        mp_pool_apply(pool, leave_a_child, NULL, 0, &stray, sizeof stray, NULL), 0);
    /* The result may be there before the byte. */
    while (readable(fd, 20))
        mp_pool_poll(pool, MP_NOWAIT);
    kill(supervisor_of(pool), SIGKILL);
    assert_true(readable(fd, SOON));
    kill(stray, SIGKILL);
    mp_pool_free(pool);
    reap_all(SOON);
}

/* --- no wake is lost -------------------------------------------------------------- */

static void test_no_byte_is_lost(void **state)
{
    (void)state;
    mp_pool *pool = make_pollable(2);
    int fd = fileno_of(pool), calls = 0;

    for (int i = 1; i <= ROUNDS; i++) {
        call(pool, nothing, count_call, &calls, NULL);
        while (calls < i) {
            assert_true(readable(fd, SOON));
            mp_pool_poll(pool, MP_NOWAIT);
        }
    }
    /* And with results that have no callback. */
    for (int i = 0; i < ROUNDS / 4; i++) {
        mp_async_result *result = start(pool, nothing, NULL);
        for (;;) {
            assert_true(readable(fd, SOON));
            mp_pool_poll(pool, MP_NOWAIT);
            if (mp_async_result_ready(result))
                break;
        }
        mp_async_result_free(result);
    }
    mp_pool_free(pool);
}

static void test_no_wake_is_lost(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    int calls = 0;

    for (int i = 1; i <= ROUNDS; i++) {
        call(pool, nothing, count_call, &calls, NULL);
        assert_int_equal(mp_pool_poll(pool, MP_FOREVER), 0);
        assert_int_equal(calls, i);
    }
    for (int i = 0; i < ROUNDS; i++) {
        mp_async_result *results[2] = {start(pool, nothing, NULL)};
        size_t index;
        assert_int_equal(mp_async_result_wait_any(results, 2, MP_FOREVER, &index), 0);
        mp_async_result_free(results[0]);
    }
    mp_pool_free(pool);
}

/* --- progress and status ---------------------------------------------------------- */

static void test_progress(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    _Atomic int *words = new_words();
    mp_async_result *running, *failing, *map;
    mp_progress progress;
    static const char items[100];

    running = start_and_see(pool, wait_for_word, words);
    failing = start(pool, fail_task, NULL);
    assert_int_equal(
        mp_pool_map_async(pool, fail_task, items, 100, 1, NULL, 0, NULL, &map), 0);
    assert_int_equal(mp_async_result_progress(running, &progress), 0);
    assert_int_equal(progress.total, 1);
    assert_int_equal(progress.done, 0);
    assert_int_equal(progress.failed, 0);
    assert_true(progress.elapsed_ms >= 0 && progress.elapsed_ms < SOON);
    assert_int_equal(mp_async_result_progress(map, &progress), 0);
    assert_int_equal(progress.total, 100);
    assert_int_equal(progress.done, 0);
    atomic_store(words, 1);
    assert_int_equal(mp_async_result_wait(map, SOON), 0);
    assert_int_equal(mp_async_result_progress(map, &progress), 0);
    assert_int_equal(progress.done, 100);
    assert_int_equal(progress.failed, 100);
    assert_int_equal(mp_async_result_progress(running, &progress), 0);
    assert_int_equal(progress.done, 1);
    assert_int_equal(progress.failed, 0);
    assert_int_equal(mp_async_result_progress(failing, &progress), 0);
    assert_int_equal(progress.done, 1);
    assert_int_equal(progress.failed, 1);
    mp_async_result_free(running);
    mp_async_result_free(failing);
    mp_async_result_free(map);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static mp_pool_status status_of(mp_pool *pool)
{
    mp_pool_status status;
    assert_int_equal(mp_pool_get_status(pool, &status), 0);
    assert_int_equal(status.submitted, status.queued + status.running + status.done);
    assert_true(status.failed <= status.done);
    assert_int_equal(status.reserved, 0);
    return status;
}

static bool is_idle(void *pool)
{
    return status_of(pool).busy == 0;
}

static bool has_replaced_one(void *pool)
{
    mp_pool_status status = status_of(pool);
    return status.deaths == 1 && status.alive == 3;
}

static void test_status(void **state)
{
    (void)state;
    mp_pool *pool;
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .max_processes = 3)), 0);
    _Atomic int *words = new_words();
    mp_async_result *running, *results[11];
    static const char items[1000];

    assert_true(eventually(is_idle, pool, SOON));
    mp_pool_status status = status_of(pool);
    assert_int_equal(status.processes, 2);
    assert_int_equal(status.alive, 2);
    assert_int_equal(status.deaths, 0);
    assert_int_equal(status.submitted, 0);
    assert_int_equal(status.error, 0);
    assert_string_equal(status.text, "");

    assert_int_equal(mp_pool_map(pool, nothing, items, 1000, 1, NULL, 0, NULL), 0);
    assert_int_equal(mp_pool_map(pool, fail_task, items, 10, 1, NULL, 0, NULL), ERANGE);
    assert_true(eventually(is_idle, pool, SOON));
    status = status_of(pool);
    assert_int_equal(status.submitted, 1010);
    assert_int_equal(status.done, 1010);
    assert_int_equal(status.failed, 10);

    assert_int_equal(mp_pool_resize(pool, 3), 0);
    assert_int_equal(mp_pool_apply(pool, die, NULL, 0, NULL, 0, NULL), EOWNERDEAD);
    assert_true(eventually(has_replaced_one, pool, SOON));
    status = status_of(pool);
    assert_int_equal(status.processes, 3);
    assert_int_equal(status.deaths, 1);
    assert_int_equal(status.done, 1011);
    assert_int_equal(status.failed, 11);

    assert_int_equal(mp_pool_resize(pool, 1), 0);
    running = start_and_see(pool, wait_for_word, words);
    for (int i = 0; i < 11; i++)
        results[i] = start(pool, wait_for_word, words);
    assert_int_equal(mp_async_result_cancel(results[10]), 0);
    status = status_of(pool);
    assert_int_equal(status.submitted, 1023);
    assert_true(status.busy >= 1 && status.running >= 1);
    assert_int_equal(status.done, 1012);
    assert_int_equal(status.failed, 12);

    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(status_of(pool).error, EPIPE);
    atomic_store(words, 1);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    status = status_of(pool);
    assert_int_equal(status.error, EPIPE);
    assert_int_equal(status.alive, 0);
    assert_int_equal(status.done, 1023);
    mp_async_result_free(running);
    for (int i = 0; i < 11; i++)
        mp_async_result_free(results[i]);
    mp_shared_free((void *)words);
    mp_pool_free(pool);
}

static void test_status_of_ended_pools(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(1);
    _Atomic int *words = new_words();
    mp_async_result *running = start(pool, wait_for_word, words),
                    *queued = start(pool, nothing, NULL);

    assert_int_equal(mp_pool_terminate(pool), 0);
    mp_pool_status status = status_of(pool);
    assert_int_equal(status.error, ECANCELED);
    assert_int_equal(status.alive, 0);
    assert_int_equal(status.done, 2);
    assert_int_equal(status.failed, 2);
    assert_string_equal(status.text, "");
    mp_async_result_free(running);
    mp_async_result_free(queued);
    mp_pool_free(pool);

    pool = new_pool(1);
    kill(supervisor_of(pool), SIGKILL);
    running = start(pool, wait_for_word, words);
    assert_int_equal(mp_async_result_get(running, NULL, 0, SOON), EOWNERDEAD);
    status = status_of(pool);
    assert_int_equal(status.error, EOWNERDEAD);
    assert_string_equal(status.text, "the supervisor died");
    mp_async_result_free(running);
    mp_pool_free(pool);

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1, .max_deaths = 2)), 0);
    int err = 0;
    while (err != EPIPE) {
        err = mp_pool_apply(pool, die, NULL, 0, NULL, 0, NULL);
        assert_true(err == EOWNERDEAD || err == EPIPE);
    }
    status = status_of(pool);
    assert_int_equal(status.error, EOWNERDEAD);
    assert_non_null(strstr(status.text, "died"));
    mp_pool_free(pool);
    mp_shared_free((void *)words);
}

/* --- another process -------------------------------------------------------------- */

struct inherited {
    mp_pool *pool;
    mp_async_result *results[2];
};

static int use_in_child(void *arg)
{
    struct inherited *inherited = arg;
    mp_pool_status status;
    mp_progress progress;
    size_t index;
    int fd;

    assert_int_equal(mp_pool_poll(inherited->pool, 0), EPERM);
    assert_int_equal(mp_pool_fileno(inherited->pool, &fd), EPERM);
    assert_int_equal(mp_pool_get_status(inherited->pool, &status), EPERM);
    assert_int_equal(mp_async_result_wait_any(inherited->results, 2, 0, &index), EPERM);
    assert_int_equal(mp_async_result_wait_all(inherited->results, 2, 0), EPERM);
    assert_int_equal(mp_async_result_progress(inherited->results[0], &progress), EPERM);
    assert_false(mp_async_result_ready(inherited->results[0]));
    assert_int_equal(mp_async_result_cancel(inherited->results[0]), EPERM);
    for (int i = 0; i < 2; i++)
        mp_async_result_free(inherited->results[i]);
    mp_pool_free(inherited->pool);
    return 0;
}

static void test_in_a_child(void **state)
{
    (void)state;
    struct inherited inherited = {.pool = make_pollable(1)};
    int fd = fileno_of(inherited.pool), calls = 0;

    call(inherited.pool, nothing, count_call, &calls, &inherited.results[0]);
    call(inherited.pool, nothing, count_call, &calls, &inherited.results[1]);
    assert_true(readable(fd, SOON));
    assert_int_equal(child_run(use_in_child, &inherited), 0);
    assert_int_equal(mp_async_result_wait_all(inherited.results, 2, SOON), 0);
    assert_int_equal(calls, 2);
    for (int i = 0; i < 2; i++)
        mp_async_result_free(inherited.results[i]);
    mp_pool_free(inherited.pool);
}

int main(void)
{
    const struct CMUnitTest result_tests[] = {
        TEST(test_any),
        TEST(test_any_names_the_first),
        TEST(test_any_of_maps),
        TEST(test_all),
        TEST(test_bad_arguments),
        TEST(test_any_when_workers_are_killed),
        TEST(test_any_when_the_supervisor_is_killed),
        TEST(test_any_when_the_pool_is_terminated),
        TEST(test_callback_runs_once),
        TEST(test_get_before_the_callback_frees),
        TEST(test_callback_is_not_run_by_questions),
        TEST(test_callback_of_cancelled),
        TEST(test_callbacks_of_maps),
        TEST(test_callback_submits_more),
        TEST(test_callback_frees_the_pool),
        TEST(test_callbacks_outlive_the_pool),
        TEST(test_many_callbacks),
        TEST(test_poll_does_not_look_at_what_is_queued),
        TEST(test_callbacks_behind_a_retry),
        TEST(test_callbacks_of_killed_workers),
        TEST(test_callbacks_in_threads),
        TEST(test_poll_ends_when_the_last_is_dropped),
        TEST(test_cancel_while_another_waits),
        TEST(test_fileno),
        TEST(test_fileno_when_a_worker_is_killed),
        TEST(test_fileno_when_the_supervisor_is_killed),
        TEST(test_fileno_when_the_pool_ends),
        TEST(test_fileno_with_a_stray_child),
        TEST(test_no_byte_is_lost),
        TEST(test_no_wake_is_lost),
        TEST(test_progress),
        TEST(test_status),
        TEST(test_status_of_ended_pools),
        TEST(test_in_a_child),
    };

    return TEST_MAIN(result_tests);
}
