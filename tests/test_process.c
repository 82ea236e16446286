/* SPDX-License-Identifier: MIT */
/* test_process.c - processes as objects. */
#include "support/test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#define SOON scaled(5000)

/* --- helpers ---------------------------------------------------------------------- */

static int return_number(void *arg)
{
    return arg ? *(int *)arg : 0;
}

static int sleep_until_killed(void *arg)
{
    (void)arg;
    guard_child();
    for (;;)
        pause();
    return 0;
}

static int compute_until_killed(void *arg)
{
    (void)arg;
    guard_child();
    for (;;)
        atomic_signal_fence(memory_order_seq_cst);
    return 0;
}

static mp_process *make(mp_target_fn *target, void *arg,
                        const mp_process_options *options)
{
    mp_process *p;
    assert_int_equal(mp_process_new(&p, target, arg, options), 0);
    return p;
}

static mp_process *start(mp_target_fn *target, void *arg)
{
    mp_process *p = make(target, arg, NULL);
    assert_int_equal(mp_process_start(p), 0);
    return p;
}

static int code_of(mp_process *p)
{
    int code = 12345;
    assert_int_equal(mp_process_join(p, SOON), 0);
    assert_int_equal(mp_process_exitcode(p, &code), 0);
    return code;
}

/* The exit code of a process that runs `target`, from start to free. */
static int run(mp_target_fn *target, void *arg)
{
    mp_process *p = start(target, arg);
    int code = code_of(p);
    mp_process_free(p);
    return code;
}

/* --- life ------------------------------------------------------------------------- */

static void test_life_of_a_process(void **state)
{
    (void)state;
    int number = 42, code = -1;
    mp_process *p = make(return_number, &number, NULL);

    assert_int_equal(mp_process_pid(p), 0);
    assert_false(mp_process_is_alive(p));
    assert_int_equal(mp_process_exitcode(p, &code), EBUSY);
    assert_int_equal(mp_process_join(p, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_process_start(p), 0);
    assert_true(mp_process_pid(p) > 0);
    assert_int_equal(mp_process_start(p), EALREADY);
    assert_int_equal(code_of(p), 42);
    assert_int_equal(mp_process_join(p, MP_NOWAIT), 0);
    assert_int_equal(mp_process_join(p, MP_FOREVER), 0);
    assert_false(mp_process_is_alive(p));
    assert_int_equal(mp_process_start(p), EALREADY);
    assert_int_equal(mp_process_close(p), 0);
    mp_process_free(p);
}

static void test_argument_may_go_after_start(void **state)
{
    (void)state;
    int *number = malloc(sizeof *number);
    *number = 17;
    mp_process *p = start(return_number, number);
    *number = 99;
    free(number);
    assert_int_equal(code_of(p), 17);
    mp_process_free(p);
}

static int exit_with(void *arg)
{
    exit(*(int *)arg);
}

static int exit_at_once(void *arg)
{
    _exit(*(int *)arg);
}

static int kill_self(void *arg)
{
    guard_child();
    kill(getpid(), *(int *)arg);
    for (;;)
        pause();
    return 0;
}

static void test_exit_codes(void **state)
{
    (void)state;
    static const int numbers[] = {0, 1, 77, 255};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int number = numbers[i];
        assert_int_equal(run(return_number, &number), number);
        assert_int_equal(run(exit_with, &number), number);
        assert_int_equal(run(exit_at_once, &number), number);
    }
    assert_int_equal(run(NULL, NULL), 0);
    int more = 256 + 5;
    assert_int_equal(run(return_number, &more), 5);
}

static void test_deaths_by_signal(void **state)
{
    (void)state;
    static const int signals[] = {SIGKILL, SIGTERM, SIGINT,  SIGHUP, SIGSEGV,
                                  SIGBUS,  SIGFPE,  SIGUSR1, SIGABRT};

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int number = signals[i];
        assert_int_equal(run(kill_self, &number), -number);
    }
}

static int fail_assertion(void *arg)
{
    (void)arg;
    guard_child();
    fclose(stderr);
    assert_true(false);
    return 0;
}

/* What the guard is for: without it the child would run the other tests. */
static void test_assertion_in_a_child(void **state)
{
    (void)state;
    assert_int_equal(run(fail_assertion, NULL), -SIGABRT);
}

static void test_signals_are_sent(void **state)
{
    (void)state;
    static int (*const send[])(mp_process *) = {mp_process_terminate, mp_process_kill,
                                                mp_process_interrupt};
    static const int expected[] = {-SIGTERM, -SIGKILL, -SIGINT};

    for (size_t i = 0; i < 3; i++) {
        mp_process *p = make(sleep_until_killed, NULL, NULL);
        assert_int_equal(send[i](p), EINVAL);
        assert_int_equal(mp_process_start(p), 0);
        assert_true(mp_process_is_alive(p));
        assert_int_equal(mp_process_join(p, MP_NOWAIT), ETIMEDOUT);
        assert_int_equal(mp_process_close(p), EBUSY);
        assert_int_equal(send[i](p), 0);
        assert_int_equal(code_of(p), expected[i]);
        assert_int_equal(send[i](p), 0);
        assert_int_equal(mp_process_close(p), 0);
        assert_int_equal(send[i](p), EINVAL);
        mp_process_free(p);
    }
}

static void test_join_times_out(void **state)
{
    (void)state;
    mp_process *p = start(sleep_until_killed, NULL);
    int64_t begin = now_ms();

    assert_int_equal(mp_process_join(p, 200), ETIMEDOUT);
    assert_true(now_ms() - begin >= 199);
    assert_true(now_ms() - begin < scaled(1500));
    assert_int_equal(mp_process_kill(p), 0);
    assert_int_equal(code_of(p), -SIGKILL);
    mp_process_free(p);
}

/* --- bad input -------------------------------------------------------------------- */

static void test_bad_input(void **state)
{
    (void)state;
    mp_process *p;
    int code, fd;
    size_t count;

    assert_int_equal(mp_process_new(NULL, return_number, NULL, NULL), EINVAL);
    assert_int_equal(mp_process_new_of(NULL, NULL, NULL, NULL), EINVAL);
    assert_int_equal(mp_process_new_of(&p, NULL, NULL, NULL), EINVAL);
    assert_int_equal(
        mp_process_new_of(&p, &(mp_process_class){.name = "X"}, NULL, NULL), EINVAL);
    assert_int_equal(mp_process_new(&p, NULL, NULL, MP_PROCESS_OPTIONS(.daemon = 9)),
                     EINVAL);
    assert_int_equal(mp_process_new(&p, NULL, NULL, MP_PROCESS_OPTIONS(.daemon = -1)),
                     EINVAL);
    assert_int_equal(mp_process_new(&p, NULL, NULL, MP_PROCESS_OPTIONS(.reserved = 1)),
                     EINVAL);
    assert_int_equal(mp_process_start(NULL), EINVAL);
    assert_int_equal(mp_process_join(NULL, MP_NOWAIT), EINVAL);
    assert_false(mp_process_is_alive(NULL));
    assert_int_equal(mp_process_exitcode(NULL, &code), EINVAL);
    assert_int_equal(mp_process_terminate(NULL), EINVAL);
    assert_int_equal(mp_process_kill(NULL), EINVAL);
    assert_int_equal(mp_process_interrupt(NULL), EINVAL);
    assert_int_equal(mp_process_close(NULL), EINVAL);
    mp_process_free(NULL);
    assert_int_equal(mp_process_pid(NULL), 0);
    assert_string_equal(mp_process_name(NULL), "");
    assert_int_equal(mp_process_set_name(NULL, "x"), EINVAL);
    assert_false(mp_process_is_daemon(NULL));
    assert_int_equal(mp_process_set_daemon(NULL, true), EINVAL);
    assert_int_equal(mp_process_sentinel(NULL, &fd), EINVAL);
    assert_null(mp_process_data(NULL));
    assert_int_equal(mp_active_children(NULL, 0, NULL), EINVAL);
    assert_int_equal(mp_active_children(NULL, 3, &count), EINVAL);

    p = make(NULL, NULL, NULL);
    assert_int_equal(mp_process_join(p, -2), EINVAL);
    assert_int_equal(mp_process_exitcode(p, NULL), EINVAL);
    assert_int_equal(mp_process_set_name(p, NULL), EINVAL);
    assert_int_equal(mp_process_sentinel(p, &fd), EINVAL);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(mp_process_join(p, -2), EINVAL);
    assert_int_equal(mp_process_join(p, INT32_MIN), EINVAL);
    assert_int_equal(mp_process_sentinel(p, NULL), EINVAL);
    assert_int_equal(code_of(p), 0);
    mp_process_free(p);
}

static void test_closed(void **state)
{
    (void)state;
    int code, fd;
    mp_process *p = make(NULL, NULL, MP_PROCESS_OPTIONS(.name = "shut", .daemon = 1));

    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(code_of(p), 0);
    assert_int_equal(mp_process_close(p), 0);
    assert_int_equal(mp_process_close(p), 0);
    assert_string_equal(mp_process_name(p), "shut");
    assert_true(mp_process_is_daemon(p));
    assert_int_equal(mp_process_pid(p), 0);
    assert_false(mp_process_is_alive(p));
    assert_int_equal(mp_process_join(p, MP_NOWAIT), EINVAL);
    assert_int_equal(mp_process_exitcode(p, &code), EINVAL);
    assert_int_equal(mp_process_sentinel(p, &fd), EINVAL);
    assert_int_equal(mp_process_start(p), EINVAL);
    mp_process_free(p);
}

/* --- names and daemons ------------------------------------------------------------ */

static int check_names_in_child(void *arg)
{
    guard_child();
    mp_process *self = mp_current_process();
    const char *expected = arg;

    assert_string_equal(mp_process_name(self), expected);
    assert_int_equal(mp_process_pid(self), getpid());
    assert_true(mp_process_is_alive(self));
    assert_int_equal(mp_process_join(self, MP_NOWAIT), EDEADLK);
    mp_process *grandchild = make(NULL, NULL, NULL);
    char name[64];
    snprintf(name, sizeof name, "%s:1", expected);
    if (strncmp(expected, "Process-", 8) == 0)
        assert_string_equal(mp_process_name(grandchild), name);
    mp_process_free(grandchild);
    return 0;
}

static void test_names(void **state)
{
    (void)state;
    mp_process *first = make(NULL, NULL, NULL), *second = make(NULL, NULL, NULL);
    int a, b;

    assert_string_equal(mp_process_name(mp_current_process()), "MainProcess");
    assert_int_equal(sscanf(mp_process_name(first), "Process-%d", &a), 1);
    assert_int_equal(sscanf(mp_process_name(second), "Process-%d", &b), 1);
    assert_int_equal(b, a + 1);
    mp_process_free(first);
    mp_process_free(second);

    char name[64] = "given";
    mp_process *p =
        make(check_names_in_child, "given", MP_PROCESS_OPTIONS(.name = name));
    strcpy(name, "gone");
    assert_string_equal(mp_process_name(p), "given");
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(mp_process_set_name(p, "later"), 0);
    assert_string_equal(mp_process_name(p), "later");
    assert_int_equal(code_of(p), 0);
    mp_process_free(p);

    p = make(check_names_in_child, name, NULL);
    strcpy(name, mp_process_name(p));
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(code_of(p), 0);
    mp_process_free(p);
}

static int is_daemon_here(void *arg)
{
    guard_child();
    assert_int_equal(mp_process_is_daemon(mp_current_process()), *(bool *)arg);
    /* Children inherit it. */
    mp_process *p = make(NULL, NULL, NULL);
    assert_int_equal(mp_process_is_daemon(p), *(bool *)arg);
    mp_process_free(p);
    p = make(NULL, NULL, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_NO));
    assert_false(mp_process_is_daemon(p));
    mp_process_free(p);
    return 0;
}

static void test_daemon_flag(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        bool daemon = i == 1;
        mp_process *p = make(is_daemon_here, &daemon, NULL);
        assert_false(mp_process_is_daemon(p));
        assert_int_equal(mp_process_set_daemon(p, daemon), 0);
        assert_int_equal(mp_process_is_daemon(p), daemon);
        assert_int_equal(mp_process_start(p), 0);
        assert_int_equal(mp_process_set_daemon(p, !daemon), EALREADY);
        assert_int_equal(code_of(p), 0);
        mp_process_free(p);
    }
}

/* --- classes ---------------------------------------------------------------------- */

struct counter {
    int from, to;
    int *released;
};

static int count_up(mp_process *self)
{
    guard_child();
    struct counter *data = mp_process_data(self);
    assert_ptr_equal(self, mp_current_process());
    return data->to - data->from;
}

static void count_release(void *data)
{
    ++*((struct counter *)data)->released;
}

static void test_class(void **state)
{
    (void)state;
    static const mp_process_class counting = {.name = "Counter",
                                              .data_size = sizeof(struct counter),
                                              .run = count_up,
                                              .release = count_release};
    int released = 0;
    struct counter data = {3, 10, &released};
    mp_process *p;

    assert_int_equal(mp_process_new_of(&p, &counting, &data, NULL), 0);
    assert_int_equal(strncmp(mp_process_name(p), "Counter-", 8), 0);
    struct counter *own = mp_process_data(p);
    assert_non_null(own);
    assert_ptr_not_equal(own, &data);
    own->to = 20;
    assert_int_equal(mp_process_start(p), 0);
    own->to = 0;
    assert_int_equal(code_of(p), 17);
    assert_int_equal(released, 0);
    mp_process_free(p);
    assert_int_equal(released, 1);

    static const mp_process_class zeroed = {.data_size = sizeof(struct counter),
                                            .run = count_up};
    assert_int_equal(mp_process_new_of(&p, &zeroed, NULL, NULL), 0);
    own = mp_process_data(p);
    assert_int_equal(own->to, 0);
    assert_null(own->released);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(code_of(p), 0);
    mp_process_free(p);
}

static void test_process_without_data(void **state)
{
    (void)state;
    mp_process *p = make(NULL, NULL, NULL);
    assert_null(mp_process_data(p));
    mp_process_free(p);
}

static void test_class_of_absurd_size(void **state)
{
    (void)state;
    const mp_process_class absurd = {.data_size = SIZE_MAX - 8, .run = count_up};
    mp_process *p = NULL;

    assert_int_equal(mp_process_new_of(&p, &absurd, NULL, NULL), ENOMEM);
    assert_null(p);
}

/* --- this one, the parent, the children ------------------------------------------- */

static int look_at_parent(void *arg)
{
    guard_child();
    mp_process *parent = mp_parent_process();
    int code;

    assert_non_null(parent);
    assert_int_equal(mp_process_pid(parent), *(pid_t *)arg);
    assert_string_equal(mp_process_name(parent), "MainProcess");
    assert_true(mp_process_is_alive(parent));
    assert_int_equal(mp_process_join(parent, 50), ETIMEDOUT);
    assert_int_equal(mp_process_exitcode(parent, &code), ECHILD);
    assert_int_equal(mp_process_terminate(parent), ECHILD);
    return 0;
}

static void test_parent(void **state)
{
    (void)state;
    pid_t self = getpid();

    assert_null(mp_parent_process());
    assert_int_equal(run(look_at_parent, &self), 0);
}

static int join_parent(void *arg)
{
    (void)arg;
    guard_child();
    if (mp_process_join(mp_parent_process(), SOON) != 0)
        return 1;
    if (mp_process_is_alive(mp_parent_process()))
        return 2;
    **(_Atomic int **)arg = 1;
    return 0;
}

static int leave_child_behind(void *arg)
{
    mp_process *p = make(join_parent, arg, NULL);
    assert_int_equal(mp_process_start(p), 0);
    kill(getpid(), SIGKILL);
    return 0;
}

static bool nobody_left(void *arg)
{
    (void)arg;
    return reap_all(0);
}

static void test_parent_can_be_joined(void **state)
{
    (void)state;
    _Atomic int *joined = shared_page(sizeof *joined);

    leak_ignore_arena();
    assert_int_equal(child_run(leave_child_behind, &joined), -SIGKILL);
    assert_true(eventually(nobody_left, NULL, 5000));
    assert_int_equal(*joined, 1);
    shared_page_free(joined, sizeof *joined);
}

/* Neither parent, nor child, nor the creator: what can be asked of a handle then. */
static int use_siblings_handle(void *arg)
{
    guard_child();
    mp_process *sibling = arg;
    int code, fd;

    assert_int_equal(mp_process_join(sibling, MP_NOWAIT), ECHILD);
    assert_int_equal(mp_process_exitcode(sibling, &code), ECHILD);
    assert_int_equal(mp_process_kill(sibling), ECHILD);
    assert_int_equal(mp_process_sentinel(sibling, &fd), ECHILD);
    assert_false(mp_process_is_alive(sibling));
    assert_true(mp_process_pid(sibling) > 0);
    mp_process_free(sibling);
    return 0;
}

static int start_others_process(void *arg)
{
    guard_child();
    return mp_process_start(arg) == EPERM ? 0 : 1;
}

static void test_handles_of_others(void **state)
{
    (void)state;
    mp_process *p = start(sleep_until_killed, NULL), *fresh = make(NULL, NULL, NULL);

    assert_int_equal(run(use_siblings_handle, p), 0);
    assert_int_equal(run(start_others_process, fresh), 0);
    assert_int_equal(mp_process_start(fresh), 0);
    assert_int_equal(code_of(fresh), 0);
    assert_true(mp_process_is_alive(p));
    assert_int_equal(mp_process_kill(p), 0);
    assert_int_equal(code_of(p), -SIGKILL);
    mp_process_free(p);
    mp_process_free(fresh);
}

static void test_current_process_is_nobodys(void **state)
{
    (void)state;
    mp_process *self = mp_current_process();

    assert_ptr_equal(self, mp_current_process());
    assert_int_equal(mp_process_start(self), EINVAL);
    assert_int_equal(mp_process_close(self), EINVAL);
    mp_process_free(self);
    assert_int_equal(mp_process_pid(mp_current_process()), getpid());
}

static void test_active_children(void **state)
{
    (void)state;
    mp_process *p[4], *found[8];
    size_t count;

    assert_int_equal(mp_active_children(found, 8, &count), 0);
    assert_int_equal(count, 0);
    for (int i = 0; i < 4; i++)
        p[i] = start(sleep_until_killed, NULL);
    assert_int_equal(mp_active_children(found, 8, &count), 0);
    assert_int_equal(count, 4);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(found[i], p[i]);
    assert_int_equal(mp_active_children(found, 2, &count), EMSGSIZE);
    assert_int_equal(count, 4);
    assert_ptr_equal(found[1], p[1]);
    assert_int_equal(mp_active_children(NULL, 0, &count), EMSGSIZE);
    assert_int_equal(count, 4);
    mp_process_kill(p[1]);
    assert_int_equal(code_of(p[1]), -SIGKILL);
    assert_int_equal(mp_active_children(found, 8, &count), 0);
    assert_int_equal(count, 3);
    assert_ptr_equal(found[1], p[2]);
    for (int i = 0; i < 4; i++) {
        mp_process_kill(p[i]);
        mp_process_join(p[i], SOON);
        mp_process_free(p[i]);
    }
    assert_int_equal(mp_active_children(NULL, 0, &count), 0);
    assert_int_equal(count, 0);
}

static bool no_active_children(void *arg)
{
    (void)arg;
    size_t count;
    return mp_active_children(NULL, 0, &count) == 0;
}

static void test_dropped_handle(void **state)
{
    (void)state;
    mp_process *found[2];
    size_t count;

    mp_process_free(start(sleep_until_killed, NULL));
    assert_int_equal(mp_active_children(found, 2, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(mp_process_kill(found[0]), 0);
    assert_true(eventually(no_active_children, NULL, 5000));
    /* What was found lives until one asks again. */
    assert_int_equal(mp_active_children(NULL, 0, &count), 0);
}

static int count_siblings(void *arg)
{
    size_t count = 99;
    (void)arg;
    guard_child();
    assert_int_equal(mp_active_children(NULL, 0, &count), 0);
    assert_int_equal(count, 0);
    return 0;
}

static void test_children_are_each_ones_own(void **state)
{
    (void)state;
    mp_process *p = start(sleep_until_killed, NULL);

    assert_int_equal(run(count_siblings, NULL), 0);
    assert_int_equal(child_run(count_siblings, NULL), 0);
    mp_process_kill(p);
    assert_int_equal(code_of(p), -SIGKILL);
    mp_process_free(p);
}

/* --- sentinel --------------------------------------------------------------------- */

static int leave_grandchild(void *arg)
{
    (void)arg;
    guard_child();
    child_start(sleep_until_killed, NULL);
    return 0;
}

static int poll_for(int fd, int timeout_ms)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, timeout_ms);
}

static void test_sentinel(void **state)
{
    (void)state;
    mp_process *p = start(sleep_until_killed, NULL);
    int fd = -1, again = -2;

    assert_int_equal(mp_process_sentinel(p, &fd), 0);
    assert_true(fd > 2);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(mp_process_sentinel(p, &again), 0);
    assert_int_equal(fd, again);
    assert_int_equal(poll_for(fd, 50), 0);
    mp_process_kill(p);
    assert_int_equal(poll_for(fd, SOON), 1);
    assert_int_equal(code_of(p), -SIGKILL);
    assert_int_equal(poll_for(fd, 0), 1);
    mp_process_free(p);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_sentinel_with_grandchildren(void **state)
{
    (void)state;
    pid_t left[4];
    mp_process *p = start(leave_grandchild, NULL);
    int fd;

    leak_ignore_arena();
    assert_int_equal(mp_process_sentinel(p, &fd), 0);
    assert_int_equal(poll_for(fd, SOON), 1);
    assert_int_equal(code_of(p), 0);
    mp_process_free(p);
    size_t count = descendants(getpid(), left, 4);
    assert_int_equal(count, 1);
    kill(left[0], SIGKILL);
    assert_true(reap_all(5000));
}

/* --- what a child is like --------------------------------------------------------- */

static void on_exit_of_host(void)
{
    printf("host's atexit\n");
}

static int print_and_return(void *arg)
{
    (void)arg;
    printf("child returns\n");
    return 0;
}

static int print_and_exit(void *arg)
{
    (void)arg;
    printf("child exits\n");
    exit(0);
}

/* Only glibc tells exit's code to a function that runs before those of atexit. */
#ifdef __GLIBC__
#define ATEXIT_OF_CHILD ""
#else
#define ATEXIT_OF_CHILD "host's atexit\n"
#endif

/* A program whose output is a pipe, and so fully buffered. */
static int printing_program(void *arg)
{
    int fd = *(int *)arg;

    dup2(fd, STDOUT_FILENO);
    setvbuf(stdout, NULL, _IOFBF, 65536);
    atexit(on_exit_of_host);
    printf("parent before\n");
    if (run(print_and_return, NULL) != 0 || run(print_and_exit, NULL) != 0)
        return 1;
    printf("parent after\n");
    exit(0);
}

static void test_nothing_prints_twice(void **state)
{
    (void)state;
    static const char expected[] =
        "parent before\nchild returns\nchild exits\n" ATEXIT_OF_CHILD
        "parent after\nhost's atexit\n";
    int fds[2];
    char text[1024];

    assert_int_equal(pipe(fds), 0);
    pid_t pid = child_start(printing_program, &fds[1]);
    close(fds[1]);
    size_t size = 0;
    for (ssize_t more; (more = read(fds[0], text + size, sizeof text - 1 - size)) > 0;)
        size += (size_t)more;
    text[size] = 0;
    close(fds[0]);
    assert_int_equal(child_wait(pid, 5000), 0);
    assert_string_equal(text, expected);
}

static int compare_mask(void *arg)
{
    sigset_t now;
    const sigset_t *expected = arg;

    guard_child();
    sigprocmask(SIG_BLOCK, NULL, &now);
    for (int i = 1; i < 64; i++)
        assert_int_equal(sigismember(&now, i), sigismember(expected, i));
    return 0;
}

static int all_blocked(void *arg)
{
    sigset_t set, now;
    (void)arg;

    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, &now);
    sigprocmask(SIG_BLOCK, NULL, &set);
    if (run(compare_mask, &set) != 0)
        return 1;
    sigset_t after;
    sigprocmask(SIG_BLOCK, NULL, &after);
    return memcmp(&after, &set, 8) == 0 ? 0 : 2;
}

static void test_signal_mask(void **state)
{
    (void)state;
    sigset_t set, old;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_SETMASK, &set, &old);
    assert_int_equal(run(compare_mask, &set), 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
    assert_int_equal(child_run(all_blocked, NULL), 0);
}

static void ignore_it(int signal_number)
{
    (void)signal_number;
}

static int has_handler(void *arg)
{
    struct sigaction action;
    (void)arg;
    guard_child();
    sigaction(SIGUSR1, NULL, &action);
    assert_ptr_equal(action.sa_handler, ignore_it);
    return 0;
}

static void test_handlers_are_kept(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore_it}, old;

    sigaction(SIGUSR1, &action, &old);
    assert_int_equal(run(has_handler, NULL), 0);
    sigaction(SIGUSR1, &old, NULL);
}

/* A child gets no descriptor of libmp's that is not its own. */
static int count_descriptors(void *arg)
{
    int count = 0;
    (void)arg;
    for (int fd = 3; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void test_children_inherit_no_descriptors(void **state)
{
    (void)state;
    int alone = run(count_descriptors, NULL), fd;
    mp_process *p[3];
    mp_pool *pool;

    for (int i = 0; i < 3; i++) {
        p[i] =
            make(sleep_until_killed, NULL, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
        assert_int_equal(mp_process_start(p[i]), 0);
        assert_int_equal(mp_process_sentinel(p[i], &fd), 0);
    }
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 1)), 0);
    assert_int_equal(run(count_descriptors, NULL), alone);
    mp_pool_free(pool);
    for (int i = 0; i < 3; i++) {
        mp_process_kill(p[i]);
        mp_process_join(p[i], SOON);
        mp_process_free(p[i]);
    }
}

/* --- daemons ---------------------------------------------------------------------- */

struct family {
    _Atomic int born;
    pid_t pids[8];
};

static int daemon_body(void *arg)
{
    struct family *family = *(struct family **)arg;

    guard_child();
    family->pids[family->born] = getpid();
    atomic_fetch_add(&family->born, 1);
    return compute_until_killed(NULL);
}

static void start_daemons(struct family **family, int count)
{
    for (int i = 0; i < count; i++) {
        mp_process *p =
            make(daemon_body, family, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
        assert_int_equal(mp_process_start(p), 0);
        while ((*family)->born <= i)
            usleep(200);
    }
}

static int parent_that_is_killed(void *arg)
{
    start_daemons(arg, 3);
    return sleep_until_killed(NULL);
}

static int parent_that_exits(void *arg)
{
    start_daemons(arg, 3);
    exit(4);
}

static int parent_that_leaves(void *arg)
{
    start_daemons(arg, 3);
    _exit(5);
}

static bool three_born(void *arg)
{
    return (*(struct family **)arg)->born == 3;
}

static void daemons_end_with(child_body *parent, int signal_number, int code)
{
    struct family *family = shared_page(sizeof *family);

    leak_ignore_arena();
    pid_t pid = child_start(parent, &family);
    assert_true(eventually(three_born, &family, 5000));
    if (signal_number)
        kill(pid, signal_number);
    assert_int_equal(child_wait(pid, 5000), code);
    assert_int_equal(survivors(family->pids, 3, 500), 0);
    reap_all(1000);
    shared_page_free(family, sizeof *family);
}

static void test_daemons_of_a_killed_parent(void **state)
{
    (void)state;
    daemons_end_with(parent_that_is_killed, SIGKILL, -SIGKILL);
    daemons_end_with(parent_that_is_killed, SIGTERM, -SIGTERM);
}

static void test_daemons_of_a_parent_that_exits(void **state)
{
    (void)state;
    daemons_end_with(parent_that_exits, 0, 4);
    daemons_end_with(parent_that_leaves, 0, 5);
}

static int middle_of_tree(void *arg)
{
    guard_child();
    mp_process *p = make(daemon_body, arg, NULL); /* a daemon, for its creator is one */
    assert_int_equal(mp_process_start(p), 0);
    return daemon_body(arg);
}

static int root_of_tree(void *arg)
{
    mp_process *p =
        make(middle_of_tree, arg, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
    assert_int_equal(mp_process_start(p), 0);
    return sleep_until_killed(NULL);
}

static bool two_born(void *arg)
{
    return (*(struct family **)arg)->born == 2;
}

static void test_whole_tree_ends(void **state)
{
    (void)state;
    struct family *family = shared_page(sizeof *family);

    leak_ignore_arena();
    pid_t pid = child_start(root_of_tree, &family);
    assert_true(eventually(two_born, &family, 5000));
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
    assert_int_equal(survivors(family->pids, 2, 500), 0);
    reap_all(1000);
    shared_page_free(family, sizeof *family);
}

/* A thread that starts a daemon may end: the daemon is the program's. */
static void *start_daemon_in_thread(void *arg)
{
    start_daemons(arg, 1);
    return NULL;
}

static int threaded_parent(void *arg)
{
    pthread_t thread;
    struct family *family = *(struct family **)arg;

    pthread_create(&thread, NULL, start_daemon_in_thread, arg);
    pthread_join(thread, NULL);
    usleep(100000); /* to prove that it does not die */
    if (process_state(family->pids[0]) != 'R' && process_state(family->pids[0]) != 'S')
        return 1;
    kill(getpid(), SIGKILL);
    return 0;
}

static void test_daemon_started_by_a_thread(void **state)
{
    (void)state;
    struct family *family = shared_page(sizeof *family);

    leak_ignore_arena();
    assert_int_equal(child_run(threaded_parent, &family), -SIGKILL);
    assert_int_equal(survivors(family->pids, 1, 500), 0);
    reap_all(1000);
    shared_page_free(family, sizeof *family);
}

struct slow {
    _Atomic int *done;
};

static int slow_child(void *arg)
{
    guard_child();
    usleep(200000); /* so that the parent is at its exit by then */
    atomic_store(((struct slow *)arg)->done, 1);
    return 0;
}

static int parent_of_slow(void *arg)
{
    mp_process *p = make(slow_child, arg, NULL);
    assert_int_equal(mp_process_start(p), 0);
    exit(0);
}

static void test_others_are_joined_at_exit(void **state)
{
    (void)state;
    struct slow slow = {shared_page(sizeof(int))};

    assert_int_equal(child_run(parent_of_slow, &slow), 0);
    assert_int_equal(*slow.done, 1);
    assert_true(reap_all(0));

    atomic_store(slow.done, 0);
    assert_int_equal(run(parent_of_slow, &slow), 0);
    assert_int_equal(*slow.done, 1);
    assert_true(reap_all(0));
    shared_page_free(slow.done, sizeof(int));
}

/* --- hosts that have their own ideas ---------------------------------------------- */

static int host_ignores_sigchld(void *arg)
{
    int code = 77, fd;
    (void)arg;

    signal(SIGCHLD, SIG_IGN);
    mp_process *p = make(NULL, NULL, NULL);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(mp_process_join(p, SOON), 0);
    assert_int_equal(mp_process_join(p, MP_FOREVER), 0);
    assert_false(mp_process_is_alive(p));
    int err = mp_process_exitcode(p, &code);
    assert_true(err == ESRCH || (err == 0 && code == 0));
    mp_process_free(p);

    p = start(sleep_until_killed, NULL);
    assert_int_equal(mp_process_sentinel(p, &fd), 0);
    assert_int_equal(mp_process_kill(p), 0);
    assert_int_equal(poll_for(fd, SOON), 1);
    assert_int_equal(mp_process_join(p, SOON), 0);
    assert_int_equal(mp_process_exitcode(p, &code), ESRCH);
    assert_int_equal(mp_process_close(p), 0);
    mp_process_free(p);
    struct sigaction action;
    sigaction(SIGCHLD, NULL, &action);
    assert_ptr_equal(action.sa_handler, SIG_IGN);
    return 0;
}

static void test_host_ignores_sigchld(void **state)
{
    (void)state;
    leak_ignore_arena();
    assert_int_equal(child_run(host_ignores_sigchld, NULL), 0);
}

static int host_reaps_everything(void *arg)
{
    int code;
    (void)arg;

    mp_process *p = start(sleep_until_killed, NULL);
    mp_process_kill(p);
    while (waitpid(-1, NULL, 0) < 0 && errno == EINTR)
        continue;
    assert_int_equal(mp_process_join(p, SOON), 0);
    assert_false(mp_process_is_alive(p));
    assert_int_equal(mp_process_exitcode(p, &code), ESRCH);
    assert_int_equal(mp_process_kill(p), 0);
    size_t count;
    assert_int_equal(mp_active_children(NULL, 0, &count), 0);
    assert_int_equal(count, 0);
    mp_process_free(p);

    /* A lock that the reaped one held is recovered all the same. */
    return 0;
}

static void test_host_reaps_everything(void **state)
{
    (void)state;
    leak_ignore_arena();
    assert_int_equal(child_run(host_reaps_everything, NULL), 0);
}

static void test_hosts_own_children(void **state)
{
    (void)state;
    enum { CHILDREN = 20 };
    pid_t pids[CHILDREN];
    static int numbers[CHILDREN];

    /* libmp waits beside them, and must not collect any of their statuses. */
    for (int i = 0; i < CHILDREN; i++) {
        numbers[i] = i + 1;
        pids[i] = child_start(return_number, &numbers[i]);
        assert_int_equal(run(return_number, &numbers[i]), i + 1);
    }
    size_t count;
    assert_int_equal(mp_active_children(NULL, 0, &count), 0);
    assert_int_equal(count, 0);
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(child_wait(pids[i], 5000), i + 1);
}

/* --- without resources ------------------------------------------------------------ */

static int without_descriptors(void *arg)
{
    struct rlimit limit, none;
    int fd, code;
    (void)arg;

    getrlimit(RLIMIT_NOFILE, &limit);
    mp_process *warm = make(NULL, NULL, NULL);
    assert_int_equal(mp_process_start(warm), 0);
    assert_int_equal(code_of(warm), 0);
    mp_process_free(warm);

    none = limit;
    none.rlim_cur = 0;
    mp_process *p =
        make(sleep_until_killed, NULL, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
    setrlimit(RLIMIT_NOFILE, &none);
    int err = mp_process_start(p);
    assert_true(err == EMFILE || err == 0);
    int sentinel_err = err ? EMFILE : mp_process_sentinel(p, &fd);
    assert_true(sentinel_err == EMFILE || sentinel_err == 0);
    setrlimit(RLIMIT_NOFILE, &limit);

    if (err)
        assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(mp_process_kill(p), 0);
    assert_int_equal(code_of(p), -SIGKILL);
    assert_int_equal(mp_process_exitcode(p, &code), 0);
    mp_process_free(p);
    return 0;
}

static void test_no_descriptors(void **state)
{
    (void)state;
    leak_ignore_arena();
    assert_int_equal(child_run(without_descriptors, NULL), 0);
}

static int without_processes(void *arg)
{
    struct rlimit limit = {0, 1000};
    (void)arg;

    mp_shared_free(mp_shared_alloc(1));
    /* The limit does not hold for root. */
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return SKIPPED;
    setrlimit(RLIMIT_NPROC, &limit);
    mp_process *p = make(NULL, NULL, NULL);
    assert_int_equal(mp_process_start(p), EAGAIN);
    assert_int_equal(mp_process_pid(p), 0);
    assert_false(mp_process_is_alive(p));
    assert_int_equal(mp_process_start(p), EAGAIN);
    mp_pool *pool;
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), EAGAIN);
    limit.rlim_cur = 1000;
    setrlimit(RLIMIT_NPROC, &limit);
    assert_int_equal(mp_process_start(p), 0);
    assert_int_equal(code_of(p), 0);
    mp_process_free(p);
    return 0;
}

static void test_no_processes(void **state)
{
    (void)state;
    leak_ignore_arena();
    int code = child_run(without_processes, NULL);
    if (code == SKIPPED)
        skip();
    assert_int_equal(code, 0);
}

/* Descriptors 0 to 2 closed: nothing of libmp's may land there. */
static int without_standard_descriptors(void *arg)
{
    int fd;
    (void)arg;

    close(0);
    close(1);
    close(2);
    mp_process *p =
        make(sleep_until_killed, NULL, MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
    if (mp_process_start(p) != 0 || mp_process_sentinel(p, &fd) != 0)
        return 1;
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) != -1)
            return 2 + i;
    mp_process_kill(p);
    if (mp_process_join(p, SOON) != 0)
        return 5;
    mp_process_free(p);
    return 0;
}

static void test_standard_descriptors_closed(void **state)
{
    (void)state;
    leak_ignore_arena();
    assert_int_equal(child_run(without_standard_descriptors, NULL), 0);
}

/* --- many, and from threads ------------------------------------------------------- */

static void test_many_at_once(void **state)
{
    (void)state;
    enum { MANY = 100 };
    static mp_process *p[MANY];
    static int numbers[MANY];

    for (int i = 0; i < MANY; i++) {
        numbers[i] = i;
        p[i] = start(return_number, &numbers[i]);
    }
    for (int i = MANY - 1; i >= 0; i--) {
        assert_int_equal(code_of(p[i]), i);
        mp_process_free(p[i]);
    }
}

static void *start_and_join(void *arg)
{
    for (int i = 0; i < 50; i++) {
        mp_process *p;
        int code;
        if (mp_process_new(&p, return_number, arg, NULL) != 0 ||
            mp_process_start(p) != 0)
            return arg;
        if (mp_process_join(p, SOON) != 0 || mp_process_exitcode(p, &code) != 0)
            return arg;
        mp_process_free(p);
        if (code != *(int *)arg)
            return arg;
    }
    return NULL;
}

static void test_threads_start_processes(void **state)
{
    (void)state;
    pthread_t threads[4];
    int numbers[4];

    leak_ignore_maps();
    for (int i = 0; i < 4; i++) {
        numbers[i] = 10 + i;
        assert_int_equal(pthread_create(&threads[i], NULL, start_and_join, &numbers[i]),
                         0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

int main(void)
{
    static const struct CMUnitTest process[] = {
        TEST(test_life_of_a_process),
        TEST(test_argument_may_go_after_start),
        TEST(test_exit_codes),
        TEST(test_deaths_by_signal),
        TEST(test_assertion_in_a_child),
        TEST(test_signals_are_sent),
        TEST(test_join_times_out),
        TEST(test_bad_input),
        TEST(test_closed),
        TEST(test_names),
        TEST(test_daemon_flag),
        TEST(test_class),
        TEST(test_process_without_data),
        TEST(test_class_of_absurd_size),
        TEST(test_parent),
        TEST(test_parent_can_be_joined),
        TEST(test_handles_of_others),
        TEST(test_current_process_is_nobodys),
        TEST(test_active_children),
        TEST(test_dropped_handle),
        TEST(test_children_are_each_ones_own),
        TEST(test_sentinel),
        TEST(test_sentinel_with_grandchildren),
        TEST(test_nothing_prints_twice),
        TEST(test_signal_mask),
        TEST(test_handlers_are_kept),
        TEST(test_children_inherit_no_descriptors),
        TEST(test_daemons_of_a_killed_parent),
        TEST(test_daemons_of_a_parent_that_exits),
        TEST(test_whole_tree_ends),
        TEST(test_daemon_started_by_a_thread),
        TEST(test_others_are_joined_at_exit),
        TEST(test_host_ignores_sigchld),
        TEST(test_host_reaps_everything),
        TEST(test_hosts_own_children),
        TEST(test_no_descriptors),
        TEST(test_no_processes),
        TEST(test_standard_descriptors_closed),
        TEST(test_many_at_once),
        TEST(test_threads_start_processes),
    };
    return TEST_MAIN(process);
}
