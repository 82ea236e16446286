/* SPDX-License-Identifier: MIT */
/*
 * fuzz_frame.c - any bytes as what comes over a connection, in pieces of any size, and
 * messages that go out in such pieces.
 *
 * The input: over what, how much is read ahead, how the system behaves (wire.h), and
 * then what happens: the other end writes, or hangs up, or we receive, or send.  The
 * model is the stream as a whole, and where in it the next message begins.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/connection.h"
#include "wire.h"

#define STREAM_MAX  ((size_t)1 << 20)
#define MESSAGE_MAX ((size_t)1 << 17)
#define PIECES_MAX                                                                     \
    48 /* these and SENT_MAX fit into any buffer: to send never waits                  \
        */
#define SENT_MAX  ((size_t)1 << 13)
#define UNTOUCHED ((size_t)4711)
#define OPS_MAX   200

enum over { SOCKET, PIPE_IN, PIPE_OUT, BARE };

static struct {
    enum over over;
    mp_connection *connection; /* NULL: BARE */
    int fd, other;             /* other: -1 if it has hung up */
    size_t written;            /* bytes that the other end wrote */
    size_t at;                 /* where the next message begins */
    size_t sent;               /* messages that were sent */
    bool broken;
    bool over_with; /* BARE: nothing may follow */
    struct mp__frame_in in;
    unsigned char *in_buffer;
} run;

static unsigned char stream[STREAM_MAX];

/* --- the model -------------------------------------------------------------------- */

/* What is read ahead, or how much a bare frame takes. */
static const size_t sizes[] = {0, 1, 3, 4, 5, 12, 13, 64, 256, 4096, 100000};

/*
 * What receiving a message into `capacity` bytes must return; `*length` and `*body` are
 * set for 0 and EMSGSIZE.  EAGAIN: more bytes are to come; `*begun` if some of the body
 * are in.
 */
static int expected(size_t capacity, size_t *length, size_t *body, bool *begun)
{
    const unsigned char *header = stream + run.at;
    size_t there = run.written - run.at, need = 4;
    uint64_t told = 0;

    *begun = false;
    if (run.broken)
        return EPROTO;
    if (there >= 4 && !memcmp(header, "\xff\xff\xff\xff", 4))
        need = 12;
    if (there < need)
        return run.other >= 0 ? EAGAIN : there ? EPROTO : EPIPE;
    for (size_t i = need == 12 ? 4 : 0; i < need; i++)
        told = told * 256 + header[i];
    if (told >> (need == 12 ? 63 : 31))
        return EPROTO;
    *length = (size_t)told;
    *body = run.at + need;
    if (told > capacity)
        return EMSGSIZE;
    *begun = there > need;
    if (there - need < told)
        return run.other >= 0 ? EAGAIN : EPROTO;
    return 0;
}

/* Memory is asked for as the bytes come, and never for what is only promised. */
void *__real_mp__sys_realloc(void *memory, size_t size);
void *__wrap_mp__sys_realloc(void *memory, size_t size);

void *__wrap_mp__sys_realloc(void *memory, size_t size)
{
    MUST(size <= 64 * 1024 + 2 * (run.written - run.at) + 1);
    return __real_mp__sys_realloc(memory, size);
}

/* --- the other end ---------------------------------------------------------------- */

static void write_bytes(const void *bytes, size_t size)
{
    if (run.over == PIPE_OUT || run.other < 0)
        return;
    if (size > STREAM_MAX - run.written)
        size = STREAM_MAX - run.written;
    ssize_t count = write(run.other, bytes, size); /* as much as there is room for */
    if (count <= 0)
        return;
    memcpy(stream + run.written, bytes, (size_t)count);
    run.written += (size_t)count;
}

static void write_message(size_t size, bool only_promise)
{
    unsigned char header[4] = {0, (unsigned char)(size >> 16),
                               (unsigned char)(size >> 8), (unsigned char)size};

    write_bytes(header, sizeof header);
    if (!only_promise)
        write_bytes(noise(run.written), size);
}

static void hang_up(void)
{
    if (run.other >= 0)
        close(run.other);
    run.other = -1;
}

/* --- receiving -------------------------------------------------------------------- */

/* A size that is as likely as not about that of the next message. */
static size_t take_capacity(struct input *input)
{
    size_t length = 0, body;
    bool begun;
    unsigned how = take_byte(input);

    int err = expected(0, &length, &body, &begun);
    if (err != EMSGSIZE || how >= 0xc0 || length > 2 * MESSAGE_MAX)
        return how >= 0xc0 ? 0 : take_size(input, 2 * MESSAGE_MAX);
    return length - how % 2 + (how >> 1) % 2;
}

static void receive(struct input *input, bool now)
{
    size_t capacity = take_capacity(input), size = UNTOUCHED, length = 0, body = 0;
    bool begun;

    if (now && run.over != SOCKET)
        return;
    int wanted = expected(capacity, &length, &body, &begun);
    if (wanted == EAGAIN && !now) {
        hang_up();
        wanted = expected(capacity, &length, &body, &begun);
    }

    unsigned char *buffer = malloc(capacity ? capacity : 1);
    MUST(buffer);
    int err = mp__connection_recv_by(run.connection, buffer, capacity, &size,
                                     now ? 0 : INT64_MAX);
    MUST(err == (wanted == EAGAIN ? ETIMEDOUT : wanted));
    MUST(size == (err == 0 || err == EMSGSIZE ? length : UNTOUCHED));
    if (!err) {
        MUST(!memcmp(buffer, stream + body, length));
        run.at = body + length;
    }
    run.broken |= err == EPROTO || (err == ETIMEDOUT && begun);
    free(buffer);
}

static void receive_alloc(struct input *input)
{
    size_t maximum = take_capacity(input), size = UNTOUCHED, length = 0, body = 0;
    void *message = NULL;
    bool begun;

    int wanted = expected(maximum ? maximum : SIZE_MAX, &length, &body, &begun);
    if (wanted == EAGAIN) {
        hang_up();
        wanted = expected(maximum ? maximum : SIZE_MAX, &length, &body, &begun);
    }
    int err = mp_connection_recv_alloc(run.connection, &message, &size, maximum);
    MUST(err == wanted);
    MUST(size == (err == 0 || err == EMSGSIZE ? length : UNTOUCHED));
    MUST(!message == (err != 0));
    if (!err) {
        MUST(!memcmp(message, stream + body, length) && !((char *)message)[length]);
        run.at = body + length;
    }
    run.broken |= err == EPROTO;
    free(message);
}

static void ask(void)
{
    bool something = run.written > run.at || run.other < 0;

    MUST(mp_connection_poll(run.connection, 0) ==
         (something || run.broken ? 0 : ETIMEDOUT));
}

/* A step of a message that comes in without a connection; it may be the last. */
static void step(void)
{
    size_t length = 0, body = 0;
    bool begun;
    int err, wanted = expected(run.in.capacity, &length, &body, &begun);

    if (run.over_with)
        return;
    do
        err = mp__frame_in_step(run.fd, &run.in);
    while (err == EAGAIN && wire_was_shy());
    MUST(err == wanted);
    if (!err || err == EMSGSIZE)
        MUST(run.in.size == length);
    run.over_with = err && err != EAGAIN;
    if (err)
        return;
    MUST(!memcmp(run.in_buffer, stream + body, length));
    run.at = body + length;
    mp__frame_in_begin(&run.in, run.in_buffer, run.in.capacity);
}

/* --- sending ---------------------------------------------------------------------- */

static int send_bare(const unsigned char *bytes, size_t size)
{
    struct mp__frame_out out;
    int err;

    mp__frame_out_begin(&out, bytes, size);
    do
        err = mp__frame_out_step(run.fd, &out);
    while (err == EAGAIN && wire_was_shy());
    return err;
}

static void check_sent(const unsigned char *bytes, size_t size)
{
    unsigned char got[4 + SENT_MAX];
    const unsigned char header[4] = {0, (unsigned char)(size >> 16),
                                     (unsigned char)(size >> 8), (unsigned char)size};
    ssize_t count = read(run.other, got, sizeof got);

    MUST(count == (ssize_t)(4 + size));
    MUST(!memcmp(got, header, 4) && !memcmp(got + 4, bytes, size));
}

static void send_message(struct input *input)
{
    const unsigned char *bytes = noise(run.sent++);
    size_t size = take_size(input, SENT_MAX);
    int err;

    if (run.over == BARE)
        err = send_bare(bytes, size);
    else
        err = mp_connection_send(run.connection, bytes, size);
    if (run.over == PIPE_IN)
        MUST(err == EINVAL);
    else
        MUST(err == (run.other >= 0 ? 0 : EPIPE));
    if (!err)
        check_sent(bytes, size);
}

/* --- a run ------------------------------------------------------------------------ */

static void open_ends(size_t amount)
{
    int fds[2];
    const mp_connection_options *options = MP_CONNECTION_OPTIONS(.read_ahead = amount);

    run.written = run.at = run.sent = 0;
    run.broken = run.over_with = false;
    run.connection = NULL;
    if (run.over == SOCKET || run.over == BARE)
        MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    else
        MUST(!pipe(fds));
    run.fd = fds[run.over == PIPE_OUT];
    run.other = fds[run.over != PIPE_OUT];
    MUST(!fcntl(run.other, F_SETFL, O_NONBLOCK));
    wire_watch(run.fd);
    if (run.over != BARE) {
        MUST(!mp_connection_new(&run.connection, run.fd, options));
        return;
    }
    run.in_buffer = malloc(amount ? amount : 1);
    MUST(run.in_buffer);
    mp__frame_in_begin(&run.in, run.in_buffer, amount);
}

static void close_ends(void)
{
    wire_end();
    hang_up();
    if (run.over == BARE) {
        close(run.fd);
        free(run.in_buffer);
    }
    mp_connection_free(run.connection);
}

static void receive_somehow(struct input *input, unsigned how)
{
    if (run.over == BARE)
        step();
    else if (run.over == PIPE_OUT)
        return;
    else if (how == 0)
        receive(input, false);
    else if (how == 1)
        receive(input, true);
    else if (how == 2)
        receive_alloc(input);
    else
        ask();
}

static void do_one(struct input *input)
{
    unsigned op = take_below(input, 10);
    struct input bytes;

    if (op == 0) {
        bytes = take_bytes(input, take_byte(input));
        write_bytes(bytes.at, bytes.left);
    } else if (op == 1 || op == 2) {
        write_message(take_size(input, MESSAGE_MAX), op == 2);
    } else if (op == 3) {
        hang_up();
    } else if (op <= 7) {
        receive_somehow(input, op - 4);
    } else {
        send_message(input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    unsigned first = take_byte(&input);

    run.over = (enum over)(first % 4);
    size_t amount = sizes[first / 4 % (sizeof sizes / sizeof *sizes)];
    wire_begin(take_bytes(&input, take_below(&input, PIECES_MAX)));
    open_ends(amount);
    for (unsigned i = 0; input.left && i < OPS_MAX; i++)
        do_one(&input);
    close_ends();
    return 0;
}
