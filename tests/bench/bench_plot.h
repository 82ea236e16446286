/* SPDX-License-Identifier: MIT */
/*
 * bench_plot.h - draws the ratios of a run, one picture (SVG) for each subject.
 *
 * A bar for each row that has a yardstick: to the right of the line at 1 libmp does
 * better, to the left the yardstick does.  So that this holds for times as well as for
 * rates, a bar is how many times as good libmp is, and the scale is logarithmic: twice
 * as good is as long as half as good.
 *
 * DIRECTORY/<subject>.svg has all rows of a subject, DIRECTORY/summary.svg those rows
 * of all subjects that have a target.  The colours are for light pages and for dark
 * ones.
 */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <stdbool.h>

typedef struct bench_bar {
    const char *what;
    const char *yardstick;
    const char *figures; /* libmp's and the yardstick's, as text */
    double ratio;        /* how many times as good as the yardstick */
    double low, high;    /* in the worst and in the best round */
    bool has_target;
} bench_bar;

/* bench_plot_begin - bars that are added from here on belong to `subject`. */
void bench_plot_begin(const char *subject);

/* bench_plot_add - one more bar; its texts are copied, and it is dropped if that fails.
 */
void bench_plot_add(const bench_bar *bar);

/*
 * bench_plot_write - write the pictures into the directory, which is made if need be.
 *
 * Returns 0, or an errno value.
 */
int bench_plot_write(const char *directory);

#endif
