/* SPDX-License-Identifier: MIT */
/*
 * test_step_connection.c - a process is killed at every instruction of send and
 * receive.
 *
 * Who is at the other end gets whole messages, as many as were sent, and then learns of
 * the end; it neither waits for ever nor takes half a message for a whole one.  Nobody
 * but these two has a descriptor of either end.
 */
#include "support/wire.h"

#include <mp/mp.h>

#include "roles.h"

enum { SMALL = 3, BIG = 300000 }; /* no pipe holds a big one */

struct connection_case {
    bool one_way;
    bool big;     /* the messages don't go at once */
    bool handles; /* descriptors and not messages */
    size_t read_ahead;
};

static mp_connection *in, *out;
static unsigned char bytes[BIG];

static void make(void *how)
{
    const struct connection_case *c = how;

    if (mp_pipe(&in, &out,
                MP_PIPE_OPTIONS(.one_way = c->one_way, .read_ahead = c->read_ahead)) !=
        0)
        abort();
}

static void discard(void)
{
    mp_connection_free(in);
    mp_connection_free(out);
}

static size_t size_of(const struct connection_case *c, int number)
{
    return c->big ? BIG : (size_t)number * 40;
}

/* Little enough of it that there is not much to step through. */
static void mark(size_t size, int number)
{
    if (size > 0)
        bytes[0] = bytes[size - 1] = (unsigned char)number;
}

static bool is_marked(size_t size, int number)
{
    return size == 0 || (bytes[0] == number && bytes[size - 1] == number);
}

/* --- both of them ----------------------------------------------------------------- */

static int send_one(const struct connection_case *c, int number)
{
    if (c->handles)
        return mp_connection_send_handle(out, 0);
    mark(size_of(c, number), number + 1);
    return mp_connection_send(out, bytes, size_of(c, number));
}

static int receive_one(const struct connection_case *c, int number)
{
    size_t size = BIG + 1;
    int fd;

    mark(size_of(c, number), 0);
    int err = c->handles ? mp_connection_recv_handle(in, &fd)
                         : mp_connection_recv(in, bytes, BIG, &size);
    if (err)
        return err;
    if (c->handles)
        return close(fd);
    return size == size_of(c, number) && is_marked(size, number + 1) ? 0 : EILSEQ;
}

static bool close_in(void *how)
{
    (void)how;
    return mp_connection_close(in) == 0;
}

static bool close_out(void *how)
{
    (void)how;
    return mp_connection_close(out) == 0;
}

/* The tracer keeps neither, or nobody would ever see an end. */
static void close_out_for_good(void *how)
{
    if (!close_out(how))
        abort();
}

static void close_both(void *how)
{
    close_out_for_good(how);
    if (!close_in(how))
        abort();
}

static bool send_all(void *how)
{
    for (int i = 0; i < SMALL; i++)
        if (send_one(how, i) != 0)
            return false;
    return true;
}

static bool receive_all(void *how)
{
    for (int i = 0; i < SMALL; i++)
        if (receive_one(how, i) != 0)
            return false;
    return true;
}

static bool check(void *how)
{
    (void)how;
    return all_sleepers_got_in();
}

/* --- the sender is killed --------------------------------------------------------- */

/* A small message, or a descriptor, is there or not; a big one may be there in part. */
static bool receive_what_comes(void *how)
{
    const struct connection_case *c = how;
    int number = 0, err;

    if (!close_out(how))
        return false;
    do {
        err = receive_one(c, number++);
    } while (!err);
    note_effect(number - 1 == SMALL);
    if (roles->finished)
        return number - 1 == SMALL && err == EPIPE;
    return number - 1 <= SMALL && (err == EPIPE || (err == EPROTO && c->big));
}

static void kill_sender(const char *name, struct connection_case how)
{
    struct role_case c = {.name = name,
                          .how = &how,
                          .before = close_in,
                          .operate = send_all,
                          .sleeper = receive_what_comes,
                          .sleepers = 1,
                          .paused = close_both,
                          .check = check,
                          .limit = 40,
                          .both_ends = true};

    expect_no_failure(&c, NOT_BURIED);
}

/* It waits for room when it is killed, or has sent what there was room for. */
static void kill_sender_early(const char *name, struct connection_case how)
{
    struct role_case c = {.name = name,
                          .how = &how,
                          .before = close_in,
                          .operate = send_all,
                          .paused = close_out_for_good,
                          .check = receive_what_comes,
                          .limit = 30,
                          .both_ends = !how.big};

    expect_no_failure(&c, NOT_BURIED);
}

static void test_sender_that_nobody_waits_for(void **state)
{
    (void)state;
    kill_sender_early("send early, pipe", (struct connection_case){.one_way = true});
    kill_sender_early("send early, socket", (struct connection_case){.one_way = false});
    kill_sender_early("send early, big, pipe",
                      (struct connection_case){.one_way = true, .big = true});
    kill_sender_early("send early, big, socket", (struct connection_case){.big = true});
}

static void test_sender(void **state)
{
    (void)state;
    kill_sender("send, pipe", (struct connection_case){.one_way = true});
    kill_sender("send, socket", (struct connection_case){.one_way = false});
    kill_sender("send, read ahead", (struct connection_case){.read_ahead = 100});
}

static void test_sender_of_big_messages(void **state)
{
    (void)state;
    kill_sender("send big, pipe",
                (struct connection_case){.one_way = true, .big = true});
    kill_sender("send big, socket", (struct connection_case){.big = true});
}

static void test_sender_of_handles(void **state)
{
    (void)state;
    kill_sender("send handles", (struct connection_case){.handles = true});
}

/* --- the receiver is killed ------------------------------------------------------- */

/* What comes after them waits for somebody to receive it, until there is nobody. */
static bool send_until_the_end(void *how)
{
    struct connection_case after = *(struct connection_case *)how;
    int err;

    if (!close_in(how))
        return false;
    for (int i = 0; i < SMALL; i++) {
        err = send_one(how, i);
        if (err)
            return err == EPIPE;
    }
    after.big = true;
    after.handles = false;
    for (int i = 0; i < 2; i++)
        if (send_one(&after, 0) != EPIPE)
            return false;
    return true;
}

static void kill_receiver(const char *name, struct connection_case how)
{
    struct role_case c = {.name = name,
                          .how = &how,
                          .before = close_out,
                          .operate = receive_all,
                          .sleeper = send_until_the_end,
                          .sleepers = 1,
                          .paused = close_both,
                          .check = check,
                          .limit = 40};

    expect_no_failure(&c, NOT_BURIED);
}

static void test_receiver(void **state)
{
    (void)state;
    kill_receiver("receive, pipe", (struct connection_case){.one_way = true});
    kill_receiver("receive, socket", (struct connection_case){.one_way = false});
    kill_receiver("receive, read ahead",
                  (struct connection_case){.one_way = true, .read_ahead = 100});
}

static void test_receiver_of_big_messages(void **state)
{
    (void)state;
    kill_receiver("receive big, pipe",
                  (struct connection_case){.one_way = true, .big = true});
    kill_receiver("receive big, socket", (struct connection_case){.big = true});
}

static void test_receiver_of_handles(void **state)
{
    (void)state;
    kill_receiver("receive handles", (struct connection_case){.handles = true});
}

int main(void)
{
    static const struct role_object object = {make, discard};
    static const struct CMUnitTest step_connection[] = {
        TEST(test_sender),
        TEST(test_sender_that_nobody_waits_for),
        TEST(test_sender_of_big_messages),
        TEST(test_sender_of_handles),
        TEST(test_receiver),
        TEST(test_receiver_of_big_messages),
        TEST(test_receiver_of_handles),
    };

    return roles_begin(&object) ? TEST_MAIN(step_connection) : SKIPPED;
}
