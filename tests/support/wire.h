/* SPDX-License-Identifier: MIT */
/* wire.h - the other end of a connection, byte for byte, for tests. */
#ifndef TEST_WIRE_H
#define TEST_WIRE_H

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mp/connection.h>

#include "test.h"

/* A connection, and the descriptor of its other end. */
struct wire {
    mp_connection *connection;
    int fd;
};

static inline struct wire open_wire(const mp_connection_options *options)
{
    struct wire wire;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(mp_connection_new(&wire.connection, fds[0], options), 0);
    wire.fd = fds[1];
    return wire;
}

static inline void close_wire(struct wire *wire)
{
    mp_connection_free(wire->connection);
    if (wire->fd >= 0)
        close(wire->fd);
}

static inline void put_bytes(struct wire *wire, const void *bytes, size_t size)
{
    assert_int_equal(write(wire->fd, bytes, size), (ssize_t)size);
}

static inline void hang_up(struct wire *wire)
{
    close(wire->fd);
    wire->fd = -1;
}

/* The bytes of a message, which tell its number and their places. */
static inline unsigned char byte_at(size_t number, size_t place)
{
    return (unsigned char)(number * 31 + place * 7 + place / 251);
}

static inline void fill(unsigned char *bytes, size_t size, size_t number)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(number, i);
}

static inline bool is_filled(const unsigned char *bytes, size_t size, size_t number)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_at(number, i))
            return false;
    return true;
}

/* How many descriptors this process has, of the first thousand; takes none itself. */
static inline int open_fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 1000; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

#endif
