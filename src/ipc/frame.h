/* SPDX-License-Identifier: MIT */
/*
 * frame.h - messages as they travel: a length, then that many bytes.
 *
 *   up to 0x7fffffff bytes   [ int32 n ][ n bytes ]                  big-endian, as
 *   longer                   [ int32 -1 ][ uint64 n ][ n bytes ]     Python's are
 *
 * Below, one message in pieces, over a socket, without waiting and without memory but
 * the caller's: for those who serve many peers at once.
 */
#ifndef MP_IPC_FRAME_H
#define MP_IPC_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum {
    MP__FRAME_SHORT = 4,   /* bytes of a header */
    MP__FRAME_HEADER = 12, /* of a long one */
};

/* Write the header of a message of `size` bytes: returns how long the header is. */
size_t mp__frame_put(unsigned char header[MP__FRAME_HEADER], uint64_t size);

/* How many bytes a header has in all, of which `got` are there. */
size_t mp__frame_length(const unsigned char *header, size_t got);

/* The size that a whole header tells: EPROTO if it is none, or no memory could hold it. */
int mp__frame_get(const unsigned char *header, size_t *size);

/* A message that comes in. */
struct mp__frame_in {
    unsigned char *buffer;
    size_t capacity;
    size_t size; /* of the message; told with EMSGSIZE as well */
    size_t got;  /* bytes of it */
    size_t header_got;
    unsigned char header[MP__FRAME_HEADER];
};

void mp__frame_in_begin(struct mp__frame_in *in, void *buffer, size_t capacity);

/*
 * Read what is there, at most to the end of the message.
 *
 *   0          the message is there
 *   EAGAIN     more is to come: call again when the descriptor is readable
 *   EPIPE      the stream ended before a message
 *   EPROTO     it ended inside, or this is no header
 *   EMSGSIZE   the message is longer than `capacity`; none of it was read but the header
 *   others     as of recv(2); never EINTR
 *
 * After anything but 0 and EAGAIN the stream is of no further use.
 */
int mp__frame_in_step(int fd, struct mp__frame_in *in);

/* A message that goes out; it stays the caller's, and must stay. */
struct mp__frame_out {
    const unsigned char *message;
    size_t size;
    size_t sent; /* of header and message */
    size_t header_size;
    unsigned char header[MP__FRAME_HEADER];
};

void mp__frame_out_begin(struct mp__frame_out *out, const void *message, size_t size);

/* Write what finds room: 0 if all did, EAGAIN if more has to follow, EPIPE if the other
   end is gone, others as of sendmsg(2).  No SIGPIPE, never EINTR. */
int mp__frame_out_step(int fd, struct mp__frame_out *out);

#endif
