/* SPDX-License-Identifier: MIT */
/*
 * shareable_list.c - a list in named memory.
 *
 * The memory is shared_memory.c's, and what stands in it shareable_layout.c's.
 */
#include "mp/shareable_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/sys.h"
#include "ipc/shareable_layout.h"
#include "ipc/shared_memory.h"

struct mp_shareable_list {
    mp_shared_memory *memory;
    struct mp__shareable layout;
    bool read_only;
};

struct items {
    const mp_shareable_item *first;
    size_t count;
    struct mp__shareable *layout;
};

static int write_items(void *buffer, size_t size, void *arg)
{
    const struct items *items = arg;

    return mp__shareable_write(items->layout, buffer, size, items->first, items->count);
}

static int make_list(mp_shareable_list *list, const mp_shareable_item *items, size_t count,
                     const char *name)
{
    struct items all = {items, count, &list->layout};
    size_t size;
    int err = mp__shareable_measure(items, count, &size);

    if (!err)
        err = mp__shared_memory_new(&list->memory, size, name, write_items, &all);
    return err;
}

int mp_shareable_list_new(mp_shareable_list **out, const mp_shareable_item *items,
                          size_t count, const mp_shareable_list_options *options)
{
    mp_shareable_list_options known;

    if (!out || (!items && count))
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (known.read_only || known.any_owner)
        return EINVAL;

    mp_shareable_list *list = mp__sys_calloc(1, sizeof(*list));
    if (!list)
        return ENOMEM;
    err = make_list(list, items, count, known.name);
    if (err)
        free(list);
    else
        *out = list;
    return err;
}

static int open_list(mp_shareable_list *list, const char *name,
                     const mp_shareable_list_options *options)
{
    int err = mp__shared_memory_attach(&list->memory, name, options->read_only,
                                       options->any_owner);
    if (err)
        return err;

    list->read_only = options->read_only;
    err = mp__shareable_open(&list->layout, mp_shared_memory_buffer(list->memory),
                             mp_shared_memory_size(list->memory));
    if (err)
        mp_shared_memory_free(list->memory);
    return err;
}

int mp_shareable_list_attach(mp_shareable_list **out, const char *name,
                             const mp_shareable_list_options *options)
{
    mp_shareable_list_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;
    if (known.name)
        return EINVAL;

    mp_shareable_list *list = mp__sys_calloc(1, sizeof(*list));
    if (!list)
        return ENOMEM;
    err = open_list(list, name, &known);
    if (err)
        free(list);
    else
        *out = list;
    return err;
}

void mp_shareable_list_free(mp_shareable_list *list)
{
    if (!list)
        return;
    mp_shared_memory_free(list->memory);
    free(list);
}

int mp_shareable_list_close(mp_shareable_list *list)
{
    if (!list)
        return EINVAL;
    list->layout.memory = NULL;
    return mp_shared_memory_close(list->memory);
}

int mp_shareable_list_unlink(mp_shareable_list *list)
{
    return list ? mp_shared_memory_unlink(list->memory) : EINVAL;
}

const char *mp_shareable_list_name(const mp_shareable_list *list)
{
    return list ? mp_shared_memory_name(list->memory) : NULL;
}

size_t mp_shareable_list_len(const mp_shareable_list *list)
{
    return list ? list->layout.count : 0;
}

static bool is_open(const mp_shareable_list *list)
{
    return list && list->layout.memory;
}

int mp_shareable_list_get(const mp_shareable_list *list, size_t index,
                          mp_shareable_item *item, void *buffer, size_t capacity)
{
    if (!is_open(list) || !item || (!buffer && capacity))
        return EINVAL;
    return mp__shareable_get(&list->layout, index, item, buffer, capacity);
}

int mp_shareable_list_set(mp_shareable_list *list, size_t index,
                          const mp_shareable_item *item)
{
    if (!is_open(list) || !item)
        return EINVAL;
    if (list->read_only)
        return EPERM;
    return mp__shareable_set(&list->layout, index, item);
}

int mp_shareable_list_index(const mp_shareable_list *list, const mp_shareable_item *item,
                            size_t *index)
{
    size_t found = 0;

    if (!is_open(list) || !item || !index)
        return EINVAL;
    int err = mp__shareable_find(&list->layout, item, &found);
    if (!err)
        *index = found;
    return err;
}

int mp_shareable_list_count(const mp_shareable_list *list, const mp_shareable_item *item,
                            size_t *count)
{
    size_t equal = 0, at = 0;
    int err;

    if (!is_open(list) || !item || !count)
        return EINVAL;
    for (; (err = mp__shareable_find(&list->layout, item, &at)) == 0; at++)
        equal++;
    if (err != ENOENT)
        return err;
    *count = equal;
    return 0;
}

int mp_shareable_list_format(const mp_shareable_list *list, char *buffer, size_t capacity,
                             size_t *size)
{
    mp__shareable_format format;
    size_t length = 0;

    if (!is_open(list) || (!buffer && capacity))
        return EINVAL;
    for (size_t i = 0; i < list->layout.count; i++) {
        int err = mp__shareable_format_of(&list->layout, i, format);
        if (err)
            return err;
        size_t more = strlen(format);
        if (length + more < capacity)
            memcpy(buffer + length, format, more);
        length += more;
    }
    if (size)
        *size = length;
    if (length >= capacity)
        return EMSGSIZE;
    buffer[length] = 0;
    return 0;
}
