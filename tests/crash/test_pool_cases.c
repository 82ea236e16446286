/* SPDX-License-Identifier: MIT */
/*
 * test_pool_cases.c - every way to crash a worker, at every place where it may happen.
 *
 * Which way, at the first, the middle or the last item; in apply, apply_async, map,
 * imap and imap_unordered; in an open pool, while it is being closed, when it is
 * closed, and while it is terminated.  The item that crashed is told of, the others are
 * not concerned.
 */
#include "support/pool_tasks.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#include "pool_ledger.h"

#define ITEMS   7
#define SOON    scaled(5000)
#define GONE_MS 500

static struct ledger *ledger;

static struct gate {
    _Atomic int open;     /* items need not wait any more */
    _Atomic int waiting;  /* those that do */
    _Atomic pid_t target; /* a worker that wants to be killed */
} * gate;

/* --- the ways --------------------------------------------------------------------- */

static int raise_number(int number)
{
    raise(number);
    for (;;)
        pause();
    return 0;
}

static int kill_self(int number)
{
    return raise_number(number);
}

static int write_to_null(int unused)
{
    static char *volatile nowhere;

    (void)unused;
    *nowhere = 1;
    return 0;
}

static int trap(int unused)
{
    (void)unused;
    __builtin_trap();
}

static int abort_it(int unused)
{
    (void)unused;
    abort();
}

static int overflow_stack(int depth)
{
    volatile char frame[4096];

    frame[0] = (char)depth;
    return depth == INT_MAX ? 0 : overflow_stack(depth + 1) + frame[0];
}

static int exit_with(int code)
{
    exit(code);
}

static int leave_with(int code)
{
    _exit(code);
}

static int exit_thread(int unused)
{
    (void)unused;
    pthread_exit(NULL);
}

static int become_another(int unused)
{
    (void)unused;
    execl("/bin/sh", "sh", "-c", "exit 5", (char *)NULL);
    return ENOEXEC;
}

/* Another worker's task kills this one; which may be stopped by then. */
static int be_target(int stop)
{
    atomic_store(&gate->target, getpid());
    for (;;)
        if (stop)
            raise(SIGSTOP);
        else
            atomic_signal_fence(memory_order_seq_cst);
    return 0;
}

static int kill_it(void *pid)
{
    return kill(*(const pid_t *)pid, SIGKILL);
}

/* Whose pid is asked here: its parent may be another by the time the child runs. */
static int be_killed_by_child(int unused)
{
    pid_t me = getpid();

    (void)unused;
    child_start(kill_it, &me);
    for (;;)
        pause();
    return 0;
}

static int close_all_and_crash(int number)
{
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    return raise_number(number);
}

static int return_it(int error)
{
    return error;
}

static int return_garbage(int error)
{
    char text[5000];

    memset(text, 0xff, sizeof text);
    text[sizeof text - 1] = 0;
    return mp_task_fail(error, "%s", text);
}

static const struct way {
    const char *name;
    int (*crash)(int detail);
    int detail;
    mp_failure_kind kind;
    int code; /* that the worker ended with, or the task returned */
    bool assassin;
} ways[] = {
    {"killed", kill_self, SIGKILL, MP_FAILURE_DIED, -SIGKILL, false},
    {"terminated", kill_self, SIGTERM, MP_FAILURE_DIED, -SIGTERM, false},
    {"SIGFPE", kill_self, SIGFPE, MP_FAILURE_DIED, -SIGFPE, false},
    {"SIGBUS", kill_self, SIGBUS, MP_FAILURE_DIED, -SIGBUS, false},
    {"SIGXCPU", kill_self, SIGXCPU, MP_FAILURE_DIED, -SIGXCPU, false},
    {"null pointer", write_to_null, 0, MP_FAILURE_DIED, -SIGSEGV, false},
    {"trap", trap, 0, MP_FAILURE_DIED, 0, false},
    {"abort", abort_it, 0, MP_FAILURE_DIED, -SIGABRT, false},
    {"stack overflow", overflow_stack, 0, MP_FAILURE_DIED, -SIGSEGV, false},
    {"exit(0)", exit_with, 0, MP_FAILURE_EXITED, 0, false},
    {"exit(3)", exit_with, 3, MP_FAILURE_EXITED, 3, false},
    {"_exit(0)", leave_with, 0, MP_FAILURE_EXITED, 0, false},
    {"_exit(255)", leave_with, 255, MP_FAILURE_EXITED, 255, false},
    {"pthread_exit", exit_thread, 0, MP_FAILURE_EXITED, 0, false},
    {"exec", become_another, 0, MP_FAILURE_EXITED, 5, false},
    {"killed by a sibling", be_target, 0, MP_FAILURE_DIED, -SIGKILL, true},
    {"killed while stopped", be_target, 1, MP_FAILURE_DIED, -SIGKILL, true},
    {"killed by its child", be_killed_by_child, 0, MP_FAILURE_DIED, -SIGKILL, false},
    {"descriptors closed", close_all_and_crash, SIGSEGV, MP_FAILURE_DIED, -SIGSEGV,
     false},
    {"an error", return_it, LEDGER_ERROR, MP_FAILURE_RETURNED, LEDGER_ERROR, false},
    {"a negative error", return_it, INT_MIN, MP_FAILURE_RETURNED, INT_MIN, false},
    {"looks like a death", return_it, EOWNERDEAD, MP_FAILURE_RETURNED, EOWNERDEAD,
     false},
    {"garbage", return_garbage, LEDGER_ERROR, MP_FAILURE_RETURNED, LEDGER_ERROR, false},
};

#define WAYS (sizeof ways / sizeof *ways)

/* --- tasks ------------------------------------------------------------------------ */

struct deed {
    struct ledger_ref ref;
    const struct way *way; /* NULL: it works */
};

static int act(const void *arg, void *result, void *context)
{
    const struct deed *deed = arg;

    (void)context;
    guard_child();
    uint32_t run = ledger_begin(ledger, deed->ref);
    atomic_fetch_add(&gate->waiting, 1);
    while (!atomic_load(&gate->open))
        sleep_us(50);
    if (deed->way) {
        ledger_kills(ledger, getpid());
        int err = deed->way->crash(deed->way->detail);
        ledger_end(ledger, deed->ref, run);
        return err;
    }
    uint64_t value = ledger_end(ledger, deed->ref, run);
    memcpy(result, &value, sizeof value);
    return 0;
}

/* Waits for somebody who wants to be killed. */
static int assassinate(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    guard_child();
    while (!atomic_load(&gate->target))
        sleep_us(50);
    if (kill(atomic_load(&gate->target), SIGKILL))
        return errno;
    return 0;
}

/* --- a case ----------------------------------------------------------------------- */

enum when { OPEN, CLOSING, CLOSED, TERMINATED, WHENS };
static const char *const when_names[] = {"open", "closing", "closed", "terminated"};

struct crash_case {
    const struct way *way;
    unsigned position;
    enum when when;
    mp_pool *pool;
    mp_async_result *assassin;
    struct deed deeds[ITEMS];
    int errors[ITEMS];
    uint64_t values[ITEMS];
    mp_task_failure failures[ITEMS]; /* of those that are known: `error` is not 0 */
};

static unsigned permission(const struct crash_case *c, unsigned i)
{
    unsigned cancelled = c->when == TERMINATED ? LEDGER_CANCELS : 0;

    return i == c->position ? cancelled | LEDGER_DIES | LEDGER_FAILS : cancelled;
}

static void begin(struct crash_case *c)
{
    memset(gate, 0, sizeof *gate);
    gate->open = c->when == OPEN || c->when == CLOSING;
    for (unsigned i = 0; i < ITEMS; i++) {
        c->deeds[i] = (struct deed){.ref = ledger_enter(ledger, i, 0, permission(c, i)),
                                    .way = i == c->position ? c->way : NULL};
        c->errors[i] = -1;
    }
    assert_int_equal(
        mp_pool_new(&c->pool, MP_POOL_OPTIONS(.processes = 2, .grace_ms = 20)), 0);
    if (c->way->assassin)
        assert_int_equal(
            mp_pool_apply_async(c->pool, assassinate, NULL, 0, 0, NULL, &c->assassin),
            0);
}

/* What happens to the pool once all items are submitted. */
static void let_it_happen(struct crash_case *c)
{
    if (c->when == CLOSING || c->when == CLOSED)
        assert_int_equal(mp_pool_close(c->pool), 0);
    if (c->when == TERMINATED)
        while (!atomic_load(&gate->waiting))
            sleep_us(50);
    atomic_store(&gate->open, 1);
    if (c->when == TERMINATED)
        assert_int_equal(mp_pool_terminate(c->pool), 0);
}

static int expected_error(const struct way *way)
{
    return way->kind == MP_FAILURE_RETURNED ? way->code : EOWNERDEAD;
}

static void check_crashed(const struct crash_case *c, const mp_task_failure *failure)
{
    assert_int_equal(failure->error, expected_error(c->way));
    assert_int_equal(failure->kind, c->way->kind);
    assert_int_equal(failure->attempts, 1);
    assert_true(failure->pid > 0);
    if (c->way->kind != MP_FAILURE_RETURNED && c->way->code)
        assert_int_equal(failure->exitcode, c->way->code);
    if (c->way->kind == MP_FAILURE_DIED)
        assert_true(failure->exitcode < 0);
    assert_true(memchr(failure->text, 0, sizeof failure->text) != NULL);
}

static bool is_odd_error(int error)
{
    return error == INT_MIN;
}

static void check(struct crash_case *c)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        const mp_task_failure *failure = c->failures[i].error ? &c->failures[i] : NULL;
        bool own = c->way->kind == MP_FAILURE_RETURNED && c->errors[i] == c->way->code;
        /* An error of the task's own may be any number. */
        if (i == c->position && own &&
            (c->way->code == EOWNERDEAD || is_odd_error(c->way->code)))
            ledger_settle(ledger, c->deeds[i].ref, LEDGER_ERROR, 0, NULL);
        else
            ledger_settle(ledger, c->deeds[i].ref, c->errors[i], c->values[i], failure);
        if (c->when == TERMINATED)
            continue;
        if (i != c->position) {
            assert_int_equal(c->errors[i], 0);
            continue;
        }
        assert_int_equal(c->errors[i], expected_error(c->way));
        assert_non_null(failure);
        check_crashed(c, failure);
    }
}

static bool nobody_left(void *arg)
{
    (void)arg;
    return reap_all(0);
}

static void end(struct crash_case *c)
{
    int seven = 7, result = 0;

    if (c->when == OPEN) {
        assert_int_equal(mp_pool_apply(c->pool, square, &seven, sizeof seven, &result,
                                       sizeof result, NULL),
                         0);
        assert_int_equal(result, 49);
        assert_int_equal(mp_pool_close(c->pool), 0);
    }
    assert_int_equal(mp_pool_join(c->pool, SOON), 0);
    mp_async_result_free(c->assassin);
    mp_pool_free(c->pool);
    assert_true(eventually(nobody_left, NULL, GONE_MS));
    assert_int_equal(ledger_faults(ledger), 0);
}

/* --- the calls -------------------------------------------------------------------- */

static void through_apply(struct crash_case *c)
{
    for (unsigned i = 0; i < ITEMS; i++)
        c->errors[i] = mp_pool_apply(c->pool, act, &c->deeds[i], sizeof *c->deeds,
                                     &c->values[i], sizeof *c->values,
                                     MP_TASK_OPTIONS(.failure = &c->failures[i]));
}

static void through_apply_async(struct crash_case *c)
{
    mp_async_result *results[ITEMS];

    for (unsigned i = 0; i < ITEMS; i++)
        assert_int_equal(mp_pool_apply_async(c->pool, act, &c->deeds[i],
                                             sizeof *c->deeds, sizeof *c->values, NULL,
                                             &results[i]),
                         0);
    let_it_happen(c);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(mp_async_result_wait(results[i], SOON), 0);
        c->errors[i] = mp_async_result_get(results[i], &c->values[i], sizeof *c->values,
                                           MP_NOWAIT);
        assert_int_equal(mp_async_result_failure(results[i], &c->failures[i]), 0);
        mp_async_result_free(results[i]);
    }
}

static void through_map(struct crash_case *c)
{
    mp_task_failure failure = {0};

    int err = mp_pool_map(c->pool, act, c->deeds, ITEMS, sizeof *c->deeds, c->values,
                          sizeof *c->values,
                          MP_MAP_OPTIONS(.errors = c->errors, .failure = &failure));
    assert_int_equal(err, expected_error(c->way));
    assert_int_equal(failure.index, c->position);
    c->failures[c->position] = failure;
}

static void through_map_async(struct crash_case *c)
{
    mp_async_result *result;
    mp_task_failure failure;

    assert_int_equal(mp_pool_map_async(c->pool, act, c->deeds, ITEMS, sizeof *c->deeds,
                                       c->values, sizeof *c->values,
                                       MP_MAP_OPTIONS(.errors = c->errors), &result),
                     0);
    let_it_happen(c);
    assert_int_equal(mp_async_result_wait(result, SOON), 0);
    assert_int_equal(mp_async_result_failure(result, &failure), 0);
    assert_int_equal(mp_async_result_get(result, NULL, 0, MP_NOWAIT), failure.error);
    if (failure.error)
        c->failures[failure.index] = failure;
    if (c->when != TERMINATED)
        assert_int_equal(failure.index, c->position);
    mp_async_result_free(result);
}

static void take_all(struct crash_case *c, mp_imap *imap)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        mp_task_failure failure = {0};
        uint64_t value = 0;
        int err = mp_imap_next(imap, &value, &failure, SOON);

        assert_true(err != EPIPE && err != ETIMEDOUT && failure.index < ITEMS);
        c->errors[failure.index] = err;
        c->values[failure.index] = value;
        c->failures[failure.index] = failure;
    }
    assert_int_equal(mp_imap_next(imap, NULL, NULL, SOON), EPIPE);
    mp_imap_free(imap);
}

static void through_imap(struct crash_case *c)
{
    mp_imap *imap;

    assert_int_equal(mp_pool_imap(c->pool, act, c->deeds, ITEMS, sizeof *c->deeds,
                                  sizeof *c->values, NULL, &imap),
                     0);
    let_it_happen(c);
    take_all(c, imap);
}

static void through_imap_unordered(struct crash_case *c)
{
    mp_imap *imap;

    assert_int_equal(mp_pool_imap_unordered(c->pool, act, c->deeds, ITEMS,
                                            sizeof *c->deeds, sizeof *c->values, NULL,
                                            &imap),
                     0);
    let_it_happen(c);
    take_all(c, imap);
}

static const struct call {
    const char *name;
    void (*run)(struct crash_case *c);
    bool waits; /* so nothing can be done meanwhile */
} calls[] = {
    {"apply", through_apply, true}, {"apply_async", through_apply_async, false},
    {"map", through_map, true},     {"map_async", through_map_async, false},
    {"imap", through_imap, false},  {"imap_unordered", through_imap_unordered, false},
};

#define CALLS (sizeof calls / sizeof *calls)

static char doing[128]; /* for who reads that an assertion failed */

static unsigned run_cases(const struct way *way, unsigned position,
                          const struct call *call)
{
    enum when after = call->waits ? CLOSING : WHENS, when;

    for (when = OPEN; when < after; when++) {
        struct crash_case c = {.way = way, .position = position, .when = when};

        snprintf(doing, sizeof doing, "%s, item %u, %s, %s", way->name, position,
                 call->name, when_names[when]);
        begin(&c);
        call->run(&c);
        check(&c);
        end(&c);
    }
    return after;
}

static void test_matrix(void **state)
{
    (void)state;
    unsigned cases = 0;

    leak_ignore_arena();
    for (size_t way = 0; way < WAYS; way++)
        for (unsigned position = 0; position < ITEMS; position += ITEMS / 2)
            for (size_t call = 0; call < CALLS; call++)
                cases += run_cases(&ways[way], position, &calls[call]);
    fprintf(stderr, "%u cases\n", cases);
    doing[0] = 0;
}

/* --- callbacks that submit more, of tasks that crash ------------------------------ */

#define CHAIN 60

struct chain {
    mp_pool *pool;
    struct deed deeds[CHAIN];
    mp_async_result *result;
    unsigned next;
};

static void submit_link(struct chain *chain);

static void on_link(mp_async_result *result, void *arg)
{
    struct chain *chain = arg;
    mp_task_failure failure;
    uint64_t value = 0;
    int err = mp_async_result_get(result, &value, sizeof value, MP_NOWAIT);

    assert_int_equal(mp_async_result_failure(result, &failure), 0);
    ledger_settle(ledger, chain->deeds[chain->next].ref, err, value, &failure);
    mp_async_result_free(result);
    if (++chain->next < CHAIN)
        submit_link(chain);
}

static void submit_link(struct chain *chain)
{
    unsigned i = chain->next;
    const struct way *way = i % 3 ? NULL : &ways[i / 3 % 15];

    chain->deeds[i] = (struct deed){
        .ref = ledger_enter(ledger, i, 0, way ? LEDGER_DIES : 0), .way = way};
    assert_int_equal(
        mp_pool_apply_async(chain->pool, act, &chain->deeds[i], sizeof *chain->deeds,
                            sizeof(uint64_t),
                            MP_TASK_OPTIONS(.callback = on_link, .callback_arg = chain),
                            &chain->result),
        0);
}

static void test_callbacks(void **state)
{
    (void)state;
    static struct chain chain;

    leak_ignore_arena();
    memset(gate, 0, sizeof *gate);
    gate->open = 1;
    assert_int_equal(mp_pool_new(&chain.pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    submit_link(&chain);
    while (chain.next < CHAIN)
        assert_int_equal(mp_pool_poll(chain.pool, SOON), 0);
    mp_pool_free(chain.pool);
    assert_int_equal(ledger_faults(ledger), 0);
}

/* --- worst of all ----------------------------------------------------------------- */

static int kill_supervisor(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    guard_child();
    if (*(const int *)arg == 2)
        kill(getppid(), SIGKILL);
    for (;;)
        pause();
    return 0;
}

static void test_supervisor_is_killed_by_a_task(void **state)
{
    (void)state;
    mp_pool *pool;
    mp_async_result *results[ITEMS];
    int err;

    leak_ignore_arena();
    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3)), 0);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(mp_pool_apply_async(pool, kill_supervisor, &i, sizeof i, 0,
                                             NULL, &results[i]),
                         0);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(mp_async_result_get(results[i], NULL, 0, SOON), EOWNERDEAD);
        mp_async_result_free(results[i]);
    }
    err = mp_pool_apply(pool, square, &err, sizeof err, &err, sizeof err, NULL);
    assert_int_equal(err, EPIPE);
    assert_true(eventually(nobody_left, NULL, GONE_MS));
    mp_pool_free(pool);
}

static void tell_what(void)
{
    if (doing[0])
        fprintf(stderr, "in the case: %s\n", doing);
}

int main(void)
{
    static const struct CMUnitTest pool_cases[] = {
        TEST(test_matrix),
        TEST(test_callbacks),
        TEST(test_supervisor_is_killed_by_a_task),
    };

    /* Crashes are on purpose: no core files. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    ledger = ledger_new(CHAIN);
    gate = shared_page(sizeof *gate);
    int failed = TEST_MAIN(pool_cases);
    tell_what();
    return failed;
}
