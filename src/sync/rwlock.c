/* SPDX-License-Identifier: MIT */
/* rwlock.c - stub */
#include <mp/rwlock.h>
