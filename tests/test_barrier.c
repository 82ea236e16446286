/* SPDX-License-Identifier: MIT */
/* test_barrier.c - meetings of processes. */
#include "support/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#define LATER   MP_FOREVER
#define PARTIES 4
#define ROUNDS  2000

/* What the processes of a test share. */
struct meeting {
    mp_barrier *barrier;
    int timeout_ms;
    unsigned expected; /* waiters, for are_waiting */
    _Atomic int arrived, left, tickets;
    _Atomic int indexes[PARTIES];
    _Atomic int actions, action_result, action_may_end;
    _Atomic pid_t actor;
    struct meeting **action_arg;
    _Atomic long wakes_us;
    int written[PARTIES][16]; /* not atomic: the barrier orders it */
};

static struct meeting *open_meeting(unsigned parties, const mp_barrier_options *options)
{
    struct meeting *meeting = mp_shared_alloc(sizeof *meeting);

    assert_non_null(meeting);
    assert_int_equal(mp_barrier_new(&meeting->barrier, parties, options), 0);
    meeting->timeout_ms = LATER;
    return meeting;
}

static void close_meeting(struct meeting *meeting)
{
    mp_barrier_free(meeting->barrier);
    mp_shared_free(meeting);
}

static bool are_waiting(void *arg)
{
    struct meeting *meeting = arg;
    return mp_barrier_n_waiting(meeting->barrier) == meeting->expected;
}

/* What the wait returned becomes the exit status. */
static int wait_once(void *arg)
{
    struct meeting *meeting = arg;
    return mp_barrier_wait(meeting->barrier, meeting->timeout_ms, NULL);
}

/* One more who waits, and sleeps by now. */
static pid_t start_waiter(struct meeting *meeting)
{
    meeting->expected = mp_barrier_n_waiting(meeting->barrier) + 1;
    pid_t pid = child_start(wait_once, meeting);
    assert_true(eventually(are_waiting, meeting, 5000));
    assert_true(process_sleeps(pid, 5000));
    return pid;
}

static void expect_end(const pid_t *pids, int count, int status)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(child_wait(pids[i], 10000), status);
}

static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(child_wait(pid, 5000), -SIGKILL);
}

/* The barrier works: as many as it takes meet. */
static void expect_meeting(struct meeting *meeting, unsigned parties)
{
    pid_t pids[8];

    for (unsigned i = 1; i < parties; i++)
        pids[i] = child_start(wait_once, meeting);
    assert_int_equal(mp_barrier_wait(meeting->barrier, scaled(5000), NULL), 0);
    expect_end(pids + 1, (int)parties - 1, 0);
}

static void test_one_party(void **state)
{
    (void)state;
    mp_barrier *barrier;

    assert_int_equal(mp_barrier_new(&barrier, 1, NULL), 0);
    assert_true(mp_shared_contains(barrier));
    assert_int_equal(mp_barrier_parties(barrier), 1);
    for (int i = 0; i < 1000; i++) {
        unsigned index = 7;
        assert_int_equal(mp_barrier_wait(barrier, i % 2 ? LATER : MP_NOWAIT, &index),
                         0);
        assert_int_equal(index, 0);
    }
    assert_int_equal(mp_barrier_n_waiting(barrier), 0);
    assert_false(mp_barrier_broken(barrier));
    mp_barrier_free(barrier);
}

static void test_bad_input(void **state)
{
    (void)state;
    mp_barrier *barrier = NULL;
    unsigned index = 7;

    assert_int_equal(mp_barrier_new(NULL, 1, NULL), EINVAL);
    assert_int_equal(mp_barrier_new(&barrier, 0, NULL), EINVAL);
    assert_int_equal(mp_barrier_new(&barrier, 65536, NULL), EINVAL);
    assert_int_equal(mp_barrier_new(&barrier, 1, MP_BARRIER_OPTIONS(.timeout_ms = -2)),
                     EINVAL);
    assert_int_equal(mp_barrier_new(&barrier, 1, MP_BARRIER_OPTIONS(.reserved = 1)),
                     EINVAL);
    assert_null(barrier);
    assert_int_equal(mp_barrier_wait(NULL, MP_NOWAIT, &index), EINVAL);
    assert_int_equal(mp_barrier_reset(NULL), EINVAL);
    assert_int_equal(mp_barrier_abort(NULL), EINVAL);
    assert_int_equal(mp_barrier_parties(NULL), 0);
    assert_int_equal(mp_barrier_n_waiting(NULL), 0);
    assert_false(mp_barrier_broken(NULL));
    mp_barrier_free(NULL);

    assert_int_equal(mp_barrier_new(&barrier, 65535, NULL), 0);
    assert_int_equal(mp_barrier_wait(barrier, -2, &index), EINVAL);
    assert_int_equal(mp_barrier_wait(barrier, INT32_MIN, &index), EINVAL);
    /* The bad calls neither arrived nor broke anything. */
    assert_int_equal(mp_barrier_n_waiting(barrier), 0);
    assert_false(mp_barrier_broken(barrier));
    assert_int_equal(mp_barrier_wait(barrier, MP_NOWAIT, &index), ETIMEDOUT);
    assert_int_equal(index, 7);
    mp_barrier_free(barrier);
}

/* Nobody leaves before all have arrived, and each sees what the others wrote. */
static int attend(struct meeting *meeting)
{
    int me = atomic_fetch_add(&meeting->tickets, 1);

    for (int round = 1; round <= ROUNDS; round++) {
        unsigned index;
        meeting->written[me][0] = round;
        atomic_fetch_add(&meeting->arrived, 1);
        if (mp_barrier_wait(meeting->barrier, LATER, &index) != 0 || index >= PARTIES)
            return 1;
        atomic_fetch_add(&meeting->indexes[index], 1);
        if (atomic_load(&meeting->arrived) < round * PARTIES)
            return 2;
        for (int i = 0; i < PARTIES; i++)
            if (meeting->written[i][0] != round)
                return 3;
        if (mp_barrier_wait(meeting->barrier, LATER, NULL) != 0)
            return 4;
    }
    return 0;
}

static int attend_as_child(void *arg)
{
    return attend(arg);
}

static void *attend_as_thread(void *arg)
{
    return (void *)(intptr_t)attend(arg);
}

static void expect_all_attended(struct meeting *meeting)
{
    assert_int_equal(meeting->arrived, PARTIES * ROUNDS);
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(meeting->indexes[i], ROUNDS);
    assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 0);
}

static void test_processes_meet(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(PARTIES, NULL);
    pid_t pids[PARTIES];

    for (int i = 0; i < PARTIES; i++)
        pids[i] = child_start(attend_as_child, meeting);
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    expect_all_attended(meeting);
    close_meeting(meeting);
}

static void test_threads_meet(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(PARTIES, NULL);
    pthread_t threads[PARTIES];
    void *failed;

    leak_ignore_maps();
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, attend_as_thread, meeting),
                         0);
    for (int i = 0; i < PARTIES; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    expect_all_attended(meeting);
    close_meeting(meeting);
}

/* More processes than parties: whoever comes takes part in some meeting, once. */
static int meet_somebody(void *arg)
{
    struct meeting *meeting = arg;

    while (atomic_fetch_add(&meeting->tickets, 1) < 2 * ROUNDS) {
        unsigned index;
        int err = mp_barrier_wait(meeting->barrier, LATER, &index);
        if (err)
            return err;
        atomic_fetch_add(&meeting->indexes[index], 1);
    }
    return 0;
}

static void test_more_processes_than_parties(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(2, NULL);
    pid_t pids[5];

    for (int i = 0; i < 5; i++)
        pids[i] = child_start(meet_somebody, meeting);
    for (int i = 0; i < 5; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    assert_int_equal(meeting->indexes[0], ROUNDS);
    assert_int_equal(meeting->indexes[1], ROUNDS);
    close_meeting(meeting);
}

static void test_order_of_arrival(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(3, NULL);
    unsigned index = 7;

    pid_t pids[2] = {start_waiter(meeting)};
    assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 1);
    pids[1] = start_waiter(meeting);
    assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 2);
    assert_int_equal(mp_barrier_wait(meeting->barrier, MP_NOWAIT, &index), 0);
    assert_int_equal(index, 2);
    assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 0);
    expect_end(pids, 2, 0);
    close_meeting(meeting);
}

/* --- the action ------------------------------------------------------------------- */

static int act(void *arg)
{
    struct meeting *meeting = *(struct meeting **)arg;

    if (atomic_load(&meeting->left) != 0)
        return EPROTO;
    atomic_fetch_add(&meeting->actions, 1);
    return meeting->action_result;
}

static struct meeting *open_meeting_with(unsigned parties, mp_action_fn *action)
{
    struct meeting **arg = mp_shared_alloc(sizeof *arg);

    assert_non_null(arg);
    *arg = open_meeting(parties, MP_BARRIER_OPTIONS(.action = action, .arg = arg));
    (*arg)->action_arg = arg;
    return *arg;
}

static void close_meeting_with(struct meeting *meeting)
{
    mp_shared_free(meeting->action_arg);
    close_meeting(meeting);
}

static int wait_and_leave(void *arg)
{
    struct meeting *meeting = arg;
    int err = mp_barrier_wait(meeting->barrier, LATER, NULL);

    atomic_fetch_add(&meeting->left, 1);
    return err;
}

static void test_action(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting_with(3, act);

    for (int round = 1; round <= 20; round++) {
        meeting->left = 0;
        pid_t pids[2] = {child_start(wait_and_leave, meeting),
                         child_start(wait_and_leave, meeting)};
        assert_int_equal(wait_and_leave(meeting), 0);
        expect_end(pids, 2, 0);
        assert_int_equal(meeting->actions, round);
        assert_int_equal(meeting->left, 3);
    }
    close_meeting_with(meeting);
}

static void test_action_fails(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting_with(3, act);
    pid_t pids[2] = {start_waiter(meeting), start_waiter(meeting)};

    meeting->action_result = ENOSPC;
    assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), ENOSPC);
    expect_end(pids, 2, ECANCELED);
    assert_true(mp_barrier_broken(meeting->barrier));
    assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), ECANCELED);
    assert_int_equal(meeting->actions, 1);

    meeting->action_result = 0;
    assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
    expect_meeting(meeting, 3);
    assert_int_equal(meeting->actions, 2);
    close_meeting_with(meeting);
}

static bool is_acting(void *arg)
{
    return ((struct meeting *)arg)->actor != 0;
}

static int act_slowly(void *arg)
{
    struct meeting *meeting = *(struct meeting **)arg;

    atomic_store(&meeting->actor, getpid());
    while (!atomic_load(&meeting->action_may_end))
        usleep(1000);
    return 0;
}

/* Two wait, the third one acts. */
static struct meeting *open_slow_action(pid_t pids[3])
{
    struct meeting *meeting = open_meeting_with(3, act_slowly);

    meeting->timeout_ms = scaled(500);
    for (int i = 0; i < 3; i++)
        pids[i] = child_start(wait_once, meeting);
    assert_true(eventually(is_acting, meeting, 5000));
    return meeting;
}

static void test_action_takes_its_time(void **state)
{
    (void)state;
    pid_t pids[3];
    struct meeting *meeting = open_slow_action(pids);

    /* One more than it takes, who wants to be in the next meeting. */
    assert_int_equal(mp_barrier_wait(meeting->barrier, scaled(600), NULL), ETIMEDOUT);
    assert_int_equal(mp_barrier_wait(meeting->barrier, MP_NOWAIT, NULL), ETIMEDOUT);
    assert_false(mp_barrier_broken(meeting->barrier));
    meeting->action_may_end = 1;
    expect_end(pids, 3, 0);
    expect_meeting(meeting, 3);
    close_meeting_with(meeting);
}

static void test_actor_is_killed(void **state)
{
    (void)state;
    pid_t pids[3];
    struct meeting *meeting = open_slow_action(pids);
    pid_t late = child_start(wait_once, meeting);

    assert_true(process_sleeps(late, 5000));
    int64_t start = now_ms();
    kill(meeting->actor, SIGKILL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(child_wait(pids[i], 5000),
                         pids[i] == meeting->actor ? -SIGKILL : ECANCELED);
    assert_int_equal(child_wait(late, 5000), ECANCELED);
    assert_true(now_ms() - start < scaled(3000));
    assert_true(mp_barrier_broken(meeting->barrier));
    meeting->action_may_end = 1;
    assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
    expect_meeting(meeting, 3);
    close_meeting_with(meeting);
}

/* All had arrived: those who are left meet. */
static void test_waiter_is_killed_during_action(void **state)
{
    (void)state;
    pid_t pids[3];
    struct meeting *meeting = open_slow_action(pids);
    int victim = pids[0] == meeting->actor ? 1 : 0;

    kill_and_reap(pids[victim]);
    usleep(100000);
    meeting->action_may_end = 1;
    for (int i = 0; i < 3; i++)
        if (i != victim)
            assert_int_equal(child_wait(pids[i], 5000), 0);
    expect_meeting(meeting, 3);
    close_meeting_with(meeting);
}

/* The one who comes last acts and dies of it. */
static int die(void *arg)
{
    (void)arg;
    raise(SIGKILL);
    return 0;
}

static void test_last_dies_of_action(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting_with(3, die);
    pid_t pids[3] = {start_waiter(meeting), start_waiter(meeting)};

    int64_t start = now_ms();
    pids[2] = child_start(wait_once, meeting);
    assert_int_equal(child_wait(pids[2], 5000), -SIGKILL);
    expect_end(pids, 2, ECANCELED);
    assert_true(now_ms() - start < scaled(3000));
    assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
    close_meeting_with(meeting);

    /* With nobody else there, who comes next finds out, also without any time. */
    meeting = open_meeting_with(1, die);
    assert_int_equal(child_run(wait_once, meeting), -SIGKILL);
    assert_int_equal(mp_barrier_wait(meeting->barrier, MP_NOWAIT, NULL), ECANCELED);
    close_meeting_with(meeting);
}

/* --- breaking and mending --------------------------------------------------------- */

static void test_timeout_breaks(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(4, NULL);
    pid_t pids[2] = {start_waiter(meeting), start_waiter(meeting)};

    int64_t start = now_ms();
    assert_int_equal(mp_barrier_wait(meeting->barrier, 150, NULL), ETIMEDOUT);
    assert_true(now_ms() - start >= 149);
    expect_end(pids, 2, ECANCELED);
    assert_true(now_ms() - start < scaled(3000));
    assert_true(mp_barrier_broken(meeting->barrier));
    assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 0);
    assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), ECANCELED);
    assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
    assert_false(mp_barrier_broken(meeting->barrier));
    expect_meeting(meeting, 4);
    close_meeting(meeting);
}

static void test_default_timeout(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(2, MP_BARRIER_OPTIONS(.timeout_ms = 120));

    int64_t start = now_ms();
    assert_int_equal(mp_barrier_wait(meeting->barrier, MP_FOREVER, NULL), ETIMEDOUT);
    assert_true(now_ms() - start >= 119);
    assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
    assert_int_equal(mp_barrier_wait(meeting->barrier, MP_NOWAIT, NULL), ETIMEDOUT);
    assert_true(mp_barrier_broken(meeting->barrier));
    close_meeting(meeting);
    meeting = open_meeting(1, MP_BARRIER_OPTIONS(.timeout_ms = MP_FOREVER));
    close_meeting(meeting);
}

static void test_abort(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(4, NULL);
    pid_t pids[3];

    for (int i = 0; i < 3; i++)
        pids[i] = start_waiter(meeting);
    assert_int_equal(mp_barrier_abort(meeting->barrier), 0);
    expect_end(pids, 3, ECANCELED);
    assert_true(mp_barrier_broken(meeting->barrier));
    assert_int_equal(mp_barrier_abort(meeting->barrier), 0);
    assert_int_equal(child_run(wait_once, meeting), ECANCELED);
    assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
    expect_meeting(meeting, 4);
    close_meeting(meeting);
}

static void test_reset(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(3, NULL);

    for (int round = 0; round < 3; round++) {
        pid_t pids[2] = {start_waiter(meeting), start_waiter(meeting)};
        assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
        assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 0);
        assert_false(mp_barrier_broken(meeting->barrier));
        expect_end(pids, 2, ECANCELED);
        expect_meeting(meeting, 3);
        assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
        expect_meeting(meeting, 3);
    }
    close_meeting(meeting);
}

/* As many breaks and resets as make every mark of an old meeting look like new. */
static void test_very_many_resets(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(2, NULL);

    assert_int_equal(mp_barrier_wait(meeting->barrier, MP_NOWAIT, NULL), ETIMEDOUT);
    for (int i = 0; i < (1 << 18) + 3; i++) {
        assert_int_equal(mp_barrier_abort(meeting->barrier), 0);
        assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
        if (mp_barrier_n_waiting(meeting->barrier) != 0)
            fail_msg("somebody waits after %d resets", i + 1);
    }
    expect_meeting(meeting, 2);
    close_meeting(meeting);
}

/*
 * A waiter who is stopped while `meetings` more end, after its own ended as told by
 * `reset_own`; `reset_later` is done after that.  What its wait returns.
 */
static int oversleep(bool reset_own, bool reset_later, int meetings)
{
    struct meeting *meeting = open_meeting(2, NULL);
    pid_t sleeper = start_waiter(meeting);

    kill(sleeper, SIGSTOP);
    if (reset_own)
        assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
    else
        assert_int_equal(mp_barrier_wait(meeting->barrier, MP_NOWAIT, NULL), 0);
    for (int i = 0; i < meetings; i++) {
        if (i == meetings / 2 && reset_later) {
            mp_barrier_abort(meeting->barrier);
            mp_barrier_reset(meeting->barrier);
        }
        expect_meeting(meeting, 2);
    }
    kill(sleeper, SIGCONT);
    int status = child_wait(sleeper, 5000);
    close_meeting(meeting);
    return status;
}

static void test_who_oversleeps_is_told(void **state)
{
    (void)state;
    assert_int_equal(oversleep(false, false, 0), 0);
    assert_int_equal(oversleep(false, true, 14), 0);
    assert_int_equal(oversleep(false, false, 40), 0);
    assert_int_equal(oversleep(true, false, 0), ECANCELED);
    assert_int_equal(oversleep(true, false, 14), ECANCELED);
    assert_int_equal(oversleep(true, false, 40), ECANCELED);
    /* As documented: nobody knows any more which one was reset. */
    assert_int_equal(oversleep(false, true, 40), ECANCELED);
}

static struct meeting *in_handler;

static void abort_in_handler(int signal_number)
{
    (void)signal_number;
    mp_barrier_abort(in_handler->barrier);
}

static void test_abort_in_signal_handler(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = abort_in_handler}, old;

    in_handler = open_meeting(2, NULL);
    sigaction(SIGUSR1, &action, &old);
    pid_t pid = start_waiter(in_handler);
    kill(pid, SIGUSR1); /* it breaks what it waits for itself */
    assert_int_equal(child_wait(pid, 5000), ECANCELED);
    sigaction(SIGUSR1, &old, NULL);
    close_meeting(in_handler);
}

/* --- deaths ----------------------------------------------------------------------- */

static void test_waiter_is_killed(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(4, NULL);

    for (int round = 0; round < 5; round++) {
        pid_t pids[3] = {start_waiter(meeting), start_waiter(meeting),
                         start_waiter(meeting)};
        int64_t start = now_ms();
        kill_and_reap(pids[round % 3]);
        for (int i = 0; i < 3; i++)
            if (i != round % 3)
                assert_int_equal(child_wait(pids[i], 5000), ECANCELED);
        assert_true(now_ms() - start < scaled(3000));
        assert_true(mp_barrier_broken(meeting->barrier));
        assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
        expect_meeting(meeting, 4);
    }
    close_meeting(meeting);
}

/* The dead do not count, whether anybody has noticed or not. */
static void test_comes_after_a_death(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(2, NULL);

    for (int round = 0; round < 5; round++) {
        kill_and_reap(start_waiter(meeting));
        assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 0);
        assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), ECANCELED);
        assert_int_equal(mp_barrier_reset(meeting->barrier), 0);
        expect_meeting(meeting, 2);
    }
    close_meeting(meeting);

    meeting = open_meeting(3, NULL);
    kill_and_reap(start_waiter(meeting));
    int64_t start = now_ms();
    assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), ECANCELED);
    assert_true(now_ms() - start < scaled(3000));
    close_meeting(meeting);
}

static void test_stopped_waiter_is_alive(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(3, NULL);
    pid_t pids[2] = {start_waiter(meeting), start_waiter(meeting)};

    kill(pids[0], SIGSTOP);
    usleep(300000);
    assert_false(mp_barrier_broken(meeting->barrier));
    assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), 0);
    assert_int_equal(child_wait(pids[1], 5000), 0);
    kill(pids[0], SIGCONT);
    assert_int_equal(child_wait(pids[0], 5000), 0);
    close_meeting(meeting);
}

/* Somebody else's death wakes everybody, and changes nothing. */
static int do_nothing(void *arg)
{
    (void)arg;
    return mp_shared_contains(arg) ? 0 : 1;
}

static void test_death_of_others(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(2, NULL);
    pid_t pid = start_waiter(meeting);

    for (int i = 0; i < 20; i++)
        assert_int_equal(child_run(do_nothing, meeting), 0);
    assert_int_equal(mp_barrier_n_waiting(meeting->barrier), 1);
    assert_int_equal(mp_barrier_wait(meeting->barrier, MP_NOWAIT, NULL), 0);
    assert_int_equal(child_wait(pid, 5000), 0);
    close_meeting(meeting);
}

/* --- many, and at what cost ------------------------------------------------------- */

enum { CROWD = 300 };

static int wait_thrice(void *arg)
{
    struct meeting *meeting = arg;

    for (int i = 0; i < 3; i++) {
        int err = mp_barrier_wait(meeting->barrier, LATER, NULL);
        if (err)
            return err;
    }
    return mp_barrier_wait(meeting->barrier, LATER, NULL) == ECANCELED ? 0 : 1;
}

static void test_crowd(void **state)
{
    (void)state;
    static pid_t pids[CROWD];
    struct meeting *meeting = open_meeting(CROWD + 1, NULL);

    for (int i = 0; i < CROWD; i++)
        pids[i] = child_start(wait_thrice, meeting);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), 0);
    meeting->expected = CROWD;
    assert_true(eventually(are_waiting, meeting, 10000));
    kill(pids[CROWD / 2], SIGKILL);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(child_wait(pids[i], 10000), i == CROWD / 2 ? -SIGKILL : 0);
    close_meeting(meeting);
}

static void ignore_it(int signal_number)
{
    (void)signal_number;
}

/* EINTR is nobody's business, and signals do not stretch a wait. */
static void test_signals_do_not_disturb(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore_it}, old;
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    struct meeting *meeting = open_meeting(2, NULL);

    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    int64_t start = now_ms();
    assert_int_equal(mp_barrier_wait(meeting->barrier, 300, NULL), ETIMEDOUT);
    setitimer(ITIMER_REAL, &never, NULL);
    assert_true(now_ms() - start >= 299);
    assert_true(now_ms() - start < scaled(1500));
    sigaction(SIGALRM, &old, NULL);
    close_meeting(meeting);
}

static void test_sleeping_costs_no_time(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(2, NULL);
    struct rusage before, after;

    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(mp_barrier_wait(meeting->barrier, 1000, NULL), ETIMEDOUT);
    getrusage(RUSAGE_SELF, &after);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
              after.ru_utime.tv_usec - before.ru_utime.tv_usec;
    assert_true(us < 50000);
    close_meeting(meeting);
}

static long microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int note_moment(void *arg)
{
    struct meeting *meeting = arg;
    int err = mp_barrier_wait(meeting->barrier, LATER, NULL);

    meeting->wakes_us = microseconds();
    return err;
}

/* Sleepers are woken, and do not only happen to look. */
static void test_completion_wakes(void **state)
{
    (void)state;
    struct meeting *meeting = open_meeting(2, NULL);
    long best = INT32_MAX;

    for (int i = 0; i < 10; i++) {
        meeting->expected = 1;
        pid_t pid = child_start(note_moment, meeting);
        assert_true(eventually(are_waiting, meeting, 5000));
        assert_true(process_sleeps(pid, 5000));
        long start = microseconds();
        assert_int_equal(mp_barrier_wait(meeting->barrier, LATER, NULL), 0);
        assert_int_equal(child_wait(pid, 5000), 0);
        long latency = meeting->wakes_us - start;
        best = latency < best ? latency : best;
    }
    assert_true(best < 5000);
    close_meeting(meeting);
}

int main(void)
{
    static const struct CMUnitTest barrier_tests[] = {
        TEST(test_one_party),
        TEST(test_bad_input),
        TEST(test_processes_meet),
        TEST(test_threads_meet),
        TEST(test_more_processes_than_parties),
        TEST(test_order_of_arrival),
        TEST(test_action),
        TEST(test_action_fails),
        TEST(test_action_takes_its_time),
        TEST(test_actor_is_killed),
        TEST(test_waiter_is_killed_during_action),
        TEST(test_last_dies_of_action),
        TEST(test_timeout_breaks),
        TEST(test_default_timeout),
        TEST(test_abort),
        TEST(test_reset),
        TEST(test_very_many_resets),
        TEST(test_who_oversleeps_is_told),
        TEST(test_abort_in_signal_handler),
        TEST(test_waiter_is_killed),
        TEST(test_comes_after_a_death),
        TEST(test_stopped_waiter_is_alive),
        TEST(test_death_of_others),
        TEST(test_crowd),
        TEST(test_signals_do_not_disturb),
        TEST(test_sleeping_costs_no_time),
        TEST(test_completion_wakes),
    };
    return TEST_MAIN(barrier_tests);
}
