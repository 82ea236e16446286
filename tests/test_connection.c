/* SPDX-License-Identifier: MIT */
/* test_connection.c - messages over pipes and sockets. */
#include "support/wire.h"

#include <mp/mp.h>

static const mp_pipe_options *const kinds[] = {
    NULL,
    MP_PIPE_OPTIONS(.one_way = 1),
    MP_PIPE_OPTIONS(.read_ahead = 4096),
    MP_PIPE_OPTIONS(.one_way = 1, .read_ahead = 65536),
    MP_PIPE_OPTIONS(.one_way = 1, .read_ahead = 3),
    MP_PIPE_OPTIONS(.one_way = 1, .buffer_size = 1 << 20),
    MP_PIPE_OPTIONS(.buffer_size = 1 << 20),
    MP_PIPE_OPTIONS(.one_way = 1, .buffer_size = INT32_MAX),
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static const size_t sizes[] = {
    0,    1,     2,     3,     4,     5,     64,    4091,  4092,    4093,
    4096, 16383, 16384, 16385, 65535, 65536, 65537, 70000, 1 << 20, (1 << 20) + 1};

enum { SIZES = sizeof sizes / sizeof *sizes, BIGGEST = (1 << 20) + 1 };

/* The first end receives, and the second sends. */
struct ends {
    mp_connection *in, *out;
};

static struct ends open_ends(const mp_pipe_options *options)
{
    struct ends ends;

    assert_int_equal(mp_pipe(&ends.in, &ends.out, options), 0);
    return ends;
}

static void close_ends(struct ends *ends)
{
    mp_connection_free(ends->in);
    mp_connection_free(ends->out);
}

static void test_ends(void **state)
{
    (void)state;
    for (int one_way = 0; one_way < 2; one_way++) {
        struct ends ends = open_ends(MP_PIPE_OPTIONS(.one_way = one_way));
        int fd = -1, other = -1;

        assert_true(mp_connection_readable(ends.in));
        assert_true(mp_connection_writable(ends.out));
        assert_int_equal(mp_connection_writable(ends.in), !one_way);
        assert_int_equal(mp_connection_readable(ends.out), !one_way);
        assert_int_equal(mp_connection_fileno(ends.in, &fd), 0);
        assert_int_equal(mp_connection_fileno(ends.out, &other), 0);
        assert_true(fd > 2 && other > 2 && fd != other);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(fcntl(other, F_GETFD), FD_CLOEXEC);
        assert_false(mp_connection_closed(ends.in));
        for (int i = 0; i < 2; i++)
            assert_int_equal(mp_connection_close(ends.in), 0);
        assert_true(mp_connection_closed(ends.in));
        assert_false(mp_connection_readable(ends.in));
        assert_false(mp_connection_writable(ends.in));
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        close_ends(&ends);
    }
}

static int send_all_sizes(void *arg)
{
    struct ends *ends = arg;
    unsigned char *bytes = malloc(BIGGEST);

    mp_connection_close(ends->in);
    for (size_t i = 0; i < SIZES; i++) {
        fill(bytes, sizes[i], i);
        assert_int_equal(mp_connection_send(ends->out, bytes, sizes[i]), 0);
    }
    return 0;
}

static void test_all_sizes(void **state)
{
    (void)state;
    unsigned char *bytes = malloc(BIGGEST);

    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends(kinds[kind]);
        pid_t pid = child_start(send_all_sizes, &ends);
        size_t size = 4711;

        mp_connection_close(ends.out);
        for (size_t i = 0; i < SIZES; i++) {
            assert_int_equal(mp_connection_poll(ends.in, scaled(5000)), 0);
            assert_int_equal(mp_connection_recv(ends.in, bytes, BIGGEST, &size), 0);
            assert_int_equal(size, sizes[i]);
            assert_true(is_filled(bytes, size, i));
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(mp_connection_recv(ends.in, bytes, BIGGEST, &size), EPIPE);
            assert_int_equal(mp_connection_poll(ends.in, MP_FOREVER), 0);
        }
        assert_int_equal(child_wait(pid, 5000), 0);
        close_ends(&ends);
    }
    free(bytes);
}

/* The same, allocated, with the exact maximum. */
static void test_all_sizes_allocated(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends(kinds[kind]);
        pid_t pid = child_start(send_all_sizes, &ends);
        void *message = NULL;
        size_t size;

        mp_connection_close(ends.out);
        for (size_t i = 0; i < SIZES; i++) {
            size_t maximum = i % 2 ? sizes[i] : 0;
            if (sizes[i] > 1) {
                size = 0;
                assert_int_equal(
                    mp_connection_recv_alloc(ends.in, &message, &size, sizes[i] - 1),
                    EMSGSIZE);
                assert_int_equal(size, sizes[i]);
                assert_null(message);
            }
            assert_int_equal(
                mp_connection_recv_alloc(ends.in, &message, &size, maximum), 0);
            assert_int_equal(size, sizes[i]);
            assert_true(is_filled(message, size, i));
            assert_int_equal(((char *)message)[size], 0);
            free(message);
            message = NULL;
        }
        assert_int_equal(mp_connection_recv_alloc(ends.in, &message, &size, 0), EPIPE);
        assert_null(message);
        assert_int_equal(child_wait(pid, 5000), 0);
        close_ends(&ends);
    }
}

/* --- too small buffers ------------------------------------------------------------ */

static void test_too_small_a_buffer(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends(kinds[kind]);
        char buffer[16] = "untouched";
        void *message = NULL;
        size_t size;

        assert_int_equal(mp_connection_send(ends.out, "twelve bytes", 12), 0);
        assert_int_equal(mp_connection_send(ends.out, "next", 4), 0);
        for (size_t capacity = 0; capacity < 12; capacity++) {
            size = 0;
            assert_int_equal(
                mp_connection_recv(ends.in, capacity ? buffer : NULL, capacity, &size),
                EMSGSIZE);
            assert_int_equal(size, 12);
            assert_int_equal(mp_connection_poll(ends.in, MP_NOWAIT), 0);
        }
        assert_string_equal(buffer, "untouched");
        assert_int_equal(mp_connection_recv_alloc(ends.in, &message, &size, 11),
                         EMSGSIZE);
        assert_null(message);
        assert_int_equal(mp_connection_recv(ends.in, buffer, 12, &size), 0);
        assert_memory_equal(buffer, "twelve bytes", 12);
        assert_int_equal(mp_connection_recv(ends.in, buffer, 12, &size), 0);
        assert_int_equal(size, 4);
        assert_int_equal(mp_connection_poll(ends.in, MP_NOWAIT), ETIMEDOUT);
        /* An empty one needs no buffer. */
        assert_int_equal(mp_connection_send(ends.out, NULL, 0), 0);
        assert_int_equal(mp_connection_recv(ends.in, NULL, 0, &size), 0);
        assert_int_equal(size, 0);
        close_ends(&ends);
    }
}

/* --- poll ------------------------------------------------------------------------- */

static void test_poll(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ends ends = open_ends(kinds[kind]);
        char buffer[16];
        size_t size;

        int64_t start = now_ms();
        assert_int_equal(mp_connection_poll(ends.in, MP_NOWAIT), ETIMEDOUT);
        assert_true(now_ms() - start < scaled(500));
        start = now_ms();
        assert_int_equal(mp_connection_poll(ends.in, 100), ETIMEDOUT);
        assert_true(now_ms() - start >= 99);
        /* Two are not merged, and an empty one is one. */
        assert_int_equal(mp_connection_send(ends.out, "", 0), 0);
        assert_int_equal(mp_connection_send(ends.out, "second", 6), 0);
        for (size_t i = 0; i < 2; i++) {
            for (int again = 0; again < 3; again++)
                assert_int_equal(mp_connection_poll(ends.in, MP_FOREVER), 0);
            assert_int_equal(mp_connection_recv(ends.in, buffer, 16, &size), 0);
            assert_int_equal(size, 6 * i);
        }
        assert_int_equal(mp_connection_poll(ends.in, MP_NOWAIT), ETIMEDOUT);
        mp_connection_close(ends.out);
        assert_int_equal(mp_connection_poll(ends.in, MP_NOWAIT), 0);
        assert_int_equal(mp_connection_recv(ends.in, buffer, 16, &size), EPIPE);
        close_ends(&ends);
    }
}

/* --- bad input -------------------------------------------------------------------- */

static void test_bad_options(void **state)
{
    (void)state;
    mp_connection *first = NULL, *second = NULL;
    struct {
        mp_pipe_options options;
        size_t newer;
    } newer_pipe = {{.struct_size = sizeof newer_pipe}, 1};
    struct {
        mp_connection_options options;
        size_t newer;
    } newer = {{.struct_size = sizeof newer}, 1};
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(mp_pipe(NULL, &second, NULL), EINVAL);
    assert_int_equal(mp_pipe(&first, NULL, NULL), EINVAL);
    assert_int_equal(mp_pipe(&first, &second, &newer_pipe.options), EINVAL);
    assert_int_equal(mp_pipe(&first, &second, MP_PIPE_OPTIONS(.buffer_size = -1)),
                     EINVAL);
    assert_int_equal(mp_pipe(&first, &second, MP_PIPE_OPTIONS(.read_ahead = SIZE_MAX)),
                     ENOMEM);
    assert_int_equal(mp_connection_new(NULL, fds[0], NULL), EINVAL);
    assert_int_equal(mp_connection_new(&first, -1, NULL), EINVAL);
    assert_int_equal(mp_connection_new(&first, 1000000, NULL), EBADF);
    assert_int_equal(mp_connection_new(&first, fds[0], &newer.options), EINVAL);
    assert_int_equal(
        mp_connection_new(&first, fds[0],
                          MP_CONNECTION_OPTIONS(.no_read = 1, .no_write = 1)),
        EINVAL);
    /* The reading end of a pipe can't be for writing only. */
    assert_int_equal(
        mp_connection_new(&first, fds[0], MP_CONNECTION_OPTIONS(.no_read = 1)), EINVAL);
    assert_int_equal(mp_connection_new(&first, fds[0],
                                       MP_CONNECTION_OPTIONS(.read_ahead = SIZE_MAX)),
                     ENOMEM);
    assert_null(first);
    assert_null(second);
    /* What failed took nothing over. */
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

/* What none of the calls accepts: not for receiving, not for sending. */
static void expect_no_receiver(mp_connection *connection)
{
    void *message = NULL;
    char buffer[4];
    size_t size = 4711;
    int fd = -1;

    assert_int_equal(mp_connection_recv(connection, buffer, 4, &size), EINVAL);
    assert_int_equal(mp_connection_recv_alloc(connection, &message, &size, 0), EINVAL);
    assert_int_equal(mp_connection_poll(connection, MP_FOREVER), EINVAL);
    assert_int_equal(mp_connection_recv_handle(connection, &fd), EINVAL);
    assert_int_equal(size, 4711);
    assert_int_equal(fd, -1);
    assert_null(message);
}

static void expect_no_sender(mp_connection *connection)
{
    assert_int_equal(mp_connection_send(connection, "a", 1), EINVAL);
    assert_int_equal(mp_connection_send_handle(connection, 1), EINVAL);
}

static void test_misuse(void **state)
{
    (void)state;
    struct ends duplex = open_ends(NULL),
                ends = open_ends(MP_PIPE_OPTIONS(.one_way = 1));
    mp_connection *in = duplex.in;
    void *message = NULL;
    char buffer[4];
    size_t size;
    int fd = -1;

    mp_connection_free(NULL);
    assert_int_equal(mp_connection_close(NULL), EINVAL);
    assert_true(mp_connection_closed(NULL));
    assert_false(mp_connection_readable(NULL));
    assert_false(mp_connection_writable(NULL));
    assert_int_equal(mp_connection_fileno(NULL, &fd), EINVAL);
    assert_int_equal(mp_connection_fileno(in, NULL), EINVAL);
    expect_no_receiver(NULL);
    expect_no_sender(NULL);
    expect_no_receiver(ends.out);
    expect_no_sender(ends.in);
    assert_int_equal(mp_connection_send(in, NULL, 1), EINVAL);
    assert_int_equal(mp_connection_recv(in, NULL, 1, &size), EINVAL);
    assert_int_equal(mp_connection_recv(in, buffer, 1, NULL), EINVAL);
    assert_int_equal(mp_connection_recv_alloc(in, NULL, &size, 0), EINVAL);
    assert_int_equal(mp_connection_recv_alloc(in, &message, NULL, 0), EINVAL);
    assert_int_equal(mp_connection_poll(in, -2), EINVAL);
    assert_int_equal(mp_connection_poll(in, INT32_MIN), EINVAL);
    mp_connection_close(in);
    expect_no_receiver(in);
    expect_no_sender(in);
    assert_int_equal(mp_connection_fileno(in, &fd), EINVAL);
    assert_int_equal(fd, -1);
    close_ends(&duplex);
    close_ends(&ends);
}

/* Half of a duplex pipe, by option. */
static void test_half(void **state)
{
    (void)state;
    struct wire reader = open_wire(MP_CONNECTION_OPTIONS(.no_write = 1));
    struct wire writer =
        open_wire(MP_CONNECTION_OPTIONS(.no_read = 1, .read_ahead = 9));

    assert_false(mp_connection_writable(reader.connection));
    assert_false(mp_connection_readable(writer.connection));
    expect_no_sender(reader.connection);
    expect_no_receiver(writer.connection);
    assert_int_equal(mp_connection_send(writer.connection, "a", 1), 0);
    close_wire(&reader);
    close_wire(&writer);
}

/* A descriptor that does not block still makes a connection that does. */
static void test_non_blocking(void **state)
{
    (void)state;
    unsigned char *bytes = malloc(BIGGEST);

    for (int kind = 0; kind < 2; kind++) {
        struct ends ends = open_ends(kinds[kind]);
        size_t size;
        int fd = -1;

        assert_int_equal(mp_connection_fileno(ends.in, &fd), 0);
        assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        assert_int_equal(mp_connection_fileno(ends.out, &fd), 0);
        assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        pid_t pid = child_start(send_all_sizes, &ends);
        for (size_t i = 0; i < SIZES; i++) {
            assert_int_equal(mp_connection_recv(ends.in, bytes, BIGGEST, &size), 0);
            assert_true(size == sizes[i] && is_filled(bytes, size, i));
        }
        assert_int_equal(child_wait(pid, 5000), 0);
        close_ends(&ends);
    }
    free(bytes);
}

int main(void)
{
    static const struct CMUnitTest connection_tests[] = {
        TEST(test_ends),
        TEST(test_all_sizes),
        TEST(test_all_sizes_allocated),
        TEST(test_too_small_a_buffer),
        TEST(test_poll),
        TEST(test_bad_options),
        TEST(test_misuse),
        TEST(test_half),
        TEST(test_non_blocking),
    };
    return TEST_MAIN(connection_tests);
}
