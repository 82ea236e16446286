/* SPDX-License-Identifier: MIT */
/*
 * shareable_layout.c - a ShareableList as bytes, wherever they are.
 *
 *   [ N | offset 0..N | data ... | format 0..N-1 | code 0..N-1 ]
 *
 * N and the offsets are 64-bit numbers; the offsets are relative to the data, the last is
 * the size of the data.  A format takes 8 bytes, and is what Python's module `struct` takes
 * for the item; a code, one byte, is what Python makes of the outcome:
 *
 *   int     q          0     8 bytes
 *   float   d          0     8 bytes
 *   bool    xxxxxxx?   0     8 bytes, the last of them 0 or 1
 *   None    xxxxxx?x   3     8 zero bytes
 *   str     <room>s    1     UTF-8, and zero bytes behind it
 *   bytes   <room>s    2     as they are, and zero bytes behind them
 *
 * Everything begins at a multiple of 8 but for the codes.  This layout is ABI between
 * libmp and Python.
 *
 * Others may write all of it at any moment.  So each word is read once, into this process's
 * own memory, checked there and then used; the number of items and the size of the data
 * are those of when the list was opened.  Everything that follows from the rest is an
 * offset inside of the data.
 */
#include "ipc/shareable_layout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "ipc/shareable_value.h"
#include "ipc/utf8.h"

enum { WORD = MP__SHAREABLE_WORD, FORMAT = 8, HEAD = 2 * WORD, EACH = WORD + FORMAT + 1 };

enum code { PLAIN, STR, BYTES, NONE };

static const struct {
    char format[FORMAT]; /* all zero: depends on the room */
    unsigned char code;
} kinds[] = {
    [MP_SHAREABLE_TYPE_NONE] = {"xxxxxx?x", NONE},
    [MP_SHAREABLE_TYPE_BOOL] = {"xxxxxxx?", PLAIN},
    [MP_SHAREABLE_TYPE_INT] = {"q", PLAIN},
    [MP_SHAREABLE_TYPE_FLOAT] = {"d", PLAIN},
    [MP_SHAREABLE_TYPE_STR] = {"", STR},
    [MP_SHAREABLE_TYPE_BYTES] = {"", BYTES},
};

enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

_Static_assert(sizeof(double) == WORD, "a float is an IEEE double");

/* Where an item is. */
struct place {
    unsigned char *data;
    size_t room;
    unsigned char *format;
    unsigned char *code;
};

static uint64_t load(const unsigned char *at)
{
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)at,
                                memory_order_relaxed);
}

static void store(unsigned char *at, uint64_t word)
{
    atomic_store_explicit((_Atomic uint64_t *)(void *)at, word, memory_order_relaxed);
}

int mp__shareable_measure(const mp_shareable_item *items, size_t count, size_t *size)
{
    size_t total = HEAD, room;

    for (size_t i = 0; i < count; i++) {
        int err = mp__shareable_room(&items[i], &room);
        if (err)
            return err;
        if (room + EACH > PTRDIFF_MAX - total)
            return EOVERFLOW;
        total += room + EACH;
    }
    *size = total;
    return 0;
}

/*
 * The items were measured before, but what they point to may lie in memory that others
 * write to: it is measured once more, and not trusted to need what it needed then.
 */
static int write_offsets(struct mp__shareable *list, size_t most,
                         const mp_shareable_item *items)
{
    size_t room;

    for (size_t i = 0; i < list->count; i++) {
        if (mp__shareable_room(&items[i], &room) != 0 || room > most - list->room)
            return EINVAL;
        list->room += room;
        store(list->memory + WORD * (2 + i), list->room);
    }
    return 0;
}

/* The number of items comes last: an empty list is what everybody sees until then. */
int mp__shareable_write(struct mp__shareable *list, void *memory, size_t size,
                        const mp_shareable_item *items, size_t count)
{
    struct mp__shareable written = {memory, count, HEAD + count * WORD, 0};
    int err = write_offsets(&written, size - HEAD - count * EACH, items);

    for (size_t i = 0; i < count && !err; i++)
        err = mp__shareable_set(&written, i, &items[i]) ? EINVAL : 0;
    if (err)
        return err;
    atomic_thread_fence(memory_order_release); /* with the one of mp__shareable_open */
    store(written.memory, count);
    *list = written;
    return 0;
}

static bool offsets_ascend(const struct mp__shareable *list)
{
    uint64_t last = 0;

    if (load(list->memory + WORD) != 0)
        return false;
    for (size_t i = 1; i <= list->count; i++) {
        uint64_t next = load(list->memory + WORD * (1 + i));
        if (next <= last || next > list->room || next % WORD)
            return false;
        last = next;
    }
    return last == list->room;
}

int mp__shareable_open(struct mp__shareable *list, void *memory, size_t size)
{
    struct mp__shareable opened = {.memory = memory};

    if (size < HEAD)
        return EPROTO;
    uint64_t count = load(opened.memory);
    atomic_thread_fence(memory_order_acquire); /* with the one of mp__shareable_write */
    if (count > (size - HEAD) / EACH)
        return EPROTO;
    opened.count = (size_t)count;
    opened.data = HEAD + opened.count * WORD;

    uint64_t room = load(opened.memory + opened.data - WORD);
    if (room > size - HEAD - opened.count * EACH)
        return EPROTO;
    opened.room = (size_t)room;
    if (!offsets_ascend(&opened))
        return EPROTO;
    *list = opened;
    return 0;
}

static int find_place(const struct mp__shareable *list, size_t index, struct place *place)
{
    if (index >= list->count)
        return EINVAL;

    uint64_t begin = load(list->memory + WORD * (1 + index));
    uint64_t end = load(list->memory + WORD * (2 + index));
    if (begin >= end || end > list->room || begin % WORD || end % WORD)
        return EPROTO;

    unsigned char *formats = list->memory + list->data + list->room;
    place->data = list->memory + list->data + begin;
    place->room = (size_t)(end - begin);
    place->format = formats + index * FORMAT;
    place->code = formats + list->count * FORMAT + index;
    return 0;
}

/* The number in front of the s, or 0 if it is no such format. */
static size_t text_format(const char format[FORMAT])
{
    size_t number = 0, at = 0;

    for (; at < FORMAT && format[at] >= '0' && format[at] <= '9'; at++)
        number = number * 10 + (size_t)(format[at] - '0');
    if (at == FORMAT || format[at] != 's')
        return 0;
    while (++at < FORMAT)
        if (format[at])
            return 0;
    return number;
}

/*
 * What the item is, in the words of another program; `size` is that of the text with all
 * its zero bytes.
 */
static int read_kind(const struct place *place, enum mp_shareable_type *type, size_t *size,
                     char format[FORMAT])
{
    uint64_t word = load(place->format);
    unsigned char code = *(const volatile unsigned char *)place->code;

    memcpy(format, &word, FORMAT);
    *size = text_format(format);
    if (*size > place->room)
        return EPROTO;
    for (unsigned i = 0; i < KINDS; i++) {
        bool is_text = !kinds[i].format[0];
        if (kinds[i].code != code ||
            (is_text ? *size == 0 : memcmp(kinds[i].format, format, FORMAT) != 0))
            continue;
        *type = (enum mp_shareable_type)i;
        return 0;
    }
    return EPROTO;
}

/* How long a text is without the zero bytes at its end. */
static size_t stripped(const volatile unsigned char *text, size_t size)
{
    while (size && !text[size - 1])
        size--;
    return size;
}

static int get_text(const struct place *place, mp_shareable_item *item, size_t size,
                    unsigned char *buffer, size_t capacity)
{
    bool is_str = item->type == MP_SHAREABLE_TYPE_STR;
    size_t letters;

    item->size = stripped(place->data, size);
    if (capacity < item->size || (is_str && capacity == item->size))
        return EMSGSIZE;
    if (item->size)
        memcpy(buffer, place->data, item->size);

    /* It may have been changed since: from here on, what was copied is what counts. */
    item->size = stripped(buffer, item->size);
    item->as.data = buffer;
    if (!is_str)
        return 0;
    buffer[item->size] = 0;
    item->as.text = (const char *)buffer;
    return mp__utf8_count(buffer, item->size, &letters) ? 0 : EPROTO;
}

static void get_word(const struct place *place, mp_shareable_item *item)
{
    uint64_t word = load(place->data);
    unsigned char bytes[WORD];

    memcpy(bytes, &word, WORD);
    if (item->type == MP_SHAREABLE_TYPE_INT)
        memcpy(&item->as.integer, bytes, WORD);
    else if (item->type == MP_SHAREABLE_TYPE_FLOAT)
        memcpy(&item->as.real, bytes, WORD);
    else if (item->type == MP_SHAREABLE_TYPE_BOOL)
        item->as.truth = bytes[WORD - 1] != 0;
}

int mp__shareable_get(const struct mp__shareable *list, size_t index,
                      mp_shareable_item *item, void *buffer, size_t capacity)
{
    mp_shareable_item read = {0};
    struct place place;
    char format[FORMAT];
    size_t size;

    int err = find_place(list, index, &place);
    if (!err)
        err = read_kind(&place, &read.type, &size, format);
    if (err)
        return err;
    if (size)
        err = get_text(&place, &read, size, buffer, capacity);
    else
        get_word(&place, &read);
    if (!err || err == EMSGSIZE)
        *item = read;
    return err;
}

/* Only what differs is written: a number in place of a number changes in one step. */
static void write_kind(const struct place *place, enum mp_shareable_type type, size_t room)
{
    char format[24] = {0};
    uint64_t word;

    if (kinds[type].format[0])
        memcpy(format, kinds[type].format, FORMAT);
    else
        snprintf(format, sizeof(format), "%zus", room);
    memcpy(&word, format, FORMAT);
    if (load(place->format) != word)
        store(place->format, word);
    *(volatile unsigned char *)place->code = kinds[type].code;
}

int mp__shareable_set(const struct mp__shareable *list, size_t index,
                      const mp_shareable_item *item)
{
    struct mp__shareable_value value;
    struct place place;
    uint64_t word;

    int err = mp__shareable_check(&value, item);
    if (!err)
        err = find_place(list, index, &place);
    if (err)
        return err;
    size_t room = place.room < MP__SHAREABLE_ROOM_MOST ? place.room
                                                       : MP__SHAREABLE_ROOM_MOST;
    if (value.size > room)
        return EMSGSIZE;

    write_kind(&place, value.type, room);
    if (value.is_text) {
        memcpy(place.data, value.bytes, value.size);
        memset(place.data + value.size, 0, room - value.size);
    } else {
        memcpy(&word, value.word, WORD);
        store(place.data, word);
    }
    return 0;
}

/* A str that Python could not read is malformed, here too, whatever it is compared with. */
static int compare_text(const struct place *place, enum mp_shareable_type type, size_t size,
                        const struct mp__shareable_value *value, bool *equal)
{
    size_t letters;

    size = stripped(place->data, size);
    *equal = type == value->type && size == value->size &&
             memcmp(place->data, value->bytes, size) == 0;
    if (*equal || type != MP_SHAREABLE_TYPE_STR)
        return 0;
    return mp__utf8_count(place->data, size, &letters) ? 0 : EPROTO;
}

static int compare(const struct mp__shareable *list, size_t index,
                   const mp_shareable_item *item, const struct mp__shareable_value *value,
                   bool *equal)
{
    mp_shareable_item read = {0};
    struct place place;
    char format[FORMAT];
    size_t size;

    int err = find_place(list, index, &place);
    if (!err)
        err = read_kind(&place, &read.type, &size, format);
    if (err)
        return err;

    if (size)
        return compare_text(&place, read.type, size, value, equal);
    if (value->is_text || value->type == MP_SHAREABLE_TYPE_NONE ||
        read.type == MP_SHAREABLE_TYPE_NONE) {
        *equal = read.type == value->type;
        return 0;
    }
    get_word(&place, &read);
    *equal = mp__shareable_equal_numbers(&read, item);
    return 0;
}

int mp__shareable_find(const struct mp__shareable *list, const mp_shareable_item *item,
                       size_t *index)
{
    struct mp__shareable_value value;
    bool equal;
    int err = mp__shareable_check(&value, item);

    for (size_t i = *index; !err && i < list->count; i++) {
        err = compare(list, i, item, &value, &equal);
        if (!err && equal) {
            *index = i;
            return 0;
        }
    }
    return err ? err : ENOENT;
}

int mp__shareable_format_of(const struct mp__shareable *list, size_t index,
                            mp__shareable_format format)
{
    enum mp_shareable_type type;
    struct place place;
    char read[FORMAT];
    size_t size;

    int err = find_place(list, index, &place);
    if (!err)
        err = read_kind(&place, &type, &size, read);
    if (err)
        return err;
    memcpy(format, read, FORMAT);
    format[FORMAT] = 0;
    return 0;
}
