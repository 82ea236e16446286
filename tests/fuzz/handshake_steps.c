/* SPDX-License-Identifier: MIT */
/*
 * handshake_steps.c - two sides step by step over sockets, in pieces (wire.h), with an
 * attacker between them who changes bytes, or puts its own in the place of all that one
 * of them sends, or hangs up.
 *
 * Undisturbed, both are content if and only if they hold the same key; and what one
 * sends behind the handshake is there for the other afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handshake.h"
#include "ipc/handshake.h"
#include "wire.h"

#define ROUNDS_MAX 300
#define PIECES_MAX 100

struct end {
    struct mp__auth_terms terms;
    struct mp__handshake handshake;
    int fd, outer; /* its own, and the attacker's */
    int err;       /* EAGAIN: it is not through */
    size_t passed; /* bytes that were on the way to it */
};

static struct end ends[2];
static struct {
    unsigned to; /* whom the attacker does something to */
    size_t at;   /* at which byte */
    unsigned char change;
    bool cuts;      /* hangs up there instead */
    bool disturbed; /* it has done it */
} attacker;

static void open_end(struct end *end, enum mp__auth_role role, struct input *input)
{
    int fds[2];

    MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
    end->fd = fds[0];
    end->outer = fds[1];
    end->err = EAGAIN;
    end->passed = 0;
    end->terms = take_terms(input);
    MUST(!mp__handshake_begin(&end->handshake, role, &end->terms));
    wire_watch(end->fd);
}

static void close_end(struct end *end)
{
    close(end->fd);
    if (end->outer >= 0)
        close(end->outer);
}

static void hang_up(struct end *end)
{
    if (end->outer >= 0)
        close(end->outer);
    end->outer = -1;
}

static void step(struct end *end)
{
    if (end->err != EAGAIN)
        return;
    do
        end->err = mp__handshake_step(&end->handshake, end->fd);
    while (end->err == EAGAIN && wire_was_shy());
    MUST(end->err == 0 || end->err == EAGAIN || end->err == EACCES ||
         end->err == EPIPE);
    MUST(end->handshake.in.capacity == sizeof end->handshake.buffer);
    if (end->err == EAGAIN)
        MUST(mp__handshake_events(&end->handshake) == POLLIN);
    if (end->err == 0)
        MUST(end->handshake.auth.stage == MP__AUTH_DONE);
}

/* Carry what there is from one to the other; false if nothing was. */
static bool carry(struct end *from, struct end *to)
{
    unsigned char bytes[2 * MP__AUTH_LIMIT];
    ssize_t count = from->outer < 0 ? 0 : read(from->outer, bytes, sizeof bytes);

    if (count <= 0 || to->outer < 0)
        return false;
    size_t size = (size_t)count, at = attacker.at - to->passed;
    if (attacker.to == (unsigned)(to - ends) && at < size) {
        attacker.disturbed |= attacker.cuts || attacker.change;
        bytes[at] ^= attacker.change;
        size = attacker.cuts ? at : size;
    }
    to->passed += size;
    MUST(!size || write(to->outer, bytes, size) == (ssize_t)size || errno == EPIPE);
    if (attacker.cuts && attacker.disturbed)
        hang_up(to);
    return true;
}

/* To the end, which comes: who waits in vain is hung up on. */
static void shake_hands(void)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        step(&ends[0]);
        step(&ends[1]);
        bool carried = carry(&ends[0], &ends[1]);
        if (carry(&ends[1], &ends[0]) || carried)
            continue;
        if (ends[0].err != EAGAIN && ends[1].err != EAGAIN)
            return;
        hang_up(&ends[0]);
        hang_up(&ends[1]);
    }
    must_failed("the handshake ends", __FILE__, __LINE__);
}

/* What follows a handshake has not been touched. */
static void check_rest(struct end *end)
{
    char byte;

    if (end->err || end->outer < 0)
        return;
    MUST(read(end->fd, &byte, 1) < 0);
    MUST(write(end->outer, "x", 1) == 1);
    MUST(read(end->fd, &byte, 1) == 1 && byte == 'x');
}

static void fuzz_two(struct input *input)
{
    open_end(&ends[0], MP__AUTH_LISTENER, input);
    open_end(&ends[1], MP__AUTH_CLIENT, input);
    memset(&attacker, 0, sizeof attacker);
    attacker.to = take_below(input, 2);
    attacker.at = take_byte(input) << 1 | take_below(input, 2);
    attacker.change = (unsigned char)take_byte(input);
    attacker.cuts = take_byte(input) & 1;
    shake_hands();
    bool both = !ends[0].err && !ends[1].err;
    MUST(both ==
         (!attacker.disturbed && have_same_key(&ends[0].terms, &ends[1].terms)));
    wire_end();
    for (int i = 0; i < 2; i++) {
        check_rest(&ends[i]);
        close_end(&ends[i]);
    }
}

/* Whatever it is that a stranger says. */
static void fuzz_one(struct input *input)
{
    struct end *end = &ends[0];

    enum mp__auth_role role = (enum mp__auth_role)take_below(input, 4);
    open_end(end, role, input);
    while (input->left && end->err == EAGAIN) {
        struct input bytes = take_bytes(input, 1 + take_byte(input));
        if (bytes.left)
            MUST(write(end->outer, bytes.at, bytes.left) == (ssize_t)bytes.left);
        step(end);
    }
    hang_up(end);
    step(end);
    MUST(end->err == EACCES || end->err == EPIPE ||
         (end->err == 0 && role == MP__AUTH_ANSWER));
    wire_end();
    close_end(end);
}

void fuzz_steps(struct input *input)
{
    unsigned how = take_byte(input);

    wire_begin(take_bytes(input, how >> 1 < PIECES_MAX ? how >> 1 : 0));
    if (how & 1)
        fuzz_one(input);
    else
        fuzz_two(input);
}
