/* SPDX-License-Identifier: MIT */
/*
 * loop.h - the loop over the items of a map, compiled into the program.
 *
 * Nothing to call here: pool.h includes it.  A map of small items consists of this loop
 * and nothing else, and processors call a function in their own part of the address
 * space faster than one in another: for x*x a loop in libmp.so takes nearly twice as
 * long as one beside the task.  So every program that includes pool.h brings a copy of
 * its own, weak and visible, which the dynamic linker finds for libmp.so before the one
 * in there.  Where it does not, in a plug-in for example, libmp.so uses its own; the
 * result is the same.
 */
#ifndef MP_LOOP_H
#define MP_LOOP_H

#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the loop goes by, in shared memory: one read beside `at` spares a register. */
struct mp_task_loop_state {
    uint64_t at;   /* 2 * item + 1 while it runs: who dies there loses that item */
    void *context; /* given to the task */
    size_t item_size;
    size_t result_size;
};

/*
 * mp_task_loop - run the items from `arg` to before `end`, at least one, until one fails.
 *
 * `result` is a number, for there may be no results and NULL must not be added to.
 *
 * Returns 0, or what the item that `state` is at has returned.
 */
MP_API int mp_task_loop(mp_task_fn *task, const char *arg, const char *end,
                        uintptr_t result, struct mp_task_loop_state *state);

#if defined(__GNUC__)
__attribute__((weak)) int mp_task_loop(mp_task_fn *task, const char *arg, const char *end,
                                       uintptr_t result, struct mp_task_loop_state *state)
{
    uint64_t at = __atomic_load_n(&state->at, __ATOMIC_RELAXED) | 1;

    for (;;) {
        __atomic_store_n(&state->at, at, __ATOMIC_RELAXED);
        int err = task(arg, (void *)result, state->context);
        if (err)
            return err;
        arg += state->item_size;
        if (arg == end)
            return 0;
        result += state->result_size;
        at += 2;
    }
}
#endif

#ifdef __cplusplus
}
#endif

#endif
