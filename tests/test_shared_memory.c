/* SPDX-License-Identifier: MIT */
/* test_shared_memory.c - blocks with a name. */
#include "support/block.h"

#include <signal.h>
#include <sys/stat.h>

/* The size is what was asked for, to the byte, and all bytes are zero. */
static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 10, 4095, 4096, 4097, 1000003};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mp_shared_memory *memory = make(sizes[i]);
        mp_shared_memory *same = attach(own_name());
        unsigned char *mine = mp_shared_memory_buffer(memory);
        unsigned char *yours = mp_shared_memory_buffer(same);

        assert_int_equal(mp_shared_memory_size(memory), sizes[i]);
        assert_int_equal(mp_shared_memory_size(same), sizes[i]);
        assert_ptr_not_equal(mine, yours);
        assert_true(all_zero(yours, sizes[i]));
        mine[0] = 1;
        yours[sizes[i] - 1] = 2;
        assert_int_equal(mine[sizes[i] - 1], 2);
        assert_int_equal(yours[0], sizes[i] == 1 ? 2 : 1);
        mp_shared_memory_free(same);
        end(memory);
    }
}

/* `psm_` and 8 hex digits, as Python names them, and never the same one twice. */
static void test_generated_names(void **state)
{
    (void)state;
    enum { MANY = 50 };
    mp_shared_memory *memory[MANY];

    for (int i = 0; i < MANY; i++) {
        assert_int_equal(mp_shared_memory_new(&memory[i], 1, NULL), 0);
        const char *name = mp_shared_memory_name(memory[i]);
        assert_int_equal(strlen(name), 12);
        assert_memory_equal(name, "psm_", 4);
        assert_int_equal(strspn(name + 4, "0123456789abcdef"), 8);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(name, mp_shared_memory_name(memory[j]));
        mp_shared_memory_free(attach(name));
    }
    for (int i = 0; i < MANY; i++)
        end(memory[i]);
}

static void test_names(void **state)
{
    (void)state;
    char slashed[300];
    mp_shared_memory *memory = make(5), *other = NULL;

    assert_string_equal(mp_shared_memory_name(memory), own_name());
    snprintf(slashed, sizeof slashed, "/%s", own_name());
    mp_shared_memory_free(attach(slashed));
    snprintf(slashed, sizeof slashed, "//%s", own_name());
    other = attach(slashed);
    assert_string_equal(mp_shared_memory_name(other), own_name());
    mp_shared_memory_free(other);
    other = NULL;
    /* The name is taken, with and without '/'. */
    assert_int_equal(
        mp_shared_memory_new(&other, 5, MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
        EEXIST);
    assert_int_equal(
        mp_shared_memory_new(&other, 5, MP_SHARED_MEMORY_OPTIONS(.name = slashed)),
        EEXIST);
    /* It counts first: there is no room for another one as large as the first. */
    assert_int_equal(mp_shared_memory_new(&other, (size_t)1 << 45,
                                          MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
                     EEXIST);
    assert_null(other);
    end(memory);
}

static void test_no_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"",   "/",   "//",  ".", "..",
                                      "/.", "a/b", "/a/", "a/"};
    char longest[260];
    mp_shared_memory *other = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            mp_shared_memory_new(&other, 5, MP_SHARED_MEMORY_OPTIONS(.name = bad[i])),
            EINVAL);
        assert_int_equal(mp_shared_memory_attach(&other, bad[i], NULL), EINVAL);
        assert_int_equal(mp_shared_memory_remove(bad[i]), EINVAL);
    }
    memset(longest, 'n', sizeof longest);
    longest[256] = 0;
    assert_int_equal(
        mp_shared_memory_new(&other, 5, MP_SHARED_MEMORY_OPTIONS(.name = longest)),
        EINVAL);
    assert_null(other);
    longest[255] = 0;
    assert_int_equal(
        mp_shared_memory_new(&other, 5, MP_SHARED_MEMORY_OPTIONS(.name = longest)), 0);
    assert_string_equal(mp_shared_memory_name(other), longest);
    mp_shared_memory_free(attach(longest));
    end(other);
}

static void test_bad_input(void **state)
{
    (void)state;
    mp_shared_memory *out = NULL;
    struct {
        mp_shared_memory_options options;
        size_t newer;
    } newer = {{.struct_size = sizeof newer}, 1};

    assert_int_equal(mp_shared_memory_new(NULL, 5, NULL), EINVAL);
    assert_int_equal(mp_shared_memory_new(&out, 0, NULL), EINVAL);
    assert_int_equal(mp_shared_memory_new(&out, 5, &newer.options), EINVAL);
    assert_int_equal(
        mp_shared_memory_new(&out, 5, MP_SHARED_MEMORY_OPTIONS(.read_only = 1)),
        EINVAL);
    assert_int_equal(
        mp_shared_memory_new(&out, 5, MP_SHARED_MEMORY_OPTIONS(.any_owner = 1)),
        EINVAL);
    assert_int_equal(mp_shared_memory_new(&out, SIZE_MAX, NULL), EOVERFLOW);
    assert_int_equal(mp_shared_memory_new(&out, (size_t)PTRDIFF_MAX + 1, NULL),
                     EOVERFLOW);

    assert_int_equal(mp_shared_memory_attach(NULL, "x", NULL), EINVAL);
    assert_int_equal(mp_shared_memory_attach(&out, NULL, NULL), EINVAL);
    assert_int_equal(mp_shared_memory_attach(&out, "x", &newer.options), EINVAL);
    assert_int_equal(
        mp_shared_memory_attach(&out, "x", MP_SHARED_MEMORY_OPTIONS(.name = "x")),
        EINVAL);
    assert_int_equal(mp_shared_memory_attach(&out, own_name(), NULL), ENOENT);
    assert_null(out);

    assert_int_equal(mp_shared_memory_close(NULL), EINVAL);
    assert_int_equal(mp_shared_memory_unlink(NULL), EINVAL);
    assert_int_equal(mp_shared_memory_remove(NULL), EINVAL);
    assert_int_equal(mp_shared_memory_remove(own_name()), ENOENT);
    assert_null(mp_shared_memory_buffer(NULL));
    assert_null(mp_shared_memory_name(NULL));
    assert_int_equal(mp_shared_memory_size(NULL), 0);
    mp_shared_memory_free(NULL);
}

static void test_close_and_unlink(void **state)
{
    (void)state;
    mp_shared_memory *memory = make(100), *other = attach(own_name()), *none = NULL;

    strcpy(mp_shared_memory_buffer(memory), "kept");
    assert_int_equal(mp_shared_memory_close(memory), 0);
    assert_int_equal(mp_shared_memory_close(memory), 0);
    assert_null(mp_shared_memory_buffer(memory));
    assert_int_equal(mp_shared_memory_size(memory), 100);
    assert_string_equal(mp_shared_memory_name(memory), own_name());

    /* Closed, freed, and still there for whoever comes. */
    mp_shared_memory_free(memory);
    memory = attach(own_name());
    assert_string_equal(mp_shared_memory_buffer(memory), "kept");
    assert_int_equal(mp_shared_memory_close(memory), 0);
    assert_int_equal(mp_shared_memory_unlink(memory), 0);
    assert_int_equal(mp_shared_memory_unlink(memory), ENOENT);
    assert_int_equal(mp_shared_memory_unlink(other), ENOENT);
    mp_shared_memory_free(memory);

    /* Nobody comes any more, but who was there stays. */
    assert_int_equal(mp_shared_memory_attach(&none, own_name(), NULL), ENOENT);
    assert_string_equal(mp_shared_memory_buffer(other), "kept");

    /* The name is free for another block. */
    memory = make(7);
    assert_true(all_zero(mp_shared_memory_buffer(memory), 7));
    assert_string_equal(mp_shared_memory_buffer(other), "kept");
    mp_shared_memory_free(other);
    mp_shared_memory_free(memory);
    assert_int_equal(mp_shared_memory_remove(own_name()), 0);
    assert_int_equal(mp_shared_memory_remove(own_name()), ENOENT);
}

static int make_with_umask(void *arg)
{
    mp_shared_memory *memory;
    struct stat found;

    umask(*(mode_t *)arg);
    memory = make(10);
    assert_int_equal(stat(path_of(own_name()), &found), 0);
    end(memory);
    return found.st_mode == (S_IFREG | 0600) ? 0 : 1;
}

static void test_mode(void **state)
{
    (void)state;
    mode_t masks[] = {0, 022, 077, 0777};

    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        assert_int_equal(child_run(make_with_umask, &masks[i]), 0);
}

static int change_inherited(void *arg)
{
    mp_shared_memory *memory = arg;
    char *bytes = mp_shared_memory_buffer(memory);

    bytes[1] = 'c';
    mp_shared_memory_free(memory);
    return 0;
}

static int change_attached(void *arg)
{
    (void)arg;
    mp_shared_memory *memory = attach(own_name());
    char *bytes = mp_shared_memory_buffer(memory);

    bytes[2] = 'd';
    raise(SIGKILL);
    return 1;
}

/* Whoever has it ends as he likes: the others, and the name, are not concerned. */
static void test_processes(void **state)
{
    (void)state;
    mp_shared_memory *memory = make(4);
    char *bytes = mp_shared_memory_buffer(memory);

    bytes[0] = 'm';
    assert_int_equal(child_run(change_inherited, memory), 0);
    assert_int_equal(child_run(change_attached, NULL), -SIGKILL);
    assert_memory_equal(bytes, "mcd", 4);
    mp_shared_memory_free(attach(own_name()));
    end(memory);
}

static int write_to_it(void *arg)
{
    volatile char *bytes = arg;

    bytes[0] = 'w';
    return 0;
}

static void test_read_only(void **state)
{
    (void)state;
    mp_shared_memory *memory = make(4), *reader;

    assert_int_equal(mp_shared_memory_attach(&reader, own_name(),
                                             MP_SHARED_MEMORY_OPTIONS(.read_only = 1)),
                     0);
    strcpy(mp_shared_memory_buffer(memory), "abc");
    assert_string_equal(mp_shared_memory_buffer(reader), "abc");
    int code = child_run(write_to_it, mp_shared_memory_buffer(reader));
    assert_true(code == -SIGSEGV || (SANITIZED && code != 0));
    assert_int_equal(child_run(write_to_it, mp_shared_memory_buffer(memory)), 0);
    mp_shared_memory_free(reader);
    end(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),    TEST(test_generated_names), TEST(test_names),
        TEST(test_no_names), TEST(test_bad_input),       TEST(test_close_and_unlink),
        TEST(test_mode),     TEST(test_processes),       TEST(test_read_only),
    };

    own_name();
    return TEST_MAIN(tests);
}
