/* SPDX-License-Identifier: MIT */
/* test_handles.c - open descriptors that go to Python and come from it. */
#include "interop/python.h"
#include "support/door.h"

#define SCRIPT "handles.py"

static void say(mp_connection *connection, const char *text)
{
    assert_int_equal(mp_connection_send(connection, text, strlen(text)), 0);
}

static void expect(mp_connection *connection, const char *text)
{
    char message[64];
    size_t size;

    assert_int_equal(mp_connection_recv(connection, message, sizeof message, &size), 0);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(message, text, size);
}

static mp_connection *start(const struct python *python, const char *function,
                            const char *argument, struct script *script)
{
    mp_connection *ours, *theirs;
    char number[16];
    int fd;

    assert_int_equal(mp_pipe(&ours, &theirs, NULL), 0);
    assert_int_equal(mp_connection_fileno(theirs, &fd), 0);
    snprintf(number, sizeof number, "%d", fd);
    *script = python_start(python, SCRIPT, function, fd, number, argument, NULL);
    mp_connection_free(theirs);
    return ours;
}

/* A file without a name, that holds a number as text. */
static int file_of(int number)
{
    char path[] = "/tmp/mp-file-XXXXXX", text[16];
    int fd = mkostemp(path, O_CLOEXEC);

    assert_true(fd >= 0);
    unlink(path);
    int size = snprintf(text, sizeof text, "%d", number);
    assert_int_equal(write(fd, text, (size_t)size), size);
    return fd;
}

static int number_in(int fd)
{
    char text[16] = "";

    assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
    return atoi(text);
}

static void test_one(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct script script;
        mp_connection *ours = start(python, "one", NULL, &script);
        char text[16];
        int ends[2], received;

        say(ours, "one comes");
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(mp_connection_send_handle(ours, ends[0]), 0);
        close(ends[0]);
        assert_int_equal(write(ends[1], "from C", 6), 6);
        close(ends[1]);

        expect(ours, "and one back");
        assert_int_equal(mp_connection_recv_handle(ours, &received), 0);
        say(ours, "thanks");
        assert_int_equal(read(received, text, sizeof text), 11);
        assert_memory_equal(text, "from Python", 11);
        assert_int_equal(read(received, text, sizeof text), 0);
        close(received);
        python_ends(&script);
        mp_connection_free(ours);
    }
}

/* In the order in which they were sent, and back in the other order. */
static void test_many(void **state)
{
    static const char *const counts[] = {"1", "2", "253"};

    (void)state;
    for (size_t i = 0; i < python_count * 3; i++) {
        struct script script;
        mp_connection *ours = start(&pythons[i / 3], "many", counts[i % 3], &script);
        size_t count = (size_t)atoi(counts[i % 3]), received;
        int fds[MP_HANDLES_MAX], back[MP_HANDLES_MAX];

        for (size_t n = 0; n < count; n++)
            fds[n] = file_of((int)n);
        assert_int_equal(mp_connection_send_handles(ours, fds, count), 0);
        assert_int_equal(
            mp_connection_recv_handles(ours, back, MP_HANDLES_MAX, &received), 0);
        assert_int_equal(received, count);
        for (size_t n = 0; n < count; n++) {
            assert_int_equal(number_in(back[n]), count - 1 - n);
            close(back[n]);
            close(fds[n]);
        }
        say(ours, "thanks");
        python_ends(&script);
        mp_connection_free(ours);
    }
}

/* By a listener with a key: Python hands over the end of a connection of its own. */
static void test_hand_over(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        mp_listener *door;
        mp_connection *connection, *private;
        int fd;

        assert_int_equal(
            mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY, .allow_legacy = 1)),
            0);
        struct script script = python_start(python, SCRIPT, "hand_over", NOTHING_KEPT,
                                            mp_listener_address(door), NULL);
        assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
        assert_int_equal(mp_connection_recv_handle(connection, &fd), 0);
        assert_int_equal(mp_connection_new(&private, fd, NULL), 0);
        answer_hello(private);
        python_ends(&script);
        mp_connection_free(private);
        mp_connection_free(connection);
        mp_listener_free(door);
    }
}

/* What Python sends and we do not expect is refused, with nothing left open. */
static void test_mixed_up(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct script script;
        mp_connection *ours = start(python, "mixed_up", "message", &script);
        int fd;
        assert_int_equal(mp_connection_recv_handle(ours, &fd), EPROTO);
        say(ours, "go");
        python_ends(&script);
        mp_connection_free(ours);

        ours = start(python, "mixed_up", "too many", &script);
        assert_int_equal(mp_connection_recv_handle(ours, &fd), EPROTO);
        say(ours, "go");
        python_ends(&script);
        mp_connection_free(ours);
    }
}

int main(void)
{
    const struct CMUnitTest interop_handles[] = {
        TEST(test_one),
        TEST(test_many),
        TEST(test_hand_over),
        TEST(test_mixed_up),
    };

    return PYTHON_MAIN(306, interop_handles);
}
