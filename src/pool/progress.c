/* SPDX-License-Identifier: MIT */
/* progress.c - the progress bar. */
#include <mp/progress.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_MIN 20
#define COLUMNS_MAX 512
#define COLUMNS_DEFAULT 80
#define BAR_MIN 5
#define BAR_MAX 60
/* A title longer than the line is cut; a character has at most four bytes. */
#define LINE_BYTES (4 * COLUMNS_MAX)

struct line {
    char text[LINE_BYTES];
    size_t size;
};

static void append(struct line *line, const char *format, ...) MP_PRINTF(2, 3);

static void append(struct line *line, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof(line->text) - line->size;

    va_start(arguments, format);
    int size = vsnprintf(line->text + line->size, room, format, arguments);
    va_end(arguments);
    if (size > 0)
        line->size += (size_t)size < room ? (size_t)size : room - 1;
}

static size_t columns(void)
{
    const char *text = getenv("COLUMNS");
    unsigned long wanted = text ? strtoul(text, NULL, 10) : 0;

#ifdef TIOCGWINSZ
    struct winsize size;
    if (!wanted && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0)
        wanted = size.ws_col;
#endif
    if (!wanted)
        return COLUMNS_DEFAULT;
    if (wanted < COLUMNS_MIN)
        return COLUMNS_MIN;
    return wanted < COLUMNS_MAX ? wanted : COLUMNS_MAX;
}

/* Bytes of the text's first `most` characters in UTF-8; `*width` is how many those are. */
static size_t cut(const char *text, size_t most, size_t *width)
{
    size_t i = 0;

    for (*width = 0; text[i]; i++) {
        if (((unsigned char)text[i] & 0xc0) == 0x80)
            continue;
        if (*width == most)
            break;
        ++*width;
    }
    return i;
}

/* 950, 12.3k, 4.5M: four characters, or five. */
static void append_rate(struct line *line, double rate)
{
    static const char units[] = " kMGTP";
    size_t unit = 0;

    while (rate >= 999.5 && unit < sizeof(units) - 2) {
        rate /= 1000;
        unit++;
    }
    append(line, rate < 99.95 ? "%.1f" : "%.0f", rate);
    if (unit)
        append(line, "%c", units[unit]);
}

static void append_time(struct line *line, double seconds)
{
    uint64_t all = seconds < 1e9 ? (uint64_t)(seconds + 0.5) : 1000000000;

    if (all >= 3600)
        append(line, "%" PRIu64 ":%02u:%02u", all / 3600, (unsigned)(all / 60 % 60),
               (unsigned)(all % 60));
    else
        append(line, "%u:%02u", (unsigned)(all / 60), (unsigned)(all % 60));
}

/* All that comes after the bar. */
static void append_numbers(struct line *line, const mp_progress *progress, bool over)
{
    double seconds = (double)progress->elapsed_ms / 1000;
    double rate = seconds > 0 ? (double)progress->done / seconds : 0;

    append(line, " %" PRIu64 "/%" PRIu64, progress->done, progress->total);
    if (rate > 0) {
        append(line, "  ");
        append_rate(line, rate);
        append(line, "/s");
    }
    if (over) {
        append(line, "  in ");
        append_time(line, seconds);
    } else if (rate > 0) {
        append(line, "  ETA ");
        append_time(line, (double)(progress->total - progress->done) / rate);
    }
    if (progress->failed)
        append(line, "  %" PRIu64 " failed", progress->failed);
}

static void append_bar(struct line *line, double share, size_t width)
{
    size_t full = (size_t)(share * (double)width);

    append(line, " [");
    for (size_t i = 0; i < width; i++)
        append(line, "%c", i < full ? '#' : '.');
    append(line, "]");
}

/* "title  42%": what comes before the bar, in at most `most` columns; in how many. */
static size_t append_head(struct line *line, const char *title, double share, size_t most)
{
    size_t width = 0;

    if (title && most > 5) {
        size_t bytes = cut(title, most - 5, &width);
        append(line, "%.*s ", (int)bytes, title);
        width++;
    }
    append(line, "%3d%%", (int)(share * 100));
    return width + 4;
}

/* What has no room is left out: first the bar, then the end of the numbers. */
static void draw(struct line *line, const mp_progress *progress, const char *title,
                 size_t width)
{
    struct line numbers = {.size = 0};
    bool over = progress->done >= progress->total;
    double share = over ? 1 : (double)progress->done / (double)progress->total;

    append_numbers(&numbers, progress, over);
    append(line, "\r");
    size_t used = append_head(line, title, share, width / 2);
    if (used + numbers.size + 3 + BAR_MIN <= width) {
        size_t bar = width - used - numbers.size - 3;
        bar = bar < BAR_MAX ? bar : BAR_MAX;
        append_bar(line, share, bar);
        used += bar + 3;
    }
    size_t rest = numbers.size < width - used ? numbers.size : width - used;
    append(line, "%.*s%*s", (int)rest, numbers.text, (int)(width - used - rest), "");
    append(line, "%s", over ? "\n" : "");
}

void mp_progress_bar(const mp_progress *progress, void *title)
{
    int saved = errno;
    struct line line = {.size = 0};

    if (progress && isatty(STDERR_FILENO)) {
        /* The last column stays free: a cursor that goes beyond it may begin a line. */
        draw(&line, progress, title, columns() - 1);
        ssize_t written = write(STDERR_FILENO, line.text, line.size);
        (void)written;
    }
    errno = saved;
}
