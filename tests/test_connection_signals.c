/* SPDX-License-Identifier: MIT */
/* test_connection_signals.c - connections raise none, and are not disturbed by any. */
#include "support/wire.h"

#include <sys/time.h>

#include <mp/mp.h>

#if defined(__linux__) && __has_include(<linux/seccomp.h>)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

enum { MUCH = 4 << 20 }; /* more than any pipe takes at once */

struct stage {
    mp_connection *in, *out;
};

static struct stage *open_stage(const mp_pipe_options *options)
{
    struct stage *stage = shared_page(sizeof *stage);

    assert_int_equal(mp_pipe(&stage->in, &stage->out, options), 0);
    return stage;
}

static void close_stage(struct stage *stage)
{
    mp_connection_free(stage->in);
    mp_connection_free(stage->out);
    shared_page_free(stage, sizeof *stage);
}

static const mp_pipe_options *kind(int number)
{
    static const mp_pipe_options one_way = {.struct_size = sizeof one_way,
                                            .one_way = 1};
    return number ? &one_way : NULL;
}

/* --- no SIGPIPE ------------------------------------------------------------------- */

static volatile sig_atomic_t pipe_signals;

static void count_signal(int number)
{
    (void)number;
    pipe_signals = pipe_signals + 1;
}

static bool pipe_signal_is_pending(void)
{
    sigset_t pending;

    sigpending(&pending);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void expect_broken_pipe(int number)
{
    struct stage *stage = open_stage(kind(number));

    mp_connection_close(stage->in);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mp_connection_send(stage->out, "gone", 4), EPIPE);
    close_stage(stage);
}

/* Handled, ignored, by default, blocked, blocked and pending. */
static int send_to_nobody(void *arg)
{
    int number = *(int *)arg;
    sigset_t set, before;

    signal(SIGPIPE, count_signal);
    expect_broken_pipe(number);
    signal(SIGPIPE, SIG_IGN);
    expect_broken_pipe(number);
    signal(SIGPIPE, SIG_DFL);
    expect_broken_pipe(number);
    signal(SIGPIPE, count_signal);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, &before);
    assert_int_equal(sigismember(&before, SIGPIPE), 0);
    expect_broken_pipe(number);
    assert_false(pipe_signal_is_pending());
    assert_int_equal(pipe_signals, 0);
    raise(SIGPIPE);
    expect_broken_pipe(number);
    assert_true(pipe_signal_is_pending());
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pipe_signals == 1 ? 0 : 1;
}

static void test_no_signal(void **state)
{
    (void)state;
    for (int number = 0; number < 2; number++)
        assert_int_equal(child_run(send_to_nobody, &number), 0);
}

#if defined(SECCOMP_RET_ERRNO) && defined(SYS_pwritev2)

/* From now on pwritev2 fails as in a kernel that does not know it, or the flag. */
static void take_pwritev2_away(int error)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof *steps, steps};

    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(SKIPPED);
}

static int send_to_nobody_as_ever(void *arg)
{
    int number = 1;

    take_pwritev2_away(*(int *)arg);
    return send_to_nobody(&number);
}

static void test_no_signal_on_older_kernels(void **state)
{
    (void)state;
    static const int errors[] = {EOPNOTSUPP, ENOSYS, EINVAL, EPERM};

    for (int i = 0; i < 4; i++) {
        int error = errors[i], verdict = child_run(send_to_nobody_as_ever, &error);
        if (verdict == SKIPPED)
            skip();
        assert_int_equal(verdict, 0);
    }
}

#endif

/* --- handlers ------------------------------------------------------------------- */

static void receive_much(mp_connection *in)
{
    void *message;
    size_t size;

    assert_int_equal(mp_connection_recv_alloc(in, &message, &size, 0), 0);
    assert_int_equal(size, MUCH);
    free(message);
}

/* A handler runs every 100 microseconds, and system calls are not restarted. */
static int interrupted(void *arg)
{
    struct stage *stage = arg;
    struct sigaction action = {.sa_handler = count_signal};
    struct itimerval timer = {{0, 100}, {0, 100}}, off = {{0, 0}, {0, 0}};
    unsigned char *bytes = calloc(1, MUCH);

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    assert_int_equal(mp_connection_poll(stage->out, 50), ETIMEDOUT);
    assert_int_equal(mp_connection_send(stage->out, bytes, MUCH), 0);
    receive_much(stage->out); /* begins to wait before anything is sent */
    assert_int_equal(mp_connection_poll(stage->out, MP_FOREVER), 0);
    receive_much(stage->out);
    setitimer(ITIMER_REAL, &off, NULL);
    free(bytes);
    return pipe_signals > 50 ? 0 : 1;
}

static void test_interrupted(void **state)
{
    (void)state;
    struct stage *stage = open_stage(NULL);
    pid_t pid = child_start(interrupted, stage);
    unsigned char *bytes = calloc(1, MUCH);

    usleep(30000);
    receive_much(stage->in);
    for (int i = 0; i < 2; i++) {
        usleep(30000);
        assert_int_equal(mp_connection_send(stage->in, bytes, MUCH), 0);
    }
    assert_int_equal(child_wait(pid, 20000), 0);
    free(bytes);
    close_stage(stage);
}

int main(void)
{
    static const struct CMUnitTest signal_tests[] = {
        TEST(test_no_signal),
#if defined(SECCOMP_RET_ERRNO) && defined(SYS_pwritev2)
        TEST(test_no_signal_on_older_kernels),
#endif
        TEST(test_interrupted),
    };
    return TEST_MAIN(signal_tests);
}
