/* SPDX-License-Identifier: MIT */
/* test_wait.c - waiting for several things at once. */
#include "support/wire.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include <mp/mp.h>

struct ends {
    mp_connection *in, *out;
};

static struct ends open_ends(void)
{
    struct ends ends;

    assert_int_equal(mp_pipe(&ends.in, &ends.out, MP_PIPE_OPTIONS(.one_way = 1)), 0);
    return ends;
}

static void close_ends(struct ends *ends)
{
    mp_connection_free(ends->in);
    mp_connection_free(ends->out);
}

/* --- connections and descriptors -------------------------------------------------- */

enum { SENDERS = 4, EACH = 10 };

struct sender {
    mp_connection *out;
    int number;
};

static int send_at_intervals(void *arg)
{
    const struct sender *sender = arg;
    uint64_t seed = 1 + (uint64_t)sender->number;

    for (int i = 0; i < EACH; i++) {
        usleep((useconds_t)(next_random(&seed) % 5000));
        assert_int_equal(mp_connection_send(sender->out, &i, sizeof i), 0);
    }
    return 0;
}

/* Receive from what is ready, and drop what has ended: returns how many are left. */
static size_t serve(mp_wait_item *items, size_t count, int *next)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        int number, err = 0;
        size_t size;
        if (items[i].ready) {
            err = mp_connection_recv(items[i].of.connection, &number, sizeof number,
                                     &size);
            assert_true(err == 0 || err == EPIPE);
        }
        if (items[i].ready && !err)
            assert_int_equal(number, next[i]++);
        if (!err) {
            next[left] = next[i];
            items[left++] = items[i];
        } else {
            assert_int_equal(next[i], EACH);
        }
    }
    return left;
}

static void test_many_senders(void **state)
{
    (void)state;
    struct ends ends[SENDERS];
    mp_wait_item items[SENDERS];
    int next[SENDERS] = {0};
    pid_t pids[SENDERS];

    for (int i = 0; i < SENDERS; i++) {
        ends[i] = open_ends();
        struct sender sender = {ends[i].out, i};
        pids[i] = child_start(send_at_intervals, &sender);
        mp_connection_close(ends[i].out);
        items[i] = MP_WAIT_CONNECTION(ends[i].in);
    }
    for (size_t count = SENDERS, ready = 0; count > 0; ready = 0) {
        assert_int_equal(mp_wait(items, count, &ready, scaled(10000)), 0);
        assert_true(ready >= 1 && ready <= count);
        count = serve(items, count, next);
    }
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(child_wait(pids[i], 5000), 0);
        close_ends(&ends[i]);
    }
}

static void test_all_that_are_ready(void **state)
{
    (void)state;
    struct ends a = open_ends(), b = open_ends(), c = open_ends();
    int fd;
    size_t ready = 4711;

    assert_int_equal(mp_connection_fileno(c.in, &fd), 0);
    mp_wait_item items[] = {
        MP_WAIT_CONNECTION(a.in), MP_WAIT_CONNECTION(b.in), MP_WAIT_FD(fd),
        MP_WAIT_CONNECTION(a.in), /* once more */
    };
    assert_int_equal(mp_wait(items, 4, &ready, MP_NOWAIT), ETIMEDOUT);
    assert_int_equal(ready, 4711);
    assert_int_equal(mp_connection_send(a.out, "", 0), 0);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(mp_wait(items, 4, &ready, MP_FOREVER), 0);
        assert_int_equal(ready, 2);
        assert_true(items[0].ready && !items[1].ready && !items[2].ready &&
                    items[3].ready);
    }
    /* The end of a stream is something, too. */
    mp_connection_close(b.out);
    assert_int_equal(mp_connection_send(c.out, "", 0), 0);
    assert_int_equal(mp_wait(items, 4, &ready, MP_FOREVER), 0);
    assert_int_equal(ready, 4);
    assert_int_equal(mp_connection_recv(a.in, NULL, 0, &ready), 0);
    assert_int_equal(mp_wait(items, 4, NULL, 1000), 0);
    assert_true(!items[0].ready && items[1].ready && items[2].ready && !items[3].ready);
    close_ends(&a);
    close_ends(&b);
    close_ends(&c);
}

/* A message that was begun and kept is ready, and the others are looked at as well. */
static void test_kept_message(void **state)
{
    (void)state;
    struct wire one = open_wire(NULL), other = open_wire(NULL);
    mp_wait_item items[] = {MP_WAIT_CONNECTION(one.connection),
                            MP_WAIT_CONNECTION(other.connection)};
    size_t size;

    put_bytes(&one, "\0\0\0\2", 4);
    assert_int_equal(mp_connection_recv(one.connection, NULL, 0, &size), EMSGSIZE);
    assert_int_equal(mp_wait(items, 2, &size, MP_FOREVER), 0);
    assert_true(size == 1 && items[0].ready && !items[1].ready);
    put_bytes(&other, "", 1);
    assert_int_equal(mp_wait(items, 2, &size, MP_FOREVER), 0);
    assert_true(size == 2 && items[0].ready && items[1].ready);
    close_wire(&one);
    close_wire(&other);
}

/* Far more than an fd_set or the stack have room for. */
static int wait_for_thousands(void *arg)
{
    enum { COUNT = 3000 };
    mp_wait_item *items = calloc(COUNT, sizeof *items);
    struct rlimit limit;
    int fds[2], other[2], made = 0;
    size_t ready;

    (void)arg;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < COUNT + 100)
        return SKIPPED;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(pipe(other), 0);
    for (; made < COUNT - 1; made++)
        items[made] = MP_WAIT_FD(dup(fds[0]));
    items[made++] = MP_WAIT_FD(other[0]);
    assert_int_equal(mp_wait(items, COUNT, &ready, 10), ETIMEDOUT);
    assert_int_equal(write(other[1], "x", 1), 1);
    assert_int_equal(mp_wait(items, COUNT, &ready, MP_FOREVER), 0);
    assert_int_equal(ready, 1);
    assert_true(items[COUNT - 1].ready);
    close(fds[1]);
    assert_int_equal(mp_wait(items, COUNT, &ready, MP_FOREVER), 0);
    assert_int_equal(ready, COUNT);
    free(items);
    return 0;
}

static void test_thousands(void **state)
{
    (void)state;
    int verdict = child_run(wait_for_thousands, NULL);

    if (verdict == SKIPPED)
        skip();
    assert_int_equal(verdict, 0);
}

/* --- processes -------------------------------------------------------------------- */

static int end_with(void *arg)
{
    const struct timespec *pause_for = arg;

    nanosleep(pause_for, NULL);
    return 0;
}

static int end_in_five_minutes(void *arg)
{
    (void)arg;
    return (int)sleep(300);
}

static void test_processes(void **state)
{
    (void)state;
    struct timespec little = {0, 20000000};
    struct ends ends = open_ends();
    mp_process *quick, *slow;

    assert_int_equal(mp_process_new(&quick, end_with, &little, NULL), 0);
    assert_int_equal(mp_process_new(&slow, end_in_five_minutes, NULL, NULL), 0);
    assert_int_equal(mp_process_start(quick), 0);
    assert_int_equal(mp_process_start(slow), 0);
    mp_wait_item items[] = {MP_WAIT_CONNECTION(ends.in), MP_WAIT_PROCESS(slow),
                            MP_WAIT_PROCESS(quick)};
    assert_int_equal(mp_wait(items, 3, NULL, scaled(10000)), 0);
    assert_true(!items[0].ready && !items[1].ready && items[2].ready);
    /* And when it has been joined as well. */
    assert_int_equal(mp_process_join(quick, MP_FOREVER), 0);
    assert_int_equal(mp_wait(items, 3, NULL, MP_FOREVER), 0);
    assert_true(!items[1].ready && items[2].ready);
    assert_int_equal(mp_wait(items, 2, NULL, 20), ETIMEDOUT);
    assert_int_equal(mp_process_kill(slow), 0);
    assert_int_equal(mp_wait(items, 2, NULL, scaled(10000)), 0);
    assert_true(items[1].ready);
    assert_int_equal(mp_process_join(slow, MP_FOREVER), 0);
    mp_process_free(quick);
    mp_process_free(slow);
    close_ends(&ends);
}

static int wait_for_process_of_parent(void *arg)
{
    mp_wait_item item = MP_WAIT_PROCESS(arg);
    return mp_wait(&item, 1, NULL, 1000);
}

static void test_process_that_cant_be(void **state)
{
    (void)state;
    struct timespec none = {0, 0};
    mp_process *p;

    assert_int_equal(mp_process_new(&p, end_with, &none, NULL), 0);
    mp_wait_item item = MP_WAIT_PROCESS(p);
    assert_int_equal(mp_wait(&item, 1, NULL, 1000), EINVAL);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(child_run(wait_for_process_of_parent, p), ECHILD);
    assert_int_equal(mp_process_join(p, MP_FOREVER), 0);
    assert_int_equal(mp_process_close(p), 0);
    assert_int_equal(mp_wait(&item, 1, NULL, 1000), EINVAL);
    mp_process_free(p);
}

/* --- pools and queues ------------------------------------------------------------- */

static int half(const void *arg, void *result, void *context)
{
    (void)context;
    *(int *)result = *(const int *)arg / 2;
    return 0;
}

static void test_pool(void **state)
{
    (void)state;
    struct ends ends = open_ends();
    mp_async_result *result;
    mp_pool *pool;
    int number = 42;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1, .pollable = 1)),
                     0);
    mp_wait_item items[] = {MP_WAIT_CONNECTION(ends.in), MP_WAIT_POOL(pool)};
    assert_int_equal(mp_wait(items, 2, NULL, 10), ETIMEDOUT);
    assert_int_equal(mp_pool_apply_async(pool, half, &number, sizeof number,
                                         sizeof number, NULL, &result),
                     0);
    assert_int_equal(mp_wait(items, 2, NULL, scaled(10000)), 0);
    assert_true(!items[0].ready && items[1].ready);
    assert_int_equal(mp_async_result_get(result, &number, sizeof number, MP_NOWAIT), 0);
    assert_int_equal(number, 21);
    mp_async_result_free(result);
    mp_pool_free(pool);
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1)), 0);
    items[1] = MP_WAIT_POOL(pool);
    assert_int_equal(mp_wait(items, 2, NULL, 10), ENOTSUP);
    mp_pool_free(pool);
    close_ends(&ends);
}

static int put_something(void *arg)
{
    usleep(20000);
    return mp_queue_put(arg, "something", 9, MP_FOREVER);
}

static void test_queue(void **state)
{
    (void)state;
    struct ends ends = open_ends();
    char text[16];
    mp_queue *queue;
    size_t size;

    assert_int_equal(mp_queue_new(&queue, MP_QUEUE_OPTIONS(.pollable = 1)), 0);
    mp_wait_item items[] = {MP_WAIT_QUEUE(queue), MP_WAIT_CONNECTION(ends.in)};
    assert_int_equal(mp_wait(items, 2, NULL, 10), ETIMEDOUT);
    pid_t pid = child_start(put_something, queue);
    assert_int_equal(mp_wait(items, 2, NULL, scaled(10000)), 0);
    assert_true(items[0].ready && !items[1].ready);
    assert_int_equal(mp_queue_get(queue, text, sizeof text, &size, MP_NOWAIT), 0);
    assert_int_equal(size, 9);
    assert_int_equal(child_wait(pid, 5000), 0);
    mp_queue_free(queue);
    assert_int_equal(mp_queue_new(&queue, NULL), 0);
    items[0] = MP_WAIT_QUEUE(queue);
    assert_int_equal(mp_wait(items, 2, NULL, 10), ENOTSUP);
    mp_queue_free(queue);
    close_ends(&ends);
}

/* --- time ------------------------------------------------------------------------- */

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    (void)number;
    ticks = ticks + 1;
}

/* However often a handler runs, it takes its time, and no more. */
static int wait_while_interrupted(void *arg)
{
    mp_wait_item item = MP_WAIT_CONNECTION(arg);
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    int64_t start = now_ms();

    signal(SIGALRM, tick);
    setitimer(ITIMER_REAL, &timer, NULL);
    if (mp_wait(&item, 1, NULL, 200) != ETIMEDOUT || ticks < 10)
        return 1;
    return now_ms() - start >= 199 && now_ms() - start < scaled(2000) ? 0 : 2;
}

static void test_in_time(void **state)
{
    (void)state;
    struct ends ends = open_ends();
    mp_wait_item item = MP_WAIT_CONNECTION(ends.in);
    size_t ready;

    for (int ms = 0; ms <= 100; ms += 50) {
        int64_t start = now_ms();
        assert_int_equal(mp_wait(&item, 1, &ready, ms), ETIMEDOUT);
        assert_true(now_ms() - start >= ms - 1);
        assert_true(now_ms() - start < ms + scaled(1000));
        /* Nothing to wait for is a sleep. */
        start = now_ms();
        assert_int_equal(mp_wait(NULL, 0, &ready, ms), ETIMEDOUT);
        assert_true(now_ms() - start >= ms - 1);
    }
    assert_int_equal(child_run(wait_while_interrupted, ends.in), 0);
    close_ends(&ends);
}

/* --- misuse ----------------------------------------------------------------------- */

static void expect_bad(mp_wait_item bad, int error)
{
    struct ends ends = open_ends();
    mp_wait_item items[] = {MP_WAIT_CONNECTION(ends.in), bad};
    size_t ready = 4711;

    /* One that is ready does not hide one that is wrong. */
    assert_int_equal(mp_connection_send(ends.out, "", 0), 0);
    assert_int_equal(mp_wait(items, 2, &ready, 1000), error);
    assert_int_equal(ready, 4711);
    assert_int_equal(items[0].ready, 0);
    close_ends(&ends);
}

static void test_misuse(void **state)
{
    (void)state;
    struct ends ends = open_ends();
    mp_wait_item item = MP_WAIT_CONNECTION(ends.in);

    assert_int_equal(mp_wait(NULL, 1, NULL, 0), EINVAL);
    assert_int_equal(mp_wait(&item, 1, NULL, -2), EINVAL);
    assert_int_equal(mp_wait(&item, 1, NULL, INT32_MIN), EINVAL);
    assert_int_equal(mp_wait(NULL, 0, NULL, MP_FOREVER), EINVAL);
    expect_bad((mp_wait_item){.kind = 0}, EINVAL);
    expect_bad((mp_wait_item){.kind = 99}, EINVAL);
    expect_bad(MP_WAIT_CONNECTION(NULL), EINVAL);
    expect_bad(MP_WAIT_PROCESS(NULL), EINVAL);
    expect_bad(MP_WAIT_POOL(NULL), EINVAL);
    expect_bad(MP_WAIT_QUEUE(NULL), EINVAL);
    expect_bad(MP_WAIT_FD(-1), EINVAL);
    expect_bad(MP_WAIT_FD(1000000), EBADF);
    expect_bad(MP_WAIT_CONNECTION(ends.out), EINVAL);
    mp_connection_close(ends.in);
    expect_bad(MP_WAIT_CONNECTION(ends.in), EINVAL);
    close_ends(&ends);
}

int main(void)
{
    static const struct CMUnitTest wait_tests[] = {
        TEST(test_many_senders), TEST(test_all_that_are_ready),
        TEST(test_kept_message), TEST(test_thousands),
        TEST(test_processes),    TEST(test_process_that_cant_be),
        TEST(test_pool),         TEST(test_queue),
        TEST(test_in_time),      TEST(test_misuse),
    };
    return TEST_MAIN(wait_tests);
}
