/* SPDX-License-Identifier: MIT */
/* test_shared_memory.c - blocks with a name. */
#include "support/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#define NOBODY 65534

/* A name of this program's own, the same in its children. */
static const char *own_name(void)
{
    static char name[64];

    if (!name[0])
        snprintf(name, sizeof name, "mpt_memory_%d", (int)getpid());
    return name;
}

static const char *path_of(const char *name)
{
    static char path[300];

    snprintf(path, sizeof path, "/dev/shm/%s", name);
    return path;
}

static mp_shared_memory *make(size_t size)
{
    mp_shared_memory *memory = NULL;

    assert_int_equal(mp_shared_memory_new(&memory, size,
                                          MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
                     0);
    return memory;
}

static mp_shared_memory *attach(const char *name)
{
    mp_shared_memory *memory = NULL;

    assert_int_equal(mp_shared_memory_attach(&memory, name, NULL), 0);
    return memory;
}

static void end(mp_shared_memory *memory)
{
    assert_int_equal(mp_shared_memory_unlink(memory), 0);
    mp_shared_memory_free(memory);
}

static bool all_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

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
    char longest[260], slashed[300];
    static const char *const bad[] = {"",   "/",   "//",  ".", "..",
                                      "/.", "a/b", "/a/", "a/"};
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
    end(memory);

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

/* What lies under the name is not what it should be. */
static void expect_refused(int error)
{
    mp_shared_memory *out = NULL;

    assert_int_equal(mp_shared_memory_attach(&out, own_name(), NULL), error);
    assert_int_equal(mp_shared_memory_attach(&out, own_name(),
                                             MP_SHARED_MEMORY_OPTIONS(.read_only = 1)),
                     error);
    assert_int_equal(
        mp_shared_memory_new(&out, 10, MP_SHARED_MEMORY_OPTIONS(.name = own_name())),
        EEXIST);
    assert_null(out);
}

static void test_planted(void **state)
{
    (void)state;
    char path[300], second[310];

    strcpy(path, path_of(own_name()));
    snprintf(second, sizeof second, "%s_2", path);
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
    assert_true(fd >= 0);
    close(fd);
    expect_refused(EINVAL); /* no size: somebody died while he made it */
    assert_int_equal(mp_shared_memory_remove(own_name()), 0);

    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(20);
    expect_refused(EINVAL); /* and does not wait for a writer */
    alarm(0);
    unlink(path);

    assert_int_equal(mkdir(path, 0700), 0);
    expect_refused(EINVAL);
    assert_int_equal(mp_shared_memory_remove(own_name()), EPERM);
    rmdir(path);

    mp_shared_memory *memory = make(10);
    assert_int_equal(rename(path, second), 0);
    assert_int_equal(symlink(second, path), 0);
    expect_refused(EINVAL);
    unlink(path);
    assert_int_equal(link(second, path), 0);
    expect_refused(EINVAL);
    unlink(second);
    mp_shared_memory_free(attach(own_name()));
    end(memory);
}

static int come_as_nobody(void *arg)
{
    mp_shared_memory *out = NULL;

    (void)arg;
    if (setuid(NOBODY) != 0)
        return SKIPPED;
    /* root's, and closed to others */
    assert_int_equal(mp_shared_memory_attach(&out, own_name(), NULL), EACCES);
    assert_int_equal(
        mp_shared_memory_attach(
            &out, own_name(), MP_SHARED_MEMORY_OPTIONS(.read_only = 1, .any_owner = 1)),
        EACCES);
    int err = mp_shared_memory_remove(own_name());
    assert_true(err == EACCES || err == EPERM);
    return 0;
}

static int plant_as_nobody(void *arg)
{
    (void)arg;
    if (setuid(NOBODY) != 0)
        return SKIPPED;
    mp_shared_memory_free(make(10));
    mp_shared_memory_free(attach(own_name()));
    return 0;
}

static void test_other_users(void **state)
{
    (void)state;
    mp_shared_memory *out = NULL;

    if (geteuid() != 0) {
        print_message("SKIPPED: only root can be two users\n");
        return;
    }
    mp_shared_memory *memory = make(10);
    assert_int_equal(child_run(come_as_nobody, NULL), 0);
    end(memory);

    assert_int_equal(child_run(plant_as_nobody, NULL), 0);
    assert_int_equal(mp_shared_memory_attach(&out, own_name(), NULL), EACCES);
    assert_null(out);
    assert_int_equal(mp_shared_memory_attach(&out, own_name(),
                                             MP_SHARED_MEMORY_OPTIONS(.any_owner = 1)),
                     0);
    end(out);
}

static size_t names_in_directory(void)
{
    size_t count = 0;
    DIR *dir = opendir("/dev/shm");

    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

/* In a /dev/shm of one MiB of its own. */
static int fill_the_directory(void *arg)
{
    mp_shared_memory *first, *second = NULL;

    (void)arg;
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/dev/shm", "tmpfs", 0, "size=1m") != 0)
        return SKIPPED;
    assert_int_equal(mp_shared_memory_new(&first, 600000, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mp_shared_memory_new(&second, 600000, NULL), ENOSPC);
        assert_int_equal(mp_shared_memory_new(&second, (size_t)1 << 40, NULL), ENOSPC);
    }
    assert_null(second);
    assert_int_equal(names_in_directory(), 1);

    /* Whoever has got his block can write all of it. */
    assert_int_equal(mp_shared_memory_new(&second, 400000, NULL), 0);
    memset(mp_shared_memory_buffer(first), 1, 600000);
    memset(mp_shared_memory_buffer(second), 2, 400000);
    end(first);
    end(second);

    /* The memory of what failed is free again. */
    assert_int_equal(mp_shared_memory_new(&first, 1 << 20, NULL), 0);
    memset(mp_shared_memory_buffer(first), 3, 1 << 20);
    end(first);
    return 0;
}

static void test_full(void **state)
{
    (void)state;
    int code = child_run(fill_the_directory, NULL);

    if (code == SKIPPED)
        print_message("SKIPPED: no file system of its own can be mounted here\n");
    else
        assert_int_equal(code, 0);
}

static int run_out_of_descriptors(void *arg)
{
    mp_shared_memory *memory = make(10), *more = NULL, *many[40];
    int err;

    (void)arg;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){20, 20}), 0);
    /* A block keeps none. */
    for (int i = 0; i < 40; i++)
        assert_int_equal(mp_shared_memory_new(&many[i], 10, NULL), 0);
    for (int i = 0; i < 40; i++)
        end(many[i]);

    int last = dup(0);
    while ((err = dup(0)) >= 0)
        last = err;
    assert_int_equal(mp_shared_memory_new(&more, 10, NULL), EMFILE);
    assert_int_equal(mp_shared_memory_attach(&more, own_name(), NULL), EMFILE);
    close(last);
    mp_shared_memory_free(attach(own_name()));
    assert_int_equal(mp_shared_memory_new(&more, 10, NULL), 0);
    end(more);
    end(memory);
    return 0;
}

static int run_out_of_addresses(void *arg)
{
    mp_shared_memory *memory = make(64 << 20), *more = NULL;

    (void)arg;
    assert_int_equal(mp_shared_memory_close(memory), 0);
    assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){1 << 20, RLIM_INFINITY}), 0);
    assert_int_equal(mp_shared_memory_new(&more, 64 << 20, NULL), ENOMEM);
    assert_int_equal(mp_shared_memory_attach(&more, own_name(), NULL), ENOMEM);
    assert_null(more);
    end(memory);
    return 0;
}

/* The system would send SIGXFSZ, which kills. */
static int exceed_the_file_size(void *arg)
{
    mp_shared_memory *memory;

    (void)arg;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){8192, 8192}), 0);
    assert_int_equal(mp_shared_memory_new(&memory, 8193, NULL), EFBIG);
    assert_int_equal(mp_shared_memory_new(&memory, 8192, NULL), 0);
    end(memory);
    return 0;
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(child_run(run_out_of_descriptors, NULL), 0);
    if (!SANITIZED)
        assert_int_equal(child_run(run_out_of_addresses, NULL), 0);
    assert_int_equal(child_run(exceed_the_file_size, NULL), 0);
}

static int without_streams(void *arg)
{
    (void)arg;
    int fd = dup(2);
    for (int i = 0; i < 3; i++)
        close(i);
    mp_shared_memory *memory = make(10);
    mp_shared_memory *other = attach(own_name());
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) != -1)
            return 1;
    dup2(fd, 2);
    mp_shared_memory_free(other);
    end(memory);
    return 0;
}

static void test_closed_streams(void **state)
{
    (void)state;
    assert_int_equal(child_run(without_streams, NULL), 0);
}

static _Atomic int ticks;

static void tick(int signal_number)
{
    (void)signal_number;
    ticks++;
}

/* Signals interrupt the system while it looks for memory, which takes long here. */
static int make_with_a_timer(void *arg)
{
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    mp_shared_memory *memory;

    (void)arg;
    signal(SIGALRM, tick);
    setitimer(ITIMER_REAL, &often, NULL);
    while (ticks < 3)
        ;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(mp_shared_memory_new(&memory, 32 << 20, NULL), 0);
        end(memory);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    return 0;
}

static void test_signals(void **state)
{
    (void)state;
    assert_int_equal(child_run(make_with_a_timer, NULL), 0);
}

enum { HALF_MEGABYTE = 1 << 19 };

static int make_again_and_again(void *arg)
{
    _Atomic int *started = arg;

    for (;;) {
        mp_shared_memory *memory = make(HALF_MEGABYTE);
        *started = 1;
        end(memory);
    }
    return 1;
}

/* What a death leaves under the name: nothing, or a block that is complete.  Without
   the ways of Linux also one without size, which nobody can attach to and which can be
   removed. */
static void expect_all_or_nothing(void)
{
    mp_shared_memory *memory;
    int err = mp_shared_memory_attach(&memory, own_name(), NULL);

    if (err == 0) {
        assert_int_equal(mp_shared_memory_size(memory), HALF_MEGABYTE);
        assert_true(all_zero(mp_shared_memory_buffer(memory), HALF_MEGABYTE));
        mp_shared_memory_free(memory);
    }
#ifdef MP_PORTABLE
    assert_true(err == 0 || err == ENOENT || err == EINVAL);
#else
    assert_true(err == 0 || err == ENOENT);
#endif
    assert_int_equal(mp_shared_memory_remove(own_name()), err == ENOENT ? ENOENT : 0);
}

static bool has_started(void *arg)
{
    return *(_Atomic int *)arg;
}

static void test_killed_makers(void **state)
{
    (void)state;
    uint64_t seed = 20250705;
    _Atomic int *started = shared_page(sizeof *started);

    for (int i = 0; i < 150; i++) {
        *started = 0;
        pid_t pid = child_start(make_again_and_again, (void *)started);
        assert_true(eventually(has_started, (void *)started, 20000));
        usleep((useconds_t)(next_random(&seed) % 700));
        kill(pid, SIGKILL);
        assert_int_equal(child_wait(pid, 20000), -SIGKILL);
        expect_all_or_nothing();
    }
    shared_page_free((void *)started, sizeof *started);
}

enum { MAKERS = 8, ROUNDS = 200 };

/* Many want the same name: one gets it, and whoever attaches finds it complete. */
static int race_for_the_name(void *arg)
{
    _Atomic int *made = arg;
    mp_shared_memory *memory;

    for (int i = 0; i < ROUNDS; i++) {
        int err = mp_shared_memory_new(&memory, 5000,
                                       MP_SHARED_MEMORY_OPTIONS(.name = own_name()));
        if (err == EEXIST) {
            err = mp_shared_memory_attach(&memory, own_name(), NULL);
            if (!err && mp_shared_memory_size(memory) != 5000)
                return 1;
            if (!err)
                mp_shared_memory_free(memory);
#ifdef MP_PORTABLE
            if (err == EINVAL)
                err = 0;
#endif
            if (err && err != ENOENT)
                return 2;
        } else if (err == 0) {
            if (atomic_fetch_add(made, 1) != 0)
                return 3;
            atomic_fetch_sub(made, 1);
            end(memory);
        } else {
            return 4;
        }
    }
    return 0;
}

static void test_races(void **state)
{
    (void)state;
    _Atomic int *made = shared_page(sizeof *made);
    pid_t pids[MAKERS];

    for (int i = 0; i < MAKERS; i++)
        pids[i] = child_start(race_for_the_name, (void *)made);
    for (int i = 0; i < MAKERS; i++)
        assert_int_equal(child_wait(pids[i], 60000), 0);
    shared_page_free((void *)made, sizeof *made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),
        TEST(test_generated_names),
        TEST(test_names),
        TEST(test_bad_input),
        TEST(test_close_and_unlink),
        TEST(test_mode),
        TEST(test_processes),
        TEST(test_read_only),
        TEST(test_planted),
        TEST(test_other_users),
        TEST(test_full),
        TEST(test_limits),
        TEST(test_closed_streams),
        TEST(test_signals),
        TEST(test_killed_makers),
        TEST(test_races),
    };

    own_name();
    return TEST_MAIN(tests);
}
