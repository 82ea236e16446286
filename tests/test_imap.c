/* SPDX-License-Identifier: MIT */
/* test_imap.c - maps whose results come one by one. */
#include "support/pool_tasks.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#define SOON         scaled(5000)
#define COUNT_OF(of) (sizeof(of) / sizeof *(of))

typedef int imap_fn(mp_pool *pool, mp_task_fn *task, const void *items, size_t count,
                    size_t item_size, size_t result_size,
                    const mp_imap_options *options, mp_imap **out);

static imap_fn *const kinds[] = {mp_pool_imap, mp_pool_imap_unordered};

/* --- tasks and sources ------------------------------------------------------------ */

/* Items of very different lengths. */
static int square_slowly(const void *arg, void *result, void *context)
{
    for (int i = *(const int *)arg % 17 == 0 ? 20000 : 0; i; i--)
        atomic_signal_fence(memory_order_seq_cst);
    return square(arg, result, context);
}

static int double_number(const void *arg, void *result, void *context)
{
    (void)context;
    if (mp_task_index() != *(const uint64_t *)arg)
        return EDOM;
    *(uint64_t *)result = 2 * *(const uint64_t *)arg;
    return 0;
}

static int get_seed(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)context;
    *(uint64_t *)result = mp_task_seed();
    return 0;
}

/* Some items kill their worker. */
static int die_at_times(const void *arg, void *result, void *context)
{
    int item = *(const int *)arg;

    if (item % 97 == 5) {
        guard_child();
        kill(getpid(), SIGKILL);
    }
    return square(arg, result, context);
}

/* `context` counts attempts: only the third one is survived. */
static int die_twice(const void *arg, void *result, void *context)
{
    _Atomic int *attempts = context;
    int item = *(const int *)arg;

    if (item % 10 == 3 && atomic_fetch_add(&attempts[item], 1) < 2) {
        guard_child();
        kill(getpid(), SIGKILL);
    }
    return square(arg, result, NULL);
}

static int hang_at_seven(const void *arg, void *result, void *context)
{
    guard_child();
    while (*(const int *)arg == 7)
        pause();
    return square(arg, result, context);
}

/* The words of a test: its tasks wait until `go`, and say that they have begun. */
struct words {
    _Atomic int go;
    _Atomic int begun;
    _Atomic int done;
};

static struct words *new_words(void)
{
    struct words *words = mp_shared_alloc(sizeof *words);
    assert_non_null(words);
    return words;
}

static int wait_for_go(const void *arg, void *result, void *context)
{
    struct words *words = context;

    guard_child();
    atomic_fetch_add(&words->begun, 1);
    while (!atomic_load(&words->go))
        sched_yield();
    *(int *)result = *(const int *)arg;
    atomic_fetch_add(&words->done, 1);
    return 0;
}

static int wait_if_zero(const void *arg, void *result, void *context)
{
    if (*(const int *)arg == 0)
        return wait_for_go(arg, result, context);
    *(int *)result = *(const int *)arg;
    return 0;
}

static bool has_begun(void *words)
{
    return atomic_load(&((struct words *)words)->begun) > 0;
}

struct source {
    int made;
    int end;
    int error; /* at the end */
};

static int count_up(void *item, void *state)
{
    struct source *source = state;

    if (source->made == source->end)
        return source->error;
    *(int *)item = source->made++;
    return 0;
}

/* --- helpers ---------------------------------------------------------------------- */

static int *count_from_zero(int count)
{
    int *items = malloc((size_t)count * sizeof *items);
    for (int i = 0; i < count; i++)
        items[i] = i;
    return items;
}

/* Take all: item i gives i * i, each once, in order if it is the first kind. */
static void assert_squares(mp_imap *map, size_t count, bool ordered)
{
    char *seen = calloc(count + 1, 1);
    mp_task_failure failure;
    int result;

    for (size_t n = 0; n < count; n++) {
        assert_int_equal(mp_imap_next(map, &result, &failure, MP_FOREVER), 0);
        assert_int_equal(failure.error, 0);
        assert_true(failure.index < count);
        if (ordered)
            assert_int_equal(failure.index, n);
        assert_int_equal(seen[failure.index]++, 0);
        assert_int_equal(result, (int)failure.index * (int)failure.index);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(mp_imap_next(map, &result, &failure, MP_FOREVER), EPIPE);
    assert_int_equal(failure.error, 0);
    free(seen);
}

static void assert_works(mp_pool *pool)
{
    int *items = count_from_zero(50);
    mp_imap *map;

    assert_int_equal(
        mp_pool_imap(pool, square, items, 50, sizeof *items, sizeof(int), NULL, &map),
        0);
    assert_squares(map, 50, true);
    mp_imap_free(map);
    free(items);
}

/* --- items and results ------------------------------------------------------------ */

static void check_sizes(mp_pool *pool, const int *items, size_t count)
{
    static const size_t chunks[] = {0, 1, 2, 7, 1000, 100000};
    static const size_t windows[] = {0, 1, 2, 10, 3000};

    for (size_t c = 0; c < COUNT_OF(chunks); c++)
        for (size_t w = 0; w < COUNT_OF(windows); w++)
            for (size_t k = 0; k < COUNT_OF(kinds); k++) {
                mp_imap *map;
                if (windows[w] == 1 && count > 1000)
                    continue;
                assert_int_equal(kinds[k](pool, square_slowly, items, count,
                                          sizeof *items, sizeof(int),
                                          MP_IMAP_OPTIONS(.chunk_size = chunks[c],
                                                          .window = windows[w]),
                                          &map),
                                 0);
                assert_squares(map, count, k == 0);
                mp_imap_free(map);
            }
}

static void test_sizes(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 63, 64, 1000, 5000};
    int *items = count_from_zero(5000);

    for (unsigned workers = 1; workers <= 3; workers++) {
        mp_pool *pool = new_pool(workers);
        for (size_t i = 0; i < COUNT_OF(counts); i++)
            check_sizes(pool, items, counts[i]);
        mp_pool_free(pool);
    }
    free(items);
}

static void test_no_results(void **state)
{
    (void)state;
    int items[10] = {0};
    mp_pool *pool = new_pool(2);
    mp_imap *map;

    /* Neither a result nor what is known of failures has to be taken. */
    for (size_t size = 0; size <= sizeof(int); size += sizeof(int)) {
        assert_int_equal(
            mp_pool_imap(pool, fail_if_odd, items, 10, sizeof *items, 4, NULL, &map),
            0);
        for (int i = 0; i < 10; i++)
            assert_int_equal(mp_imap_next(map, NULL, NULL, MP_FOREVER), 0);
        assert_int_equal(mp_imap_next(map, NULL, NULL, MP_NOWAIT), EPIPE);
        mp_imap_free(map);
    }
    mp_pool_free(pool);
}

/* Zero is the slowest: it comes first, or last. */
static void test_order(void **state)
{
    (void)state;
    struct words *words = new_words();
    int *items = count_from_zero(20), result;
    mp_task_failure failure;
    mp_pool *pool = new_pool(2);

    for (size_t k = 0; k < 4; k++) {
        mp_imap *map;
        atomic_store(&words->go, 0);
        assert_int_equal(
            kinds[k % 2](pool, wait_if_zero, items, 20, sizeof *items, sizeof(int),
                         MP_IMAP_OPTIONS(.context = words, .chunk_size = 1 + k / 2),
                         &map),
            0);
        size_t first = 1 + k / 2; /* Its chunk comes with it. */
        if (k % 2 == 0)
            assert_int_equal(mp_imap_next(map, &result, &failure, 20), ETIMEDOUT);
        for (size_t i = first; k % 2 && i < 20; i++) {
            assert_int_equal(mp_imap_next(map, &result, &failure, MP_FOREVER), 0);
            assert_in_range(failure.index, first, 19);
            assert_int_equal(result, failure.index);
        }
        for (int timeout = 0; timeout < 30; timeout += 10) {
            failure.error = 1;
            assert_int_equal(mp_imap_next(map, &result, &failure, timeout), ETIMEDOUT);
            assert_int_equal(failure.error, 0);
        }
        atomic_store(&words->go, 1);
        for (size_t i = 0; i < (k % 2 ? first : 20); i++) {
            assert_int_equal(mp_imap_next(map, &result, &failure, MP_FOREVER), 0);
            assert_int_equal(failure.index, i);
        }
        assert_int_equal(mp_imap_next(map, &result, &failure, MP_FOREVER), EPIPE);
        mp_imap_free(map);
    }
    mp_pool_free(pool);
    mp_shared_free(words);
    free(items);
}

static void test_numbers(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 5, 5000};
    mp_pool *pool = new_pool(2);

    for (size_t c = 0; c < COUNT_OF(chunks); c++) {
        mp_imap *map;
        uint64_t result;
        assert_int_equal(mp_pool_imap(pool, double_number, NULL, 10000, 0,
                                      sizeof result,
                                      MP_IMAP_OPTIONS(.chunk_size = chunks[c]), &map),
                         0);
        for (uint64_t i = 0; i < 10000; i++) {
            assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), 0);
            assert_int_equal(result, 2 * i);
        }
        assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), EPIPE);
        mp_imap_free(map);
    }
    /* As many as there can be: none is made before there is room. */
    mp_imap *map;
    assert_int_equal(mp_pool_imap(pool, double_number, NULL, SIZE_MAX, 0,
                                  sizeof(uint64_t), NULL, &map),
                     0);
    for (uint64_t i = 0, result; i < 1000; i++) {
        assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), 0);
        assert_int_equal(result, 2 * i);
    }
    mp_imap_free(map);
    mp_pool_free(pool);
}

/* The same with any number of workers and any chunks, and another one for each item. */
static void test_seeds(void **state)
{
    (void)state;
    uint64_t first[100], seed;

    for (unsigned round = 0; round < 4; round++) {
        mp_imap *map;
        mp_pool *pool;
        assert_int_equal(
            mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1 + round, .seed = 42)), 0);
        assert_int_equal(mp_pool_imap(pool, get_seed, NULL, 100, 0, sizeof seed,
                                      MP_IMAP_OPTIONS(.chunk_size = 1 + 3 * round),
                                      &map),
                         0);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(mp_imap_next(map, &seed, NULL, MP_FOREVER), 0);
            if (round == 0)
                first[i] = seed;
            assert_int_equal(seed, first[i]);
            assert_true(i == 0 || seed != first[i - 1]);
        }
        mp_imap_free(map);
        mp_pool_free(pool);
    }
}

struct big {
    char bytes[1 << 20];
};

static int reverse_big(const void *arg, void *result, void *context)
{
    const struct big *in = arg;
    struct big *out = result;

    (void)context;
    if ((uintptr_t)arg % 16 || (uintptr_t)result % 16)
        return EFAULT;
    for (size_t i = 0; i < sizeof in->bytes; i++)
        out->bytes[i] = in->bytes[sizeof in->bytes - 1 - i];
    return 0;
}

static void test_large_items(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    struct big *items = malloc(COUNT * sizeof *items), *out = malloc(sizeof *out);
    mp_pool *pool = new_pool(2);

    leak_ignore_maps();
    for (int i = 0; i < COUNT; i++)
        for (size_t k = 0; k < sizeof items->bytes; k++)
            items[i].bytes[k] = (char)((size_t)i * 7 + k % 251);
    for (size_t chunk = 1; chunk <= 5; chunk += 2) {
        mp_imap *map;
        assert_int_equal(mp_pool_imap(pool, reverse_big, items, COUNT, sizeof *items,
                                      sizeof *out, MP_IMAP_OPTIONS(.chunk_size = chunk),
                                      &map),
                         0);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(mp_imap_next(map, out, NULL, MP_FOREVER), 0);
            for (size_t k = 0; k < sizeof items->bytes; k += 991)
                assert_int_equal(out->bytes[k],
                                 items[i].bytes[sizeof items->bytes - 1 - k]);
        }
        mp_imap_free(map);
    }
    mp_pool_free(pool);
    free(items);
    free(out);
}

static int get_address(const void *arg, void *result, void *context)
{
    (void)context;
    *(const void **)result = arg;
    return 0;
}

static void test_items_in_place(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct item {
        char bytes[48];
    } *items = mp_shared_alloc(COUNT * sizeof *items), *seen;
    mp_pool *pool = new_pool(2);

    for (size_t chunk = 1; chunk <= 10; chunk += 9) {
        mp_imap *map;
        assert_int_equal(mp_pool_imap(pool, get_address, items, COUNT, sizeof *items,
                                      sizeof(void *),
                                      MP_IMAP_OPTIONS(.chunk_size = chunk), &map),
                         0);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(mp_imap_next(map, &seen, NULL, MP_FOREVER), 0);
            assert_ptr_equal(seen, &items[i]);
        }
        mp_imap_free(map);
    }
    mp_pool_free(pool);
    mp_shared_free(items);
}

/* --- sources ---------------------------------------------------------------------- */

static void test_source(void **state)
{
    (void)state;
    static const int ends[] = {0, 1, 5, 64, 1000};
    mp_pool *pool = new_pool(2);

    for (size_t e = 0; e < COUNT_OF(ends); e++)
        for (size_t chunk = 1; chunk <= 64; chunk *= 8)
            for (size_t k = 0; k < COUNT_OF(kinds); k++) {
                struct source source = {.end = ends[e], .error = EPIPE};
                mp_imap *map;
                assert_int_equal(kinds[k](pool, square, NULL, SIZE_MAX, sizeof(int),
                                          sizeof(int),
                                          MP_IMAP_OPTIONS(.source = count_up,
                                                          .source_state = &source,
                                                          .chunk_size = chunk),
                                          &map),
                                 0);
                assert_squares(map, (size_t)ends[e], k == 0);
                mp_imap_free(map);
            }
    /* `count` is the most it is asked for. */
    struct source source = {.end = 100, .error = EPIPE};
    mp_imap *map;
    assert_int_equal(
        mp_pool_imap(pool, square, NULL, 30, sizeof(int), sizeof(int),
                     MP_IMAP_OPTIONS(.source = count_up, .source_state = &source,
                                     .chunk_size = 7),
                     &map),
        0);
    assert_squares(map, 30, true);
    assert_int_equal(source.made, 30);
    mp_imap_free(map);
    mp_pool_free(pool);
}

static void test_source_fails(void **state)
{
    (void)state;
    static const int ends[] = {0, 1, 6, 7, 8, 300};
    mp_pool *pool = new_pool(2);

    for (size_t e = 0; e < COUNT_OF(ends); e++)
        for (size_t chunk = 1; chunk <= 8; chunk += 7) {
            struct source source = {.end = ends[e], .error = EILSEQ};
            mp_task_failure failure;
            mp_imap *map;
            int result;
            assert_int_equal(mp_pool_imap(pool, square, NULL, SIZE_MAX, sizeof(int),
                                          sizeof(int),
                                          MP_IMAP_OPTIONS(.source = count_up,
                                                          .source_state = &source,
                                                          .chunk_size = chunk),
                                          &map),
                             0);
            for (int i = 0; i < ends[e]; i++)
                assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), 0);
            assert_int_equal(mp_imap_next(map, &result, &failure, MP_FOREVER), EILSEQ);
            assert_int_equal(failure.error, EILSEQ);
            assert_int_equal(failure.index, ends[e]);
            assert_int_equal(failure.attempts, 0);
            assert_int_equal(mp_imap_next(map, &result, &failure, MP_FOREVER), EPIPE);
            assert_int_equal(failure.error, 0);
            mp_imap_free(map);
        }
    mp_pool_free(pool);
}

/* The source is never further ahead of what was taken than the window is wide. */
static void test_window(void **state)
{
    (void)state;
    static const size_t windows[] = {1, 2, 3, 10, 100};
    mp_pool *pool = new_pool(2);

    for (size_t w = 0; w < COUNT_OF(windows); w++)
        for (size_t chunk = 1; chunk <= 30; chunk = 3 * chunk + 1)
            for (size_t k = 0; k < COUNT_OF(kinds); k++) {
                struct source source = {.end = -1};
                mp_imap *map;
                int result;
                assert_int_equal(
                    kinds[k](pool, square, NULL, SIZE_MAX, sizeof(int), sizeof(int),
                             MP_IMAP_OPTIONS(.source = count_up,
                                             .source_state = &source,
                                             .chunk_size = chunk, .window = windows[w]),
                             &map),
                    0);
                for (size_t n = 0; n < 500; n++) {
                    assert_in_range(source.made, n, n + windows[w]);
                    assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), 0);
                }
                /* An endless one may be left at any time. */
                mp_imap_free(map);
            }
    assert_works(pool);
    mp_pool_free(pool);
}

/* --- failures --------------------------------------------------------------------- */

static void test_failing_items(void **state)
{
    (void)state;
    int *items = count_from_zero(500), result;
    mp_task_failure failure;
    mp_pool *pool = new_pool(2);

    for (size_t chunk = 1; chunk <= 100; chunk = 10 * chunk)
        for (size_t k = 0; k < COUNT_OF(kinds); k++) {
            mp_imap *map;
            assert_int_equal(kinds[k](pool, fail_if_odd, items, 500, sizeof *items,
                                      sizeof(int), MP_IMAP_OPTIONS(.chunk_size = chunk),
                                      &map),
                             0);
            int failed = 0;
            for (int i = 0; i < 500; i++) {
                char text[MP_TASK_TEXT_SIZE];
                int err = mp_imap_next(map, &result, &failure, MP_FOREVER);
                assert_int_equal(failure.error, err);
                if (failure.index % 2 == 0) {
                    assert_int_equal(err, 0);
                    assert_int_equal(result, failure.index);
                    continue;
                }
                failed++;
                assert_int_equal(err, ERANGE);
                assert_int_equal(failure.kind, MP_FAILURE_RETURNED);
                assert_int_equal(failure.attempts, 1);
                assert_true(failure.pid > 0);
                snprintf(text, sizeof text, "item %d is odd", (int)failure.index);
                assert_string_equal(failure.text, text);
            }
            assert_int_equal(failed, 250);
            assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), EPIPE);
            mp_imap_free(map);
        }
    mp_pool_free(pool);
    free(items);
}

static void test_workers_die(void **state)
{
    (void)state;
    int *items = count_from_zero(1000), result;
    mp_task_failure failure;
    mp_pool *pool = new_pool(2);

    leak_ignore_arena();
    for (size_t chunk = 1; chunk <= 100; chunk = 10 * chunk)
        for (size_t k = 0; k < COUNT_OF(kinds); k++) {
            char seen[1000] = {0};
            mp_imap *map;
            assert_int_equal(kinds[k](pool, die_at_times, items, 1000, sizeof *items,
                                      sizeof(int), MP_IMAP_OPTIONS(.chunk_size = chunk),
                                      &map),
                             0);
            for (int i = 0; i < 1000; i++) {
                int err = mp_imap_next(map, &result, &failure, MP_FOREVER);
                bool dies = failure.index % 97 == 5;
                assert_int_equal(seen[failure.index]++, 0);
                assert_int_equal(err, dies ? EOWNERDEAD : 0);
                if (!dies) {
                    assert_int_equal(result, failure.index * failure.index);
                    continue;
                }
                assert_int_equal(failure.kind, MP_FAILURE_DIED);
                assert_int_equal(failure.exitcode, -SIGKILL);
                assert_int_equal(failure.attempts, 1);
            }
            assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), EPIPE);
            mp_imap_free(map);
        }
    assert_works(pool);
    mp_pool_free(pool);
    free(items);
}

static void test_retries(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    int *items = count_from_zero(COUNT), result;
    mp_task_failure failure;
    mp_pool *pool = new_pool(2);

    leak_ignore_arena();
    for (int retries = 1; retries <= 2; retries++)
        for (size_t chunk = 1; chunk <= 25; chunk += 24) {
            _Atomic int *attempts = mp_shared_alloc(COUNT * sizeof *attempts);
            mp_imap *map;
            assert_int_equal(
                mp_pool_imap(pool, die_twice, items, COUNT, sizeof *items, sizeof(int),
                             MP_IMAP_OPTIONS(.context = (void *)attempts,
                                             .chunk_size = chunk, .retries = retries),
                             &map),
                0);
            for (int i = 0; i < COUNT; i++) {
                int err = mp_imap_next(map, &result, &failure, MP_FOREVER);
                bool lost = i % 10 == 3 && retries < 2;
                assert_int_equal(err, lost ? EOWNERDEAD : 0);
                assert_int_equal(failure.index, i);
                if (lost)
                    assert_int_equal(failure.attempts, 2);
                else
                    assert_int_equal(result, i * i);
            }
            mp_imap_free(map);
            mp_shared_free((void *)attempts);
        }
    mp_pool_free(pool);
    free(items);
}

static void test_time_limit(void **state)
{
    (void)state;
    int *items = count_from_zero(40), result;
    mp_task_failure failure;
    mp_pool *pool = new_pool(2);

    leak_ignore_arena();
    for (size_t chunk = 1; chunk <= 10; chunk += 9) {
        mp_imap *map;
        assert_int_equal(mp_pool_imap(pool, hang_at_seven, items, 40, sizeof *items,
                                      sizeof(int),
                                      MP_IMAP_OPTIONS(.time_limit_ms = scaled(50),
                                                      .chunk_size = chunk),
                                      &map),
                         0);
        for (int i = 0; i < 40; i++) {
            int err = mp_imap_next(map, &result, &failure, MP_FOREVER);
            assert_int_equal(err, i == 7 ? ETIME : 0);
            assert_int_equal(failure.index, i);
            if (i == 7)
                assert_int_equal(failure.kind, MP_FAILURE_TIME_LIMIT);
        }
        mp_imap_free(map);
    }
    mp_pool_free(pool);
    free(items);
}

/* --- the end of the pool ---------------------------------------------------------- */

/* The rest of an endless imap whose pool is no more: errors of items, and an end. */
static void assert_ends(mp_imap *map, int error)
{
    mp_task_failure failure;
    int result, err, refused = 0;

    while ((err = mp_imap_next(map, &result, &failure, MP_FOREVER)) != EPIPE) {
        assert_true(err == 0 || err == error);
        assert_int_equal(failure.error, err);
        refused += err == error;
        assert_true(refused < 1000);
    }
    assert_true(refused);
}

static void test_terminate(void **state)
{
    (void)state;
    struct words *words = new_words();
    mp_pool *pool = NULL;

    leak_ignore_arena();
    for (size_t chunk = 1; chunk <= 10; chunk += 9)
        for (size_t k = 0; k < COUNT_OF(kinds); k++) {
            struct source source = {.end = -1};
            mp_imap *map;
            pool = new_pool(2);
            assert_int_equal(
                kinds[k](pool, wait_if_zero, NULL, SIZE_MAX, sizeof(int), sizeof(int),
                         MP_IMAP_OPTIONS(.source = count_up, .source_state = &source,
                                         .chunk_size = chunk, .context = words),
                         &map),
                0);
            for (int i = 0; k && i < 100; i++)
                assert_int_equal(mp_imap_next(map, NULL, NULL, MP_FOREVER), 0);
            assert_int_equal(mp_pool_terminate(pool), 0);
            assert_ends(map, ECANCELED);
            mp_imap_free(map);
            mp_pool_free(pool);
        }
    mp_shared_free(words);
}

static void *terminate_when_begun(void *argument)
{
    void **arguments = argument;

    eventually(has_begun, arguments[1], SOON);
    mp_pool_terminate(arguments[0]);
    return NULL;
}

/* Another thread terminates the pool while this one waits. */
static void test_terminate_while_waiting(void **state)
{
    (void)state;
    leak_ignore_maps();
    leak_ignore_arena();
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        struct words *words = new_words();
        mp_pool *pool = new_pool(2);
        void *arguments[] = {pool, words};
        int items[2] = {0, 0}, result;
        pthread_t thread;
        mp_imap *map;

        assert_int_equal(kinds[k](pool, wait_for_go, items, 2, sizeof *items,
                                  sizeof(int), MP_IMAP_OPTIONS(.context = words), &map),
                         0);
        pthread_create(&thread, NULL, terminate_when_begun, arguments);
        for (int i = 0; i < 2; i++)
            assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), ECANCELED);
        assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), EPIPE);
        pthread_join(thread, NULL);
        mp_imap_free(map);
        mp_pool_free(pool);
        mp_shared_free(words);
    }
}

/* A pool that is closed takes what its imaps still bring, and nothing else. */
static void test_close(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    int *items = count_from_zero(COUNT), result;

    leak_ignore_arena();
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        mp_pool *pool = new_pool(2);
        mp_task_failure failure;
        mp_imap *map, *other;
        assert_int_equal(kinds[k](pool, die_at_times, items, COUNT, sizeof *items,
                                  sizeof(int), MP_IMAP_OPTIONS(.window = 10), &map),
                         0);
        assert_int_equal(mp_pool_close(pool), 0);
        assert_int_equal(mp_pool_join(pool, MP_FOREVER), EBUSY);
        assert_int_equal(kinds[k](pool, square, items, COUNT, sizeof *items,
                                  sizeof(int), NULL, &other),
                         EPIPE);
        for (int i = 0; i < COUNT; i++) {
            int err = mp_imap_next(map, &result, &failure, MP_FOREVER);
            assert_int_equal(err, failure.index % 97 == 5 ? EOWNERDEAD : 0);
        }
        assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), EPIPE);
        assert_int_equal(mp_pool_join(pool, SOON), 0);
        mp_imap_free(map);
        mp_pool_free(pool);
    }
    free(items);
}

static void test_close_and_free(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);
    mp_imap *map;

    assert_int_equal(
        mp_pool_imap(pool, get_seed, NULL, 10000, 0, sizeof(uint64_t), NULL, &map), 0);
    assert_int_equal(mp_pool_close(pool), 0);
    assert_int_equal(mp_pool_join(pool, MP_NOWAIT), EBUSY);
    mp_imap_free(map);
    assert_int_equal(mp_pool_join(pool, SOON), 0);
    mp_pool_free(pool);
}

static void test_pool_is_freed_first(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk <= 10; chunk += 9) {
        struct source source = {.end = -1};
        mp_pool *pool = new_pool(2);
        mp_imap *map;
        int result;
        assert_int_equal(
            mp_pool_imap(pool, square, NULL, SIZE_MAX, sizeof(int), sizeof(int),
                         MP_IMAP_OPTIONS(.source = count_up, .source_state = &source,
                                         .chunk_size = chunk),
                         &map),
            0);
        assert_int_equal(mp_imap_next(map, &result, NULL, MP_FOREVER), 0);
        mp_pool_free(pool);
        assert_ends(map, ECANCELED);
        mp_imap_free(map);
    }
}

static void break_pool(bool is_closed)
{
    leak_ignore_arena();
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        struct words *words = new_words();
        struct source source = {.end = -1};
        mp_pool *pool = new_pool(2);
        pid_t pids[3];
        mp_imap *map;

        assert_int_equal(
            kinds[k](pool, wait_if_zero, NULL, SIZE_MAX, sizeof(int), sizeof(int),
                     MP_IMAP_OPTIONS(.source = count_up, .source_state = &source,
                                     .context = words),
                     &map),
            0);
        assert_true(eventually(has_begun, words, SOON));
        assert_int_equal(descendants(getpid(), pids, 3), 3);
        if (is_closed)
            assert_int_equal(mp_pool_close(pool), 0);
        kill(pids[0], SIGKILL);
        assert_ends(map, EOWNERDEAD);
        mp_imap_free(map);
        mp_pool_free(pool);
        mp_shared_free(words);
    }
}

static void test_pool_breaks(void **state)
{
    (void)state;
    break_pool(false);
}

/* It takes what the imap still brings, but not when nobody is there any more. */
static void test_closed_pool_breaks(void **state)
{
    (void)state;
    break_pool(true);
}

/* --- leaving early ---------------------------------------------------------------- */

/* Blocks of all sizes: among them are those that were given back last. */
enum { BLOCKS = 140 };

static void fill_blocks(char *blocks[BLOCKS])
{
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = (size_t)64 << i % 7;
        blocks[i] = mp_shared_alloc(size);
        assert_non_null(blocks[i]);
        memset(blocks[i], 0x55, size);
    }
}

static void check_blocks(char *blocks[BLOCKS])
{
    for (size_t i = 0; i < BLOCKS; i++) {
        for (size_t k = 0; k < (size_t)64 << i % 7; k++)
            assert_int_equal(blocks[i][k], 0x55);
        mp_shared_free(blocks[i]);
    }
}

/* What no worker has begun is not run, and what runs is not waited for. */
static void test_free_early(void **state)
{
    (void)state;
    int *items = count_from_zero(100);
    mp_pool *pool = new_pool(2);

    for (size_t chunk = 1; chunk <= 10; chunk += 9) {
        struct words *words = new_words();
        mp_imap *map;
        assert_int_equal(
            mp_pool_imap(pool, wait_for_go, items, 100, sizeof *items, 100,
                         MP_IMAP_OPTIONS(.context = words, .chunk_size = chunk), &map),
            0);
        assert_true(eventually(has_begun, words, SOON));
        mp_imap_free(map);
        assert_int_equal(atomic_load(&words->done), 0);
        char *blocks[BLOCKS];
        fill_blocks(blocks);
        atomic_store(&words->go, 1);
        assert_works(pool);
        assert_int_equal(mp_pool_map(pool, square, items, 100, sizeof *items, items,
                                     sizeof(int), NULL),
                         0);
        for (int i = 0; i < 100; i++)
            items[i] = i;
        /* Two workers had begun a chunk each at most. */
        mp_pool_close(pool);
        assert_int_equal(mp_pool_join(pool, SOON), 0);
        assert_in_range(atomic_load(&words->done), 1, 2 * (int)chunk);
        assert_int_equal(atomic_load(&words->begun), atomic_load(&words->done));
        check_blocks(blocks);
        mp_pool_free(pool);
        mp_shared_free(words);
        pool = new_pool(2);
    }
    mp_pool_free(pool);
    free(items);
}

static void *let_go(void *words)
{
    atomic_store(&((struct words *)words)->go, 1);
    return NULL;
}

/* Items in the arena are the caller's: it may free them afterwards. */
static void test_free_waits_for_items_in_place(void **state)
{
    (void)state;
    mp_pool *pool = new_pool(2);

    leak_ignore_maps();
    for (size_t chunk = 1; chunk <= 10; chunk += 9) {
        struct words *words = new_words();
        int *items = mp_shared_alloc(100 * sizeof *items);
        pthread_t thread;
        mp_imap *map;
        assert_int_equal(
            mp_pool_imap(pool, wait_for_go, items, 100, sizeof *items, sizeof(int),
                         MP_IMAP_OPTIONS(.context = words, .chunk_size = chunk), &map),
            0);
        assert_true(eventually(has_begun, words, SOON));
        pthread_create(&thread, NULL, let_go, words);
        mp_imap_free(map);
        assert_int_equal(atomic_load(&words->begun), atomic_load(&words->done));
        pthread_join(thread, NULL);
        mp_shared_free(items);
        mp_shared_free(words);
    }
    mp_pool_free(pool);
}

/* Left at every point, again and again: the pool's memory comes to no harm. */
static void test_free_anywhere(void **state)
{
    (void)state;
    int *items = count_from_zero(1000);
    mp_pool *pool = new_pool(2);

    for (int round = 0; round < 300; round++) {
        mp_imap *map;
        int result;
        assert_int_equal(
            kinds[round % 2](pool, square_slowly, items, 1000, sizeof *items,
                             round % 3 ? 4 : 100,
                             MP_IMAP_OPTIONS(.chunk_size = (size_t)round % 5), &map),
            0);
        for (int i = 0; i < round; i++)
            assert_int_equal(
                mp_imap_next(map, round % 3 ? &result : NULL, NULL, MP_FOREVER), 0);
        mp_imap_free(map);
    }
    assert_works(pool);
    mp_pool_free(pool);
    free(items);
}

/* --- threads, processes, arguments ------------------------------------------------ */

static void *run_imaps(void *argument)
{
    mp_pool *pool = argument;
    int *items = count_from_zero(20000);

    for (size_t round = 0; round < 4; round++) {
        mp_imap *map;
        int err =
            kinds[round % 2](pool, square, items, 20000, sizeof *items, sizeof(int),
                             MP_IMAP_OPTIONS(.chunk_size = 1 + round / 2), &map);
        uint64_t sum = 0, expected = 0;
        int result;
        for (int i = 0; !err && i < 20000; i++) {
            err = mp_imap_next(map, &result, NULL, MP_FOREVER);
            sum += (unsigned)result;
            expected += (unsigned)i * (unsigned)i;
        }
        if (err || sum != expected || mp_imap_next(map, NULL, NULL, 0) != EPIPE)
            abort();
        mp_imap_free(map);
    }
    free(items);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    mp_pool *pool = new_pool(2);

    leak_ignore_maps();
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run_imaps, pool);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    mp_pool_free(pool);
}

static void test_workers_wear_out(void **state)
{
    (void)state;
    int *items = count_from_zero(300);
    mp_pool *pool;

    assert_int_equal(
        mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = 7)),
        0);
    for (size_t chunk = 1; chunk <= 10; chunk += 9) {
        mp_imap *map;
        assert_int_equal(mp_pool_imap(pool, square, items, 300, sizeof *items,
                                      sizeof(int), MP_IMAP_OPTIONS(.chunk_size = chunk),
                                      &map),
                         0);
        assert_squares(map, 300, true);
        mp_imap_free(map);
    }
    mp_pool_free(pool);
    free(items);
}

static int use_in_child(void *argument)
{
    void **arguments = argument;
    mp_imap *map = arguments[1];
    int items[1] = {0};

    assert_int_equal(mp_imap_next(map, NULL, NULL, MP_FOREVER), EPERM);
    assert_int_equal(
        mp_pool_imap(arguments[0], square, items, 1, sizeof *items, 4, NULL, &map),
        EPERM);
    mp_pool_free(arguments[0]);
    mp_imap_free(arguments[1]);
    return 0;
}

static void test_other_process(void **state)
{
    (void)state;
    int *items = count_from_zero(1000);
    mp_pool *pool = new_pool(2);
    mp_imap *map;

    assert_int_equal(
        mp_pool_imap(pool, square, items, 1000, sizeof *items, sizeof(int), NULL, &map),
        0);
    void *arguments[] = {pool, map};
    assert_int_equal(child_run(use_in_child, arguments), 0);
    assert_squares(map, 1000, true);
    mp_imap_free(map);
    mp_pool_free(pool);
    free(items);
}

static void test_arguments(void **state)
{
    (void)state;
    mp_imap *map = NULL;
    int items[2] = {1, 2};
    mp_pool *pool = new_pool(1);
    const mp_imap_options *source = MP_IMAP_OPTIONS(.source = count_up);

    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        imap_fn *imap = kinds[k];
        const size_t size = sizeof *items;
        assert_int_equal(imap(NULL, square, items, 2, size, size, NULL, &map), EINVAL);
        assert_int_equal(imap(pool, NULL, items, 2, size, size, NULL, &map), EINVAL);
        assert_int_equal(imap(pool, square, items, 2, size, size, NULL, NULL), EINVAL);
        assert_int_equal(imap(pool, square, NULL, 2, size, size, NULL, &map), EINVAL);
        assert_int_equal(imap(pool, square, items, 2, 0, size, NULL, &map), EINVAL);
        assert_int_equal(imap(pool, square, items, 2, size, size, source, &map),
                         EINVAL);
        assert_int_equal(imap(pool, square, NULL, 2, 0, size, source, &map), EINVAL);
        const mp_imap_options *const wrong[] = {
            MP_IMAP_OPTIONS(.retries = -1), MP_IMAP_OPTIONS(.retries = 256),
            MP_IMAP_OPTIONS(.time_limit_ms = -1), MP_IMAP_OPTIONS(.reserved = 1),
            MP_IMAP_OPTIONS(.soft_time_limit_ms = -1)};
        for (size_t i = 0; i < COUNT_OF(wrong); i++)
            assert_int_equal(imap(pool, square, items, 2, size, size, wrong[i], &map),
                             EINVAL);
        assert_int_equal(
            imap(pool, square, items, SIZE_MAX / 2, size, size, NULL, &map), EOVERFLOW);
        assert_int_equal(imap(pool, square, items, 2, size, SIZE_MAX / 2, NULL, &map),
                         EOVERFLOW);
        assert_int_equal(
            imap(pool, square, items, 2, size, (size_t)1 << 44, NULL, &map), ENOMEM);
        assert_null(map);
    }
    assert_int_equal(mp_imap_next(NULL, NULL, NULL, MP_FOREVER), EINVAL);
    assert_int_equal(mp_pool_imap(pool, square, items, 1, sizeof *items, 4, NULL, &map),
                     0);
    assert_int_equal(mp_imap_next(map, NULL, NULL, -2), EINVAL);
    mp_imap_free(map);
    mp_imap_free(NULL);
    assert_int_equal(mp_pool_terminate(pool), 0);
    assert_int_equal(mp_pool_imap(pool, square, items, 1, sizeof *items, 4, NULL, &map),
                     EPIPE);
    mp_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),
        TEST(test_no_results),
        TEST(test_order),
        TEST(test_numbers),
        TEST(test_seeds),
        TEST(test_large_items),
        TEST(test_items_in_place),
        TEST(test_source),
        TEST(test_source_fails),
        TEST(test_window),
        TEST(test_failing_items),
        TEST(test_workers_die),
        TEST(test_retries),
        TEST(test_time_limit),
        TEST(test_terminate),
        TEST(test_terminate_while_waiting),
        TEST(test_close),
        TEST(test_close_and_free),
        TEST(test_pool_is_freed_first),
        TEST(test_pool_breaks),
        TEST(test_closed_pool_breaks),
        TEST(test_free_early),
        TEST(test_free_waits_for_items_in_place),
        TEST(test_free_anywhere),
        TEST(test_threads),
        TEST(test_workers_wear_out),
        TEST(test_other_process),
        TEST(test_arguments),
    };
    return TEST_MAIN(tests);
}
