/* SPDX-License-Identifier: MIT */
/* test_member.c - the table of members, seen from inside. */
#include "support/test.h"

#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/arena.h"
#include "shm/member.h"

static int join_and_leave(void *arg)
{
    (void)arg;
    return mp__join();
}

/* Children of the host's own, whose end nobody tells libmp of, and nobody who sleeps. */
static void test_unburied_members_are_reused(void **state)
{
    enum { CHILDREN = 1000, MOST_SLOTS = 200 };

    (void)state;
    assert_int_equal(mp__join(), 0);
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(child_run(join_and_leave, NULL), 0);
    assert_in_range(atomic_load(&mp__arena->members_used), 1, MOST_SLOTS);
}

/* Whoever has lived all the time keeps its identity. */
static void test_members_alive_are_kept(void **state)
{
    (void)state;
    uint64_t self = mp__self;

    mp__member_watch();
    assert_int_equal(mp__self, self);
    assert_false(mp__member_is_dead(self));
    assert_int_equal(mp__member_pid(self), getpid());
    assert_int_equal(mp__member_of_pid(getpid()), self);
    assert_int_equal(mp__member_pid(0), 0);
}

int main(void)
{
    static const struct CMUnitTest member[] = {
        TEST(test_unburied_members_are_reused),
        TEST(test_members_alive_are_kept),
    };

    return TEST_MAIN(member);
}
