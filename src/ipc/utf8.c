/* SPDX-License-Identifier: MIT */
/* utf8.c - which bytes are a text. */
#include "ipc/utf8.h"

/* How long the letter is that begins here, or 0 if it is no UTF-8. */
static size_t letter_size(const unsigned char *text, size_t left)
{
    unsigned char first = text[0];
    size_t size = first < 0x80                     ? 1
                  : first >= 0xc2 && first <= 0xdf ? 2
                  : first >= 0xe0 && first <= 0xef ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
    if (size <= 1 || left < size)
        return left < size ? 0 : size;

    /* Longer than need be, a surrogate, or above U+10FFFF: the second byte tells. */
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool mp__utf8_count(const unsigned char *text, size_t size, size_t *letters)
{
    size_t count = 0;

    for (size_t at = 0, length; at < size; at += length, count++) {
        length = letter_size(text + at, size - at);
        if (length == 0)
            return false;
    }
    *letters = count;
    return true;
}
