/* SPDX-License-Identifier: MIT */
/*
 * bench_bare.c - messages by what the system has: pipes, sockets, POSIX message queues.
 *
 * Bare messages have a size that both ends know, and take one call at each end.  Framed
 * ones go by one writev, and come by a read of the size and one of the rest, as a
 * program does it whose messages are of any size.
 *
 * Several producers take turns by a mutex where the system would mix up their bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(_POSIX_MESSAGE_QUEUES) && _POSIX_MESSAGE_QUEUES > 0
#include <mqueue.h>
#define HAVE_MQ 1
#endif

#include "bench.h"
#include "bench_message.h"

enum { LARGE_PIPE = 1 << 20 };

struct wire {
    int in, out;
    pthread_mutex_t *turn; /* NULL: not needed */
};

static int make_turn(pthread_mutex_t **out)
{
    pthread_mutexattr_t attributes;

    *out = bench_shared(sizeof(**out));
    if (!*out)
        return ENOMEM;
    int err = pthread_mutexattr_init(&attributes);
    if (!err)
        err = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    return err ? err : pthread_mutex_init(*out, &attributes);
}

static int make_wire(void **channel, const int fds[2], bool needs_turns)
{
    struct wire *wire = malloc(sizeof(*wire));

    if (!wire)
        return ENOMEM;
    *wire = (struct wire){.in = fds[0], .out = fds[1]};
    *channel = wire;
    return needs_turns ? make_turn(&wire->turn) : 0;
}

static int make_pipe(void **channel, const struct bench_cargo *cargo)
{
    int fds[2];

    if (pipe(fds))
        return errno;
    return make_wire(channel, fds, cargo->producers > 1 && cargo->size > PIPE_BUF);
}

static int make_large_pipe(void **channel, const struct bench_cargo *cargo)
{
    int err = make_pipe(channel, cargo);

#ifdef F_SETPIPE_SZ
    if (!err)
        (void)fcntl(((struct wire *)*channel)->out, F_SETPIPE_SZ, LARGE_PIPE);
#endif
    return err;
}

static int make_socket(void **channel, const struct bench_cargo *cargo)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds))
        return errno;
    return make_wire(channel, fds, cargo->producers > 1);
}

/* Of a blocking pipe or socket a write is whole, but for signals. */
static int write_all(struct wire *wire, struct iovec *parts, int count, size_t size)
{
    if (wire->turn)
        pthread_mutex_lock(wire->turn);
    ssize_t written = count == 1 ? write(wire->out, parts->iov_base, size)
                                 : writev(wire->out, parts, count);
    int err = written < 0 ? errno : (size_t)written == size ? 0 : EIO;
    if (wire->turn)
        pthread_mutex_unlock(wire->turn);
    return err;
}

static int read_all(const struct wire *wire, void *message, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t more = read(wire->in, (char *)message + got, size - got);
        if (more <= 0)
            return more < 0 ? errno : EPIPE;
        got += (size_t)more;
    }
    return 0;
}

static int send_bare(void *channel, const void *message, size_t size, size_t count)
{
    struct iovec part = {(void *)(uintptr_t)message, size};

    (void)count;
    return write_all(channel, &part, 1, size);
}

static int receive_bare(void *channel, void *message, size_t size, size_t most,
                        size_t *count)
{
    (void)most;
    *count = 1;
    return read_all(channel, message, size);
}

static int send_framed(void *channel, const void *message, size_t size, size_t count)
{
    uint32_t header = (uint32_t)size;
    struct iovec parts[] = {{&header, sizeof(header)},
                            {(void *)(uintptr_t)message, size}};

    (void)count;
    return write_all(channel, parts, 2, sizeof(header) + size);
}

static int receive_framed(void *channel, void *message, size_t size, size_t most,
                          size_t *count)
{
    uint32_t header;

    (void)most;
    *count = 1;
    int err = read_all(channel, &header, sizeof(header));
    if (err)
        return err;
    return header <= size ? read_all(channel, message, header) : BENCH_WRONG;
}

#ifdef HAVE_MQ

/* Unprivileged processes are allowed ten messages, often. */
static int make_mq(void **channel, const struct bench_cargo *cargo)
{
    char name[64];
    mqd_t *queue = malloc(sizeof(*queue));

    if (!queue)
        return ENOMEM;
    bench_channel_name(name, sizeof(name), "/");
    for (size_t room = cargo->room; room > 0; room = room > 10 ? 10 : room / 2) {
        struct mq_attr shape = {.mq_maxmsg = (long)room,
                                .mq_msgsize = (long)cargo->size};

        *queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &shape);
        if (*queue != (mqd_t)-1) {
            mq_unlink(name);
            *channel = queue;
            return 0;
        }
    }
    free(queue);
    return BENCH_ABSENT;
}

static int send_by_mq(void *channel, const void *message, size_t size, size_t count)
{
    (void)count;
    return mq_send(*(mqd_t *)channel, message, size, 0) ? errno : 0;
}

static int receive_by_mq(void *channel, void *message, size_t size, size_t most,
                         size_t *count)
{
    (void)most;
    *count = 1;
    ssize_t got = mq_receive(*(mqd_t *)channel, message, size, NULL);
    return got < 0 ? errno : (size_t)got == size ? 0 : BENCH_WRONG;
}

#else

static int make_mq(void **channel, const struct bench_cargo *cargo)
{
    (void)channel;
    (void)cargo;
    return BENCH_ABSENT;
}

#define send_by_mq    NULL
#define receive_by_mq NULL

#endif

/* Less than a message: a place for a number, and a semaphore that tells of it. */
struct signal {
    sem_t semaphore;
    uint64_t number;
};

static int make_signal(void **channel, const struct bench_cargo *cargo)
{
    struct signal *signal = bench_shared(sizeof(*signal));

    (void)cargo;
    if (!signal)
        return ENOMEM;
    *channel = signal;
    return sem_init(&signal->semaphore, 1, 0) ? errno : 0;
}

static int post(void *channel, const void *message, size_t size, size_t count)
{
    struct signal *signal = channel;

    (void)size;
    (void)count;
    memcpy(&signal->number, message, sizeof(signal->number));
    return sem_post(&signal->semaphore) ? errno : 0;
}

static int wait_for_post(void *channel, void *message, size_t size, size_t most,
                         size_t *count)
{
    struct signal *signal = channel;

    (void)size;
    (void)most;
    *count = 1;
    if (sem_wait(&signal->semaphore))
        return errno;
    memcpy(message, &signal->number, sizeof(signal->number));
    return 0;
}

const struct bench_transport bench_bare_pipe = {make_pipe, NULL, send_bare,
                                                receive_bare};
const struct bench_transport bench_bare_large_pipe = {make_large_pipe, NULL, send_bare,
                                                      receive_bare};
const struct bench_transport bench_bare_socket = {make_socket, NULL, send_bare,
                                                  receive_bare};
const struct bench_transport bench_framed_pipe = {make_pipe, NULL, send_framed,
                                                  receive_framed};
const struct bench_transport bench_framed_socket = {make_socket, NULL, send_framed,
                                                    receive_framed};
const struct bench_transport bench_bare_mq = {make_mq, NULL, send_by_mq, receive_by_mq};
const struct bench_transport bench_bare_semaphore = {make_signal, NULL, post,
                                                     wait_for_post};
