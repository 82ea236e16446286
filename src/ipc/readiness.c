/* SPDX-License-Identifier: MIT */
/* readiness.c - the descriptor of a pollable queue: see readiness.h. */
#include "ipc/readiness.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "mp/shared.h"

/* In shared memory. */
struct mp__readiness {
    int fds[2]; /* of the creator, and of those forked after */
    dev_t device;
    ino_t inode; /* by which others see that these numbers mean something else to them */
    bool told;   /* there is a byte */
};

static bool is_inherited(const struct mp__readiness *readiness, int fd)
{
    struct stat status;

    return !fstat(fd, &status) && status.st_dev == readiness->device &&
           status.st_ino == readiness->inode;
}

static int make_pipe(struct mp__readiness *readiness)
{
    struct stat status;
    int err = mp__pipe(readiness->fds);
    if (err)
        return err;

    for (int i = 0; i < 2 && !err; i++)
        if (fcntl(readiness->fds[i], F_SETFL, O_NONBLOCK) < 0)
            err = errno;
    if (!err && fstat(readiness->fds[0], &status) < 0)
        err = errno;
    if (err) {
        mp__close(&readiness->fds[0]);
        mp__close(&readiness->fds[1]);
        return err;
    }
    readiness->device = status.st_dev;
    readiness->inode = status.st_ino;
    return 0;
}

int mp__readiness_open(mp_queue *queue)
{
    struct mp__readiness *readiness = mp_shared_alloc(sizeof(*readiness));
    if (!readiness)
        return ENOMEM;

    int err = make_pipe(readiness);
    if (err)
        mp_shared_free(readiness);
    else
        queue->readiness = readiness;
    return err;
}

void mp__readiness_close(mp_queue *queue)
{
    struct mp__readiness *readiness = queue->readiness;
    if (!readiness)
        return;

    for (int i = 0; i < 2; i++)
        if (is_inherited(readiness, readiness->fds[i]))
            mp__close(&readiness->fds[i]);
    mp_shared_free(readiness);
}

int mp__readiness_tell(mp_queue *queue)
{
    struct mp__readiness *readiness = queue->readiness;

    if (readiness->told)
        return 0;
    if (!is_inherited(readiness, readiness->fds[1]))
        return EPERM;

    /* A pipe that is full has bytes enough; readers there are, as all have both ends. */
    while (write(readiness->fds[1], "", 1) < 0 && errno == EINTR)
        continue;
    readiness->told = true;
    return 0;
}

void mp__readiness_withdraw(mp_queue *queue)
{
    struct mp__readiness *readiness = queue->readiness;
    char bytes[64];

    if (!is_inherited(readiness, readiness->fds[0]) ||
        mp__queue_lock(&queue->put_lock, 0)) /* who holds it may be stopped */
        return;
    if (!mp__queue_count(queue) && !mp_queue_closed(queue)) {
        readiness->told = false;
        mp__kill_point_order();
        while (read(readiness->fds[0], bytes, sizeof(bytes)) > 0 || errno == EINTR)
            continue;
    }
    mp__lock_release(&queue->put_lock);
}

int mp_queue_fileno(mp_queue *queue, int *fd)
{
    if (!queue || !fd)
        return EINVAL;
    if (!queue->readiness)
        return ENOTSUP;
    if (!is_inherited(queue->readiness, queue->readiness->fds[0]))
        return EPERM;
    *fd = queue->readiness->fds[0];
    return 0;
}
