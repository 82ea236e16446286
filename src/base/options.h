/* SPDX-License-Identifier: MIT */
/* options.h - reading option structs of older and newer programs. */
#ifndef MP_BASE_OPTIONS_H
#define MP_BASE_OPTIONS_H

#include <stddef.h>

/*
 * Copy the caller's options into `known`, a struct of `size` bytes of this libmp; all
 * zero if `options` is NULL.  EINVAL if the caller's size makes no sense, or if it
 * sets a member that lies beyond what this libmp knows.
 */
int mp__options_read(void *known, size_t size, const void *options);

#endif
