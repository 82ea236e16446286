/* SPDX-License-Identifier: MIT */
/*
 * thread_local.h - variables of which each thread has its own.
 *
 * With glibc they are reached without a call of the dynamic linker, whose text every child
 * would have to map first.  That takes a little of the room that glibc keeps for libraries
 * which are loaded by dlopen; others keep none.
 */
#ifndef MP_BASE_THREAD_LOCAL_H
#define MP_BASE_THREAD_LOCAL_H

#include <limits.h> /* for __GLIBC__ */

#ifdef __GLIBC__
#define MP__THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define MP__THREAD_LOCAL _Thread_local
#endif

#endif
