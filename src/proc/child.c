/* SPDX-License-Identifier: MIT */
/*
 * child.c - what runs first and last in a child.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/fork.h"
#include "proc/process.h"

/* The block through which this process tells how it ended, if an mp_process stands
   for it. */
static struct mp__life *own_life;

static bool exit_is_caught;

void mp__child_forked(void)
{
    own_life = NULL;
    exit_is_caught = false;
}

_Noreturn void mp__child_exit(int code)
{
    const uint32_t status = (uint32_t)code & 0xff;

    mp__children_end();
    mp__flush();
    mp__log(MP_LOG_DEBUG, "ends: exit code %u", (unsigned)status);
    if (own_life)
        atomic_store_explicit(&own_life->ended, MP__LIFE_ENDED | status,
                              memory_order_release);
    _exit((int)status);
}

#ifdef __GLIBC__
/* The functions of atexit run newest first: this one before all that the parent had.
   It is inherited by what the host forks here, and must do nothing there. */
static void leave(int code, void *arg)
{
    (void)arg;
    if (exit_is_caught)
        mp__child_exit(code);
}

void mp__child_hook_exit(void)
{
    (void)on_exit(leave, NULL);
}
#else
void mp__child_hook_exit(void)
{
}
#endif

void mp__child_catch_exit(void)
{
    exit_is_caught = true;
}

static int run(mp_process *self)
{
    if (self->cls)
        return self->cls->run(self);
    return self->target ? self->target(self->arg) : 0;
}

_Noreturn void mp__child_main(mp_process *self, const struct mp__child_start *start)
{
    mp__process_enter(self, start->parent);
    own_life = self->life;
    if (start->tether != -1)
        mp__die_with_pipe(start->tether);
    /* What this process starts must not hold the sentinel open after its end. */
    if (start->sentinel != -1)
        (void)mp__fork_keep(start->sentinel);
    mp__child_hook_exit();
    mp__child_catch_exit();
    mp__fork_unblock(&start->mask);
    mp__log(MP_LOG_DEBUG, "runs");
    mp__child_exit(run(self));
}
