/* SPDX-License-Identifier: MIT */
/* test_shared_memory_limits.c - named memory when something is short: room in /dev/shm,
   descriptors, addresses, standard streams, time between two signals. */
#include "support/block.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/time.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_full),
        TEST(test_limits),
        TEST(test_closed_streams),
        TEST(test_signals),
    };

    own_name();
    return TEST_MAIN(tests);
}
