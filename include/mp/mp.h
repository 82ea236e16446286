/* SPDX-License-Identifier: MIT */
/*
 * mp.h - all of libmp: what Python's multiprocessing gives, for C programs.
 *
 * Read base.h first, for how errors, timeouts and options work everywhere; then
 * process.h or pool.h, whichever you came for.
 */
#ifndef MP_MP_H
#define MP_MP_H

#include "base.h"

#include "context.h"
#include "log.h"
#include "process.h"
#include "sync.h"
#include "shared.h"
#include "value.h"
#include "connection.h"
#include "wait.h"
#include "shared_memory.h"
#include "shareable_list.h"
#include "queue.h"
#include "joinable_queue.h"
#include "simple_queue.h"
#include "pool.h"
#include "listener.h"
#include "imap.h"
#include "progress.h"

#endif
