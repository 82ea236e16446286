/* SPDX-License-Identifier: MIT */
/* test_listener_peers.c - peers that are silent, slow, malformed, or gone. */
#include "support/door.h"

#include <sys/resource.h>
#include <sys/time.h>

#define LISTENER_KEY "secret"

enum { SILENT = 1000 };

struct crowd {
    struct visit visit;
    int count;
    int64_t took_ms;
};

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    while (connect(fd, (struct sockaddr *)&address, sizeof address))
        if (errno != EINTR && errno != EAGAIN)
            return -1;
    return fd;
}

/* Connect so many times, say nothing, and then come once more, as one ought to. */
static int be_silent_then_good(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 0; i < crowd->count; i++)
        if (connect_to(crowd->visit.address) < 0)
            return 1;
    int64_t start = now_ms();
    int err = say_hello(&crowd->visit);
    crowd->took_ms = now_ms() - start;
    return err;
}

static void allow_descriptors(rlim_t count)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* How long the good one took, in milliseconds. */
static int64_t wait_among_silent(void)
{
    struct crowd *crowd = shared_page(sizeof *crowd);
    mp_listener *door;
    mp_connection *connection;

    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY, .backlog = SILENT + 10)),
        0);
    crowd->visit = visit_of(door, LISTENER_KEY);
    crowd->count = SILENT;
    pid_t child = child_start(be_silent_then_good, crowd);
    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    answer_hello(connection);
    mp_connection_free(connection);
    assert_int_equal(child_wait(child, 20000), 0);
    assert_true(mp_listener_refused(door) >= SILENT - 64);
    mp_listener_free(door);
    int64_t took_ms = crowd->took_ms;
    shared_page_free(crowd, sizeof *crowd);
    return took_ms;
}

/* Those who say nothing keep nobody waiting.  Others may want the processors: three
 * tries. */
static void test_silent(void **state)
{
    struct rlimit before;
    int64_t took_ms = INT64_MAX;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    allow_descriptors(SILENT + 100);
    for (int i = 0; i < 3 && took_ms >= scaled(100); i++)
        took_ms = wait_among_silent();
    print_message("after %d silent peers a good one took %d ms\n", SILENT,
                  (int)took_ms);
    assert_true(took_ms < scaled(100));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* Nobody gives way before it has had its moment; that may be over when the system has
   kept us waiting, hence several tries. */
static void test_moment(void **state)
{
    mp_listener *door;
    mp_connection *connection;
    size_t refused = 1;

    (void)state;
    for (int i = 0; i < 50 && refused; i++) {
        assert_int_equal(
            mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY, .max_pending = 1)),
            0);
        int first = plain_connect(door);
        assert_int_equal(mp_listener_accept(door, &connection, MP_NOWAIT), ETIMEDOUT);
        int second = plain_connect(door);
        assert_int_equal(mp_listener_accept(door, &connection, MP_NOWAIT), ETIMEDOUT);
        refused = mp_listener_refused(door);
        assert_int_equal(mp_listener_accept(door, &connection, 20), ETIMEDOUT);
        assert_int_equal(mp_listener_refused(door), 1);
        close(first);
        close(second);
        mp_listener_free(door);
    }
    assert_int_equal(refused, 0);
}

/* Many send a promising message, a byte at a time and never to its end. */
static int be_slow(void *arg)
{
    static const unsigned char begin[] = {0,   0,   0,   200, '{', 's',
                                          'h', 'a', '2', '5', '6', '}'};
    struct crowd *crowd = arg;
    int fds[200];

    for (int i = 0; i < crowd->count; i++) {
        fds[i] = connect_to(crowd->visit.address);
        if (fds[i] < 0)
            return 1;
    }
    for (size_t turn = 0;; turn++) {
        int alive = 0;
        for (int i = 0; i < crowd->count; i++) {
            char byte = turn < sizeof begin ? (char)begin[turn] : 'x';
            alive += turn < 200 && send(fds[i], &byte, 1, MSG_NOSIGNAL) == 1;
        }
        if (!alive)
            return 0;
        usleep(5000);
    }
}

static void test_slow(void **state)
{
    struct crowd crowd = {.count = 200};
    mp_listener *door;
    mp_connection *connection;

    (void)state;
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY)), 0);
    crowd.visit = visit_of(door, LISTENER_KEY);
    pid_t slow = child_start(be_slow, &crowd);
    for (int i = 0; i < 20; i++) {
        pid_t good = child_start(say_hello, &crowd.visit);
        int64_t start = now_ms();
        assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
        assert_true(now_ms() - start < scaled(1000));
        answer_hello(connection);
        mp_connection_free(connection);
        assert_int_equal(child_wait(good, 20000), 0);
    }
    kill(slow, SIGKILL);
    assert_int_equal(child_wait(slow, 20000), -SIGKILL);
    mp_listener_free(door);
}

/* Slow ones that stay are left when their time is over, and not before. */
static void test_late(void **state)
{
    mp_listener *door;
    mp_connection *connection = NULL;
    struct pollfd polled = {.events = POLLIN};
    char byte;

    (void)state;
    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY, .handshake_ms = 150)), 0);
    polled.fd = plain_connect(door);
    assert_int_equal(send(polled.fd, "", 1, 0), 1);
    int64_t start = now_ms();
    assert_int_equal(mp_listener_accept(door, &connection, 100), ETIMEDOUT);
    assert_int_equal(mp_listener_refused(door), 0);
    assert_int_equal(mp_listener_accept(door, &connection, 200), ETIMEDOUT);
    assert_true(now_ms() - start >= 299);
    assert_int_equal(mp_listener_refused(door), 1);
    /* It got the challenge, and then the end. */
    for (int bytes = 0; bytes < 4 + 59; bytes++)
        assert_int_equal(recv(polled.fd, &byte, 1, 0), 1);
    assert_true(recv(polled.fd, &byte, 1, 0) <= 0);
    close(polled.fd);
    mp_listener_free(door);
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*s %ld", &pages), 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Send bytes as a peer, perhaps leave, and let the listener look. */
static void offer(mp_listener *door, const void *bytes, size_t size, bool leave)
{
    mp_connection *connection = NULL;
    size_t refused = mp_listener_refused(door);
    int fd = plain_connect(door);

    assert_int_equal(mp_listener_accept(door, &connection, MP_NOWAIT), ETIMEDOUT);
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
    if (leave)
        close(fd);
    for (int i = 0; i < 100 && mp_listener_refused(door) == refused; i++)
        assert_int_equal(mp_listener_accept(door, &connection, 1), ETIMEDOUT);
    assert_int_equal(mp_listener_refused(door), refused + 1);
    assert_null(connection);
    if (!leave)
        close(fd);
}

/* Messages that promise much, or make no sense, are refused at once, and cost nothing.
 */
static void test_lengths(void **state)
{
    static const unsigned char headers[][12] = {
        {0, 0, 0, 0},             /* nothing */
        {0, 0, 1, 1},             /* a byte more than allowed */
        {0x7f, 0xff, 0xff, 0xff}, /* 2^31 - 1 */
        {0x80, 0, 0, 0},
        {0xff, 0xff, 0xff, 0xfe},
        {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
        {0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0},
        {0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 1, 1},
        "GET / HTTP/",
        "\x16\x03\x01\x02",
    };
    mp_listener *door;

    (void)state;
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY)), 0);
    offer(door, headers[0], 4, false);
    long before = resident_kib();
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
            offer(door, headers[i], i == 0 ? 4 : 12, i % 2);
    assert_true(resident_kib() - before < 1024);
    welcome_one(door, LISTENER_KEY);
    mp_listener_free(door);
}

/* A right length and a wrong answer, whose bytes come one by one; and ends in between.
 */
static void test_broken_answers(void **state)
{
    unsigned char answer[4 + 40] = {0,   0,   0,   40,  '{', 's',
                                    'h', 'a', '2', '5', '6', '}'};
    mp_listener *door;
    uint64_t seed = 42;

    (void)state;
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY)), 0);
    offer(door, answer, sizeof answer, false);
    for (size_t size = 0; size < sizeof answer; size++)
        offer(door, answer, size, true);
    for (int round = 0; round < 500; round++) {
        for (size_t i = 4; i < sizeof answer; i++)
            answer[i] = (unsigned char)next_random(&seed);
        offer(door, answer, sizeof answer, round % 2);
    }
    welcome_one(door, LISTENER_KEY);
    mp_listener_free(door);
}

/* No descriptor for one more: told, not spun on, and over when there is one again. */
static void test_no_descriptors(void **state)
{
    struct rlimit before;
    mp_listener *door;
    mp_connection *connection = NULL;
    int spare[64], count = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int keyed = 0; keyed < 2; keyed++) {
        const char *key = keyed ? LISTENER_KEY : NULL;
        assert_int_equal(
            mp_listener_new(
                &door, NULL,
                MP_LISTENER_OPTIONS(.authkey = key, .authkey_size = keyed ? 6 : 0)),
            0);
        struct visit visit = visit_of(door, key);
        pid_t child = child_start(say_hello, &visit);
        assert_true(process_sleeps(child, 5000));
        allow_descriptors(64);
        for (count = 0; (spare[count] = dup(STDERR_FILENO)) >= 0; count++)
            assert_in_range(count, 0, 62);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(mp_listener_accept(door, &connection, scaled(5000)),
                             EMFILE);
            assert_null(connection);
        }
        close(spare[--count]);
        assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
        answer_hello(connection);
        mp_connection_free(connection);
        while (count)
            close(spare[--count]);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(child_wait(child, 20000), 0);
        connection = NULL;
        mp_listener_free(door);
    }
}

/* The descriptors that are left are held by the silent: they give way. */
static void test_silent_take_descriptors(void **state)
{
    struct rlimit before;
    mp_listener *door;
    mp_connection *connection = NULL;
    int fds[20], spare[64], count = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY)), 0);
    for (int i = 0; i < 20; i++)
        fds[i] = plain_connect(door);
    struct visit visit = visit_of(door, LISTENER_KEY);
    pid_t child = child_start(say_hello, &visit);
    assert_true(process_sleeps(child, 5000));
    allow_descriptors(64);
    for (; (spare[count] = dup(STDERR_FILENO)) >= 0; count++)
        assert_in_range(count, 0, 62);
    close(spare[--count]);
    close(spare[--count]);
    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    answer_hello(connection);
    mp_connection_free(connection);
    while (count)
        close(spare[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(child_wait(child, 20000), 0);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    mp_listener_free(door);
}

struct false_door {
    int fd;
    const char *bytes;
    size_t size;
    bool leave;
};

/* What listens there is no listener. */
static int serve_falsely(void *arg)
{
    const struct false_door *door = arg;
    int fd = accept(door->fd, NULL, NULL);

    if (fd < 0 ||
        send(fd, door->bytes, door->size, MSG_NOSIGNAL) != (ssize_t)door->size)
        return 1;
    if (!door->leave) {
        char byte;
        while (recv(fd, &byte, 1, 0) > 0)
            continue;
    }
    close(fd);
    return 0;
}

static void test_false_listeners(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool leave;
        int expected;
    } doors[] = {
        {"", 0, false, ETIMEDOUT},
        {"", 0, true, EPIPE},
        {"\0\0", 2, false, ETIMEDOUT},
        {"\0\0", 2, true, EACCES},
        {"\0\0\0\5hello", 9, false, EACCES},
        {"\0\0\0\x09#WELCOME#", 13, false, EACCES},
        {"\0\0\0\x09#FAILURE#", 13, false, EACCES},
        {"HTTP/1.1 400 Bad Request", 24, false, EACCES},
        {"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12, false, EACCES},
        {"\0\0\0\x13#CHALLENGE#{sha256}", 23, false, EACCES},
        {"\0\0\0\x1f#CHALLENGE#01234567890123456789", 35, false, EACCES},
        {"\0\0\0\x28#CHALLENGE#{sha1}01234567890123456789012", 44, false, EACCES},
        {"\0\0\0\x1f#CHALLENGE#{md5}678901234567890\0\0\0\x09#WELCOME#\0\0\0\0", 52,
         false, EACCES},
        {"\0\0\0\x1f#CHALLENGE#{md5}678901234567890\0\0\0\x09#WELCOME#", 48, false,
         ETIMEDOUT},
        {"\0\0\0\x1f#CHALLENGE#{md5}678901234567890\0\0\0\x09#FAILURE#", 48, false,
         EACCES},
        {"\0\0\0\x1f#CHALLENGE#{md5}678901234567890\0\0\0\x09#WELCOME#", 48, true,
         EPIPE},
    };
    char room[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct visit visit = {.key = LISTENER_KEY, .timeout_ms = scaled(100)};
    mp_connection *connection = NULL;

    (void)state;
    make_room(room);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/door", room);
    snprintf(visit.address, sizeof visit.address, "%s", address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 5), 0);
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
        struct false_door door = {fd, doors[i].bytes, doors[i].size, doors[i].leave};
        pid_t child = child_start(serve_falsely, &door);
        int64_t start = now_ms();
        int err = connect_as(&visit, &connection);
        if (err != doors[i].expected)
            print_message("false listener %d\n", (int)i);
        assert_int_equal(err, doors[i].expected);
        assert_true(now_ms() - start < scaled(3000));
        assert_null(connection);
        assert_int_equal(child_wait(child, 20000), 0);
    }
    /* Nobody takes the next ones out of the system's queue. */
    assert_int_equal(connect_as(&visit, &connection), ETIMEDOUT);
    close(fd);
    unlink(address.sun_path);
    assert_int_equal(rmdir(room), 0);
}

/* A queue that is full makes a client wait, until its time is over. */
static void test_full_queue(void **state)
{
    mp_listener *door;
    mp_connection *connection = NULL;
    int fds[2];

    (void)state;
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(.backlog = 1)),
                     0);
    for (int i = 0; i < 2; i++)
        fds[i] = plain_connect(door);
    struct visit visit = visit_of(door, NULL);
    visit.timeout_ms = 60;
    int64_t start = now_ms();
    assert_int_equal(connect_as(&visit, &connection), ETIMEDOUT);
    assert_true(now_ms() - start >= 59);
    for (int i = 0; i < 2; i++)
        close(fds[i]);
    assert_null(connection);
    mp_listener_free(door);
}

static void on_alarm(int number)
{
    (void)number;
}

/* Signals that come all the time end no call, and no call takes longer for it. */
static void test_signals(void **state)
{
    struct sigaction action = {.sa_handler = on_alarm}, saved;
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    mp_listener *door;
    mp_connection *connection = NULL;

    (void)state;
    assert_int_equal(sigaction(SIGALRM, &action, &saved), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY)), 0);
    int64_t start = now_ms();
    assert_int_equal(mp_listener_accept(door, &connection, 100), ETIMEDOUT);
    assert_true(now_ms() - start >= 99);
    struct visit visit = visit_of(door, LISTENER_KEY);
    visit.timeout_ms = 100;
    start = now_ms();
    assert_int_equal(connect_as(&visit, &connection), ETIMEDOUT);
    assert_true(now_ms() - start >= 99);
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &saved, NULL), 0);
    mp_listener_free(door);
}

int main(void)
{
    const struct CMUnitTest listener_peers[] = {
        TEST(test_silent),
        TEST(test_moment),
        TEST(test_slow),
        TEST(test_late),
        TEST(test_lengths),
        TEST(test_broken_answers),
        TEST(test_no_descriptors),
        TEST(test_silent_take_descriptors),
        TEST(test_false_listeners),
        TEST(test_full_queue),
        TEST(test_signals),
    };

    return TEST_MAIN(listener_peers);
}
