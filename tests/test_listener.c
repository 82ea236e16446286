/* SPDX-License-Identifier: MIT */
/* test_listener.c - listeners and clients of libmp's own: addresses, keys, time, files.
 */
#include "support/door.h"

static bool has_ip6(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6,
                               .sin6_addr = {.s6_addr = {[15] = 1}}};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

static void try_address(const char *address, const char *prefix, const char *from)
{
    mp_listener *door;

    for (int keyed = 0; keyed < 2; keyed++) {
        const char *key = keyed ? "secret" : NULL;
        assert_int_equal(
            mp_listener_new(
                &door, address,
                MP_LISTENER_OPTIONS(.authkey = key, .authkey_size = keyed ? 6 : 0)),
            0);
        assert_int_equal(strncmp(mp_listener_address(door), prefix, strlen(prefix)), 0);
        assert_string_equal(mp_listener_last_accepted(door), "");
        for (int i = 0; i < 3; i++) {
            welcome_one(door, key);
            const char *last = mp_listener_last_accepted(door);
            assert_int_equal(strncmp(last, from, strlen(from)), 0);
            assert_int_equal(*from == 0, *last == 0);
        }
        assert_int_equal(mp_listener_refused(door), 0);
        mp_listener_free(door);
    }
}

static void test_addresses(void **state)
{
    char room[64], path[128], back[256];

    (void)state;
    make_room(room);
    snprintf(path, sizeof path, "%s/door", room);
    try_address("localhost:0", "127.0.0.1:", "127.0.0.1:");
    try_address("127.0.0.1:0", "127.0.0.1:", "127.0.0.1:");
    try_address(":0", "0.0.0.0:", "127.0.0.1:");
    if (has_ip6())
        try_address("[::1]:0", "[::1]:", "[::1]:");
    try_address(path, path, "");
    try_address(NULL, "/", "");
    assert_non_null(getcwd(back, sizeof back));
    assert_int_equal(chdir(room), 0);
    try_address("unix:door", path, "");
    assert_int_equal(chdir(back), 0);
    assert_int_equal(rmdir(room), 0); /* nothing was left in it */
}

static void test_bad_addresses(void **state)
{
    static const char *const bad[] = {
        "",         "localhost", "localhost:",      "localhost:x",    "localhost:65536",
        "host:-1",  "host:+1",   "unix:",           "::1:80",         "[::1]",
        "[::1]80",  "[::1:80",   "[]:80",           "[localhost]:80", "a:b:80",
        "host: 80", "host:8 0",  "host:4294967297", "127.0.0.1:0x50", "[127.0.0.1]:80"};
    char path[200], room[64];
    mp_listener *door = NULL;
    mp_connection *connection = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mp_listener_new(&door, bad[i], NULL), EINVAL);
        assert_int_equal(mp_client(&connection, bad[i], NULL), EINVAL);
    }
    make_room(room);
    memset(path, 'x', sizeof path);
    memcpy(path, room, strlen(room));
    path[strlen(room)] = '/';
    path[108] = 0;
    assert_int_equal(mp_listener_new(&door, path, NULL), ENAMETOOLONG);
    assert_int_equal(mp_client(&connection, path, NULL), ENAMETOOLONG);
    path[107] = 0;
    assert_int_equal(mp_client(&connection, path, NULL), ENOENT);
    assert_int_equal(mp_listener_new(&door, path, NULL), 0);
    assert_string_equal(mp_listener_address(door), path);
    welcome_one(door, NULL);
    mp_listener_free(door);
    door = NULL;
    assert_int_equal(mp_listener_new(&door, "/no/such/place", NULL), ENOENT);
    assert_int_equal(mp_listener_new(&door, "192.0.2.1:0", NULL), EADDRNOTAVAIL);
    assert_null(door);
    assert_null(connection);
    assert_int_equal(rmdir(room), 0);
}

static void test_bad_input(void **state)
{
    mp_listener *door = NULL;
    mp_connection *connection = NULL;
    struct {
        mp_listener_options options;
        size_t more;
    } newer = {{.struct_size = sizeof newer}, 1};
    int fd = -7;

    (void)state;
    assert_int_equal(mp_listener_new(NULL, NULL, NULL), EINVAL);
    assert_int_equal(mp_listener_new(&door, NULL, &newer.options), EINVAL);
    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(.authkey_size = 1)), EINVAL);
    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(.digest = "sha1")), EINVAL);
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(.backlog = -1)),
                     EINVAL);
    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(.handshake_ms = -1)), EINVAL);
    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(.max_pending = 65537)),
        EINVAL);
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(.reserved = 1)),
                     EINVAL);
    assert_null(door);
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY)), 0);
    assert_int_equal(mp_listener_accept(NULL, &connection, 0), EINVAL);
    assert_int_equal(mp_listener_accept(door, NULL, 0), EINVAL);
    assert_int_equal(mp_listener_accept(door, &connection, -2), EINVAL);
    assert_int_equal(mp_listener_fileno(NULL, &fd), EINVAL);
    assert_int_equal(mp_listener_fileno(door, NULL), EINVAL);
    assert_int_equal(mp_listener_close(NULL), EINVAL);
    assert_string_equal(mp_listener_address(NULL), "");
    assert_string_equal(mp_listener_last_accepted(NULL), "");
    assert_int_equal(mp_listener_refused(NULL), 0);
    mp_listener_free(NULL);

    assert_int_equal(mp_client(NULL, "localhost:1", NULL), EINVAL);
    assert_int_equal(mp_client(&connection, NULL, NULL), EINVAL);
    assert_int_equal(
        mp_client(&connection, "localhost:1", MP_CLIENT_OPTIONS(.authkey_size = 1)),
        EINVAL);
    assert_int_equal(
        mp_client(&connection, "localhost:1", MP_CLIENT_OPTIONS(.digest = "md4")),
        EINVAL);
    assert_int_equal(
        mp_client(&connection, "localhost:1", MP_CLIENT_OPTIONS(.timeout_ms = -2)),
        EINVAL);
    assert_int_equal(
        mp_client(&connection, "localhost:1", MP_CLIENT_OPTIONS(.reserved = 1)),
        EINVAL);

    assert_int_equal(mp_listener_close(door), 0);
    assert_int_equal(mp_listener_close(door), 0);
    assert_string_equal(mp_listener_address(door), "");
    assert_int_equal(mp_listener_accept(door, &connection, 0), EINVAL);
    assert_int_equal(mp_listener_fileno(door, &fd), EINVAL);
    mp_listener_free(door);
    assert_null(connection);
    assert_int_equal(fd, -7);
}

static void test_nobody_comes(void **state)
{
    mp_listener *door;
    mp_connection *connection = NULL;

    (void)state;
    for (int keyed = 0; keyed < 2; keyed++) {
        assert_int_equal(
            mp_listener_new(&door, "127.0.0.1:0",
                            MP_LISTENER_OPTIONS(.authkey = keyed ? "" : NULL)),
            0);
        for (int ms = 0; ms <= 120; ms += 60) {
            int64_t start = now_ms();
            assert_int_equal(mp_listener_accept(door, &connection, ms), ETIMEDOUT);
            assert_true(now_ms() - start >= ms - 1);
            assert_true(now_ms() - start < scaled(1000));
        }
        struct visit visit = visit_of(door, NULL);
        mp_listener_free(door);
        assert_int_equal(connect_as(&visit, &connection), ECONNREFUSED);
    }
    assert_null(connection);
}

struct key_case {
    const char *listener, *client;
    int accepted, connected; /* what the two calls return */
};

struct key_visit {
    struct visit visit;
    int expected;
};

static int visit_with_key(void *arg)
{
    const struct key_visit *visit = arg;
    mp_connection *connection = NULL;
    char message[64];
    size_t size;
    int err = connect_as(&visit->visit, &connection);

    if (err != visit->expected)
        return 100 + err;
    /* A client without a key may find the challenge, and then the end. */
    if (!err && !visit->visit.key &&
        mp_connection_recv(connection, message, 64, &size) == 0)
        err = mp_connection_recv(connection, message, 64, &size) == EPIPE ? 0 : 99;
    mp_connection_free(connection);
    return err == visit->expected ? 0 : err;
}

/* Both sides are told within their time limits. */
static void test_keys(void **state)
{
    static const struct key_case cases[] = {
        {"secret", "secret", 0, 0},
        {"", "", 0, 0},
        {"secret", "Secret", ETIMEDOUT, EACCES},
        {"secret", "", ETIMEDOUT, EACCES},
        {"", "secret", ETIMEDOUT, EACCES},
        {"secret", NULL, ETIMEDOUT, 0},
        {NULL, "secret", 0, ETIMEDOUT},
        {NULL, NULL, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *key = cases[i].listener;
        mp_listener *door;
        mp_connection *connection = NULL;
        assert_int_equal(
            mp_listener_new(&door, NULL,
                            MP_LISTENER_OPTIONS(.authkey = key,
                                                .authkey_size = key ? strlen(key) : 0,
                                                .handshake_ms = scaled(300))),
            0);
        struct key_visit visit = {visit_of(door, cases[i].client), cases[i].connected};
        visit.visit.timeout_ms = scaled(300);
        pid_t child = child_start(visit_with_key, &visit);
        int64_t start = now_ms();
        assert_int_equal(mp_listener_accept(door, &connection, scaled(600)),
                         cases[i].accepted);
        assert_true(now_ms() - start < scaled(3000));
        if (connection && cases[i].client)
            assert_int_equal(child_wait(child, 20000), 0);
        mp_connection_free(connection);
        if (!connection || !cases[i].client)
            assert_int_equal(child_wait(child, 20000), 0);
        assert_int_equal(mp_listener_refused(door), cases[i].accepted ? 1 : 0);
        mp_listener_free(door);
    }
}

enum { LONG_KEY = 10000 };

struct long_key {
    char address[256];
    unsigned char *key;
};

static int connect_with_long_key(void *arg)
{
    struct long_key *visit = arg;
    mp_connection *connection = NULL;
    int err =
        mp_client(&connection, visit->address,
                  MP_CLIENT_OPTIONS(.authkey = visit->key, .authkey_size = LONG_KEY));

    mp_connection_free(connection);
    return err;
}

/* A key that is not text, and longer than a page. */
static void test_long_key(void **state)
{
    struct long_key visit = {.key = malloc(LONG_KEY)};
    mp_listener *door;
    mp_connection *connection;

    (void)state;
    assert_non_null(visit.key);
    for (int i = 0; i < LONG_KEY; i++)
        visit.key[i] = (unsigned char)(i % 251);
    assert_int_equal(mp_listener_new(&door, NULL,
                                     MP_LISTENER_OPTIONS(.authkey = visit.key,
                                                         .authkey_size = LONG_KEY)),
                     0);
    snprintf(visit.address, sizeof visit.address, "%s", mp_listener_address(door));
    pid_t child = child_start(connect_with_long_key, &visit);
    memset(visit.key, 0, LONG_KEY); /* the listener has a copy */
    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    mp_connection_free(connection);
    assert_int_equal(child_wait(child, 20000), 0);
    mp_listener_free(door);
    free(visit.key);
}

/* Time passes for those at the door only while somebody stands there. */
static void test_time_stands_still(void **state)
{
    mp_listener *door;
    mp_connection *connection;

    (void)state;
    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY, .handshake_ms = 200)), 0);
    struct visit visit = visit_of(door, "secret");
    pid_t child = child_start(say_hello, &visit);
    assert_true(process_sleeps(child, 5000));
    assert_int_equal(mp_listener_accept(door, &connection, MP_NOWAIT), ETIMEDOUT);
    usleep(300000);
    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    answer_hello(connection);
    mp_connection_free(connection);
    assert_int_equal(child_wait(child, 20000), 0);
    assert_int_equal(mp_listener_refused(door), 0);
    mp_listener_free(door);
}

/* A loop that has other things to wait for as well. */
static void test_fileno(void **state)
{
    mp_listener *door;
    mp_connection *connection = NULL;
    int fd, again;

    (void)state;
    assert_int_equal(mp_listener_new(&door, "localhost:0", MP_LISTENER_OPTIONS(KEY)),
                     0);
    assert_int_equal(mp_listener_fileno(door, &fd), 0);
    assert_int_equal(mp_listener_fileno(door, &again), 0);
    assert_int_equal(fd, again);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&polled, 1, 0), 0);
    struct visit visit = visit_of(door, "secret");
    pid_t child = child_start(say_hello, &visit);
    int err = ETIMEDOUT, turns = 0;
    for (; err == ETIMEDOUT && turns < 1000; turns++) {
#if defined(__linux__) && !defined(MP_PORTABLE)
        assert_int_equal(poll(&polled, 1, scaled(20000)), 1);
#else
        poll(&polled, 1, 5);
#endif
        err = mp_listener_accept(door, &connection, MP_NOWAIT);
    }
    assert_int_equal(err, 0);
    assert_int_equal(poll(&polled, 1, 0), 0); /* it is quiet again */
    answer_hello(connection);
    mp_connection_free(connection);
    assert_int_equal(child_wait(child, 20000), 0);
    mp_listener_free(door);
}

static int accept_in_child(void *arg)
{
    mp_listener *door = arg;
    mp_connection *connection;
    int err = mp_listener_accept(door, &connection, scaled(20000));

    if (!err) {
        answer_hello(connection);
        mp_connection_free(connection);
    }
    mp_listener_free(door);
    return err;
}

/* A child accepts with its copy, and leaves the parent's file and peers alone. */
static void test_fork(void **state)
{
    char room[64], path[128];
    mp_listener *door;
    mp_connection *connection;

    (void)state;
    make_room(room);
    snprintf(path, sizeof path, "%s/door", room);
    assert_int_equal(mp_listener_new(&door, path, MP_LISTENER_OPTIONS(KEY)), 0);
    struct visit visit = visit_of(door, "secret");

    /* This one's handshake has begun, and is the parent's. */
    pid_t first = child_start(say_hello, &visit);
    assert_true(process_sleeps(first, 5000));
    assert_int_equal(mp_listener_accept(door, &connection, MP_NOWAIT), ETIMEDOUT);

    pid_t server = child_start(accept_in_child, door);
    assert_true(process_sleeps(server, 5000));
    pid_t second = child_start(say_hello, &visit);
    assert_int_equal(child_wait(server, 20000), 0);
    assert_int_equal(child_wait(second, 20000), 0);
    assert_int_equal(access(path, F_OK), 0);

    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    answer_hello(connection);
    mp_connection_free(connection);
    assert_int_equal(child_wait(first, 20000), 0);
    mp_listener_free(door);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(room), 0);
}

static int close_standard_streams(void *arg)
{
    struct visit *visit = arg;
    mp_listener *door;
    mp_connection *here, *there;
    int fd;

    for (fd = 0; fd < 3; fd++)
        close(fd);
    if (mp_listener_new(&door, NULL, NULL))
        return 1;
    *visit = visit_of(door, NULL);
    if (connect_as(visit, &there) || mp_listener_accept(door, &here, 1000))
        return 2;
    int fds[3] = {-1, -1, -1};
    if (mp_connection_fileno(here, &fds[0]) || mp_connection_fileno(there, &fds[1]) ||
        mp_listener_fileno(door, &fds[2]))
        return 3;
    for (int i = 0; i < 3; i++)
        if (fds[i] < 3 || !(fcntl(fds[i], F_GETFD) & FD_CLOEXEC) ||
            (i < 2 && (fcntl(fds[i], F_GETFL) & O_NONBLOCK)))
            return 4;
    for (fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            return 5;
    mp_connection_free(here);
    mp_connection_free(there);
    mp_listener_free(door); /* Not on Linux it has a file. */
    return 0;
}

static void test_descriptors(void **state)
{
    struct visit visit = {.key = NULL};

    (void)state;
    assert_int_equal(child_run(close_standard_streams, &visit), 0);
}

static int deliver(void *arg)
{
    mp_connection **ends = arg;

    mp_connection_close(ends[1]);
    int err = mp_deliver_challenge(ends[0], "secret", 6, NULL);
    return err ? err : mp_answer_challenge(ends[0], "secret", 6, NULL);
}

static void test_challenges(void **state)
{
    mp_connection *ends[2];

    (void)state;
    for (int right = 0; right < 2; right++) {
        assert_int_equal(mp_pipe(&ends[0], &ends[1], NULL), 0);
        pid_t child = child_start(deliver, ends);
        mp_connection_close(ends[0]);
        int err = mp_answer_challenge(ends[1], "secret", right ? 6 : 5, NULL);
        assert_int_equal(err, right ? 0 : EACCES);
        if (right)
            assert_int_equal(
                mp_deliver_challenge(ends[1], "secret", 6,
                                     MP_CHALLENGE_OPTIONS(.digest = "sha3_384")),
                0);
        assert_int_equal(child_wait(child, 20000), right ? 0 : EACCES);
        mp_connection_free(ends[0]);
        mp_connection_free(ends[1]);
    }
    assert_int_equal(mp_pipe(&ends[0], &ends[1], NULL), 0);
    assert_int_equal(mp_deliver_challenge(NULL, "secret", 6, NULL), EINVAL);
    assert_int_equal(mp_answer_challenge(NULL, "secret", 6, NULL), EINVAL);
    assert_int_equal(mp_deliver_challenge(ends[0], NULL, 0, NULL), EINVAL);
    assert_int_equal(mp_answer_challenge(ends[0], NULL, 0, NULL), EINVAL);
    assert_int_equal(
        mp_deliver_challenge(ends[0], "k", 1, MP_CHALLENGE_OPTIONS(.digest = "x")),
        EINVAL);
    assert_int_equal(
        mp_deliver_challenge(ends[0], "k", 1, MP_CHALLENGE_OPTIONS(.timeout_ms = -2)),
        EINVAL);
    assert_int_equal(
        mp_deliver_challenge(ends[0], "k", 1, MP_CHALLENGE_OPTIONS(.timeout_ms = 20)),
        ETIMEDOUT);
    mp_connection_close(ends[1]);
    assert_int_equal(mp_deliver_challenge(ends[0], "k", 1, NULL), EPIPE);
    mp_connection_close(ends[0]);
    assert_int_equal(mp_deliver_challenge(ends[0], "k", 1, NULL), EINVAL);
    mp_connection_free(ends[0]);
    mp_connection_free(ends[1]);
    assert_int_equal(mp_pipe(&ends[0], &ends[1], MP_PIPE_OPTIONS(.one_way = 1)), 0);
    assert_int_equal(mp_deliver_challenge(ends[0], "k", 1, NULL), EINVAL);
    assert_int_equal(mp_answer_challenge(ends[1], "k", 1, NULL), EINVAL);
    mp_connection_free(ends[0]);
    mp_connection_free(ends[1]);
}

enum { CROWD = 200 };

static void welcome_crowd(mp_listener *door)
{
    struct visit visit = visit_of(door, "secret");
    mp_connection *connection;
    pid_t children[CROWD];

    for (int i = 0; i < CROWD; i++)
        children[i] = child_start(say_hello, &visit);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
        answer_hello(connection);
        mp_connection_free(connection);
    }
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(child_wait(children[i], 20000), 0);
    assert_int_equal(mp_listener_refused(door), 0);
}

/* Many more come at once than may be at the door; all are let in, for none is idle. */
static void test_crowd(void **state)
{
    mp_listener *door;

    (void)state;
    for (int backlog = 4; backlog <= CROWD; backlog += CROWD - 4) {
        assert_int_equal(
            mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY, .backlog = backlog)),
            0);
        welcome_crowd(door);
        mp_listener_free(door);
    }
}

int main(void)
{
    const struct CMUnitTest listener[] = {
        TEST(test_addresses),         TEST(test_bad_addresses), TEST(test_bad_input),
        TEST(test_nobody_comes),      TEST(test_keys),          TEST(test_long_key),
        TEST(test_time_stands_still), TEST(test_fileno),        TEST(test_fork),
        TEST(test_descriptors),       TEST(test_challenges),    TEST(test_crowd),
    };

    return TEST_MAIN(listener);
}
