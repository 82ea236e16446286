/* SPDX-License-Identifier: MIT */
/* shareable_value.c - the items that callers give to a ShareableList. */
#include "ipc/shareable_value.h"

#include <errno.h>
#include <string.h>

#include "ipc/utf8.h"

enum { WORD = MP__SHAREABLE_WORD };

static int check_text(struct mp__shareable_value *value, const mp_shareable_item *item)
{
    bool is_str = item->type == MP_SHAREABLE_TYPE_STR;
    const void *bytes = is_str ? item->as.text : item->as.data;

    value->is_text = true;
    value->size = item->size;
    if (is_str && item->size == MP_SHAREABLE_TERMINATED)
        value->size = bytes ? strlen(bytes) : 1;
    if (!bytes && value->size)
        return EINVAL;
    value->bytes = bytes ? bytes : (const unsigned char *)"";
    value->letters = value->size;
    /* What is too large is not looked through. */
    if (is_str && value->size <= MP__SHAREABLE_ROOM_MOST &&
        !mp__utf8_count(value->bytes, value->size, &value->letters))
        return EINVAL;
    return 0;
}

int mp__shareable_check(struct mp__shareable_value *value, const mp_shareable_item *item)
{
    *value = (struct mp__shareable_value){.type = item->type};
    switch (item->type) {
    case MP_SHAREABLE_TYPE_NONE:
        return 0;
    case MP_SHAREABLE_TYPE_BOOL:
        value->word[WORD - 1] = item->as.truth;
        return 0;
    case MP_SHAREABLE_TYPE_INT:
        memcpy(value->word, &item->as.integer, WORD);
        return 0;
    case MP_SHAREABLE_TYPE_FLOAT:
        memcpy(value->word, &item->as.real, WORD);
        return 0;
    case MP_SHAREABLE_TYPE_STR:
    case MP_SHAREABLE_TYPE_BYTES:
        return check_text(value, item);
    }
    return EINVAL;
}

/* As Python has it, which counts letters; but never less than the bytes that there are. */
static size_t room_for(const struct mp__shareable_value *value)
{
    if (!value->is_text)
        return WORD;
    size_t room = (value->letters / WORD + 1) * WORD;
    size_t least = (value->size + WORD - 1) / WORD * WORD;
    return room > least ? room : least;
}

int mp__shareable_room(const mp_shareable_item *item, size_t *room)
{
    struct mp__shareable_value value;
    int err = mp__shareable_check(&value, item);

    if (!err && value.size > MP__SHAREABLE_ROOM_MOST)
        err = EOVERFLOW;
    if (err)
        return err;
    *room = room_for(&value);
    return *room > MP__SHAREABLE_ROOM_MOST ? EOVERFLOW : 0;
}

static bool is_whole(const mp_shareable_item *number, int64_t *whole)
{
    if (number->type == MP_SHAREABLE_TYPE_FLOAT)
        return false;
    *whole = number->type == MP_SHAREABLE_TYPE_INT ? number->as.integer : number->as.truth;
    return true;
}

/* Exactly, also where a double can't tell one integer from the next. */
bool mp__shareable_equal_numbers(const mp_shareable_item *one,
                                 const mp_shareable_item *other)
{
    int64_t a, b;
    bool whole = is_whole(one, &a), other_whole = is_whole(other, &b);

    if (whole && other_whole)
        return a == b;
    if (!whole && !other_whole)
        return one->as.real == other->as.real;
    double real = whole ? other->as.real : one->as.real;
    if (!whole)
        a = b;
    return real >= -0x1p63 && real < 0x1p63 && (double)(int64_t)real == real &&
           (int64_t)real == a;
}
