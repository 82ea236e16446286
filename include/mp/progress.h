/* SPDX-License-Identifier: MIT */
/*
 * progress.h - a line on the terminal that tells how far a map has come.
 *
 *   err = mp_pool_map(pool, convert, files, n, sizeof *files,   for y in tqdm(pool.imap(
 *                     NULL, 0, MP_MAP_OPTIONS(                          convert, files),
 *                         .progress = mp_progress_bar,                total=n,
 *                         .progress_arg = "convert"));                desc="convert"):
 *
 *   convert  42% [############..................] 4200/10000  1.9k/s  ETA 0:03  2 failed
 */
#ifndef MP_PROGRESS_H
#define MP_PROGRESS_H

#include "base.h"
#include "result.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * mp_progress_bar - draw a bar on standard error, if that is a terminal.
 *
 * `title` is a text (const char *) to begin the line with, or NULL.  It fits the option
 * `.progress` of a map, and may as well be called with what mp_async_result_progress
 * gives.  It keeps nothing between calls: each draws the line anew, over the one before,
 * in one write(2) and in as many columns as the environment's COLUMNS or else the
 * terminal says, at least 20.  The rate is that of all the time since the map began.
 *
 * Once all items are done the line ends with the time that they took, and the cursor
 * goes to the next one.  After a map that was stopped before, the program that goes on
 * writing to standard error begins with a newline of its own.
 *
 * If standard error is no terminal, or cannot be written to, nothing happens.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    tqdm
 */
MP_API void mp_progress_bar(const mp_progress *progress, void *title);

#ifdef __cplusplus
}
#endif

#endif
