/* SPDX-License-Identifier: MIT */
/* test_listener_paths.c - Unix sockets in the file system: whose they are, and what
 * stays. */
#include "support/door.h"

#include <sys/file.h>

enum { NOBODY = 65534 };

static mode_t mode_of(const char *path)
{
    struct stat info;

    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static void test_modes(void **state)
{
    char room[64], path[128];
    mp_listener *door;
    mode_t masks[] = {0, 022, 077}, before = umask(0);

    (void)state;
    make_room(room);
    snprintf(path, sizeof path, "%s/door", room);
    for (int i = 0; i < 3; i++) {
        umask(masks[i]);
        assert_int_equal(mp_listener_new(&door, path, NULL), 0);
        assert_int_equal(mode_of(path), 0600);
        mp_listener_free(door);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(mp_listener_new(&door, NULL, NULL), 0);
        assert_int_equal(mode_of(mp_listener_address(door)), 0600);
        mp_listener_free(door);
    }
    umask(before);
    assert_int_equal(rmdir(room), 0);
}

static int listen_and_die(void *arg)
{
    mp_listener *door;

    if (mp_listener_new(&door, arg, NULL))
        return 1;
    return kill(getpid(), SIGKILL);
}

static void leave_dead_socket(char *path)
{
    assert_int_equal(child_run(listen_and_die, path), -SIGKILL);
    assert_int_equal(access(path, F_OK), 0);
}

/* A socket without a listener is replaced; one that has one is not, nor what is none.
 */
static void test_taken_paths(void **state)
{
    char room[64], path[128];
    mp_listener *door, *other = NULL;

    (void)state;
    make_room(room);
    snprintf(path, sizeof path, "%s/door", room);
    leave_dead_socket(path);
    assert_int_equal(mp_listener_new(&door, path, MP_LISTENER_OPTIONS(.backlog = 1)),
                     0);
    assert_int_equal(mp_listener_new(&other, path, NULL), EADDRINUSE);
    int fds[2] = {plain_connect(door), plain_connect(door)};
    assert_int_equal(mp_listener_new(&other, path, NULL),
                     EADDRINUSE); /* its queue is full */
    close(fds[0]);
    close(fds[1]);
    mp_listener_free(door);

    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(mp_listener_new(&other, path, NULL), EADDRINUSE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nowhere", path), 0);
    assert_int_equal(mp_listener_new(&other, path, NULL), EADDRINUSE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mp_listener_new(&other, path, NULL), EADDRINUSE);
    assert_int_equal(rmdir(path), 0);
    assert_null(other);
    assert_int_equal(rmdir(room), 0);
}

/* Whoever comes later to a path that was given up and taken again keeps it. */
static void test_close_removes_its_own(void **state)
{
    char room[64], path[128];
    mp_listener *first, *second;

    (void)state;
    make_room(room);
    snprintf(path, sizeof path, "%s/door", room);
    assert_int_equal(mp_listener_new(&first, path, NULL), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mp_listener_new(&second, path, NULL), 0);
    mp_listener_free(first);
    assert_int_equal(access(path, F_OK), 0);
    welcome_one(second, NULL);
    mp_listener_free(second);
    assert_int_equal(rmdir(room), 0);
}

struct race {
    char path[128];
    int start, over; /* pipe ends: reading returns when all may go */
    _Atomic int won, lost;
};

static int race_for_path(void *arg)
{
    struct race *race = arg;
    mp_listener *door;
    char byte;

    (void)!read(race->start, &byte, 1);
    int err = mp_listener_new(&door, race->path, NULL);
    if (err == EADDRINUSE)
        race->lost++;
    else if (!err)
        race->won++;
    if (!err) {
        (void)!read(race->over, &byte, 1);
        mp_listener_free(door);
    }
    return err == EADDRINUSE ? 0 : err;
}

static bool race_is_run(void *arg)
{
    struct race *race = arg;

    return race->won + race->lost == 16;
}

/* Of many who find a dead socket at the same time one gets its place. */
static void test_race(void **state)
{
    char room[64];
    pid_t children[16];
    struct race *race = shared_page(sizeof *race);

    (void)state;
#if !defined(__linux__) || defined(MP_PORTABLE)
    shared_page_free(race, sizeof *race);
    skip();
#endif
    make_room(room);
    for (int round = 0; round < 10; round++) {
        int start[2], over[2];
        memset(race, 0, sizeof *race);
        snprintf(race->path, sizeof race->path, "%s/door", room);
        leave_dead_socket(race->path);
        assert_int_equal(pipe2(start, O_CLOEXEC), 0);
        assert_int_equal(pipe2(over, O_CLOEXEC), 0);
        race->start = start[0];
        race->over = over[0];
        for (int i = 0; i < 16; i++)
            children[i] = child_start(race_for_path, race);
        assert_int_equal(write(start[1], "0123456789abcdef", 16), 16);
        assert_true(eventually(race_is_run, race, scaled(20000)));
        assert_int_equal(race->won, 1);
        assert_int_equal(access(race->path, F_OK), 0);
        assert_int_equal(write(over[1], "0123456789abcdef", 16), 16);
        for (int i = 0; i < 16; i++)
            assert_int_equal(child_wait(children[i], 20000), 0);
        assert_int_equal(access(race->path, F_OK), -1);
        for (int i = 0; i < 2; i++) {
            close(start[i]);
            close(over[i]);
        }
    }
    assert_int_equal(rmdir(room), 0);
    shared_page_free(race, sizeof *race);
}

/* While one looks whether the place is free, another waits. */
static void test_one_at_a_time(void **state)
{
    char room[64];
    struct race *race = shared_page(sizeof *race);
    int over[2];

    (void)state;
#if !defined(__linux__) || defined(MP_PORTABLE)
    shared_page_free(race, sizeof *race);
    skip();
#endif
    make_room(room);
    snprintf(race->path, sizeof race->path, "%s/door", room);
    leave_dead_socket(race->path);
    int lock = open(room, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_int_equal(pipe2(over, O_CLOEXEC), 0);
    race->start = race->over = over[0];
    pid_t child = child_start(race_for_path, race);
    assert_int_equal(write(over[1], "1", 1), 1);
    usleep(100000);
    assert_int_equal(race->won, 0);
    close(lock);
    assert_int_equal(write(over[1], "2", 1), 1);
    assert_int_equal(child_wait(child, 20000), 0);
    assert_int_equal(race->won, 1);
    close(over[0]);
    close(over[1]);
    assert_int_equal(rmdir(room), 0);
    shared_page_free(race, sizeof *race);
}

struct other_user {
    struct visit visit;
    int expected;
};

static int come_as_other_user(void *arg)
{
    struct other_user *user = arg;
    mp_connection *connection = NULL;
    char byte;
    size_t size;

    if (setgid(NOBODY) || setuid(NOBODY))
        return 98;
    int err = connect_as(&user->visit, &connection);
    /* It connects, but is left at once. */
    if (!err && user->expected == EPIPE)
        err = mp_connection_recv(connection, &byte, 1, &size);
    else if (!err)
        err = mp_connection_send(connection, "hello", 5);
    mp_connection_free(connection);
    return err == user->expected ? 0 : 99;
}

static int listen_as_other_user(void *arg)
{
    mp_listener *door;
    mp_connection *connection;

    if (setgid(NOBODY) || setuid(NOBODY) || mp_listener_new(&door, arg, NULL))
        return 98;
    for (int i = 0; i < 2; i++) { /* the first leaves at once */
        if (mp_listener_accept(door, &connection, 20000))
            return 97;
        mp_connection_free(connection);
    }
    mp_listener_free(door);
    return 0;
}

/* Other users are kept out even where the modes let them in. */
static void test_other_users(void **state)
{
    char room[64], path[128];
    mp_listener *door;
    mp_connection *connection = NULL;
    struct other_user user;

    (void)state;
#if !defined(__linux__) || defined(MP_PORTABLE)
    skip();
#endif
    if (geteuid() != 0)
        skip();
    make_room(room);
    snprintf(path, sizeof path, "%s/door", room);
    assert_int_equal(chmod(room, 0777), 0);
    for (int any = 0; any < 2; any++) {
        assert_int_equal(
            mp_listener_new(&door, path, MP_LISTENER_OPTIONS(.any_user = any)), 0);
        /* The mode of the file keeps them out to begin with. */
        user = (struct other_user){visit_of(door, NULL), EACCES};
        user.visit.any_user = true;
        assert_int_equal(child_run(come_as_other_user, &user), 0);
        assert_int_equal(chmod(path, 0666), 0);
        user.expected = any ? 0 : EPIPE;
        pid_t child = child_start(come_as_other_user, &user);
        assert_int_equal(mp_listener_accept(door, &connection, any ? 20000 : 300),
                         any ? 0 : ETIMEDOUT);
        assert_int_equal(child_wait(child, 20000), 0);
        assert_int_equal(mp_listener_refused(door), !any);
        mp_connection_free(connection);
        mp_listener_free(door);
    }

    /* Nor does a client talk to another user's listener. */
    pid_t child = child_start(listen_as_other_user, path);
    struct visit visit = {.key = NULL};
    snprintf(visit.address, sizeof visit.address, "%s", path);
    int err = ENOENT;
    for (int i = 0; i < 2000 && (err == ENOENT || err == ECONNREFUSED);
         i++, usleep(1000))
        err = connect_as(&visit, &connection);
    assert_int_equal(err, EACCES);
    visit.any_user = true;
    assert_int_equal(connect_as(&visit, &connection), 0);
    mp_connection_free(connection);
    assert_int_equal(child_wait(child, 20000), 0);
    assert_int_equal(rmdir(room), 0);
}

/* Of a private socket nothing remains, not even of a process that is killed. */
static void test_private(void **state)
{
    mp_listener *door;

    (void)state;
#if defined(__linux__) && !defined(MP_PORTABLE)
    assert_int_equal(child_run(listen_and_die, NULL), -SIGKILL); /* leak_check looks */
#endif
    assert_int_equal(setenv("TMPDIR", "/no/such/directory", 1), 0);
    assert_int_equal(mp_listener_new(&door, NULL, NULL), ENOENT);
    assert_int_equal(unsetenv("TMPDIR"), 0);
    assert_int_equal(mp_listener_new(&door, NULL, NULL), 0);
    char path[256];
    snprintf(path, sizeof path, "%s", mp_listener_address(door));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(mp_listener_close(door), 0);
    assert_int_equal(access(path, F_OK), -1);
    mp_listener_free(door);
}

int main(void)
{
    const struct CMUnitTest listener_paths[] = {
        TEST(test_modes),   TEST(test_taken_paths),   TEST(test_close_removes_its_own),
        TEST(test_race),    TEST(test_one_at_a_time), TEST(test_other_users),
        TEST(test_private),
    };

    return TEST_MAIN(listener_paths);
}
