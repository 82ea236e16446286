/* SPDX-License-Identifier: MIT */
/* semaphore.c - stub */
#include <mp/semaphore.h>
