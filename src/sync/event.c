/* SPDX-License-Identifier: MIT */
/* event.c - stub */
#include <mp/event.h>
