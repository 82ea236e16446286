/* SPDX-License-Identifier: MIT */
/*
 * test_pool_ledger.c - pools under fire, with a ledger of what really happened.
 *
 * Workers are killed at random moments while tasks and maps run whose options are mixed
 * at random; and storms of time limits and cancels go over 64 workers.
 * `test_pool_ledger [kills [seed]]`.
 */
#include "support/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#include "pool/pool.h"
#include "pool_ledger.h"

#define ITEMS     512
#define STORM     10000
#define CROWD     64
#define PREY      64
#define SETTLE_MS 20000

static struct ledger *ledger;
static _Atomic pid_t *prey; /* workers that were seen at work */
static unsigned long kills_wanted;
static uint64_t seed;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)(next_random(&seed) >> 20) % bound;
}

/* --- tasks ------------------------------------------------------------------------ */

/* What a task does besides writing down that it does it. */
enum manner { QUICK, SLOW, FAILS, SLEEPS };

struct order {
    struct ledger_ref ref;
    enum manner manner;
    int spins;
};

static int carry_out(const void *arg, void *result, void *context)
{
    const struct order *order = arg;
    pid_t me = getpid();

    (void)context;
    uint32_t run = ledger_begin(ledger, order->ref);
    atomic_store_explicit(&prey[me % PREY], me, memory_order_relaxed);
    for (volatile int i = 0; i < order->spins; i++)
        continue;
    if (order->manner == SLOW)
        for (int64_t end = now_ms() + 8; now_ms() < end && !mp_task_should_stop();)
            sched_yield();
    if (order->manner == SLEEPS)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    uint64_t value = ledger_end(ledger, order->ref, run);
    memcpy(result, &value, sizeof value);
    return order->manner == FAILS ? LEDGER_ERROR : 0;
}

/* --- the killer ------------------------------------------------------------------- */

struct killer {
    pthread_t thread;
    _Atomic bool stop;
    _Atomic pid_t parent; /* of the workers: 0 while there is no pool */
    _Atomic unsigned long kills;
    unsigned long misses;
    uint64_t seed;
};

static pid_t parent_of(pid_t pid)
{
    char path[64], text[256];
    int parent = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = 0;
    char *end = strrchr(text, ')');
    return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* Through a descriptor, so that nobody is hit who got the pid of a dead worker. */
static bool shoot(struct killer *killer, pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return false;
    bool hit = false;
    if (parent_of(pid) == atomic_load(&killer->parent)) {
        ledger_kills(ledger, pid);
        hit = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
    }
    close(fd);
    return hit;
}

static void *kill_at_random(void *arg)
{
    struct killer *killer = arg;

    while (!atomic_load(&killer->stop)) {
        long ns = (long)(next_random(&killer->seed) % 400000) >>
                  next_random(&killer->seed) % 12;
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
        size_t slot = next_random(&killer->seed) % PREY;
        pid_t pid = 0;
        for (size_t i = 0; i < PREY && !pid; i++)
            if (atomic_load(&prey[(slot + i) % PREY]))
                pid = atomic_exchange(&prey[(slot + i) % PREY], 0);
        if (pid && shoot(killer, pid))
            atomic_fetch_add(&killer->kills, 1);
        else
            killer->misses++;
    }
    return NULL;
}

/* --- one thing after the other, mixed at random ----------------------------------- */

struct scene {
    mp_pool *pool;
    unsigned workers; /* at most */
    unsigned may;     /* whatever an item's own options are */
    unsigned long items;
    unsigned long failed;
    struct killer killer;
};

static struct order order_for(struct scene *scene, size_t item, int retries,
                              unsigned may, enum manner manner)
{
    scene->items++;
    return (struct order){.ref = ledger_enter(ledger, item, retries, may | scene->may),
                          .manner = manner,
                          .spins = (int)below(4) ? 0 : (int)below(20000)};
}

static void settle(struct scene *scene, struct ledger_ref ref, int error,
                   uint64_t value, const mp_task_failure *failure)
{
    scene->failed += error != 0;
    ledger_settle(ledger, ref, error, value, failure);
}

static void wait_for(mp_async_result *result, const char *what)
{
    int err = mp_async_result_wait(result, scaled(SETTLE_MS));

    if (err)
        fprintf(stderr, "%s: %s\n", what, strerror(err));
    assert_int_equal(err, 0);
}

struct single {
    struct order order;
    mp_async_result *result;
};

static void submit_single(struct scene *scene, struct single *single, size_t item)
{
    int retries = (int)below(4), limit = below(4) ? 0 : 4;
    enum manner manner = below(24) ? QUICK : below(2) ? SLOW : FAILS;
    unsigned may = (limit ? LEDGER_LATE : 0) | (manner == FAILS ? LEDGER_FAILS : 0) |
                   LEDGER_CANCELS;

    single->order = order_for(scene, item, retries, may, manner);
    assert_int_equal(
        mp_pool_apply_async(scene->pool, carry_out, &single->order,
                            sizeof single->order, sizeof(uint64_t),
                            MP_TASK_OPTIONS(.retries = retries, .time_limit_ms = limit),
                            &single->result),
        0);
}

static void settle_single(struct scene *scene, struct single *single)
{
    mp_task_failure failure;
    uint64_t value = 0;

    wait_for(single->result, "a task");
    int err =
        mp_async_result_get(single->result, &value, sizeof value, scaled(SETTLE_MS));
    assert_int_equal(mp_async_result_failure(single->result, &failure), 0);
    settle(scene, single->order.ref, err, value, &failure);
    mp_async_result_free(single->result);
}

static void apply_some(struct scene *scene)
{
    struct single singles[64];
    unsigned count = 1 + below(64), cancels = below(3) ? 0 : below(8);

    for (unsigned i = 0; i < count; i++)
        submit_single(scene, &singles[i], i);
    for (unsigned i = 0; i < cancels; i++) {
        int err = mp_async_result_cancel(singles[below(count)].result);
        assert_true(err == 0 || err == EALREADY);
    }
    for (unsigned i = 0; i < count; i++)
        settle_single(scene, &singles[i]);
}

static void apply_one(struct scene *scene)
{
    struct order order = order_for(scene, 0, 1, 0, QUICK);
    mp_task_failure failure = {0};
    uint64_t value = 0;

    int err =
        mp_pool_apply(scene->pool, carry_out, &order, sizeof order, &value,
                      sizeof value, MP_TASK_OPTIONS(.retries = 1, .failure = &failure));
    settle(scene, order.ref, err, value, &failure);
}

/* Items so large that a map of them takes several windows. */
struct bulky {
    struct order order;
    char ballast[4000];
};

struct map {
    unsigned count;
    size_t stride; /* between items */
    bool shared;
    char *items;
    uint64_t *results;
    int errors[ITEMS];
    mp_map_options options;
    unsigned cancel; /* after so many yields; 0: not */
    mp_task_failure failure;
};

static void *get_memory(const struct map *map, size_t size)
{
    void *memory = map->shared ? mp_shared_alloc(size) : calloc(1, size);

    assert_non_null(memory);
    return memory;
}

static void free_memory(const struct map *map, void *memory)
{
    if (map->shared)
        mp_shared_free(memory);
    else
        free(memory);
}

static struct order *order_at(const struct map *map, unsigned i)
{
    return (struct order *)(void *)(map->items + i * map->stride);
}

static void plan_map(struct scene *scene, struct map *map)
{
    static const size_t chunks[] = {0, 0, 1, 3, 40};
    unsigned may;

    memset(map, 0, sizeof *map);
    map->count = 1 + below(below(8) ? 60 : ITEMS);
    map->stride = below(4) ? sizeof(struct order) : sizeof(struct bulky);
    map->shared = below(2);
    map->items = get_memory(map, map->count * map->stride);
    map->results = get_memory(map, map->count * sizeof *map->results);
    map->cancel = below(6) ? 0 : 1 + below(200);
    map->options = (mp_map_options){.struct_size = sizeof map->options,
                                    .chunk_size = chunks[below(5)],
                                    .errors = map->errors,
                                    .time_limit_ms = below(4) ? 0 : 4,
                                    .retries = (int)below(3),
                                    .stop_at_failure = !below(10)};
    may = (map->cancel || map->options.stop_at_failure ? LEDGER_CANCELS : 0) |
          (map->options.time_limit_ms ? LEDGER_LATE : 0);
    for (unsigned i = 0; i < map->count; i++) {
        enum manner manner = below(60) ? QUICK : below(2) ? SLOW : FAILS;
        *order_at(map, i) =
            order_for(scene, i, map->options.retries,
                      may | (manner == FAILS ? LEDGER_FAILS : 0), manner);
        map->errors[i] = -1;
    }
}

/* What is told of the whole map is what is told of its items.  Those that were not run
   because another had failed are not its failure. */
static void check_map(const struct map *map, int err)
{
    uint64_t lowest = map->count;

    for (unsigned i = map->count; i-- > 0;)
        if (map->errors[i] &&
            !(map->errors[i] == ECANCELED && map->options.stop_at_failure))
            lowest = i;
    assert_int_equal(map->failure.error, err);
    if (err) {
        assert_true(map->failure.index <= lowest);
        assert_int_equal(map->errors[map->failure.index], err);
    } else {
        assert_int_equal(lowest, map->count);
    }
}

static void settle_map(struct scene *scene, struct map *map, int err)
{
    for (unsigned i = 0; i < map->count; i++) {
        bool told = map->errors[i] && map->failure.index == i;
        settle(scene, order_at(map, i)->ref, map->errors[i], map->results[i],
               told ? &map->failure : NULL);
    }
    check_map(map, err);
    free_memory(map, map->items);
    free_memory(map, map->results);
}

static void map_async(struct scene *scene)
{
    static struct map map;
    mp_async_result *result;

    plan_map(scene, &map);
    assert_int_equal(mp_pool_map_async(scene->pool, carry_out, map.items, map.count,
                                       map.stride, map.results, sizeof *map.results,
                                       &map.options, &result),
                     0);
    if (map.cancel) {
        for (unsigned i = 1; i < map.cancel; i++)
            sched_yield();
        int err = mp_async_result_cancel(result);
        assert_true(err == 0 || err == EALREADY);
    }
    wait_for(result, "a map");
    assert_int_equal(mp_async_result_failure(result, &map.failure), 0);
    settle_map(scene, &map, mp_async_result_get(result, NULL, 0, MP_NOWAIT));
    mp_async_result_free(result);
}

static void map_and_wait(struct scene *scene)
{
    static struct map map;

    plan_map(scene, &map);
    map.options.failure = &map.failure;
    settle_map(scene, &map,
               mp_pool_map(scene->pool, carry_out, map.items, map.count, map.stride,
                           map.results, sizeof *map.results, &map.options));
}

/* --- pools of all kinds ----------------------------------------------------------- */

static void open_pool(struct scene *scene, unsigned workers)
{
    static const uint64_t most[] = {0, 0, 1, 5, 60};
    unsigned max = workers + below(3);

    scene->workers = max;
    assert_int_equal(
        mp_pool_new(&scene->pool,
                    MP_POOL_OPTIONS(.processes = workers, .max_processes = max,
                                    .max_tasks_per_child = most[below(5)],
                                    .idle_timeout_ms = below(4) ? 0 : 1, .grace_ms = 5,
                                    .lazy = !below(4), .max_deaths = UINT32_MAX,
                                    .seed = seed)),
        0);
    atomic_store(&scene->killer.parent, scene->pool->supervisor_pid);
}

static bool nobody_left(void *arg)
{
    (void)arg;
    return reap_all(0);
}

/* In one of three ways; the last leaves it something to do. */
static void close_pool(struct scene *scene)
{
    struct single singles[16];
    unsigned way = below(3);

    scene->may |= way ? 0 : LEDGER_CANCELS;
    for (unsigned i = 0; i < 16; i++)
        submit_single(scene, &singles[i], i);
    if (way) {
        assert_int_equal(mp_pool_close(scene->pool), 0);
        int err = mp_pool_join(scene->pool, way == 1 ? scaled(SETTLE_MS) : MP_NOWAIT);
        assert_true(err == 0 || (way == 2 && err == ETIMEDOUT));
    } else {
        assert_int_equal(mp_pool_terminate(scene->pool), 0);
    }
    for (unsigned i = 0; i < 16; i++)
        settle_single(scene, &singles[i]);
    atomic_store(&scene->killer.parent, 0);
    mp_pool_free(scene->pool);
    assert_true(eventually(nobody_left, NULL, 500));
    scene->may &= ~(unsigned)LEDGER_CANCELS;
}

static void do_something(struct scene *scene)
{
    switch (below(8)) {
    case 0:
    case 1:
    case 2:
        apply_some(scene);
        break;
    case 3:
        apply_one(scene);
        break;
    case 4:
    case 5:
        map_async(scene);
        break;
    case 6:
        map_and_wait(scene);
        break;
    default:
        assert_int_equal(mp_pool_resize(scene->pool, 1 + below(scene->workers)), 0);
    }
}

static void start_killer(struct scene *scene)
{
    scene->killer.seed = next_random(&seed);
    assert_int_equal(
        pthread_create(&scene->killer.thread, NULL, kill_at_random, &scene->killer), 0);
}

static void stop_killer(struct scene *scene)
{
    atomic_store(&scene->killer.stop, true);
    pthread_join(scene->killer.thread, NULL);
}

static void tell(const struct scene *scene, const char *name, int64_t began)
{
    fprintf(stderr, "%-24s %7lu kills (%lu misses), %8lu items, %7lu failed, %5.1f s\n",
            name, scene->killer.kills, scene->killer.misses, scene->items,
            scene->failed, (double)(now_ms() - began) / 1000);
}

static void test_all_mixed(void **state)
{
    (void)state;
    static struct scene scene = {.may = LEDGER_DIES};
    int64_t began = now_ms();

    leak_ignore_maps();
    leak_ignore_arena();
    start_killer(&scene);
    while (scene.killer.kills < kills_wanted) {
        open_pool(&scene, 2 + below(3));
        for (unsigned i = 0; i < 400 && scene.killer.kills < kills_wanted; i++)
            do_something(&scene);
        close_pool(&scene);
    }
    stop_killer(&scene);
    tell(&scene, "all mixed", began);
    assert_int_equal(ledger_faults(ledger), 0);
}

/* The same with many workers, of whom most are asleep or wait for a processor. */
static void test_crowd(void **state)
{
    (void)state;
    static struct scene scene = {.may = LEDGER_DIES};
    int64_t began = now_ms();

    leak_ignore_maps();
    leak_ignore_arena();
    start_killer(&scene);
    while (scene.killer.kills < kills_wanted / 20) {
        open_pool(&scene, CROWD);
        for (unsigned i = 0; i < 100 && scene.killer.kills < kills_wanted / 20; i++)
            do_something(&scene);
        close_pool(&scene);
    }
    stop_killer(&scene);
    tell(&scene, "64 workers", began);
    assert_int_equal(ledger_faults(ledger), 0);
}

/* --- storms ----------------------------------------------------------------------- */

/* Tasks of a millisecond, of which one in `cancels` is cancelled. */
static void blow(struct scene *scene, const char *name, int limit, unsigned cancels)
{
    static struct single storm[STORM];
    int64_t began = now_ms();

    leak_ignore_arena();
    assert_int_equal(
        mp_pool_new(&scene->pool, MP_POOL_OPTIONS(.processes = CROWD, .grace_ms = 5,
                                                  .time_limit_ms = limit)),
        0);
    for (unsigned i = 0; i < STORM; i++) {
        storm[i].order = order_for(scene, i, 0, 0, below(2) ? SLEEPS : QUICK);
        assert_int_equal(mp_pool_apply_async(scene->pool, carry_out, &storm[i].order,
                                             sizeof storm[i].order, sizeof(uint64_t),
                                             NULL, &storm[i].result),
                         0);
        /* Some of those before it, which may be queued, running or done. */
        if (cancels && !below(cancels)) {
            unsigned which = i - (i < 200 ? 0 : below(200));
            int err = mp_async_result_cancel(storm[which].result);
            assert_true(err == 0 || err == EALREADY);
        }
    }
    for (unsigned i = 0; i < STORM; i++)
        settle_single(scene, &storm[i]);
    mp_pool_free(scene->pool);
    tell(scene, name, began);
    assert_int_equal(ledger_faults(ledger), 0);
}

static void test_limit_storm(void **state)
{
    (void)state;
    blow(&(struct scene){.may = LEDGER_LATE}, "storm of time limits", 1, 0);
}

static void test_cancel_storm(void **state)
{
    (void)state;
    blow(&(struct scene){.may = LEDGER_CANCELS}, "storm of cancels", 0, 3);
}

static void test_both_storms(void **state)
{
    (void)state;
    blow(&(struct scene){.may = LEDGER_CANCELS | LEDGER_LATE}, "both storms", 1, 3);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest pool_ledger[] = {
        TEST(test_all_mixed),    TEST(test_crowd),       TEST(test_limit_storm),
        TEST(test_cancel_storm), TEST(test_both_storms),
    };

    kills_wanted = argc > 1                           ? strtoul(argv[1], NULL, 10)
                   : env_number("MP_TEST_NIGHTLY", 0) ? 1000000
                                                      : 20000;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20260229;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    ledger = ledger_new(STORM);
    prey = shared_page(PREY * sizeof *prey);
    return TEST_MAIN(pool_ledger);
}
