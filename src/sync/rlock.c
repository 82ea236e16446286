/* SPDX-License-Identifier: MIT */
/* rlock.c - stub */
#include <mp/rlock.h>
