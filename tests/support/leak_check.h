/* SPDX-License-Identifier: MIT */
/*
 * leak_check.h - what a test must leave as it found it.
 *
 * Children (orphans too: the test program is a subreaper), descriptors and what they
 * are, mappings, names in /dev/shm and temporary files, signal dispositions, the signal
 * mask, and the bytes in use in the arena.
 */
#ifndef TEST_LEAK_CHECK_H
#define TEST_LEAK_CHECK_H

#include <stdbool.h>

/* Once, at the start of the program: become a subreaper, and let libmp make what it
   keeps for as long as the process lives. */
void leak_begin(void);

/* Setup and teardown of each test. */
int leak_setup(void **state);
int leak_teardown(void **state);

/* This test starts threads: the C library keeps their stacks and heaps. */
void leak_ignore_maps(void);

/* This test kills processes that own arena blocks, which others may still use. */
void leak_ignore_arena(void);

/* Collect all children that end within the time; false if one lives on. */
bool reap_all(int timeout_ms);

/* 1 under AddressSanitizer, whose allocator maps as it pleases and needs terabytes. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
