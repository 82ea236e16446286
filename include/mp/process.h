/* SPDX-License-Identifier: MIT */
/*
 * process.h - processes as objects.
 *
 *   static int worker(void *arg)                 def worker(num):
 *   {                                                print('Process:', num)
 *       printf("Process: %d\n", *(int *)arg);
 *       return 0;
 *   }
 *   ...
 *   mp_process *p;                               p = Process(target=worker, args=(i,))
 *   int err = mp_process_new(&p, worker, &i, NULL);
 *   if (!err)
 *       err = mp_process_start(p);               p.start()
 *   if (!err)
 *       err = mp_process_join(p, MP_FOREVER);    p.join()
 *   mp_process_free(p);
 *
 * A process is started with fork: the child is a copy of the program as it was at
 * mp_process_start.  `arg` need only live until then.  What parent and child are
 * to share must lie in the arena (shared.h).
 *
 * Forgetting `p` is fine, as in Python.  libmp keeps the set of children:
 * mp_active_children finds them, and when the program exits, daemons are terminated
 * and all others are joined.
 *
 * The child runs with the signal mask of the thread that started it and with the
 * signal handlers of the program, as after any fork.  Standard output and standard
 * error are flushed before the fork, and in a program with one thread every other
 * stdio stream too, so that nothing is printed twice.  When the target returns, or
 * calls exit, the child ends its own daemons, joins its own children, flushes what
 * it printed, and leaves by _exit: the functions that the program gave to atexit do
 * not run in it (with musl they do if the target itself calls exit).
 *
 * Caveats.
 * A process that is killed, at whatever instruction, harms nobody else: its locks
 * are recovered (sync.h) and its exit code tells the signal.
 * A daemon ends with its parent, however the parent ends: a parent that is killed
 * takes its daemons with it, computing or not.  Any other child lives on.
 * libmp waits only for children that it started, installs no signal handler and
 * changes none.  If the program ignores SIGCHLD or reaps every child itself, the
 * exit code of a child that was killed is lost (ESRCH); nothing else changes.
 * fork in a program with several threads copies only the calling one: locks of
 * other libraries that another thread held stay held in the child.  Start
 * processes, or a pool, before threads where you can.
 *
 * The functions below that take an mp_process may be called by any thread, but by
 * one at a time for the same object.  A handle belongs to the process that made it,
 * and to the child that it stands for.
 */
#ifndef MP_PROCESS_H
#define MP_PROCESS_H

#include <sys/types.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A process: one that was or will be started, this one, or its parent. */
typedef struct mp_process mp_process;

/* What a process runs.  The value that it returns is the exit code: 0 to 255. */
typedef int mp_target_fn(void *arg);

/*
 * A class of processes: what a subclass of Process is in Python.
 *
 * Every instance has `data_size` bytes of its own, copied from what mp_process_new_of
 * was given; `run` finds them through mp_process_data(self).
 */
typedef struct mp_process_class {
    const char *name;             /* for default names, "Process" if NULL */
    size_t data_size;             /* bytes of an instance's data, may be 0 */
    int (*run)(mp_process *self); /* in the child; what it returns is the exit code */
    void (*release)(void *data);  /* in the creator, when it is freed; may be NULL */
} mp_process_class;

/* Whether a process is a daemon: ends with its parent. */
enum {
    MP_DAEMON_INHERIT = 0, /* as its creator: the default, Python's daemon=None */
    MP_DAEMON_YES = 1,
    MP_DAEMON_NO = 2
};

typedef struct mp_process_options {
    size_t struct_size; /* set by MP_PROCESS_OPTIONS */
    const char *name;   /* copied; NULL: "Process-1", "Process-1:2", ... */
    int daemon;         /* MP_DAEMON_... */
    int reserved;       /* zero */
} mp_process_options;

#define MP_PROCESS_OPTIONS(...) \
    (&(const mp_process_options){.struct_size = sizeof(mp_process_options), __VA_ARGS__})

/*
 * mp_process_new - make a process that will run `target(arg)`.
 *
 * Nothing is started yet.  The process gets the next number of this program for its
 * name, at once.  A NULL target is allowed: such a process just ends with 0.
 *
 * Returns 0, or
 *   EINVAL   `out` is NULL, or the options make no sense
 *   ENOMEM   no memory
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    Process(target=target, args=(arg,), name=name, daemon=daemon)
 */
MP_API MP_MUST_CHECK int mp_process_new(mp_process **out, mp_target_fn *target, void *arg,
                                        const mp_process_options *options);

/*
 * mp_process_new_of - make a process of a class of one's own.
 *
 * The instance's data is a copy of the `cls->data_size` bytes at `data`, or zeroes
 * if `data` is NULL.  `cls` must live as long as the process object.
 *
 * Returns 0, or
 *   EINVAL   `out`, `cls` or its `run` is NULL, or the options make no sense
 *   ENOMEM   no memory
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    MyProcess(...), where class MyProcess(Process) defines __init__ and run
 */
MP_API MP_MUST_CHECK int mp_process_new_of(mp_process **out, const mp_process_class *cls,
                                           const void *data,
                                           const mp_process_options *options);

/*
 * mp_process_start - start the process.
 *
 * Returns 0, or
 *   EALREADY   it was started before
 *   EINVAL     `p` is NULL, closed, or not one that mp_process_new made
 *   EPERM      another process made it
 *   EAGAIN     the system does not allow one more process
 *   ENOMEM     no memory, or the arena could not be reserved
 *   EMFILE, ENFILE   no descriptor for the pipe that a daemon needs
 * After a failure it can be tried again.
 *
 * Processes: the creator.  Threads: any.  Signal handlers: no.
 * Python:    p.start()
 */
MP_API MP_MUST_CHECK int mp_process_start(mp_process *p);

/*
 * mp_process_join - wait up to `timeout_ms` until the process has ended.
 *
 * It may be joined any number of times.  The handle of mp_parent_process may be
 * joined as well.
 *
 * Returns 0 when it has ended, or
 *   ETIMEDOUT   it is still running
 *   ECHILD      it is not a child of the caller
 *   EDEADLK     it is the caller
 *   EINVAL      `p` is NULL, closed or was not started, or a bad timeout
 *
 * Processes: the creator.  Threads: any.  Signal handlers: no.
 * Python:    p.join(timeout)
 */
MP_API int mp_process_join(mp_process *p, int timeout_ms);

/*
 * mp_process_is_alive - whether the process was started and has not ended.
 *
 * Returns false for NULL, for a closed process, and for one that is neither the
 * caller, nor its child, nor its parent.
 *
 * Processes: the creator, or the process itself.  Threads: any.  Signal handlers: no.
 * Python:    p.is_alive()
 */
MP_API bool mp_process_is_alive(mp_process *p);

/*
 * mp_process_exitcode - how the process ended: `*code` becomes its exit status, 0 to
 * 255, or minus the number of the signal that killed it (-9: SIGKILL).
 *
 * Returns 0, or
 *   EBUSY    it has not ended, or was not started
 *   ESRCH    it has ended, but the program collected its status before libmp could
 *   ECHILD   it is not a child of the caller
 *   EINVAL   `p` or `code` is NULL, or `p` is closed
 *
 * Processes: the creator.  Threads: any.  Signal handlers: no.
 * Python:    p.exitcode
 */
MP_API int mp_process_exitcode(mp_process *p, int *code);

/*
 * mp_process_terminate, mp_process_kill, mp_process_interrupt - send SIGTERM, SIGKILL
 * or SIGINT to the process, and only to it: its own children are left alone, but for
 * its daemons, which end with it.
 *
 * Does not wait.  Nothing is sent to a process that has ended, and that is no error.
 *
 * Returns 0, or
 *   EINVAL   `p` is NULL, closed, or was not started
 *   ECHILD   it is not a child of the caller
 *   EPERM    the system does not permit it: the process changed its user
 *
 * Processes: the creator.  Threads: any.  Signal handlers: no.
 * Python:    p.terminate(), p.kill(), p.interrupt()
 */
MP_API int mp_process_terminate(mp_process *p);
MP_API int mp_process_kill(mp_process *p);
MP_API int mp_process_interrupt(mp_process *p);

/*
 * mp_process_close - release what the object holds, and keep the object.
 *
 * After that only its name and daemon flag can be read, and it can be freed.
 * Closing twice is no error.
 *
 * Returns 0, or
 *   EBUSY    it is still running
 *   EINVAL   `p` is NULL, or is not one that mp_process_new made
 *
 * Processes: the creator.  Threads: any.  Signal handlers: no.
 * Python:    p.close()
 */
MP_API int mp_process_close(mp_process *p);

/*
 * mp_process_free - free the object, or do nothing with NULL.
 *
 * A process that is still running goes on: libmp goes on to know it as a child of
 * this program, and frees the object when it has ended.  What mp_current_process and
 * mp_parent_process return is not freed.
 *
 * Processes: the creator; in another process only memory is freed.  Threads: any.
 * Signal handlers: no.
 * Python:    del p
 */
MP_API void mp_process_free(mp_process *p);

/*
 * mp_process_pid - the process's number, or 0 if it was not started or is closed.
 *
 * Processes: any that has the handle.  Threads: any.  Signal handlers: yes.
 * Python:    p.pid, p.ident
 */
MP_API pid_t mp_process_pid(const mp_process *p);

/*
 * mp_process_name - the process's name; "" for NULL.  Valid until it is renamed or
 * freed.  The first process of a program is called "MainProcess".
 *
 * Processes: any that has the handle.  Threads: any.  Signal handlers: yes.
 * Python:    p.name
 */
MP_API const char *mp_process_name(const mp_process *p);

/*
 * mp_process_set_name - give the process another name, at any time.  A child that
 * runs already keeps the name that it was started with.
 *
 * Returns 0, or EINVAL for NULL, or ENOMEM.
 *
 * Processes: any that has the handle.  Threads: any.  Signal handlers: no.
 * Python:    p.name = name
 */
MP_API int mp_process_set_name(mp_process *p, const char *name);

/*
 * mp_process_is_daemon - whether the process ends with its parent.
 *
 * Processes: any that has the handle.  Threads: any.  Signal handlers: yes.
 * Python:    p.daemon
 */
MP_API bool mp_process_is_daemon(const mp_process *p);

/*
 * mp_process_set_daemon - decide, before the start, whether the process is a daemon.
 *
 * Unlike in Python a daemon may have children of its own.  They are daemons too,
 * unless told otherwise, so that the whole tree ends together.
 *
 * Returns 0, or EALREADY if it was started, or EINVAL for NULL.
 *
 * Processes: the creator.  Threads: any.  Signal handlers: no.
 * Python:    p.daemon = True
 */
MP_API int mp_process_set_daemon(mp_process *p, bool daemon);

/*
 * mp_process_sentinel - a descriptor that poll(2) finds readable when the process
 * has ended, also while grandchildren live on.
 *
 * It is made at the first call and belongs to the object, which closes it.  Nothing
 * may be read from it.
 *
 * Returns 0, or
 *   EINVAL   `p` or `fd` is NULL, or `p` is closed or was not started
 *   ECHILD   it is not a child of the caller
 *   ESRCH    it has ended and the program collected its status
 *   EMFILE, ENFILE   no descriptor
 *
 * Processes: the creator.  Threads: any.  Signal handlers: no.
 * Python:    p.sentinel
 */
MP_API int mp_process_sentinel(mp_process *p, int *fd);

/*
 * mp_process_data - the instance's data of a process made by mp_process_new_of: in
 * the child the child's copy, in the creator the creator's.
 *
 * Returns NULL for a process without data.
 *
 * Processes: the creator, or the process itself.  Threads: any.  Signal handlers: yes.
 * Python:    self.attribute
 */
MP_API void *mp_process_data(mp_process *p);

/*
 * mp_current_process - the process that calls.
 *
 * Returns a handle that lives as long as the process, and never NULL.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.current_process()
 */
MP_API mp_process *mp_current_process(void);

/*
 * mp_parent_process - the process that started the one that calls.
 *
 * Its pid, name and whether it is alive can be asked, and it can be joined.
 *
 * Returns a handle that lives as long as the process, or NULL in a process that
 * libmp did not start.
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.parent_process()
 */
MP_API mp_process *mp_parent_process(void);

/*
 * mp_active_children - the children of this process that were started through
 * mp_process_start and have not ended, oldest first.
 *
 * Up to `capacity` handles are stored at `children`, which may be NULL if it is 0;
 * `*count` becomes the number of all of them.  As a side effect children that have
 * ended are reaped.  The handles are not new ones: they are those that
 * mp_process_new made, and are freed no more than once.
 *
 * Returns 0, or
 *   EINVAL   `count` is NULL, or `children` is NULL and `capacity` is not 0
 *   EMSGSIZE there are more than `capacity`; the oldest were stored, `*count` tells
 *
 * Processes: any, each about its own.  Threads: any.  Signal handlers: no.
 * Python:    multiprocessing.active_children()
 */
MP_API int mp_active_children(mp_process **children, size_t capacity, size_t *count);

#ifdef __cplusplus
}
#endif

#endif
