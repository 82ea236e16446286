/* SPDX-License-Identifier: MIT */
/*
 * trace_text.c - the lines of a trace, in Chrome's "Trace Event Format".
 *
 * Put together by hand: snprintf would take ten times as long as the event itself.
 */
#include "pool/trace_text.h"

#include <string.h>

static void put(struct mp__text *text, const char *string)
{
    size_t size = strlen(string);

    memcpy(text->at, string, size);
    text->at += size;
}

static void put_digits(struct mp__text *text, uint64_t number, unsigned base, int least)
{
    char digits[24];
    int count = 0;

    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number || count < least);
    while (count)
        *text->at++ = digits[--count];
}

static void put_number(struct mp__text *text, const char *name, int64_t number)
{
    put(text, name);
    if (number < 0)
        *text->at++ = '-';
    put_digits(text, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 10, 1);
}

/* Microseconds, with the nanoseconds behind the point. */
static void put_time(struct mp__text *text, const char *name, int64_t ns)
{
    put_number(text, name, ns / 1000);
    put(text, ".");
    put_digits(text, (uint64_t)(ns % 1000), 10, 3);
}

static void put_who(struct mp__text *text, const struct mp__trace_record *record)
{
    put_number(text, "\"pid\":", record->pid);
    put_number(text, ",\"tid\":", record->pid);
}

static void put_span(struct mp__text *text, const struct mp__trace_record *record)
{
    put_time(text, "\"ph\":\"X\",\"ts\":", record->began);
    put_time(text, ",\"dur\":", record->ended - record->began);
    put(text, ",");
    put_who(text, record);
}

static void put_name(struct mp__text *text, unsigned place)
{
    if (place == MP__TRACE_SERIAL) {
        put(text, "\"name\":\"serial pool\"");
        return;
    }
    put_number(text, "\"name\":\"PoolWorker-", (int64_t)place + 1);
    put(text, "\"");
}

static void put_birth(struct mp__text *text, const struct mp__trace_record *record,
                      unsigned place)
{
    put(text, "{\"name\":\"process_name\",\"ph\":\"M\",");
    put_who(text, record);
    put(text, ",\"args\":{");
    put_name(text, place);
}

static void put_life(struct mp__text *text, const struct mp__trace_record *record,
                     unsigned place)
{
    put(text, "{");
    put_name(text, place);
    put(text, ",");
    put_span(text, record);
    put_number(text, ",\"args\":{\"exitcode\":", record->error);
    put_number(text, ",\"items\":", record->items);
}

static void put_task(struct mp__text *text, const struct mp__trace_record *record)
{
    bool single = record->kind == MP__TRACE_TASK;

    put(text, single ? "{\"name\":\"task\"," : "{\"name\":\"map\",");
    put_span(text, record);
    put_number(text, ",\"args\":{\"task\":", (int64_t)record->number);
    put(text, ",\"function\":\"0x");
    put_digits(text, record->function, 16, 1);
    put_number(text, "\",\"index\":", (int64_t)record->first);
    put_number(text, ",\"items\":", record->items);
    if (record->failed)
        put_number(text, ",\"failed\":", record->failed);
    if (record->error)
        put_number(text, ",\"error\":", record->error);
}

void mp__trace_print(struct mp__text *text, const struct mp__trace_record *record,
                     unsigned place)
{
    if (record->kind == MP__TRACE_BIRTH)
        put_birth(text, record, place);
    else if (record->kind == MP__TRACE_LIFE)
        put_life(text, record, place);
    else
        put_task(text, record);
    put(text, "}},\n");
}
