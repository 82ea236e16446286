/* SPDX-License-Identifier: MIT */
/*
 * test_queue_pairs.c - a process stands still at every instruction of what it does with
 * a queue, while another does something else, and goes on.
 *
 *   actor    ............ N x step | stands | ............ ends
 *   others                         | act    |
 *
 * What both did must be right afterwards, and nobody is kept waiting.
 */
#include "step_queue.h"

#include <poll.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/member.h"
#include "sync/park.h"

enum { TIMELY_MS = 2000, EIGHTH = 8000 /* of a segment, with little room left */ };

struct pair {
    const char *name;
    struct queue_case how;
    void (*prepare)(void);
    bool (*act)(void); /* the actor: whether it went as it must */
    void (*meanwhile)(void);
    bool (*check)(void); /* afterwards */
    void (*clean)(void);
    unsigned limit; /* points in the ordinary run, before they get sparser */
};

static const struct pair *current;

/* Outside libmp. */
static struct {
    _Atomic int go;
    _Atomic int verdict; /* 1: right, 2: wrong */
    size_t size;
    unsigned char message[EIGHTH];
} * actor;

static int actor_body(void *arg)
{
    (void)arg;
    signal(SIGTRAP, SIG_DFL);
    if (mp__join() != 0)
        return 1;
    while (!actor->go)
        usleep(50);
    stepkill_begin();
    actor->verdict = current->act() ? 1 : 2;
    stepkill_end();
    return 0;
}

/* Wait until it comes to its next mark: false if it does not in time. */
static bool reaches_mark(pid_t pid)
{
    int status;
    int64_t end = now_ms() + scaled(TIMELY_MS);

    while (now_ms() < end) {
        pid_t stopped = waitpid(pid, &status, __WALL | WNOHANG);
        if (stopped == pid && !WIFSTOPPED(status))
            abort();
        if (stopped == pid && status >> 16 == 0 && WSTOPSIG(status) == SIGTRAP)
            return true;
        if (stopped == pid)
            ptrace(PTRACE_CONT, pid, NULL, NULL);
        usleep(100);
    }
    return false;
}

static pid_t start_actor(void)
{
    pid_t pid;

    actor->go = actor->verdict = 0;
    pid = child_start(actor_body, NULL);
    if (!stepkill_seize(pid))
        abort();
    actor->go = 1;
    ptrace(PTRACE_CONT, pid, NULL, NULL);
    if (!reaches_mark(pid))
        abort();
    return pid;
}

/* True if it got so far.  Steps that sleep are steps: they take their time. */
static bool step_actor(pid_t pid, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        enum stepkill_stop stop = stepkill_step(pid);
        while (stop == STEP_BLOCKED && i + 1 < steps)
            stop = stepkill_wait(pid, TIMELY_MS);
        if (stop != STEP_DONE)
            return stop == STEP_BLOCKED;
    }
    return true;
}

/* It goes on, and must come to its end. */
static bool comes_to_its_end(pid_t pid)
{
    ptrace(PTRACE_CONT, pid, NULL, NULL);
    return reaches_mark(pid) && actor->verdict == 1;
}

/* False once the actor does not get as far as that. */
static bool stand_at(const struct pair *pair, unsigned steps, unsigned *wrong)
{
    struct queue_case how = pair->how;

    memset(roles, 0, sizeof *roles);
    make_queue(&how);
    if (pair->prepare)
        pair->prepare();
    pid_t pid = start_actor();
    bool stands = step_actor(pid, steps);
    if (stands)
        pair->meanwhile();
    bool right = !stands || (comes_to_its_end(pid) && pair->check());
    stepkill_kill(pid);
    if ((!right || roles->failed) && ++*wrong == 1)
        fprintf(stderr, "%s: first at %u, verdict %d\n", pair->name, steps,
                actor->verdict);
    for (int i = 0; i < ROLES_HELPERS; i++)
        if (roles->helpers[i])
            end_helper(roles->helpers[i]);
    if (pair->clean)
        pair->clean();
    mp__member_watch();
    discard_queue();
    return stands;
}

static void expect_right(const struct pair *pair)
{
    unsigned limit = stepkill_limit(pair->limit), points = 0, wrong = 0;
    unsigned stride = 1, steps = 0;

    current = pair;
    for (; stand_at(pair, steps, &wrong); steps += stride)
        /* The further, the larger the strides: nobody knows how long it is. */
        if (limit && ++points % limit == 0)
            stride *= 2;
    fprintf(stderr, "%-32s %5u steps, %4u wrong\n", pair->name, steps, wrong);
    assert_true(steps > 40);
    assert_int_equal(wrong, 0);
}

/* --- what is read is not written to ----------------------------------------------- */

static bool get_one(void)
{
    return mp_queue_get(queue, actor->message, sizeof actor->message, &actor->size,
                        MP_FOREVER) == 0;
}

/* The others would come to the segment again in which the message lies. */
static void put_three_segments(void)
{
    for (int i = 0; i < 24; i++)
        if (put_as(OTHER, 0, EIGHTH, MP_NOWAIT) != 0)
            note_failure();
}

static bool all_is_right(void)
{
    unsigned there, missing;

    return drain() && count_up(&there, &missing) && there == 0 && missing == 0;
}

static bool message_is_right(void)
{
    return enter_message(actor->message, actor->size) && all_is_right();
}

static void test_put_while_read(void **state)
{
    (void)state;
    static struct pair pair = {.name = "get, others put",
                               .how = {.size = EIGHTH, .earlier = 10},
                               .act = get_one,
                               .meanwhile = put_three_segments,
                               .check = message_is_right,
                               .limit = 60};

    expect_right(&pair);
    pair.name = "get, others put, fixed size";
    pair.how.options.message_size = EIGHTH;
    expect_right(&pair);
}

/* --- who reads goes on while the writer turns ------------------------------------- */

static bool put_one(void)
{
    return put_as(LATER, 0, EIGHTH, MP_FOREVER) == 0;
}

static void use_up_first_segment(void)
{
    for (int i = 0; i < 9; i++)
        if (take(MP_NOWAIT) != 0)
            note_failure();
    put_earlier(7, EIGHTH);
}

/* The actor may have put its own already. */
static void take_all(void)
{
    int err;

    while ((err = take(MP_NOWAIT)) == 0)
        continue;
    if (err != ETIMEDOUT)
        note_failure();
}

static void test_get_while_writer_turns(void **state)
{
    (void)state;
    static struct pair pair = {.name = "put, others get",
                               .how = {.size = EIGHTH, .earlier = 9},
                               .prepare = use_up_first_segment,
                               .act = put_one,
                               .meanwhile = take_all,
                               .check = all_is_right,
                               .limit = 60};

    expect_right(&pair);
    pair.name = "put, others get, new segment";
    pair.how.earlier = 8;
    pair.prepare = NULL;
    expect_right(&pair);
}

/* --- join does not end while work is passed on ------------------------------------ */

/* Two who do as they are told: the first joined before the second. */
static struct hand {
    int told[2], answers[2];
} hands[2];

static bool obey(char what)
{
    switch (what) {
    case 'p':
        return put_as(OTHER, 0, SMALL, MP_NOWAIT) == 0;
    case 't':
        return take(MP_NOWAIT) == 0;
    case 'd':
        return mp_joinable_queue_task_done(queue) == 0;
    default:
        return mp__join() == 0;
    }
}

static int hand_body(void *arg)
{
    const struct hand *hand = arg;
    char what;

    while (read(hand->told[0], &what, 1) == 1)
        if (!obey(what) || write(hand->answers[1], &what, 1) != 1)
            return 1;
    return 0;
}

static void tell(struct hand *hand, char what)
{
    struct pollfd answer = {.fd = hand->answers[0], .events = POLLIN};
    char did = 0;

    if (write(hand->told[1], &what, 1) != 1 ||
        poll(&answer, 1, scaled(TIMELY_MS)) != 1 ||
        read(hand->answers[0], &did, 1) != 1 || did != what)
        note_failure();
}

static void start_hands(void)
{
    for (int i = 0; i < 2; i++) {
        if (pipe(hands[i].told) != 0 || pipe(hands[i].answers) != 0)
            abort();
        start_helper(hand_body, &hands[i]);
        tell(&hands[i], 'j');
    }
    tell(&hands[1], 't');
}

/* One who has work makes more, which the other begins before the first is done. */
static void pass_work_on(void)
{
    tell(&hands[1], 'p');
    tell(&hands[0], 't');
    tell(&hands[1], 'd');
}

static bool join_says_no(void)
{
    return mp_joinable_queue_join(queue, MP_NOWAIT) == ETIMEDOUT;
}

static bool join_ends_when_done(void)
{
    bool right = join_says_no();

    tell(&hands[0], 'd');
    return right && mp_joinable_queue_join(queue, 1000) == 0 && all_is_right();
}

static void dismiss_hands(void)
{
    for (int i = 0; i < 2; i++)
        for (int end = 0; end < 2; end++) {
            close(hands[i].told[end]);
            close(hands[i].answers[end]);
        }
}

static void test_join_while_work_is_passed_on(void **state)
{
    (void)state;
    static const struct pair pair = {.name = "join, work is passed on",
                                     .how = {.options.joinable = 1, .earlier = 1},
                                     .prepare = start_hands,
                                     .act = join_says_no,
                                     .meanwhile = pass_work_on,
                                     .check = join_ends_when_done,
                                     .clean = dismiss_hands,
                                     .limit = 100};

    expect_right(&pair);
}

/* --- the byte is there when a message is ------------------------------------------ */

static bool find_nothing(void)
{
    int err = mp_queue_get(queue, NULL, 0, NULL, MP_NOWAIT);
    return err == ETIMEDOUT || err == EMSGSIZE;
}

static int late_putter(void *arg)
{
    (void)arg;
    return put_as(OTHER, 0, SMALL, MP_FOREVER);
}

/* The actor may have the lock: then it waits. */
static void begin_to_put(void)
{
    pid_t pid = start_helper(late_putter, NULL);

    while (process_state(pid) == 'R')
        pause_shortly();
}

static bool is_there(void *arg)
{
    (void)arg;
    return !mp_queue_empty(queue);
}

static bool message_can_be_seen(void)
{
    return eventually(is_there, NULL, TIMELY_MS) && is_readable() && all_is_right() &&
           !is_readable();
}

static void leave_byte(void)
{
    if (put_as(LATER, 0, SMALL, MP_NOWAIT) != 0 || take(MP_NOWAIT) != 0)
        abort();
}

static void test_put_while_byte_is_taken_back(void **state)
{
    (void)state;
    static const struct pair pair = {.name = "get finds nothing, another puts",
                                     .how = {.options.pollable = 1},
                                     .prepare = leave_byte,
                                     .act = find_nothing,
                                     .meanwhile = begin_to_put,
                                     .check = message_can_be_seen,
                                     .limit = 60};

    expect_right(&pair);
}

/* --- who leaves with nothing ------------------------------------------------------ */

static int small_taker(void *arg)
{
    char small;

    (void)arg;
    return mp_queue_get(queue, &small, 1, NULL, MP_FOREVER) == EMSGSIZE ? 0 : 1;
}

static int taker(void *arg)
{
    (void)arg;
    return take(MP_FOREVER);
}

static pid_t start_sleeping(child_body *body)
{
    pid_t pid = child_start(body, NULL);

    assert_true(process_sleeps(pid, 5000));
    return pid;
}

/* Who is woken, and finds that the message is too large, leaves it to the other. */
static void test_too_small_a_buffer_keeps_nobody_waiting(void **state)
{
    (void)state;
    struct queue_case how = {0};

    make_queue(&how);
    mp__slice_factor = 100;
    pid_t small = start_sleeping(small_taker);
    pid_t other = start_sleeping(taker);
    assert_int_equal(put_as(OTHER, 0, SMALL, MP_NOWAIT), 0);
    assert_int_equal(child_wait(other, TIMELY_MS), 0);
    assert_int_equal(put_as(OTHER, 0, SMALL, MP_NOWAIT), 0);
    assert_int_equal(child_wait(small, TIMELY_MS), 0);
    assert_int_equal(take(MP_NOWAIT), 0);
    discard_queue();
}

int main(int argc, char **argv)
{
    static const struct role_object object = {make_queue, discard_queue};
    static const struct CMUnitTest queue_pairs[] = {
        TEST(test_put_while_read),
        TEST(test_get_while_writer_turns),
        TEST(test_join_while_work_is_passed_on),
        TEST(test_put_while_byte_is_taken_back),
        TEST(test_too_small_a_buffer_keeps_nobody_waiting),
    };

    if (!roles_begin(&object))
        return SKIPPED;
    log_begin();
    actor = shared_page(sizeof *actor);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return TEST_MAIN(queue_pairs);
}
