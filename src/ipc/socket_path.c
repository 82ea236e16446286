/* SPDX-License-Identifier: MIT */
/*
 * socket_path.c - where Unix sockets stand in the file system, and how they leave it.
 *
 * A process that is killed leaves its socket there.  At a path that somebody chose, the
 * next one who listens there finds that nobody does any more, and replaces it.  For
 * sockets that were to be private, nobody would come; on Linux they lose their name at
 * once, and are reached through a descriptor of this process, /proc/<pid>/fd/<number>:
 * of that nothing remains.  The system lets only those follow it who might also debug this
 * process: the same user's, and root's.
 *
 * Of two who come at once to replace a dead one, the second might remove what the first
 * has just put there: they lock the directory meanwhile.  POSIX has no such lock; elsewhere
 * than on Linux one of two who come within the same microseconds may lose its name.
 */
#include "ipc/socket_path.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "ipc/socket.h"

#if defined(__linux__) && !defined(MP_PORTABLE)
#define HAVE_LINUX 1
#include <sys/file.h>
#include <sys/prctl.h>
#endif

enum { LOCK_TRIES = 100, LOCK_PAUSE_MS = 10 };

static int clear(struct mp__socket_path *place, int err)
{
    *place->file = *place->directory = *place->name = 0;
    return err;
}

#ifdef HAVE_LINUX

/* The lock of the directory of `path`, or -1 if it can't be had: then there is none. */
static int lock_directory(const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : (size_t)(slash - path);

    memcpy(directory, path, length);
    directory[length] = 0;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return fd;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        (void)poll(NULL, 0, LOCK_PAUSE_MS);
    }
    mp__close(&fd);
    return -1;
}

#else

static int lock_directory(const char *path)
{
    (void)path;
    return -1;
}

#endif

/*
 * Whether a socket that is there is nobody's any more.  Who connects with a socket of
 * another type is told so, if it is somebody's, and nobody notices.
 */
static bool is_dead(const struct mp__address *address)
{
    struct stat info;

    if (lstat(address->of.path.sun_path, &info) < 0 || !S_ISSOCK(info.st_mode))
        return false;
    int fd = -1, err = mp__socket(AF_UNIX, SOCK_DGRAM, &fd);
    if (err)
        return false;
    err = connect(fd, &address->of.any, address->size) < 0 ? errno : 0;
    mp__close(&fd);
    return err == ECONNREFUSED;
}

/* Bind, so that not even for a moment others may connect. */
#ifdef HAVE_LINUX

static int bind_privately(int fd, const struct mp__address *address)
{
    if (fchmod(fd, 0600) < 0) /* the file takes it over */
        return errno;
    return bind(fd, &address->of.any, address->size) < 0 ? errno : 0;
}

#else

static int bind_privately(int fd, const struct mp__address *address)
{
    if (bind(fd, &address->of.any, address->size) < 0)
        return errno;
    /* Nobody can connect before it listens. */
    if (chmod(address->of.path.sun_path, 0600) == 0)
        return 0;
    int err = errno;
    (void)unlink(address->of.path.sun_path);
    return err;
}

#endif

static int bind_and_listen(int fd, const struct mp__address *address, int backlog)
{
    int err = bind_privately(fd, address);
    if (err || listen(fd, backlog) == 0)
        return err;
    err = errno;
    (void)unlink(address->of.path.sun_path);
    return err;
}

/* Remember which file it is. */
static void identify(struct mp__socket_path *place, const char *path)
{
    struct stat info;

    if (lstat(path, &info) < 0)
        return;
    place->device = info.st_dev;
    place->inode = info.st_ino;
}

/* The host may change its directory before it closes the listener. */
static int make_absolute(const char *path, char file[PATH_MAX])
{
    size_t length = 0;

    *file = 0;
    if (*path != '/') {
        if (!getcwd(file, PATH_MAX))
            return errno == ERANGE ? ENAMETOOLONG : errno;
        length = strlen(file);
    }
    if (length + 1 + strlen(path) >= PATH_MAX)
        return ENAMETOOLONG;
    snprintf(file + length, PATH_MAX - length, "%s%s", *path == '/' ? "" : "/", path);
    return 0;
}

int mp__socket_path_listen(struct mp__socket_path *place, int fd, const char *path,
                           int backlog)
{
    struct mp__address address;

    place->held = -1;
    clear(place, 0);
    int err = mp__address_of_path(path, &address);
    if (!err)
        err = make_absolute(path, place->file);
    if (err)
        return clear(place, err);

    int lock = lock_directory(place->file);
    err = bind_and_listen(fd, &address, backlog);
    if (err == EADDRINUSE && is_dead(&address)) {
        (void)unlink(path);
        err = bind_and_listen(fd, &address, backlog);
    }
    if (!err)
        identify(place, path);
    mp__close(&lock);
    return err ? clear(place, err) : 0;
}

static int make_directory(char directory[MP__PATH_MAX + 1])
{
    static const char pattern[] = "libmp-XXXXXX";
    const char *parent = getenv("TMPDIR");

    /* Room for the name of the socket must be left. */
    if (!parent || *parent != '/' ||
        strlen(parent) + sizeof(pattern) + sizeof("/listener") > MP__PATH_MAX)
        parent = "/tmp";
    snprintf(directory, MP__PATH_MAX + 1, "%s/%s", parent, pattern);
    return mkdtemp(directory) ? 0 : errno;
}

static void remove_file_and_directory(struct mp__socket_path *place)
{
    struct stat info;

    if (*place->file && lstat(place->file, &info) == 0 && info.st_dev == place->device &&
        info.st_ino == place->inode)
        (void)unlink(place->file);
    if (*place->directory)
        (void)rmdir(place->directory);
    *place->file = *place->directory = 0;
}

#ifdef HAVE_LINUX

/* Keep the file, and take away its name. */
static void go_without_name(struct mp__socket_path *place)
{
    struct stat info;
    char own[64];

    if (prctl(PR_GET_DUMPABLE) != 1)
        return; /* nobody but root could follow the path */
    int held = open(place->file, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (held < 0)
        return;
    int err = mp__above_standard(&held);
    snprintf(own, sizeof(own), "/proc/%ld/fd/%d", (long)getpid(), held);
    if (err || stat(own, &info) < 0 || info.st_dev != place->device ||
        info.st_ino != place->inode) {
        mp__close(&held);
        return;
    }
    remove_file_and_directory(place);
    place->held = held;
    memcpy(place->name, own, strlen(own) + 1);
}

#else

static void go_without_name(struct mp__socket_path *place)
{
    (void)place;
}

#endif

int mp__socket_path_listen_privately(struct mp__socket_path *place, int fd, int backlog)
{
    struct mp__address address;

    place->held = -1;
    clear(place, 0);
    int err = make_directory(place->directory);
    if (err)
        return clear(place, err);
    snprintf(place->file, sizeof(place->file), "%s/listener", place->directory);
    err = mp__address_of_path(place->file, &address);
    if (!err)
        err = bind_and_listen(fd, &address, backlog);
    if (err) {
        (void)rmdir(place->directory);
        return clear(place, err);
    }
    identify(place, place->file);
    go_without_name(place);
    return 0;
}

void mp__socket_path_remove(struct mp__socket_path *place)
{
    remove_file_and_directory(place);
    mp__close(&place->held);
    clear(place, 0);
}
