/* SPDX-License-Identifier: MIT */
/*
 * fuzz_shareable_list.c - any bytes as a list that other programs wrote, and all that
 * is done with lists.
 *
 * The input: the operations, and the block.  The block ends where no memory
 * follows, and AddressSanitizer guards the rest.  While nobody else writes, what is set
 * is what is got, and nothing else changes.  In one of 64 inputs a second thread
 * writes to the block all the time: then nothing is certain but that all calls return,
 * and stay inside.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "ipc/shareable_layout.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at))
#endif

#define BLOCK_MAX    ((size_t)1 << 16)
#define TEXT_MAX     ((size_t)256)
#define CANARY       0xa5
#define WRITES_MAX   15
#define TIMES_SHARED 16 /* lest the second thread comes too late */

static unsigned char *memory; /* BLOCK_MAX bytes, and a page that is none */

static struct {
    unsigned char *block;
    size_t size;
    struct mp__shareable list;
    bool shared; /* a second thread writes to it */
    unsigned char before[BLOCK_MAX];
} run;

/* --- the block -------------------------------------------------------------------- */

static void reserve_memory(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *all = mmap(NULL, BLOCK_MAX + page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    MUST(all != MAP_FAILED);
    MUST(!mprotect((char *)all + BLOCK_MAX, page, PROT_NONE));
    memory = all;
}

/* It begins at a multiple of 8, so up to 7 bytes follow that are not its own. */
static void lay_out(const uint8_t *bytes, size_t size)
{
    run.size = size < BLOCK_MAX - 8 ? size : BLOCK_MAX - 8;
    ASAN_UNPOISON_MEMORY_REGION(memory, BLOCK_MAX);
    run.block = memory + BLOCK_MAX - (run.size + 7) / 8 * 8;
    memset(run.block - 8, CANARY, BLOCK_MAX - (size_t)(run.block - 8 - memory));
    if (run.size)
        memcpy(run.block, bytes, run.size);
    ASAN_POISON_MEMORY_REGION(memory, BLOCK_MAX);
    ASAN_UNPOISON_MEMORY_REGION(run.block, run.size);
}

static void check_surroundings(void)
{
    ASAN_UNPOISON_MEMORY_REGION(memory, BLOCK_MAX);
    for (const unsigned char *at = run.block - 8; at < run.block; at++)
        MUST(*at == CANARY);
    for (const unsigned char *at = run.block + run.size; at < memory + BLOCK_MAX; at++)
        MUST(*at == CANARY);
}

static uint64_t word_at(size_t offset)
{
    uint64_t word;

    memcpy(&word, run.before + offset, sizeof word);
    return word;
}

/* Whether the block can be a list: where the items are makes sense, and all of it fits.
 */
static bool is_list(void)
{
    if (run.size < 16 || word_at(0) > run.size / 17)
        return false;
    size_t count = (size_t)word_at(0), fixed = 16 + 17 * count;
    if (fixed > run.size || word_at(8) || word_at(8 + 8 * count) > run.size - fixed)
        return false;
    for (size_t i = 0; i < count; i++)
        if (word_at(8 + 8 * i) >= word_at(16 + 8 * i) || word_at(16 + 8 * i) % 8)
            return false;
    return true;
}

/* Of what was before only the item's own room, format and code may have changed. */
static void check_only_item_changed(size_t index)
{
    size_t count = run.list.count, data = 16 + 8 * count;
    size_t begin = data + (size_t)word_at(8 + 8 * index);
    size_t end = data + (size_t)word_at(16 + 8 * index);
    size_t formats = data + (size_t)word_at(8 + 8 * count);
    size_t code = formats + 8 * count + index;

    memcpy(run.before + begin, run.block + begin, end - begin);
    memcpy(run.before + formats + 8 * index, run.block + formats + 8 * index, 8);
    run.before[code] = run.block[code];
    MUST(!memcmp(run.before, run.block, run.size));
}

/* --- somebody else who writes ----------------------------------------------------- */

static struct {
    sem_t begin, ended;
    atomic_bool begun, stop;
    struct input writes; /* where, and what */
} other;

static void write_on(void)
{
    struct input writes = other.writes;

    while (!atomic_load_explicit(&other.stop, memory_order_relaxed)) {
        if (!writes.left)
            writes = other.writes;
        size_t at = take_byte(&writes) << 8;
        at = (at | take_byte(&writes)) % run.size;
        unsigned change = take_byte(&writes);
        volatile unsigned char *byte = run.block + at;
        *byte = (unsigned char)(*byte ^ change);
        atomic_store_explicit(&other.begun, true, memory_order_relaxed);
    }
}

static void *write_always(void *arg)
{
    for (;;) {
        while (sem_wait(&other.begin))
            continue;
        write_on();
        sem_post(&other.ended);
    }
    return arg;
}

static void begin_writing(struct input writes)
{
    static pthread_t thread;

    if (!run.shared)
        return;
    if (!thread) {
        MUST(!sem_init(&other.begin, 0, 0) && !sem_init(&other.ended, 0, 0));
        MUST(!pthread_create(&thread, NULL, write_always, NULL));
        MUST(!pthread_detach(thread));
    }
    other.writes = writes;
    atomic_store(&other.begun, false);
    atomic_store(&other.stop, false);
    sem_post(&other.begin);
    while (!atomic_load(&other.begun))
        sched_yield();
}

static void end_writing(void)
{
    if (!run.shared)
        return;
    atomic_store(&other.stop, true);
    while (sem_wait(&other.ended))
        continue;
}

/* --- operations ------------------------------------------------------------------- */

static bool is_text(const mp_shareable_item *item)
{
    return item->type == MP_SHAREABLE_TYPE_STR || item->type == MP_SHAREABLE_TYPE_BYTES;
}

static size_t stripped(const unsigned char *bytes, size_t size)
{
    while (size && !bytes[size - 1])
        size--;
    return size;
}

/* As it comes out: without the zero bytes at its end. */
static bool is_same(const mp_shareable_item *put, const mp_shareable_item *got)
{
    if (put->type != got->type)
        return false;
    if (is_text(put))
        return got->size == stripped(put->as.data, put->size) &&
               (!got->size || !memcmp(put->as.data, got->as.data, got->size));
    if (put->type == MP_SHAREABLE_TYPE_BOOL)
        return put->as.truth == got->as.truth;
    return put->type == MP_SHAREABLE_TYPE_NONE ||
           put->as.integer == got->as.integer; /* or the bits of a float */
}

static mp_shareable_item take_item(struct input *input)
{
    unsigned type = take_byte(input);
    uint64_t number = 0;

    if (type % 8 >= MP_SHAREABLE_TYPE_STR) {
        struct input text = take_bytes(input, take_size(input, TEXT_MAX));
        return type % 2 ? MP_SHAREABLE_BYTES(text.at, text.left)
                        : MP_SHAREABLE_STR_OF((const char *)text.at, text.left);
    }
    if (type % 8 == MP_SHAREABLE_TYPE_NONE)
        return MP_SHAREABLE_NONE();
    if (type % 8 == MP_SHAREABLE_TYPE_BOOL)
        return MP_SHAREABLE_BOOL(type & 8);
    struct input bytes = take_bytes(input, 1 + (type >> 4) % 8);
    memcpy(&number, bytes.at, bytes.left);
    mp_shareable_item item = MP_SHAREABLE_INT((int64_t)number);
    item.type = (enum mp_shareable_type)(type % 8);
    return item;
}

/* What the item is, by the words of Python's module `struct`: false if it is nothing.
 */
static bool is_item(size_t index, enum mp_shareable_type *type)
{
    static const struct {
        char format[9];
        unsigned char code;
        enum mp_shareable_type type;
    } plain[] = {{"q", 0, MP_SHAREABLE_TYPE_INT},
                 {"d", 0, MP_SHAREABLE_TYPE_FLOAT},
                 {"xxxxxxx?", 0, MP_SHAREABLE_TYPE_BOOL},
                 {"xxxxxx?x", 3, MP_SHAREABLE_TYPE_NONE}};
    const unsigned char *formats =
        run.block + 16 + 8 * run.list.count + word_at(8 + 8 * run.list.count);
    unsigned char code = formats[8 * run.list.count + index];
    uint64_t room = word_at(16 + 8 * index) - word_at(8 + 8 * index);
    char format[9] = {0};

    memcpy(format, formats + 8 * index, 8);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (plain[i].code == code && !memcmp(plain[i].format, format, 8)) {
            *type = plain[i].type;
            return true;
        }
    size_t digits = strspn(format, "0123456789");
    unsigned long size = strtoul(format, NULL, 10);
    *type = code == 1 ? MP_SHAREABLE_TYPE_STR : MP_SHAREABLE_TYPE_BYTES;
    return digits > 0 && (code == 1 || code == 2) && size > 0 && size <= room &&
           digits < 8 && !memcmp(format + digits, "s\0\0\0\0\0\0", 8 - digits);
}

static bool is_refusal(int err)
{
    return err == EPROTO || err == EINVAL || err == EMSGSIZE;
}

/* The item, in memory that `*text` gets and that is just as large as it must be. */
static int get_whole(size_t index, mp_shareable_item *item, unsigned char **text)
{
    *text = NULL;
    int err = mp__shareable_get(&run.list, index, item, NULL, 0);
    if (err != EMSGSIZE)
        return err;
    MUST(is_text(item) && item->size <= run.size);

    size_t capacity = item->size + (item->type == MP_SHAREABLE_TYPE_STR);
    *text = malloc(capacity ? capacity : 1);
    MUST(*text);
    err = mp__shareable_get(&run.list, index, item, *text, capacity);
    MUST(run.shared || err == 0 || (err == EPROTO && capacity));
    return err;
}

static void find(const mp_shareable_item *item, size_t at_most)
{
    size_t index = 0;
    int err = mp__shareable_find(&run.list, item, &index);

    MUST(err == 0 || err == ENOENT || is_refusal(err));
    MUST(err || index < run.list.count);
    if (at_most < run.list.count && !run.shared)
        MUST(err == EPROTO || (err == 0 && index <= at_most));
}

static bool is_nan(const mp_shareable_item *item)
{
    return item->type == MP_SHAREABLE_TYPE_FLOAT && item->as.real != item->as.real;
}

static void check_got(size_t index, const mp_shareable_item *item, int err)
{
    enum mp_shareable_type type;

    if (index >= run.list.count)
        MUST(err == EINVAL);
    else if (!is_item(index, &type))
        MUST(err == EPROTO);
    else if (type == MP_SHAREABLE_TYPE_STR) /* which may be no UTF-8 */
        MUST(err == EPROTO || (err == 0 && item->type == type));
    else
        MUST(err == 0 && item->type == type);
}

static void get(size_t index)
{
    mp_shareable_item item = {0};
    unsigned char *text;
    int err = get_whole(index, &item, &text);

    MUST(err == 0 || is_refusal(err));
    if (!run.shared)
        check_got(index, &item, err);
    if (!err) {
        MUST(index < run.list.count);
        MUST(item.type <= MP_SHAREABLE_TYPE_BYTES);
        find(&item, is_nan(&item) ? SIZE_MAX : index);
    }
    free(text);
}

static void set(size_t index, const mp_shareable_item *item)
{
    mp_shareable_item got = {0};
    unsigned char *text = NULL;

    if (!run.shared)
        memcpy(run.before, run.block, run.size);
    int err = mp__shareable_set(&run.list, index, item);
    MUST(err == 0 || is_refusal(err));
    if (run.shared)
        return;
    if (err) {
        MUST(!memcmp(run.before, run.block, run.size));
        return;
    }
    check_only_item_changed(index);
    err = get_whole(index, &got, &text);
    MUST(err == 0 && is_same(item, &got));
    free(text);
}

static void ask_format(size_t index)
{
    mp__shareable_format format;
    int err = mp__shareable_format_of(&run.list, index, format);

    MUST(err == 0 || is_refusal(err));
    MUST(err || strlen(format) < sizeof format);
}

static void do_one(struct input *input)
{
    unsigned op = take_byte(input);
    size_t index = take_byte(input);
    mp_shareable_item item;

    if (index < 0xf0 && run.list.count)
        index %= run.list.count;
    if (op % 4 == 0) {
        get(index);
    } else if (op % 4 == 3) {
        ask_format(index);
    } else {
        item = take_item(input);
        if (op % 4 == 1)
            set(index, &item);
        else
            find(&item, SIZE_MAX);
    }
}

static void use_list(struct input ops)
{
    int err = mp__shareable_open(&run.list, run.block, run.size);

    MUST(err == 0 || err == EPROTO);
    memcpy(run.before, run.block, run.size);
    if (!run.shared)
        MUST(!err == is_list());
    while (!err && ops.left)
        do_one(&ops);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    if (!memory)
        reserve_memory();
    bool shared = is_chosen(input);
    struct input ops = take_bytes(&input, take_byte(&input));
    struct input writes = take_bytes(&input, shared ? WRITES_MAX : 0);
    run.shared = input.left && writes.left;
    lay_out(input.at, input.left);
    begin_writing(writes);
    for (int times = run.shared ? TIMES_SHARED : 1; times; times--)
        use_list(ops);
    end_writing();
    check_surroundings();
    return 0;
}
