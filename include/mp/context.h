/* SPDX-License-Identifier: MIT */
/*
 * context.h - what a program may use of the machine it runs on.
 *
 *   unsigned workers = mp_cpu_count();      workers = multiprocessing.cpu_count()
 *
 * Caveats.  A container, a batch system or taskset may leave a program two of
 * the sixty-four processors it sees: as many workers as processors would then be
 * sixty-two too many.  mp_cpu_count looks at what may be used, and is what a pool
 * without a number of processes takes.
 */
#ifndef MP_CONTEXT_H
#define MP_CONTEXT_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * mp_cpu_count - how many processors this process may keep busy.
 *
 * The smallest of: the processors online, the calling thread's affinity mask,
 * and the CPU quota of its control group and of the groups above it, rounded up.
 * The environment variable MP_CPU_COUNT (1 to 65535) overrides all of them.
 *
 * Returns a number of at least 1.  It is computed afresh at each call, for some
 * tens of microseconds: keep it.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    os.process_cpu_count(), and multiprocessing.cpu_count() as meant
 */
MP_API unsigned mp_cpu_count(void);

/*
 * mp_processor_count - how many processors the machine has online, whoever may
 * use them.
 *
 * Returns a number of at least 1.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    os.cpu_count()
 */
MP_API unsigned mp_processor_count(void);

#ifdef __cplusplus
}
#endif

#endif
