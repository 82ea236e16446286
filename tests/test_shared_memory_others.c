/* SPDX-License-Identifier: MIT */
/* test_shared_memory_others.c - named memory among others: who plants something, who is
   another user, who is killed, who wants the same name. */
#include "support/block.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define NOBODY 65534

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
        TEST(test_planted),
        TEST(test_other_users),
        TEST(test_killed_makers),
        TEST(test_races),
    };

    own_name();
    return TEST_MAIN(tests);
}
