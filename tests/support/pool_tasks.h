/* SPDX-License-Identifier: MIT */
/* pool_tasks.h - what tests of pools have their workers do, and how they wait for it.
 */
#ifndef TEST_POOL_TASKS_H
#define TEST_POOL_TASKS_H

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "test.h"

static inline mp_pool *new_pool(unsigned processes)
{
    mp_pool *pool;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = processes)), 0);
    return pool;
}

static inline int square(const void *arg, void *result, void *context)
{
    (void)context;
    *(int *)result = *(const int *)arg * *(const int *)arg;
    return 0;
}

static inline int nothing(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return 0;
}

static inline int get_pid(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)context;
    *(pid_t *)result = getpid();
    return 0;
}

static inline int fail_if_odd(const void *arg, void *result, void *context)
{
    (void)context;
    int item = *(const int *)arg;

    *(int *)result = item;
    return item % 2 ? mp_task_fail(ERANGE, "item %d is odd", item) : 0;
}

/* The worker is killed. */
static inline int die(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    guard_child();
    kill(getpid(), SIGKILL);
    return 0;
}

/* Waits until the word at `context` is set; says so in the word after it. */
static inline int wait_for_word(const void *arg, void *result, void *context)
{
    _Atomic int *word = context;
    (void)arg;
    (void)result;
    guard_child();
    atomic_fetch_add(&word[1], 1);
    while (!atomic_load(word))
        sched_yield();
    return 0;
}

static inline bool word_is_set(void *word)
{
    return *(_Atomic int *)word != 0;
}

#endif
