/* SPDX-License-Identifier: MIT */
/* test_memory.c - named memory and lists that C and Python both read and write. */
#include "interop/python.h"

#include <unistd.h>

#define SCRIPT       "memory.py"
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *own_name(void)
{
    static char name[64];

    if (!name[0])
        snprintf(name, sizeof name, "mpt_interop_%d", (int)getpid());
    return name;
}

static void say(mp_connection *connection, const char *text)
{
    assert_int_equal(mp_connection_send(connection, text, strlen(text)), 0);
}

/* A short message, as text; valid until the next call. */
static const char *hear(mp_connection *connection)
{
    static char text[64];
    size_t size;

    assert_int_equal(mp_connection_recv(connection, text, sizeof text - 1, &size), 0);
    text[size] = 0;
    return text;
}

/* `function(fd, name, argument)`, and our end of the connection that `fd` is. */
static mp_connection *start(const struct python *python, const char *function,
                            const char *name, const char *argument,
                            struct script *script)
{
    mp_connection *ours, *theirs;
    char number[16];
    int fd;

    assert_int_equal(mp_pipe(&ours, &theirs, NULL), 0);
    assert_int_equal(mp_connection_fileno(theirs, &fd), 0);
    snprintf(number, sizeof number, "%d", fd);
    *script = python_start(python, SCRIPT, function, fd, number, name, argument, NULL);
    mp_connection_free(theirs);
    return ours;
}

static void run(const struct python *python, const char *function, const char *name)
{
    struct script script =
        python_start(python, SCRIPT, function, NOTHING_KEPT, name, NULL);

    python_ends(&script);
}

/* --- blocks ----------------------------------------------------------------------- */

static mp_shared_memory *make(size_t size)
{
    mp_shared_memory *memory;

    assert_int_equal(mp_shared_memory_new(&memory, size,
                                          MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
                     0);
    return memory;
}

static void expect_none(const char *name)
{
    mp_shared_memory *memory;

    assert_int_equal(mp_shared_memory_attach(&memory, name, NULL), ENOENT);
}

static void share(const struct python *python, const char *size)
{
    mp_shared_memory *memory = make((size_t)atoi(size));
    unsigned char *bytes = mp_shared_memory_buffer(memory);
    size_t count = mp_shared_memory_size(memory);
    struct script script;

    pattern_fill(bytes, count, 0);
    mp_connection *ours = start(python, "attached", own_name(), size, &script);
    assert_string_equal(hear(ours), "changed");
    assert_true(pattern_is(bytes, count, 1));
    pattern_fill(bytes, count, 2);
    say(ours, "changed");
    python_ends(&script);
    mp_connection_free(ours);
    mp_shared_memory_free(memory);

    /* Python has ended, and its resource tracker too: it is still there. */
    assert_int_equal(mp_shared_memory_attach(&memory, own_name(), NULL), 0);
    run(python, "taken", own_name());
    assert_int_equal(mp_shared_memory_unlink(memory), 0);
    mp_shared_memory_free(memory);
    run(python, "missing", own_name());
}

static void test_we_make_it(void **state)
{
    static const char *const sizes[] = {"1", "10", "4096", "4097", "1000000"};

    (void)state;
    for (size_t i = 0; i < python_count * COUNT(sizes); i++)
        if (i % COUNT(sizes) < 2 || i < COUNT(sizes)) /* all of them with one Python */
            share(&pythons[i / COUNT(sizes)], sizes[i % COUNT(sizes)]);
}

static void use(const struct python *python, const char *name)
{
    mp_shared_memory *memory;
    struct script script;
    char given[80];
    mp_connection *ours = start(python, "made", name, "5000", &script);

    snprintf(given, sizeof given, "%s", hear(ours));
    if (*name)
        assert_string_equal(given, name);
    assert_int_equal(mp_shared_memory_attach(&memory, given, NULL), 0);
    assert_string_equal(mp_shared_memory_name(memory), given);
    assert_int_equal(mp_shared_memory_size(memory), 5000);
    unsigned char *bytes = mp_shared_memory_buffer(memory);
    assert_true(pattern_is(bytes, 5000, 0));
    pattern_fill(bytes, 5000, 1);
    say(ours, "changed");
    python_ends(&script);
    assert_true(pattern_is(bytes, 5000, 1)); /* The name is gone, the block is not. */
    expect_none(given);
    mp_shared_memory_free(memory);
    mp_connection_free(ours);
}

static void test_python_makes_it(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        use(python, own_name());
        use(python, "");
    }
}

/* What the header warns of: Python removes what it has only looked at. */
static void test_careless(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        mp_shared_memory *memory = make(10);
        run(python, "careless", own_name());
        expect_none(own_name());
        assert_int_equal(mp_shared_memory_unlink(memory), ENOENT);
        mp_shared_memory_free(memory);
    }
}

/* --- lists ------------------------------------------------------------------------ */

#define E "\xc3\xa9" /* a letter of two bytes */

static void set(mp_shareable_list *list, size_t index, const mp_shareable_item *item)
{
    assert_int_equal(mp_shareable_list_set(list, index, item), 0);
}

/* Item `index` is this one: of the same type, and not only equal. */
static void expect(const mp_shareable_list *list, size_t index,
                   const mp_shareable_item *item)
{
    mp_shareable_item seen;
    char buffer[64];
    size_t size = item->size;

    if (size == MP_SHAREABLE_TERMINATED)
        size = strlen(item->as.text);
    assert_int_equal(mp_shareable_list_get(list, index, &seen, buffer, sizeof buffer),
                     0);
    assert_int_equal(seen.type, item->type);
    assert_int_equal(seen.size, size);
    switch (item->type) {
    case MP_SHAREABLE_TYPE_BOOL:
        assert_int_equal(seen.as.truth, item->as.truth);
        break;
    case MP_SHAREABLE_TYPE_INT:
        assert_true(seen.as.integer == item->as.integer);
        break;
    case MP_SHAREABLE_TYPE_FLOAT:
        assert_true(seen.as.real == item->as.real);
        break;
    case MP_SHAREABLE_TYPE_STR:
    case MP_SHAREABLE_TYPE_BYTES:
        assert_memory_equal(seen.as.data, item->as.data, size);
        break;
    case MP_SHAREABLE_TYPE_NONE:
        break;
    }
}

/* ITEMS of memory.py; the zero bytes at the end of b'x\0\0' are forgotten. */
#define ITEMS(x)                                                                       \
    {                                                                                  \
        MP_SHAREABLE_STR("howdy"), MP_SHAREABLE_BYTES("HoWdY", 5),                     \
            MP_SHAREABLE_FLOAT(-273.154), MP_SHAREABLE_INT(100), MP_SHAREABLE_NONE(),  \
            MP_SHAREABLE_BOOL(true), MP_SHAREABLE_INT(42), MP_SHAREABLE_STR(""),       \
            MP_SHAREABLE_STR(E E E E), MP_SHAREABLE_BYTES("x\0\0", x),                 \
            MP_SHAREABLE_STR("aaaaaaaa")                                               \
    }
enum { ITEM_COUNT = 11 };

static mp_shareable_list *make_list(const mp_shareable_item *items, size_t count)
{
    mp_shareable_list *list;

    assert_int_equal(
        mp_shareable_list_new(&list, items, count,
                              MP_SHAREABLE_LIST_OPTIONS(.name = own_name())),
        0);
    return list;
}

static void end_list(mp_shareable_list *list)
{
    assert_int_equal(mp_shareable_list_unlink(list), 0);
    mp_shareable_list_free(list);
}

static bool has_lists(const struct python *python)
{
    if (python->version < 309)
        print_message("SKIPPED: the lists of '%s' have another form\n",
                      python->program);
    return python->version >= 309;
}

static void test_we_make_a_list(void **state)
{
    const mp_shareable_item items[] = ITEMS(3);

    (void)state;
    FOR_EACH_PYTHON(python)
    {
        if (!has_lists(python))
            continue;
        struct script script;
        mp_shareable_list *list = make_list(items, ITEM_COUNT);
        mp_connection *ours = start(python, "list_attached", own_name(), NULL, &script);

        assert_string_equal(hear(ours), "changed");
        expect(list, 0, &MP_SHAREABLE_INT(-5));
        expect(list, 1, &MP_SHAREABLE_NONE());
        expect(list, 2, &MP_SHAREABLE_BOOL(false));
        expect(list, 3, &MP_SHAREABLE_STR("exactly8"));
        expect(list, 4, &MP_SHAREABLE_FLOAT(2.5));
        expect(list, 5, &MP_SHAREABLE_BYTES("abc", 3));
        expect(list, 6, &MP_SHAREABLE_INT(42));
        expect(list, 10, &MP_SHAREABLE_STR(E E E E E E E E));
        set(list, 0, &MP_SHAREABLE_INT(INT64_MAX));
        set(list, 1, &MP_SHAREABLE_STR("C"));
        set(list, 2, &MP_SHAREABLE_NONE());
        set(list, 3, &MP_SHAREABLE_INT(INT64_MIN));
        set(list, 4, &MP_SHAREABLE_BOOL(true));
        set(list, 5, &MP_SHAREABLE_BYTES("\1\2", 2));
        set(list, 10, &MP_SHAREABLE_STR("sixteen letters."));
        say(ours, "changed");
        python_ends(&script);
        mp_connection_free(ours);
        end_list(list);
    }
}

static void change_all(mp_shareable_list *list)
{
    const mp_shareable_item items[] = {
        MP_SHAREABLE_INT(INT64_MAX),
        MP_SHAREABLE_STR("text"),
        MP_SHAREABLE_NONE(),
        MP_SHAREABLE_FLOAT(1.5),
        MP_SHAREABLE_BOOL(true),
        MP_SHAREABLE_BOOL(false),
        MP_SHAREABLE_BYTES("\1\2", 2),
        MP_SHAREABLE_STR("8 bytes."),
        MP_SHAREABLE_STR("x"),
        MP_SHAREABLE_BYTES("", 0),
        MP_SHAREABLE_STR("sixteen letters."),
    };

    for (size_t i = 0; i < COUNT(items); i++)
        set(list, i, &items[i]);
}

/* The list of that name, byte for byte, is the one that we make of the same items. */
static void expect_same_bytes(const char *name)
{
    static const mp_shareable_item items[] = ITEMS(3);
    mp_shareable_list *list;
    mp_shared_memory *pythons_block, *our_block;

    assert_int_equal(mp_shareable_list_new(&list, items, ITEM_COUNT, NULL), 0);
    const char *our_name = mp_shareable_list_name(list);
    assert_int_equal(mp_shared_memory_attach(&our_block, our_name, NULL), 0);
    assert_int_equal(mp_shared_memory_attach(&pythons_block, name, NULL), 0);
    size_t size = mp_shared_memory_size(our_block);
    assert_int_equal(mp_shared_memory_size(pythons_block), size);
    assert_memory_equal(mp_shared_memory_buffer(pythons_block),
                        mp_shared_memory_buffer(our_block), size);
    mp_shared_memory_free(pythons_block);
    mp_shared_memory_free(our_block);
    end_list(list);
}

static void use_list(const struct python *python, const char *name)
{
    const mp_shareable_item items[] = ITEMS(1);
    mp_shareable_list *list;
    struct script script;
    char given[80];
    mp_connection *ours = start(python, "list_made", name, NULL, &script);

    snprintf(given, sizeof given, "%s", hear(ours));
    expect_same_bytes(given);
    assert_int_equal(mp_shareable_list_attach(&list, given, NULL), 0);
    assert_int_equal(mp_shareable_list_len(list), ITEM_COUNT);
    for (size_t i = 0; i < ITEM_COUNT; i++)
        expect(list, i, &items[i]);
    change_all(list);
    say(ours, "changed");
    assert_string_equal(hear(ours), "changed");
    expect(list, 3, &MP_SHAREABLE_INT(7));
    say(ours, "thanks");
    python_ends(&script);
    expect_none(given);
    mp_shareable_list_free(list);
    mp_connection_free(ours);
}

static void test_python_makes_a_list(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        if (!has_lists(python))
            continue;
        use_list(python, own_name());
        use_list(python, "");
    }
}

/* Both write at once, each to places of its own. */
static void test_list_of_both(void **state)
{
    enum { MANY = 2000 };
    static mp_shareable_item items[MANY];

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        items[i] = MP_SHAREABLE_NONE();
    FOR_EACH_PYTHON(python)
    {
        if (!has_lists(python))
            continue;
        struct script script;
        mp_shareable_list *list = make_list(items, MANY);
        mp_connection *ours = start(python, "list_shared", own_name(), "2000", &script);

        assert_string_equal(hear(ours), "go");
        for (size_t i = 1; i < MANY; i += 2)
            set(list, i, &MP_SHAREABLE_FLOAT((double)i / 2));
        say(ours, "done");
        python_ends(&script);
        for (size_t i = 0; i < MANY; i += 2)
            expect(list, i, &MP_SHAREABLE_INT(-(int64_t)i));
        mp_connection_free(ours);
        end_list(list);
    }
}

static void test_list_of_38(void **state)
{
    size_t tried = 0;

    (void)state;
    FOR_EACH_PYTHON(python)
    {
        if (python->version != 308)
            continue;
        mp_shareable_list *list;
        struct script script;
        mp_connection *ours = start(python, "list_of_38", "", NULL, &script);
        assert_int_equal(mp_shareable_list_attach(&list, hear(ours), NULL), EPROTO);
        say(ours, "refused");
        python_ends(&script);
        mp_connection_free(ours);
        tried++;
    }
    if (!tried) {
        print_message("SKIPPED: no Python 3.8 whose lists could be refused\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest interop_memory[] = {
        TEST(test_we_make_it),
        TEST(test_python_makes_it),
        TEST(test_careless),
        TEST(test_we_make_a_list),
        TEST(test_python_makes_a_list),
        TEST(test_list_of_both),
        TEST(test_list_of_38),
    };

    return PYTHON_MAIN(308, interop_memory);
}
