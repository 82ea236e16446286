/* SPDX-License-Identifier: MIT */
/*
 * wire.h - a system that takes and gives bytes in the pieces that a fuzzer's input
 * tells, that is interrupted, and not ready.
 *
 * Calls go through to the kernel.  They are replaced by the linker: see CMakeLists.txt.
 */
#ifndef FUZZ_WIRE_H
#define FUZZ_WIRE_H

#include "fuzz.h"

/*
 * From now on let each call for a descriptor that is watched take its byte of `script`:
 * so many bytes at most, EINTR, or EAGAIN.  When it is used up calls are as ever.
 */
void wire_begin(struct input script);
void wire_watch(int fd);

/* No descriptor is watched any more. */
void wire_end(void);

/* Whether a call said EAGAIN without need since this was asked. */
bool wire_was_shy(void);

#endif
