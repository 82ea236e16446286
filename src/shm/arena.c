/* SPDX-License-Identifier: MIT */
/*
 * arena.c - how large the arena is, and where in it everything lies.
 *
 * It is reserved and not committed, so a size that nobody will ever fill costs address
 * space only: as much as the machine has memory.  Some systems do count what is merely
 * reserved (limits on address space, strict overcommit), and get a smaller one.
 *
 * The tables come on top of the size that was asked for.  They follow each other
 * without gaps, because the first members then share the page of the header, which
 * every process has touched already.
 */
#include "shm/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/sys.h"
#include "shm/member_slot.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* The default is not halved below this; a program may ask for less, down to 1 MiB. */
#define LEAST_DEFAULT (8 * MIB)
#define LEAST_ASKED (1 * MIB)

/* Slab numbers must fit 32 bits with room to spare, and sums of sizes a size_t. */
#define MOST (SIZE_MAX > UINT32_MAX ? (uint64_t)64 << 40 : 1 * GIB)

struct mp__arena *mp__arena;

static uint64_t physical_memory(void)
{
#ifdef _SC_PHYS_PAGES
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0)
        return (uint64_t)pages * (uint64_t)page;
#endif
    return 1 * GIB;
}

/* Whether the kernel counts reserved memory as if it were used, in spite of
   MAP_NORESERVE. */
static bool overcommit_is_strict(void)
{
#ifdef MP_PORTABLE
    return false;
#else
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char mode = '0';
    ssize_t got = read(fd, &mode, 1);
    close(fd);
    return got == 1 && mode == '2';
#endif
}

static uint64_t at_most(uint64_t size, uint64_t most)
{
    return size < most ? size : most;
}

static uint64_t default_size(void)
{
    uint64_t size = physical_memory();
    if (overcommit_is_strict())
        size /= 8;
    if (SIZE_MAX <= UINT32_MAX)
        size = at_most(size, 256 * MIB);

    struct rlimit limit;
    if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY)
        size = at_most(size, (uint64_t)limit.rlim_cur / 4);
    return size > LEAST_DEFAULT ? size : LEAST_DEFAULT;
}

/* The environment of a program with more rights than its user is not to be trusted. */
static const char *trusted_getenv(const char *name)
{
#ifdef MP_PORTABLE
    if (getuid() != geteuid() || getgid() != getegid())
        return NULL;
    return getenv(name);
#else
    return secure_getenv(name);
#endif
}

static uint64_t unit_of(const char *suffix)
{
    if (suffix[0] && suffix[1])
        return 0;
    switch (suffix[0]) {
    case '\0':
        return 1;
    case 'k':
    case 'K':
        return KIB;
    case 'm':
    case 'M':
        return MIB;
    case 'g':
    case 'G':
        return GIB;
    default:
        return 0;
    }
}

/* What MP_ARENA_SIZE says, or 0 if it says nothing that makes sense. */
static uint64_t asked_size(void)
{
    const char *text = trusted_getenv("MP_ARENA_SIZE");
    if (!text || *text < '0' || *text > '9')
        return 0;

    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    uint64_t unit = unit_of(end);
    if (errno || !unit || number > MOST / unit)
        return 0;
    uint64_t size = number * unit;
    return size >= LEAST_ASKED ? size : 0;
}

static size_t slab_share(void)
{
    return MP__SLAB_SIZE + MP__SLAB_CELLS * sizeof(uint32_t) + sizeof(uint64_t)
           + sizeof(struct mp__slab_hint);
}

/* What follows the header may want to be aligned to two cache lines. */
static size_t header_share(void)
{
    size_t pair = 2 * MP__CACHE_LINE;
    return (sizeof(struct mp__arena) + pair - 1) / pair * pair;
}

static size_t fixed_share(void)
{
    /* One slab more, because the data begin at a multiple of its size. */
    return header_share() + (MP__MEMBERS_MAX + 1) * sizeof(struct mp__member)
           + MP__SLEEPERS_MAX * (size_t)MP__SLEEPER_SIZE + MP__SLAB_SIZE;
}

/* Find each table its place in the mapping, all of whose bytes are zero. */
static struct mp__arena *lay_out(void *memory, size_t size, size_t slab_count)
{
    struct mp__arena *arena = memory;
    char *at = (char *)memory + header_share();

    arena->members = (void *)at;
    at += (MP__MEMBERS_MAX + 1) * sizeof(struct mp__member);
    arena->sleepers = (void *)at;
    at += MP__SLEEPERS_MAX * (size_t)MP__SLEEPER_SIZE;
    arena->slab_hints = (void *)at;
    at += slab_count * sizeof(struct mp__slab_hint);
    arena->slab_words = (void *)at;
    at += slab_count * sizeof(uint64_t);
    arena->cell_words = (void *)at;
    at += slab_count * MP__SLAB_CELLS * sizeof(uint32_t);

    size_t beyond = (size_t)((uintptr_t)at % MP__SLAB_SIZE);
    arena->data = at + (beyond ? MP__SLAB_SIZE - beyond : 0);
    arena->size = size;
    arena->slab_count = slab_count;
    return arena;
}

static int reserve(struct mp__arena **out)
{
    uint64_t data = asked_size();
    if (!data)
        data = default_size();
    data = at_most(data, MOST);
    uint64_t least = at_most(data, LEAST_DEFAULT);

    for (; data >= least; data /= 2) {
        size_t slab_count = (size_t)(data / MP__SLAB_SIZE);
        size_t size = fixed_share() + slab_count * slab_share();
        void *memory;
        if (!mp__sys_map_shared(size, &memory)) {
            *out = lay_out(memory, size, slab_count);
            return 0;
        }
    }
    return ENOMEM;
}

/*
 * Threads that come here at the same time each reserve one, and all but the first give
 * theirs back.  There is no lock that a fork could leave locked in the child.
 */
int mp__arena_open(void)
{
    if (__atomic_load_n(&mp__arena, __ATOMIC_ACQUIRE))
        return 0;

    struct mp__arena *mine;
    int err = reserve(&mine);
    if (err)
        return __atomic_load_n(&mp__arena, __ATOMIC_ACQUIRE) ? 0 : err;

    struct mp__arena *none = NULL;
    if (!__atomic_compare_exchange_n(&mp__arena, &none, mine, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        munmap(mine, mine->size);
    return 0;
}
