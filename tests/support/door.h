/* SPDX-License-Identifier: MIT */
/* door.h - what the tests of listeners have in common. */
#ifndef TEST_DOOR_H
#define TEST_DOOR_H

#include "test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <mp/mp.h>

#define KEY .authkey = "secret", .authkey_size = 6

/* A listener and what a child is to do with its address. */
struct visit {
    char address[256];
    const char *key;
    int allow_legacy, timeout_ms;
    bool any_user;
};

/* Connect as told: 0, or what mp_client said. */
static inline int connect_as(const struct visit *visit, mp_connection **out)
{
    return mp_client(
        out, visit->address,
        MP_CLIENT_OPTIONS(.authkey = visit->key,
                          .authkey_size = visit->key ? strlen(visit->key) : 0,
                          .allow_legacy = visit->allow_legacy,
                          .any_user = visit->any_user,
                          .timeout_ms = visit->timeout_ms));
}

/* A child's body: connect, send a message, wait for the same, back to front. */
static inline int say_hello(void *arg)
{
    mp_connection *connection;
    char answer[16];
    size_t size;

    int err = connect_as(arg, &connection);
    if (!err)
        err = mp_connection_send(connection, "hello", 5);
    if (!err)
        err = mp_connection_recv(connection, answer, sizeof answer, &size);
    if (!err)
        err = size == 5 && !memcmp(answer, "olleh", 5) ? 0 : EPROTO;
    mp_connection_free(connection);
    return err;
}

static inline void answer_hello(mp_connection *connection)
{
    char message[16];
    size_t size;

    assert_int_equal(mp_connection_recv(connection, message, sizeof message, &size), 0);
    assert_int_equal(size, 5);
    assert_memory_equal(message, "hello", 5);
    assert_int_equal(mp_connection_send(connection, "olleh", 5), 0);
}

static inline struct visit visit_of(const mp_listener *door, const char *key)
{
    struct visit visit = {.key = key};

    snprintf(visit.address, sizeof visit.address, "%s", mp_listener_address(door));
    return visit;
}

/* Let one child in, who holds `key`. */
static inline void welcome_one(mp_listener *door, const char *key)
{
    struct visit visit = visit_of(door, key);
    mp_connection *connection;
    pid_t child = child_start(say_hello, &visit);

    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    answer_hello(connection);
    mp_connection_free(connection);
    assert_int_equal(child_wait(child, 20000), 0);
}

/* A socket connected to a Unix listener, for those who do not keep to the rules. */
static inline int plain_connect(const mp_listener *door)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s",
             mp_listener_address(door));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* A directory for a test's sockets. */
static inline void make_room(char room[64])
{
    snprintf(room, 64, "/tmp/mp-test-XXXXXX");
    assert_non_null(mkdtemp(room));
}

#endif
