/* SPDX-License-Identifier: MIT */
/* quiet.h - writing to pipes whose reader may be gone. */
#ifndef MP_IPC_QUIET_H
#define MP_IPC_QUIET_H

#include <sys/types.h>
#include <sys/uio.h>

/* As writev(2), but without SIGPIPE, whatever the host thinks of it. */
ssize_t mp__quiet_writev(int fd, const struct iovec *parts, int count);

#endif
