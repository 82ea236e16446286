/* SPDX-License-Identifier: MIT */
/* socket.h - sockets that listen and connect; close-on-exec, none of them 0, 1 or 2. */
#ifndef MP_IPC_SOCKET_H
#define MP_IPC_SOCKET_H

#include "ipc/address.h"

#include <stdint.h>

/* A socket for addresses of that kind; of type SOCK_STREAM or SOCK_DGRAM. */
int mp__socket(int family, int type, int *fd);

/* Take the next peer of a socket that listens and never waits: EAGAIN if there is none. */
int mp__socket_accept(int listening, int *fd);

/* Connect a new socket until `deadline` (base/clock.h): ETIMEDOUT, or as connect(2). */
int mp__socket_connect(const struct mp__address *address, int64_t deadline, int *fd);

/* Make reading and writing wait, or not. */
int mp__socket_set_blocking(int fd, bool blocking);

/* Whether the process at the other end of a Unix socket is of this user, or root's; true
   where the system does not tell. */
bool mp__socket_peer_is_own(int fd);

#endif
