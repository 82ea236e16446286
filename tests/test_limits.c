/* SPDX-License-Identifier: MIT */
/*
 * test_limits.c - time limits, cancelling, retries, and how failures are described.
 *
 * What was run, and how often, is written down by the tasks in a page that libmp knows
 * nothing of.
 */
#include "support/pool_tasks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#define SOON          scaled(5000)
#define ITEMS         20000
#define LENGTH(array) (sizeof(array) / sizeof *(array))

static struct ledger {
    _Atomic int begun[ITEMS];
    _Atomic int ended[ITEMS];
    _Atomic int stop; /* those who wait may go on */
    _Atomic int waiting;
    _Atomic pid_t pid;
} * ledger;

static mp_pool *make(unsigned processes)
{
    mp_pool *pool;

    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = processes, )), 0);
    return pool;
}

/* --- tasks ------------------------------------------------------------------------ */

static void hang(void)
{
    for (;;)
        pause();
}

/* What an item is to do, and what it is called in the ledger. */
enum deed {
    SQUARE,
    HANG,    /* and be ended by SIGTERM */
    COMPUTE, /* without ever calling the system */
    IGNORE,  /* SIGTERM */
    BLOCK,   /* all signals */
    CATCH,   /* SIGTERM, and go on */
    LEAVE,   /* with code 3 when SIGTERM comes */
    STOP,    /* itself */
    WAIT,    /* until it is told to go on */
    FAIL,    /* with a text */
    CRASH,
    CRASH_TWICE, /* and then do it */
    EXIT_TWICE,
    EXIT,     /* with code 7 */
    ASK,      /* whether it should stop, until it should */
    ASK_ONLY, /* but never stop */
    SLEEP,    /* `us` */
    HOLD      /* signals back for `us`, until the next item */
};

struct item {
    int number;
    enum deed deed;
    long us;
};

static void exit_3(int signal)
{
    (void)signal;
    _exit(3);
}

static void go_on(int signal)
{
    (void)signal;
}

static void ask(bool for_ever)
{
    while (!mp_task_should_stop() || for_ever)
        sleep_us(200);
}

static int refuse_to_end(enum deed deed)
{
    sigset_t all;

    switch (deed) {
    case COMPUTE:
        for (;;)
            atomic_signal_fence(memory_order_seq_cst);
    case IGNORE:
        signal(SIGTERM, SIG_IGN);
        break;
    case BLOCK:
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        break;
    case CATCH:
        signal(SIGTERM, go_on);
        break;
    case LEAVE:
        signal(SIGTERM, exit_3);
        break;
    case STOP:
        raise(SIGSTOP);
        break;
    default:
        break;
    }
    hang();
    return 0;
}

static int run(const struct item *item, int times)
{
    sigset_t held;

    switch (item->deed) {
    case SQUARE:
        return 0;
    case WAIT:
        atomic_fetch_add(&ledger->waiting, 1);
        while (!atomic_load(&ledger->stop))
            sleep_us(200);
        return 0;
    case FAIL:
        return mp_task_fail(ERANGE, "item %d is bad", item->number);
    case CRASH_TWICE:
        return times > 2 ? 0 : raise(SIGKILL);
    case CRASH:
        return raise(SIGSEGV);
    case EXIT_TWICE:
        if (times > 2)
            return 0;
        exit(9);
    case EXIT:
        exit(7);
    case ASK:
        ask(false);
        return EINTR;
    case ASK_ONLY:
        ask(true);
        return 0;
    case SLEEP:
        sleep_us(item->us);
        return 0;
    case HOLD:
        sigemptyset(&held);
        sigaddset(&held, SIGTERM);
        sigprocmask(SIG_BLOCK, &held, NULL);
        sleep_us(item->us);
        return 0;
    default:
        return refuse_to_end(item->deed);
    }
}

static int act(const void *arg, void *result, void *context)
{
    const struct item *item = arg;
    (void)context;

    sigset_t none;

    guard_child();
    alarm(0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    atomic_store(&ledger->pid, getpid());
    int times = atomic_fetch_add(&ledger->begun[item->number], 1) + 1;
    int err = run(item, times);
    if (result)
        *(int *)result = item->number * item->number;
    atomic_fetch_add(&ledger->ended[item->number], 1);
    return err;
}

/* --- helpers ---------------------------------------------------------------------- */

static bool some_wait(void *count)
{
    return atomic_load(&ledger->waiting) >= *(int *)count;
}

static void await_waiting(int count)
{
    assert_true(eventually(some_wait, &count, SOON));
}

static bool has_begun(void *number)
{
    return atomic_load(&ledger->begun[*(int *)number]) > 0;
}

static void await_begun(int number)
{
    assert_true(eventually(has_begun, &number, SOON));
}

static void assert_works(mp_pool *pool)
{
    struct item items[40];
    int results[40], errors[40];

    for (int i = 0; i < 40; i++)
        items[i] = (struct item){.number = ITEMS - 1 - i};
    assert_int_equal(
        mp_pool_map(pool, act, items, 40, sizeof *items, results, sizeof *results,
                    MP_MAP_OPTIONS(.errors = errors, .time_limit_ms = scaled(5000))),
        0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(errors[i], 0);
        assert_int_equal(results[i], (ITEMS - 1 - i) * (ITEMS - 1 - i));
    }
}

static int apply(mp_pool *pool, enum deed deed, int number, mp_task_failure *failure,
                 int limit_ms, int retries)
{
    struct item item = {.number = number, .deed = deed};
    int result;

    memset(failure, 0xff, sizeof *failure);
    return mp_pool_apply(pool, act, &item, sizeof item, &result, sizeof result,
                         MP_TASK_OPTIONS(.failure = failure, .time_limit_ms = limit_ms,
                                         .retries = retries));
}

static mp_async_result *submit(mp_pool *pool, enum deed deed, int number)
{
    struct item item = {.number = number, .deed = deed};
    mp_async_result *result;

    assert_int_equal(
        mp_pool_apply_async(pool, act, &item, sizeof item, sizeof(int), NULL, &result),
        0);
    return result;
}

static int get(mp_async_result *result)
{
    int value;
    return mp_async_result_get(result, &value, sizeof value, SOON);
}

static mp_task_failure failure_of(mp_async_result *result)
{
    mp_task_failure failure;
    assert_int_equal(mp_async_result_failure(result, &failure), 0);
    return failure;
}

/* What is known of an item whose worker ended. */
static void assert_failure(const mp_task_failure *failure, int error, int kind,
                           int exitcode)
{
    assert_int_equal(failure->error, error);
    assert_int_equal(failure->kind, kind);
    assert_int_equal(failure->exitcode, exitcode);
    assert_true(failure->pid > 0);
    /* Its parent may be about to reap it. */
    char state_of_it = process_state(failure->pid);
    assert_true(state_of_it == 0 || state_of_it == 'Z');
    assert_true(failure->max_rss > (size_t)100 << 10);
    assert_true(SANITIZED || failure->max_rss < (size_t)1 << 30);
    assert_int_equal(failure->reserved, 0);
}

/* --- time limits ------------------------------------------------------------------ */

static void test_limit_of_apply(void **state)
{
    (void)state;
    mp_pool *pool = make(2);
    mp_task_failure failure;
    int64_t began = now_ms();

    assert_int_equal(apply(pool, HANG, 1, &failure, 30, 0), ETIME);
    int64_t took = now_ms() - began;
    assert_true(took >= 30 && took < SOON);
    assert_failure(&failure, ETIME, MP_FAILURE_TIME_LIMIT, -SIGTERM);
    assert_int_equal(failure.attempts, 1);
    assert_int_equal(failure.index, 0);
    assert_int_equal(failure.pid, ledger->pid);
    assert_string_equal(failure.text, "");
    assert_int_equal(ledger->begun[1], 1);
    assert_int_equal(ledger->ended[1], 0);
    assert_works(pool);
    assert_int_equal(apply(pool, SQUARE, 2, &failure, 1000, 0), 0);
    assert_int_equal(failure.error, 0);
    assert_int_equal(failure.kind, MP_FAILURE_NONE);
    mp_pool_free(pool);
}

static void test_limit_of_async_apply(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    struct item item = {.deed = HANG}, other = {.number = 1};
    mp_async_result *late, *next;

    assert_int_equal(mp_pool_apply_async(pool, act, &item, sizeof item, sizeof(int),
                                         MP_TASK_OPTIONS(.time_limit_ms = 20), &late),
                     0);
    assert_int_equal(mp_pool_apply_async(pool, act, &other, sizeof other, sizeof(int),
                                         MP_TASK_OPTIONS(.time_limit_ms = 1000), &next),
                     0);
    assert_int_equal(get(late), ETIME);
    assert_int_equal(get(late), ETIME);
    mp_task_failure failure = failure_of(late);
    assert_failure(&failure, ETIME, MP_FAILURE_TIME_LIMIT, -SIGTERM);
    assert_int_equal(get(next), 0);
    assert_int_equal(mp_async_result_cancel(late), EALREADY);
    mp_async_result_free(late);
    mp_async_result_free(next);
    mp_pool_free(pool);
}

/* A limit counts from when an item begins, not from when it was submitted. */
static void test_limit_begins_with_the_item(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    struct item slow = {.deed = SLEEP, .us = 200000}, quick = {.number = 1};
    mp_async_result *first, *second;

    assert_int_equal(
        mp_pool_apply_async(pool, act, &slow, sizeof slow, sizeof(int), NULL, &first),
        0);
    assert_int_equal(mp_pool_apply_async(pool, act, &quick, sizeof quick, sizeof(int),
                                         MP_TASK_OPTIONS(.time_limit_ms = scaled(150)),
                                         &second),
                     0);
    assert_int_equal(get(first), 0);
    assert_int_equal(get(second), 0);
    mp_async_result_free(first);
    mp_async_result_free(second);
    mp_pool_free(pool);
}

static void test_limit_of_the_pool(void **state)
{
    (void)state;
    mp_pool *pool;
    mp_task_failure failure;
    struct item slow = {.deed = SLEEP, .us = 200000},
                items[3] = {{.number = 1}, slow, slow};
    int result, errors[3];

    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .time_limit_ms = 100)), 0);
    assert_int_equal(apply(pool, HANG, 1, &failure, 0, 0), ETIME);
    assert_int_equal(mp_pool_apply(pool, act, &slow, sizeof slow, &result,
                                   sizeof result,
                                   MP_TASK_OPTIONS(.time_limit_ms = scaled(3000))),
                     0);
    assert_int_equal(mp_pool_map(pool, act, items, 3, sizeof *items, NULL, 0,
                                 MP_MAP_OPTIONS(.errors = errors, .failure = &failure)),
                     ETIME);
    assert_int_equal(errors[0], 0);
    assert_int_equal(errors[1], ETIME);
    assert_int_equal(errors[2], ETIME);
    assert_int_equal(failure.index, 1);
    assert_int_equal(mp_pool_map(pool, act, items, 3, sizeof *items, NULL, 0,
                                 MP_MAP_OPTIONS(.time_limit_ms = scaled(3000))),
                     0);
    mp_pool_free(pool);
}

static void check_limited_map(mp_pool *pool, struct item *items, int *results,
                              int *errors, size_t chunk)
{
    mp_task_failure failure;

    memset(ledger, 0, sizeof *ledger);
    for (int i = 0; i < 100; i++) {
        bool hangs = i == 7 || i == 50 || i == 99;
        items[i] = (struct item){.number = i, .deed = hangs ? HANG : SQUARE};
        errors[i] = -1;
    }
    assert_int_equal(
        mp_pool_map(pool, act, items, 100, sizeof *items, results, sizeof *results,
                    MP_MAP_OPTIONS(.errors = errors, .chunk_size = chunk,
                                   .time_limit_ms = scaled(100), .failure = &failure)),
        ETIME);
    assert_failure(&failure, ETIME, MP_FAILURE_TIME_LIMIT, -SIGTERM);
    assert_int_equal(failure.index, 7);
    assert_int_equal(failure.attempts, 1);
    for (int i = 0; i < 100; i++) {
        bool hangs = i == 7 || i == 50 || i == 99;
        assert_int_equal(ledger->begun[i], 1);
        assert_int_equal(ledger->ended[i], !hangs);
        assert_int_equal(errors[i], hangs ? ETIME : 0);
        if (!hangs)
            assert_int_equal(results[i], i * i);
    }
}

static void test_limit_of_map_items(void **state)
{
    (void)state;
    static const size_t chunks[] = {0, 1, 10};
    mp_pool *pool = make(3);
    struct item items[100], *shared_items = mp_shared_alloc(sizeof items);
    int results[100], errors[100], *shared_numbers = mp_shared_alloc(200 * sizeof(int));

    for (size_t i = 0; i < LENGTH(chunks); i++) {
        check_limited_map(pool, items, results, errors, chunks[i]);
        check_limited_map(pool, shared_items, shared_numbers, shared_numbers + 100,
                          chunks[i]);
    }
    assert_works(pool);
    mp_pool_free(pool);
    mp_shared_free(shared_items);
    mp_shared_free(shared_numbers);
}

/* Whatever a task does: its time is over when it is over. */
static void test_tasks_that_do_not_want_to_end(void **state)
{
    (void)state;
    static const struct {
        enum deed deed;
        int exitcode;
    } cases[] = {{HANG, -SIGTERM},  {COMPUTE, -SIGTERM}, {IGNORE, -SIGKILL},
                 {BLOCK, -SIGKILL}, {CATCH, -SIGKILL},   {STOP, -SIGKILL},
                 {LEAVE, 3}};
    mp_pool *pool;
    mp_task_failure failure;

    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .grace_ms = scaled(40))), 0);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_int_equal(apply(pool, cases[i].deed, (int)i, &failure, 10, 0), ETIME);
        assert_failure(&failure, ETIME, MP_FAILURE_TIME_LIMIT, cases[i].exitcode);
        assert_int_equal(ledger->begun[i], 1);
    }
    assert_works(pool);

    /* All at once. */
    struct item items[LENGTH(cases)];
    int errors[LENGTH(cases)];
    for (size_t i = 0; i < LENGTH(cases); i++)
        items[i] = (struct item){.number = 100 + (int)i, .deed = cases[i].deed};
    assert_int_equal(mp_pool_map(pool, act, items, LENGTH(cases), sizeof *items, NULL,
                                 0,
                                 MP_MAP_OPTIONS(.errors = errors, .time_limit_ms = 10)),
                     ETIME);
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_int_equal(errors[i], ETIME);
    assert_works(pool);
    mp_pool_free(pool);
}

/* A signal that comes late, when the item that it was meant for is over. */
static void test_nobody_else_is_hit(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    mp_async_result *held, *next;

    for (int i = 0; i < 6; i++) {
        bool cancels = i % 2;
        struct item item = {.number = i, .deed = HOLD, .us = 90000};
        assert_int_equal(mp_pool_apply_async(
                             pool, act, &item, sizeof item, sizeof(int),
                             MP_TASK_OPTIONS(.time_limit_ms = cancels ? 0 : 10), &held),
                         0);
        next = submit(pool, SQUARE, 100 + i);
        await_begun(i);
        if (cancels)
            assert_int_equal(mp_async_result_cancel(held), 0);
        /* Who was cancelled and gets to the end all the same has its result. */
        int err = get(held);
        if (err || !cancels || !ledger->ended[i])
            assert_int_equal(err, cancels ? ECANCELED : ETIME);
        assert_int_equal(get(next), 0);
        assert_int_equal(ledger->begun[100 + i], 1);
        mp_async_result_free(held);
        mp_async_result_free(next);
    }
    mp_pool_free(pool);
}

static void draw_sleeps(struct item *items, int count, uint64_t *seed)
{
    for (int i = 0; i < count; i++)
        items[i] = (struct item){
            .number = i, .deed = SLEEP, .us = (long)(next_random(seed) % 950)};
}

/* Either it was done, or its time was over, and it was run once. */
static void check_limited(int number, int error, int result, int *late)
{
    if (error == 0) {
        assert_int_equal(ledger->begun[number], 1);
        assert_int_equal(ledger->ended[number], 1);
        assert_int_equal(result, number * number);
    } else {
        /* A millisecond may be over before the task has said anything. */
        assert_int_equal(error, ETIME);
        assert_true(ledger->begun[number] <= 1);
        ++*late;
    }
}

static void test_storm_of_limits_in_a_map(void **state)
{
    (void)state;
    const int count = env_number("MP_TEST_NIGHTLY", 0) ? 20000 : 4000;
    static struct item items[ITEMS];
    static int results[ITEMS], errors[ITEMS];
    uint64_t seed = env_number("MP_TEST_SEED", 20240229);
    int late = 0;
    mp_pool *pool = make(8);

    draw_sleeps(items, count, &seed);
    memset(errors, 0xff, sizeof errors);
    mp_pool_map(pool, act, items, (size_t)count, sizeof *items, results,
                sizeof *results, MP_MAP_OPTIONS(.errors = errors, .time_limit_ms = 1));
    for (int i = 0; i < count; i++)
        check_limited(i, errors[i], results[i], &late);
    fprintf(stderr, "%d of %d items were late\n", late, count);
    assert_true(late > 0 && late < count);
    assert_works(pool);
    mp_pool_free(pool);
}

static void test_storm_of_limits_of_tasks(void **state)
{
    (void)state;
    const int count = env_number("MP_TEST_NIGHTLY", 0) ? 20000 : 4000;
    static struct item items[ITEMS];
    static mp_async_result *results[ITEMS];
    uint64_t seed = env_number("MP_TEST_SEED", 20240229);
    int late = 0;
    mp_pool *pool = make(8);

    leak_ignore_maps();
    draw_sleeps(items, count, &seed);
    for (int i = 0; i < count; i++)
        assert_int_equal(
            mp_pool_apply_async(pool, act, &items[i], sizeof *items, sizeof(int),
                                MP_TASK_OPTIONS(.time_limit_ms = i % 2), &results[i]),
            0);
    for (int i = 0; i < count; i++) {
        int value = 0;
        int err = mp_async_result_get(results[i], &value, sizeof value, scaled(20000));
        /* Those without a limit are never hit by another's. */
        assert_true(i % 2 || err == 0);
        check_limited(i, err, value, &late);
        mp_async_result_free(results[i]);
    }
    fprintf(stderr, "%d of %d tasks were late\n", late, count);
    assert_true(late > 0 && late < count);
    assert_works(pool);
    mp_pool_free(pool);
}

static void test_bad_limits(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    struct item item = {0};
    static const mp_task_options bad[] = {
        {.struct_size = sizeof(mp_task_options), .time_limit_ms = -1},
        {.struct_size = sizeof(mp_task_options), .soft_time_limit_ms = -1},
        {.struct_size = sizeof(mp_task_options), .retries = -1},
        {.struct_size = sizeof(mp_task_options), .retries = 256},
        {.struct_size = sizeof(mp_task_options), .reserved = 1},
    };
    static const mp_pool_options bad_pools[] = {
        {.struct_size = sizeof(mp_pool_options), .time_limit_ms = -1},
        {.struct_size = sizeof(mp_pool_options), .soft_time_limit_ms = -1},
        {.struct_size = sizeof(mp_pool_options), .grace_ms = -1},
        {.struct_size = sizeof(mp_pool_options), .idle_timeout_ms = -1},
        {.struct_size = sizeof(mp_pool_options), .death_window_ms = -1},
        {.struct_size = sizeof(mp_pool_options), .processes = 4, .max_processes = 3},
        {.struct_size = sizeof(mp_pool_options), .reserved = true},
    };

    for (size_t i = 0; i < LENGTH(bad); i++)
        assert_int_equal(mp_pool_apply(pool, act, &item, sizeof item, NULL, 0, &bad[i]),
                         EINVAL);
    assert_int_equal(mp_pool_map(pool, act, &item, 1, sizeof item, NULL, 0,
                                 MP_MAP_OPTIONS(.time_limit_ms = -5)),
                     EINVAL);
    assert_int_equal(mp_pool_map(pool, act, &item, 1, sizeof item, NULL, 0,
                                 MP_MAP_OPTIONS(.retries = 300)),
                     EINVAL);
    mp_pool_free(pool);
    pool = NULL;
    for (size_t i = 0; i < LENGTH(bad_pools); i++)
        assert_int_equal(mp_pool_new(&pool, &bad_pools[i]), EINVAL);
    assert_null(pool);
    assert_int_equal(ledger->begun[0], 0);
}

/* --- soft limits ------------------------------------------------------------------ */

static void test_soft_limit(void **state)
{
    (void)state;
    mp_pool *pool;
    struct item item = {.deed = ASK}, items[8];
    mp_task_failure failure;
    int errors[8];

    memset(ledger, 0, sizeof *ledger);
    assert_false(mp_task_should_stop());
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .soft_time_limit_ms = 30)),
        0);
    for (int limit = 0; limit <= 10; limit += 10) {
        int64_t began = now_ms();
        assert_int_equal(mp_pool_apply(pool, act, &item, sizeof item, NULL, 0,
                                       MP_TASK_OPTIONS(.soft_time_limit_ms = limit,
                                                       .failure = &failure)),
                         EINTR);
        assert_true(now_ms() - began >= (limit ? limit : 30));
        assert_int_equal(failure.kind, MP_FAILURE_RETURNED);
    }
    for (int i = 0; i < 8; i++)
        items[i] = (struct item){.number = 1 + i, .deed = ASK};
    int64_t began = now_ms();
    assert_int_equal(
        mp_pool_map(pool, act, items, 8, sizeof *items, NULL, 0,
                    MP_MAP_OPTIONS(.errors = errors, .soft_time_limit_ms = 10)),
        EINTR);
    /* Each has its own time. */
    assert_true(now_ms() - began >= 40);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(errors[i], EINTR);
        assert_int_equal(ledger->ended[1 + i], 1);
    }
    mp_pool_free(pool);
}

static void test_soft_and_hard_limit(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    mp_task_failure failure;
    pid_t before, after;

    assert_int_equal(
        mp_pool_apply(pool, get_pid, NULL, 0, &before, sizeof before, NULL), 0);
    struct item asks = {.deed = ASK}, ignores = {.number = 1, .deed = ASK_ONLY};
    assert_int_equal(mp_pool_apply(pool, act, &asks, sizeof asks, NULL, 0,
                                   MP_TASK_OPTIONS(.soft_time_limit_ms = 10,
                                                   .time_limit_ms = scaled(3000))),
                     EINTR);
    assert_int_equal(mp_pool_apply(pool, get_pid, NULL, 0, &after, sizeof after, NULL),
                     0);
    assert_int_equal(before, after);
    assert_int_equal(
        mp_pool_apply(pool, act, &ignores, sizeof ignores, NULL, 0,
                      MP_TASK_OPTIONS(.soft_time_limit_ms = 10, .time_limit_ms = 30,
                                      .failure = &failure)),
        ETIME);
    assert_failure(&failure, ETIME, MP_FAILURE_TIME_LIMIT, -SIGTERM);
    assert_int_equal(failure.pid, before);
    mp_pool_free(pool);
}

/* --- cancelling ------------------------------------------------------------------- */

static void test_cancel_queued(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    mp_async_result *blocker = submit(pool, WAIT, 0);
    mp_async_result *queued = submit(pool, SQUARE, 1), *last = submit(pool, SQUARE, 2);

    await_waiting(1);
    assert_false(mp_async_result_ready(queued));
    assert_int_equal(mp_async_result_cancel(queued), 0);
    assert_int_equal(mp_async_result_wait(queued, MP_NOWAIT), 0);
    assert_int_equal(get(queued), ECANCELED);
    assert_int_equal(mp_async_result_cancel(queued), EALREADY);
    mp_task_failure failure = failure_of(queued);
    assert_int_equal(failure.error, ECANCELED);
    assert_int_equal(failure.kind, MP_FAILURE_CANCELLED);
    assert_int_equal(failure.attempts, 0);
    assert_int_equal(failure.pid, 0);
    atomic_store(&ledger->stop, 1);
    assert_int_equal(get(blocker), 0);
    assert_int_equal(get(last), 0);
    assert_int_equal(ledger->begun[1], 0);
    mp_async_result_free(blocker);
    mp_async_result_free(queued);
    mp_async_result_free(last);
    mp_pool_free(pool);
}

static void test_cancel_running(void **state)
{
    (void)state;
    static const struct {
        enum deed deed;
        int exitcode;
    } cases[] = {{HANG, -SIGTERM},  {COMPUTE, -SIGTERM}, {IGNORE, -SIGKILL},
                 {BLOCK, -SIGKILL}, {STOP, -SIGKILL},    {ASK_ONLY, -SIGTERM}};
    mp_pool *pool;

    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1, .grace_ms = scaled(30))), 0);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        mp_async_result *running = submit(pool, cases[i].deed, (int)i);
        mp_async_result *next = submit(pool, SQUARE, 100 + (int)i);
        await_begun((int)i);
        assert_int_equal(mp_async_result_cancel(running), 0);
        /* Once more before it is settled is no mistake. */
        int err = mp_async_result_cancel(running);
        assert_true(err == 0 || err == EALREADY);
        assert_int_equal(get(running), ECANCELED);
        mp_task_failure failure = failure_of(running);
        /* IGNORE and BLOCK may be caught before they do so. */
        assert_failure(&failure, ECANCELED, MP_FAILURE_CANCELLED,
                       failure.exitcode == -SIGTERM ? -SIGTERM : cases[i].exitcode);
        assert_int_equal(failure.attempts, 1);
        assert_int_equal(get(next), 0);
        assert_int_equal(ledger->begun[i], 1);
        assert_int_equal(ledger->ended[i], 0);
        mp_async_result_free(running);
        mp_async_result_free(next);
    }
    mp_pool_free(pool);
}

static void test_cancel_finished(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    mp_async_result *result = submit(pool, SQUARE, 3);
    int value = 0;

    assert_int_equal(mp_async_result_wait(result, SOON), 0);
    assert_int_equal(mp_async_result_cancel(result), EALREADY);
    assert_int_equal(mp_async_result_get(result, &value, sizeof value, MP_NOWAIT), 0);
    assert_int_equal(value, 9);
    assert_int_equal(mp_async_result_cancel(NULL), EINVAL);
    mp_async_result_free(result);

    result = submit(pool, HANG, 4);
    mp_pool_terminate(pool);
    assert_int_equal(mp_async_result_cancel(result), EALREADY);
    assert_int_equal(get(result), ECANCELED);
    mp_async_result_free(result);
    mp_pool_free(pool);
}

/* A task that looks may return by itself, and its worker lives on. */
static void test_cancel_cooperative(void **state)
{
    (void)state;
    mp_pool *pool;
    pid_t before, after;

    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1, .grace_ms = scaled(3000))),
        0);
    assert_int_equal(
        mp_pool_apply(pool, get_pid, NULL, 0, &before, sizeof before, NULL), 0);
    for (int i = 0; i < 5; i++) {
        struct item item = {.number = i, .deed = SLEEP, .us = 100};
        assert_int_equal(mp_pool_apply(pool, act, &item, sizeof item, NULL, 0, NULL),
                         0);
        mp_async_result *result = submit(pool, ASK, 10 + i);
        await_begun(10 + i);
        /* It has to have asked once. */
        assert_int_equal(mp_async_result_wait(result, 5), ETIMEDOUT);
        assert_int_equal(mp_async_result_cancel(result), 0);
        assert_int_equal(get(result), EINTR);
        mp_task_failure failure = failure_of(result);
        assert_int_equal(failure.kind, MP_FAILURE_RETURNED);
        assert_int_equal(failure.pid, before);
        mp_async_result_free(result);
    }
    assert_int_equal(mp_pool_apply(pool, get_pid, NULL, 0, &after, sizeof after, NULL),
                     0);
    assert_int_equal(before, after);
    mp_pool_free(pool);
}

/* Done or cancelled, as the ledger has it. */
static int count_cancelled(const int *errors, const int *results, int count)
{
    int cancelled = 0;

    for (int i = 0; i < count; i++) {
        assert_true(ledger->begun[i] <= 1);
        if (errors[i] == 0) {
            assert_int_equal(ledger->ended[i], 1);
            assert_int_equal(results[i], i * i);
        } else {
            assert_int_equal(errors[i], ECANCELED);
            assert_int_equal(ledger->ended[i], 0);
            cancelled++;
        }
    }
    return cancelled;
}

static void test_cancel_map(void **state)
{
    (void)state;
    mp_pool *pool = make(2);
    enum { COUNT = 1000 };
    struct item items[COUNT];
    int results[COUNT], errors[COUNT];
    mp_async_result *map;

    for (int i = 0; i < COUNT; i++)
        items[i] = (struct item){.number = i, .deed = i % 500 == 250 ? WAIT : SQUARE};
    assert_int_equal(
        mp_pool_map_async(pool, act, items, COUNT, sizeof *items, results,
                          sizeof *results,
                          MP_MAP_OPTIONS(.errors = errors, .chunk_size = 1), &map),
        0);
    await_waiting(2);
    assert_int_equal(mp_async_result_cancel(map), 0);
    assert_int_equal(mp_async_result_get(map, NULL, 0, SOON), ECANCELED);
    assert_int_equal(mp_async_result_cancel(map), EALREADY);
    /* Both workers wait, each in the middle of what it has, or of what it has stolen.
     */
    int cancelled = count_cancelled(errors, results, COUNT);
    assert_true(cancelled >= 2 && cancelled < COUNT);
    assert_int_equal(errors[250], ECANCELED);
    assert_int_equal(errors[750], ECANCELED);
    for (int i = 0; i < COUNT; i++)
        assert_true(errors[i] == 0 || i % 500 == 250 || ledger->begun[i] == 0);
    mp_task_failure failure = failure_of(map);
    assert_int_equal(failure.error, ECANCELED);
    assert_int_equal(failure.kind, MP_FAILURE_CANCELLED);
    assert_int_equal(errors[failure.index], ECANCELED);
    for (uint64_t i = 0; i < failure.index; i++)
        assert_int_equal(errors[i], 0);
    mp_async_result_free(map);
    atomic_store(&ledger->stop, 1);
    assert_works(pool);
    mp_pool_free(pool);
}

static void test_cancel_queued_map(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    enum { COUNT = 100 };
    struct item items[COUNT];
    int results[COUNT], errors[COUNT];
    mp_async_result *map, *blocker = submit(pool, WAIT, 200);

    await_waiting(1);
    for (int i = 0; i < COUNT; i++)
        items[i] = (struct item){.number = i};
    assert_int_equal(mp_pool_map_async(pool, act, items, COUNT, sizeof *items, results,
                                       sizeof *results,
                                       MP_MAP_OPTIONS(.errors = errors), &map),
                     0);
    assert_int_equal(mp_async_result_cancel(map), 0);
    assert_int_equal(mp_async_result_get(map, NULL, 0, MP_NOWAIT), ECANCELED);
    assert_int_equal(count_cancelled(errors, results, COUNT), COUNT);
    mp_task_failure failure = failure_of(map);
    assert_int_equal(failure.index, 0);
    mp_async_result_free(map);
    atomic_store(&ledger->stop, 1);
    assert_int_equal(get(blocker), 0);
    mp_async_result_free(blocker);
    assert_works(pool);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(ledger->begun[i], 0);
    mp_pool_free(pool);
}

static bool is_below(pid_t pid)
{
    pid_t below[64];
    size_t count = descendants(getpid(), below, LENGTH(below));

    for (size_t i = 0; i < count; i++)
        if (below[i] == pid)
            return true;
    return false;
}

/* Cancels tasks at random, and kills workers if it is told to. */
struct canceller {
    pthread_t thread;
    mp_async_result **results;
    int count;
    bool kills;
    uint64_t seed;
    _Atomic bool stop;
    int cancelled;
};

static void *cancel_some(void *arg)
{
    struct canceller *self = arg;

    for (int i = 0; !atomic_load(&self->stop); i++) {
        int n = (int)(next_random(&self->seed) % (uint64_t)self->count);
        int err = mp_async_result_cancel(self->results[n]);
        self->cancelled += err == 0;
        if (self->kills && i % 8 == 0) {
            pid_t pid = atomic_load(&ledger->pid);
            if (pid && is_below(pid))
                kill(pid, SIGKILL);
        }
        sleep_us(200);
    }
    return NULL;
}

static void storm(bool kills, int retries)
{
    enum { COUNT = 1500 };
    static mp_async_result *results[COUNT];
    uint64_t seed = env_number("MP_TEST_SEED", 7) + kills;
    struct canceller canceller = {
        .results = results, .count = COUNT, .kills = kills, .seed = seed};
    int counts[3] = {0};
    mp_pool *pool = make(4);

    leak_ignore_maps();
    for (int i = 0; i < COUNT; i++) {
        struct item item = {
            .number = i, .deed = SLEEP, .us = (long)(next_random(&seed) % 1500)};
        assert_int_equal(mp_pool_apply_async(pool, act, &item, sizeof item, sizeof(int),
                                             MP_TASK_OPTIONS(.retries = retries),
                                             &results[i]),
                         0);
    }
    assert_int_equal(pthread_create(&canceller.thread, NULL, cancel_some, &canceller),
                     0);
    for (int i = 0; i < COUNT; i++) {
        int value = 0;
        int err = mp_async_result_get(results[i], &value, sizeof value, scaled(20000));
        assert_true(ledger->begun[i] <= 1 + retries);
        if (err == 0) {
            assert_true(ledger->ended[i] >= 1);
            assert_int_equal(value, i * i);
        } else {
            assert_true(err == ECANCELED || (kills && err == EOWNERDEAD));
        }
        counts[err == 0 ? 0 : err == ECANCELED ? 1 : 2]++;
    }
    atomic_store(&canceller.stop, true);
    pthread_join(canceller.thread, NULL);
    fprintf(stderr, "%d done, %d cancelled, %d lost\n", counts[0], counts[1],
            counts[2]);
    assert_true(counts[0] > 0 && counts[1] > 0);
    for (int i = 0; i < COUNT; i++)
        mp_async_result_free(results[i]);
    assert_works(pool);
    mp_pool_free(pool);
}

static void test_storm_of_cancels(void **state)
{
    (void)state;
    storm(false, 0);
}

static void test_storm_of_cancels_and_kills(void **state)
{
    (void)state;
    storm(true, 3);
}

/* --- retries ---------------------------------------------------------------------- */

static void test_retries_of_apply(void **state)
{
    (void)state;
    mp_pool *pool = make(2);
    mp_task_failure failure;

    assert_int_equal(apply(pool, CRASH_TWICE, 0, &failure, 0, 2), 0);
    assert_int_equal(ledger->begun[0], 3);
    assert_int_equal(ledger->ended[0], 1);
    assert_int_equal(apply(pool, EXIT_TWICE, 1, &failure, 0, 255), 0);
    assert_int_equal(ledger->begun[1], 3);

    assert_int_equal(apply(pool, CRASH_TWICE, 2, &failure, 0, 1), EOWNERDEAD);
    assert_int_equal(ledger->begun[2], 2);
    assert_failure(&failure, EOWNERDEAD, MP_FAILURE_DIED, -SIGKILL);
    assert_int_equal(failure.attempts, 2);
    assert_int_equal(apply(pool, CRASH_TWICE, 3, &failure, 0, 0), EOWNERDEAD);
    assert_int_equal(ledger->begun[3], 1);
    assert_int_equal(failure.attempts, 1);
    assert_int_equal(apply(pool, EXIT, 4, &failure, 0, 4), EOWNERDEAD);
    assert_int_equal(ledger->begun[4], 5);
    assert_failure(&failure, EOWNERDEAD, MP_FAILURE_EXITED, 7);
    assert_int_equal(failure.attempts, 5);

    /* Only the death of the worker is a reason to try again. */
    assert_int_equal(apply(pool, FAIL, 5, &failure, 0, 4), ERANGE);
    assert_int_equal(ledger->begun[5], 1);
    assert_int_equal(failure.attempts, 1);
    assert_int_equal(apply(pool, HANG, 6, &failure, 10, 4), ETIME);
    assert_int_equal(ledger->begun[6], 1);
    assert_int_equal(failure.attempts, 1);
    mp_pool_free(pool);
}

static void check_retries(mp_pool *pool, size_t chunk)
{
    enum { COUNT = 60 };
    struct item items[COUNT];
    int results[COUNT], errors[COUNT];
    mp_task_failure failure;

    memset(ledger, 0, sizeof *ledger);
    for (int i = 0; i < COUNT; i++)
        items[i] = (struct item){.number = i,
                                 .deed = i == 5    ? CRASH_TWICE
                                         : i == 17 ? CRASH
                                         : i == 40 ? FAIL
                                                   : SQUARE};
    assert_int_equal(mp_pool_map(pool, act, items, COUNT, sizeof *items, results,
                                 sizeof *results,
                                 MP_MAP_OPTIONS(.errors = errors, .chunk_size = chunk,
                                                .retries = 2, .failure = &failure)),
                     EOWNERDEAD);
    assert_failure(&failure, EOWNERDEAD, MP_FAILURE_DIED, -SIGSEGV);
    assert_int_equal(failure.index, 17);
    assert_int_equal(failure.attempts, 3);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(errors[i], i == 17 ? EOWNERDEAD : i == 40 ? ERANGE : 0);
        assert_int_equal(ledger->begun[i], i == 5 || i == 17 ? 3 : 1);
        assert_int_equal(ledger->ended[i], i == 17 ? 0 : 1);
        if (!errors[i])
            assert_int_equal(results[i], i * i);
    }
}

/* A cancelled task is not tried again, in whatever moment its worker dies. */
static void test_retries_end_with_a_cancel(void **state)
{
    (void)state;
    mp_pool *pool;

    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .max_deaths = 1000000)), 0);
    for (int i = 0; i < 60; i++) {
        struct item item = {.number = i, .deed = CRASH};
        mp_async_result *result;
        assert_int_equal(mp_pool_apply_async(pool, act, &item, sizeof item, sizeof(int),
                                             MP_TASK_OPTIONS(.retries = 255), &result),
                         0);
        await_begun(i);
        sleep_us(i * 37 % 600);
        int err = mp_async_result_cancel(result);
        if (err == EALREADY) {
            /* This process got no processor for so long. */
            assert_int_equal(ledger->begun[i], 256);
            assert_int_equal(get(result), EOWNERDEAD);
        } else {
            assert_int_equal(err, 0);
            assert_int_equal(get(result), ECANCELED);
            assert_true(ledger->begun[i] < 256);
        }
        mp_async_result_free(result);
    }
    mp_pool_free(pool);
}

static void test_retries_of_map(void **state)
{
    (void)state;
    mp_pool *pool = make(2);

    for (size_t chunk = 0; chunk <= 12; chunk += 4)
        check_retries(pool, chunk);
    assert_works(pool);
    mp_pool_free(pool);
}

/* --- stopping at the first failure ------------------------------------------------ */

/* What was not begun was cancelled, and nothing else. */
static int check_stopped(const int *errors, const int *results, int count, int failing,
                         int error)
{
    int begun = 0;

    for (int i = 0; i < count; i++) {
        int was_begun = ledger->begun[i];
        assert_true(was_begun <= 1);
        assert_int_equal(errors[i], !was_begun ? ECANCELED : i == failing ? error : 0);
        if (was_begun && i != failing)
            assert_int_equal(results[i], i * i);
        begun += was_begun;
    }
    assert_int_equal(ledger->begun[failing], 1);
    return begun;
}

static void test_stop_at_failure(void **state)
{
    (void)state;
    static const struct {
        enum deed deed;
        int error;
        int kind;
    } cases[] = {{FAIL, ERANGE, MP_FAILURE_RETURNED},
                 {CRASH, EOWNERDEAD, MP_FAILURE_DIED},
                 {HANG, ETIME, MP_FAILURE_TIME_LIMIT}};
    enum { COUNT = 400, FAILING = 10 };
    struct item items[COUNT];
    int results[COUNT], errors[COUNT];

    for (unsigned workers = 1; workers <= 3; workers++) {
        mp_pool *pool = make(workers);
        for (size_t c = 0; c < LENGTH(cases); c++) {
            mp_task_failure failure;
            memset(ledger, 0, sizeof *ledger);
            for (int i = 0; i < COUNT; i++)
                items[i] = (struct item){.number = i,
                                         .deed = i == FAILING ? cases[c].deed : SLEEP,
                                         .us = 100};
            assert_int_equal(
                mp_pool_map(pool, act, items, COUNT, sizeof *items, results,
                            sizeof *results,
                            MP_MAP_OPTIONS(.errors = errors, .failure = &failure,
                                           .chunk_size = 1, .stop_at_failure = 1,
                                           .time_limit_ms = scaled(150))),
                cases[c].error);
            assert_int_equal(failure.index, FAILING);
            assert_int_equal(failure.kind, cases[c].kind);
            int begun = check_stopped(errors, results, COUNT, FAILING, cases[c].error);
            if (workers == 1)
                assert_int_equal(begun, FAILING + 1);
            else if (cases[c].deed == FAIL)
                assert_true(begun < COUNT);
        }
        assert_works(pool);
        mp_pool_free(pool);
    }
}

/* In a map of many windows, too. */
static void test_stop_at_failure_in_windows(void **state)
{
    (void)state;
    enum { FAILING = 1000 };
    static struct item items[ITEMS];
    static struct big {
        char bytes[400];
    } results[ITEMS];
    static int errors[ITEMS];
    mp_task_failure failure;
    mp_pool *pool = make(2);
    int begun = 0;

    for (int i = 0; i < ITEMS; i++)
        items[i] = (struct item){.number = i,
                                 .deed = i == FAILING ? FAIL
                                         : i % 50     ? SQUARE
                                                      : SLEEP,
                                 .us = 50};
    memset(errors, 0xff, sizeof errors);
    assert_int_equal(mp_pool_map(pool, act, items, ITEMS, sizeof *items, results,
                                 sizeof *results,
                                 MP_MAP_OPTIONS(.errors = errors, .failure = &failure,
                                                .stop_at_failure = 1)),
                     ERANGE);
    assert_int_equal(failure.index, FAILING);
    for (int i = 0; i < ITEMS; i++) {
        begun += ledger->begun[i];
        assert_true(ledger->begun[i] <= 1);
        assert_int_equal(errors[i], i == FAILING       ? ERANGE
                                    : ledger->begun[i] ? 0
                                                       : ECANCELED);
    }
    assert_true(begun < ITEMS);
    mp_pool_free(pool);
}

/* --- how failures are described --------------------------------------------------- */

static int fill_memory(const void *arg, void *result, void *context)
{
    size_t size = *(const size_t *)arg;
    volatile char *block = malloc(size);

    (void)result;
    (void)context;
    guard_child();
    for (size_t i = 0; i < size; i += 1024)
        block[i] = 1;
    return raise(SIGKILL);
}

static void test_kinds_of_failures(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    mp_task_failure failure;

    assert_int_equal(apply(pool, SQUARE, 0, &failure, 0, 0), 0);
    assert_int_equal(failure.kind, MP_FAILURE_NONE);
    assert_int_equal(failure.error, 0);
    assert_int_equal(apply(pool, FAIL, 1, &failure, 0, 0), ERANGE);
    assert_int_equal(failure.kind, MP_FAILURE_RETURNED);
    assert_string_equal(failure.text, "item 1 is bad");
    assert_int_equal(failure.exitcode, 0);
    assert_int_equal(failure.pid, ledger->pid);
    assert_int_equal(failure.attempts, 1);
    assert_int_equal(failure.max_rss, 0);
    assert_int_equal(apply(pool, CRASH, 2, &failure, 0, 0), EOWNERDEAD);
    assert_failure(&failure, EOWNERDEAD, MP_FAILURE_DIED, -SIGSEGV);
    assert_string_equal(failure.text, "");
    assert_int_equal(apply(pool, EXIT, 3, &failure, 0, 0), EOWNERDEAD);
    assert_failure(&failure, EOWNERDEAD, MP_FAILURE_EXITED, 7);
    assert_int_equal(apply(pool, HANG, 4, &failure, 5, 0), ETIME);
    assert_failure(&failure, ETIME, MP_FAILURE_TIME_LIMIT, -SIGTERM);

    mp_async_result *running = submit(pool, HANG, 5), *queued = submit(pool, SQUARE, 6);
    await_begun(5);
    mp_pool_terminate(pool);
    failure = failure_of(running);
    assert_failure(&failure, ECANCELED, MP_FAILURE_CANCELLED, -SIGTERM);
    assert_int_equal(failure.attempts, 1);
    failure = failure_of(queued);
    assert_int_equal(failure.kind, MP_FAILURE_CANCELLED);
    assert_int_equal(failure.attempts, 0);
    assert_int_equal(failure.pid, 0);
    mp_async_result_free(running);
    mp_async_result_free(queued);
    mp_pool_free(pool);
}

static void test_failures_of_a_broken_pool(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    pid_t supervisor;
    mp_async_result *running = submit(pool, HANG, 0), *queued = submit(pool, SQUARE, 1);

    leak_ignore_arena();
    await_begun(0);
    assert_true(descendants(getpid(), &supervisor, 1) >= 1);
    kill(supervisor, SIGKILL);
    assert_int_equal(get(running), EOWNERDEAD);
    assert_int_equal(get(queued), EOWNERDEAD);
    mp_task_failure failure = failure_of(running);
    assert_int_equal(failure.kind, MP_FAILURE_POOL);
    assert_int_equal(failure.attempts, 1);
    failure = failure_of(queued);
    assert_int_equal(failure.kind, MP_FAILURE_POOL);
    assert_int_equal(failure.attempts, 0);
    assert_int_equal(apply(pool, SQUARE, 2, &failure, 0, 0), EPIPE);
    mp_async_result_free(running);
    mp_async_result_free(queued);
    mp_pool_free(pool);
}

static void test_memory_of_the_dead(void **state)
{
    (void)state;
    mp_pool *pool = make(1);
    mp_task_failure small, large;
    size_t size = 1 << 10;

    assert_int_equal(mp_pool_apply(pool, fill_memory, &size, sizeof size, NULL, 0,
                                   MP_TASK_OPTIONS(.failure = &small)),
                     EOWNERDEAD);
    size = (size_t)24 << 20;
    assert_int_equal(mp_pool_apply(pool, fill_memory, &size, sizeof size, NULL, 0,
                                   MP_TASK_OPTIONS(.failure = &large)),
                     EOWNERDEAD);
    assert_failure(&small, EOWNERDEAD, MP_FAILURE_DIED, -SIGKILL);
    assert_failure(&large, EOWNERDEAD, MP_FAILURE_DIED, -SIGKILL);
    assert_true(large.max_rss >= small.max_rss + size - ((size_t)1 << 20));
    assert_true(SANITIZED || large.max_rss <= small.max_rss + size + ((size_t)4 << 20));
    mp_pool_free(pool);
}

int main(void)
{
    static const struct CMUnitTest limits[] = {
        TEST(test_limit_of_apply),
        TEST(test_limit_of_async_apply),
        TEST(test_limit_begins_with_the_item),
        TEST(test_limit_of_the_pool),
        TEST(test_limit_of_map_items),
        TEST(test_tasks_that_do_not_want_to_end),
        TEST(test_nobody_else_is_hit),
        TEST(test_storm_of_limits_in_a_map),
        TEST(test_storm_of_limits_of_tasks),
        TEST(test_bad_limits),
        TEST(test_soft_limit),
        TEST(test_soft_and_hard_limit),
        TEST(test_cancel_queued),
        TEST(test_cancel_running),
        TEST(test_cancel_finished),
        TEST(test_cancel_cooperative),
        TEST(test_cancel_map),
        TEST(test_cancel_queued_map),
        TEST(test_storm_of_cancels),
        TEST(test_storm_of_cancels_and_kills),
        TEST(test_retries_of_apply),
        TEST(test_retries_end_with_a_cancel),
        TEST(test_retries_of_map),
        TEST(test_stop_at_failure),
        TEST(test_stop_at_failure_in_windows),
        TEST(test_kinds_of_failures),
        TEST(test_failures_of_a_broken_pool),
        TEST(test_memory_of_the_dead),
    };

    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(limits);
}
