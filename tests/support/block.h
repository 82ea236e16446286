/* SPDX-License-Identifier: MIT */
/* block.h - what the tests of named memory have in common. */
#ifndef TEST_BLOCK_H
#define TEST_BLOCK_H

#include "test.h"

#include <unistd.h>

#include <mp/mp.h>

/* A name of this program's own, the same in its children. */
static inline const char *own_name(void)
{
    static char name[64];

    if (!name[0])
        snprintf(name, sizeof name, "mpt_memory_%d", (int)getpid());
    return name;
}

static inline const char *path_of(const char *name)
{
    static char path[300];

    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return path;
}

static inline mp_shared_memory *make(size_t size)
{
    mp_shared_memory *memory = NULL;

    assert_int_equal(mp_shared_memory_new(&memory, size,
                                          MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
                     0);
    return memory;
}

static inline mp_shared_memory *attach(const char *name)
{
    mp_shared_memory *memory = NULL;

    assert_int_equal(mp_shared_memory_attach(&memory, name, NULL), 0);
    return memory;
}

static inline void end(mp_shared_memory *memory)
{
    assert_int_equal(mp_shared_memory_unlink(memory), 0);
    mp_shared_memory_free(memory);
}

static inline bool all_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

#endif
