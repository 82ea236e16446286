/* SPDX-License-Identifier: MIT */
/* test_connection_wire.c - what connections send and receive, byte for byte. */
#include "support/wire.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <mp/mp.h>

static const size_t sizes[] = {0,    1,    64,    4091,  4092,  4093,
                               4096, 8192, 16383, 16384, 16385, 65536};

enum { SIZES = sizeof sizes / sizeof *sizes };

/* Sockets and pipes that keep writes apart show that a small message is one of them. */
static void check_one_write(int from, int to, size_t size)
{
    static unsigned char bytes[4 + 65536], got[4 + 65536 + 1];
    mp_connection *connection;

    assert_int_equal(mp_connection_new(&connection, from, NULL), 0);
    fill(bytes, size, 3);
    assert_int_equal(mp_connection_send(connection, bytes, size), 0);
    assert_int_equal(read(to, got, sizeof got), (ssize_t)size + 4);
    const unsigned char header[] = {0, (unsigned char)(size >> 16),
                                    (unsigned char)(size >> 8), (unsigned char)size};
    assert_memory_equal(got, header, 4);
    assert_memory_equal(got + 4, bytes, size);
    mp_connection_free(connection);
    close(to);
}

static void test_header_and_message_are_one_write(void **state)
{
    (void)state;
    int fds[2];

    for (size_t i = 0; i < SIZES; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
        check_one_write(fds[0], fds[1], sizes[i]);
    }
#ifdef O_DIRECT
    for (size_t i = 0; sizes[i] <= 4092; i++) {
        assert_int_equal(pipe2(fds, O_DIRECT), 0);
        check_one_write(fds[1], fds[0], sizes[i]);
    }
#endif
}

/* A message of more than 2 GiB, of which nobody reads more than the beginning. */
static int read_beginning(void *arg)
{
    struct wire *wire = arg;
    static const unsigned char header[] = {0xff, 0xff, 0xff, 0xff, 0, 0,
                                           0,    0,    0x80, 0,    0, 5};
    unsigned char got[100];

    mp_connection_close(wire->connection);
    assert_int_equal(recv(wire->fd, got, sizeof got, MSG_WAITALL), sizeof got);
    assert_memory_equal(got, header, sizeof header);
    for (size_t i = sizeof header; i < sizeof got; i++)
        assert_int_equal(got[i], 0);
    return 0;
}

static void test_header_of_long_message(void **state)
{
    (void)state;
#if SIZE_MAX > UINT32_MAX
    const size_t size = ((size_t)1 << 31) + 5;
    void *much =
        mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct wire wire = open_wire(NULL);

    assert_true(much != MAP_FAILED);
    pid_t pid = child_start(read_beginning, &wire);
    hang_up(&wire);
    assert_int_equal(mp_connection_send(wire.connection, much, size), EPIPE);
    assert_int_equal(mp_connection_send(wire.connection, "", 1), EPIPE);
    assert_int_equal(child_wait(pid, 5000), 0);
    munmap(much, size);
    close_wire(&wire);
#endif
}

/* Whoever sends a short message with a long header is understood. */
static void test_long_header_of_short_message(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0xff, 0xff, 0xff, 0xff, 0,   0,   0,  0,
                                          0,    0,    0,    3,    'a', 'b', 'c'};
    struct wire wire = open_wire(NULL);
    char buffer[8];
    size_t size;

    put_bytes(&wire, bytes, sizeof bytes);
    assert_int_equal(mp_connection_recv(wire.connection, buffer, 2, &size), EMSGSIZE);
    assert_int_equal(size, 3);
    assert_int_equal(mp_connection_recv(wire.connection, buffer, 3, &size), 0);
    assert_memory_equal(buffer, "abc", 3);
    close_wire(&wire);
}

static int trickle(void *arg)
{
    struct wire *wire = arg;
    static const unsigned char bytes[] = {0, 0, 0, 2, 'h', 'i', 0,  0,
                                          0, 0, 0, 0, 0,   1,   '!'};

    for (size_t i = 0; i < sizeof bytes; i++) {
        put_bytes(wire, bytes + i, 1);
        usleep(2000);
    }
    return 0;
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct wire wire = open_wire(MP_CONNECTION_OPTIONS(.read_ahead = kind ? 5 : 0));
        pid_t pid = child_start(trickle, &wire);
        char buffer[4];
        size_t size;

        assert_int_equal(mp_connection_recv(wire.connection, buffer, 4, &size), 0);
        assert_int_equal(size, 2);
        assert_memory_equal(buffer, "hi", 2);
        assert_int_equal(mp_connection_recv(wire.connection, buffer, 4, &size), 0);
        assert_int_equal(size, 0);
        assert_int_equal(mp_connection_recv(wire.connection, buffer, 4, &size), 0);
        assert_int_equal(buffer[0], '!');
        assert_int_equal(child_wait(pid, 5000), 0);
        close_wire(&wire);
    }
}

/* What is no message is told, at once and from then on, whatever follows. */
static void expect_no_message(const unsigned char *bytes, size_t size)
{
    struct wire wire = open_wire(NULL);
    unsigned char buffer[8];
    void *message = NULL;
    size_t length = 4711;

    put_bytes(&wire, bytes, size);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mp_connection_recv(wire.connection, buffer, 8, &length),
                         EPROTO);
        assert_int_equal(
            mp_connection_recv_alloc(wire.connection, &message, &length, 0), EPROTO);
        assert_int_equal(mp_connection_poll(wire.connection, MP_FOREVER), 0);
        put_bytes(&wire, "\0\0\0\1x", 5);
    }
    assert_int_equal(length, 4711);
    assert_null(message);
    /* The other direction is all right. */
    assert_int_equal(mp_connection_send(wire.connection, "ok", 2), 0);
    close_wire(&wire);
}

static void test_what_is_no_message(void **state)
{
    (void)state;
    static const unsigned char headers[][12] = {
        {0xff, 0xff, 0xff, 0xfe},
        {0x80, 0, 0, 0},
        {0x80, 0, 0, 1},
        {0xff, 0, 0, 0},
        {0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0},
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
    };

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        expect_no_message(headers[i], sizeof headers[i]);
}

/* The stream ends after each of the bytes. */
static void test_end_inside_message(void **state)
{
    (void)state;
    static const unsigned char short_one[] = {0, 0, 0, 4, 'a', 'b', 'c', 'd'};
    static const unsigned char long_one[] = {0xff, 0xff, 0xff, 0xff, 0, 0,  0,
                                             0,    0,    0,    0,    2, 'a'};

    for (size_t i = 0; i < 2 * (sizeof short_one + sizeof long_one); i++) {
        const unsigned char *bytes = i % 2 ? long_one : short_one;
        struct wire wire =
            open_wire(MP_CONNECTION_OPTIONS(.read_ahead = i % 4 < 2 ? 0 : 100));
        int expected = i < 4 ? EPIPE : EPROTO;
        unsigned char buffer[8];
        size_t size = 4711, there = i / 4;

        if (there < (i % 2 ? sizeof long_one + 1 : sizeof short_one)) {
            put_bytes(&wire, bytes, there);
            hang_up(&wire);
            for (int again = 0; again < 2; again++)
                assert_int_equal(mp_connection_recv(wire.connection, buffer, 8, &size),
                                 expected);
            assert_int_equal(size, 4711);
        }
        close_wire(&wire);
    }
}

/* A peer that promises much gets no memory for it: here there is none to get. */
static int receive_promise(void *arg)
{
    const unsigned char *header = arg;
    struct rlimit little = {(rlim_t)1 << 28, (rlim_t)1 << 28};
    struct wire wire = open_wire(NULL);
    void *message;
    size_t size;

    if (!SANITIZED)
        assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    put_bytes(&wire, header, 12);
    put_bytes(&wire, "some", 4);
    assert_int_equal(
        mp_connection_recv_alloc(wire.connection, &message, &size, 1 << 20), EMSGSIZE);
    assert_true(size > 1 << 30);
    hang_up(&wire);
    assert_int_equal(mp_connection_recv_alloc(wire.connection, &message, &size, 0),
                     EPROTO);
    close_wire(&wire);
    return 0;
}

static void test_promises(void **state)
{
    (void)state;
    static unsigned char headers[][12] = {
        {0x7f, 0xff, 0xff, 0xff},
        {0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0, 0, 0, 0, 0},
        {0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
    };

    leak_ignore_arena();
    for (size_t i = 0; i < (SIZE_MAX > UINT32_MAX ? 3 : 1); i++)
        assert_int_equal(child_run(receive_promise, headers[i]), 0);
}

static void test_poll_of_a_part(void **state)
{
    (void)state;
    struct wire wire = open_wire(NULL);

    put_bytes(&wire, "", 1);
    assert_int_equal(mp_connection_poll(wire.connection, MP_FOREVER), 0);
    close_wire(&wire);
}

int main(void)
{
    static const struct CMUnitTest wire_tests[] = {
        TEST(test_header_and_message_are_one_write),
        TEST(test_header_of_long_message),
        TEST(test_long_header_of_short_message),
        TEST(test_byte_by_byte),
        TEST(test_what_is_no_message),
        TEST(test_end_inside_message),
        TEST(test_promises),
        TEST(test_poll_of_a_part),
    };
    return TEST_MAIN(wire_tests);
}
