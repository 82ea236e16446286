/* SPDX-License-Identifier: MIT */
/*
 * shared_memory.h - memory with a name, which any program can open: C's and Python's.
 *
 *   mp_shared_memory *frame;
 *   int err = mp_shared_memory_new(&frame, 1 << 20,      frame = SharedMemory('frame',
 *       MP_SHARED_MEMORY_OPTIONS(.name = "frame"));          create=True, size=1 << 20)
 *   if (err)
 *       return err;
 *   render(mp_shared_memory_buffer(frame));              render(frame.buf)
 *   ...
 *   mp_shared_memory *seen;                              in any other program
 *   err = mp_shared_memory_attach(&seen, "frame", NULL); seen = SharedMemory('frame')
 *   ...
 *   mp_shared_memory_free(seen);                         seen.close()
 *   ...
 *   mp_shared_memory_unlink(frame);                      frame.unlink()
 *   mp_shared_memory_free(frame);                        frame.close()
 *
 * Which to choose.  Processes that come from one libmp program want mp_shared_alloc (see
 * shared.h): it is quicker, means the same address everywhere, and leaves nothing behind
 * however they end.  This is for programs that were started apart from one another, and
 * for sharing with Python.  It costs a name, which somebody must remove, and each process
 * sees the block at an address of its own: keep offsets in it, never pointers.
 *
 * The block lies in memory.  Its name is that of a file in /dev/shm on Linux, and belongs
 * to all programs of the machine.  Only programs of the same user, and root's, may open
 * it: its mode is 0600 whatever the umask.
 *
 * Who removes the name.  Whoever calls mp_shared_memory_unlink, once, when nobody is to
 * open the block any more; those who have it may go on using it, and it is gone when the
 * last of them is.  Neither freeing nor the end of a process removes it, and attaching
 * owns nothing.
 *
 * Caveats.
 * A program that is killed before it removes the name leaves block and name until the
 * machine starts anew: the next run gets EEXIST, and may call mp_shared_memory_remove
 * first.  Python has a process for that, its resource tracker.
 * Python before 3.13 takes a block for its own that it only attached to, and removes the
 * name when it ends (bpo-38119).  Attach with SharedMemory(name, track=False) there; before
 * 3.13, call resource_tracker.unregister('/' + name, 'shared_memory') after attaching.
 * All memory is there from the start, so a full /dev/shm is an error of
 * mp_shared_memory_new; it takes about a third of a second for each GiB.  A block that
 * Python made gets the memory of a page when somebody first touches it, were it but to
 * read, and SIGBUS if there is none left.
 * A process that may write to the block may also cut it short, and the others get SIGBUS
 * where it was.  Nothing in libmp or Python does.
 * On Linux a block has its name only when it is complete, so that nobody who attaches to
 * it, and no death, ever meets half of one.  Elsewhere, with MP_PORTABLE, and wherever
 * Python makes it, there is a moment in which it has its name but no size: attaching then
 * gives EINVAL, and may be tried again.  When two at once want to make a block that
 * /dev/shm has no room for twice, both may get ENOSPC.
 * Nothing here locks: within a family use an mp_lock, otherwise atomics in the block.
 */
#ifndef MP_SHARED_MEMORY_H
#define MP_SHARED_MEMORY_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A block that is open in this process.  Python: shared_memory.SharedMemory */
typedef struct mp_shared_memory mp_shared_memory;

typedef struct mp_shared_memory_options {
    size_t struct_size; /* set by MP_SHARED_MEMORY_OPTIONS */
    const char *name;   /* new: the name; NULL: a new one, `psm_` and 8 hex digits */
    int read_only;      /* attach: not 0: writing to it is SIGSEGV */
    int any_owner;      /* attach: not 0: also to a block of a user who is neither this
                           process's nor root */
} mp_shared_memory_options;

#define MP_SHARED_MEMORY_OPTIONS(...)                                     \
    (&(const mp_shared_memory_options){                                   \
        .struct_size = sizeof(mp_shared_memory_options), __VA_ARGS__})

/*
 * mp_shared_memory_new - make a block of `size` bytes, all zero, and open it.
 *
 * A name is 1 to 255 bytes long, without '/' but for any number in front, which count
 * for nothing: "frame" and "/frame" are the same, and Python's SharedMemory('frame') too.
 * Systems other than Linux may allow fewer bytes; 13 are good everywhere.
 *
 * Returns 0, or
 *   EEXIST       there is something of that name already
 *   EINVAL       `out` is NULL, `size` is 0, there can be no such name, an option of
 *                attach was set, or the options are of a newer libmp
 *   EOVERFLOW    no memory can be that large
 *   EFBIG        the process may make no file that large (RLIMIT_FSIZE)
 *   ENOSPC       /dev/shm has no room for it
 *   ENOMEM       no memory, or no room among the addresses of this process
 *   EMFILE, ENFILE   no descriptor was free; it takes one, but does not keep it
 *   EACCES       this user may not make any there
 *   ENOENT       the system has no /dev/shm
 *   others       as of shm_open(3) and posix_fallocate(3)
 *
 * Processes: any; a child that is forked has the block open as well, at the same address.
 * Threads: any.  Signal handlers: no.
 * Python:    SharedMemory(name, create=True, size=size)
 */
MP_API MP_MUST_CHECK int mp_shared_memory_new(mp_shared_memory **out, size_t size,
                                              const mp_shared_memory_options *options);

/*
 * mp_shared_memory_attach - open the block of that name, whoever made it.
 *
 * Its size is what it was made with on Linux; other systems round it up to whole pages.
 *
 * Returns 0, or
 *   ENOENT       there is none
 *   EACCES       this user may not open it, or it belongs to a user who is neither this
 *                process's nor root, and .any_owner was not set: anybody can make a block
 *                under the name that you are about to open
 *   EINVAL       `out` is NULL, there can be no such name, what has the name is no block
 *                or has no size, .name was set, or the options are of a newer libmp
 *   EOVERFLOW    it is larger than the addresses of this process
 *   ENOMEM       no memory, or no room among the addresses of this process
 *   EMFILE, ENFILE   no descriptor was free; it takes one, but does not keep it
 *   others       as of shm_open(3)
 *
 * Processes: any; a child that is forked has the block open as well, at the same address.
 * Threads: any.  Signal handlers: no.
 * Python:    SharedMemory(name), and track=False
 */
MP_API MP_MUST_CHECK int mp_shared_memory_attach(mp_shared_memory **out, const char *name,
                                                 const mp_shared_memory_options *options);

/*
 * mp_shared_memory_free - close a block, if it is still open in this process, and forget
 * it; or do nothing with NULL.
 *
 * The block itself, its name and others who have it open are not touched.
 *
 * Processes: each that made, attached or inherited it, once.  Threads: any; nobody may
 * use it or its bytes afterwards.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_shared_memory_free(mp_shared_memory *memory);

/*
 * mp_shared_memory_close - take the bytes out of this process's addresses.
 *
 * Size and name can still be asked for, and the name be removed.  Closing once more does
 * nothing.
 *
 * Returns 0, or
 *   EINVAL   `memory` is NULL
 *
 * Processes: any that has it; the others keep it.  Threads: any; nobody may use the bytes
 * afterwards.  Signal handlers: no.
 * Python:    memory.close()
 */
MP_API int mp_shared_memory_close(mp_shared_memory *memory);

/*
 * mp_shared_memory_unlink - remove the name, so that nobody can attach any more.
 *
 * To be called once among all programs, before or after closing.  Should another block
 * have got the same name meanwhile, that one loses it.
 *
 * Returns 0, or
 *   ENOENT          it has been removed already
 *   EACCES, EPERM   it belongs to another user
 *   EINVAL          `memory` is NULL
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    memory.unlink()
 */
MP_API int mp_shared_memory_unlink(mp_shared_memory *memory);

/*
 * mp_shared_memory_remove - remove a name without opening what it stands for: what an
 * earlier run has left, which was killed.  It may be that of a list (shareable_list.h).
 *
 * Returns 0, or
 *   ENOENT          there is nothing of that name
 *   EACCES, EPERM   it belongs to another user, or is a directory
 *   EINVAL          there can be no such name
 *
 * Processes: any.  Threads: any.  Signal handlers: no.
 * Python:    SharedMemory(name).unlink()
 */
MP_API int mp_shared_memory_remove(const char *name);

/*
 * mp_shared_memory_buffer - where the bytes are, or NULL for NULL and after close.
 *
 * Aligned to a page, so for any type.  After fork at the same address in the child; in
 * programs that attach, at another one.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: yes.
 * Python:    memory.buf
 */
MP_API void *mp_shared_memory_buffer(const mp_shared_memory *memory);

/*
 * mp_shared_memory_size - how many bytes it has, also after close; 0 for NULL.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: yes.
 * Python:    memory.size
 */
MP_API size_t mp_shared_memory_size(const mp_shared_memory *memory);

/*
 * mp_shared_memory_name - its name, without '/' in front, until it is freed; NULL for NULL.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: yes.
 * Python:    memory.name
 */
MP_API const char *mp_shared_memory_name(const mp_shared_memory *memory);

#ifdef __cplusplus
}
#endif

#endif
