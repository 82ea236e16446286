/* SPDX-License-Identifier: MIT */
/* test_handles.c - descriptors that travel over a connection. */
#include "support/wire.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <mp/mp.h>

enum { MANY = MP_HANDLES_MAX };

/* A byte and control messages, as some program may send them. */
struct parcel {
    unsigned char number;
    int groups[2]; /* so many descriptors in each control message of their own */
    bool credentials;
};

static void put_parcel(int socket, const struct parcel *parcel)
{
    static union {
        struct cmsghdr aligned;
        unsigned char bytes[4096];
    } control;
    unsigned char number = parcel->number;
    struct iovec part = {&number, 1};
    struct msghdr all = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    struct cmsghdr *one = CMSG_FIRSTHDR(&all);
    size_t length = 0;

    memset(&control, 0, sizeof control);
    for (int group = 0; group < 2; group++) {
        size_t bytes = sizeof(int) * (size_t)parcel->groups[group];
        if (!bytes)
            continue;
        one->cmsg_level = SOL_SOCKET;
        one->cmsg_type = SCM_RIGHTS;
        one->cmsg_len = CMSG_LEN(bytes);
        for (int i = 0; i < parcel->groups[group]; i++)
            memcpy(CMSG_DATA(one) + sizeof(int) * (size_t)i, &socket, sizeof(int));
        length += CMSG_SPACE(bytes);
        one = (struct cmsghdr *)(void *)(control.bytes + length);
    }
    all.msg_controllen = length;
    if (!length)
        all.msg_control = NULL;
    assert_int_equal(sendmsg(socket, &all, 0), 1);
}

static bool is_same_file(int one, int other)
{
    struct stat a, b;

    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* --- one and many ----------------------------------------------------------------- */

static int send_one_of_own(void *arg)
{
    struct wire *wire = arg;
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(mp_connection_send_handle(wire->connection, fds[0]), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "through", 7), 7);
    return 0;
}

/* The sender is gone, and what it sent is still open. */
static void test_one(void **state)
{
    (void)state;
    mp_connection *ours, *theirs;
    char text[8] = "";
    int fd = -1;

    assert_int_equal(mp_pipe(&ours, &theirs, NULL), 0);
    struct wire wire = {theirs, -1};
    assert_int_equal(child_run(send_one_of_own, &wire), 0);
    assert_int_equal(mp_connection_recv_handle(ours, &fd), 0);
    assert_true(fd > 2);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(read(fd, text, 8), 7);
    assert_string_equal(text, "through");
    close(fd);
    mp_connection_close(theirs);
    assert_int_equal(mp_connection_recv_handle(ours, &fd), EPIPE);
    mp_connection_free(ours);
    mp_connection_free(theirs);
}

static void test_many(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 17, MANY};
    mp_connection *ours, *theirs;
    int sent[MANY], got[MANY];
    size_t count;

    assert_int_equal(mp_pipe(&ours, &theirs, NULL), 0);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (size_t k = 0; k < counts[i]; k++)
            sent[k] = (int)(k % 3);
        assert_int_equal(mp_connection_send_handles(ours, sent, counts[i]), 0);
        assert_int_equal(mp_connection_send(ours, "beside", 6), 0);
        assert_int_equal(mp_connection_recv_handles(theirs, got, MANY, &count), 0);
        assert_int_equal(count, counts[i]);
        for (size_t k = 0; k < count; k++) {
            assert_true(is_same_file(got[k], sent[k]));
            close(got[k]);
        }
        char text[8];
        assert_int_equal(mp_connection_recv(theirs, text, 8, &count), 0);
        assert_int_equal(count, 6);
    }
    mp_connection_free(ours);
    mp_connection_free(theirs);
}

/* Numbers that no fd_set has room for, and those of the standard streams. */
static int receive_oddly_numbered(void *arg)
{
    struct wire wire = open_wire(NULL);
    struct rlimit limit;
    int fd;

    (void)arg;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int high = fcntl(wire.fd, F_DUPFD, (int)limit.rlim_cur - 2);
    assert_true(high > 0);
    for (int i = 0; i < 3; i++)
        close(i);
    put_parcel(high, &(struct parcel){.number = 1, .groups = {1}});
    assert_int_equal(mp_connection_recv_handle(wire.connection, &fd), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fcntl(i, F_GETFD), -1);
    return fd > 2 && is_same_file(fd, high) ? 0 : 1;
}

static void test_odd_numbers(void **state)
{
    (void)state;
    assert_int_equal(child_run(receive_oddly_numbered, NULL), 0);
}

/* Byte for byte what Python's sendfds sends. */
static void test_wire(void **state)
{
    (void)state;
    struct wire wire = open_wire(NULL);
    union {
        struct cmsghdr aligned;
        unsigned char bytes[256];
    } control;
    char bytes[8];
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr all = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    int sent[3] = {0, 1, 2}, got[3];

    assert_int_equal(mp_connection_send_handles(wire.connection, sent, 3), 0);
    assert_int_equal(recvmsg(wire.fd, &all, 0), 1);
    assert_int_equal(bytes[0], 3);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&all);
    assert_non_null(rights);
    assert_int_equal(rights->cmsg_level, SOL_SOCKET);
    assert_int_equal(rights->cmsg_type, SCM_RIGHTS);
    assert_int_equal(rights->cmsg_len, CMSG_LEN(sizeof got));
    assert_null(CMSG_NXTHDR(&all, rights));
    memcpy(got, CMSG_DATA(rights), sizeof got);
    for (int i = 0; i < 3; i++)
        close(got[i]);
    close_wire(&wire);
}

/* --- what must not be accepted ---------------------------------------------------- */

/* Each of them is refused, at once and from then on, and nothing stays open. */
static void expect_refused(const struct parcel *parcel, size_t capacity)
{
    struct wire wire = open_wire(NULL);
    int fds[MANY] = {-1}, on = 1;
    size_t count = 4711;
    char text[4];

    if (parcel->credentials) {
        int fd;
        assert_int_equal(mp_connection_fileno(wire.connection, &fd), 0);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    }
    put_parcel(wire.fd, parcel);
    int before = open_fds();
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            mp_connection_recv_handles(wire.connection, fds, capacity, &count), EPROTO);
    assert_int_equal(open_fds(), before);
    assert_int_equal(mp_connection_recv(wire.connection, text, 4, &count), EPROTO);
    assert_int_equal(count, 4711);
    assert_int_equal(fds[0], -1);
    close_wire(&wire);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct parcel none = {.number = 1};
    static const struct parcel none_at_all = {.number = 0};
    static const struct parcel less_than_told = {.number = 3, .groups = {2}};
    static const struct parcel more_than_told = {.number = 1, .groups = {2}};
    static const struct parcel two_groups_miscounted = {.number = 1, .groups = {1, 1}};
    static const struct parcel text = {.number = 'x', .groups = {1}};
    static const struct parcel two = {.number = 2, .groups = {2}};
    static const struct parcel full = {.number = MANY, .groups = {MANY}};
    static const struct parcel credentials = {
        .number = 1, .groups = {1}, .credentials = true};
    static const struct parcel credentials_alone = {.number = 1, .credentials = true};

    expect_refused(&none, MANY);
    expect_refused(&none_at_all, MANY);
    expect_refused(&less_than_told, MANY);
    expect_refused(&more_than_told, MANY);
    expect_refused(&two_groups_miscounted, MANY);
    expect_refused(&text, MANY);
    expect_refused(&two, 1);
    expect_refused(&full, MANY - 1);
    expect_refused(&credentials, MANY);
    expect_refused(&credentials_alone, MANY);
}

/* There is room for some of them, or for none: they are lost, and nothing else. */
static int receive_without_room(void *arg)
{
    struct wire wire = open_wire(NULL);
    int room = *(int *)arg, sent = 3, fds[8], before = open_fds();
    size_t count;

    put_parcel(wire.fd, &(struct parcel){.number = 3, .groups = {sent}});
    put_parcel(wire.fd, &(struct parcel){.number = 1, .groups = {1}});
    struct rlimit limit, old;
    getrlimit(RLIMIT_NOFILE, &old);
    limit = old;
    limit.rlim_cur = (rlim_t)(wire.fd + 1 + room);
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(mp_connection_recv_handles(wire.connection, fds, 8, &count),
                     EMFILE);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(open_fds(), before);
    assert_int_equal(mp_connection_recv_handles(wire.connection, fds, 8, &count), 0);
    return count == 1 ? 0 : 1;
}

static void test_no_room(void **state)
{
    (void)state;
    for (int room = 0; room < 3; room++)
        assert_int_equal(child_run(receive_without_room, &room), 0);
}

/* Descriptors that come with a message which nobody expected to have any are not kept.
 */
static void test_smuggled(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        struct wire wire =
            open_wire(MP_CONNECTION_OPTIONS(.read_ahead = ahead ? 64 : 0));
        char text[4];
        size_t size;
        int before = open_fds();

        for (int i = 0; i < 5; i++)
            put_parcel(wire.fd, &(struct parcel){.number = i == 3, .groups = {10}});
        assert_int_equal(mp_connection_recv(wire.connection, text, 4, &size), 0);
        assert_int_equal(size, 1);
        assert_int_equal(open_fds(), before);
        close_wire(&wire);
    }
}

/* --- misuse ----------------------------------------------------------------------- */

static void test_misuse(void **state)
{
    (void)state;
    struct wire wire = open_wire(NULL),
                ahead = open_wire(MP_CONNECTION_OPTIONS(.read_ahead = 64));
    mp_connection *c = wire.connection;
    int fds[MANY + 1] = {0}, fd = -1;
    size_t count;

    assert_int_equal(mp_connection_send_handles(c, NULL, 1), EINVAL);
    assert_int_equal(mp_connection_send_handles(c, fds, 0), EINVAL);
    assert_int_equal(mp_connection_send_handles(c, fds, MANY + 1), EINVAL);
    assert_int_equal(mp_connection_recv_handles(c, NULL, 1, &count), EINVAL);
    assert_int_equal(mp_connection_recv_handles(c, fds, 1, NULL), EINVAL);
    assert_int_equal(mp_connection_recv_handles(c, fds, 0, &count), EINVAL);
    assert_int_equal(mp_connection_recv_handles(c, fds, MANY + 1, &count), EINVAL);
    assert_int_equal(mp_connection_recv_handle(c, NULL), EINVAL);
    assert_int_equal(mp_connection_send_handle(c, -1), EBADF);
    assert_int_equal(mp_connection_send_handle(c, 1000000), EBADF);
    /* Nothing of all that was sent. */
    assert_int_equal(recv(wire.fd, fds, 1, MSG_DONTWAIT), -1);
    assert_int_equal(mp_connection_recv_handle(ahead.connection, &fd), ENOTSUP);
    /* Inside a message. */
    put_bytes(&wire, "\0\0\0\2hi", 6);
    assert_int_equal(mp_connection_recv(c, NULL, 0, &count), EMSGSIZE);
    assert_int_equal(mp_connection_recv_handle(c, &fd), EBUSY);
    assert_int_equal(mp_connection_recv(c, fds, 2, &count), 0);
    hang_up(&wire);
    assert_int_equal(mp_connection_send_handle(c, 0), EPIPE);
    assert_int_equal(mp_connection_recv_handle(c, &fd), EPIPE);
    assert_int_equal(fd, -1);
    close_wire(&ahead);
    close_wire(&wire);
}

static void expect_not_supported(mp_connection *in, mp_connection *out)
{
    int fd = -1;

    assert_int_equal(mp_connection_send_handle(out, 0), ENOTSUP);
    assert_int_equal(mp_connection_recv_handle(in, &fd), ENOTSUP);
    assert_int_equal(fd, -1);
}

static void test_no_unix_socket(void **state)
{
    (void)state;
    mp_connection *in, *out;

    assert_int_equal(mp_pipe(&in, &out, MP_PIPE_OPTIONS(.one_way = 1)), 0);
    expect_not_supported(in, out);
    mp_connection_free(in);
    mp_connection_free(out);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        skip();
    assert_int_equal(mp_connection_new(&in, fd, NULL), 0);
    expect_not_supported(in, in);
    mp_connection_free(in);
}

int main(void)
{
    static const struct CMUnitTest handle_tests[] = {
        TEST(test_one),      TEST(test_many),    TEST(test_odd_numbers),
        TEST(test_wire),     TEST(test_refused), TEST(test_no_room),
        TEST(test_smuggled), TEST(test_misuse),  TEST(test_no_unix_socket),
    };
    return TEST_MAIN(handle_tests);
}
