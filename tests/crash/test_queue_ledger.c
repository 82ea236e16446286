/* SPDX-License-Identifier: MIT */
/*
 * test_queue_ledger.c - producers and consumers of a queue are killed at random
 * moments.
 *
 *   producer   put put X     (new) put put put | gate
 *   consumer   get get get X (new) get get get | gate
 *   test       strike ... strike ... close the gate   look   open the gate ...
 *
 * Four of each use the queue for all they are worth; queue_ledger.h has what went in
 * and came out.  At each gate all that live must have come to it in time, though they
 * wait without a limit: nobody is stuck; the queue is empty; nothing came twice, or out
 * of order; and nothing is missing but what consumers held that were killed.
 *
 * In half of the cycles the test buries who dies, and sleepers do not look around on
 * their own, so that a wake that was lost shows; in the others libmp has to notice.
 *
 *     test_queue_ledger [scene [kills [seed]]]
 */
#include "support/test.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "queue_ledger.h"
#include "shm/member.h"
#include "sync/park.h"

enum {
    PRODUCERS = 4,
    CONSUMERS = 4,
    SEATS = PRODUCERS + CONSUMERS,
    BATCH = 8,
    STRIKES = 40, /* between two gates */
    STUCK_MS = 8000,
    SLEEPS_ON = 1000, /* times longer than usual: longer than that */
    BUFFER = 1 << 21,
    BACKLOG = 3000 /* of a queue without a bound: producers wait for consumers */
};

struct scene {
    const char *name;
    mp_queue_options options;
    bool batches;
};

static const struct scene scenes[] = {
    {"any", {0}, true},
    {"fixed", {.message_size = 64, .max_messages = 16}, true},
    {"one", {.max_messages = 1}, false},
    {"priorities", {.priorities = LEDGER_PRIORITIES, .max_messages = 64}, false},
    {"pollable", {.pollable = 1, .max_messages = 200}, false},
    {"joinable", {.joinable = 1}, true},
};

struct seat {
    _Alignas(64) _Atomic uint32_t gate; /* the last one that it has come to */
    _Atomic uint32_t may_hold;          /* messages that it gets, and has not entered */
    _Atomic uint32_t may_owe;           /* messages that it has not said to be done */
    pid_t pid;                          /* known to the test only */
};

static struct shared {
    _Atomic(const char *) wrong;
    _Atomic int error;
    _Atomic uint32_t gate; /* odd: closed */
    _Atomic int64_t slice_factor;
    struct seat seats[SEATS];
} * shared;

static const struct scene *scene;
static mp_queue *queue;
static uint64_t dice, seed;
static unsigned long kills_wanted;
static int time_limit_ms;
static bool in_worker;

static unsigned roll(unsigned sides)
{
    return (unsigned)(next_random(&dice) >> 33) % sides;
}

static void wrong(const char *what, int error)
{
    const char *nothing = NULL;

    if (what && atomic_compare_exchange_strong(&shared->wrong, &nothing, what))
        shared->error = error;
    if (what && in_worker)
        _exit(1);
}

/* --- workers ---------------------------------------------------------------------- */

static void come_to_gate(struct seat *seat)
{
    uint32_t gate = shared->gate;

    if (gate % 2 == 0)
        return;
    atomic_store(&seat->gate, gate);
    while (shared->gate == gate)
        usleep(50);
}

/* Most are small. */
static size_t some_size(void)
{
    unsigned side = roll(1000);

    if (scene->options.message_size)
        return scene->options.message_size;
    return sizeof(struct ledger_head) + (side < 900   ? roll(100)
                                         : side < 980 ? roll(5000)
                                         : side < 998 ? roll(100000)
                                                      : roll(1000000));
}

static int put_one(uint32_t producer, unsigned number, unsigned char *buffer)
{
    unsigned priority = roll(scene->options.priorities ? scene->options.priorities : 1);
    size_t size = some_size();

    ledger_fill(buffer, size, producer, number, priority);
    return mp_queue_put_priority(queue, priority, buffer, size, MP_FOREVER);
}

static int put_batch(uint32_t producer, unsigned number, unsigned count,
                     unsigned char *buffer)
{
    struct iovec messages[BATCH];
    size_t put;

    for (unsigned i = 0; i < count; i++) {
        size_t size = scene->options.message_size ? 64 : 40 + roll(200);
        messages[i] = (struct iovec){buffer, size};
        ledger_fill(buffer, size, producer, number + i, 0);
        buffer += size;
    }
    return mp_queue_put_many(queue, messages, count, &put, MP_FOREVER);
}

/* False if the producer has put all that it may. */
static bool put_some(uint32_t producer, unsigned char *buffer)
{
    unsigned count = scene->batches && roll(4) == 0 ? 1 + roll(BATCH) : 1;
    unsigned number = ledger_announce(producer, count);

    if (!number)
        return false;
    int err = count == 1 ? put_one(producer, number, buffer)
                         : put_batch(producer, number, count, buffer);
    if (err)
        wrong("put", err);
    ledger_acknowledge(producer, 0);
    return true;
}

static void produce(struct seat *seat, unsigned char *buffer)
{
    uint32_t gate = shared->gate, producer = ledger_producer();

    while (gate % 2 == 0 && producer && shared->gate == gate &&
           put_some(producer, buffer))
        if (mp_queue_qsize(queue) > BACKLOG)
            usleep(1000);
    come_to_gate(seat);
}

static void await_readable(void)
{
    struct pollfd queued = {.events = POLLIN};

    int err = mp_queue_fileno(queue, &queued.fd);
    if (err)
        wrong("fileno", err);
    (void)poll(&queued, 1, -1);
}

/* One message, of whatever size. */
static int get_one(unsigned char *buffer, size_t *size)
{
    if (!scene->options.pollable)
        return mp_queue_get(queue, buffer, BUFFER, size, MP_FOREVER);
    for (;;) {
        int err = mp_queue_get(queue, buffer, BUFFER, size, MP_NOWAIT);
        if (err != ETIMEDOUT)
            return err;
        await_readable();
    }
}

static void task_done(struct seat *seat)
{
    if (scene->options.joinable) {
        int err = mp_joinable_queue_task_done(queue);
        if (err)
            wrong("task_done", err);
    }
    atomic_fetch_sub(&seat->may_owe, 1);
}

static void get_some(struct seat *seat, unsigned char *buffer)
{
    size_t sizes[BATCH], count = 1, most = scene->batches && roll(2) ? BATCH : 1;
    bool goes = false;

    atomic_store(&seat->may_owe, (uint32_t)most);
    atomic_store(&seat->may_hold, (uint32_t)most);
    int err = most == 1 ? get_one(buffer, &sizes[0])
                        : mp_queue_get_many(queue, buffer, BUFFER, sizes, most, &count,
                                            MP_FOREVER);
    if (err)
        wrong("get", err);
    for (size_t i = 0; i < count; i++) {
        struct ledger_head head;
        wrong(ledger_enter(buffer, sizes[i], &head), 0);
        atomic_fetch_sub(&seat->may_hold, 1);
        goes = goes || head.producer == 0;
        task_done(seat);
        buffer += sizes[i];
    }
    atomic_store(&seat->may_hold, 0);
    atomic_store(&seat->may_owe, 0);
    if (goes)
        come_to_gate(seat);
}

static int work(void *arg)
{
    struct seat *seat = arg;
    unsigned char *buffer = malloc(BUFFER);

    /* With the test gone nobody would ever end it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    in_worker = true;
    alarm(7200); /* instead of a minute */
    dice = (seed + (uint64_t)getpid()) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    for (;;) {
        mp__slice_factor = shared->slice_factor;
        if (seat < shared->seats + PRODUCERS)
            produce(seat, buffer);
        else
            get_some(seat, buffer);
    }
    return 0;
}

/* --- strikes ---------------------------------------------------------------------- */

/* What may be missing, and lost, since the last gate. */
static struct {
    unsigned long kills, held, owed, all_kills, all_missing, all_got;
    uint64_t lost;
} tally;

static void seat_somebody(struct seat *seat)
{
    seat->gate = seat->may_hold = seat->may_owe = 0;
    seat->pid = child_start(work, seat);
}

static void await_death(const struct seat *seat, bool buries)
{
    siginfo_t info;

    while (waitid(P_PID, (id_t)seat->pid, &info, WEXITED | WNOWAIT) < 0 &&
           errno == EINTR)
        continue;
    if (info.si_code != CLD_KILLED || info.si_status != SIGKILL)
        wrong("a worker has ended by itself", info.si_status);
    uint64_t member = mp__member_of_pid(seat->pid);
    if (buries && member)
        mp__member_bury(member);
    while (waitpid(seat->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* Up to three at once. */
static void strike(bool buries)
{
    unsigned first = roll(SEATS), count = roll(4) ? 1 : 1 + roll(3);

    usleep(1u << roll(11));
    for (unsigned i = 0; i < count; i++)
        kill(shared->seats[(first + 3 * i) % SEATS].pid, SIGKILL);
    for (unsigned i = 0; i < count; i++) {
        struct seat *seat = &shared->seats[(first + 3 * i) % SEATS];
        await_death(seat, buries);
        tally.kills++;
        tally.held += seat->may_hold;
        tally.owed += seat->may_owe;
        seat_somebody(seat);
    }
}

/* --- the gate --------------------------------------------------------------------- */

static unsigned at_gate(unsigned from, unsigned to)
{
    unsigned count = 0;

    for (unsigned i = from; i < to; i++)
        count += shared->seats[i].gate == shared->gate;
    return count;
}

static void await_seats(unsigned from, unsigned to, unsigned count, const char *what)
{
    int64_t end = now_ms() + scaled(STUCK_MS);

    while (at_gate(from, to) < count && !shared->wrong) {
        if (now_ms() > end)
            wrong(what, (int)at_gate(from, to));
        usleep(50);
    }
}

/* One after the other, for who gets several at a time would take two. */
static void send_consumers_to_gate(void)
{
    unsigned char message[64];

    ledger_fill(message, sizeof message, 0, 0, 0);
    for (unsigned i = 0; i < CONSUMERS && !shared->wrong; i++) {
        int err = mp_queue_put(queue, message, sizeof message, scaled(STUCK_MS));
        if (err)
            wrong("put for the gate", err);
        await_seats(PRODUCERS, SEATS, i + 1, "a consumer is stuck");
    }
}

static void judge_lost(uint64_t lost, unsigned long missing)
{
    bool joinable = scene->options.joinable;

    if (!joinable && lost > missing)
        wrong("more were lost than are missing", (int)(lost - missing));
    if (joinable && (lost < missing || lost > tally.owed))
        wrong("lost is not what was taken and not done", (int)(lost - missing));
    if (!joinable)
        return;
    int err = mp_joinable_queue_join(queue, scaled(STUCK_MS));
    if (err != (lost ? EOWNERDEAD : 0))
        wrong("join", err);
}

static void look(void)
{
    unsigned long missing = 0, got = 0;
    uint64_t lost = mp_queue_lost(queue);

    if (mp_queue_qsize(queue) != 0 ||
        mp_queue_get(queue, NULL, 0, NULL, MP_NOWAIT) != ETIMEDOUT)
        wrong("the queue is not empty", (int)mp_queue_qsize(queue));
    wrong(ledger_judge(&missing, &got), 0);
    if (missing > tally.held)
        wrong("more are missing than the dead have held", (int)(missing - tally.held));
    judge_lost(lost - tally.lost, missing);
    tally.lost = lost;
    tally.all_kills += tally.kills;
    tally.all_missing += missing;
    tally.all_got += got;
    tally.kills = tally.held = tally.owed = 0;
}

static void cycle(bool buries)
{
    shared->slice_factor = buries ? SLEEPS_ON : 1;
    atomic_fetch_add(&shared->gate, 1);
    for (unsigned i = 0; i < STRIKES && !shared->wrong; i++)
        strike(buries);
    atomic_fetch_add(&shared->gate, 1);
    await_seats(0, PRODUCERS, PRODUCERS, "a producer is stuck");
    send_consumers_to_gate();
    if (!shared->wrong)
        look();
}

/* --- a scene ---------------------------------------------------------------------- */

static void end_workers(void)
{
    for (unsigned i = 0; i < SEATS; i++) {
        kill(shared->seats[i].pid, SIGKILL);
        while (waitpid(shared->seats[i].pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    mp__member_watch();
}

static void begin_scene(const struct scene *chosen)
{
    mp_queue_options options = chosen->options;

    scene = chosen;
    options.struct_size = sizeof options;
    dice = seed;
    memset(&tally, 0, sizeof tally);
    ledger_begin();
    shared = shared_page(sizeof *shared);
    shared->gate = 1;
    shared->slice_factor = 1;
    assert_int_equal(mp_queue_new(&queue, &options), 0);
    for (unsigned i = 0; i < SEATS; i++)
        seat_somebody(&shared->seats[i]);
}

static void end_scene(void)
{
    const char *what = shared->wrong;

    fprintf(stderr,
            "%-10s %6lu kills, %8lu messages, %4lu went with the dead, %llu lost\n",
            scene->name, tally.all_kills, tally.all_got, tally.all_missing,
            (unsigned long long)tally.lost);
    if (what)
        fprintf(stderr, "%s (%d); seed %llu\n", what, shared->error,
                (unsigned long long)seed);
    end_workers();
    mp_queue_free(queue);
    shared_page_free(shared, sizeof *shared);
    ledger_end();
    assert_null(what);
}

static void run(const struct scene *chosen)
{
    /* The memory that somebody was fetching, or giving back, when it was killed. */
    leak_ignore_arena();
    begin_scene(chosen);
    int64_t end = now_ms() + time_limit_ms;
    bool buries = true;

    do {
        cycle(buries);
        buries = !buries;
    } while (!shared->wrong && tally.all_kills < kills_wanted &&
             (!time_limit_ms || now_ms() < end));
    end_scene();
}

#define SCENE_TEST(place, name)                                                        \
    static void test_##name(void **state)                                              \
    {                                                                                  \
        (void)state;                                                                   \
        run(&scenes[place]);                                                           \
    }

SCENE_TEST(0, any)
SCENE_TEST(1, fixed)
SCENE_TEST(2, one)
SCENE_TEST(3, priorities)
SCENE_TEST(4, pollable)
SCENE_TEST(5, joinable)

int main(int argc, char **argv)
{
    static const struct CMUnitTest queue_ledger[] = {
        TEST(test_any),        TEST(test_fixed),    TEST(test_one),
        TEST(test_priorities), TEST(test_pollable), TEST(test_joinable),
    };
    static char pattern[32];
    bool is_nightly = env_number("MP_TEST_NIGHTLY", 0);

    if (argc > 1 && strcmp(argv[1], "all") != 0) {
        snprintf(pattern, sizeof pattern, "test_%s", argv[1]);
        cmocka_set_test_filter(pattern);
    }
    kills_wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : is_nightly ? 100000 : 2000;
    time_limit_ms = argc > 2 || is_nightly ? 0 : 5000;
    seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 20240229;
    return TEST_MAIN(queue_ledger);
}
