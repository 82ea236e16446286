/* SPDX-License-Identifier: MIT */
/* test_value.c - numbers, structs and arrays that processes share. */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

struct point {
    double x, y;
    char name[24];
};

static mp_value *new_int(int initial, const mp_value_options *options)
{
    mp_value *value;

    assert_int_equal(mp_value_new(&value, sizeof initial, &initial, options), 0);
    return value;
}

static void test_get_and_set(void **state)
{
    (void)state;
    mp_value *value = new_int(7, NULL);
    int got = 0;

    assert_true(mp_shared_contains(value));
    assert_true(mp_shared_contains(mp_value_data(value)));
    assert_int_equal(mp_value_get(value, &got, sizeof got), 0);
    assert_int_equal(got, 7);
    got = -3;
    assert_int_equal(mp_value_set(value, &got, sizeof got), 0);
    assert_int_equal(MP_VALUE(value, int), -3);
    MP_VALUE(value, int) += 10;
    assert_int_equal(mp_value_get(value, &got, sizeof got), 0);
    assert_int_equal(got, 7);
    mp_value_free(value);
}

/* The sizes that are copied in one piece, the others, and what lies around them. */
static void test_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,  2,  3,  4,  5,  7,   8,   9,    16,    24,
                                   31, 32, 33, 63, 64, 100, 999, 5000, 100000};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        unsigned char *in = malloc(size + 1), *out = malloc(size + 3);
        mp_value *value;
        assert_int_equal(mp_value_new(&value, size, NULL, NULL), 0);
        assert_int_equal((uintptr_t)mp_value_data(value) % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < size; k++) {
            assert_int_equal(((unsigned char *)mp_value_data(value))[k], 0);
            in[k + 1] = (unsigned char)(k * 7 + i);
        }
        memset(out, 0xa5, size + 3);
        /* What the caller has may begin anywhere. */
        assert_int_equal(mp_value_set(value, in + 1, size), 0);
        assert_int_equal(mp_value_get(value, out + 1, size), 0);
        assert_memory_equal(in + 1, out + 1, size);
        assert_int_equal(out[0], 0xa5);
        assert_int_equal(out[size + 1], 0xa5);
        assert_int_equal(mp_value_set(value, in, size + 1), EMSGSIZE);
        assert_int_equal(mp_value_get(value, out, size - 1), EMSGSIZE);
        assert_memory_equal(mp_value_data(value), out + 1, size);
        mp_value_free(value);
        free(in);
        free(out);
    }
}

static void test_struct(void **state)
{
    (void)state;
    struct point point = {1.5, -2.25, "somewhere"}, got;
    mp_value *value;

    assert_int_equal(mp_value_new(&value, sizeof point, &point, NULL), 0);
    assert_int_equal(mp_value_acquire(value, MP_FOREVER), 0);
    MP_VALUE(value, struct point).y += 0.25;
    assert_int_equal(mp_value_release(value), 0);
    assert_int_equal(mp_value_get(value, &got, sizeof got), 0);
    assert_true(got.x == 1.5 && got.y == -2.0);
    assert_string_equal(got.name, "somewhere");
    mp_value_free(value);
}

static void test_array(void **state)
{
    (void)state;
    static const short initial[5] = {4, 3, 2, 1, 0};
    mp_array *array;
    short item = 99;

    assert_int_equal(mp_array_new(&array, 5, sizeof(short), initial, NULL), 0);
    assert_int_equal(mp_array_count(array), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(mp_array_get(array, i, &item, sizeof item), 0);
        assert_int_equal(item, initial[i]);
        item = (short)(item * -100);
        assert_int_equal(mp_array_set(array, i, &item, sizeof item), 0);
    }
    assert_int_equal(mp_array_acquire(array, MP_FOREVER), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(MP_ARRAY(array, short)[i], initial[i] * -100);
    assert_int_equal(mp_array_release(array), 0);
    item = 99;
    assert_int_equal(mp_array_get(array, 5, &item, sizeof item), EINVAL);
    assert_int_equal(mp_array_set(array, SIZE_MAX, &item, sizeof item), EINVAL);
    assert_int_equal(mp_array_get(array, 0, &item, 1), EMSGSIZE);
    assert_int_equal(item, 99);
    mp_array_free(array);
}

static void test_array_of_structs_and_of_nothing(void **state)
{
    (void)state;
    enum { POINTS = 1000 };
    mp_array *array;
    struct point point = {0};

    assert_int_equal(mp_array_new(&array, POINTS, sizeof point, NULL, NULL), 0);
    for (size_t i = 0; i < POINTS; i++) {
        assert_int_equal(mp_array_get(array, i, &point, sizeof point), 0);
        assert_true(point.x == 0 && point.name[0] == 0);
        point.x = (double)i;
        assert_int_equal(mp_array_set(array, i, &point, sizeof point), 0);
    }
    for (size_t i = 0; i < POINTS; i++)
        assert_true(MP_ARRAY(array, struct point)[i].x == (double)i);
    mp_array_free(array);

    assert_int_equal(mp_array_new(&array, 0, 4, &point, NULL), 0);
    assert_int_equal(mp_array_count(array), 0);
    assert_non_null(mp_array_data(array));
    assert_int_equal(mp_array_get(array, 0, &point, 4), EINVAL);
    assert_int_equal(mp_array_acquire(array, MP_NOWAIT), 0);
    assert_int_equal(mp_array_release(array), 0);
    mp_array_free(array);
}

static void test_bad_input(void **state)
{
    (void)state;
    mp_value *value = NULL;
    mp_array *array = NULL;
    int64_t number = 0;

    assert_int_equal(mp_value_new(NULL, 4, NULL, NULL), EINVAL);
    assert_int_equal(mp_value_new(&value, 0, NULL, NULL), EINVAL);
    assert_int_equal(mp_value_new(&value, SIZE_MAX, NULL, NULL), EOVERFLOW);
    assert_int_equal(mp_value_new(&value, SIZE_MAX / 4, NULL, NULL), ENOMEM);
    assert_int_equal(mp_array_new(NULL, 1, 4, NULL, NULL), EINVAL);
    assert_int_equal(mp_array_new(&array, 1, 0, NULL, NULL), EINVAL);
    assert_int_equal(mp_array_new(&array, SIZE_MAX / 4, 8, NULL, NULL), EOVERFLOW);
    assert_int_equal(mp_array_new(&array, 8, SIZE_MAX / 8, NULL, NULL), EOVERFLOW);
    assert_int_equal(mp_array_new(&array, SIZE_MAX / 16, 8, NULL, NULL), ENOMEM);
    assert_null(value);
    assert_null(array);

    mp_value_free(NULL);
    assert_null(mp_value_data(NULL));
    assert_int_equal(mp_value_acquire(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_value_release(NULL), EINVAL);
    assert_int_equal(mp_value_get(NULL, &number, 8), EINVAL);
    assert_int_equal(mp_value_set(NULL, &number, 8), EINVAL);
    assert_int_equal(mp_value_fetch_add(NULL, 1, NULL), EINVAL);
    mp_array_free(NULL);
    assert_null(mp_array_data(NULL));
    assert_int_equal(mp_array_count(NULL), 0);
    assert_int_equal(mp_array_acquire(NULL, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_array_release(NULL), EINVAL);
    assert_int_equal(mp_array_get(NULL, 0, &number, 8), EINVAL);
    assert_int_equal(mp_array_set(NULL, 0, &number, 8), EINVAL);

    value = new_int(1, NULL);
    assert_int_equal(mp_value_get(value, NULL, sizeof(int)), EINVAL);
    assert_int_equal(mp_value_set(value, NULL, sizeof(int)), EINVAL);
    assert_int_equal(mp_value_acquire(value, -2), EINVAL);
    /* None of them has kept the lock. */
    assert_int_equal(mp_value_release(value), EPERM);
    mp_value_free(value);
}

static void test_choice_of_locks(void **state)
{
    (void)state;
    mp_value *value = NULL;
    mp_lock *lock;
    mp_rlock *rlock;

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_int_equal(mp_rlock_new(&rlock, NULL), 0);
    assert_int_equal(
        mp_value_new(&value, 4, NULL, MP_VALUE_OPTIONS(.lock = lock, .rlock = rlock)),
        EINVAL);
    assert_int_equal(mp_value_new(&value, 4, NULL,
                                  MP_VALUE_OPTIONS(.lock = lock, .without_lock = 1)),
                     EINVAL);
    assert_int_equal(mp_value_new(&value, 4, NULL,
                                  MP_VALUE_OPTIONS(.rlock = rlock, .without_lock = 1)),
                     EINVAL);
    assert_int_equal(mp_value_new(&value, 4, NULL, MP_VALUE_OPTIONS(.reserved = 1)),
                     EINVAL);
    assert_null(value);

    value = new_int(1, MP_VALUE_OPTIONS(.lock = lock));
    assert_int_equal(mp_value_acquire(value, MP_FOREVER), 0);
    assert_true(mp_lock_locked(lock));
    assert_int_equal(mp_value_acquire(value, MP_NOWAIT), ETIMEDOUT);
    assert_int_equal(mp_value_release(value), 0);
    assert_int_equal(mp_value_release(value), EOVERFLOW);
    mp_value_free(value);

    value = new_int(1, MP_VALUE_OPTIONS(.rlock = rlock));
    assert_int_equal(mp_value_acquire(value, MP_FOREVER), 0);
    assert_int_equal(mp_rlock_owner(rlock), getpid());
    assert_int_equal(mp_value_acquire(value, MP_NOWAIT), 0);
    assert_int_equal(mp_value_release(value), 0);
    assert_int_equal(mp_value_release(value), 0);
    assert_int_equal(mp_value_release(value), EPERM);
    mp_value_free(value);

    /* They were not freed with their values. */
    assert_int_equal(mp_lock_acquire(lock, MP_NOWAIT), 0);
    assert_int_equal(mp_lock_release(lock), 0);
    assert_int_equal(mp_rlock_acquire(rlock, MP_NOWAIT), 0);
    assert_int_equal(mp_rlock_release(rlock), 0);
    mp_lock_free(lock);
    mp_rlock_free(rlock);
}

/* Get and set inside acquire and release, as `with v.get_lock(): v.value += 1`. */
static void test_own_lock_is_recursive(void **state)
{
    (void)state;
    mp_value *value = new_int(5, NULL);
    int number;

    assert_int_equal(mp_value_acquire(value, MP_FOREVER), 0);
    assert_int_equal(mp_value_get(value, &number, sizeof number), 0);
    number++;
    assert_int_equal(mp_value_set(value, &number, sizeof number), 0);
    assert_int_equal(mp_value_release(value), 0);
    assert_int_equal(mp_value_release(value), EPERM);
    assert_int_equal(MP_VALUE(value, int), 6);
    mp_value_free(value);
}

static void test_without_lock(void **state)
{
    (void)state;
    mp_value *value = new_int(5, MP_VALUE_OPTIONS(.without_lock = 1));
    mp_array *array;
    int number = 0;

    assert_int_equal(mp_value_acquire(value, MP_FOREVER), EINVAL);
    assert_int_equal(mp_value_release(value), EINVAL);
    assert_int_equal(mp_value_get(value, &number, sizeof number), 0);
    assert_int_equal(number, 5);
    number = 6;
    assert_int_equal(mp_value_set(value, &number, sizeof number), 0);
    assert_int_equal(MP_VALUE(value, int), 6);
    mp_value_free(value);

    assert_int_equal(
        mp_array_new(&array, 3, 4, NULL, MP_VALUE_OPTIONS(.without_lock = 1)), 0);
    assert_int_equal(mp_array_acquire(array, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_array_release(array), EINVAL);
    assert_int_equal(mp_array_set(array, 2, &number, sizeof number), 0);
    assert_int_equal(MP_ARRAY(array, int)[2], 6);
    mp_array_free(array);
}

/* Adds `delta` to a number that is `before` and expects it to become `after`. */
static void add(size_t size, int64_t before, int64_t delta, int64_t after)
{
    mp_value *value;
    int64_t old = 4711;
    unsigned char bytes[8];

    /* The low bytes of a number, whichever end it begins with. */
    memcpy(bytes, &before, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    memmove(bytes, bytes + sizeof bytes - size, size);
#endif
    assert_int_equal(mp_value_new(&value, size, bytes, NULL), 0);
    assert_int_equal(mp_value_fetch_add(value, delta, &old), 0);
    assert_true(old == before);
    assert_int_equal(mp_value_fetch_add(value, 0, &old), 0);
    assert_true(old == after);
    /* Nothing behind it was touched. */
    for (size_t i = size; i < 8; i++)
        assert_int_equal(((unsigned char *)mp_value_data(value))[i], 0);
    mp_value_free(value);
}

static void test_fetch_add(void **state)
{
    (void)state;
    mp_value *value;
    int64_t old = 4711;

    add(1, 100, 27, 127);
    add(1, 100, 28, -128);
    add(1, -128, -1, 127);
    add(1, 5, 256, 5);
    add(2, 32767, 1, -32768);
    add(2, 0, -1, -1);
    add(4, INT32_MAX, 1, INT32_MIN);
    add(4, 17, -20, -3);
    add(8, 1, INT64_C(1) << 40, (INT64_C(1) << 40) + 1);
    add(8, INT64_MAX, 1, INT64_MIN);
    add(8, INT64_MIN, INT64_MIN, 0);

    for (size_t size = 3; size < 20; size++) {
        if (size == 4 || size == 8)
            continue;
        assert_int_equal(mp_value_new(&value, size, NULL, NULL), 0);
        assert_int_equal(mp_value_fetch_add(value, 1, &old), EINVAL);
        assert_int_equal(old, 4711);
        mp_value_free(value);
    }
}

/* What the processes of a test share. */
struct board {
    mp_value *value;
    mp_array *array;
    _Atomic int ready, told;
};

static struct board *open_board(const mp_value_options *options)
{
    struct board *board = mp_shared_alloc(sizeof *board);

    assert_non_null(board);
    board->value = new_int(0, options);
    assert_int_equal(mp_array_new(&board->array, 4, sizeof(long), NULL, options), 0);
    return board;
}

static void close_board(struct board *board)
{
    mp_value_free(board->value);
    mp_array_free(board->array);
    mp_shared_free(board);
}

enum { ROUNDS = 5000 };

static int count_under_lock(void *arg)
{
    struct board *board = arg;

    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(mp_value_acquire(board->value, MP_FOREVER), 0);
        MP_VALUE(board->value, int) += 1;
        assert_int_equal(mp_value_release(board->value), 0);
    }
    return 0;
}

static int count_with_fetch_add(void *arg)
{
    struct board *board = arg;

    for (int i = 0; i < ROUNDS; i++)
        assert_int_equal(mp_value_fetch_add(board->value, 1, NULL), 0);
    return 0;
}

static int count_with_get_and_set(void *arg)
{
    struct board *board = arg;
    long number;

    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(mp_array_acquire(board->array, MP_FOREVER), 0);
        assert_int_equal(mp_array_get(board->array, 3, &number, sizeof number), 0);
        number++;
        assert_int_equal(mp_array_set(board->array, 3, &number, sizeof number), 0);
        assert_int_equal(mp_array_release(board->array), 0);
    }
    return 0;
}

static void run_four(child_body *body, struct board *board)
{
    pid_t pids[4];

    for (int i = 0; i < 4; i++)
        pids[i] = child_start(body, board);
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
}

static void test_processes_count(void **state)
{
    (void)state;
    struct board *board = open_board(NULL);

    run_four(count_under_lock, board);
    assert_int_equal(MP_VALUE(board->value, int), 4 * ROUNDS);
    run_four(count_with_fetch_add, board);
    assert_int_equal(MP_VALUE(board->value, int), 8 * ROUNDS);
    run_four(count_with_get_and_set, board);
    assert_int_equal(MP_ARRAY(board->array, long)[3], 4 * ROUNDS);
    assert_int_equal(MP_ARRAY(board->array, long)[2], 0);
    close_board(board);
}

static void *count_in_thread(void *arg)
{
    struct board *board = arg;
    int failed = count_under_lock(board) || count_with_get_and_set(board);

    return failed ? board : NULL;
}

static void test_threads_count(void **state)
{
    (void)state;
    struct board *board = open_board(NULL);
    pthread_t threads[3];
    void *failed;

    leak_ignore_maps();
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_thread, board), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(MP_VALUE(board->value, int), 3 * ROUNDS);
    assert_int_equal(MP_ARRAY(board->array, long)[3], 3 * ROUNDS);
    close_board(board);
}

/* All bytes of a large value are the same whenever nobody writes. */
struct large {
    unsigned char bytes[600];
};

static int fill(void *arg)
{
    mp_value *value = arg;
    struct large large;

    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(mp_value_get(value, &large, sizeof large), 0);
        for (size_t k = 1; k < sizeof large; k++)
            assert_int_equal(large.bytes[k], large.bytes[0]);
        memset(&large, i & 0xff, sizeof large);
        assert_int_equal(mp_value_set(value, &large, sizeof large), 0);
    }
    return 0;
}

static void test_large_values_are_whole(void **state)
{
    (void)state;
    mp_value *value;
    pid_t pids[3];

    assert_int_equal(mp_value_new(&value, sizeof(struct large), NULL, NULL), 0);
    for (int i = 0; i < 3; i++)
        pids[i] = child_start(fill, value);
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    mp_value_free(value);
}

/* Numbers of eight bytes are whole even if no lock keeps others away. */
static int write_halves(void *arg)
{
    mp_value *value = arg;

    for (uint64_t i = 0; i < 200000; i++) {
        uint64_t number = (i << 32) | i;
        assert_int_equal(mp_value_set(value, &number, sizeof number), 0);
    }
    return 0;
}

static void test_numbers_are_whole_without_lock(void **state)
{
    (void)state;
    mp_value *value;
    uint64_t number = 0;

    assert_int_equal(mp_value_new(&value, 8, NULL, MP_VALUE_OPTIONS(.without_lock = 1)),
                     0);
    pid_t pid = child_start(write_halves, value);
    while (number < (UINT64_C(199999) << 32)) {
        assert_int_equal(mp_value_get(value, &number, sizeof number), 0);
        assert_int_equal(number >> 32, (uint32_t)number);
    }
    assert_int_equal(child_wait(pid, 30000), 0);
    mp_value_free(value);
}

static int hold_until_killed(void *arg)
{
    struct board *board = arg;

    assert_int_equal(mp_value_acquire(board->value, MP_FOREVER), 0);
    assert_int_equal(mp_array_acquire(board->array, MP_FOREVER), 0);
    MP_VALUE(board->value, int) = 13;
    atomic_store(&board->ready, 1);
    for (;;)
        pause();
    return 0;
}

static bool is_ready(void *arg)
{
    return ((struct board *)arg)->ready != 0;
}

static void kill_a_holder(struct board *board)
{
    board->ready = 0;
    pid_t pid = child_start(hold_until_killed, board);
    assert_true(eventually(is_ready, board, 5000));
    assert_int_equal(mp_value_acquire(board->value, MP_NOWAIT), ETIMEDOUT);
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
}

/* Told once, by whichever call comes first, which has done its work all the same. */
static void test_holder_is_killed(void **state)
{
    (void)state;
    struct board *board = open_board(NULL);
    int number = 0;
    long item = 17;

    kill_a_holder(board);
    assert_int_equal(mp_value_get(board->value, &number, sizeof number), EOWNERDEAD);
    assert_int_equal(number, 13);
    assert_int_equal(mp_value_get(board->value, &number, sizeof number), 0);
    assert_int_equal(mp_value_release(board->value), EPERM);
    assert_int_equal(mp_array_set(board->array, 1, &item, sizeof item), EOWNERDEAD);
    assert_int_equal(MP_ARRAY(board->array, long)[1], 17);
    assert_int_equal(mp_array_get(board->array, 1, &item, sizeof item), 0);

    kill_a_holder(board);
    number = 14;
    assert_int_equal(mp_value_set(board->value, &number, sizeof number), EOWNERDEAD);
    assert_int_equal(MP_VALUE(board->value, int), 14);
    assert_int_equal(mp_array_get(board->array, 1, &item, sizeof item), EOWNERDEAD);
    assert_int_equal(item, 17);

    kill_a_holder(board);
    assert_int_equal(mp_value_acquire(board->value, scaled(2000)), EOWNERDEAD);
    assert_int_equal(mp_value_get(board->value, &number, sizeof number), 0);
    assert_int_equal(mp_value_release(board->value), 0);
    assert_int_equal(mp_array_acquire(board->array, scaled(2000)), EOWNERDEAD);
    assert_int_equal(mp_array_release(board->array), 0);
    close_board(board);
}

static int get_it(void *arg)
{
    struct board *board = arg;
    int number = 0, err = mp_value_get(board->value, &number, sizeof number);

    if (err == EOWNERDEAD)
        atomic_fetch_add(&board->told, 1);
    else if (err)
        return 1;
    return number == 13 ? 0 : 2;
}

static void test_sleepers_when_holder_is_killed(void **state)
{
    (void)state;
    struct board *board = open_board(NULL);
    pid_t holder = child_start(hold_until_killed, board), waiters[4];

    assert_true(eventually(is_ready, board, 5000));
    for (int i = 0; i < 4; i++) {
        waiters[i] = child_start(get_it, board);
        assert_true(process_sleeps(waiters[i], 5000));
    }
    kill(holder, SIGSTOP);
    assert_int_equal(mp_value_acquire(board->value, 200), ETIMEDOUT);
    kill(holder, SIGKILL);
    assert_int_equal(child_wait(holder, 5000), -SIGKILL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(waiters[i], 5000), 0);
    assert_int_equal(board->told, 1);
    close_board(board);
}

static struct board *in_handler;

static void count_signal(int signal_number)
{
    (void)signal_number;
    mp_value_fetch_add(in_handler->value, 1, NULL);
}

/* Also while the program is in the middle of the same call, or holds the lock. */
static void test_fetch_add_in_signal_handler(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = count_signal}, old;

    in_handler = open_board(NULL);
    sigaction(SIGUSR1, &action, &old);
    assert_int_equal(mp_value_acquire(in_handler->value, MP_FOREVER), 0);
    for (int i = 0; i < 100; i++) {
        raise(SIGUSR1);
        assert_int_equal(mp_value_fetch_add(in_handler->value, 1, NULL), 0);
    }
    assert_int_equal(mp_value_release(in_handler->value), 0);
    assert_int_equal(MP_VALUE(in_handler->value, int), 200);
    sigaction(SIGUSR1, &old, NULL);
    close_board(in_handler);
}

/* One lock for several, so that they change together: from one to the other. */
static int transfer(void *arg)
{
    mp_value **accounts = arg;

    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(mp_value_acquire(accounts[0], MP_FOREVER), 0);
        MP_VALUE(accounts[0], int) -= 1;
        MP_VALUE(accounts[1], int) += 1;
        assert_int_equal(MP_VALUE(accounts[0], int) + MP_VALUE(accounts[1], int), 100);
        assert_int_equal(mp_value_release(accounts[1]), 0);
    }
    return 0;
}

static void test_values_share_a_lock(void **state)
{
    (void)state;
    mp_lock *lock;
    pid_t pids[3];

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    mp_value *accounts[2] = {new_int(100, MP_VALUE_OPTIONS(.lock = lock)),
                             new_int(0, MP_VALUE_OPTIONS(.lock = lock))};
    for (int i = 0; i < 3; i++)
        pids[i] = child_start(transfer, accounts);
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    assert_int_equal(MP_VALUE(accounts[1], int), 3 * ROUNDS);
    mp_value_free(accounts[0]);
    mp_value_free(accounts[1]);
    mp_lock_free(lock);
}

int main(void)
{
    static const struct CMUnitTest value_tests[] = {
        TEST(test_get_and_set),
        TEST(test_every_size),
        TEST(test_struct),
        TEST(test_array),
        TEST(test_array_of_structs_and_of_nothing),
        TEST(test_bad_input),
        TEST(test_choice_of_locks),
        TEST(test_own_lock_is_recursive),
        TEST(test_without_lock),
        TEST(test_fetch_add),
        TEST(test_processes_count),
        TEST(test_threads_count),
        TEST(test_large_values_are_whole),
        TEST(test_numbers_are_whole_without_lock),
        TEST(test_holder_is_killed),
        TEST(test_sleepers_when_holder_is_killed),
        TEST(test_fetch_add_in_signal_handler),
        TEST(test_values_share_a_lock),
    };
    return TEST_MAIN(value_tests);
}
