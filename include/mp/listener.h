/* SPDX-License-Identifier: MIT */
/*
 * listener.h - connections between processes that are not related: one listens at an
 * address, others connect to it.  Either side may be a Python program.
 *
 *   mp_listener *door;                                  door = Listener(
 *   mp_connection *peer;                                    ('localhost', 6000),
 *   int err = mp_listener_new(&door, "localhost:6000",      authkey=b'secret')
 *                 MP_LISTENER_OPTIONS(.authkey = "secret", .authkey_size = 6));
 *   if (!err)
 *       err = mp_listener_accept(door, &peer, MP_FOREVER);  peer = door.accept()
 *   ...                                                 peer: see connection.h
 *
 *   err = mp_client(&peer, "localhost:6000",            peer = Client(
 *             MP_CLIENT_OPTIONS(.authkey = "secret",        ('localhost', 6000),
 *                               .authkey_size = 6));        authkey=b'secret')
 *
 * Addresses.                 here                          Python
 *   TCP over IPv4            "localhost:6000"              ('localhost', 6000)
 *     any free port          "127.0.0.1:0"                 ('127.0.0.1', 0)
 *     all of the machine's   ":6000", "0.0.0.0:6000"       ('', 6000)
 *   TCP over IPv6            "[::1]:6000"                  has none
 *   a Unix socket            "/run/me/door"                '/run/me/door'
 *     a relative path        "unix:door"                   'door'
 *     a private one          NULL                          None
 * A host with a name is looked up by the system, however long that takes; "localhost" is
 * 127.0.0.1, as for Python.  Abstract Unix sockets there are none: they are open to every
 * user of the machine.
 *
 * Keys.  With .authkey both sides prove to each other that they hold the same key, by the
 * handshake of Python 3.12 and later, before mp_listener_accept and mp_client return.  The
 * key never travels.  NULL is no key; a key of no bytes, not NULL, is a key (Python before
 * 3.13 takes that of a listener for none).  A key on one side only: who has it gets
 * ETIMEDOUT or EACCES; who has none, EPIPE from the connection when the other gives up,
 * and perhaps a message "#CHALLENGE#..." before.
 * The digest is one of "sha256" (NULL), "sha384", "sha3_256", "sha3_384" and "md5": what
 * this side asks the other to answer with.  It answers by whichever the other names.
 * Python before 3.12 knows but its own form of md5: for it there is .allow_legacy.
 *
 * Caveats.
 * The handshake tells who is there, no more.  What is sent afterwards is neither encrypted
 * nor protected against change: over a network that others can read or write, use a
 * tunnel.  Python's handshake also can't tell whether the proof was made for this very
 * connection: somebody in between, who only passes on every byte, is not noticed.  What it
 * leaves open and libmp closes: a peer's answer must be by the digest that was asked for;
 * a side never answers its own challenge; a client of libmp never answers what another
 * client of libmp with the same key asked, so that nobody without it can play the listener
 * for two of them and let each answer for the other.
 * Whoever reads a handshake can try out keys at home: take 16 random bytes or more.
 * Without a key anybody who can connect is let in: for TCP, every user of this machine or
 * of the network.
 * Unix sockets have mode 0600, and peers of other users than this process's and root are
 * refused, by listeners and by clients; .any_user lets them in, if the modes of file and
 * directory do.  (The kernel is asked on Linux; elsewhere the modes have to do.)
 * A process that is killed leaves the file of its Unix socket.  The next listener at that
 * path removes it, if nobody listens there any more.  Of a private one nothing is left on
 * Linux, where its address is that of a descriptor, /proc/<pid>/fd/<number>, which Python
 * takes as well; a container's /proc has no other container's processes.  Elsewhere, or
 * without /proc, it stands in a directory of mode 0700 below $TMPDIR or /tmp, and such
 * directories are left behind by the killed, as Python's are.
 * No peer can make a listener wait: however many connect and say nothing, or one byte a
 * second, those who hold the key are let in meanwhile.  All handshakes go on at once, but
 * only inside mp_listener_accept: while nobody calls it nobody is let in, and time stands
 * still for those who are at it.
 * A forked child has a copy of the listener, and may accept as its parent does: a peer is
 * let in by the one that comes first.  Those whose handshake is under way stay with the
 * parent.  A child that does not accept should close its copy.
 * One thread at a time may use a listener.
 * No call raises SIGPIPE.
 */
#ifndef MP_LISTENER_H
#define MP_LISTENER_H

#include "base.h"
#include "connection.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where others connect to.  Python: multiprocessing.connection.Listener */
typedef struct mp_listener mp_listener;

typedef struct mp_listener_options {
    size_t struct_size;   /* set by MP_LISTENER_OPTIONS */
    const void *authkey;  /* copied; NULL: none */
    size_t authkey_size;  /* bytes */
    const char *digest;   /* NULL: "sha256" */
    int backlog;          /* connections that may wait to be accepted; 0: 128 */
    int handshake_ms;     /* how long a peer's handshake may take; 0: 5000 */
    unsigned max_pending; /* handshakes at once; 0: 64.  Then the oldest that has proved
                             nothing gives way, if for 1 ms none has got any further. */
    int allow_legacy;     /* not 0: also peers of Python before 3.12 */
    int any_user;         /* not 0: other users' processes as well at a Unix socket */
    int reserved;         /* 0 */
} mp_listener_options;

#define MP_LISTENER_OPTIONS(...)                                                   \
    (&(const mp_listener_options){.struct_size = sizeof(mp_listener_options),      \
                                  __VA_ARGS__})

/*
 * mp_listener_new - begin to listen at `address`; at a private Unix socket if it is NULL.
 *
 * Returns 0, or
 *   EINVAL          `out` is NULL; the address is none; .digest is none of the five;
 *                   .authkey is NULL and its size is not 0; .backlog or .handshake_ms is
 *                   negative; .max_pending is above 65536; .reserved is not 0; or the
 *                   options are of a newer libmp
 *   EADDRINUSE      somebody listens there, or the path is taken by something else
 *   ENAMETOOLONG    the path is longer than 107 bytes (Linux; less elsewhere)
 *   EADDRNOTAVAIL   there is no such host, or it is not this one
 *   EACCES, ENOENT, ENOTDIR, EROFS   the directory is not writable, or not there; a port
 *                   that is reserved
 *   EAGAIN          the host cannot be looked up at present
 *   EMFILE, ENFILE, ENOMEM   no descriptors, or no memory
 *   others          as of socket(2), bind(2) and listen(2)
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    Listener(address, backlog=backlog, authkey=authkey)
 */
MP_API MP_MUST_CHECK int mp_listener_new(mp_listener **out, const char *address,
                                         const mp_listener_options *options);

/*
 * mp_listener_free - close a listener and free it, or do nothing with NULL.
 *
 * Processes: any that has it, each its own copy.  Threads: one.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_listener_free(mp_listener *listener);

/*
 * mp_listener_close - listen no more, or do nothing if that was done.
 *
 * Those whose handshake is under way are left; connections that were accepted go on.  The
 * file of a Unix socket is removed, if this process made it and it is still the same.
 * The copies of forked children go on listening, at TCP addresses with full effect.  The
 * key is wiped.
 *
 * Returns 0, or
 *   EINVAL   `listener` is NULL
 *
 * Processes: any that has it, each its own copy.  Threads: one.  Signal handlers: no.
 * Python:    listener.close()
 */
MP_API int mp_listener_close(mp_listener *listener);

/*
 * mp_listener_accept - wait up to `timeout_ms` for a peer, and for its proof that it holds
 * the key.
 *
 * A peer that does not prove itself within .handshake_ms, sends anything else, or goes
 * away is left, and counted by mp_listener_refused; the call waits for the next one.  (In
 * Python such a peer ends the call, or delays it for ever.)
 *
 * Returns 0 with a connection, which is to be freed, or
 *   ETIMEDOUT   nobody came in time.  A handshake that has begun goes on in the next call:
 *               with MP_NOWAIT each call does only what can be done at once.
 *   EINVAL      `listener` or `out` is NULL; the timeout is negative and not MP_FOREVER; or
 *               the listener is closed
 *   EMFILE, ENFILE, ENOBUFS, ENOMEM   no descriptors, or no memory, for one more peer.  It
 *               goes on waiting to be accepted, or was left and is counted by
 *               mp_listener_refused if it was accepted already when this process had no
 *               memory.  The listener can be used as before: close something, then call
 *               again.
 *   others      as of accept(2) and poll(2)
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    listener.accept()
 */
MP_API MP_MUST_CHECK int mp_listener_accept(mp_listener *listener, mp_connection **out,
                                            int timeout_ms);

/*
 * mp_listener_address - where it listens, as mp_client takes it: the port is the one that
 * was found for port 0, a relative path is now absolute.  "" if it is closed or NULL.
 *
 * For Python: "127.0.0.1:41234" is ('127.0.0.1', 41234), "/a/path" is '/a/path'.
 * The text is valid until the listener is closed or freed.
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    listener.address
 */
MP_API const char *mp_listener_address(const mp_listener *listener);

/*
 * mp_listener_last_accepted - from where the peer of the last mp_listener_accept came:
 * "127.0.0.1:53120", or "" for a Unix socket, a peer that is gone already, or if there was
 * none yet.  Valid until the next mp_listener_accept, or until the listener is freed.
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    listener.last_accepted
 */
MP_API const char *mp_listener_last_accepted(const mp_listener *listener);

/*
 * mp_listener_refused - how many peers were left in this process since the listener was
 * made: they did not prove themselves, took too long, gave way to others, went away, were
 * another user's, or there was no memory for them.  0 for NULL.
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    AuthenticationError, once each
 */
MP_API size_t mp_listener_refused(const mp_listener *listener);

/*
 * mp_listener_fileno - a descriptor for poll(2) and mp_wait, which is readable when
 * mp_listener_accept has something to do.
 *
 * Call mp_listener_accept with MP_NOWAIT then: it may return ETIMEDOUT when a handshake has
 * only gone on.  The descriptor is the listener's: poll it, do nothing else with it, and
 * ask for it again in a forked child.  Where there is no epoll (elsewhere than on Linux)
 * and there is a key, it tells of new peers only: call mp_listener_accept every few
 * milliseconds as well while handshakes are under way.
 *
 * Returns 0, or
 *   EINVAL   `listener` or `fd` is NULL, or the listener is closed
 *   EMFILE, ENFILE, ENOMEM   no descriptors, or no memory
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    listener._listener._socket.fileno()
 */
MP_API MP_MUST_CHECK int mp_listener_fileno(mp_listener *listener, int *fd);

typedef struct mp_client_options {
    size_t struct_size;  /* set by MP_CLIENT_OPTIONS */
    const void *authkey; /* NULL: none */
    size_t authkey_size; /* bytes */
    const char *digest;  /* NULL: "sha256" */
    int timeout_ms;      /* for all of it, but for looking up a host; 0: 20000 */
    int allow_legacy;    /* not 0: also listeners of Python before 3.12 */
    int any_user;        /* not 0: also another user's listener at a Unix socket */
    int reserved;        /* 0 */
} mp_client_options;

#define MP_CLIENT_OPTIONS(...)                                                     \
    (&(const mp_client_options){.struct_size = sizeof(mp_client_options),          \
                                __VA_ARGS__})

/*
 * mp_client - connect to the listener at `address`.
 *
 * With a key, returns when both sides have proved that they hold it; a listener that is
 * busy elsewhere has .timeout_ms for it, for ever if that is MP_FOREVER.  A host with
 * several addresses is tried at each of them until one connects; at those of IPv6 only if
 * it has none of IPv4.
 *
 * Returns 0 with a connection, which is to be freed, or
 *   EACCES          the listener did not prove that it holds the key, or was not content
 *                   with our proof, or asks for none; it is another user's; or the path
 *                   may not be written to
 *   ETIMEDOUT       not in time; also a listener that asks for no key
 *   ECONNREFUSED    nobody listens there
 *   ENOENT          there is no such path
 *   EPIPE           the listener left in the middle, as it does when it is flooded
 *   EINVAL          `out` or `address` is NULL; the address is none; .digest is none of
 *                   the five; .authkey is NULL and its size is not 0; .timeout_ms is
 *                   negative and not MP_FOREVER; .reserved is not 0; or the options are
 *                   of a newer libmp
 *   ENAMETOOLONG, EADDRNOTAVAIL, EAGAIN   as of mp_listener_new
 *   EMFILE, ENFILE, ENOMEM   no descriptors, or no memory
 *   others          as of connect(2): ENETUNREACH, EHOSTUNREACH, ...
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    Client(address, authkey=authkey)
 */
MP_API MP_MUST_CHECK int mp_client(mp_connection **out, const char *address,
                                   const mp_client_options *options);

typedef struct mp_challenge_options {
    size_t struct_size; /* set by MP_CHALLENGE_OPTIONS */
    const char *digest; /* to deliver; NULL: "sha256" */
    int timeout_ms;     /* 0: 5000 */
    int allow_legacy;   /* not 0: also peers of Python before 3.12 */
} mp_challenge_options;

#define MP_CHALLENGE_OPTIONS(...)                                                  \
    (&(const mp_challenge_options){.struct_size = sizeof(mp_challenge_options),    \
                                   __VA_ARGS__})

/*
 * mp_deliver_challenge - let the other end of a connection prove that it holds the key;
 * mp_answer_challenge - prove it to the other end.
 *
 * Two halves of what listeners and clients do by themselves, for connections that came
 * about otherwise, as by mp_pipe or a descriptor that was received: one end delivers and
 * then answers, the other answers and then delivers.  The one that delivers first learns
 * more than it tells; let it be the one that has more to lose.  For duplex connections
 * over sockets.
 *
 * Return 0, or
 *   EACCES      the other end did not prove itself; or was not content with our proof.
 *               Close the connection.
 *   ETIMEDOUT   not in time.  Close the connection.
 *   EPIPE       the other end is gone
 *   EINVAL      `connection` or `authkey` is NULL (a key of no bytes is not NULL); .digest
 *               is none of the five; .timeout_ms is negative and not MP_FOREVER; the
 *               options are of a newer libmp; or as of mp_connection_send and
 *               mp_connection_recv
 *   others      as of mp_connection_send and mp_connection_recv
 *
 * Processes: any that has it.  Threads: one at a time.  Signal handlers: no.
 * Python:    deliver_challenge(connection, authkey, digest_name),
 *            answer_challenge(connection, authkey)
 */
MP_API MP_MUST_CHECK int mp_deliver_challenge(mp_connection *connection,
                                              const void *authkey, size_t authkey_size,
                                              const mp_challenge_options *options);
MP_API MP_MUST_CHECK int mp_answer_challenge(mp_connection *connection,
                                             const void *authkey, size_t authkey_size,
                                             const mp_challenge_options *options);

#ifdef __cplusplus
}
#endif

#endif
