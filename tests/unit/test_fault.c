/* SPDX-License-Identifier: MIT */
/*
 * test_fault.c - every system call of src/base/sys.h fails, one call after the other.
 *
 * An operation is run again and again; the first time its first call fails, then its
 * second, until it gets through without a failure.  Each time it must return an error
 * that its header names, leave nothing behind, and work at the next try.  The counter
 * lies in shared memory, so that calls in forked children count as well.
 */
#include "support/test.h"

#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "base/sys.h"

struct faults {
    _Atomic long calls;   /* so far */
    _Atomic long fail_at; /* the number of the one that fails; 0: none */
    bool from_then_on;    /* and all that follow it */
    int error;            /* instead of the usual one of the call; 0: the usual one */
};

static struct faults *faults;

static int fault(int usual)
{
    long number = atomic_fetch_add(&faults->calls, 1) + 1;
    long at = atomic_load(&faults->fail_at);

    if (at == 0 || number < at || (number > at && !faults->from_then_on))
        return 0;
    return faults->error ? faults->error : usual;
}

/* The linker's --wrap directs the library's calls here. */
int __wrap_mp__sys_fork(pid_t *pid);
int __real_mp__sys_fork(pid_t *pid);
int __wrap_mp__sys_pipe(int fds[2]);
int __real_mp__sys_pipe(int fds[2]);
int __wrap_mp__sys_map_shared(size_t size, void **memory);
int __real_mp__sys_map_shared(size_t size, void **memory);
void *__wrap_mp__sys_calloc(size_t count, size_t size);
void *__real_mp__sys_calloc(size_t count, size_t size);
int __wrap_mp__sys_pidfd(pid_t pid, int *fd);
int __real_mp__sys_pidfd(pid_t pid, int *fd);
int __wrap_mp__sys_socketpair(int fds[2]);
int __real_mp__sys_socketpair(int fds[2]);
void *__wrap_mp__sys_realloc(void *memory, size_t size);
void *__real_mp__sys_realloc(void *memory, size_t size);

int __wrap_mp__sys_fork(pid_t *pid)
{
    int err = fault(EAGAIN);
    return err ? err : __real_mp__sys_fork(pid);
}

int __wrap_mp__sys_pipe(int fds[2])
{
    int err = fault(EMFILE);
    return err ? err : __real_mp__sys_pipe(fds);
}

int __wrap_mp__sys_map_shared(size_t size, void **memory)
{
    int err = fault(ENOMEM);
    return err ? err : __real_mp__sys_map_shared(size, memory);
}

void *__wrap_mp__sys_calloc(size_t count, size_t size)
{
    return fault(ENOMEM) ? NULL : __real_mp__sys_calloc(count, size);
}

int __wrap_mp__sys_pidfd(pid_t pid, int *fd)
{
    int err = fault(EMFILE);
    return err ? err : __real_mp__sys_pidfd(pid, fd);
}

int __wrap_mp__sys_socketpair(int fds[2])
{
    int err = fault(EMFILE);
    return err ? err : __real_mp__sys_socketpair(fds);
}

void *__wrap_mp__sys_realloc(void *memory, size_t size)
{
    return fault(ENOMEM) ? NULL : __real_mp__sys_realloc(memory, size);
}

static void arm(long fail_at, bool from_then_on)
{
    faults->from_then_on = from_then_on;
    atomic_store(&faults->calls, 0);
    atomic_store(&faults->fail_at, fail_at);
}

static long disarm(void)
{
    atomic_store(&faults->fail_at, 0);
    return atomic_load(&faults->calls);
}

static bool is_one_of(int err, const int *list)
{
    for (; *list; list++)
        if (err == *list)
            return true;
    return false;
}

/*
 * Fail call 1, 2, ... of `operation` until it makes fewer calls than that.  It may also
 * succeed in spite of a failure, where it has another way.  `documented` ends with 0.
 */
static void fail_in_turn(int (*operation)(void), const int *documented,
                         bool from_then_on)
{
    /* In peace first: so that what is made once per process is there. */
    assert_int_equal(operation(), 0);
    for (long at = 1;; at++) {
        arm(at, from_then_on);
        int err = operation();
        bool reached = disarm() >= at;
        if (err && !is_one_of(err, documented))
            fail_msg("call %ld fails: undocumented error %d", at, err);
        assert_int_equal(operation(), 0);
        assert_true(at < 200);
        if (!reached)
            break;
    }
}

static int target(void *arg)
{
    (void)arg;
    return 7;
}

static int finish(mp_process *p, int err)
{
    int code = 7;

    if (err == 0) {
        if (mp_process_join(p, scaled(5000)) != 0 || mp_process_exitcode(p, &code) != 0)
            err = 1001;
        else if (code != 7)
            err = 1002;
    }
    mp_process_free(p);
    return err;
}

static int start_process(void)
{
    mp_process *p;
    int err = mp_process_new(&p, target, NULL, MP_PROCESS_OPTIONS(.name = "tried"));
    return err ? err : finish(p, mp_process_start(p));
}

static int start_daemon(void)
{
    mp_process *p;
    int err =
        mp_process_new(&p, target, NULL, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
    return err ? err : finish(p, mp_process_start(p));
}

/* After a failure the same object can be started again. */
static int start_again(void)
{
    mp_process *p;
    int err =
        mp_process_new(&p, target, NULL, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
    if (err)
        return err;
    if (mp_process_start(p) != 0) {
        disarm();
        if (mp_process_pid(p) != 0 || mp_process_is_alive(p))
            return 1003;
        err = mp_process_start(p);
    }
    return finish(p, err);
}

static int ask_sentinel(void)
{
    mp_process *p;
    int fd, err = mp_process_new(&p, target, NULL, NULL);
    if (err)
        return err;
    err = mp_process_start(p);
    if (err) {
        mp_process_free(p);
        return err;
    }
    int sentinel_err = mp_process_sentinel(p, &fd);
    err = finish(p, 0);
    return err ? err : sentinel_err == ESRCH ? 0 : sentinel_err;
}

static int task(const void *arg, void *result, void *context)
{
    (void)context;
    *(int *)result = *(const int *)arg + 1;
    return 0;
}

static int make_pool(void)
{
    mp_pool *pool;
    int item = 1, out = 0;
    int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2));

    if (err)
        return err;
    err = mp_pool_apply(pool, task, &item, sizeof item, &out, sizeof out, NULL);
    if (err == 0 && out != 2)
        err = 1004;
    mp_pool_free(pool);
    return err;
}

static int map_in_pool(void)
{
    static int items[3000], results[3000];
    mp_pool *pool;
    int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2));

    if (err)
        return err;
    memset(results, 0, sizeof results);
    err = mp_pool_map(pool, task, items, 3000, sizeof *items, results, sizeof *results,
                      NULL);
    for (int i = 0; err == 0 && i < 3000; i++)
        if (results[i] != items[i] + 1)
            err = 1005;
    mp_pool_free(pool);
    return err;
}

static int make_lock(void)
{
    mp_lock *lock;
    int err = mp_lock_new(&lock, NULL);

    if (err)
        return err;
    err = mp_lock_acquire(lock, MP_NOWAIT);
    if (err == 0)
        err = mp_lock_release(lock);
    mp_lock_free(lock);
    return err;
}

static const int start_errors[] = {EAGAIN, ENOMEM, EMFILE, ENFILE, 0};
static const int pool_errors[] = {EAGAIN, ENOMEM, EMFILE, ENFILE, EOWNERDEAD, 0};
static const int lock_errors[] = {ENOMEM, 0};

static void both_ways(int (*operation)(void), const int *documented)
{
    fail_in_turn(operation, documented, false);
    fail_in_turn(operation, documented, true);
}

static void test_process(void **state)
{
    (void)state;
    both_ways(start_process, start_errors);
}

static void test_daemon(void **state)
{
    (void)state;
    both_ways(start_daemon, start_errors);
}

static void test_second_try(void **state)
{
    (void)state;
    both_ways(start_again, start_errors);
}

static void test_sentinel(void **state)
{
    (void)state;
    both_ways(ask_sentinel, start_errors);
}

static void test_pool(void **state)
{
    (void)state;
    both_ways(make_pool, pool_errors);
}

static void test_map(void **state)
{
    (void)state;
    both_ways(map_in_pool, pool_errors);
}

static void test_lock(void **state)
{
    (void)state;
    both_ways(make_lock, lock_errors);
}

/* --- the first calls of a program, when the arena is still to be reserved --------- */

static int (*const first_calls[])(void) = {make_lock, start_process, start_daemon,
                                           make_pool};

#define FIRST_CALLS (sizeof first_calls / sizeof *first_calls)

/* In a program of its own: the arena is reserved once. */
static int run_first(unsigned long operation, long at, bool from_then_on)
{
    arm(at, from_then_on);
    int err = first_calls[operation]();
    disarm();
    if (err && !is_one_of(err, pool_errors))
        return err & 0x7f;
    return first_calls[operation]() == 0 ? 0 : 100;
}

static int exec_first(void *arg)
{
    char path[512], operation[16], at[16], onward[4];
    const long *numbers = arg;
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);

    if (size <= 0)
        return 101;
    path[size] = 0;
    snprintf(operation, sizeof operation, "%ld", numbers[0]);
    snprintf(at, sizeof at, "%ld", numbers[1]);
    snprintf(onward, sizeof onward, "%ld", numbers[2] % 2);
    execl(path, path, operation, at, onward, (char *)NULL);
    return 102;
}

/* A message that takes memory three times over. */
static int talk(mp_connection *in, mp_connection *out)
{
    enum { LONG = 150000 };
    static char message[LONG];
    void *got = NULL;
    size_t size;

    int err = mp_connection_send(out, message, LONG);
    if (!err)
        err = mp_connection_recv_alloc(in, &got, &size, 0);
    if (err == ENOMEM) {
        /* Now it is there still, or it was there in part and is lost. */
        int again = mp_connection_recv_alloc(in, &got, &size, 0);
        if (again != EPROTO && (again != 0 || size != LONG))
            err = 1006;
    }
    free(got);
    return err;
}

static int connect_and_talk(void)
{
    mp_connection *first, *second;
    int err = mp_pipe(&first, &second, MP_PIPE_OPTIONS(.read_ahead = 10));
    if (err)
        return err;
    err = talk(first, second);
    mp_connection_free(first);
    mp_connection_free(second);
    if (err)
        return err;
    err = mp_pipe(&first, &second, MP_PIPE_OPTIONS(.one_way = 1));
    if (err)
        return err;
    mp_wait_item many[40];
    for (size_t i = 0; i < 40; i++)
        many[i] = MP_WAIT_CONNECTION(first);
    err = mp_wait(many, 40, NULL, MP_NOWAIT);
    mp_connection_free(first);
    mp_connection_free(second);
    return err == ETIMEDOUT ? 0 : err;
}

static void test_connection(void **state)
{
    (void)state;
    static const int documented[] = {EMFILE, ENOMEM, 0};

    fail_in_turn(connect_and_talk, documented, false);
}

/* A peer for whom there is no memory is left, and is counted. */
static int accept_one(const mp_listener_options *options, int expected)
{
    mp_connection *peer = NULL, *client = NULL;
    mp_listener *door;
    int err = mp_listener_new(&door, NULL, options);
    if (err)
        return err;

    err = mp_client(&client, mp_listener_address(door), NULL);
    if (!err) {
        err = mp_listener_accept(door, &peer, MP_NOWAIT);
        if (mp_listener_refused(door) != (err == ENOMEM))
            err = 1007;
    }
    mp_connection_free(peer);
    mp_connection_free(client);
    mp_listener_free(door);
    return err == expected ? 0 : err;
}

static int listen_and_accept(void)
{
    int err = accept_one(NULL, 0);

    /* With a key there is a handshake, which does not get far here. */
    return err ? err
               : accept_one(MP_LISTENER_OPTIONS(.authkey = "k", .authkey_size = 1),
                            ETIMEDOUT);
}

static void test_listener(void **state)
{
    (void)state;
    static const int documented[] = {EMFILE, ENOMEM, 0};

    fail_in_turn(listen_and_accept, documented, false);

    /* None was passed over: a listener and its two tables, and two ends or a handshake
       and one end, twice. */
    arm(1000, false);
    assert_int_equal(listen_and_accept(), 0);
    assert_int_equal(disarm(), 10);
}

static void test_first_calls(void **state)
{
    (void)state;
    for (long operation = 0; operation < (long)FIRST_CALLS; operation++) {
        for (long at = 1; at <= 24; at++) {
            for (long onward = 0; onward < 2; onward++) {
                long numbers[3] = {operation, at, onward};
                int code = child_run(exec_first, numbers);
                if (code != 0)
                    fail_msg("operation %ld, call %ld, onward %ld: %d", operation, at,
                             onward, code);
            }
        }
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest fault_tests[] = {
        TEST(test_process),     TEST(test_daemon),     TEST(test_second_try),
        TEST(test_sentinel),    TEST(test_pool),       TEST(test_map),
        TEST(test_lock),        TEST(test_connection), TEST(test_listener),
        TEST(test_first_calls),
    };

    faults = shared_page(sizeof *faults);
    if (argc == 4)
        return run_first(strtoul(argv[1], NULL, 10), strtol(argv[2], NULL, 10),
                         argv[3][0] == '1');
    return TEST_MAIN(fault_tests);
}
