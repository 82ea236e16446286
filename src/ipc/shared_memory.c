/* SPDX-License-Identifier: MIT */
/*
 * shared_memory.c - memory with a name, which any program can open.
 *
 * A block is a file of the system's shared memory, mapped.  The descriptor is needed only
 * while the block is made or opened.
 *
 * Making one.  On Linux the file has no name at first: it gets its memory, is filled, and
 * then linked to its name in one step, which fails if the name is taken.  A death before
 * that leaves nothing, and nobody meets half a block.  Where that can't be done - another
 * system, no /proc, a /dev/shm of an odd kind - the file has its name from the start.
 *
 * Who opens a block trusts nothing: there may be a link, a pipe or a stranger's file under
 * the name.
 */
#include "ipc/shared_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/options.h"
#include "base/random.h"
#include "base/sys.h"

#if defined(__linux__) && !defined(MP_PORTABLE) && defined(O_TMPFILE)
#define HAVE_NAMELESS 1
#define DIRECTORY     "/dev/shm"
#endif

/* Where blocks are files, shm_open is open: a planted link must not be followed, nor a
   planted pipe waited for.  Other systems refuse flags that they don't know. */
#ifdef __linux__
#define OPEN_FLAGS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
#else
#define OPEN_FLAGS 0 /* shm_open sets FD_CLOEXEC by itself */
#endif

enum { NAME_LONGEST = 255, MODE = 0600 };

struct mp_shared_memory {
    void *buffer; /* NULL when closed */
    size_t size;
    char name[NAME_LONGEST + 2]; /* with one '/' in front */
};

/* What a new block is to be. */
struct plan {
    mp_shared_memory *memory;
    bool named; /* by the caller */
    mp__shared_memory_fill_fn *fill;
    void *arg;
};

static int store_name(mp_shared_memory *memory, const char *name)
{
    if (!name)
        return EINVAL;
    name += strspn(name, "/");

    size_t length = strnlen(name, NAME_LONGEST + 1);
    if (length == 0 || length > NAME_LONGEST || strchr(name, '/') ||
        strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return EINVAL;
    memory->name[0] = '/';
    memcpy(memory->name + 1, name, length + 1);
    return 0;
}

/* As long as Python's, which are the longest that every system takes. */
static int make_name(mp_shared_memory *memory)
{
    uint32_t number;
    int err = mp__random(&number, sizeof(number));

    if (!err)
        snprintf(memory->name, sizeof(memory->name), "/psm_%08x", (unsigned)number);
    return err;
}

/* Above the limit for files the system would not only refuse, but send SIGXFSZ. */
static int check_size(size_t size)
{
    struct rlimit limit;

    if (size == 0)
        return EINVAL;
    if (size > PTRDIFF_MAX || (off_t)size < 0 || (size_t)(off_t)size != size)
        return EOVERFLOW;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        size > limit.rlim_cur)
        return EFBIG;
    return 0;
}

/*
 * Give the file its size and its memory.  A signal would make the system start over, so a
 * busy timer could keep it from ever getting through: none is let in meanwhile.
 */
static int reserve(int fd, size_t size)
{
    sigset_t all, saved;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    do
        err = posix_fallocate(fd, 0, (off_t)size);
    while (err == EINTR);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);

    /* Some systems can't do that with shared memory, and say so. */
    if (err == EINVAL || err == ENODEV || err == ENOSYS || err == EOPNOTSUPP)
        err = ftruncate(fd, (off_t)size) < 0 ? errno : 0;
    return err;
}

static int map(mp_shared_memory *memory, int fd, size_t size, int protection)
{
    void *mapped = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

    if (mapped == MAP_FAILED)
        return errno;
    memory->buffer = mapped;
    memory->size = size;
    return 0;
}

static void unmap(mp_shared_memory *memory)
{
    if (memory->buffer)
        munmap(memory->buffer, memory->size);
    memory->buffer = NULL;
}

/* All that a new block needs besides its name. */
static int furnish(const struct plan *plan, int fd)
{
    mp_shared_memory *memory = plan->memory;

    /* The umask can only have taken from it. */
    int err = fchmod(fd, MODE) < 0 ? errno : 0;
    if (!err)
        err = reserve(fd, memory->size);
    if (!err)
        err = map(memory, fd, memory->size, PROT_READ | PROT_WRITE);
    if (!err && plan->fill)
        err = plan->fill(memory->buffer, memory->size, plan->arg);
    return err;
}

/* Call `take` for the name that was given, or for new ones until it finds one free. */
static int take_name(const struct plan *plan, int (*take)(const char *name, int *fd),
                     int *fd)
{
    int err;

    do {
        err = plan->named ? 0 : make_name(plan->memory);
        if (!err)
            err = take(plan->memory->name, fd);
    } while (err == EEXIST && !plan->named);
    return err;
}

static int open_named(const char *name, int *fd)
{
    int made = shm_open(name, O_CREAT | O_EXCL | O_RDWR | OPEN_FLAGS, MODE);
    if (made < 0)
        return errno;

    int err = mp__above_standard(&made);
    if (err) {
        mp__close(&made);
        shm_unlink(name);
        return err;
    }
    *fd = made;
    return 0;
}

static int make_named(const struct plan *plan)
{
    int fd = -1;
    int err = take_name(plan, open_named, &fd);
    if (err)
        return err;

    err = furnish(plan, fd);
    if (err) {
        unmap(plan->memory);
        shm_unlink(plan->memory->name);
    }
    mp__close(&fd);
    return err;
}

#ifdef HAVE_NAMELESS

typedef char path[sizeof(DIRECTORY) + sizeof(((mp_shared_memory *)0)->name)];

static int link_nameless(const char *name, int *fd)
{
    char from[32];
    path to;

    snprintf(from, sizeof(from), "/proc/self/fd/%d", *fd);
    snprintf(to, sizeof(to), DIRECTORY "%s", name);
    return linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
}

/* The link decides.  But nobody is to wait for memory in vain, nor to hear that there is
   none, who would have attached to the block that has it. */
static bool is_taken(const struct plan *plan)
{
    struct stat found;
    path at;

    snprintf(at, sizeof(at), DIRECTORY "%s", plan->memory->name);
    return plan->named && lstat(at, &found) == 0;
}

/* Errors that the other way would meet as well. */
static bool is_final(int err)
{
    return err == EEXIST || err == ENOSPC || err == ENOMEM || err == EMFILE ||
           err == ENFILE || err == EFBIG;
}

/* ENOTSUP if it must be done the other way. */
static int make_nameless(const struct plan *plan)
{
    if (is_taken(plan))
        return EEXIST;

    int fd = open(DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, MODE);
    int err = fd < 0 ? errno : mp__above_standard(&fd);

    if (!err)
        err = furnish(plan, fd);
    if (!err)
        err = take_name(plan, link_nameless, &fd);
    if (err)
        unmap(plan->memory);
    mp__close(&fd);
    if (err == ENOSPC && is_taken(plan))
        return EEXIST;
    return err && !is_final(err) ? ENOTSUP : err;
}

#else

static int make_nameless(const struct plan *plan)
{
    (void)plan;
    return ENOTSUP;
}

#endif

int mp__shared_memory_new(mp_shared_memory **out, size_t size, const char *name,
                          mp__shared_memory_fill_fn *fill, void *arg)
{
    int err = check_size(size);
    if (err)
        return err;

    mp_shared_memory *memory = mp__sys_calloc(1, sizeof(*memory));
    if (!memory)
        return ENOMEM;
    struct plan plan = {memory, name != NULL, fill, arg};
    memory->size = size;
    if (name)
        err = store_name(memory, name);
    if (!err)
        err = make_nameless(&plan);
    if (err == ENOTSUP)
        err = make_named(&plan);

    if (err)
        free(memory);
    else
        *out = memory;
    return err;
}

int mp_shared_memory_new(mp_shared_memory **out, size_t size,
                         const mp_shared_memory_options *options)
{
    mp_shared_memory_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (known.read_only || known.any_owner)
        return EINVAL;
    return mp__shared_memory_new(out, size, known.name, NULL, NULL);
}

static int open_existing(const char *name, bool read_only, int *fd)
{
    int opened = shm_open(name, (read_only ? O_RDONLY : O_RDWR) | OPEN_FLAGS, 0);

    /* A link, a directory, a socket. */
    if (opened < 0)
        return errno == ELOOP || errno == EISDIR || errno == ENXIO ? EINVAL : errno;
    int err = mp__above_standard(&opened);
    if (err)
        mp__close(&opened);
    else
        *fd = opened;
    return err;
}

/* Whether what was opened is a block, and one that may be trusted as much as this user. */
static int examine(int fd, bool any_owner, size_t *size)
{
    struct stat found;

    if (fstat(fd, &found) < 0)
        return errno;
#ifdef __linux__
    /* A second name would be one that somebody else has given to another block. */
    if (!S_ISREG(found.st_mode) || found.st_nlink > 1)
        return EINVAL;
#endif
    if (!any_owner && found.st_uid != geteuid() && found.st_uid != 0)
        return EACCES;
    if (found.st_size <= 0)
        return EINVAL;
    if ((uintmax_t)found.st_size > PTRDIFF_MAX)
        return EOVERFLOW;
    *size = (size_t)found.st_size;
    return 0;
}

static int open_and_map(mp_shared_memory *memory, bool read_only, bool any_owner)
{
    int fd = -1;
    size_t size = 0;
    int err = open_existing(memory->name, read_only, &fd);

    if (!err)
        err = examine(fd, any_owner, &size);
    if (!err)
        err = map(memory, fd, size, read_only ? PROT_READ : PROT_READ | PROT_WRITE);
    mp__close(&fd);
    return err;
}

int mp__shared_memory_attach(mp_shared_memory **out, const char *name, bool read_only,
                             bool any_owner)
{
    mp_shared_memory *memory = mp__sys_calloc(1, sizeof(*memory));
    if (!memory)
        return ENOMEM;

    int err = store_name(memory, name);
    if (!err)
        err = open_and_map(memory, read_only, any_owner);
    if (err)
        free(memory);
    else
        *out = memory;
    return err;
}

int mp_shared_memory_attach(mp_shared_memory **out, const char *name,
                            const mp_shared_memory_options *options)
{
    mp_shared_memory_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (known.name)
        return EINVAL;
    return mp__shared_memory_attach(out, name, known.read_only, known.any_owner);
}

void mp_shared_memory_free(mp_shared_memory *memory)
{
    if (!memory)
        return;
    unmap(memory);
    free(memory);
}

int mp_shared_memory_close(mp_shared_memory *memory)
{
    if (!memory)
        return EINVAL;
    unmap(memory);
    return 0;
}

int mp_shared_memory_unlink(mp_shared_memory *memory)
{
    if (!memory)
        return EINVAL;
    if (shm_unlink(memory->name) == 0)
        return 0;
    return errno == EISDIR ? EPERM : errno; /* as POSIX has it, and Linux has not */
}

int mp_shared_memory_remove(const char *name)
{
    mp_shared_memory named;
    int err = store_name(&named, name);

    return err ? err : mp_shared_memory_unlink(&named);
}

void *mp_shared_memory_buffer(const mp_shared_memory *memory)
{
    return memory ? memory->buffer : NULL;
}

size_t mp_shared_memory_size(const mp_shared_memory *memory)
{
    return memory ? memory->size : 0;
}

const char *mp_shared_memory_name(const mp_shared_memory *memory)
{
    return memory ? memory->name + 1 : NULL;
}
