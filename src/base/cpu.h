/* SPDX-License-Identifier: MIT */
/* cpu.h - the processors of this process; mp/context.h counts them. */
#ifndef MP_BASE_CPU_H
#define MP_BASE_CPU_H

/* Let the calling thread run on the `nth` of its processors only, counted round and round.
   Where the system can't do that, nothing happens. */
void mp__cpu_pin(unsigned nth);

#endif
