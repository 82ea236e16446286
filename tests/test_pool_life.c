/* SPDX-License-Identifier: MIT */
/*
 * test_pool_life.c - how workers come, go, and are replaced.
 *
 * What they do is written down in a page that libmp knows nothing of.
 */
#include "support/pool_tasks.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#define SOON          scaled(5000)
#define ITEMS         20000
#define PIDS          4096
#define LENGTH(array) (sizeof(array) / sizeof *(array))

static struct ledger {
    _Atomic int runs[ITEMS];
    struct {
        _Atomic pid_t pid;
        _Atomic int items;
    } of[PIDS]; /* by pid, hashed */
    _Atomic int initialized;
    _Atomic int finalized;
    _Atomic int refuse; /* what the initializer returns */
    _Atomic int waiting;
    _Atomic int stop; /* those who wait may go on */
} * ledger;

/* --- what runs in workers --------------------------------------------------------- */

static _Atomic int *items_of(pid_t pid)
{
    for (size_t i = (size_t)pid % PIDS;; i = (i + 1) % PIDS) {
        pid_t nobody = 0;
        if (atomic_load(&ledger->of[i].pid) == pid ||
            atomic_compare_exchange_strong(&ledger->of[i].pid, &nobody, pid))
            return &ledger->of[i].items;
    }
}

static int initialize(void *context)
{
    (void)context;
    guard_child();
    alarm(0);
    atomic_fetch_add(&ledger->initialized, 1);
    return atomic_load(&ledger->refuse);
}

static void finalize(void *context)
{
    (void)context;
    atomic_fetch_add(&ledger->finalized, 1);
}

static int count(const void *arg, void *result, void *context)
{
    (void)context;
    if (arg)
        atomic_fetch_add(&ledger->runs[*(const int *)arg], 1);
    atomic_fetch_add(items_of(getpid()), 1);
    *(pid_t *)result = getpid();
    return 0;
}

static int wait_to_go_on(const void *arg, void *result, void *context)
{
    atomic_fetch_add(&ledger->waiting, 1);
    while (!atomic_load(&ledger->stop))
        sleep_us(200);
    return count(arg, result, context);
}

static int hang(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    atomic_fetch_add(&ledger->waiting, 1);
    for (;;)
        pause();
    return 0;
}

static int crash(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return raise(SIGKILL);
}

/* --- helpers ---------------------------------------------------------------------- */

static mp_pool *make(const mp_pool_options *options)
{
    mp_pool *pool;

    memset(ledger, 0, sizeof *ledger);
    assert_int_equal(mp_pool_new(&pool, options), 0);
    return pool;
}

static void close_and_free(mp_pool *pool)
{
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_pool_free(pool);
}

static pid_t apply(mp_pool *pool)
{
    pid_t pid = 0;
    assert_int_equal(mp_pool_apply(pool, count, NULL, 0, &pid, sizeof pid, NULL), 0);
    assert_true(pid > 0 && pid != getpid());
    return pid;
}

static mp_async_result *submit(mp_pool *pool, mp_task_fn *task)
{
    mp_async_result *result;
    assert_int_equal(
        mp_pool_apply_async(pool, task, NULL, 0, sizeof(pid_t), NULL, &result), 0);
    return result;
}

static pid_t get(mp_async_result *result)
{
    pid_t pid = 0;
    assert_int_equal(mp_async_result_get(result, &pid, sizeof pid, SOON), 0);
    mp_async_result_free(result);
    return pid;
}

/* Processes below this one, but for the supervisor of the only pool. */
static size_t workers(void)
{
    pid_t below[256];
    size_t found = descendants(getpid(), below, LENGTH(below)), living = 0;

    for (size_t i = 0; i < found; i++) {
        char state = process_state(below[i]);
        living += state != 0 && state != 'Z' && state != 'X';
    }
    return living - 1;
}

static bool has_workers(void *number)
{
    return workers() == *(size_t *)number;
}

static void await_workers(size_t number)
{
    if (!eventually(has_workers, &number, SOON))
        fail_msg("%zu workers and not %zu", workers(), number);
}

static bool some_wait(void *number)
{
    return atomic_load(&ledger->waiting) >= *(int *)number;
}

static void await_waiting(int number)
{
    assert_true(eventually(some_wait, &number, SOON));
}

/* No worker ran more items than it may: returns how many there were. */
static int check_items(int most)
{
    int found = 0;

    for (size_t i = 0; i < PIDS; i++) {
        if (ledger->of[i].pid)
            found++;
        if (ledger->of[i].items > most)
            fail_msg("process %d ran %d items", ledger->of[i].pid, ledger->of[i].items);
    }
    return found;
}

static int numbers[ITEMS], results[ITEMS];

static void check_map(mp_pool *pool, int items, size_t chunk)
{
    for (int i = 0; i < items; i++)
        atomic_store(&ledger->runs[numbers[i] = i], 0);
    memset(results, 0, sizeof results);
    assert_int_equal(mp_pool_map(pool, count, numbers, (size_t)items, sizeof *numbers,
                                 results, sizeof *results,
                                 MP_MAP_OPTIONS(.chunk_size = chunk)),
                     0);
    for (int i = 0; i < items; i++) {
        assert_true(results[i] > 0);
        assert_int_equal(ledger->runs[i], 1);
    }
}

/* --- replacement ------------------------------------------------------------------ */

static void test_tasks_per_child(void **state)
{
    (void)state;
    for (unsigned most = 1; most <= 7; most += 3) {
        mp_pool *pool =
            make(MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = most));
        for (int i = 0; i < 40; i++)
            apply(pool);
        int found = check_items((int)most);
        assert_true(found >= 40 / (int)most);
        close_and_free(pool);
    }
}

static void test_items_per_child(void **state)
{
    (void)state;
    static const struct {
        unsigned processes;
        unsigned most;
        int items;
    } cases[] = {{1, 1, 60}, {3, 1, 100}, {3, 7, 300}, {2, 1000, 6000}, {8, 2, 200}};

    for (size_t c = 0; c < LENGTH(cases); c++)
        for (size_t chunk = 0; chunk <= 100; chunk = chunk ? chunk * 100 : 1) {
            mp_pool *pool = make(MP_POOL_OPTIONS(.processes = cases[c].processes,
                                                 .max_tasks_per_child = cases[c].most));
            check_map(pool, cases[c].items, chunk);
            int found = check_items((int)cases[c].most);
            assert_true(found >= cases[c].items / (int)cases[c].most);
            apply(pool);
            close_and_free(pool);
        }
}

/* Places beyond `processes`, of which a pool that grows makes use. */
static void test_tasks_per_child_of_a_pool_that_grows(void **state)
{
    (void)state;
    mp_pool *pool = make(
        MP_POOL_OPTIONS(.processes = 1, .max_processes = 8, .max_tasks_per_child = 10));

    assert_int_equal(mp_pool_resize(pool, 8), 0);
    await_workers(8);
    check_map(pool, 2000, 1);
    check_items(10);
    mp_pool_free(pool);
    pool = make(MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = UINT64_MAX));
    kill(apply(pool), SIGKILL);
    check_map(pool, 2000, 0);
    mp_pool_free(pool);
}

/* The new worker is there, its initializer run, while the old one runs its last item.
 */
static void test_replacement_is_early(void **state)
{
    (void)state;
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 1, .max_tasks_per_child = 2,
                             .initializer = initialize, .finalizer = finalize));
    pid_t first = apply(pool), below[8];

    assert_int_equal(workers(), 1);
    mp_async_result *last = submit(pool, wait_to_go_on), *next = submit(pool, count);
    await_waiting(1);
    await_workers(2);
    size_t found = descendants(getpid(), below, LENGTH(below));
    /* It stands by, and does not take what is there to be done. */
    for (size_t i = 0; i < found; i++)
        assert_true(below[i] == first || process_sleeps(below[i], SOON));
    assert_int_equal(ledger->initialized, 2);
    assert_false(mp_async_result_ready(next));
    atomic_store(&ledger->stop, 1);
    assert_int_equal(get(last), first);
    pid_t second = get(next);
    bool was_there = false;
    for (size_t i = 0; i < found; i++)
        was_there = was_there || below[i] == second;
    assert_true(was_there && second != first);
    close_and_free(pool);
    assert_int_equal(ledger->initialized, ledger->finalized);
}

/* A replacement that stands by is no reason to stay. */
static void test_close_with_a_replacement(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 1, .max_tasks_per_child = 1,
                                         .finalizer = finalize));
    mp_async_result *last = submit(pool, wait_to_go_on), *next[5];

    await_waiting(1);
    await_workers(2);
    for (size_t i = 0; i < LENGTH(next); i++)
        next[i] = submit(pool, count);
    assert_int_equal(mp_pool_close(pool), 0);
    atomic_store(&ledger->stop, 1);
    get(last);
    for (size_t i = 0; i < LENGTH(next); i++)
        get(next[i]);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    check_items(1);
    assert_true(ledger->finalized >= 6);
    mp_pool_free(pool);
}

/* Results are never lost, whoever leaves, is killed, or is worn out. */
static void test_worn_and_killed(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 3, .max_tasks_per_child = 5));
    mp_async_result *async[COUNT];
    uint64_t seed = env_number("MP_TEST_SEED", 3);

    leak_ignore_arena();
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(mp_pool_apply_async(pool, count, &numbers[i], sizeof *numbers,
                                             sizeof(pid_t),
                                             MP_TASK_OPTIONS(.retries = 50), &async[i]),
                         0);
    for (int i = 0; i < COUNT; i++) {
        if (i % 10 == 0) {
            pid_t below[16];
            size_t found = descendants(getpid(), below, LENGTH(below));
            /* The supervisor is the first, and the parent of all others. */
            if (found > 1)
                kill(below[1 + next_random(&seed) % (found - 1)], SIGKILL);
        }
        get(async[i]);
    }
    check_items(5);
    close_and_free(pool);
}

static int grow(const void *arg, void *result, void *context)
{
    size_t size = *(const size_t *)arg;
    volatile char *block = malloc(size);

    for (size_t i = 0; i < size; i += 1024)
        block[i] = 1;
    return count(NULL, result, context);
}

static size_t own_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

static pid_t apply_grow(mp_pool *pool, size_t size)
{
    pid_t pid;
    assert_int_equal(
        mp_pool_apply(pool, grow, &size, sizeof size, &pid, sizeof pid, NULL), 0);
    return pid;
}

static void test_memory_per_child(void **state)
{
    (void)state;
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 1, .max_memory_per_child =
                                                 own_memory() + ((size_t)16 << 20)));
    pid_t first = apply(pool);

    assert_int_equal(apply(pool), first);
    assert_int_equal(apply_grow(pool, 1 << 20), first);
    assert_int_equal(apply_grow(pool, (size_t)24 << 20), first);
    pid_t second = apply(pool);
    assert_int_not_equal(second, first);
    assert_int_equal(apply(pool), second);
    close_and_free(pool);

    /* A limit that nobody can keep: one item for each worker, and no storm. */
    pool = make(MP_POOL_OPTIONS(.processes = 1, .max_memory_per_child = 1));
    check_map(pool, 20, 1);
    for (int i = 0; i < 20; i++)
        apply(pool);
    assert_int_equal(check_items(1), 40);
    close_and_free(pool);
}

static int try_malloc(const void *arg, void *result, void *context)
{
    size_t size = *(const size_t *)arg;
    volatile char *block = malloc(size);

    (void)result;
    (void)context;
    if (!block)
        return mp_task_fail(ENOMEM, "no memory");
    block[size / 2] = 1;
    free((char *)block);
    return 0;
}

static void test_memory_limit(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 2, .memory_limit = (size_t)64 << 20));
    static const struct {
        size_t size;
        int error;
    } cases[] = {{1 << 10, 0},
                 {(size_t)8 << 20, 0},
                 {(size_t)80 << 20, ENOMEM},
                 {(size_t)1 << 40, ENOMEM},
                 {1 << 20, 0}};

    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_int_equal(mp_pool_apply(pool, try_malloc, &cases[i].size, sizeof(size_t),
                                       NULL, 0, NULL),
                         cases[i].error);
    /* Not that of this process. */
    free(malloc((size_t)80 << 20));
    check_map(pool, 2000, 0);
    close_and_free(pool);
}

/* --- finalizers ------------------------------------------------------------------- */

static void test_finalizers(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 3, .initializer = initialize,
                                         .finalizer = finalize));

    check_map(pool, 100, 0);
    assert_int_equal(ledger->finalized, 0);
    close_and_free(pool);
    assert_int_equal(ledger->initialized, 3);
    assert_int_equal(ledger->finalized, 3);

    /* Killed, or ended by force: there is no order in that. */
    pool = make(MP_POOL_OPTIONS(.processes = 2, .initializer = initialize,
                                .finalizer = finalize));
    assert_int_equal(mp_pool_apply(pool, crash, NULL, 0, NULL, 0, NULL), EOWNERDEAD);
    await_workers(2);
    apply(pool);
    mp_pool_terminate(pool);
    mp_pool_free(pool);
    assert_int_equal(ledger->finalized, 0);

    /* Not even when they are only just awake. */
    for (int i = 0; i < 20; i++) {
        pool = make(MP_POOL_OPTIONS(.processes = 4, .finalizer = finalize));
        apply(pool);
        mp_pool_free(pool);
        assert_int_equal(ledger->finalized, 0);
    }

    /* Worn out; and none of the standbys is forgotten. */
    pool = make(MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = 3,
                                .initializer = initialize, .finalizer = finalize));
    for (int i = 0; i < 20; i++)
        apply(pool);
    close_and_free(pool);
    assert_true(ledger->initialized >= 7);
    assert_int_equal(ledger->finalized, ledger->initialized);
}

static void finalize_and_crash(void *context)
{
    finalize(context);
    raise(SIGKILL);
}

static void test_finalizer_crashes(void **state)
{
    (void)state;
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = 1, .max_deaths = 2,
                             .finalizer = finalize_and_crash));

    for (int i = 0; i < 20; i++)
        apply(pool);
    close_and_free(pool);
    assert_true(ledger->finalized >= 20);
}

/* --- deaths ----------------------------------------------------------------------- */

static mp_pool_status status_of(mp_pool *pool)
{
    mp_pool_status status;
    assert_int_equal(mp_pool_get_status(pool, &status), 0);
    return status;
}

/* An initializer that has begun to fail breaks the pool, slowly. */
static void test_initializer_fails_later(void **state)
{
    (void)state;
    enum { DEATHS = 6 };
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 2, .max_deaths = DEATHS,
                             .death_window_ms = 20, .initializer = initialize));
    mp_task_failure failure;

    atomic_store(&ledger->refuse, 77);
    mp_async_result *running = submit(pool, hang), *other = submit(pool, hang);
    mp_async_result *queued = submit(pool, count);
    await_waiting(2);
    int64_t began = now_ms();
    assert_int_equal(mp_async_result_cancel(running), 0);
    assert_int_equal(mp_async_result_cancel(other), 0);
    assert_int_equal(mp_async_result_get(queued, NULL, 0, SOON), EOWNERDEAD);
    assert_int_equal(mp_async_result_failure(queued, &failure), 0);
    assert_int_equal(failure.kind, MP_FAILURE_POOL);
    assert_int_equal(failure.attempts, 0);
    /* Two are forked at a time, after 10, 20, ... milliseconds. */
    assert_true(now_ms() - began >= 10);
    assert_in_range(ledger->initialized, 2 + DEATHS, 2 + DEATHS + 1);
    assert_int_equal(mp_async_result_get(running, NULL, 0, MP_NOWAIT), ECANCELED);
    assert_int_equal(mp_pool_apply(pool, crash, NULL, 0, NULL, 0, NULL), EPIPE);
    mp_pool_status status = status_of(pool);
    assert_int_equal(status.error, EOWNERDEAD);
    assert_non_null(strstr(status.text, "initializer returned 77"));
    mp_async_result_free(running);
    mp_async_result_free(other);
    mp_async_result_free(queued);
    mp_pool_free(pool);
}

/* It fails for a while: the pool lives on. */
static void test_initializer_recovers(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 1, .initializer = initialize));

    atomic_store(&ledger->refuse, 77);
    assert_int_equal(mp_pool_apply(pool, crash, NULL, 0, NULL, 0, NULL), EOWNERDEAD);
    mp_async_result *result = submit(pool, count);
    while (atomic_load(&ledger->initialized) < 4)
        assert_int_equal(mp_async_result_wait(result, 1), ETIMEDOUT);
    atomic_store(&ledger->refuse, 0);
    get(result);
    mp_pool_free(pool);
}

static void test_too_many_deaths(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 2, .max_deaths = 5));
    int errors[20] = {0}, died = 0;
    mp_task_failure failure;

    assert_int_equal(mp_pool_map(pool, crash, numbers, 20, sizeof *numbers, NULL, 0,
                                 MP_MAP_OPTIONS(.errors = errors, .chunk_size = 1,
                                                .failure = &failure)),
                     EOWNERDEAD);
    for (int i = 0; i < 20; i++)
        died += errors[i] == EOWNERDEAD;
    assert_int_equal(died, 20);
    assert_int_equal(mp_pool_apply(pool, crash, NULL, 0, NULL, 0, NULL), EPIPE);
    mp_pool_status status = status_of(pool);
    assert_int_equal(status.error, EOWNERDEAD);
    assert_non_null(strstr(status.text, "5 workers died"));
    assert_non_null(strstr(status.text, "signal 9"));
    mp_pool_free(pool);
}

static int crash_if_tenth(const void *arg, void *result, void *context)
{
    return *(const int *)arg % 10 == 9 ? crash(arg, result, context)
                                       : count(arg, result, context);
}

/* As long as anything is finished between them, deaths are no reason to give up. */
static void test_deaths_with_progress(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 1, .max_deaths = 2));
    enum { COUNT = 200 };
    int errors[COUNT];

    for (int i = 0; i < 10; i++) {
        apply(pool);
        assert_int_equal(mp_pool_apply(pool, crash, NULL, 0, NULL, 0, NULL),
                         EOWNERDEAD);
    }
    for (int i = 0; i < COUNT; i++)
        numbers[i] = i;
    /* The tenth item of each batch. */
    assert_int_equal(mp_pool_map(pool, crash_if_tenth, numbers, COUNT, sizeof *numbers,
                                 results, sizeof *results,
                                 MP_MAP_OPTIONS(.errors = errors, .chunk_size = 10)),
                     EOWNERDEAD);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(errors[i], i % 10 == 9 ? EOWNERDEAD : 0);
        assert_int_equal(ledger->runs[i], i % 10 != 9);
    }
    apply(pool);
    assert_int_equal(status_of(pool).deaths, 10 + COUNT / 10);
    mp_pool_free(pool);
}

static int crash_slowly(const void *arg, void *result, void *context)
{
    sleep_us(15000);
    return crash(arg, result, context);
}

/* Deaths that are far from each other don't count together, nor do those by a limit. */
static void test_deaths_that_do_not_count(void **state)
{
    (void)state;
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 1, .max_deaths = 2, .death_window_ms = 5));

    for (int i = 0; i < 8; i++)
        assert_int_equal(mp_pool_apply(pool, crash_slowly, NULL, 0, NULL, 0, NULL),
                         EOWNERDEAD);
    apply(pool);
    mp_pool_free(pool);
    pool = make(MP_POOL_OPTIONS(.processes = 1, .max_deaths = 2));
    for (int i = 0; i < 8; i++)
        assert_int_equal(mp_pool_apply(pool, hang, NULL, 0, NULL, 0,
                                       MP_TASK_OPTIONS(.time_limit_ms = 1)),
                         ETIME);
    apply(pool);
    mp_pool_free(pool);
}

/* --- how many --------------------------------------------------------------------- */

static void test_resize_idle(void **state)
{
    (void)state;
    static const unsigned sizes[] = {5, 1, 8, 3, 3, 2, 8, 1};
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 2, .max_processes = 8,
                             .initializer = initialize, .finalizer = finalize));

    assert_int_equal(workers(), 2);
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        assert_int_equal(mp_pool_resize(pool, sizes[i]), 0);
        await_workers(sizes[i]);
        assert_int_equal(status_of(pool).processes, sizes[i]);
        check_map(pool, 200, 0);
        assert_int_equal(workers(), sizes[i]);
    }
    assert_int_equal(mp_pool_resize(pool, 0), EINVAL);
    assert_int_equal(mp_pool_resize(pool, 9), EINVAL);
    assert_int_equal(mp_pool_resize(NULL, 1), EINVAL);
    assert_int_equal(status_of(pool).deaths, 0);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_resize(pool, 1), EPIPE);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_pool_free(pool);
    assert_int_equal(ledger->initialized, ledger->finalized);
}

static void test_resize_busy(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 4, .max_processes = 6));
    mp_async_result *async[6];

    for (size_t i = 0; i < 6; i++)
        async[i] = submit(pool, wait_to_go_on);
    await_waiting(4);
    /* New ones take what is queued. */
    assert_int_equal(mp_pool_resize(pool, 6), 0);
    await_waiting(6);
    await_workers(6);
    /* None is taken from its task. */
    assert_int_equal(mp_pool_resize(pool, 1), 0);
    assert_int_equal(mp_async_result_wait(async[0], 20), ETIMEDOUT);
    assert_int_equal(workers(), 6);
    atomic_store(&ledger->stop, 1);
    for (size_t i = 0; i < 6; i++)
        get(async[i]);
    await_workers(1);
    apply(pool);
    assert_int_equal(status_of(pool).deaths, 0);
    close_and_free(pool);
}

static void test_resize_under_load(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 2, .max_processes = 6,
                                         .max_tasks_per_child = 500));
    uint64_t seed = env_number("MP_TEST_SEED", 5);
    mp_async_result *map;

    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < ITEMS; i++)
            atomic_store(&ledger->runs[numbers[i] = i], 0);
        assert_int_equal(mp_pool_map_async(pool, count, numbers, ITEMS, sizeof *numbers,
                                           results, sizeof *results,
                                           MP_MAP_OPTIONS(.chunk_size = 1), &map),
                         0);
        do
            assert_int_equal(
                mp_pool_resize(pool, 1 + (unsigned)(next_random(&seed) % 6)), 0);
        while (mp_async_result_wait(map, 1) == ETIMEDOUT);
        assert_int_equal(mp_async_result_get(map, NULL, 0, MP_NOWAIT), 0);
        mp_async_result_free(map);
        for (int i = 0; i < ITEMS; i++)
            assert_int_equal(ledger->runs[i], 1);
    }
    check_items(500);
    assert_int_equal(mp_pool_resize(pool, 2), 0);
    apply(pool);
    await_workers(2);
    close_and_free(pool);
}

static void test_lazy(void **state)
{
    (void)state;
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 4, .lazy = true, .initializer = initialize));
    mp_async_result *async[4];

    assert_int_equal(workers(), 0);
    assert_int_equal(ledger->initialized, 0);
    apply(pool);
    assert_int_equal(workers(), 1);
    for (size_t i = 0; i < 4; i++)
        async[i] = submit(pool, wait_to_go_on);
    await_waiting(4);
    await_workers(4);
    atomic_store(&ledger->stop, 1);
    for (size_t i = 0; i < 4; i++)
        get(async[i]);
    assert_int_equal(ledger->initialized, 4);
    close_and_free(pool);

    pool = make(MP_POOL_OPTIONS(.processes = 4, .lazy = true));
    check_map(pool, 1000, 0);
    close_and_free(pool);
    pool = make(MP_POOL_OPTIONS(.processes = 4, .lazy = true));
    close_and_free(pool);
    /* Tasks of a pool that is closed before anybody is there. */
    pool = make(MP_POOL_OPTIONS(.processes = 4, .lazy = true));
    for (size_t i = 0; i < 4; i++)
        async[i] = submit(pool, count);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    for (size_t i = 0; i < 4; i++)
        get(async[i]);
    mp_pool_free(pool);
}

static void test_idle_timeout(void **state)
{
    (void)state;
    mp_pool *pool =
        make(MP_POOL_OPTIONS(.processes = 3, .idle_timeout_ms = 10,
                             .initializer = initialize, .finalizer = finalize));
    mp_async_result *async[3];

    await_workers(0);
    for (int round = 0; round < 3; round++) {
        apply(pool);
        await_workers(0);
    }
    check_map(pool, 2000, 0);
    for (size_t i = 0; i < 3; i++)
        async[i] = submit(pool, wait_to_go_on);
    await_waiting(3);
    assert_int_equal(workers(), 3);
    atomic_store(&ledger->stop, 1);
    for (size_t i = 0; i < 3; i++)
        get(async[i]);
    await_workers(0);
    assert_int_equal(status_of(pool).deaths, 0);
    close_and_free(pool);
    assert_int_equal(ledger->initialized, ledger->finalized);
}

/* However the last look of a worker that leaves and the next task meet. */
static void test_idle_timeout_loses_nothing(void **state)
{
    (void)state;
    const int rounds = env_number("MP_TEST_NIGHTLY", 0) ? 100000 : 1000;
    uint64_t seed = env_number("MP_TEST_SEED", 11);

    for (int idle = 1; idle <= 3; idle++) {
        mp_pool *pool =
            make(MP_POOL_OPTIONS(.processes = (unsigned)idle, .idle_timeout_ms = idle));
        for (int i = 0; i < rounds / idle / 2; i++) {
            mp_async_result *first = submit(pool, count), *second = NULL;
            if (i % 2)
                second = submit(pool, count);
            get(first);
            if (second)
                get(second);
            sleep_us((long)(next_random(&seed) % (uint64_t)(1250 * idle)));
        }
        close_and_free(pool);
    }
}

/* --- where, and with which numbers ------------------------------------------------ */

static int get_processors(const void *arg, void *result, void *context)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return errno;
    *(int *)result = CPU_COUNT(&set);
    for (size_t i = 0; CPU_COUNT(&set) == 1 && i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set))
            *(int *)result = 1000 + (int)i;
    atomic_fetch_add(&ledger->waiting, 1);
    while (!atomic_load(&ledger->stop) &&
           atomic_load(&ledger->waiting) < *(const int *)arg)
        sleep_us(100);
    (void)context;
    return 0;
}

static void test_pin(void **state)
{
    (void)state;
    cpu_set_t own;
    sched_getaffinity(0, sizeof own, &own);
    unsigned cpus = (unsigned)CPU_COUNT(&own);
    int all = (int)cpus, *seen = calloc(cpus, sizeof *seen);
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = cpus, .pin = true));
    mp_async_result **async = calloc(cpus, sizeof(void *));

    for (unsigned i = 0; i < cpus; i++)
        assert_int_equal(mp_pool_apply_async(pool, get_processors, &all, sizeof all,
                                             sizeof(int), NULL, &async[i]),
                         0);
    for (unsigned i = 0; i < cpus; i++) {
        seen[i] = get(async[i]);
        assert_true(seen[i] >= 1000);
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(seen[i], seen[k]);
    }
    free(seen);
    free(async);
    mp_pool_free(pool);
}

static int get_seed(const void *arg, void *result, void *context)
{
    (void)context;
    /* The same in the second run, and as often as it is asked. */
    if (arg && *(const int *)arg % 50 == 7 &&
        atomic_fetch_add(&ledger->runs[*(const int *)arg], 1) == 0)
        raise(SIGKILL);
    *(uint64_t *)result = mp_task_seed();
    return *(uint64_t *)result == mp_task_seed() ? 0 : EINVAL;
}

enum { SEEDS = 300 };

/* What a program gets that calls map, apply and map again. */
static void draw_seeds(unsigned processes, uint64_t seed, size_t chunk, uint64_t *out)
{
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = processes, .seed = seed));

    for (int i = 0; i < SEEDS; i++)
        numbers[i] = i;
    assert_int_equal(mp_pool_map(pool, get_seed, numbers, SEEDS, sizeof *numbers, out,
                                 sizeof *out,
                                 MP_MAP_OPTIONS(.retries = 1, .chunk_size = chunk)),
                     0);
    out += SEEDS;
    assert_int_equal(mp_pool_apply(pool, get_seed, NULL, 0, out, sizeof *out, NULL), 0);
    assert_int_equal(mp_pool_apply(pool, get_seed, NULL, 0, out + 1, sizeof *out, NULL),
                     0);
    assert_int_equal(mp_pool_map(pool, get_seed, numbers, SEEDS, sizeof *numbers,
                                 out + 2, sizeof *out, MP_MAP_OPTIONS(.retries = 1)),
                     0);
    mp_pool_free(pool);
}

static int compare_seeds(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_seeds(void **state)
{
    (void)state;
    enum { ALL = 2 * SEEDS + 2 };
    static uint64_t first[ALL], again[ALL], others[2 * ALL];

    assert_int_equal(mp_task_seed(), 0);
    assert_int_equal(mp_task_index(), 0);
    draw_seeds(1, 0, 0, first);
    for (unsigned processes = 1; processes <= 5; processes += 2) {
        draw_seeds(processes, 0, processes == 3, again);
        assert_memory_equal(first, again, sizeof first);
    }
    draw_seeds(2, 1, 0, again);
    memcpy(others, first, sizeof first);
    memcpy(others + ALL, again, sizeof again);
    qsort(others, LENGTH(others), sizeof *others, compare_seeds);
    for (size_t i = 1; i < LENGTH(others); i++)
        assert_true(others[i - 1] != others[i]);
}

/* --- pools and other processes ---------------------------------------------------- */

/* A pool of its own; `*arg` is not 0 if that is to hang. */
static int use_pool(const void *arg, void *result, void *context)
{
    int items[10], squares[10], sum = 0;
    mp_pool *pool;
    int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2));

    (void)context;
    if (err)
        return err;
    for (int i = 0; i < 10; i++)
        items[i] = i;
    err = mp_pool_map(pool, *(const int *)arg ? hang : square, items, 10, sizeof *items,
                      squares, sizeof *squares, NULL);
    for (int i = 0; i < 10; i++)
        sum += squares[i];
    *(int *)result = sum;
    mp_pool_free(pool);
    return err;
}

static void test_nested_pools(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 2));
    int items[COUNT] = {0};

    assert_int_equal(mp_pool_map(pool, use_pool, items, COUNT, sizeof *items, results,
                                 sizeof *results, NULL),
                     0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(results[i], 285);
    assert_int_equal(workers(), 2);
    close_and_free(pool);
}

static void test_nested_pool_dies_with_its_worker(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 1));
    int hangs = 1, value;
    mp_async_result *result;
    pid_t below[16];

    leak_ignore_arena();
    for (int how = 0; how < 3; how++) {
        atomic_store(&ledger->waiting, 0);
        assert_int_equal(
            mp_pool_apply_async(
                pool, use_pool, &hangs, sizeof hangs, sizeof value,
                MP_TASK_OPTIONS(.time_limit_ms = how == 2 ? scaled(300) : 0), &result),
            0);
        await_waiting(2);
        /* Supervisor, worker, and the same once more below that, with two workers. */
        size_t found = descendants(getpid(), below, LENGTH(below));
        if (how < 2) {
            assert_int_equal(found, 5);
            assert_int_equal(
                how == 0 ? kill(below[1], SIGKILL) : mp_async_result_cancel(result), 0);
        }
        int64_t began = now_ms();
        assert_int_equal(mp_async_result_get(result, &value, sizeof value, SOON),
                         how == 0   ? EOWNERDEAD
                         : how == 1 ? ECANCELED
                                    : ETIME);
        assert_int_equal(survivors(below + 1, found - 1, 2000), 0);
        assert_true(now_ms() - began < scaled(500));
        mp_async_result_free(result);
    }
    apply(pool);
    mp_pool_free(pool);
}

/* The whole tree ends with the pool. */
static void test_terminate_nested_pools(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 3));
    int hangs = 1;
    mp_async_result *async[3];
    pid_t below[64];

    leak_ignore_arena();
    for (int i = 0; i < 3; i++)
        assert_int_equal(mp_pool_apply_async(pool, use_pool, &hangs, sizeof hangs,
                                             sizeof(int), NULL, &async[i]),
                         0);
    await_waiting(6);
    size_t found = descendants(getpid(), below, LENGTH(below));
    assert_int_equal(found, 13);
    assert_int_equal(mp_pool_terminate(pool), 0);
    assert_int_equal(survivors(below, found, 2000), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mp_async_result_get(async[i], NULL, 0, MP_NOWAIT), ECANCELED);
        mp_async_result_free(async[i]);
    }
    mp_pool_free(pool);
}

static void *submit_much(void *arg)
{
    mp_pool *pool = arg;
    int items[200], squares[200], errors[200], bad = 0;

    for (int i = 0; i < 200; i++)
        items[i] = i;
    for (int round = 0; round < 20; round++) {
        int value = 0;
        bad += mp_pool_map(pool, square, items, 200, sizeof *items, squares,
                           sizeof *squares, MP_MAP_OPTIONS(.errors = errors)) != 0;
        for (int i = 0; i < 200; i++)
            bad += squares[i] != i * i || errors[i] != 0;
        bad += mp_pool_apply(pool, square, &round, sizeof round, &value, sizeof value,
                             MP_TASK_OPTIONS(.time_limit_ms = scaled(3000))) != 0 ||
               value != round * round;
        bad += mp_pool_resize(pool, 1 + (unsigned)round % 4) != 0;
        mp_async_result *result;
        bad += mp_pool_apply_async(pool, hang, NULL, 0, 0, NULL, &result) != 0;
        bad += mp_async_result_cancel(result) != 0;
        bad += mp_async_result_get(result, NULL, 0, SOON) != ECANCELED;
        mp_async_result_free(result);
    }
    return (void *)(intptr_t)bad;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 2, .max_processes = 4,
                                         .max_tasks_per_child = 300));

    leak_ignore_maps();
    for (size_t i = 0; i < LENGTH(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_much, pool), 0);
    for (size_t i = 0; i < LENGTH(threads); i++) {
        void *bad;
        assert_int_equal(pthread_join(threads[i], &bad), 0);
        assert_int_equal((intptr_t)bad, 0);
    }
    close_and_free(pool);
}

/* --- closed during a map ---------------------------------------------------------- */

/* So large that a map of them is submitted in many windows, one after the other. */
struct large {
    int number;
    char rest[4092];
};

#define LARGE_ITEMS 2000

static struct large *large_items(void)
{
    struct large *items = test_calloc(LARGE_ITEMS, sizeof *items);

    for (int i = 0; i < LARGE_ITEMS; i++)
        items[i].number = i;
    return items;
}

/* Every item waits until the pool is closed: the other windows come later. */
static void map_large(mp_pool *pool, const mp_map_options *options)
{
    struct large *items = large_items();
    pid_t *pids = test_calloc(LARGE_ITEMS, sizeof *pids);

    assert_int_equal(mp_pool_map(pool, wait_to_go_on, items, LARGE_ITEMS, sizeof *items,
                                 pids, sizeof *pids, options),
                     0);
    for (int i = 0; i < LARGE_ITEMS; i++) {
        assert_true(pids[i] > 0);
        assert_int_equal(ledger->runs[i], 1);
    }
    assert_int_equal(
        mp_pool_map(pool, count, items, 1, sizeof *items, pids, sizeof *pids, NULL),
        EPIPE);
    test_free(pids);
    test_free(items);
}

static void *close_and_join(void *arg)
{
    mp_pool *pool = arg;
    int bad = 0;

    while (!atomic_load(&ledger->waiting))
        sleep_us(200);
    bad += mp_pool_close(pool) != 0;
    bad += mp_pool_apply(pool, count, NULL, 0, NULL, 0, NULL) != EPIPE;
    bad += mp_pool_join(pool, 20) != ETIMEDOUT;
    atomic_store(&ledger->stop, 1);
    bad += mp_pool_join(pool, SOON) != 0;
    return (void *)(intptr_t)bad;
}

static void test_closed_during_a_map(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 2));
    pthread_t closer;
    void *bad;

    leak_ignore_maps();
    assert_int_equal(pthread_create(&closer, NULL, close_and_join, pool), 0);
    map_large(pool, NULL);
    assert_int_equal(pthread_join(closer, &bad), 0);
    assert_int_equal((intptr_t)bad, 0);
    mp_pool_free(pool);
}

static void close_in_progress(const mp_progress *progress, void *pool)
{
    if (atomic_load(&ledger->stop))
        return;
    assert_true(progress->done < progress->total);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, MP_FOREVER), EDEADLK);
    atomic_store(&ledger->stop, 1);
}

/* By the thread that is in the map, which could not wait for itself. */
static void test_closed_by_its_own_map(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 2));

    map_large(pool, MP_MAP_OPTIONS(.progress = close_in_progress, .progress_arg = pool,
                                   .progress_ms = 1));
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_pool_free(pool);
}

struct inherited {
    mp_pool *pool;
    mp_async_result *result;
};

static int use_in_child(void *arg)
{
    struct inherited *is = arg;
    mp_async_result *result;
    int one = 1, value;

    assert_int_equal(
        mp_pool_apply(is->pool, square, &one, sizeof one, &value, sizeof value, NULL),
        EPERM);
    assert_int_equal(mp_pool_apply_async(is->pool, square, &one, sizeof one,
                                         sizeof value, NULL, &result),
                     EPERM);
    assert_int_equal(
        mp_pool_map(is->pool, square, &one, 1, sizeof one, &value, sizeof value, NULL),
        EPERM);
    assert_int_equal(mp_pool_resize(is->pool, 1), EPERM);
    assert_int_equal(mp_pool_close(is->pool), EPERM);
    assert_int_equal(mp_pool_terminate(is->pool), EPERM);
    assert_int_equal(mp_pool_join(is->pool, MP_NOWAIT), EPERM);
    assert_int_equal(mp_async_result_cancel(is->result), EPERM);
    assert_int_equal(mp_async_result_wait(is->result, MP_NOWAIT), EPERM);
    mp_async_result_free(is->result);
    mp_pool_free(is->pool);
    return 0;
}

static void test_pool_in_a_child(void **state)
{
    (void)state;
    struct inherited inherited = {.pool = make(MP_POOL_OPTIONS(.processes = 1))};

    inherited.result = submit(inherited.pool, wait_to_go_on);
    await_waiting(1);
    assert_int_equal(child_run(use_in_child, &inherited), 0);
    atomic_store(&ledger->stop, 1);
    get(inherited.result);
    mp_pool_free(inherited.pool);
}

/* --- the end ---------------------------------------------------------------------- */

static void test_terminate_many(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = COUNT));
    mp_async_result *async[COUNT];
    pid_t below[COUNT + 1];

    for (int i = 0; i < COUNT; i++)
        async[i] = submit(pool, hang);
    await_waiting(COUNT);
    assert_int_equal(descendants(getpid(), below, LENGTH(below)), COUNT + 1);
    for (int i = 1; i <= COUNT; i += 2)
        kill(below[i], SIGSTOP);
    int64_t began = now_ms();
    assert_int_equal(mp_pool_terminate(pool), 0);
    int64_t took = now_ms() - began;
    fprintf(stderr, "terminated within %d ms\n", (int)took);
    assert_true(took < scaled(1000));
    assert_int_equal(survivors(below, COUNT + 1, 0), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(mp_async_result_get(async[i], NULL, 0, MP_NOWAIT), ECANCELED);
        mp_async_result_free(async[i]);
    }
    mp_pool_free(pool);
}

/* A supervisor that can't do its duty does not change what tasks are told. */
static void test_terminate_stopped_supervisor(void **state)
{
    (void)state;
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 2));
    mp_async_result *running = submit(pool, hang), *queued[3];
    pid_t supervisor;

    leak_ignore_arena();
    await_waiting(1);
    for (int i = 0; i < 3; i++)
        queued[i] = submit(pool, hang);
    assert_true(descendants(getpid(), &supervisor, 1) >= 1);
    kill(supervisor, SIGSTOP);
    int64_t began = now_ms();
    assert_int_equal(mp_pool_terminate(pool), 0);
    assert_true(now_ms() - began < scaled(1500));
    assert_int_equal(mp_async_result_get(running, NULL, 0, MP_NOWAIT), ECANCELED);
    mp_async_result_free(running);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mp_async_result_get(queued[i], NULL, 0, MP_NOWAIT), ECANCELED);
        mp_async_result_free(queued[i]);
    }
    mp_pool_free(pool);
}

static void read_name(pid_t pid, char *name, size_t size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "re");
    name[0] = 0;
    if (file && fgets(name, (int)size, file))
        name[strcspn(name, "\n")] = 0;
    if (file)
        fclose(file);
}

static void test_names(void **state)
{
    (void)state;
#ifdef MP_PORTABLE
    skip();
#endif
    mp_pool *pool = make(MP_POOL_OPTIONS(.processes = 12, .initializer = initialize));
    pid_t below[13];
    char name[32], own[32], after[32];
    bool seen[13] = {false};

    read_name(getpid(), own, sizeof own);
    assert_int_equal(descendants(getpid(), below, LENGTH(below)), 13);
    for (int i = 0; i < 13; i++) {
        unsigned n = 0;
        read_name(below[i], name, sizeof name);
        if (strcmp(name, "PoolSupervisor") != 0 &&
            (sscanf(name, "PoolWorker-%u", &n) != 1 || n < 1 || n > 12))
            fail_msg("a process is called %s", name);
        assert_false(seen[n]);
        seen[n] = true;
    }
    read_name(getpid(), after, sizeof after);
    assert_string_equal(own, after);
    mp_pool_free(pool);
}

int main(void)
{
    static const struct CMUnitTest pool_life[] = {
        TEST(test_tasks_per_child),
        TEST(test_items_per_child),
        TEST(test_tasks_per_child_of_a_pool_that_grows),
        TEST(test_replacement_is_early),
        TEST(test_close_with_a_replacement),
        TEST(test_worn_and_killed),
        TEST(test_memory_per_child),
        TEST(test_memory_limit),
        TEST(test_finalizers),
        TEST(test_finalizer_crashes),
        TEST(test_initializer_fails_later),
        TEST(test_initializer_recovers),
        TEST(test_too_many_deaths),
        TEST(test_deaths_with_progress),
        TEST(test_deaths_that_do_not_count),
        TEST(test_resize_idle),
        TEST(test_resize_busy),
        TEST(test_resize_under_load),
        TEST(test_lazy),
        TEST(test_idle_timeout),
        TEST(test_idle_timeout_loses_nothing),
        TEST(test_pin),
        TEST(test_seeds),
        TEST(test_nested_pools),
        TEST(test_nested_pool_dies_with_its_worker),
        TEST(test_terminate_nested_pools),
        TEST(test_threads),
        TEST(test_closed_during_a_map),
        TEST(test_closed_by_its_own_map),
        TEST(test_pool_in_a_child),
        TEST(test_terminate_many),
        TEST(test_terminate_stopped_supervisor),
        TEST(test_names),
    };

    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(pool_life);
}
