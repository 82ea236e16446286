/* SPDX-License-Identifier: MIT */
/*
 * test_step_queue.c - a process is killed at every instruction of put and get.
 *
 * After each kill all that others have put is there, once and in order; what the victim
 * put is there whole or not at all; what is missing the victim has taken, and
 * mp_queue_lost counts it if it cannot know that it has.  Nobody sleeps while there is
 * what it sleeps for, and the queue goes on working.
 *
 *     test_step_queue [pattern]
 *
 * runs the tests whose names match.
 */
#include "step_queue.h"

#include <sys/wait.h>

#include "ipc/ledger.h"
#include "ipc/queue.h"
#include "ipc/readiness.h"
#include "shm/member.h"

/* A segment of 64 KiB takes eight of these, and has little room left. */
enum { EIGHTH = 8000 };

/* --- alone with the queue --------------------------------------------------------- */

static void test_put(void **state)
{
    (void)state;
    struct queue_case how = {.earlier = 2};
    struct role_case c = {.name = "put",
                          .how = &how,
                          .before = make_messages,
                          .operate = victim_puts,
                          .check = check_put,
                          .limit = 32,
                          .ordered = true};

    expect_queue_survives(&c);
    how = (struct queue_case){.options.message_size = SMALL, .earlier = 2};
    c.name = "put, fixed size";
    c.limit = 16;
    expect_queue_survives(&c);
    how = (struct queue_case){.options.max_messages = 3, .earlier = 2};
    c.name = "put, room for one";
    expect_queue_survives(&c);
    how = (struct queue_case){.options.priorities = 4, .earlier = 2, .priority = 2};
    c.name = "put, urgent";
    expect_queue_survives(&c);
    how = (struct queue_case){.count = 3, .earlier = 2};
    c.name = "put three";
    c.operate = victim_puts_many;
    expect_queue_survives(&c);
    /* Who is no member joins on the way. */
    how = (struct queue_case){.earlier = 2};
    c.name = "join and put";
    c.operate = victim_puts;
    c.newcomer = true;
    c.ordered = false;
    c.limit = 12;
    expect_queue_survives(&c);
}

/* Between the step that takes a message and the one that settles it are few
   instructions: all points are tried. */
static void test_get(void **state)
{
    (void)state;
    struct queue_case how = {.earlier = 3};
    struct role_case c = {.name = "get",
                          .how = &how,
                          .operate = victim_gets,
                          .check = check_get,
                          .ordered = true};

    message_log->seen_lost = 0;
    expect_queue_survives(&c);
    assert_true(message_log->seen_lost);
    how = (struct queue_case){.options.message_size = SMALL, .earlier = 3};
    c.name = "get, fixed size";
    c.limit = 16;
    expect_queue_survives(&c);
    how = (struct queue_case){.options.max_messages = 3, .earlier = 3};
    c.name = "get, bounded";
    expect_queue_survives(&c);
    how = (struct queue_case){.options.priorities = 4, .earlier = 2};
    c.name = "get, priorities";
    expect_queue_survives(&c);
    how = (struct queue_case){.count = 3, .earlier = 4};
    c.name = "get three";
    c.operate = victim_gets_many;
    expect_queue_survives(&c);
    how = (struct queue_case){.earlier = 2};
    c.name = "join and get";
    c.operate = victim_gets;
    c.newcomer = true;
    c.ordered = false;
    c.limit = 12;
    expect_queue_survives(&c);
}

/* --- segments --------------------------------------------------------------------- */

/* The victim's message needs a segment more. */
static void test_put_into_new_segment(void **state)
{
    (void)state;
    leak_ignore_arena(); /* the segment that the victim was fetching or giving back */
    struct queue_case how = {.size = EIGHTH, .earlier = 16};
    struct role_case c = {.name = "put into a new segment",
                          .how = &how,
                          .before = make_messages,
                          .operate = victim_puts,
                          .check = check_put,
                          .limit = 32,
                          .ordered = true};

    expect_queue_survives(&c);
    how.options.message_size = EIGHTH;
    c.name = "put into a new segment, fixed size";
    c.limit = 16;
    expect_queue_survives(&c);
    how = (struct queue_case){.size = EIGHTH, .earlier = 7, .count = 3};
    c.name = "put three, behind the turn";
    c.operate = victim_puts_many;
    expect_queue_survives(&c);
}

/* The first segment has been read and can be used again; the second is nearly full. */
static void use_up_first_segment(void *how)
{
    const struct queue_case *c = how;

    for (unsigned i = 0; i < 9; i++)
        give_room(how);
    put_earlier(7, c->options.message_size ? c->size : EIGHTH);
}

static void test_put_into_spare_segment(void **state)
{
    (void)state;
    leak_ignore_arena(); /* the segment that the victim was fetching or giving back */
    struct queue_case how = {.size = EIGHTH, .earlier = 9};
    struct role_case c = {.name = "put into a spare segment",
                          .how = &how,
                          .prepare = use_up_first_segment,
                          .before = make_messages,
                          .operate = victim_puts,
                          .check = check_put,
                          .limit = 32,
                          .ordered = true};

    expect_queue_survives(&c);
    how.options.message_size = EIGHTH;
    c.name = "put into a spare, fixed size";
    expect_queue_survives(&c);
}

/* The spare segment is too small: readers have to jump over it. */
static void make_small_spare(void *how)
{
    put_earlier(8, EIGHTH);
    put_earlier(1, SMALL);
    for (unsigned i = 0; i < 8; i++)
        give_room(how);
    put_earlier(1, 60000);
}

static void test_put_large(void **state)
{
    (void)state;
    leak_ignore_arena(); /* the segment that the victim was fetching or giving back */
    struct queue_case how = {.size = 70000};
    struct role_case c = {.name = "put a large message",
                          .how = &how,
                          .prepare = make_small_spare,
                          .before = make_messages,
                          .operate = victim_puts,
                          .check = check_put,
                          .limit = 32,
                          .ordered = true};

    expect_queue_survives(&c);
}

/* The next message is behind the turn. */
static void test_get_from_next_segment(void **state)
{
    (void)state;
    struct queue_case how = {.size = EIGHTH, .earlier = 10, .count = 3};
    struct role_case c = {.name = "get three, behind the turn",
                          .how = &how,
                          .operate = victim_gets_many,
                          .check = check_get,
                          .limit = 32,
                          .ordered = true};

    expect_queue_survives(&c);
}

enum { MIB = 1 << 20 };

/* A backlog that is gone, but for a message behind it: so much is not kept. */
static void make_fat(void *how)
{
    put_earlier(2, 10 * MIB);
    put_earlier(1, SMALL);
    give_room(how);
    give_room(how);
}

static void make_very_fat(void *how)
{
    put_earlier(1, 20 * MIB);
    put_earlier(1, SMALL);
    give_room(how);
}

static void test_get_and_trim(void **state)
{
    (void)state;
    leak_ignore_arena(); /* the segment that the victim was fetching or giving back */
    struct queue_case how = {0};
    struct role_case c = {.name = "get, and free segments",
                          .how = &how,
                          .prepare = make_fat,
                          .operate = victim_gets,
                          .check = check_get,
                          .limit = 16,
                          .ordered = true};

    expect_queue_survives(&c);
    c.name = "get, and leave a large segment";
    c.prepare = make_very_fat;
    expect_queue_survives(&c);
}

/* Six large segments of which four were read, and a message that goes into the first.
 */
static void make_many_spares(void *how)
{
    put_earlier(6, 6 * MIB - 96);
    for (unsigned i = 0; i < 5; i++)
        give_room(how);
}

static void test_put_and_free_spares(void **state)
{
    (void)state;
    leak_ignore_arena(); /* the segment that the victim was fetching or giving back */
    struct queue_case how = {.size = EIGHTH};
    struct role_case c = {.name = "put, and free spares",
                          .how = &how,
                          .prepare = make_many_spares,
                          .before = make_messages,
                          .operate = victim_puts,
                          .check = check_put,
                          .limit = 16,
                          .ordered = true};

    expect_queue_survives(&c);
}

/* --- with others ------------------------------------------------------------------ */

static void test_put_for_sleepers(void **state)
{
    (void)state;
    struct queue_case how = {0};
    struct role_case c = {.name = "put, two wait",
                          .how = &how,
                          .before = make_messages,
                          .operate = victim_puts,
                          .sleeper = sleeper_gets,
                          .sleepers = 2,
                          .check = check_put,
                          .limit = 32};

    expect_queue_survives(&c);
    how.count = 3;
    c.name = "put three, two wait";
    c.operate = victim_puts_many;
    c.limit = 24;
    expect_queue_survives(&c);
}

static void test_get_for_sleeper(void **state)
{
    (void)state;
    struct queue_case how = {
        .options.max_messages = 2, .earlier = 2, .others_put = true};
    struct role_case c = {.name = "get, one waits for room",
                          .how = &how,
                          .operate = victim_gets,
                          .sleeper = sleeper_puts,
                          .sleepers = 1,
                          .check = check_get,
                          .limit = 32};

    expect_queue_survives(&c);
}

/* The victim sleeps, and is woken; it may never take what it is woken for. */
static void test_get_woken(void **state)
{
    (void)state;
    struct queue_case how = {.waits = true};
    struct role_case c = {.name = "get, woken",
                          .how = &how,
                          .operate = victim_gets,
                          .unblock = give_message,
                          .check = check_get,
                          .limit = 24,
                          .watched = true};

    expect_queue_survives(&c);
    c.name = "get, woken, one more waits";
    c.sleeper = sleeper_gets;
    c.sleepers = 1;
    expect_queue_survives(&c);
}

static void test_put_woken(void **state)
{
    (void)state;
    struct queue_case how = {
        .options.max_messages = 2, .earlier = 2, .waits = true, .others_put = true};
    struct role_case c = {.name = "put, woken",
                          .how = &how,
                          .before = make_messages,
                          .operate = victim_puts,
                          .unblock = give_room,
                          .check = check_put,
                          .limit = 24,
                          .watched = true};

    expect_queue_survives(&c);
    c.name = "put, woken, one more waits";
    c.sleeper = sleeper_puts;
    c.sleepers = 1;
    expect_queue_survives(&c);
}

static void give_two_rooms(void *how)
{
    give_room(how);
    give_room(how);
}

static void test_put_piecemeal(void **state)
{
    (void)state;
    struct queue_case how = {.options.max_messages = 2,
                             .earlier = 1,
                             .count = 3,
                             .waits = true,
                             .others_put = true,
                             .piecemeal = true};
    struct role_case c = {.name = "put three, in two pieces",
                          .how = &how,
                          .before = make_messages,
                          .operate = victim_puts_many,
                          .unblock = give_two_rooms,
                          .check = check_put,
                          .limit = 24,
                          .watched = true};

    expect_queue_survives(&c);
}

/* A third one goes on putting and getting. */
static void test_beside_others(void **state)
{
    (void)state;
    struct queue_case how = {.earlier = 3};
    struct role_case c = {.name = "put, beside others",
                          .how = &how,
                          .before = make_messages,
                          .operate = victim_puts,
                          .paused = start_bystander,
                          .check = check_put,
                          .limit = 32};

    expect_queue_survives(&c);
    how = (struct queue_case){.options.max_messages = 6, .earlier = 5};
    c.name = "get, beside others";
    c.before = NULL;
    c.operate = victim_gets;
    c.check = check_get;
    expect_queue_survives(&c);
}

/* --- after the dead --------------------------------------------------------------- */

/* It has the lock, and has written a message of which nobody is to know. */
static int dies_putting(void *arg)
{
    const struct queue_case *c = arg;
    static unsigned char garbage[EIGHTH];
    struct mp__lane_cursor in;

    memset(garbage, 0xee, sizeof garbage);
    if (mp__join() != 0 || mp__queue_lock(&queue->put_lock, MP__NEVER) != 0)
        return 1;
    in = mp__lane_cursor(&queue->lanes[0].in);
    for (int i = 0; i < 10; i++)
        if (mp__lane_write(&queue->lanes[0], &in, garbage,
                           c->options.message_size ? SMALL : EIGHTH) != 0)
            return 1;
    queue->lanes[0].in.known -= 10;
    raise(SIGKILL);
    return 1;
}

/* It has the lock, and has copied a message. */
static int dies_getting(void *arg)
{
    size_t size;
    struct mp__lane_cursor out;

    (void)arg;
    if (mp__join() != 0 || mp__queue_lock(&queue->get_lock, MP__NEVER) != 0)
        return 1;
    out = mp__lane_cursor(&queue->lanes[0].out);
    if (!mp__lane_look(&queue->lanes[0], &out, &size))
        return 1;
    mp__lane_skip(&queue->lanes[0], &out, size);
    queue->lanes[0].out.known = 0;
    raise(SIGKILL);
    return 1;
}

/* Nobody buries it. */
static void let_die(child_body *body, void *how)
{
    pid_t pid = child_start(body, how);

    if (child_wait(pid, 5000) != -SIGKILL)
        abort();
}

static void leave_put(void *how)
{
    let_die(dies_putting, how);
}

static void leave_get(void *how)
{
    let_die(dies_getting, how);
}

static void test_recover(void **state)
{
    (void)state;
    struct queue_case how = {.earlier = 2};
    struct role_case c = {.name = "put, after one who died there",
                          .how = &how,
                          .prepare = leave_put,
                          .before = make_messages,
                          .operate = victim_puts,
                          .check = check_put,
                          .limit = 32};

    expect_queue_survives(&c);
    c.name = "get, after one who died there";
    c.prepare = leave_get;
    c.before = NULL;
    c.operate = victim_gets;
    c.check = check_get;
    expect_queue_survives(&c);
}

/* --- close ------------------------------------------------------------------------ */

static bool close_it(void *how)
{
    (void)how;
    return mp_queue_close(queue) == 0;
}

/* One waits for a message or for room, and is told that nothing more will come. */
static bool sleeper_is_told(void *how)
{
    const struct queue_case *c = how;
    int err = c->others_put ? put_as(OTHER, 0, SMALL, MP_FOREVER) : take(MP_FOREVER);

    return err == EPIPE;
}

static bool check_close(void *how)
{
    bool closed = mp_queue_closed(queue);
    unsigned there, missing;

    (void)how;
    if (!is_plausible(closed) || (!closed && mp_queue_close(queue) != 0))
        return false;
    return all_sleepers_got_in() && mp_queue_closed(queue) &&
           put_as(OTHER, 0, SMALL, MP_FOREVER) == EPIPE && drain() &&
           count_up(&there, &missing) && missing == 0 && take(MP_FOREVER) == EPIPE;
}

static void test_close(void **state)
{
    (void)state;
    struct queue_case how = {0};
    struct role_case c = {.name = "close, two wait for messages",
                          .how = &how,
                          .operate = close_it,
                          .sleeper = sleeper_is_told,
                          .sleepers = 2,
                          .check = check_close,
                          .limit = 32};

    expect_queue_survives(&c);
    how = (struct queue_case){
        .options.max_messages = 2, .earlier = 2, .others_put = true};
    c.name = "close, two wait for room";
    expect_queue_survives(&c);
}

/* --- pollable --------------------------------------------------------------------- */

static void test_pollable_put(void **state)
{
    (void)state;
    struct queue_case how = {.options.pollable = 1};
    struct role_case c = {.name = "pollable: put",
                          .how = &how,
                          .before = make_messages,
                          .operate = victim_puts,
                          .check = check_put,
                          .limit = 32,
                          .ordered = true};

    expect_queue_survives(&c);
}

static bool victim_finds_nothing(void *how)
{
    (void)how;
    return mp_queue_get(queue, NULL, 0, NULL, MP_NOWAIT) == ETIMEDOUT;
}

/* There is a byte still, and no message. */
static void leave_byte(void *how)
{
    give_message(how);
    give_room(how);
}

/* A get that finds nothing would put right what the victim left: first comes a put. */
static bool check_withdraw(void *how)
{
    unsigned there, missing;

    return put_as(OTHER, 0, SMALL, MP_NOWAIT) == 0 && is_readable() && drain() &&
           count_up(&there, &missing) && missing == 0 && still_works(how);
}

static void test_pollable_get(void **state)
{
    (void)state;
    struct queue_case how = {.options.pollable = 1};
    struct role_case c = {.name = "pollable: get finds nothing",
                          .how = &how,
                          .prepare = leave_byte,
                          .operate = victim_finds_nothing,
                          .check = check_withdraw,
                          .limit = 32};

    expect_queue_survives(&c);
    how.earlier = 1;
    c.name = "pollable: get the last one";
    c.prepare = NULL;
    c.operate = victim_gets;
    c.check = check_get;
    c.limit = 24;
    expect_queue_survives(&c);
}

int main(int argc, char **argv)
{
    static const struct role_object object = {make_queue, discard_queue};
    static const struct CMUnitTest step_queue[] = {
        TEST(test_put),
        TEST(test_get),
        TEST(test_put_into_new_segment),
        TEST(test_put_into_spare_segment),
        TEST(test_put_large),
        TEST(test_get_from_next_segment),
        TEST(test_get_and_trim),
        TEST(test_put_and_free_spares),
        TEST(test_put_for_sleepers),
        TEST(test_get_for_sleeper),
        TEST(test_get_woken),
        TEST(test_put_woken),
        TEST(test_put_piecemeal),
        TEST(test_beside_others),
        TEST(test_recover),
        TEST(test_close),
        TEST(test_pollable_put),
        TEST(test_pollable_get),
    };

    if (!roles_begin(&object))
        return SKIPPED;
    log_begin();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return TEST_MAIN(step_queue);
}
