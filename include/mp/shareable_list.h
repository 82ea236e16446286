/* SPDX-License-Identifier: MIT */
/*
 * shareable_list.h - a list of numbers and texts in named memory, which C programs and
 * Python programs read and write.
 *
 *   const mp_shareable_item items[] = {                  items = ['howdy', -273.154,
 *       MP_SHAREABLE_STR("howdy"),                                100, None]
 *       MP_SHAREABLE_FLOAT(-273.154),
 *       MP_SHAREABLE_INT(100), MP_SHAREABLE_NONE()};
 *   mp_shareable_list *list;
 *   int err = mp_shareable_list_new(&list, items, 4,     list = ShareableList(items,
 *       MP_SHAREABLE_LIST_OPTIONS(.name = "weather"));       name='weather')
 *   if (err)
 *       return err;
 *   err = mp_shareable_list_set(list, 2, &MP_SHAREABLE_INT(7));      list[2] = 7
 *   ...
 *   mp_shareable_list *seen;                             in any other program
 *   mp_shareable_item item;
 *   char text[64];
 *   err = mp_shareable_list_attach(&seen, "weather",     seen = ShareableList(
 *                                  NULL);                    name='weather')
 *   err = mp_shareable_list_get(seen, 0, &item, text, sizeof text);
 *   if (!err && item.type == MP_SHAREABLE_TYPE_STR)
 *       puts(item.as.text);                              print(seen[0])
 *   ...
 *   mp_shareable_list_unlink(list);                      list.shm.unlink()
 *   mp_shareable_list_free(list);                        list.shm.close()
 *
 * Its length never changes, nor does the room of an item: 8 bytes for int, float, bool and
 * None, which may replace one another; for str and bytes what they were made with, rounded
 * up to the next multiple of 8.  To keep more room, make the item with zero bytes at its
 * end: like Python's, a list forgets all of them at the end of a str or of bytes.
 *
 * The bytes in memory are those of Python 3.9 and later.  Python 3.8 has others: to libmp
 * its lists are malformed, and libmp's to it.  All that shared_memory.h says of the block's
 * name, of its owner, of who removes it, of what Python does with it and of SIGBUS holds
 * here as well; mp_shared_memory_attach opens the bytes themselves, if ever that is wanted.
 *
 * Caveats.
 * Nothing is locked, here or in Python.  Numbers are read and written in one piece.  A str
 * that is read while another process writes it may be half of each, and an item whose type
 * is being changed may be neither: that is EPROTO, or a value that nobody wrote.  What a
 * process leaves that is killed in mp_shareable_list_set is the same.
 * A list that Python is just making, or libmp elsewhere than on Linux, may be attached to
 * before its items are there.  It then has no items for whoever was early, and never will,
 * or items that are EPROTO for a moment: attach when its maker says that it is there.
 * What other programs wrote is not trusted: anything may be in the block, and may change at
 * any moment.  What makes no sense is EPROTO; nothing outside of the block is ever read or
 * written.
 * An item of str holds UTF-8, which is checked on both ways: Python could not read anything
 * else.  Python itself cuts a str with many letters beyond ASCII when it makes a list
 * ('\u00e9' * 9 has 18 bytes, and gets 16); libmp gives it the room that it needs.
 */
#ifndef MP_SHAREABLE_LIST_H
#define MP_SHAREABLE_LIST_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A list that is open in this process.  Python: shared_memory.ShareableList */
typedef struct mp_shareable_list mp_shareable_list;

/* What an item may be. */
enum mp_shareable_type {
    MP_SHAREABLE_TYPE_NONE,
    MP_SHAREABLE_TYPE_BOOL,
    MP_SHAREABLE_TYPE_INT,
    MP_SHAREABLE_TYPE_FLOAT,
    MP_SHAREABLE_TYPE_STR,
    MP_SHAREABLE_TYPE_BYTES
};

/* An item, as it is put in and as it comes out. */
typedef struct mp_shareable_item {
    size_t size; /* of a str or of bytes, in bytes; otherwise 0 */
    enum mp_shareable_type type;
    union {
        bool truth;
        int64_t integer;
        double real;
        const char *text; /* of a str; one that comes out has a zero byte behind it */
        const void *data; /* of bytes */
    } as;
} mp_shareable_item;

/* In place of the size of a str: up to its zero byte. */
#define MP_SHAREABLE_TERMINATED SIZE_MAX

/*
 * Items, for arrays of them, and with & in front for the calls that take one.  A str and
 * bytes are not copied into the item: what they point to must live until the call.
 */
#define MP_SHAREABLE_NONE()       ((mp_shareable_item){.type = MP_SHAREABLE_TYPE_NONE})
#define MP_SHAREABLE_BOOL(value)  ((mp_shareable_item){ \
    .type = MP_SHAREABLE_TYPE_BOOL, .as = {.truth = (value)}})
#define MP_SHAREABLE_INT(value)   ((mp_shareable_item){ \
    .type = MP_SHAREABLE_TYPE_INT, .as = {.integer = (value)}})
#define MP_SHAREABLE_FLOAT(value) ((mp_shareable_item){ \
    .type = MP_SHAREABLE_TYPE_FLOAT, .as = {.real = (value)}})
#define MP_SHAREABLE_STR(string)  ((mp_shareable_item){ \
    .size = MP_SHAREABLE_TERMINATED, .type = MP_SHAREABLE_TYPE_STR, \
    .as = {.text = (string)}})
#define MP_SHAREABLE_STR_OF(string, length) ((mp_shareable_item){ \
    .size = (length), .type = MP_SHAREABLE_TYPE_STR, .as = {.text = (string)}})
#define MP_SHAREABLE_BYTES(bytes, length) ((mp_shareable_item){ \
    .size = (length), .type = MP_SHAREABLE_TYPE_BYTES, .as = {.data = (bytes)}})

typedef struct mp_shareable_list_options {
    size_t struct_size; /* set by MP_SHAREABLE_LIST_OPTIONS */
    const char *name;   /* new: the name; NULL: a new one, `psm_` and 8 hex digits */
    int read_only;      /* attach: not 0: setting an item is EPERM */
    int any_owner;      /* attach: not 0: also to a list of a user who is neither this
                           process's nor root */
} mp_shareable_list_options;

#define MP_SHAREABLE_LIST_OPTIONS(...)                                     \
    (&(const mp_shareable_list_options){                                   \
        .struct_size = sizeof(mp_shareable_list_options), __VA_ARGS__})

/*
 * mp_shareable_list_new - make a list of the `count` items at `items`, and open it.
 *
 * `count` may be 0.  On Linux nobody can attach to it before all items are there.
 *
 * Returns 0, or
 *   EINVAL       `out` is NULL; `items` is NULL and `count` is not 0; an item is of no
 *                type, has NULL for its bytes, is a str that is no UTF-8, or points to
 *                what others are just changing; an option of attach was set; there can be
 *                no such name; or the options are of a newer libmp
 *   EOVERFLOW    an item needs more than 9,999,992 bytes, which Python can't tell, or no
 *                memory can be as large as all of them
 *   EEXIST, EFBIG, ENOSPC, ENOMEM, EMFILE, ENFILE, EACCES, ENOENT and others
 *                as mp_shared_memory_new
 *
 * Processes: any; a child that is forked has the list open as well.  Threads: any.
 * Signal handlers: no.
 * Python:    ShareableList(items, name=name)
 */
MP_API MP_MUST_CHECK int mp_shareable_list_new(mp_shareable_list **out,
                                               const mp_shareable_item *items, size_t count,
                                               const mp_shareable_list_options *options);

/*
 * mp_shareable_list_attach - open the list of that name, whoever made it.
 *
 * Returns 0, or
 *   EPROTO       what has the name is no list: its length, or where its items are, makes
 *                no sense
 *   EINVAL       `out` is NULL, or as mp_shared_memory_attach
 *   ENOENT, EACCES, EOVERFLOW, ENOMEM, EMFILE, ENFILE and others
 *                as mp_shared_memory_attach
 *
 * Processes: any; a child that is forked has the list open as well.  Threads: any.
 * Signal handlers: no.
 * Python:    ShareableList(name=name)
 */
MP_API MP_MUST_CHECK int mp_shareable_list_attach(mp_shareable_list **out, const char *name,
                                                  const mp_shareable_list_options *options);

/*
 * mp_shareable_list_free - close a list, if it is still open in this process, and forget
 * it; or do nothing with NULL.  The list itself and its name stay.
 *
 * Processes: each that made, attached or inherited it, once.  Threads: any; nobody may
 * use it afterwards.  Signal handlers: no.
 * Python:    del of the last reference
 */
MP_API void mp_shareable_list_free(mp_shareable_list *list);

/*
 * mp_shareable_list_close - take the list out of this process's addresses.
 *
 * Name and length can still be asked for, and the name be removed.  Closing once more
 * does nothing.
 *
 * Returns 0, or
 *   EINVAL   `list` is NULL
 *
 * Processes: any that has it; the others keep it.  Threads: any; nobody may be in a call
 * for it.  Signal handlers: no.
 * Python:    list.shm.close()
 */
MP_API int mp_shareable_list_close(mp_shareable_list *list);

/*
 * mp_shareable_list_unlink - remove the name, so that nobody can attach any more.
 *
 * As mp_shared_memory_unlink, also for the errors.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    list.shm.unlink()
 */
MP_API int mp_shareable_list_unlink(mp_shareable_list *list);

/*
 * mp_shareable_list_name - its name, without '/' in front, until it is freed; NULL for
 * NULL.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: yes.
 * Python:    list.shm.name
 */
MP_API const char *mp_shareable_list_name(const mp_shareable_list *list);

/*
 * mp_shareable_list_len - how many items it has, also after close; 0 for NULL.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: yes.
 * Python:    len(list)
 */
MP_API size_t mp_shareable_list_len(const mp_shareable_list *list);

/*
 * mp_shareable_list_get - read item `index`; a str or bytes into `buffer`.
 *
 * A str or bytes are copied to `buffer`, which has `capacity` bytes, and `item` points
 * there; a str gets a zero byte behind it, for which `buffer` needs one more.  For all
 * else, `buffer` may be NULL.  The first item is 0, and none is negative.
 *
 *   int64_t count = !mp_shareable_list_get(list, 2, &item, NULL, 0) &&
 *                   item.type == MP_SHAREABLE_TYPE_INT ? item.as.integer : 0;
 *
 * Returns 0, or
 *   EMSGSIZE   it does not fit into `buffer`; the type of `item` is set, and its size, to
 *              that of the str, without zero byte, or of the bytes
 *   EPROTO     what another program wrote there is no item, or is just being changed
 *   EINVAL     `list` or `item` is NULL, the list is closed, `buffer` is NULL and
 *              `capacity` is not 0, or there is no such item
 *
 * When it fails `item` is left alone but for EMSGSIZE; `buffer` may have been written to.
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: yes.
 * Python:    list[index]
 */
MP_API MP_MUST_CHECK int mp_shareable_list_get(const mp_shareable_list *list, size_t index,
                                               mp_shareable_item *item, void *buffer,
                                               size_t capacity);

/*
 * mp_shareable_list_set - put an item in the place of item `index`.
 *
 * It may be of another type than the one before; a str and bytes may become shorter, and
 * longer up to the room that there is.
 *
 * Returns 0, or
 *   EMSGSIZE   it is longer than the room that there is; what was there stays
 *   EPROTO     another program has changed where the item is to something that makes no
 *              sense
 *   EPERM      the list was attached to with .read_only
 *   EINVAL     `list` or `item` is NULL, the list is closed, there is no such item, or
 *              what was given is none: of no type, with NULL for its bytes, or a str that
 *              is no UTF-8
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    list[index] = item
 */
MP_API MP_MUST_CHECK int mp_shareable_list_set(mp_shareable_list *list, size_t index,
                                               const mp_shareable_item *item);

/*
 * mp_shareable_list_index - where the first item is that is equal to `item`.
 *
 * Equal as in Python: numbers by their value, whatever their type, so that 1, 1.0 and true
 * are all the same, and NaN is equal to nothing; a str is never equal to bytes.
 *
 * Returns 0, or
 *   ENOENT   there is none
 *   EPROTO   an item before it is malformed
 *   EINVAL   `list`, `item` or `index` is NULL, the list is closed, or `item` is none
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    list.index(item)
 */
MP_API MP_MUST_CHECK int mp_shareable_list_index(const mp_shareable_list *list,
                                                 const mp_shareable_item *item,
                                                 size_t *index);

/*
 * mp_shareable_list_count - how many items are equal to `item`, as in
 * mp_shareable_list_index.
 *
 * Returns 0, or
 *   EPROTO   an item is malformed
 *   EINVAL   `list`, `item` or `count` is NULL, the list is closed, or `item` is none
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    list.count(item)
 */
MP_API MP_MUST_CHECK int mp_shareable_list_count(const mp_shareable_list *list,
                                                 const mp_shareable_item *item,
                                                 size_t *count);

/*
 * mp_shareable_list_format - the formats of all items as Python's module `struct` writes
 * them: "8sdqxxxxxx?x" for the list above.
 *
 * `size`, if not NULL, receives the length of the text without its zero byte, also when
 * that does not fit.  Eight times the length of the list, and 1, is always enough.
 *
 * Returns 0, or
 *   EMSGSIZE   it does not fit into the `capacity` bytes at `buffer`
 *   EPROTO     an item is malformed
 *   EINVAL     `list` is NULL or closed, or `buffer` is NULL and `capacity` is not 0
 *
 * Processes: any that has it.  Threads: any.  Signal handlers: no.
 * Python:    list.format
 */
MP_API MP_MUST_CHECK int mp_shareable_list_format(const mp_shareable_list *list,
                                                  char *buffer, size_t capacity,
                                                  size_t *size);

#ifdef __cplusplus
}
#endif

#endif
