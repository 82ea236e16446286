/* SPDX-License-Identifier: MIT */
/* test_queue_traffic.c - a queue between many processes: nothing is lost, doubled,
 * torn. */
#include "support/parcel.h"

#include <pthread.h>
#include <stdatomic.h>

#include <mp/mp.h>

enum { PARTIES = 4, EACH = 2000, LARGEST = 70000 };

/* What the processes of a test share. */
struct stage {
    mp_queue *queue;
    size_t fixed_size; /* of all messages, or 0 */
    unsigned priorities;
    bool many; /* several in one call */
    _Atomic int next_party;
    _Atomic unsigned char seen[PARTIES][EACH];
};

struct label {
    uint32_t party, number;
};

static struct stage *open_stage(const mp_queue_options *options)
{
    struct stage *stage = mp_shared_alloc(sizeof *stage);

    assert_non_null(stage);
    stage->fixed_size = options ? options->message_size : 0;
    stage->priorities = options && options->priorities ? options->priorities : 1;
    assert_int_equal(mp_queue_new(&stage->queue, options), 0);
    return stage;
}

static void close_stage(struct stage *stage)
{
    mp_queue_free(stage->queue);
    mp_shared_free(stage);
}

static uint64_t seed_of(struct label label)
{
    return (uint64_t)label.party << 32 | label.number;
}

static size_t size_of(const struct stage *stage, struct label label)
{
    uint64_t state = parcel_start(seed_of(label));
    uint64_t number = next_random(&state);

    if (stage->fixed_size)
        return stage->fixed_size;
    return sizeof label + number % (number >> 32 & 15 ? 100 : LARGEST);
}

static unsigned priority_of(const struct stage *stage, uint32_t number)
{
    return number % stage->priorities;
}

static void write_message(unsigned char *to, size_t size, struct label label)
{
    memcpy(to, &label, sizeof label);
    parcel_fill(to + sizeof label, size - sizeof label, seed_of(label));
}

static int produce_one(const struct stage *stage, unsigned char *bytes,
                       struct label label)
{
    size_t size = size_of(stage, label);

    write_message(bytes, size, label);
    return mp_queue_put_priority(stage->queue, priority_of(stage, label.number), bytes,
                                 size, MP_FOREVER);
}

/* Three at a time, with the sizes that they have. */
static int produce_three(const struct stage *stage, unsigned char *bytes,
                         struct label label)
{
    struct iovec messages[3];
    size_t put, count = 0;

    for (; count < 3 && label.number + count < EACH; count++) {
        struct label each = {label.party, label.number + (uint32_t)count};
        messages[count] = (struct iovec){bytes, size_of(stage, each)};
        write_message(bytes, messages[count].iov_len, each);
        bytes += messages[count].iov_len;
    }
    return mp_queue_put_many(stage->queue, messages, count, &put, MP_FOREVER);
}

static int produce(void *arg)
{
    struct stage *stage = arg;
    struct label label = {(uint32_t)atomic_fetch_add(&stage->next_party, 1), 0};
    unsigned char *bytes = malloc(3 * LARGEST + 1000);
    int err = 0;

    for (; label.number < EACH && !err; label.number += stage->many ? 3 : 1)
        err = stage->many ? produce_three(stage, bytes, label)
                          : produce_one(stage, bytes, label);
    free(bytes);
    return err;
}

/* Is it whole, the first of its kind, and behind what its producer put before? */
static int check_message(struct stage *stage, const unsigned char *bytes, size_t size,
                         uint32_t (*next)[PARTIES])
{
    struct label label;

    if (size < sizeof label)
        return 101;
    memcpy(&label, bytes, sizeof label);
    if (label.party >= PARTIES || label.number >= EACH || size != size_of(stage, label))
        return 102;
    if (!parcel_is(bytes + sizeof label, size - sizeof label, seed_of(label)))
        return 103;
    if (atomic_fetch_add(&stage->seen[label.party][label.number], 1))
        return 104;
    uint32_t *least = &next[priority_of(stage, label.number)][label.party];
    if (label.number < *least)
        return 105;
    *least = label.number + 1;
    return 0;
}

static int consume(void *arg)
{
    struct stage *stage = arg;
    const size_t most = 10 * LARGEST;
    unsigned char *bytes = malloc(most);
    uint32_t next[32][PARTIES] = {{0}};
    size_t sizes[20], count = 1;
    int err, wrong = 0;

    for (;;) {
        if (stage->many)
            err = mp_queue_get_many(stage->queue, bytes, most, sizes, 20, &count,
                                    MP_FOREVER);
        else
            err = mp_queue_get(stage->queue, bytes, most, sizes, MP_FOREVER);
        if (err || wrong)
            break;
        const unsigned char *at = bytes;
        for (size_t i = 0; i < count && !wrong; at += sizes[i++])
            wrong = check_message(stage, at, sizes[i], next);
    }
    free(bytes);
    return wrong ? wrong : err == EPIPE ? 0 : err;
}

static int consume_by_allocation(void *arg)
{
    struct stage *stage = arg;
    uint32_t next[32][PARTIES] = {{0}};
    void *message;
    size_t size;
    int err, wrong = 0;

    while (!wrong &&
           !(err = mp_queue_get_alloc(stage->queue, &message, &size, MP_FOREVER))) {
        wrong = check_message(stage, message, size, next);
        free(message);
    }
    return wrong ? wrong : err == EPIPE ? 0 : err;
}

static void end_traffic(struct stage *stage)
{
    for (int i = 0; i < PARTIES; i++)
        for (int k = 0; k < EACH; k++)
            assert_int_equal(stage->seen[i][k], 1);
    assert_true(mp_queue_empty(stage->queue));
    assert_int_equal(mp_queue_lost(stage->queue), 0);
    close_stage(stage);
}

/* From four to four; meanwhile there are never too many. */
static void traffic(const mp_queue_options *options, bool many, child_body *consumer)
{
    struct stage *stage = open_stage(options);
    size_t most = options && options->max_messages ? options->max_messages : SIZE_MAX;
    pid_t producers[PARTIES], consumers[PARTIES];

    stage->many = many;
    for (int i = 0; i < PARTIES; i++) {
        producers[i] = child_start(produce, stage);
        consumers[i] = child_start(consumer, stage);
    }
    for (int i = 0; i < 20000; i++)
        assert_true(mp_queue_qsize(stage->queue) <= most);
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(child_wait(producers[i], 30000), 0);
    assert_int_equal(mp_queue_close(stage->queue), 0);
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(child_wait(consumers[i], 30000), 0);
    end_traffic(stage);
}

static void test_no_bound(void **state)
{
    (void)state;
    traffic(NULL, false, consume);
    traffic(NULL, true, consume);
    traffic(NULL, false, consume_by_allocation);
}

static void test_bounds(void **state)
{
    (void)state;
    traffic(MP_QUEUE_OPTIONS(.max_messages = 1), false, consume);
    traffic(MP_QUEUE_OPTIONS(.max_messages = 10), false, consume);
    traffic(MP_QUEUE_OPTIONS(.max_messages = 2), true, consume);
}

static void test_fixed_sizes(void **state)
{
    (void)state;
    traffic(MP_QUEUE_OPTIONS(.message_size = sizeof(struct label)), false, consume);
    traffic(MP_QUEUE_OPTIONS(.message_size = 61), true, consume);
    traffic(MP_QUEUE_OPTIONS(.message_size = 30001, .max_messages = 8), false, consume);
}

static void test_all_priorities(void **state)
{
    (void)state;
    traffic(MP_QUEUE_OPTIONS(.priorities = 3), false, consume);
    traffic(MP_QUEUE_OPTIONS(.priorities = 32, .max_messages = 5), false, consume);
}

static void test_all_at_once(void **state)
{
    (void)state;
    traffic(MP_QUEUE_OPTIONS(.priorities = 2, .max_messages = 20, .pollable = 1), false,
            consume);
}

static void *produce_in_thread(void *arg)
{
    return (void *)(intptr_t)produce(arg);
}

static void *consume_in_thread(void *arg)
{
    return (void *)(intptr_t)consume(arg);
}

static void test_threads_of_one_process(void **state)
{
    (void)state;
    struct stage *stage = open_stage(MP_QUEUE_OPTIONS(.max_messages = 50));
    pthread_t producers[PARTIES], consumers[PARTIES];
    void *code;

    leak_ignore_maps();
    for (int i = 0; i < PARTIES; i++) {
        pthread_create(&producers[i], NULL, produce_in_thread, stage);
        pthread_create(&consumers[i], NULL, consume_in_thread, stage);
    }
    for (int i = 0; i < PARTIES; i++) {
        pthread_join(producers[i], &code);
        assert_null(code);
    }
    assert_int_equal(mp_queue_close(stage->queue), 0);
    for (int i = 0; i < PARTIES; i++) {
        pthread_join(consumers[i], &code);
        assert_null(code);
    }
    end_traffic(stage);
}

/* Whatever has been put can be taken: at no moment does anybody have to wait for it. */
static int put_and_take(void *arg)
{
    struct stage *stage = arg;
    unsigned char bytes[8] = {0};

    for (int i = 0; i < 3000; i++) {
        if (mp_queue_put(stage->queue, bytes, sizeof bytes, MP_NOWAIT))
            return 1;
        int64_t start = now_ms();
        int err = mp_queue_get(stage->queue, bytes, sizeof bytes, NULL, MP_NOWAIT);
        /* Somebody who has been stopped within the call may cost 100 ms. */
        if (err && (err != ETIMEDOUT || now_ms() - start < 90))
            return 2;
        if (err)
            i--;
    }
    return 0;
}

static void test_what_is_put_is_there(void **state)
{
    (void)state;
    struct stage *stage = open_stage(NULL);
    pid_t pids[PARTIES];

    for (int i = 0; i < PARTIES; i++)
        pids[i] = child_start(put_and_take, stage);
    for (int i = 0; i < PARTIES; i++)
        assert_int_equal(child_wait(pids[i], 30000), 0);
    close_stage(stage);
}

/* Nobody is there to take them, and it ends all the same. */
static int put_and_leave(void *arg)
{
    struct stage *stage = arg;
    unsigned char *bytes = malloc(1 << 20);
    int err = 0;

    for (uint64_t i = 0; i < 30 && !err; i++) {
        parcel_fill(bytes, 1 << 20, i);
        err = mp_queue_put(stage->queue, bytes, 1 << 20, MP_NOWAIT);
    }
    free(bytes);
    return err;
}

static int take_what_was_left(void *arg)
{
    struct stage *stage = arg;
    void *message;
    size_t size;

    for (uint64_t i = 0; i < 15; i++) {
        if (mp_queue_get_alloc(stage->queue, &message, &size, MP_NOWAIT))
            return 1;
        if (size != 1 << 20 || !parcel_is(message, size, i))
            return 2;
        free(message);
    }
    return 0;
}

static void test_who_put_may_end(void **state)
{
    (void)state;
    struct stage *stage = open_stage(NULL);

    assert_int_equal(child_run(put_and_leave, stage), 0);
    assert_int_equal(mp_queue_qsize(stage->queue), 30);
    assert_int_equal(child_run(take_what_was_left, stage), 0);
    assert_int_equal(mp_queue_qsize(stage->queue), 15);
    assert_int_equal(mp_queue_lost(stage->queue), 0);
    close_stage(stage);
}

int main(void)
{
    static const struct CMUnitTest queue_traffic_tests[] = {
        TEST(test_no_bound),
        TEST(test_bounds),
        TEST(test_fixed_sizes),
        TEST(test_all_priorities),
        TEST(test_all_at_once),
        TEST(test_threads_of_one_process),
        TEST(test_what_is_put_is_there),
        TEST(test_who_put_may_end),
    };

    return TEST_MAIN(queue_traffic_tests);
}
