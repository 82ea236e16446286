/* SPDX-License-Identifier: MIT */
/* test_connection_peers.c - connections whose other end dies, is shared, or is late. */
#include "support/wire.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include <mp/mp.h>

enum { MUCH = 4 << 20 }; /* more than any pipe takes at once */

struct stage {
    mp_connection *in, *out;
    _Atomic int passed;
};

static struct stage *open_stage(const mp_pipe_options *options)
{
    struct stage *stage = shared_page(sizeof *stage);

    assert_int_equal(mp_pipe(&stage->in, &stage->out, options), 0);
    return stage;
}

static void close_stage(struct stage *stage)
{
    mp_connection_free(stage->in);
    mp_connection_free(stage->out);
    shared_page_free(stage, sizeof *stage);
}

static const mp_pipe_options *kind(int number)
{
    static const mp_pipe_options one_way = {.struct_size = sizeof one_way,
                                            .one_way = 1};
    return number ? &one_way : NULL;
}

/* --- who is killed ---------------------------------------------------------------- */

static int send_much(void *arg)
{
    struct stage *stage = arg;
    unsigned char *bytes = calloc(1, MUCH);

    mp_connection_close(stage->in);
    stage->passed = 1;
    return mp_connection_send(stage->out, bytes, MUCH);
}

/* The rest of its message will never come. */
static void test_sender_is_killed_inside(void **state)
{
    (void)state;
    for (int number = 0; number < 2; number++) {
        struct stage *stage = open_stage(kind(number));
        pid_t pid = child_start(send_much, stage);
        void *message = NULL;
        size_t size;

        mp_connection_close(stage->out);
        assert_true(process_sleeps(pid, 5000));
        assert_int_equal(stage->passed, 1);
        kill(pid, SIGKILL);
        assert_int_equal(child_wait(pid, 5000), -SIGKILL);
        for (int i = 0; i < 2; i++)
            assert_int_equal(mp_connection_recv_alloc(stage->in, &message, &size, 0),
                             EPROTO);
        assert_null(message);
        close_stage(stage);
    }
}

static int send_and_stay(void *arg)
{
    struct stage *stage = arg;

    mp_connection_close(stage->in);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mp_connection_send(stage->out, "whole", 5), 0);
    return pause();
}

static void test_sender_is_killed_between(void **state)
{
    (void)state;
    for (int number = 0; number < 2; number++) {
        struct stage *stage = open_stage(kind(number));
        pid_t pid = child_start(send_and_stay, stage);
        char buffer[8];
        size_t size;

        mp_connection_close(stage->out);
        assert_int_equal(mp_connection_recv(stage->in, buffer, 8, &size), 0);
        assert_true(process_sleeps(pid, 5000));
        kill(pid, SIGKILL);
        assert_int_equal(child_wait(pid, 5000), -SIGKILL);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(mp_connection_recv(stage->in, buffer, 8, &size), 0);
            assert_int_equal(size, 5);
            assert_memory_equal(buffer, "whole", 5);
        }
        assert_int_equal(mp_connection_recv(stage->in, buffer, 8, &size), EPIPE);
        close_stage(stage);
    }
}

static int hold_in(void *arg)
{
    struct stage *stage = arg;

    mp_connection_close(stage->out);
    return pause();
}

/* Who waits in send learns that nobody will ever receive. */
static void test_receiver_is_killed(void **state)
{
    (void)state;
    for (int number = 0; number < 2; number++) {
        struct stage *stage = open_stage(kind(number));
        pid_t receiver = child_start(hold_in, stage);
        pid_t sender = child_start(send_much, stage);

        mp_connection_close(stage->in);
        assert_true(process_sleeps(receiver, 5000));
        assert_true(process_sleeps(sender, 5000));
        kill(receiver, SIGKILL);
        assert_int_equal(child_wait(receiver, 5000), -SIGKILL);
        assert_int_equal(child_wait(sender, 5000), EPIPE);
        close_stage(stage);
    }
}

/* A socket that is closed with something unread resets the other end: that is EPIPE. */
static void test_closed_with_something_unread(void **state)
{
    (void)state;
    struct stage *stage = open_stage(NULL);
    char buffer[8];
    size_t size;

    assert_int_equal(mp_connection_send(stage->in, "last", 4), 0);
    assert_int_equal(mp_connection_send(stage->out, "unread", 6), 0);
    mp_connection_close(stage->in);
    assert_int_equal(mp_connection_recv(stage->out, buffer, 8, &size), 0);
    assert_int_equal(size, 4);
    for (int i = 0; i < 2; i++)
        assert_int_equal(mp_connection_recv(stage->out, buffer, 8, &size), EPIPE);
    assert_int_equal(mp_connection_send(stage->out, "x", 1), EPIPE);
    close_stage(stage);
}

/* --- who shares ------------------------------------------------------------------- */

static int receive_one(void *arg)
{
    struct stage *stage = arg;
    char buffer[8];
    size_t size;

    int err = mp_connection_recv(stage->in, buffer, 8, &size);
    return err ? 100 : buffer[0];
}

/* Messages go to whoever receives them next, in whichever process. */
static void test_inherited_end(void **state)
{
    (void)state;
    for (int number = 0; number < 2; number++) {
        struct stage *stage = open_stage(kind(number));

        for (char i = 0; i < 20; i++)
            assert_int_equal(mp_connection_send(stage->out, &i, 1), 0);
        for (int i = 0; i < 20; i += 2) {
            assert_int_equal(child_run(receive_one, stage), i);
            assert_int_equal(receive_one(stage), i + 1);
        }
        close_stage(stage);
    }
}

enum { WRITERS = 4, EACH = 2000, ATOMIC = 4092 };

struct writer {
    struct stage *stage;
    int number;
};

static int write_atomically(void *arg)
{
    const struct writer *writer = arg;
    unsigned char bytes[ATOMIC];
    uint64_t seed = 88172645463325252u + (uint64_t)writer->number;

    mp_connection_close(writer->stage->in);
    for (int i = 0; i < EACH; i++) {
        size_t size = 1 + next_random(&seed) % ATOMIC;
        memset(bytes, writer->number, size);
        assert_int_equal(mp_connection_send(writer->stage->out, bytes, size), 0);
    }
    return 0;
}

/* Small messages of several writers on a pipe do not mix. */
static void test_writers_without_lock(void **state)
{
    (void)state;
    struct stage *stage = open_stage(kind(1));
    unsigned char buffer[ATOMIC];
    pid_t pids[WRITERS];
    int count = 0, err;
    size_t size;

    for (int i = 0; i < WRITERS; i++) {
        struct writer writer = {stage, i};
        pids[i] = child_start(write_atomically, &writer);
    }
    mp_connection_close(stage->out);
    for (;; count++) {
        err = mp_connection_recv(stage->in, buffer, ATOMIC, &size);
        if (err)
            break;
        assert_true(buffer[0] < WRITERS);
        for (size_t i = 1; i < size; i++)
            assert_true(buffer[i] == buffer[0]);
    }
    assert_int_equal(err, EPIPE);
    assert_int_equal(count, WRITERS * EACH);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(child_wait(pids[i], 10000), 0);
    close_stage(stage);
}

/* --- a sender and a receiver at once ---------------------------------------------- */

enum { ROUNDS = 5000 };

static void *send_in_thread(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        if (mp_connection_send(arg, &i, sizeof i) != 0)
            return arg;
    return NULL;
}

static int both_ways(void *end)
{
    pthread_t thread;
    void *failed;
    size_t size;

    if (pthread_create(&thread, NULL, send_in_thread, end) != 0)
        return 1;
    for (int i = 0, got; i < ROUNDS; i++)
        if (mp_connection_recv(end, &got, sizeof got, &size) != 0 || got != i)
            return 2;
    pthread_join(thread, &failed);
    return failed ? 3 : 0;
}

static void test_both_ways_at_once(void **state)
{
    (void)state;
    struct stage *stage = open_stage(NULL);

    leak_ignore_maps();
    pid_t pid = child_start(both_ways, stage->out);
    assert_int_equal(both_ways(stage->in), 0);
    assert_int_equal(child_wait(pid, 10000), 0);
    close_stage(stage);
}

/* --- descriptors ------------------------------------------------------------------ */

static int exhaust(void *arg)
{
    struct rlimit limit = {40, 40};
    mp_connection *first[40], *second[40], *none = NULL, *other = NULL;
    int made = 0, err;

    (void)arg;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (;; made++) {
        err = mp_pipe(&first[made], &second[made], kind(made % 2));
        if (err)
            break;
    }
    assert_int_equal(err, EMFILE);
    assert_true(made > 5);
    while (dup(STDOUT_FILENO) >= 0)
        continue;
    int fds = open_fds();
    for (int i = 0; i < 2; i++)
        assert_int_equal(mp_pipe(&none, &other, kind(i)), EMFILE);
    assert_int_equal(open_fds(), fds);
    assert_true(!none && !other);
    /* One descriptor is not enough for two ends. */
    mp_connection_free(first[0]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(mp_pipe(&none, &other, kind(i)), EMFILE);
    mp_connection_free(second[0]);
    return mp_pipe(&first[0], &second[0], NULL);
}

static void test_no_descriptors_left(void **state)
{
    (void)state;
    assert_int_equal(child_run(exhaust, NULL), 0);
}

/* A host without standard streams must not find a pipe in their place. */
static int without_standard_streams(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        close(i);
    for (int i = 0; i < 2; i++) {
        mp_connection *ends[2];
        if (mp_pipe(&ends[0], &ends[1], kind(i)) != 0)
            return 1;
        for (int end = 0, fd; end < 2; end++)
            if (mp_connection_fileno(ends[end], &fd) != 0 || fd < 3)
                return 2;
        for (int fd = 0; fd < 3; fd++)
            if (fcntl(fd, F_GETFD) >= 0)
                return 3;
    }
    return 0;
}

static void test_no_standard_streams(void **state)
{
    (void)state;
    assert_int_equal(child_run(without_standard_streams, NULL), 0);
}

/* A burst that was read ahead is known to poll, and the end comes after it. */
static void test_read_ahead(void **state)
{
    (void)state;
    struct stage *stage = open_stage(MP_PIPE_OPTIONS(.one_way = 1, .read_ahead = 1000));
    struct pollfd polled = {.events = POLLIN};
    int number;
    size_t size;

    assert_int_equal(mp_connection_fileno(stage->in, &polled.fd), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(mp_connection_send(stage->out, &i, sizeof i), 0);
    assert_int_equal(mp_connection_recv(stage->in, &number, sizeof number, &size), 0);
    assert_int_equal(poll(&polled, 1, 0), 0); /* all of it is on this side */
    mp_connection_close(stage->out);
    for (int i = 1; i < 100; i++) {
        mp_wait_item item = MP_WAIT_CONNECTION(stage->in);
        assert_int_equal(mp_wait(&item, 1, NULL, MP_FOREVER), 0);
        assert_int_equal(mp_connection_poll(stage->in, MP_NOWAIT), 0);
        assert_int_equal(mp_connection_recv(stage->in, &number, sizeof number, &size),
                         0);
        assert_int_equal(number, i);
    }
    assert_int_equal(mp_connection_recv(stage->in, &number, sizeof number, &size),
                     EPIPE);
    close_stage(stage);
}

int main(void)
{
    static const struct CMUnitTest peer_tests[] = {
        TEST(test_sender_is_killed_inside), TEST(test_sender_is_killed_between),
        TEST(test_receiver_is_killed),      TEST(test_closed_with_something_unread),
        TEST(test_inherited_end),           TEST(test_writers_without_lock),
        TEST(test_both_ways_at_once),       TEST(test_no_descriptors_left),
        TEST(test_no_standard_streams),     TEST(test_read_ahead),
    };
    return TEST_MAIN(peer_tests);
}
