/* SPDX-License-Identifier: MIT */
/* condition.c - stub */
#include <mp/condition.h>
