/* SPDX-License-Identifier: MIT */
/*
 * bench_plot.c - bars, an axis and some text.
 *
 *   what, once for its rows | yardstick | bars around the line at 1 | ratio | figures
 */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench_plot.h"

enum { MOST_BARS = 400 };

/* Where the columns are. */
enum {
    MARGIN = 16,
    YARDSTICK_RIGHT = 436, /* its text ends here */
    BARS_LEFT = 448,
    BARS_RIGHT = 768,
    RATIO_RIGHT = 828,
    FIGURES_LEFT = 842,
    WIDTH = 1000,
    TOP = 74,
    ROW = 20,
    BAR = 12,
    GAP = 7, /* above a row that begins another subject matter */
    BOTTOM = 18
};

/* Readable on white and on black alike, which rules out most other greys. */
#define GREY    "#737c86"
#define QUICKER "#3b8bd0"
#define SLOWER  "#cc7a2d"

/* Copies: contests may hand over texts of their own. */
typedef struct bar {
    const char *subject;
    char what[64];
    char yardstick[48];
    char figures[100];
    double ratio, low, high;
    bool has_target;
} bar;

static bar bars[MOST_BARS];
static size_t bar_count;
static const char *subject_now = "";

/* The bars of one picture, and what its axis spans. */
typedef struct picture {
    const char *title;
    const bar *rows[MOST_BARS];
    size_t count;
    double low, high;
} picture;

void bench_plot_begin(const char *subject)
{
    subject_now = subject;
}

void bench_plot_add(const bench_bar *added)
{
    if (bar_count == MOST_BARS || !(added->low > 0) || !isfinite(added->high))
        return;
    bar *b = &bars[bar_count++];
    b->subject = subject_now;
    snprintf(b->what, sizeof(b->what), "%s", added->what);
    snprintf(b->yardstick, sizeof(b->yardstick), "%s", added->yardstick);
    snprintf(b->figures, sizeof(b->figures), "%s", added->figures);
    b->ratio = added->ratio;
    b->low = added->low;
    b->high = added->high;
    b->has_target = added->has_target;
}

/* The ends of the axis: 1, 2 or 5 times a power of ten, at least from 0.5 to 2. */
static double next_tick(double tick)
{
    double power = pow(10, floor(log10(tick) + 1e-9));
    double digit = tick / power;

    return power * (digit < 1.5 ? 2 : digit < 3.5 ? 5 : 10);
}

static void span(picture *p)
{
    double low = 0.5, high = 2;

    for (size_t i = 0; i < p->count; i++) {
        low = fmin(low, p->rows[i]->low);
        high = fmax(high, p->rows[i]->high);
    }
    double tick = pow(10, floor(log10(low)));
    while (next_tick(tick) <= low * 1.000001)
        tick = next_tick(tick);
    p->low = tick;
    while (tick < high * 0.999999)
        tick = next_tick(tick);
    p->high = tick;
}

static double x_of(const picture *p, double ratio)
{
    double part = log(ratio / p->low) / log(p->high / p->low);

    return BARS_LEFT + (BARS_RIGHT - BARS_LEFT) * part;
}

static void put_text(FILE *file, double x, double y, const char *style,
                     const char *text)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, style);
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", file);
        else if (*text == '>')
            fputs("&gt;", file);
        else if (*text == '&')
            fputs("&amp;", file);
        else
            fputc(*text, file);
    }
    fputs("</text>\n", file);
}

static void put_number(char *text, size_t size, double value)
{
    int digits = value >= 99.5 ? 0 : value >= 9.95 ? 1 : value >= 0.0995 ? 2 : 4;

    snprintf(text, size, "%.*f", digits, value);
}

/* All rows begin a little lower when they are about something else than the last. */
static bool begins(const picture *p, size_t i)
{
    return i == 0 || strcmp(p->rows[i]->what, p->rows[i - 1]->what) != 0;
}

static double height_of_rows(const picture *p)
{
    double height = 0;

    for (size_t i = 0; i < p->count; i++)
        height += ROW + (begins(p, i) ? GAP : 0);
    return height;
}

static void put_head(FILE *file, const picture *p, double height)
{
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" "
            "width=\"%d\" height=\"%.0f\" role=\"img\" font-size=\"12.5\" "
            "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\" "
            "fill=\"" GREY "\">\n<title>libmp: %s</title>\n",
            WIDTH, height, WIDTH, height, p->title);
    put_text(file, MARGIN, 24, "font-size=\"16\" font-weight=\"600\"", p->title);
    put_text(file, MARGIN, 44, "",
             "How many times as good as the yardstick: right of the line at 1 libmp is "
             "better.  Medians; thin lines reach from the worst round to the best.");
}

/* A label for each tick where there is room, else for each power of ten. */
static void put_axis(FILE *file, const picture *p, double height)
{
    bool crowded = log10(p->high / p->low) > 2.1;
    double tick = p->low;

    while (tick <= p->high * 1.000001) {
        bool is_power = fabs(log10(tick) - round(log10(tick))) < 1e-6;
        bool is_one = fabs(tick - 1) < 1e-6;

        if (is_power || !crowded) {
            char text[32];
            double x = x_of(p, tick);

            snprintf(text, sizeof(text), "%g", tick);
            put_text(file, x, TOP - 6, "text-anchor=\"middle\"", text);
            fprintf(file,
                    "<path d=\"M%.1f %d V%.1f\" stroke=\"" GREY "\" "
                    "stroke-width=\"%s\" stroke-opacity=\"%s\"/>\n",
                    x, TOP, TOP + height, is_one ? "1.6" : "1", is_one ? "1" : "0.3");
        }
        tick = next_tick(tick);
    }
}

static void put_bar(FILE *file, const picture *p, const bar *b, double y)
{
    double one = x_of(p, 1), end = x_of(p, b->ratio);
    char ratio[40];

    fprintf(file,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n",
            fmin(one, end), y + (ROW - BAR) / 2.0, fabs(end - one), BAR,
            b->ratio >= 1 ? QUICKER : SLOWER);
    fprintf(file,
            "<path d=\"M%.1f %.1f H%.1f\" stroke=\"" GREY "\" stroke-width=\"1.4\"/>\n",
            x_of(p, b->low), y + ROW / 2.0, x_of(p, b->high));
    put_number(ratio, sizeof(ratio), b->ratio);
    put_text(file, RATIO_RIGHT, y + 14.5, "text-anchor=\"end\" font-weight=\"600\"",
             ratio);
}

static void put_rows(FILE *file, const picture *p)
{
    double y = TOP;

    for (size_t i = 0; i < p->count; i++) {
        const bar *b = p->rows[i];

        if (begins(p, i)) {
            y += GAP;
            put_text(file, MARGIN, y + 14.5, "", b->what);
        }
        put_text(file, YARDSTICK_RIGHT, y + 14.5, "text-anchor=\"end\"", b->yardstick);
        put_bar(file, p, b, y);
        put_text(file, FIGURES_LEFT, y + 14.5, "font-size=\"11.5\"", b->figures);
        y += ROW;
    }
}

static int draw(const char *directory, const char *name, picture *p)
{
    double height = height_of_rows(p);
    char path[4096];

    if (p->count == 0)
        return 0;
    if (snprintf(path, sizeof(path), "%s/%s.svg", directory, name) >= (int)sizeof(path))
        return ENAMETOOLONG;
    FILE *file = fopen(path, "w");
    if (!file)
        return errno;
    span(p);
    put_head(file, p, TOP + height + BOTTOM);
    put_axis(file, p, height + GAP);
    put_rows(file, p);
    fputs("</svg>\n", file);
    bool is_bad = ferror(file) != 0;
    return fclose(file) || is_bad ? EIO : 0;
}

static int draw_subject(const char *directory, const char *subject)
{
    picture p = {.title = subject};

    for (size_t i = 0; i < bar_count; i++)
        if (strcmp(bars[i].subject, subject) == 0)
            p.rows[p.count++] = &bars[i];
    return draw(directory, subject, &p);
}

static int draw_summary(const char *directory)
{
    picture p = {.title = "summary"};

    for (size_t i = 0; i < bar_count; i++)
        if (bars[i].has_target)
            p.rows[p.count++] = &bars[i];
    return draw(directory, "summary", &p);
}

int bench_plot_write(const char *directory)
{
    if (mkdir(directory, 0777) && errno != EEXIST)
        return errno;
    int err = draw_summary(directory);
    for (size_t i = 0; i < bar_count && !err; i++)
        if (i == 0 || strcmp(bars[i].subject, bars[i - 1].subject) != 0)
            err = draw_subject(directory, bars[i].subject);
    return err;
}
