/* SPDX-License-Identifier: MIT */
/* utf8.h - which bytes are a text. */
#ifndef MP_IPC_UTF8_H
#define MP_IPC_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `size` bytes are UTF-8 as Python takes it, and of how many letters.  They may be
   changed by others meanwhile: none but these is read. */
bool mp__utf8_count(const unsigned char *text, size_t size, size_t *letters);

#endif
