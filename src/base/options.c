/* SPDX-License-Identifier: MIT */
/* options.c - reading option structs of older and newer programs. */
#include "base/options.h"

#include <errno.h>
#include <string.h>

/* No option struct comes near this: a larger size was never set by its macro. */
#define SIZE_BOUND ((size_t)4096)

int mp__options_read(void *known, size_t size, const void *options)
{
    size_t given;

    if (!options) {
        memset(known, 0, size);
        return 0;
    }
    memcpy(&given, options, sizeof(given));
    if (given < sizeof(given) || given > SIZE_BOUND)
        return EINVAL;

    /* What a newer program leaves zero is a default, which an older libmp has too. */
    const unsigned char *bytes = options;
    for (size_t i = size; i < given; i++)
        if (bytes[i])
            return EINVAL;

    memset(known, 0, size);
    memcpy(known, options, given < size ? given : size);
    return 0;
}
