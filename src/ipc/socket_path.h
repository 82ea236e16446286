/* SPDX-License-Identifier: MIT */
/* socket_path.h - where Unix sockets stand in the file system, and how they leave it. */
#ifndef MP_IPC_SOCKET_PATH_H
#define MP_IPC_SOCKET_PATH_H

#include "ipc/address.h"

#include <limits.h>
#include <sys/types.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

struct mp__socket_path {
    char file[PATH_MAX];                /* absolute; "" if there is none */
    char directory[MP__PATH_MAX + 1];   /* a private one, to be removed too; or "" */
    char name[MP__PATH_MAX + 1];        /* under which it is to be reached, if not `file` */
    int held;                           /* the file without a name, or -1 */
    dev_t device;                       /* which file it is: another may have come there */
    ino_t inode;
};

/*
 * Make `fd` listen at `path`, with mode 0600.  What a process that died left there is
 * replaced; EADDRINUSE if somebody listens there, or what is there is no socket.
 */
int mp__socket_path_listen(struct mp__socket_path *place, int fd, const char *path,
                           int backlog);

/*
 * Make `fd` listen where nobody else has access: in a new directory of mode 0700 or, where
 * the system allows it, without a place in the file system, as a descriptor of this
 * process.
 */
int mp__socket_path_listen_privately(struct mp__socket_path *place, int fd, int backlog);

/* Remove what was made, if it is still there. */
void mp__socket_path_remove(struct mp__socket_path *place);

#endif
