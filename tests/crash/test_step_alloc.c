/* SPDX-License-Identifier: MIT */
/*
 * test_step_alloc.c - a process is killed at every instruction of alloc and free.
 *
 * After each kill, and after libmp was told of it, the bytes in use are what they were
 * before the operation or what they are after it, and others allocate and free on.
 */
#include "support/test.h"

#include <stdatomic.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/arena.h"
#include "shm/member.h"
#include "stepkill.h"

#define SMALL  64
#define MEDIUM 3000
#define LARGE  70000   /* two slabs, which are zeroed */
#define HUGE   1100000 /* its pages go back to the system, and come zeroed */

struct ledger {
    size_t before;    /* bytes in use before the operation */
    size_t block;     /* bytes that a block of this size takes */
    unsigned unnoted; /* blocks that a victim got and had no time to note */
    int seen_done;    /* some point was after the operation took effect */
    int finished;     /* the victim got through */
    void *given;      /* the block that the victim is to free, or has got */
    void *neighbour;  /* of the same size, so that there is a slab with room */
};

struct alloc_case {
    size_t size;
    bool frees;
    bool alone; /* there is no other block of its size */
};

static struct ledger *ledger;

static size_t used(void)
{
    mp_shared_statistics stat;

    if (mp_shared_stat(&stat) != 0)
        abort();
    return stat.used;
}

static void prepare(void *arg)
{
    const struct alloc_case *c = arg;

    ledger->finished = 0;
    ledger->neighbour = c->alone ? NULL : mp_shared_alloc(c->size);
    size_t start = used();
    ledger->given = mp_shared_alloc(c->size);
    if (!ledger->given)
        abort();
    ledger->block = used() - start;
    if (!c->frees) {
        mp_shared_free(ledger->given);
        ledger->given = NULL;
    }
    ledger->before = used();
}

static void victim(void *arg)
{
    const struct alloc_case *c = arg;

    if (mp__join() != 0)
        return;
    stepkill_begin();
    if (c->frees)
        mp_shared_free(ledger->given);
    else
        ledger->given = mp_shared_alloc(c->size);
    ledger->finished = 1;
    stepkill_end();
}

static void died(void *arg, pid_t pid)
{
    (void)arg;
    uint64_t member = mp__member_of_pid(pid);

    if (member)
        mp__member_bury(member);
}

/* Blocks that others get now must be theirs alone, and zeroed. */
static int others_allocate(size_t size)
{
    enum { BLOCKS = 24, FEW = 3 };
    unsigned char *blocks[BLOCKS];
    int count = size < HUGE ? BLOCKS : FEW;

    for (int i = 0; i < count; i++) {
        blocks[i] = mp_shared_alloc(size);
        if (!blocks[i] || blocks[i][0] || blocks[i][size / 2] || blocks[i][size - 1])
            return STEPKILL_WRONG;
        memset(blocks[i], i + 1, size);
    }
    for (int i = 0; i < count; i++) {
        if (blocks[i][0] != i + 1 || blocks[i][size - 1] != i + 1)
            return STEPKILL_WRONG;
        mp_shared_free(blocks[i]);
    }
    return STEPKILL_RIGHT;
}

static int check(void *arg)
{
    const struct alloc_case *c = arg;
    size_t done =
        c->frees ? ledger->before - ledger->block : ledger->before + ledger->block;
    size_t now = used();

    if (now == done)
        ledger->seen_done = 1;
    else if (now != ledger->before || ledger->finished) {
        fprintf(stderr, "in use: %zu, before %zu, after %zu, %s\n", now, ledger->before,
                done, ledger->finished ? "finished" : "not finished");
        return STEPKILL_WRONG;
    }
    if (others_allocate(c->size) != STEPKILL_RIGHT) {
        fprintf(stderr, "others got a block that was not theirs or not zeroed\n");
        return STEPKILL_WRONG;
    }
    return used() == now ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

/* Free every block there is: an address that is none is no error. */
static void free_all(void)
{
    size_t size = mp__arena->slab_count * MP__SLAB_SIZE;

    for (size_t offset = 0; offset < size; offset += SMALL)
        mp_shared_free(mp__arena->data + offset);
}

/*
 * Free what the victim has not freed, or has got.  A block that it got but had no time
 * to note is nobody's: the next operation would go past it and be longer, and there
 * would always be one instruction more.
 */
static void clean(void *arg)
{
    (void)arg;
    mp_shared_free(ledger->given);
    mp_shared_free(ledger->neighbour);
    ledger->given = ledger->neighbour = NULL;
    if (used() == 0)
        return;
    ledger->unnoted++;
    free_all();
}

/*
 * How many blocks of a size there is room for.  mp_shared_stat counts blocks that are
 * allocated: what a death left half claimed shows only in what is missing here.
 */
static size_t room_for(size_t size)
{
    enum { MOST = 1 << 18 };
    static void *blocks[MOST];
    size_t count = 0;

    while (count < MOST && (blocks[count] = mp_shared_alloc(size)) != NULL)
        count++;
    for (size_t i = 0; i < count; i++)
        mp_shared_free(blocks[i]);
    return count;
}

/* And how many there should be. */
static size_t room_in_all(size_t block)
{
    if (block < MP__SLAB_SIZE)
        return mp__arena->slab_count * (MP__SLAB_SIZE / block);
    return mp__arena->slab_count / (block / MP__SLAB_SIZE);
}

static void run(const char *name, size_t size, bool frees, bool alone, unsigned limit)
{
    struct alloc_case how = {size, frees, alone};

    assert_int_equal(used(), 0);
    ledger->seen_done = 0;
    ledger->unnoted = 0;
    room_for(size);
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = name,
                                             .arg = &how,
                                             .prepare = prepare,
                                             .victim = victim,
                                             .died = died,
                                             .check = check,
                                             .clean = clean,
                                             .check_ms = 2000,
                                             .limit = limit});
    assert_true(counts.points > 5);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
    assert_true(ledger->seen_done);
    fprintf(stderr, "%u blocks were got and never noted\n", ledger->unnoted);
    assert_int_equal(used(), 0);
    room_for(size); /* gives back what was cut for another size */
    assert_int_equal(room_for(size), room_in_all(ledger->block));
}

static void test_alloc_small(void **state)
{
    (void)state;
    run("alloc small", SMALL, false, false, stepkill_limit(120));
    run("alloc small, the first", SMALL, false, true, stepkill_limit(80));
}

static void test_alloc_medium(void **state)
{
    (void)state;
    run("alloc medium", MEDIUM, false, false, stepkill_limit(120));
    run("alloc medium, the first", MEDIUM, false, true, stepkill_limit(80));
}

static void test_alloc_large(void **state)
{
    (void)state;
    run("alloc large", LARGE, false, true, stepkill_limit(60));
    run("alloc huge", HUGE, false, true, stepkill_limit(60));
}

static void test_free_small(void **state)
{
    (void)state;
    run("free small", SMALL, true, false, stepkill_limit(300));
    run("free small, the last", SMALL, true, true, stepkill_limit(150));
}

static void test_free_medium(void **state)
{
    (void)state;
    run("free medium", MEDIUM, true, false, stepkill_limit(120));
    run("free medium, the last", MEDIUM, true, true, stepkill_limit(80));
}

static void test_free_large(void **state)
{
    (void)state;
    run("free large", LARGE, true, true, stepkill_limit(60));
    run("free huge", HUGE, true, true, stepkill_limit(60));
}

int main(void)
{
    static const struct CMUnitTest step_alloc[] = {
        TEST(test_alloc_small), TEST(test_alloc_medium), TEST(test_alloc_large),
        TEST(test_free_small),  TEST(test_free_medium),  TEST(test_free_large),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    /* A small one is soon full, which is how losses show. */
    setenv("MP_ARENA_SIZE", "8M", 1);
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_alloc);
}
