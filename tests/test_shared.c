/* SPDX-License-Identifier: MIT */
/* test_shared.c - memory that all processes of a family see. */
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mp/mp.h>

static size_t used(void)
{
    mp_shared_statistics stat;
    assert_int_equal(mp_shared_stat(&stat), 0);
    assert_true(stat.used <= stat.reserved);
    return stat.used;
}

static void test_blocks_are_zeroed_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        0,     1,     63,    64,    65,    1000,    4096,          16383,
        16384, 16385, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 5000000};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i] ? sizes[i] : 1;
        for (int again = 0; again < 2; again++) {
            unsigned char *block = mp_shared_alloc(sizes[i]);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % (size > 16384 ? 65536 : 64), 0);
            for (size_t at = 0; at<size; at += size> 4096 ? 997 : 1)
                assert_int_equal(block[at], 0);
            assert_int_equal(block[size - 1], 0);
            assert_true(mp_shared_contains(block));
            assert_true(mp_shared_contains(block + size - 1));
            /* The second time round it must be zeroed again. */
            memset(block, 0xa5, size);
            mp_shared_free(block);
        }
    }
}

static void test_blocks_do_not_overlap(void **state)
{
    (void)state;
    enum { BLOCKS = 500 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    uint64_t seed = 4711;

    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            sizes[i] = 1 + next_random(&seed) % (i % 10 == 0 ? 300000 : 5000);
            blocks[i] = mp_shared_alloc(sizes[i]);
            assert_non_null(blocks[i]);
            memset(blocks[i], i & 0xff, sizes[i]);
        }
        for (int i = 0; i < BLOCKS; i++) {
            for (size_t at = 0; at < sizes[i]; at += 61)
                assert_int_equal(blocks[i][at], i & 0xff);
            assert_int_equal(blocks[i][sizes[i] - 1], i & 0xff);
        }
        for (int i = 0; i < BLOCKS; i++)
            mp_shared_free(blocks[(i * 7) % BLOCKS]);
    }
}

static void test_what_is_no_block_is_ignored(void **state)
{
    (void)state;
    int on_stack;
    char *block = mp_shared_alloc(1000);
    char *large = mp_shared_alloc(200000);
    size_t in_use = used();

    mp_shared_free(NULL);
    mp_shared_free(&on_stack);
    mp_shared_free((void *)1);
    mp_shared_free((void *)UINTPTR_MAX);
    mp_shared_free(block + 1);
    mp_shared_free(block + 64);
    mp_shared_free(large + 64);
    mp_shared_free(large + 65536);
    assert_int_equal(used(), in_use);
    mp_shared_free(block);
    mp_shared_free(block);
    mp_shared_free(large);
    mp_shared_free(large);
    assert_true(used() < in_use);
}

static void test_contains(void **state)
{
    (void)state;
    int on_stack;
    void *heap = malloc(10);

    assert_false(mp_shared_contains(NULL));
    assert_false(mp_shared_contains(&on_stack));
    assert_false(mp_shared_contains(heap));
    assert_false(mp_shared_contains((void *)UINTPTR_MAX));
    free(heap);
}

static void test_absurd_sizes(void **state)
{
    (void)state;
    assert_null(mp_shared_alloc(SIZE_MAX));
    assert_null(mp_shared_alloc(SIZE_MAX - 65535));
    assert_null(mp_shared_alloc(SIZE_MAX / 2));
    assert_int_equal(mp_shared_stat(NULL), EINVAL);
}

/* --- other processes -------------------------------------------------------------- */

static int increment(void *arg)
{
    guard_child();
    atomic_fetch_add(*(_Atomic int **)arg, 1);
    return 0;
}

static void test_all_see_the_same(void **state)
{
    (void)state;
    _Atomic int *counter = mp_shared_alloc(sizeof *counter);

    assert_non_null(counter);
    for (int i = 0; i < 5; i++) {
        mp_process *p;
        assert_int_equal(mp_process_new(&p, increment, &counter, NULL), 0);
        assert_int_equal(mp_process_start(p), 0);
        assert_int_equal(mp_process_join(p, scaled(5000)), 0);
        mp_process_free(p);
    }
    /* A child that the host forked belongs to the family as well. */
    assert_int_equal(child_run(increment, &counter), 0);
    assert_int_equal(*counter, 6);
    mp_shared_free(counter);
}

struct mailbox {
    char *_Atomic small;
    char *_Atomic large;
};

static int fill_mailbox(void *arg)
{
    struct mailbox *box = *(struct mailbox **)arg;

    char *small = mp_shared_alloc(100), *large = mp_shared_alloc(1 << 20);
    strcpy(small, "from a child");
    strcpy(large + 1000000, "from afar");
    atomic_store(&box->small, small);
    atomic_store(&box->large, large);
    return 0;
}

static void test_child_allocates_parent_frees(void **state)
{
    (void)state;
    struct mailbox *box = mp_shared_alloc(sizeof *box);

    assert_int_equal(child_run(fill_mailbox, &box), 0);
    assert_string_equal(box->small, "from a child");
    assert_string_equal(box->large + 1000000, "from afar");
    mp_shared_free(box->small);
    mp_shared_free(box->large);
    mp_shared_free(box);
}

static int die_with_block(void *arg)
{
    struct mailbox *box = *(struct mailbox **)arg;

    atomic_store(&box->small, mp_shared_alloc(100));
    strcpy(box->small, "still here");
    kill(getpid(), SIGKILL);
    return 0;
}

static void test_block_outlives_the_killed(void **state)
{
    (void)state;
    struct mailbox *box = mp_shared_alloc(sizeof *box);

    assert_int_equal(child_run(die_with_block, &box), -SIGKILL);
    void *other = mp_shared_alloc(100);
    assert_ptr_not_equal(other, box->small);
    assert_string_equal(box->small, "still here");
    mp_shared_free(other);
    mp_shared_free(box->small);
    mp_shared_free(box);
}

/* --- many at once ----------------------------------------------------------------- */

static int churn(void *arg)
{
    enum { HELD = 40 };
    unsigned char *held[HELD] = {NULL};
    size_t sizes[HELD] = {0};
    uint64_t seed = 99 + *(unsigned *)arg * 7919u;
    unsigned char mark = (unsigned char)(*(unsigned *)arg + 1);

    for (int i = 0; i < 20000; i++) {
        size_t at = next_random(&seed) % HELD;
        if (held[at]) {
            if (held[at][0] != mark || held[at][sizes[at] - 1] != mark)
                return 1;
            mp_shared_free(held[at]);
            held[at] = NULL;
            continue;
        }
        sizes[at] = 1 + next_random(&seed) % (i % 50 == 0 ? 200000 : 2000);
        held[at] = mp_shared_alloc(sizes[at]);
        if (!held[at])
            return 2;
        if (held[at][0] || held[at][sizes[at] - 1])
            return 3;
        held[at][0] = held[at][sizes[at] - 1] = mark;
    }
    for (size_t i = 0; i < HELD; i++)
        mp_shared_free(held[i]);
    return 0;
}

static void test_processes_at_once(void **state)
{
    (void)state;
    enum { CHILDREN = 4 };
    pid_t pids[CHILDREN];
    unsigned numbers[CHILDREN];

    for (unsigned i = 0; i < CHILDREN; i++) {
        numbers[i] = i;
        pids[i] = child_start(churn, &numbers[i]);
    }
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
}

static void *churn_in_thread(void *arg)
{
    return (void *)(intptr_t)churn(arg);
}

static void test_threads_at_once(void **state)
{
    (void)state;
    pthread_t threads[3];
    unsigned numbers[3];

    leak_ignore_maps();
    for (unsigned i = 0; i < 3; i++) {
        numbers[i] = i;
        assert_int_equal(
            pthread_create(&threads[i], NULL, churn_in_thread, &numbers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

/* --- a small arena, and none ------------------------------------------------------ */

/* Programs of their own: the arena is reserved once for a family. */
static int run_self(void *arg)
{
    char path[512];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);

    if (size <= 0)
        return 1;
    path[size] = 0;
    execl(path, path, (const char *)arg, (char *)NULL);
    return 1;
}

static int in_small_arena(void *arg)
{
    (void)arg;
    setenv("MP_ARENA_SIZE", "8M", 1);
    return run_self("fill");
}

static int fill_arena(void)
{
    enum { MOST = 1 << 18 };
    static void *blocks[MOST];
    mp_shared_statistics stat;
    size_t count = 0, empty;

    if (mp_shared_stat(&stat) != 0 || stat.reserved > (8u << 20) ||
        stat.reserved < (1u << 20))
        return 2;
    empty = stat.used;
    while (count < MOST && (blocks[count] = mp_shared_alloc(1000)) != NULL)
        count++;
    if (count < 1000 || count == MOST || mp_shared_alloc(100000))
        return 3;

    /* Full is a state, not an end: what needs the arena says so, and works again later.
     */
    mp_lock *lock;
    mp_pool *pool;
    int err = mp_lock_new(&lock, NULL);
    if (err == 0)
        mp_lock_free(lock); /* there was a place of that size */
    else if (err != ENOMEM)
        return 4;
    err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2));
    if (err == 0)
        mp_pool_free(pool);
    else if (err != ENOMEM)
        return 5;
    while (count > 0)
        mp_shared_free(blocks[--count]);
    if (mp_shared_stat(&stat) != 0 || stat.used != empty)
        return 6;
    void *large = mp_shared_alloc(1 << 20);
    if (!large)
        return 7;
    mp_shared_free(large);
    return 0;
}

static void test_full_arena(void **state)
{
    (void)state;
    assert_int_equal(child_run(in_small_arena, NULL), 0);
}

static int in_no_address_space(void *arg)
{
    (void)arg;
    return run_self("limit");
}

/* With little address space the arena is small or missing, and nothing crashes. */
static int under_limit(void)
{
    struct rlimit limit = {64u << 20, 64u << 20};

    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 2;
    void *block = mp_shared_alloc(100);
    if (block)
        memset(block, 1, 100);
    mp_shared_free(block);
    mp_lock *lock;
    int err = mp_lock_new(&lock, NULL);
    if (err != 0 && err != ENOMEM)
        return 3;
    if (err == 0)
        mp_lock_free(lock);
    return 0;
}

static void test_little_address_space(void **state)
{
    (void)state;
#if SANITIZED
    skip(); /* the sanitizer itself needs terabytes of it */
#endif
    assert_int_equal(child_run(in_no_address_space, NULL), 0);
}

static int with_size(void *arg)
{
    setenv("MP_ARENA_SIZE", arg, 1);
    return run_self("size");
}

static int print_size(void)
{
    mp_shared_statistics stat;
    const char *text = getenv("MP_ARENA_SIZE");

    if (mp_shared_stat(&stat) != 0)
        return 100;
    /* Bookkeeping takes a part of what was asked for. */
    if (strcmp(text, "32M") == 0 || strcmp(text, "32768K") == 0 ||
        strcmp(text, "33554432") == 0)
        return stat.reserved <= (32u << 20) && stat.reserved >= (16u << 20) ? 0 : 1;
    return stat.reserved > 0 ? 0 : 2;
}

static void test_size_from_the_environment(void **state)
{
    (void)state;
    static const char *const sizes[] = {
        "32M", "32768K", "33554432", "nonsense", "-1", "", "99999999999999999999G"};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(child_run(with_size, (void *)(uintptr_t)sizes[i]), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest shared[] = {
        TEST(test_blocks_are_zeroed_and_aligned),
        TEST(test_blocks_do_not_overlap),
        TEST(test_what_is_no_block_is_ignored),
        TEST(test_contains),
        TEST(test_absurd_sizes),
        TEST(test_all_see_the_same),
        TEST(test_child_allocates_parent_frees),
        TEST(test_block_outlives_the_killed),
        TEST(test_processes_at_once),
        TEST(test_threads_at_once),
        TEST(test_full_arena),
        TEST(test_little_address_space),
        TEST(test_size_from_the_environment),
    };

    if (argc > 1 && strcmp(argv[1], "fill") == 0)
        return fill_arena();
    if (argc > 1 && strcmp(argv[1], "limit") == 0)
        return under_limit();
    if (argc > 1 && strcmp(argv[1], "size") == 0)
        return print_size();
    return TEST_MAIN(shared);
}
