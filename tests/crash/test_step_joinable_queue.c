/* SPDX-License-Identifier: MIT */
/*
 * test_step_joinable_queue.c - a process is killed at every instruction of what is done
 * with a joinable queue.
 *
 * After each kill the others finish what they get, and join ends: with EOWNERDEAD if
 * the victim has taken a message, which then is lost, and no other.
 */
#include "step_queue.h"

#include "ipc/ledger.h"
#include "ipc/queue.h"
#include "shm/member.h"

/* Messages that went with processes before the victim. */
static unsigned lost_before;

static int join_queue(int timeout_ms)
{
    return mp_joinable_queue_join(queue, timeout_ms);
}

static bool take_and_finish(void)
{
    return take(MP_NOWAIT) == 0 && mp_joinable_queue_task_done(queue) == 0;
}

/* What the victim has not taken is got and done. */
static bool finish_all(unsigned *missing)
{
    unsigned there;

    while (!mp_queue_empty(queue))
        if (!take_and_finish())
            return false;
    return count_up(&there, missing) && there == 0;
}

/* Nobody has taken anything that is not done: or else it is not the dead that has it.
 */
static bool joins_as_ever(void)
{
    return join_queue(MP_NOWAIT) == 0 && put_as(OTHER, 0, SMALL, MP_NOWAIT) == 0 &&
           join_queue(MP_NOWAIT) == ETIMEDOUT && take_and_finish() &&
           mp_joinable_queue_task_done(queue) == EOVERFLOW &&
           join_queue(MP_NOWAIT) == 0;
}

static bool ends_with_lost(unsigned lost)
{
    int err = join_queue(1000);

    return mp_queue_lost(queue) == lost && err == (lost ? EOWNERDEAD : 0) &&
           joins_as_ever();
}

/* What is missing was with the dead; `lost_before` is missing always. */
static bool check_get_of_joinable(void *how)
{
    unsigned missing;

    (void)how;
    if (!finish_all(&missing) || missing < lost_before)
        return false;
    return is_plausible(missing > lost_before) && ends_with_lost(missing);
}

static void test_get(void **state)
{
    (void)state;
    lost_before = 0;
    struct queue_case how = {.options.joinable = 1, .earlier = 3};
    struct role_case c = {.name = "joinable: get",
                          .how = &how,
                          .operate = victim_gets,
                          .check = check_get_of_joinable,
                          .limit = 80,
                          .ordered = true};

    expect_queue_survives(&c);
    how.count = 2;
    c.name = "joinable: get two";
    c.operate = victim_gets_many;
    c.limit = 24;
    expect_queue_survives(&c);
}

/* --- after the dead --------------------------------------------------------------- */

/* It has the lock, has entered what it would take, and has not taken it. */
static int dies_entering(void *arg)
{
    (void)arg;
    if (mp__join() != 0 || mp__queue_lock(&queue->get_lock, MP__NEVER) != 0)
        return 1;
    mp__ledger_take(queue, 2);
    raise(SIGKILL);
    return 1;
}

static int dies_with_message(void *arg)
{
    (void)arg;
    if (mp_queue_get(queue, &(char[SMALL]){0}, SMALL, NULL, MP_NOWAIT) == 0)
        raise(SIGKILL);
    return 1;
}

static void let_die(child_body *body)
{
    pid_t pid = child_start(body, NULL);

    if (child_wait(pid, 5000) != -SIGKILL)
        abort();
}

static void leave_entry(void *how)
{
    (void)how;
    let_die(dies_entering);
}

/* Its place in the family is free for the victim, which will find its entry there. */
static void leave_message(void *how)
{
    (void)how;
    let_die(dies_with_message);
    mp__member_watch();
}

static void leave_message_and_entry(void *how)
{
    leave_message(how);
    leave_entry(how);
    mp__member_watch();
}

static void test_recover(void **state)
{
    (void)state;
    lost_before = 0;
    struct queue_case how = {.options.joinable = 1, .earlier = 3};
    struct role_case c = {.name = "joinable: get, after one who died",
                          .how = &how,
                          .prepare = leave_entry,
                          .operate = victim_gets,
                          .check = check_get_of_joinable,
                          .limit = 60};

    expect_queue_survives(&c);
    lost_before = 1;
    c.name = "joinable: get, in a dead one's place";
    c.prepare = leave_message;
    expect_queue_survives(&c);
    c.name = "joinable: get, after two who died";
    c.prepare = leave_message_and_entry;
    expect_queue_survives(&c);
}

/* --- done ------------------------------------------------------------------------- */

static bool get_before(void *how)
{
    (void)how;
    return mp_queue_get(queue, &(char[SMALL]){0}, SMALL, NULL, MP_NOWAIT) == 0;
}

static bool finish_one(void *how)
{
    (void)how;
    return mp_joinable_queue_task_done(queue) == 0;
}

/* Of two who wait one is told, if there is something to tell. */
static bool sleeper_joins(void *how)
{
    (void)how;
    int err = join_queue(MP_FOREVER);

    if (err == EOWNERDEAD)
        atomic_fetch_add(&roles->told, 1);
    return err == 0 || err == EOWNERDEAD;
}

/* The victim had taken the only message. */
static bool check_done(void *how)
{
    (void)how;
    bool joined = all_sleepers_got_in();
    uint64_t lost = mp_queue_lost(queue);

    if (!joined || lost > 1 || !is_plausible(lost == 0))
        return false;
    int expected = lost && !roles->told ? EOWNERDEAD : 0;
    return join_queue(1000) == expected && roles->told <= (int)lost && joins_as_ever();
}

static void test_task_done(void **state)
{
    (void)state;
    struct queue_case how = {.options.joinable = 1, .earlier = 1};
    struct role_case c = {.name = "joinable: task_done",
                          .how = &how,
                          .before = get_before,
                          .operate = finish_one,
                          .check = check_done,
                          .limit = 60,
                          .ordered = true};

    expect_queue_survives(&c);
    c.name = "joinable: task_done, two join";
    c.sleeper = sleeper_joins;
    c.sleepers = 2;
    expect_queue_survives(&c);
}

/* --- join ------------------------------------------------------------------------- */

static bool victim_joins(void *how)
{
    (void)how;
    int err = join_queue(MP_FOREVER);
    return err == 0 || err == EOWNERDEAD;
}

static void finish_for_victim(void *how)
{
    (void)how;
    if (!take_and_finish())
        abort();
}

/* Somebody may have been told of those before: the victim, which is dead. */
static bool check_join(void *how)
{
    unsigned missing;

    (void)how;
    if (!finish_all(&missing) || !all_sleepers_got_in() || missing != lost_before)
        return false;
    int err = join_queue(1000);
    bool told = err == EOWNERDEAD || roles->told > 0;
    return (err == 0 || err == EOWNERDEAD) && mp_queue_lost(queue) == missing &&
           (missing || !told) && joins_as_ever();
}

static void test_join(void **state)
{
    (void)state;
    lost_before = 0;
    struct queue_case how = {.options.joinable = 1};
    struct role_case c = {.name = "joinable: join, all is done",
                          .how = &how,
                          .operate = victim_joins,
                          .check = check_join,
                          .limit = 40};

    expect_queue_survives(&c);
    how.earlier = 1;
    c.name = "joinable: join, one was lost";
    c.prepare = leave_message;
    lost_before = 1;
    expect_queue_survives(&c);
    c.name = "joinable: join, wait, one more waits";
    c.prepare = NULL;
    lost_before = 0;
    c.sleeper = sleeper_joins;
    c.sleepers = 1;
    c.unblock = finish_for_victim;
    c.limit = 24;
    c.watched = true;
    expect_queue_survives(&c);
}

int main(int argc, char **argv)
{
    static const struct role_object object = {make_queue, discard_queue};
    static const struct CMUnitTest step_joinable_queue[] = {
        TEST(test_get),
        TEST(test_recover),
        TEST(test_task_done),
        TEST(test_join),
    };

    if (!roles_begin(&object))
        return SKIPPED;
    log_begin();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return TEST_MAIN(step_joinable_queue);
}
