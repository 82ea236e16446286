/* SPDX-License-Identifier: MIT */
/*
 * connection.h - messages between two processes, over a pipe or a socket.
 *
 *   mp_connection *ours, *theirs;
 *   int err = mp_pipe(&ours, &theirs, NULL);            ours, theirs = Pipe()
 *   if (err)
 *       return err;
 *   ...                                                 start a process; pass `theirs`
 *   mp_connection_close(theirs);                        theirs.close()
 *   err = mp_connection_send(ours, "hello", 5);         ours.send_bytes(b'hello')
 *   ...
 *   err = mp_connection_recv(ours, answer,              answer = ours.recv_bytes()
 *                            sizeof(answer), &size);
 *   if (err == EPIPE)                                   except EOFError:
 *       return they_are_gone();
 *   mp_connection_free(ours);
 *
 * A message is any number of bytes, none as well, and arrives whole.  On the wire it is
 * what Python's multiprocessing.connection sends and receives: a Python program may be
 * at the other end, with send_bytes and recv_bytes.
 *
 * For processes of one family queues are faster (queue.h); connections are for two
 * that are to notice each other's end, for strangers, and for Python.
 *
 * Caveats.
 * The end of the stream, EPIPE, comes when the last copy of the other end is closed, and
 * every process that was forked since has a copy of both ends: close in each process
 * the ends that it does not use.
 * A process may be killed at any instruction.  Killed between two messages it harms
 * nobody; killed inside mp_connection_send it may leave part of a message behind, which
 * the reader is told by EPROTO once no writer is left.  On a one-way pipe messages of
 * up to 4092 bytes (Linux; elsewhere PIPE_BUF less 4) go whole or not at all.
 * One thread may send while another receives.  Two that send at once, or receive at
 * once, mix up each other's bytes, and so do two processes that share an end: let them
 * take a lock (lock.h).  Only messages of up to 4092 bytes on a one-way pipe may be sent
 * without.  A thread that closes or frees a connection must be alone with it.
 * Both ends may wait for the other to receive when both send more than the system
 * buffers, some 64 to 200 KiB: then both wait for ever, as in Python.
 * An mp_connection belongs to the process, not to the arena; a forked child has a copy
 * that works, of the same stream.
 * No call raises SIGPIPE.
 */
#ifndef MP_CONNECTION_H
#define MP_CONNECTION_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One end of a stream of messages.  Python: multiprocessing.connection.Connection */
typedef struct mp_connection mp_connection;

typedef struct mp_pipe_options {
    size_t struct_size; /* set by MP_PIPE_OPTIONS */
    int one_way;        /* not 0: the first end receives, the second sends */
    int buffer_size;    /* bytes on their way that the system is asked to hold; 0: its
                           default.  It need not comply. */
    size_t read_ahead;  /* as of mp_connection_options, for both ends */
} mp_pipe_options;

#define MP_PIPE_OPTIONS(...) \
    (&(const mp_pipe_options){.struct_size = sizeof(mp_pipe_options), __VA_ARGS__})

typedef struct mp_connection_options {
    size_t struct_size; /* set by MP_CONNECTION_OPTIONS */
    int no_read;        /* not 0: for sending only */
    int no_write;       /* not 0: for receiving only */
    /*
     * Read up to so many bytes ahead, so that a burst of small messages takes one system
     * call and not two for each of them.  0: never a byte of the next message, so that
     * the descriptor tells everything: it may be given to poll(2), and the end be shared
     * with other processes.  With read_ahead only mp_connection_poll and mp_wait know
     * whether there is something, one process receives and no child of it later, and
     * mp_connection_recv_handle returns ENOTSUP.
     */
    size_t read_ahead;
} mp_connection_options;

#define MP_CONNECTION_OPTIONS(...)                                                 \
    (&(const mp_connection_options){.struct_size = sizeof(mp_connection_options),  \
                                    __VA_ARGS__})

/*
 * mp_pipe - make two connections that are joined: what is sent at one end is received
 * at the other.
 *
 * Both ends send and receive, over a pair of Unix sockets; with .one_way the first only
 * receives and the second only sends, over a pipe.  A child that is forked has them too.
 * The descriptors are closed in programs that are exec'ed.
 *
 * Returns 0, or
 *   EINVAL   `first` or `second` is NULL, .buffer_size is negative, or the options are of
 *            a newer libmp
 *   EMFILE, ENFILE, ENOMEM   no descriptors, or no memory
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.Pipe(duplex)
 */
MP_API MP_MUST_CHECK int mp_pipe(mp_connection **first, mp_connection **second,
                                 const mp_pipe_options *options);

/*
 * mp_connection_new - make a connection of a descriptor: of a stream socket, of an end
 * of a pipe, of a terminal.
 *
 * The connection owns the descriptor from then on, and closes it; if the call fails it
 * stays the caller's.  What a descriptor was not opened for (O_RDONLY, O_WRONLY) the
 * connection can't do either.  Non-blocking descriptors do as well, and block here.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, `fd` is negative, the connection could neither send nor
 *            receive, or the options are of a newer libmp
 *   EBADF    `fd` is no open descriptor
 *   ENOMEM   no memory
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    Connection(fd, readable, writable)
 */
MP_API MP_MUST_CHECK int mp_connection_new(mp_connection **out, int fd,
                                           const mp_connection_options *options);

/*
 * mp_connection_free - close a connection and free it, or do nothing with NULL.  In a
 * forked child that frees the child's copy.
 *
 * Processes: any that has it.  Threads: one, alone with it.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_connection_free(mp_connection *connection);

/*
 * mp_connection_close - close the descriptor, or do nothing if that was done.  The other
 * end receives what was sent, and then EPIPE.
 *
 * Returns 0, or EINVAL for NULL.
 *
 * Processes: any that has it.  Threads: one, alone with it.  Signal handlers: no.
 * Python:    connection.close()
 */
MP_API int mp_connection_close(mp_connection *connection);

/*
 * mp_connection_closed, _readable, _writable - whether it was closed; whether it is for
 * receiving; whether it is for sending.  NULL counts as closed, and what is closed is
 * for neither.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    connection.closed, connection.readable, connection.writable
 */
MP_API bool mp_connection_closed(const mp_connection *connection);
MP_API bool mp_connection_readable(const mp_connection *connection);
MP_API bool mp_connection_writable(const mp_connection *connection);

/*
 * mp_connection_fileno - its descriptor, for poll(2): readable when a message, a part of
 * one, or the end of the stream is there (see .read_ahead).  It stays the connection's.
 *
 * Returns 0, or EINVAL if `connection` or `fd` is NULL, or the connection is closed.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    connection.fileno()
 */
MP_API int mp_connection_fileno(const mp_connection *connection, int *fd);

/*
 * mp_connection_send - send `size` bytes as one message.
 *
 * Waits until the system has taken all of it, for as long as nobody receives.
 *
 * Returns 0, or
 *   EPIPE    the other end is closed, or its process is gone
 *   EPROTO   a message was sent in part before: there can be no other
 *   EINVAL   `connection` is NULL, closed, or not for sending; or `message` is NULL and
 *            `size` is not 0
 *   EIO and others   as of write(2).  If part of the message has passed, EPROTO from
 *            then on
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    connection.send_bytes(message)
 */
MP_API MP_MUST_CHECK int mp_connection_send(mp_connection *connection, const void *message,
                                            size_t size);

/*
 * mp_connection_recv - receive the next message into `buffer`, which holds `capacity`
 * bytes; `*size` tells how many it is.  Waits for as long as none comes.
 *
 * A message that is longer than `capacity` is kept: `*size` tells how long it is, and the
 * next call, in the same process, may receive it.  (Python loses it.)  So a capacity of 0
 * asks how long the next message is, and `buffer` may be NULL then.
 *
 * Returns 0, or
 *   EMSGSIZE   the message is longer than `capacity`; `*size` is what it needs
 *   EPIPE      the stream ended: no message will come
 *   EPROTO     the stream ended inside a message, or what came is none; nothing more can
 *              be received, and every later call says so again.  Other bytes of `buffer`
 *              may have been written.
 *   EINVAL     `connection` is NULL, closed, or not for receiving; `size` is NULL; or
 *              `buffer` is NULL and `capacity` is not 0
 *   EIO and others   as of read(2)
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    connection.recv_bytes_into(buffer)
 */
MP_API MP_MUST_CHECK int mp_connection_recv(mp_connection *connection, void *buffer,
                                            size_t capacity, size_t *size);

/*
 * mp_connection_recv_alloc - receive the next message, however long it is, into memory
 * that the caller gives back with free().
 *
 * A zero byte follows the message and is not counted, for those that are text.
 *
 * With a `maximum` that is not 0 longer messages are refused before any memory is
 * asked for.  In any case it is asked for as the bytes come, and never more than 64 KiB
 * and twice what has come: a peer that promises terabytes gets nothing for it.
 *
 * Returns 0, or
 *   EMSGSIZE   the message is longer than `maximum`; it is kept, and `*size` is its length
 *   EPIPE, EPROTO   as of mp_connection_recv
 *   ENOMEM     no memory for the message.  Kept if it is of up to 64 KiB; otherwise EPROTO
 *              from then on
 *   EINVAL     `connection` is NULL, closed, or not for receiving; `message` or `size` is
 *              NULL
 *   EIO and others   as of read(2)
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    connection.recv_bytes(maxlength)
 */
MP_API MP_MUST_CHECK int mp_connection_recv_alloc(mp_connection *connection, void **message,
                                                  size_t *size, size_t maximum);

/*
 * mp_connection_poll - wait up to `timeout_ms` until there is something to receive: a
 * message, a part of one, or the end of the stream.  Takes nothing away.
 *
 * Returns 0 if there is something, or
 *   ETIMEDOUT   nothing came in time
 *   EINVAL      `connection` is NULL, closed, or not for receiving; or the timeout is
 *               negative and not MP_FOREVER
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    connection.poll(timeout)
 */
MP_API MP_MUST_CHECK int mp_connection_poll(mp_connection *connection, int timeout_ms);

/* --- descriptors ------------------------------------------------------------------ */

/* So many descriptors may be sent at once, at most. */
enum { MP_HANDLES_MAX = 253 };

/*
 * mp_connection_send_handles - send open descriptors, which the receiver gets copies of.
 * mp_connection_send_handle - send one.
 *
 * Between messages, and received by the call of the same kind, not as a message: both
 * sides must know when one comes.  They stay open here; what was sent stays open on its
 * way even if it is closed here.  Over Unix sockets only, as of mp_pipe without .one_way.
 *
 * Returns 0, or
 *   ENOTSUP   the connection is no Unix socket
 *   EBADF     one of them is no open descriptor; none is sent
 *   EPIPE, EPROTO   as of mp_connection_send
 *   EINVAL    `connection` is NULL, closed, or not for sending; `fds` is NULL; or `count`
 *             is 0 or above MP_HANDLES_MAX
 *   ETOOMANYREFS and others   as of sendmsg(2)
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    multiprocessing.reduction.send_handle(connection, fd, pid), sendfds
 */
MP_API MP_MUST_CHECK int mp_connection_send_handles(mp_connection *connection,
                                                    const int *fds, size_t count);
MP_API MP_MUST_CHECK int mp_connection_send_handle(mp_connection *connection, int fd);

/*
 * mp_connection_recv_handles - receive the descriptors that were sent at once, into `fds`
 * which holds `capacity`; `*count` tells how many they are.
 * mp_connection_recv_handle - receive one, and no more than one.
 *
 * They are the caller's to close, closed in programs that are exec'ed, and none of them
 * is 0, 1 or 2.  When a call fails every descriptor that came with it has been closed.
 *
 * Returns 0, or
 *   EPIPE     the stream ended
 *   EPROTO    what came is no descriptors, more than `capacity`, or not all that were
 *             sent; nothing more can be received, and every later call says so again
 *   EMFILE    this process can't open as many; they are lost, and what follows is not
 *   ENOTSUP   the connection is no Unix socket, or reads ahead
 *   EBUSY     a message was begun (EMSGSIZE) and not received
 *   EINVAL    `connection` is NULL, closed, or not for receiving; an output is NULL; or
 *             `capacity` is 0 or above MP_HANDLES_MAX
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    multiprocessing.reduction.recv_handle(connection), recvfds
 */
MP_API MP_MUST_CHECK int mp_connection_recv_handles(mp_connection *connection, int *fds,
                                                    size_t capacity, size_t *count);
MP_API MP_MUST_CHECK int mp_connection_recv_handle(mp_connection *connection, int *fd);

#ifdef __cplusplus
}
#endif

#endif
