/* SPDX-License-Identifier: MIT */
/* test_queue_poll.c - the descriptor of a queue. */
#include "support/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mp/mp.h>

struct stage {
    mp_queue *queue;
    mp_event *go, *back;
};

static mp_queue *open_queue(int *fd, const mp_queue_options *options)
{
    mp_queue *queue;

    assert_int_equal(mp_queue_new(&queue, options), 0);
    assert_int_equal(mp_queue_fileno(queue, fd), 0);
    return queue;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};

    return poll(&entry, 1, timeout_ms) == 1 && entry.revents & POLLIN;
}

static int put(mp_queue *queue)
{
    return mp_queue_put(queue, "x", 1, MP_NOWAIT);
}

static int get(mp_queue *queue)
{
    char byte;

    return mp_queue_get(queue, &byte, 1, NULL, MP_NOWAIT);
}

/* The descriptor is readable a moment before the message is there. */
static int poll_and_get(mp_queue *queue, int fd)
{
    int err = ETIMEDOUT;

    while (err == ETIMEDOUT && is_readable(fd, scaled(10000)))
        err = get(queue);
    return err;
}

static void test_errors(void **state)
{
    (void)state;
    int fd = 77;
    mp_queue *plain, *queue = open_queue(&fd, MP_QUEUE_OPTIONS(.pollable = 1));

    assert_true(fd > 2);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(mp_queue_new(&plain, NULL), 0);
    fd = 77;
    assert_int_equal(mp_queue_fileno(plain, &fd), ENOTSUP);
    assert_int_equal(mp_queue_fileno(NULL, &fd), EINVAL);
    assert_int_equal(mp_queue_fileno(queue, NULL), EINVAL);
    assert_int_equal(fd, 77);
    mp_queue_free(plain);
    mp_queue_free(queue);
}

/* Readable as long as there is something; a get that finds nothing ends it. */
static void test_readable(void **state)
{
    (void)state;
    int fd;
    mp_queue *queue = open_queue(&fd, MP_QUEUE_OPTIONS(.pollable = 1, .priorities = 3));

    assert_false(is_readable(fd, 0));
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 5; i++) {
            assert_int_equal(
                mp_queue_put_priority(queue, (unsigned)i % 3, "x", 1, MP_NOWAIT), 0);
            assert_true(is_readable(fd, 0));
        }
        for (int i = 0; i < 5; i++) {
            assert_true(is_readable(fd, 0));
            assert_int_equal(get(queue), 0);
        }
        assert_int_equal(get(queue), ETIMEDOUT);
        assert_false(is_readable(fd, 0));
        assert_int_equal(mp_queue_get(queue, NULL, 0, NULL, 1), ETIMEDOUT);
        assert_false(is_readable(fd, round == 0 ? 20 : 0));
    }
    mp_queue_free(queue);
}

static void test_close_is_readable(void **state)
{
    (void)state;
    int fd;
    mp_queue *queue = open_queue(&fd, MP_QUEUE_OPTIONS(.pollable = 1));

    assert_int_equal(put(queue), 0);
    assert_int_equal(get(queue), 0);
    assert_int_equal(get(queue), ETIMEDOUT);
    assert_false(is_readable(fd, 0));
    assert_int_equal(mp_queue_close(queue), 0);
    assert_true(is_readable(fd, 0));
    for (int i = 0; i < 3; i++)
        assert_int_equal(get(queue), EPIPE);
    assert_true(is_readable(fd, 0)); /* and stays so */
    mp_queue_free(queue);
}

static int put_in_child(void *arg)
{
    return put(arg);
}

static int close_in_child(void *arg)
{
    return mp_queue_close(arg);
}

static int look_in_child(void *arg)
{
    int fd;

    return mp_queue_fileno(arg, &fd) || poll_and_get(arg, fd);
}

static void test_between_processes(void **state)
{
    (void)state;
    int fd;
    mp_queue *queue = open_queue(&fd, MP_QUEUE_OPTIONS(.pollable = 1));

    for (int i = 0; i < 5; i++) {
        pid_t pid = child_start(put_in_child, queue);
        assert_int_equal(poll_and_get(queue, fd), 0);
        assert_int_equal(child_wait(pid, 5000), 0);
        assert_int_equal(get(queue), ETIMEDOUT);
        assert_false(is_readable(fd, 0));

        pid = child_start(look_in_child, queue);
        assert_int_equal(put(queue), 0);
        assert_int_equal(child_wait(pid, 5000), 0);
        assert_int_equal(get(queue), ETIMEDOUT);
        assert_false(is_readable(fd, 0));
    }
    pid_t pid = child_start(close_in_child, queue);
    assert_int_equal(poll_and_get(queue, fd), EPIPE);
    assert_int_equal(child_wait(pid, 5000), 0);
    assert_true(is_readable(fd, 0));
    mp_queue_free(queue);
}

enum { EACH = 3000, PARTIES = 3 };

static int put_thousands(void *arg)
{
    for (int i = 0; i < EACH; i++)
        if (mp_queue_put(arg, "x", 1, MP_FOREVER))
            return 1;
    return 0;
}

/* Sleeps in poll and nowhere else: who is not told is stuck. */
static int poll_thousands(void *arg)
{
    int fd, err = mp_queue_fileno(arg, &fd);

    while (!err) {
        if (!is_readable(fd, scaled(20000)))
            return 1;
        err = get(arg);
        if (err == ETIMEDOUT)
            err = 0;
    }
    return err == EPIPE ? 0 : err;
}

static void crowd(const mp_queue_options *options)
{
    int fd;
    mp_queue *queue = open_queue(&fd, options);
    pid_t putters[PARTIES], pollers[PARTIES];

    for (int i = 0; i < PARTIES; i++) {
        pollers[i] = child_start(poll_thousands, queue);
        putters[i] = child_start(put_thousands, queue);
    }
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(child_wait(putters[i], 30000), 0);
    assert_int_equal(mp_queue_close(queue), 0);
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(child_wait(pollers[i], 30000), 0);
    assert_true(mp_queue_empty(queue));
    mp_queue_free(queue);
}

static void test_nobody_sleeps_on(void **state)
{
    (void)state;
    crowd(MP_QUEUE_OPTIONS(.pollable = 1));
    crowd(MP_QUEUE_OPTIONS(.pollable = 1, .max_messages = 2));
}

/* Forked before there was the queue, and given its address. */
static int stranger(void *arg)
{
    struct stage *stage = arg;
    int fd = 77, decoy[2];
    size_t count;

    /* What it has under the same numbers is something else. */
    if (pipe(decoy) || mp_event_wait(stage->go, 10000))
        return 1;
    if (mp_queue_fileno(stage->queue, &fd) != EPERM || fd != 77)
        return 2;
    if (put(stage->queue) != EPERM ||
        mp_queue_put_many(stage->queue, &(struct iovec){"x", 1}, 1, &count, 0) != EPERM)
        return 3;
    if (mp_event_clear(stage->go) || mp_event_set(stage->back) ||
        mp_event_wait(stage->go, 10000))
        return 4;
    /* There is a message now: nobody needs to be told of a second one. */
    if (put(stage->queue) || get(stage->queue) || get(stage->queue) ||
        get(stage->queue) != ETIMEDOUT)
        return 5;
    if (mp_queue_close(stage->queue) || get(stage->queue) != EPIPE)
        return 6;
    return close(decoy[0]) || close(decoy[1]); /* nobody else did */
}

static void test_stranger(void **state)
{
    (void)state;
    struct stage *stage = mp_shared_alloc(sizeof *stage);
    int fd;

    assert_int_equal(mp_event_new(&stage->go, NULL), 0);
    assert_int_equal(mp_event_new(&stage->back, NULL), 0);
    pid_t pid = child_start(stranger, stage);
    stage->queue = open_queue(&fd, MP_QUEUE_OPTIONS(.pollable = 1));
    assert_int_equal(mp_event_set(stage->go), 0);
    assert_int_equal(mp_event_wait(stage->back, scaled(10000)), 0);
    assert_true(mp_queue_empty(stage->queue));
    assert_int_equal(put(stage->queue), 0);
    assert_int_equal(mp_event_set(stage->go), 0);
    assert_int_equal(child_wait(pid, 15000), 0);
    assert_true(mp_queue_closed(stage->queue));
    assert_int_equal(get(stage->queue), EPIPE);
    mp_queue_free(stage->queue);
    mp_event_free(stage->go);
    mp_event_free(stage->back);
    mp_shared_free(stage);
}

/* The child's descriptors go with the child, the creator's with the queue. */
static void test_free_closes(void **state)
{
    (void)state;
    int first, again;
    mp_queue *queue = open_queue(&first, MP_QUEUE_OPTIONS(.pollable = 1));

    assert_int_equal(put(queue), 0);
    mp_queue_free(queue);
    assert_int_equal(fcntl(first, F_GETFD), -1);
    queue = open_queue(&again, MP_QUEUE_OPTIONS(.pollable = 1));
    assert_int_equal(again, first);
    assert_false(is_readable(again, 0));
    mp_queue_free(queue);
}

static int without_descriptors(void *arg)
{
    struct rlimit limit = {0};
    mp_queue *queue = NULL;
    mp_shared_statistics before, after;

    (void)arg;
    assert_int_equal(mp_shared_stat(&before), 0);
    int next = dup(0);
    close(next);
    for (rlim_t more = 0; more < 2; more++) {
        limit.rlim_cur = limit.rlim_max = (rlim_t)next + 1 - more;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(mp_queue_new(&queue, MP_QUEUE_OPTIONS(.pollable = 1)), EMFILE);
        assert_null(queue);
        int same = dup(0);
        assert_true(more ? same < 0 : same == next);
        close(same);
    }
    assert_int_equal(mp_shared_stat(&after), 0);
    assert_int_equal(before.used, after.used);
    assert_int_equal(mp_queue_new(&queue, NULL), 0); /* which needs none */
    assert_int_equal(put(queue), 0);
    mp_queue_free(queue);
    return 0;
}

static void test_no_descriptors(void **state)
{
    (void)state;
    assert_int_equal(child_run(without_descriptors, NULL), 0);
}

int main(void)
{
    static const struct CMUnitTest queue_poll_tests[] = {
        TEST(test_errors),
        TEST(test_readable),
        TEST(test_close_is_readable),
        TEST(test_between_processes),
        TEST(test_nobody_sleeps_on),
        TEST(test_stranger),
        TEST(test_free_closes),
        TEST(test_no_descriptors),
    };

    return TEST_MAIN(queue_poll_tests);
}
