/* SPDX-License-Identifier: MIT */
/*
 * fuzz_queue.c - any sequence of operations on a queue of any kind, beside a model of
 * it: a plain list for each priority.
 *
 * The input: the options, and the operations.  None of them waits.
 */
#include <errno.h>
#include <poll.h>

#include <mp/joinable_queue.h>
#include <mp/shared.h>

#include "fuzz.h"

#define ENTRIES_MAX      1024 /* of all priorities */
#define MANY_MAX         24
#define OPS_MAX          300
#define SIZE_MOST        ((size_t)1 << 17)
#define BYTES_MAX        ((size_t)1 << 20)  /* in the queue */
#define BYTES_MAX_CHOSEN ((size_t)18 << 20) /* that is more than it keeps for later */
#define SLAB             ((size_t)1 << 16)
#define EDGE             13 /* this size stands for those about SLAB */
#define UNTOUCHED        ((size_t)4711)

/* A message in the queue: `size` bytes at `bytes`, or the pointer itself. */
struct entry {
    unsigned priority;
    size_t size;
    const unsigned char *bytes;
};

static struct {
    mp_queue *queue;
    mp_queue_options options;
    unsigned priorities;
    struct entry entries[ENTRIES_MAX]; /* in the order in which they went in */
    size_t count, bytes, bytes_max;
    size_t number;     /* of the next message */
    size_t unfinished; /* that were taken, and are not done */
    bool closed;
    bool withdrawn; /* a get found nothing since the last message came */
} run;

static void *block; /* one of the arena's, and pointers to it and behind it */
static void *pointers[2];

/* --- the model -------------------------------------------------------------------- */

static size_t room(void)
{
    size_t most = run.options.max_messages;

    return most ? most - run.count : SIZE_MAX;
}

static bool is_size(size_t size)
{
    size_t most = run.options.max_size, only = run.options.message_size;

    return (!most || size <= most) && (!only || size == only);
}

static int expected_put(unsigned priority, size_t size)
{
    if (priority >= run.priorities)
        return EINVAL;
    if (!is_size(size))
        return EMSGSIZE;
    return run.closed ? EPIPE : room() ? 0 : ETIMEDOUT;
}

static void add(unsigned priority, const void *bytes, size_t size)
{
    run.entries[run.count++] = (struct entry){priority, size, bytes};
    run.bytes += size;
    run.withdrawn = false;
}

/* Whether the input has put as much as it may. */
static bool is_enough(size_t count, size_t bytes)
{
    return run.count + count > ENTRIES_MAX || run.bytes + bytes > run.bytes_max;
}

/* The next message, or NULL; `skipped` more of its priority are before it. */
static const struct entry *next(size_t skipped)
{
    const struct entry *first = NULL;

    for (const struct entry *e = run.entries; e < run.entries + run.count; e++)
        if (!first || e->priority > first->priority)
            first = e;
    for (const struct entry *e = first; e && e < run.entries + run.count; e++)
        if (e->priority == first->priority && !skipped--)
            return e;
    return NULL;
}

/* It is at least in the queue; or why not. */
static int expected_get(void)
{
    return run.count ? 0 : run.closed ? EPIPE : ETIMEDOUT;
}

static void take_away(void)
{
    size_t at = (size_t)(next(0) - run.entries);

    run.bytes -= run.entries[at].size;
    memmove(run.entries + at, run.entries + at + 1,
            (--run.count - at) * sizeof *run.entries);
    run.unfinished++;
}

static bool is_entry(const void *bytes, const struct entry *entry)
{
    return !entry->size || !memcmp(bytes, entry->bytes, entry->size);
}

/* --- putting ---------------------------------------------------------------------- */

/* Mostly one that the queue takes; some just fill the memory that it asks for. */
static size_t take_message_size(struct input *input)
{
    size_t size = take_size(input, SIZE_MOST);

    if (run.options.message_size && size % 8)
        return run.options.message_size;
    if (size == EDGE)
        return SLAB - 8 * (size_t)take_byte(input);
    return size;
}

static void put(size_t size, unsigned priority)
{
    const unsigned char *bytes = noise(run.number++);
    int err, wanted = expected_put(priority, size);

    if (is_enough(1, size))
        return;
    if (priority)
        err = mp_queue_put_priority(run.queue, priority, bytes, size, MP_NOWAIT);
    else
        err = mp_queue_put(run.queue, bytes, size, MP_NOWAIT);
    MUST(err == wanted);
    if (!err)
        add(priority, bytes, size);
}

static void put_again(struct input *input)
{
    size_t size = take_message_size(input);
    unsigned priority = take_below(input, run.priorities);

    for (unsigned times = take_byte(input); times; times--)
        put(size, priority);
}

static void put_many(struct input *input)
{
    struct iovec messages[MANY_MAX] = {0};
    size_t count = take_below(input, MANY_MAX + 1), bytes = 0, put = UNTOUCHED;
    int wanted = count ? expected_put(0, run.options.message_size) : 0;

    if (wanted == EMSGSIZE)
        wanted = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = take_message_size(input);
        messages[i] = (struct iovec){(void *)(uintptr_t)noise(run.number++), size};
        bytes += size;
        if (!is_size(size))
            wanted = EMSGSIZE;
    }
    if (is_enough(count, bytes))
        return;
    size_t fit = wanted ? 0 : count < room() ? count : room();
    if (fit < count && !wanted)
        wanted = ETIMEDOUT;
    MUST(mp_queue_put_many(run.queue, messages, count, &put, MP_NOWAIT) == wanted);
    MUST(put == fit);
    for (size_t i = 0; i < put; i++)
        add(0, messages[i].iov_base, messages[i].iov_len);
}

static void put_pointer(struct input *input)
{
    unsigned which = take_below(input, 3);

    if (which == 2) {
        MUST(mp_queue_put_pointer(run.queue, &which, MP_NOWAIT) == EINVAL);
        return;
    }
    if (is_enough(1, sizeof block))
        return;
    int wanted = expected_put(0, sizeof block);
    MUST(mp_queue_put_pointer(run.queue, pointers[which], MP_NOWAIT) == wanted);
    if (!wanted)
        add(0, &pointers[which], sizeof block);
}

/* --- getting ---------------------------------------------------------------------- */

/* As large as what is next, or about that. */
static size_t take_capacity(struct input *input)
{
    size_t how = take_byte(input), size = run.count ? next(0)->size : 0;

    return how < 0x80 ? size : how < 0xc0 ? size + how % 64 : size - (size > 0);
}

/* Look at what a get has found that found nothing. */
static void found_nothing(int err)
{
    run.withdrawn |= err == ETIMEDOUT;
}

static void get(struct input *input)
{
    size_t capacity = take_capacity(input), size = UNTOUCHED;
    unsigned char *buffer = capacity ? malloc(capacity) : NULL;
    const struct entry *entry = next(0);
    int wanted = expected_get();

    MUST(buffer || !capacity);
    if (!wanted && entry->size > capacity)
        wanted = EMSGSIZE;
    MUST(mp_queue_get(run.queue, buffer, capacity, &size, MP_NOWAIT) == wanted);
    found_nothing(wanted);
    MUST(size == (entry ? entry->size : UNTOUCHED));
    if (!wanted) {
        MUST(is_entry(buffer, entry));
        take_away();
    }
    free(buffer);
}

static void get_alloc(void)
{
    void *message = NULL;
    size_t size = UNTOUCHED;
    const struct entry *entry = next(0);
    int wanted = expected_get();

    MUST(mp_queue_get_alloc(run.queue, &message, &size, MP_NOWAIT) == wanted);
    found_nothing(wanted);
    MUST(size == (entry ? entry->size : UNTOUCHED) && !message == !entry);
    if (!wanted) {
        MUST(is_entry(message, entry));
        take_away();
    }
    free(message);
}

static void get_pointer(void)
{
    void *got = run.queue;
    const struct entry *entry = next(0);
    int wanted = expected_get();

    if (!wanted && entry->size != sizeof got)
        wanted = EMSGSIZE;
    MUST(mp_queue_get_pointer(run.queue, &got, MP_NOWAIT) == wanted);
    found_nothing(wanted);
    if (!wanted) {
        MUST(is_entry(&got, entry));
        take_away();
    } else {
        MUST(got == run.queue);
    }
}

/* How many messages, and of how many bytes together, a call gets. */
static size_t expected_many(size_t most, size_t capacity, size_t *bytes)
{
    size_t count = 0;
    const struct entry *entry;

    *bytes = 0;
    while (count < most && (entry = next(count)) && entry->size <= capacity - *bytes) {
        *bytes += entry->size;
        count++;
    }
    return count;
}

static void check_many(const unsigned char *buffer, const size_t *sizes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = next(0);

        MUST(!sizes || sizes[i] == entry->size);
        MUST(is_entry(buffer, entry));
        if (entry->size)
            buffer += entry->size;
        take_away();
    }
}

static void get_many(struct input *input)
{
    unsigned how = take_byte(input);
    size_t most = how % 32, count = UNTOUCHED, bytes;
    size_t capacity = take_capacity(input) + take_size(input, SIZE_MOST);
    size_t fit = expected_many(most, capacity, &bytes);
    bool asks_sizes = how < 0x80;
    int wanted = expected_get();

    unsigned char *buffer = capacity ? malloc(capacity) : NULL;
    size_t *sizes = asks_sizes ? malloc((most ? most : 1) * sizeof *sizes) : NULL;
    MUST((buffer || !capacity) && (sizes || !asks_sizes));
    if (!wanted && !fit)
        wanted = EMSGSIZE;
    if (!most || (!sizes && !run.options.message_size))
        wanted = EINVAL;
    MUST(mp_queue_get_many(run.queue, buffer, capacity, sizes, most, &count,
                           MP_NOWAIT) == wanted);
    found_nothing(wanted);
    if (wanted == EMSGSIZE && sizes)
        MUST(sizes[0] == next(0)->size);
    MUST(count == (wanted ? UNTOUCHED : fit));
    if (!wanted)
        check_many(buffer, sizes, count);
    free(buffer);
    free(sizes);
}

/* --- all else --------------------------------------------------------------------- */

static void task_done(void)
{
    int wanted = !run.options.joinable ? EINVAL : run.unfinished ? 0 : EOVERFLOW;

    MUST(mp_joinable_queue_task_done(run.queue) == wanted);
    run.unfinished -= !wanted;
}

static void join(void)
{
    bool done = !run.count && !run.unfinished;
    int wanted = !run.options.joinable ? EINVAL : done ? 0 : ETIMEDOUT;

    MUST(mp_joinable_queue_join(run.queue, MP_NOWAIT) == wanted);
}

static void check_descriptor(void)
{
    struct pollfd polled = {.fd = -1, .events = POLLIN};
    int err = mp_queue_fileno(run.queue, &polled.fd);

    MUST(err == (run.options.pollable ? 0 : ENOTSUP));
    if (err)
        return;
    int readable = poll(&polled, 1, 0);
    MUST(readable == 0 || polled.revents == POLLIN);
    if (run.count || run.closed)
        MUST(readable == 1);
    else if (run.withdrawn)
        MUST(readable == 0);
}

static void check_counts(void)
{
    MUST(mp_queue_qsize(run.queue) == run.count);
    MUST(mp_queue_empty(run.queue) == !run.count);
    MUST(mp_queue_full(run.queue) == !room());
    MUST(mp_queue_closed(run.queue) == run.closed);
    MUST(mp_queue_lost(run.queue) == 0);
    if (run.options.pollable)
        check_descriptor();
}

static void do_one(struct input *input)
{
    unsigned op = take_below(input, 16);

    switch (op) {
    default:
        put(take_message_size(input), take_byte(input) % (run.priorities + (op == 1)));
        break;
    case 2:
        put_again(input);
        break;
    case 3:
    case 4:
        put_many(input);
        break;
    case 5:
        put_pointer(input);
        break;
    case 6:
    case 7:
        get(input);
        break;
    case 8:
        get_alloc();
        break;
    case 9:
    case 10:
        get_many(input);
        break;
    case 11:
        get_pointer();
        break;
    case 12:
        task_done();
        break;
    case 13:
        join();
        break;
    case 14:
        check_descriptor();
        if (take_byte(input) == 0xc1) { /* seldom */
            MUST(!mp_queue_close(run.queue));
            run.closed = true;
        }
        break;
    }
    check_counts();
}

/* Whether there is a queue with the options that the input tells. */
static bool make_queue(struct input *input)
{
    unsigned kind = take_byte(input);
    mp_queue_options options = {.struct_size = sizeof options};

    if (kind & 1)
        options.max_messages = take_byte(input);
    if (kind & 2)
        options.max_size = take_size(input, SIZE_MOST);
    if (kind & 4)
        options.message_size = take_size(input, SIZE_MOST);
    if (kind & 8)
        options.priorities = take_below(input, 35);
    options.pollable = kind >> 4 & 1;
    options.joinable = kind >> 5 & 1;
    options.reserved = kind == 0xff;

    int wanted = options.priorities > 32 || options.reserved ||
                         (options.max_size && options.max_size < options.message_size)
                     ? EINVAL
                     : 0;
    memset(&run, 0, sizeof run);
    run.options = options;
    run.priorities = options.priorities ? options.priorities : 1;
    MUST(mp_queue_new(&run.queue, &options) == wanted);
    return !wanted;
}

static size_t bytes_used(void)
{
    mp_shared_statistics statistics;

    MUST(!mp_shared_stat(&statistics));
    return statistics.used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    if (!block) {
        block = mp_shared_alloc(64);
        MUST(block);
        pointers[0] = block;
        pointers[1] = (char *)block + 63;
    }
    size_t used = bytes_used();
    if (make_queue(&input)) {
        run.bytes_max = is_chosen(input) ? BYTES_MAX_CHOSEN : BYTES_MAX;
        for (int i = 0; i < OPS_MAX && input.left; i++)
            do_one(&input);
        mp_queue_free(run.queue);
    }
    MUST(bytes_used() == used);
    return 0;
}
