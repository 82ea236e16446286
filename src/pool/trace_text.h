/* SPDX-License-Identifier: MIT */
/* trace_text.h - the lines of a trace. */
#ifndef MP_POOL_TRACE_TEXT_H
#define MP_POOL_TRACE_TEXT_H

#include "pool/trace.h"

/* Text that is being put together; who writes sees to the room. */
struct mp__text {
    char *begin;
    char *at;
    size_t room;
};

/* No line of a trace is longer. */
#define MP__TRACE_LINE 512

static inline size_t mp__text_size(const struct mp__text *text)
{
    return (size_t)(text->at - text->begin);
}

static inline size_t mp__text_room(const struct mp__text *text)
{
    return text->room - mp__text_size(text);
}

void mp__trace_print(struct mp__text *text, const struct mp__trace_record *record,
                     unsigned place);

#endif
