/* SPDX-License-Identifier: MIT */
/*
 * test_connections.c - messages to and from Python, over all that carries them.
 *
 * `test_interop_connections huge` sends messages on both sides of 2 GiB as well, which
 * takes some 5 GiB of memory: the nightly run does.  `echo <fd>` is what Python starts.
 */
#include "interop/python.h"
#include "support/door.h"

#define SCRIPT       "connections.py"
#define COUNT(array) (sizeof(array) / sizeof *(array))

static char program[1024];
static bool huge;

static void say(mp_connection *connection, const char *text)
{
    assert_int_equal(mp_connection_send(connection, text, strlen(text)), 0);
}

/* Python's end of a connection is inherited; ours is returned. */
static mp_connection *join(const mp_pipe_options *options, mp_connection **theirs,
                           int *fd)
{
    mp_connection *ours;

    assert_int_equal(mp_pipe(&ours, theirs, options), 0);
    assert_int_equal(mp_connection_fileno(*theirs, fd), 0);
    return ours;
}

struct pair {
    mp_connection *ours;
    struct script script;
};

static struct pair start(const struct python *python, const char *function,
                         const mp_pipe_options *options, const char *argument)
{
    struct pair pair;
    mp_connection *theirs;
    char number[16];
    int fd;

    pair.ours = join(options, &theirs, &fd);
    snprintf(number, sizeof number, "%d", fd);
    pair.script = python_start(python, SCRIPT, function, fd, number, argument, NULL);
    mp_connection_free(theirs);
    return pair;
}

static void end(struct pair *pair)
{
    mp_connection_free(pair->ours);
    python_ends(&pair->script);
}

/* --- sizes ------------------------------------------------------------------------ */

static const size_t sizes[] = {0,     1,     3,     4,     4092,  4093,    16383,
                               16384, 16385, 65535, 65536, 65537, 1 << 20, 64 << 20};

static void send_sizes(mp_connection *connection)
{
    for (size_t i = 0; i < COUNT(sizes); i++)
        send_pattern(connection, sizes[i], i);
}

static void expect_sizes(mp_connection *connection)
{
    for (size_t i = 0; i < COUNT(sizes); i++)
        expect_pattern(connection, sizes[i], i);
}

static void both_ways(mp_connection *connection)
{
    send_sizes(connection);
    expect_sizes(connection);
}

static void test_pipe(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct pair pair = start(python, "inherited", NULL, NULL);
        both_ways(pair.ours);
        end(&pair);
    }
}

/* A one-way pipe, whose second end sends. */
static void test_one_way(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct pair pair = start(python, "writer", MP_PIPE_OPTIONS(.one_way = 1), NULL);
        unsigned char none;
        size_t size;
        expect_sizes(pair.ours);
        assert_int_equal(mp_connection_recv(pair.ours, &none, 1, &size), EPIPE);
        end(&pair);

        mp_connection *reader, *writer;
        char number[16];
        int fd;
        assert_int_equal(mp_pipe(&reader, &writer, MP_PIPE_OPTIONS(.one_way = 1)), 0);
        assert_int_equal(mp_connection_fileno(reader, &fd), 0);
        snprintf(number, sizeof number, "%d", fd);
        pair.script = python_start(python, SCRIPT, "reader", fd, number, NULL);
        mp_connection_free(reader);
        pair.ours = writer;
        send_sizes(writer);
        end(&pair);
    }
}

/* With and without reading ahead, over TCP ("host:port") and a Unix socket. */
static void let_in(const struct python *python, const char *address)
{
    mp_listener *door;
    mp_connection *connection;
    char host[256], *port;

    assert_int_equal(mp_listener_new(&door, address, NULL), 0);
    snprintf(host, sizeof host, "%s", mp_listener_address(door));
    port = address ? strrchr(host, ':') : host + strlen(host);
    if (address)
        *port++ = 0;
    struct script script =
        python_start(python, SCRIPT, "client", NOTHING_KEPT, host, port, NULL);
    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    both_ways(connection);
    mp_connection_free(connection);
    mp_listener_free(door);
    python_ends(&script);
}

static void go_to(const struct python *python, const char *host)
{
    mp_connection *connection;
    struct script script =
        python_start(python, SCRIPT, "listener", NOTHING_KEPT, host, NULL);

    assert_int_equal(mp_client(&connection, python_line(&script), NULL), 0);
    both_ways(connection);
    mp_connection_free(connection);
    python_ends(&script);
}

static void test_sockets(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        let_in(python, "localhost:0");
        let_in(python, NULL);
        go_to(python, "127.0.0.1");
        go_to(python, "");
    }
}

/* Small messages that come faster than they are received, and the other way round. */
static void test_burst(void **state)
{
    static const size_t read_ahead[] = {0, 100, 65536};
    enum { BURST = 2000 };

    (void)state;
    for (size_t i = 0; i < python_count * COUNT(read_ahead); i++) {
        struct pair pair = start(
            &pythons[i / COUNT(read_ahead)], "burst",
            MP_PIPE_OPTIONS(.read_ahead = read_ahead[i % COUNT(read_ahead)]), "2000");
        for (size_t number = 0; number < BURST; number++)
            expect_pattern(pair.ours, number % 100, number);
        for (size_t number = 0; number < BURST; number++)
            send_pattern(pair.ours, number % 100, number);
        end(&pair);
    }
}

/* Python's subprocess, with pass_fds, starts this program. */
static void test_started_by_python(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct script script =
            python_start(python, SCRIPT, "start", NOTHING_KEPT, program, NULL);
        python_says(&script, "0");
        python_ends(&script);
    }
}

static int be_started(int fd)
{
    mp_connection *connection;
    void *message;
    size_t size;

    int err = mp_connection_new(&connection, fd, NULL);
    while (!err && !(err = mp_connection_recv_alloc(connection, &message, &size, 0))) {
        err = mp_connection_send(connection, message, size);
        free(message);
    }
    mp_connection_free(connection);
    return err == EPIPE ? 0 : 1;
}

/* The last length of the short header, the first of the long one, and one more. */
static void test_beyond_2_gib(void **state)
{
    static const size_t huge_sizes[] = {0x7fffffff, 0x80000000, 0x80000005};

    (void)state;
    if (!huge) {
        print_message("SKIPPED: messages of 2 GiB are for the nightly run\n");
        skip();
    }
    FOR_EACH_PYTHON(python)
    {
        for (size_t i = 0; i < COUNT(huge_sizes); i++) {
            char number[32];
            snprintf(number, sizeof number, "%zu", huge_sizes[i]);
            struct pair pair = start(python, "huge", NULL, number);
            send_pattern(pair.ours, huge_sizes[i], 0);
            expect_pattern(pair.ours, huge_sizes[i], 0);
            end(&pair);
        }
    }
}

/* --- objects ---------------------------------------------------------------------- */

/* 5 as an object: the protocol's number is Python's own. */
static void expect_five(mp_connection *connection)
{
    unsigned char five[16];
    size_t size;

    assert_int_equal(mp_connection_recv(connection, five, sizeof five, &size), 0);
    assert_int_equal(size, 5);
    assert_int_equal(five[0], 0x80);
    assert_in_range(five[1], 3, 5);
    assert_memory_equal(five + 2, "K\5.", 3);
    assert_int_equal(mp_connection_send(connection, five, size), 0);
}

/* What Python sends with send() arrives as the bytes of its pickle, and may go back. */
static void test_objects(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct pair pair = start(python, "objects", NULL, NULL);
        expect_five(pair.ours);
        for (int i = 1; i < 6; i++) {
            unsigned char *message;
            size_t size;
            assert_int_equal(
                mp_connection_recv_alloc(pair.ours, (void **)&message, &size, 0), 0);
            assert_int_equal(message[0], 0x80);
            assert_int_equal(message[size - 1], '.');
            assert_int_equal(mp_connection_send(pair.ours, message, size), 0);
            free(message);
        }
        assert_int_equal(mp_connection_send(pair.ours, "\x80\3K\5.", 5), 0);
        say(pair.ours, "no object");
        end(&pair);
    }
}

/* --- waiting ---------------------------------------------------------------------- */

/* multiprocessing.connection.wait, at a socket pair and at TCP. */
static void test_python_waits(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        mp_listener *door;
        mp_connection *second;
        assert_int_equal(mp_listener_new(&door, "127.0.0.1:0", NULL), 0);
        struct pair pair =
            start(python, "waiting", NULL, strrchr(mp_listener_address(door), ':') + 1);
        assert_int_equal(mp_listener_accept(door, &second, scaled(20000)), 0);
        python_says(&pair.script, "0");
        say(second, "hello");
        python_says(&pair.script, "True");
        python_says(&pair.script, "hello");
        mp_connection_close(pair.ours);
        say(second, "again");
        python_says(&pair.script, "True again False");
        mp_connection_free(second);
        mp_listener_free(door);
        end(&pair);
    }
}

/* mp_wait for a message of Python's, and for its end. */
static void test_we_wait(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct pair pair = start(python, "talking", NULL, NULL);
        mp_wait_item item = MP_WAIT_CONNECTION(pair.ours);
        char text[4];
        size_t size;
        for (int i = 0; i < 3; i++) {
            assert_int_equal(mp_wait(&item, 1, NULL, 20), ETIMEDOUT);
            say(pair.ours, "?");
            assert_int_equal(mp_wait(&item, 1, NULL, scaled(20000)), 0);
            assert_int_equal(mp_connection_recv(pair.ours, text, 4, &size), 0);
        }
        say(pair.ours, "go");
        assert_int_equal(mp_wait(&item, 1, NULL, scaled(20000)), 0);
        assert_int_equal(mp_connection_recv(pair.ours, text, 4, &size), EPIPE);
        end(&pair);
    }
}

/* --- ends ------------------------------------------------------------------------- */

/* Python is killed between two messages, and inside of one. */
static void test_python_dies(void **state)
{
    static const struct {
        const char *where;
        int err;
    } ends[] = {{"between", EPIPE},
                {"header", EPROTO},
                {"payload", EPROTO},
                {"long_header", EPROTO}};

    (void)state;
    for (size_t i = 0; i < python_count * COUNT(ends); i++) {
        struct pair pair =
            start(&pythons[i / COUNT(ends)], "dies", NULL, ends[i % COUNT(ends)].where);
        char text[8];
        size_t size;
        assert_int_equal(mp_connection_recv(pair.ours, text, sizeof text, &size), 0);
        assert_int_equal(size, 2);
        for (int again = 0; again < 2; again++)
            assert_int_equal(mp_connection_recv(pair.ours, text, sizeof text, &size),
                             ends[i % COUNT(ends)].err);
        mp_connection_free(pair.ours);
        python_is_killed(&pair.script);
    }
}

/* A send that is under way when Python is killed: an error, and no SIGPIPE. */
static void test_python_dies_while_we_send(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct pair pair = start(python, "dies", NULL, "between");
        unsigned char *message = calloc(1, 1 << 20);
        int err;
        assert_non_null(message);
        while (!(err = mp_connection_send(pair.ours, message, 1 << 20)))
            ;
        assert_int_equal(err, EPIPE);
        free(message);
        mp_connection_free(pair.ours);
        python_is_killed(&pair.script);
    }
}

/* We leave between two messages, and inside of one. */
static void test_we_leave(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct pair pair = start(python, "left_alone", NULL, "and sends");
        say(pair.ours, "hello");
        mp_connection_close(pair.ours);
        python_says(&pair.script, "EOFError ");
        python_says(&pair.script, "BrokenPipeError");
        end(&pair);

        pair = start(python, "left_alone", NULL, "");
        int fd;
        assert_int_equal(mp_connection_fileno(pair.ours, &fd), 0);
        assert_int_equal(write(fd, "\0\0\0\5ab", 6), 6);
        mp_connection_close(pair.ours);
        python_says(&pair.script, "OSError got end of file during message");
        end(&pair);
    }
}

/* Python's maxlength, which loses what is longer. */
static void test_longer_than_wanted(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct pair pair = start(python, "refuses_long_ones", NULL, NULL);
        say(pair.ours, "ten bytes.");
        say(pair.ours, "eleven of it");
        python_says(&pair.script, "ten bytes.");
        python_says(&pair.script, "bad message length");
        end(&pair);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest interop_connections[] = {
        TEST(test_pipe),
        TEST(test_one_way),
        TEST(test_sockets),
        TEST(test_burst),
        TEST(test_started_by_python),
        TEST(test_objects),
        TEST(test_python_waits),
        TEST(test_we_wait),
        TEST(test_python_dies),
        TEST(test_python_dies_while_we_send),
        TEST(test_we_leave),
        TEST(test_longer_than_wanted),
        TEST(test_beyond_2_gib),
    };

    if (argc == 3 && strcmp(argv[1], "echo") == 0)
        return be_started(atoi(argv[2]));
    huge = argc == 2 && strcmp(argv[1], "huge") == 0;
    snprintf(program, sizeof program, "%s", argv[0]);
    return PYTHON_MAIN(306, interop_connections);
}
