/* SPDX-License-Identifier: MIT */
/*
 * test_misuse.c - what a program must not do with any kind of object: it gets an error
 * or nothing happens, and never does it hang or harm what is not its own.
 *
 * NULL and counts that are too large are looked at in the test of each kind.
 */
#include "support/test.h"

#include <limits.h>
#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#define PATIENCE_MS 20000

struct kind {
    const char *name;
    int (*make)(void **out, const void *options);
    void (*discard)(void *object);
    int (*hold)(void *object);   /* NULL: it is no kind that somebody holds */
    int (*let_go)(void *object); /* by who may hold it */
    int not_held;                /* what that returns if nobody holds it, */
    int not_own;                 /* or another process; 0: anybody may let go of it */
    int (*await)(void *object, int timeout_ms); /* waits, if somebody holds it */
};

/* --- the kinds -------------------------------------------------------------------- */

/* mp_<noun>_new and mp_<noun>_free as functions of one type, with what stands between
   `out` and the options. */
#define MAKER(maker, noun, ...)                                                        \
    static int make_##maker(void **out, const void *options)                           \
    {                                                                                  \
        mp_##noun *made;                                                               \
        int err = mp_##noun##_new(&made, __VA_ARGS__);                                 \
        if (!err)                                                                      \
            *out = made;                                                               \
        return err;                                                                    \
    }
#define DISCARD(noun)                                                                  \
    static void discard_##noun(void *object)                                           \
    {                                                                                  \
        mp_##noun##_free(object);                                                      \
    }

/* The options of each kind are a struct of its own; none means the choice of the kind.
 */
#define CHOSEN(otherwise) options ? options : (const void *)(otherwise)

MAKER(lock, lock, options)
MAKER(rlock, rlock, options)
MAKER(bounded, semaphore, 1, CHOSEN(MP_SEMAPHORE_OPTIONS(.max_value = 1)))
MAKER(owned, semaphore, 1, CHOSEN(MP_SEMAPHORE_OPTIONS(.owned = 1)))
MAKER(condition, condition, options)
MAKER(event, event, options)
MAKER(barrier, barrier, 2, options)
MAKER(rwlock, rwlock, options)
MAKER(value, value, 8, NULL, options)
MAKER(array, array, 100, 100, NULL, options)

DISCARD(lock)
DISCARD(rlock)
DISCARD(semaphore)
DISCARD(condition)
DISCARD(event)
DISCARD(barrier)
DISCARD(rwlock)
DISCARD(value)
DISCARD(array)

#define HOLDER(holder, acquire, release)                                               \
    static int hold_##holder(void *object)                                             \
    {                                                                                  \
        return acquire(object, MP_NOWAIT);                                             \
    }                                                                                  \
    static int let_go_##holder(void *object)                                           \
    {                                                                                  \
        return release(object);                                                        \
    }                                                                                  \
    static int await_##holder(void *object, int timeout_ms)                            \
    {                                                                                  \
        return acquire(object, timeout_ms);                                            \
    }

HOLDER(lock, mp_lock_acquire, mp_lock_release)
HOLDER(rlock, mp_rlock_acquire, mp_rlock_release)
HOLDER(semaphore, mp_semaphore_acquire, mp_semaphore_release)
HOLDER(condition, mp_condition_acquire, mp_condition_release)
HOLDER(read, mp_rwlock_acquire_read, mp_rwlock_release)
HOLDER(write, mp_rwlock_acquire_write, mp_rwlock_release)
HOLDER(value, mp_value_acquire, mp_value_release)
HOLDER(array, mp_array_acquire, mp_array_release)

static int await_notification(void *object, int timeout_ms)
{
    int err = mp_condition_acquire(object, MP_FOREVER);
    return err ? err : mp_condition_wait(object, timeout_ms);
}

static int await_event(void *object, int timeout_ms)
{
    return mp_event_wait(object, timeout_ms);
}

static int await_barrier(void *object, int timeout_ms)
{
    return mp_barrier_wait(object, timeout_ms, NULL);
}

static const struct kind kinds[] = {
    {"lock", make_lock, discard_lock, hold_lock, let_go_lock, EOVERFLOW, 0, await_lock},
    {"rlock", make_rlock, discard_rlock, hold_rlock, let_go_rlock, EPERM, EPERM,
     await_rlock},
    {"semaphore", make_bounded, discard_semaphore, hold_semaphore, let_go_semaphore,
     EOVERFLOW, 0, await_semaphore},
    {"owned semaphore", make_owned, discard_semaphore, hold_semaphore, let_go_semaphore,
     EPERM, EPERM, await_semaphore},
    {"condition's lock", make_condition, discard_condition, hold_condition,
     let_go_condition, EPERM, EPERM, await_condition},
    {"reading", make_rwlock, discard_rwlock, hold_read, let_go_read, EPERM, EPERM,
     await_write},
    {"writing", make_rwlock, discard_rwlock, hold_write, let_go_write, EPERM, EPERM,
     await_read},
    {"value", make_value, discard_value, hold_value, let_go_value, EPERM, EPERM,
     await_value},
    {"array", make_array, discard_array, hold_array, let_go_array, EPERM, EPERM,
     await_array},
    {.name = "condition",
     .make = make_condition,
     .discard = discard_condition,
     .await = await_notification},
    {.name = "event",
     .make = make_event,
     .discard = discard_event,
     .await = await_event},
    {.name = "barrier",
     .make = make_barrier,
     .discard = discard_barrier,
     .await = await_barrier},
};

#define KINDS (sizeof kinds / sizeof *kinds)

static size_t used(void)
{
    mp_shared_statistics stat;

    assert_int_equal(mp_shared_stat(&stat), 0);
    return stat.used;
}

static void *new_of(const struct kind *kind)
{
    void *object = NULL;

    assert_int_equal(kind->make(&object, NULL), 0);
    assert_non_null(object);
    return object;
}

/* Nothing that came before has done harm to new ones. */
static void expect_new_ones_to_work(void)
{
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        void *object = new_of(kind);
        if (kind->hold) {
            assert_int_equal(kind->hold(object), 0);
            assert_int_equal(kind->let_go(object), 0);
        } else {
            assert_int_equal(kind->await(object, 1), ETIMEDOUT);
        }
        kind->discard(object);
    }
}

/* --- calls ------------------------------------------------------------------------ */

static void test_newer_options(void **state)
{
    (void)state;
    const struct {
        size_t struct_size;
        unsigned char zero[255], unknown;
    } newer = {.struct_size = sizeof newer, .unknown = 1};

    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        void *object = NULL;
        assert_int_equal(kind->make(&object, &newer), EINVAL);
        assert_null(object);
    }
}

static void test_negative_timeouts(void **state)
{
    (void)state;
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        void *object = new_of(kind);
        assert_int_equal(kind->await(object, -2), EINVAL);
        assert_int_equal(kind->await(object, INT_MIN), EINVAL);
        kind->discard(object);
    }
}

struct use {
    const struct kind *kind;
    void *object;
};

static int let_go_as_child(void *arg)
{
    const struct use *use = arg;
    return use->kind->let_go(use->object);
}

static void test_release_of_what_is_not_held(void **state)
{
    (void)state;
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        if (!kind->hold)
            continue;
        struct use use = {kind, new_of(kind)};
        assert_int_equal(kind->let_go(use.object), kind->not_held);
        assert_int_equal(child_run(let_go_as_child, &use), kind->not_held);
        assert_int_equal(kind->hold(use.object), 0);
        assert_int_equal(child_run(let_go_as_child, &use), kind->not_own);
        assert_int_equal(kind->let_go(use.object), kind->not_own ? 0 : kind->not_held);
        assert_int_equal(kind->let_go(use.object), kind->not_held);
        kind->discard(use.object);
    }
}

/* Over an mp_lock it is the lock that says so. */
static void test_condition_without_its_lock(void **state)
{
    (void)state;
    mp_condition *condition;
    mp_lock *lock;

    assert_int_equal(mp_lock_new(&lock, NULL), 0);
    assert_int_equal(mp_condition_new(&condition, MP_CONDITION_OPTIONS(.lock = lock)),
                     0);
    assert_int_equal(mp_condition_release(condition), EOVERFLOW);
    assert_int_equal(mp_condition_wait(condition, 1), EPERM);
    assert_int_equal(mp_condition_notify(condition, SIZE_MAX), EPERM);
    assert_int_equal(mp_lock_acquire(lock, MP_NOWAIT), 0);
    assert_int_equal(mp_condition_notify(condition, SIZE_MAX), 0);
    assert_int_equal(mp_condition_release(condition), 0);
    mp_condition_free(condition);
    mp_lock_free(lock);
}

/* --- what is freed ---------------------------------------------------------------- */

/* So many blocks of these sizes that what was freed of them belongs to others now. */
enum { SIZES = 5, COPIES = 40 };

static void *neighbours[SIZES][COPIES];

static void move_in(void)
{
    for (size_t size = 0; size < SIZES; size++)
        for (size_t i = 0; i < COPIES; i++) {
            neighbours[size][i] = mp_shared_alloc((size_t)64 << size);
            assert_non_null(neighbours[size][i]);
        }
}

static void move_out(void)
{
    for (size_t size = 0; size < SIZES; size++)
        for (size_t i = 0; i < COPIES; i++)
            mp_shared_free(neighbours[size][i]);
}

static void test_freed_twice(void **state)
{
    (void)state;
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        size_t before = used();
        void *object = new_of(kind);
        kind->discard(object);
        assert_int_equal(used(), before);
        kind->discard(object);
        assert_int_equal(used(), before);
    }
    expect_new_ones_to_work();
}

/* Others get what was the lock of an array, but not the array: it is larger, and a
   second one keeps its neighbourhood as it is. */
static void test_freed_twice_with_a_part_in_use(void **state)
{
    (void)state;
    static const struct kind of_arrays = {.make = make_array};
    void *array = new_of(&of_arrays), *second = new_of(&of_arrays);

    mp_array_free(array);
    move_in();
    size_t before = used();
    mp_array_free(array);
    assert_int_equal(used(), before);
    move_out();
    mp_array_free(second);
}

/* Of memory that libmp does not know, and whose words are addresses of blocks. */
static void expect_ignored(const struct kind *kind, void **foreign, size_t words,
                           void *block)
{
    for (size_t i = 0; i < words; i++)
        foreign[i] = block;
    size_t before = used();
    kind->discard(foreign);
    kind->discard((char *)foreign + 1);
    assert_int_equal(used(), before);
}

static void test_foreign_pointers(void **state)
{
    (void)state;
    enum { WORDS = 2048 / sizeof(void *) };
    void *on_stack[WORDS];
    void **on_heap = malloc(sizeof on_stack), *block = mp_shared_alloc(64);
    void **outer = mp_shared_alloc(2 * sizeof on_stack);

    assert_non_null(on_heap);
    assert_non_null(block);
    assert_non_null(outer);
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        expect_ignored(kind, on_stack, WORDS, block);
        expect_ignored(kind, on_heap, WORDS, block);
        expect_ignored(kind, outer + 8, WORDS, block);
        kind->discard((void *)1);
        kind->discard((void *)(UINTPTR_MAX - 63));
    }
    mp_shared_free(outer);
    mp_shared_free(block);
    free(on_heap);
    expect_new_ones_to_work();
}

/* --- what is freed while others use it -------------------------------------------- */

static int await_as_child(void *arg)
{
    const struct use *use = arg;
    return use->kind->await(use->object, scaled(300));
}

/* Who waits is not told, but is not kept longer either than it wanted to wait. */
static void test_freed_while_awaited(void **state)
{
    (void)state;
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        size_t before = used();
        struct use use = {kind, new_of(kind)};
        if (kind->hold)
            assert_int_equal(kind->hold(use.object), 0);
        pid_t pid = child_start(await_as_child, &use);
        assert_true(process_sleeps(pid, PATIENCE_MS));
        kind->discard(use.object);
        assert_int_equal(child_wait(pid, PATIENCE_MS), ETIMEDOUT);
        assert_int_equal(used(), before);
    }
    expect_new_ones_to_work();
}

static _Atomic int *stage; /* 1: it is held.  2: it was freed */

static bool is_at_stage(void *number)
{
    return *stage >= *(int *)number;
}

static int hold_as_child(void *arg)
{
    const struct use *use = arg;
    int freed = 2;

    int err = use->kind->hold(use->object);
    *stage = 1;
    if (err || !eventually(is_at_stage, &freed, PATIENCE_MS))
        return 98;
    return use->kind->let_go(use->object);
}

/* Whoever holds it lets go of it, or dies with it. */
static void free_while_held(const struct kind *kind, bool dies)
{
    struct use use = {kind, new_of(kind)};
    int held = 1;

    *stage = 0;
    pid_t pid = child_start(hold_as_child, &use);
    assert_true(eventually(is_at_stage, &held, PATIENCE_MS));
    kind->discard(use.object);
    if (dies)
        kill(pid, SIGKILL);
    else
        *stage = 2;
    assert_int_equal(child_wait(pid, PATIENCE_MS), dies ? -SIGKILL : 0);
}

static void test_freed_while_held(void **state)
{
    (void)state;
    stage = shared_page(sizeof *stage);
    for (const struct kind *kind = kinds; kind < kinds + KINDS; kind++) {
        size_t before = used();
        for (int dies = 0; kind->hold && dies < 2; dies++)
            free_while_held(kind, dies);
        assert_int_equal(used(), before);
    }
    expect_new_ones_to_work();
    shared_page_free((void *)stage, sizeof *stage);
}

int main(void)
{
    static const struct CMUnitTest misuse[] = {
        TEST(test_newer_options),
        TEST(test_negative_timeouts),
        TEST(test_release_of_what_is_not_held),
        TEST(test_condition_without_its_lock),
        TEST(test_freed_twice),
        TEST(test_freed_twice_with_a_part_in_use),
        TEST(test_foreign_pointers),
        TEST(test_freed_while_awaited),
        TEST(test_freed_while_held),
    };

    return TEST_MAIN(misuse);
}
