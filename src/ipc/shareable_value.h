/* SPDX-License-Identifier: MIT */
/* shareable_value.h - the items that callers give to a ShareableList. */
#ifndef MP_IPC_SHAREABLE_VALUE_H
#define MP_IPC_SHAREABLE_VALUE_H

#include "mp/shareable_list.h"

/* What an item takes that is no text, and what the room of each is a multiple of. */
enum { MP__SHAREABLE_WORD = 8 };

/* The largest multiple of 8 that a format of 8 bytes can tell. */
#define MP__SHAREABLE_ROOM_MOST ((size_t)9999992)

/* An item of the caller's, checked: a text, or what stands in the word. */
struct mp__shareable_value {
    enum mp_shareable_type type;
    bool is_text; /* a str or bytes */
    const unsigned char *bytes;
    size_t size;
    size_t letters;
    unsigned char word[MP__SHAREABLE_WORD];
};

/* EINVAL if it is none. */
int mp__shareable_check(struct mp__shareable_value *value, const mp_shareable_item *item);

/* How much room a list is to give it: EINVAL, EOVERFLOW. */
int mp__shareable_room(const mp_shareable_item *item, size_t *room);

/* Whether two that are int, float or bool are equal. */
bool mp__shareable_equal_numbers(const mp_shareable_item *one,
                                 const mp_shareable_item *other);

#endif
