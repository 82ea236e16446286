/* SPDX-License-Identifier: MIT */
/* value.c - stub */
#include <mp/value.h>
