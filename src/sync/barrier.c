/* SPDX-License-Identifier: MIT */
/* barrier.c - stub */
#include <mp/barrier.h>
