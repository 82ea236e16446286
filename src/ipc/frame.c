/* SPDX-License-Identifier: MIT */
/* frame.c - messages as they travel: a length, then that many bytes. */
#include "ipc/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define SHORT_MOST UINT32_C(0x7fffffff)
#define LONG_MARK  UINT32_C(0xffffffff)

static void put_big_endian(unsigned char *to, size_t bytes, uint64_t number)
{
    for (size_t i = bytes; i > 0; i--) {
        to[i - 1] = (unsigned char)(number & 0xff);
        number >>= 8;
    }
}

static uint64_t get_big_endian(const unsigned char *from, size_t bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | from[i];
    return number;
}

size_t mp__frame_put(unsigned char header[MP__FRAME_HEADER], uint64_t size)
{
    if (size <= SHORT_MOST) {
        put_big_endian(header, MP__FRAME_SHORT, size);
        return MP__FRAME_SHORT;
    }
    put_big_endian(header, MP__FRAME_SHORT, LONG_MARK);
    put_big_endian(header + MP__FRAME_SHORT, MP__FRAME_HEADER - MP__FRAME_SHORT, size);
    return MP__FRAME_HEADER;
}

size_t mp__frame_length(const unsigned char *header, size_t got)
{
    if (got < MP__FRAME_SHORT || get_big_endian(header, MP__FRAME_SHORT) != LONG_MARK)
        return MP__FRAME_SHORT;
    return MP__FRAME_HEADER;
}

int mp__frame_get(const unsigned char *header, size_t *size)
{
    uint64_t told = get_big_endian(header, MP__FRAME_SHORT);

    if (told == LONG_MARK)
        told = get_big_endian(header + MP__FRAME_SHORT, MP__FRAME_HEADER - MP__FRAME_SHORT);
    else if (told > SHORT_MOST)
        return EPROTO;
    if (told > PTRDIFF_MAX)
        return EPROTO;
    *size = (size_t)told;
    return 0;
}

void mp__frame_in_begin(struct mp__frame_in *in, void *buffer, size_t capacity)
{
    *in = (struct mp__frame_in){.buffer = buffer, .capacity = capacity};
}

/* Some of the `left` bytes that are still to come, counted in `*got`. */
static int read_some(int fd, unsigned char *to, size_t left, size_t *got)
{
    for (;;) {
        ssize_t count = recv(fd, to, left, MSG_DONTWAIT);

        if (count > 0) {
            *got += (size_t)count;
            return 0;
        }
        if (count == 0 || errno == ECONNRESET)
            return EPIPE;
        if (errno == EWOULDBLOCK)
            return EAGAIN;
        if (errno != EINTR)
            return errno;
    }
}

static int read_header(int fd, struct mp__frame_in *in)
{
    size_t length = mp__frame_length(in->header, in->header_got);

    while (in->header_got < length) {
        int err = read_some(fd, in->header + in->header_got, length - in->header_got,
                            &in->header_got);
        if (err)
            return err == EPIPE && in->header_got > 0 ? EPROTO : err;
        length = mp__frame_length(in->header, in->header_got);
    }
    return mp__frame_get(in->header, &in->size);
}

int mp__frame_in_step(int fd, struct mp__frame_in *in)
{
    int err = read_header(fd, in);

    if (err)
        return err;
    if (in->size > in->capacity)
        return EMSGSIZE;
    while (in->got < in->size) {
        err = read_some(fd, in->buffer + in->got, in->size - in->got, &in->got);
        if (err)
            return err == EPIPE ? EPROTO : err;
    }
    return 0;
}

void mp__frame_out_begin(struct mp__frame_out *out, const void *message, size_t size)
{
    *out = (struct mp__frame_out){.message = message, .size = size};
    out->header_size = mp__frame_put(out->header, size);
}

int mp__frame_out_step(int fd, struct mp__frame_out *out)
{
    while (out->sent < out->header_size + out->size) {
        struct iovec parts[2];
        struct msghdr all = {.msg_iov = parts};
        size_t skip = out->sent;

        if (skip < out->header_size) {
            parts[all.msg_iovlen++] =
                (struct iovec){out->header + skip, out->header_size - skip};
            skip = out->header_size;
        }
        skip -= out->header_size;
        if (skip < out->size)
            parts[all.msg_iovlen++] =
                (struct iovec){(void *)(uintptr_t)(out->message + skip), out->size - skip};

        ssize_t count = sendmsg(fd, &all, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count >= 0)
            out->sent += (size_t)count;
        else if (errno == EWOULDBLOCK || errno == EAGAIN)
            return EAGAIN;
        else if (errno == EPIPE || errno == ECONNRESET)
            return EPIPE;
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}
