/* SPDX-License-Identifier: MIT */
/* test_frame.c - messages in pieces, and with a deadline, as the listener uses them. */
#include "support/wire.h"

#include "base/clock.h"
#include "ipc/connection.h"

enum { HANDSHAKE = 256 };

static void test_header(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        size_t length;
        unsigned char header[MP__FRAME_HEADER];
    } known[] = {
        {0, 4, {0, 0, 0, 0}},
        {1, 4, {0, 0, 0, 1}},
        {16385, 4, {0, 0, 0x40, 1}},
        {0x7fffffff, 4, {0x7f, 0xff, 0xff, 0xff}},
        {0x80000000, 12, {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0}},
        {0x123456789abcdef0,
         12,
         {0xff, 0xff, 0xff, 0xff, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0}},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        unsigned char header[MP__FRAME_HEADER];
        size_t size = 4711;

        assert_int_equal(mp__frame_put(header, known[i].size), known[i].length);
        assert_memory_equal(header, known[i].header, known[i].length);
        for (size_t got = 0; got < 4; got++)
            assert_int_equal(mp__frame_length(header, got), 4);
        assert_int_equal(mp__frame_length(header, 4), known[i].length);
        int err = mp__frame_get(header, &size);
        if (known[i].size <= PTRDIFF_MAX) {
            assert_int_equal(err, 0);
            assert_true(size == known[i].size);
        } else {
            assert_int_equal(err, EPROTO);
            assert_int_equal(size, 4711);
        }
    }
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    struct wire wire = open_wire(NULL);
    unsigned char bytes[4 + HANDSHAKE] = {0, 0, 1, 0}, buffer[HANDSHAKE];
    struct mp__frame_in message;
    int fd;

    assert_int_equal(mp_connection_fileno(wire.connection, &fd), 0);
    fill(bytes + 4, HANDSHAKE, 7);
    mp__frame_in_begin(&message, buffer, HANDSHAKE);
    for (size_t i = 0; i < sizeof bytes; i++) {
        for (int again = 0; again < 2; again++)
            assert_int_equal(mp__frame_in_step(fd, &message), EAGAIN);
        put_bytes(&wire, bytes + i, 1);
    }
    put_bytes(&wire, "\0\0\0\0", 4);
    for (int again = 0; again < 2; again++)
        assert_int_equal(mp__frame_in_step(fd, &message), 0);
    assert_int_equal(message.size, HANDSHAKE);
    assert_true(is_filled(buffer, HANDSHAKE, 7));
    /* Not a byte of the next one was taken. */
    mp__frame_in_begin(&message, buffer, HANDSHAKE);
    assert_int_equal(mp__frame_in_step(fd, &message), 0);
    assert_int_equal(message.size, 0);
    hang_up(&wire);
    mp__frame_in_begin(&message, buffer, HANDSHAKE);
    assert_int_equal(mp__frame_in_step(fd, &message), EPIPE);
    close_wire(&wire);
}

/* What strangers may send instead of a message of at most 256 bytes. */
static void test_what_strangers_send(void **state)
{
    (void)state;
    static const struct {
        unsigned char bytes[13];
        size_t size;
        int error;
    } known[] = {
        {{0, 0, 1, 1}, 4, EMSGSIZE},
        {{0x7f, 0xff, 0xff, 0xff}, 4, EMSGSIZE},
        {{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0}, 12, EMSGSIZE},
        {{0x7f, 0xff, 0xff, 0xff, 1}, 5, EMSGSIZE},
        {{0xff, 0xff, 0xff, 0xfe}, 4, EPROTO},
        {{0x80, 0, 0, 0}, 4, EPROTO},
        {{0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, 12, EPROTO},
        {"GET ", 4, EMSGSIZE},
        {{0}, 0, EPIPE},
        {{0}, 1, EPROTO},
        {{0}, 3, EPROTO},
        {{0, 0, 0, 1}, 4, EPROTO},
        {{0xff, 0xff, 0xff, 0xff}, 4, EPROTO},
        {{0xff, 0xff, 0xff, 0xff, 0, 0, 0}, 11, EPROTO},
        {{0, 0, 0, 2, 'x'}, 5, EPROTO},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct wire wire = open_wire(NULL);
        unsigned char buffer[HANDSHAKE];
        struct mp__frame_in message;
        int fd;

        assert_int_equal(mp_connection_fileno(wire.connection, &fd), 0);
        put_bytes(&wire, known[i].bytes, known[i].size);
        hang_up(&wire);
        mp__frame_in_begin(&message, buffer, HANDSHAKE);
        assert_int_equal(mp__frame_in_step(fd, &message), known[i].error);
        close_wire(&wire);
    }
}

/* Out in pieces, as there is room, and in by the ordinary call. */
static void test_out_in_pieces(void **state)
{
    (void)state;
    enum { MUCH = 3 << 20 };
    struct wire wire = open_wire(NULL);
    unsigned char *bytes = malloc(MUCH), *got = malloc(4 + MUCH);
    struct mp__frame_out message;
    size_t there = 0;
    int fd, err, waits = 0;

    assert_int_equal(mp_connection_fileno(wire.connection, &fd), 0);
    fill(bytes, MUCH, 9);
    mp__frame_out_begin(&message, bytes, MUCH);
    do {
        err = mp__frame_out_step(fd, &message);
        assert_true(err == 0 || err == EAGAIN);
        waits += err != 0;
        ssize_t count = recv(wire.fd, got + there, 4 + MUCH - there, MSG_DONTWAIT);
        assert_true(count > 0);
        there += (size_t)count;
    } while (err || there < 4 + MUCH);
    assert_true(waits > 0);
    assert_memory_equal(got, "\0\x30\0\0", 4);
    assert_true(is_filled(got + 4, MUCH, 9));
    mp__frame_out_begin(&message, NULL, 0);
    assert_int_equal(mp__frame_out_step(fd, &message), 0);
    assert_int_equal(recv(wire.fd, got, 8, 0), 4);
    hang_up(&wire);
    mp__frame_out_begin(&message, "gone", 4);
    assert_int_equal(mp__frame_out_step(fd, &message), EPIPE);
    free(bytes);
    free(got);
    close_wire(&wire);
}

/* --- with a deadline -------------------------------------------------------------- */

static int64_t in_ms(int ms)
{
    int64_t deadline;

    assert_int_equal(mp__deadline(ms, &deadline), 0);
    return deadline;
}

static void test_recv_by(void **state)
{
    (void)state;
    struct wire wire = open_wire(NULL);
    mp_connection *c = wire.connection;
    char buffer[8];
    size_t size;

    int64_t start = now_ms();
    assert_int_equal(mp__connection_recv_by(c, buffer, 8, &size, in_ms(50)), ETIMEDOUT);
    assert_true(now_ms() - start >= 49);
    assert_int_equal(mp__connection_recv_by(c, buffer, 8, &size, in_ms(0)), ETIMEDOUT);
    /* What is there of a header is kept. */
    put_bytes(&wire, "\0\0", 2);
    assert_int_equal(mp__connection_recv_by(c, buffer, 8, &size, in_ms(5)), ETIMEDOUT);
    put_bytes(&wire, "\0\2", 2);
    assert_int_equal(mp__connection_recv_by(c, buffer, 8, &size, in_ms(5)), ETIMEDOUT);
    put_bytes(&wire, "hi", 2);
    assert_int_equal(mp__connection_recv_by(c, buffer, 8, &size, in_ms(0)), 0);
    assert_int_equal(size, 2);
    /* What went into a buffer is not. */
    put_bytes(&wire, "\0\0\0\2h", 5);
    assert_int_equal(mp__connection_recv_by(c, buffer, 8, &size, in_ms(5)), ETIMEDOUT);
    put_bytes(&wire, "i", 1);
    assert_int_equal(mp__connection_recv_by(c, buffer, 8, &size, in_ms(5)), EPROTO);
    assert_int_equal(mp_connection_recv(c, buffer, 8, &size), EPROTO);
    close_wire(&wire);
}

static void test_send_by(void **state)
{
    (void)state;
    static char much[1 << 22];
    struct wire wire = open_wire(NULL);
    mp_connection *c = wire.connection;

    assert_int_equal(mp__connection_send_by(c, "a", 1, in_ms(0)), 0);
    int64_t start = now_ms();
    assert_int_equal(mp__connection_send_by(c, much, sizeof much, in_ms(50)),
                     ETIMEDOUT);
    assert_true(now_ms() - start >= 49);
    /* Part of it has gone. */
    assert_int_equal(mp__connection_send_by(c, "a", 1, in_ms(50)), EPROTO);
    assert_int_equal(mp_connection_send(c, "a", 1), EPROTO);
    assert_int_equal(mp_connection_send_handle(c, 0), EPROTO);
    close_wire(&wire);
    /* And here nothing. */
    wire = open_wire(NULL);
    while (send(wire.fd, much, sizeof much, MSG_DONTWAIT) > 0)
        continue;
    mp_connection *full;
    assert_int_equal(mp__connection_adopt(&full, wire.fd), 0);
    wire.fd = -1;
    assert_int_equal(mp__connection_send_by(full, "a", 1, in_ms(20)), ETIMEDOUT);
    int fd;
    assert_int_equal(mp_connection_fileno(wire.connection, &fd), 0);
    while (recv(fd, much, sizeof much, MSG_DONTWAIT) > 0)
        continue;
    assert_int_equal(mp__connection_send_by(full, "a", 1, in_ms(20)), 0);
    mp_connection_free(full);
    close_wire(&wire);
}

int main(void)
{
    static const struct CMUnitTest frame_tests[] = {
        TEST(test_header),
        TEST(test_byte_by_byte),
        TEST(test_what_strangers_send),
        TEST(test_out_in_pieces),
        TEST(test_recv_by),
        TEST(test_send_by),
    };
    return TEST_MAIN(frame_tests);
}
