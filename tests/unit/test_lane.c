/* SPDX-License-Identifier: MIT */
/* test_lane.c - a stream of messages and its ring of segments, beside a model of them.
 */
#include "support/parcel.h"

#include <mp/mp.h>

#include "ipc/lane.h"
#include "shm/arena.h"

#define KEPT    ((size_t)16 << 20)
#define BACKLOG 4096 /* of the model */

/* What a lane ought to be: message number i of `sizes` is there from `out` up to `in`.
 */
struct model {
    struct mp__lane *lane;
    size_t fixed_size;
    size_t sizes[BACKLOG];
    uint64_t in, out;
    uint64_t seed;
};

static unsigned char scratch[PARCEL_MOST];

static struct model *open_model(size_t fixed_size, uint64_t seed)
{
    struct model *model = calloc(1, sizeof *model);

    model->lane = mp_shared_alloc(sizeof *model->lane);
    model->fixed_size = fixed_size;
    model->seed = seed;
    assert_int_equal(mp__lane_open(model->lane, fixed_size), 0);
    return model;
}

static void close_model(struct model *model)
{
    mp__lane_close(model->lane);
    mp_shared_free(model->lane);
    free(model);
}

static uint64_t below(struct model *model, uint64_t bound)
{
    return next_random(&model->seed) % bound;
}

/* Small ones mostly, sizes around the end of a segment, and some of megabytes. */
static size_t any_size(struct model *model)
{
    if (model->fixed_size)
        return model->fixed_size;
    switch (below(model, 16)) {
    case 0:
        return below(model, (3 << 20) + 1);
    case 1:
        return 65400 + below(model, 200);
    case 2:
    case 3:
        return below(model, 40000);
    default:
        return below(model, 200);
    }
}

/* Write some; who is killed before the commit has written nothing. */
static void write_some(struct model *model, uint64_t count, bool commit)
{
    struct mp__lane_cursor in = mp__lane_cursor(&model->lane->in);

    for (uint64_t i = 0; i < count; i++) {
        size_t size = any_size(model);
        parcel_fill(scratch, size, commit ? model->in + i : 4711);
        assert_int_equal(mp__lane_write(model->lane, &in, scratch, size), 0);
        if (commit)
            model->sizes[(model->in + i) % BACKLOG] = size;
    }
    if (!commit)
        return;
    mp__lane_commit(&model->lane->in, &in, count);
    model->in += count;
}

static void read_some(struct model *model, uint64_t count, bool commit)
{
    struct mp__lane_cursor out = mp__lane_cursor(&model->lane->out);

    for (uint64_t i = 0; i < count; i++) {
        size_t size = 0;
        const void *message = mp__lane_look(model->lane, &out, &size);
        assert_int_equal(size, model->sizes[(model->out + i) % BACKLOG]);
        assert_true(parcel_is(message, size, model->out + i));
        mp__lane_skip(model->lane, &out, size);
    }
    if (!commit)
        return;
    mp__lane_commit(&model->lane->out, &out, count);
    model->out += count;
}

/* All segments can be reached, there are as many bytes as it says; returns how many. */
static size_t check_ring(const struct model *model)
{
    const struct mp__lane *lane = model->lane;
    const struct mp__segment *first = mp__lane_cursor(&lane->in).segment,
                             *segment = first;
    const struct mp__segment *read = mp__lane_cursor(&lane->out).segment;
    size_t bytes = 0, segments = 0;
    bool met = false;

    do {
        bytes += segment->capacity + offsetof(struct mp__segment, bytes);
        met |= segment == read;
        assert_int_equal((segment->capacity + offsetof(struct mp__segment, bytes)) %
                             MP__SLAB_SIZE,
                         0);
        segment = segment->next;
        assert_true(++segments < 100000);
    } while (segment != first);
    assert_true(met);
    assert_int_equal(bytes, lane->held);
    assert_int_equal(mp__lane_count(lane), model->in - model->out);
    return segments;
}

static void trim(struct model *model)
{
    mp__lane_trim(model->lane);
    check_ring(model);
    if (model->fixed_size <= KEPT / 2)
        assert_false(mp__lane_is_fat(model->lane));
}

/* One step of a life, now and then with somebody who is killed in the middle. */
static void step(struct model *model, uint64_t most)
{
    uint64_t there = model->in - model->out, count = below(model, most) + 1;

    switch (below(model, 8)) {
    case 0:
        write_some(model, count, false);
        break;
    case 1:
        read_some(model, there ? below(model, there + 1) : 0, false);
        break;
    case 2:
    case 3:
    case 4:
        if (there + count < BACKLOG)
            write_some(model, count, true);
        break;
    case 5:
        read_some(model, there, true);
        trim(model);
        break;
    default:
        read_some(model, there ? below(model, there + 1) : 0, true);
    }
}

static void live(size_t fixed_size, uint64_t seed, int steps, uint64_t most)
{
    struct model *model = open_model(fixed_size, seed);

    for (int i = 0; i < steps; i++) {
        step(model, most);
        check_ring(model);
    }
    read_some(model, model->in - model->out, true);
    trim(model);
    close_model(model);
}

static void test_any_size(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        live(0, seed, 60, 12);
}

static void test_small_ones(void **state)
{
    (void)state;
    for (size_t size = 1; size < 40; size += 3)
        live(size, size, 300, 3000);
}

static void test_one_size(void **state)
{
    (void)state;
    for (size_t i = 5; i < PARCEL_SIZES; i++)
        live(parcel_sizes[i], i, parcel_sizes[i] > 1 << 20 ? 10 : 60, 4);
}

/* A segment is filled to the last byte, or up to 8, 16 and so on before it. */
static void test_ends_of_segments(void **state)
{
    (void)state;
    for (size_t left = 0; left <= 64; left += 4) {
        struct model *model = open_model(0, 1);
        struct mp__lane_cursor in = mp__lane_cursor(&model->lane->in);
        size_t size = in.segment->capacity - MP__LANE_HEADER - left;

        parcel_fill(scratch, size, 0);
        for (uint64_t i = 0; i < 4; i++) {
            size_t each = i % 2 ? left : size;
            parcel_fill(scratch, each, i);
            model->sizes[i] = each;
            assert_int_equal(mp__lane_write(model->lane, &in, scratch, each), 0);
        }
        mp__lane_commit(&model->lane->in, &in, 4);
        model->in = 4;
        read_some(model, 3, true);
        read_some(model, 1, true);
        check_ring(model);
        close_model(model);
    }
}

static void test_places_take_turns(void **state)
{
    (void)state;
    struct model *model = open_model(0, 1);

    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(model->lane->in.word, 2 * i + i % 2);
        write_some(model, 1, true);
        assert_int_equal(model->lane->out.word, 2 * i + i % 2);
        read_some(model, 1, true);
    }
    close_model(model);
}

/* Segments go round: a stream of which little is there at once needs no more of them.
 */
static void test_spares_are_used(void **state)
{
    (void)state;
    struct model *model = open_model(1000, 1);
    size_t segments = 0;

    for (int i = 0; i < 3000; i++) {
        write_some(model, 100, true);
        read_some(model, 100, true);
        if (i == 10)
            segments = check_ring(model);
    }
    assert_in_range(segments, 2, 4);
    assert_int_equal(check_ring(model), segments);
    close_model(model);
}

/* Two sizes in turn, the larger of which does not fit into the spares of the smaller.
 */
static void test_mixed_stream_stays_small(void **state)
{
    (void)state;
    struct model *model = open_model(0, 1);

    for (int i = 0; i < 500; i++) {
        struct mp__lane_cursor in = mp__lane_cursor(&model->lane->in);
        size_t size = i % 2 ? 50000 : 1000000;
        parcel_fill(scratch, size, model->in);
        model->sizes[model->in % BACKLOG] = size;
        assert_int_equal(mp__lane_write(model->lane, &in, scratch, size), 0);
        mp__lane_commit(&model->lane->in, &in, 1);
        model->in++;
        read_some(model, 1, true);
        assert_true(check_ring(model) < 20);
    }
    close_model(model);
}

static void write_largest(struct model *model)
{
    struct mp__lane_cursor in = mp__lane_cursor(&model->lane->in);

    parcel_fill(scratch, PARCEL_MOST, model->in);
    model->sizes[model->in % BACKLOG] = PARCEL_MOST;
    assert_int_equal(mp__lane_write(model->lane, &in, scratch, PARCEL_MOST), 0);
    mp__lane_commit(&model->lane->in, &in, 1);
    model->in++;
}

/* After a backlog no more is kept than is said; nor is one very large segment. */
static void test_memory_is_given_back(void **state)
{
    (void)state;
    struct model *model = open_model(0, 1);

    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 3 + round % 2; i++)
            write_largest(model);
        for (int i = 0; i < 2 * round; i++) {
            read_some(model, 1, true);
            write_largest(model);
            check_ring(model);
        }
        assert_true(mp__lane_is_fat(model->lane));
        read_some(model, model->in - model->out, true);
        trim(model);
        assert_true(model->lane->held <= KEPT);
        write_some(model, (uint64_t)round, true);
    }
    close_model(model);
}

static void test_keeps_what_it_may(void **state)
{
    (void)state;
    struct model *model = open_model(60000, 1);

    for (int i = 0; i < 500; i++)
        write_some(model, 1, true);
    read_some(model, 500, true);
    trim(model);
    assert_int_equal(model->lane->held, KEPT);
    close_model(model);
}

/* No memory: the end stays where it was, and what is there stays there. */
static void test_no_memory(void **state)
{
    (void)state;
    struct model *model = open_model(0, 1);
    mp_shared_statistics stat;
    struct mp__lane_cursor in, before;

    assert_int_equal(mp_shared_stat(&stat), 0);
    write_some(model, 5, true);
    in = before = mp__lane_cursor(&model->lane->in);
    assert_int_equal(mp__lane_turn(model->lane, &in, stat.reserved), ENOMEM);
    assert_int_equal(mp__lane_turn(model->lane, &in, MP__LANE_SIZE_MAX), ENOMEM);
    assert_int_equal(mp__lane_turn(model->lane, &in, SIZE_MAX), ENOMEM);
    assert_memory_equal(&in, &before, sizeof in);
    assert_int_equal(
        mp__lane_open(&(struct mp__lane){{0}, .fixed_size = 0}, stat.reserved), ENOMEM);
    check_ring(model);
    read_some(model, 5, true);
    close_model(model);
}

enum { STREAM = 30000 };

static int write_stream(void *arg)
{
    struct model *model = arg;
    unsigned char bytes[3000];

    for (uint64_t i = 0; i < STREAM; i++) {
        struct mp__lane_cursor in = mp__lane_cursor(&model->lane->in);
        size_t size = i * i % sizeof bytes;
        while (mp__lane_count(model->lane) > 300)
            mp__cpu_relax();
        parcel_fill(bytes, size, i);
        if (mp__lane_write(model->lane, &in, bytes, size))
            return 1;
        mp__lane_commit(&model->lane->in, &in, 1);
    }
    return 0;
}

/* One process writes and one reads, with nothing between them but the words. */
static void test_two_processes(void **state)
{
    (void)state;
    struct model *model = open_model(0, 1);
    pid_t writer = child_start(write_stream, model);
    int64_t end = now_ms() + scaled(20000);

    while (model->out < STREAM) {
        uint64_t there = mp__lane_count(model->lane);
        for (uint64_t i = model->out; i < model->out + there; i++)
            model->sizes[i % BACKLOG] = i * i % 3000;
        read_some(model, there, true);
        assert_true(now_ms() < end);
    }
    assert_int_equal(child_wait(writer, 5000), 0);
    model->in = STREAM;
    assert_true(check_ring(model) < 30);
    close_model(model);
}

int main(void)
{
    static const struct CMUnitTest lane_tests[] = {
        TEST(test_any_size),
        TEST(test_small_ones),
        TEST(test_one_size),
        TEST(test_ends_of_segments),
        TEST(test_places_take_turns),
        TEST(test_spares_are_used),
        TEST(test_mixed_stream_stays_small),
        TEST(test_memory_is_given_back),
        TEST(test_keeps_what_it_may),
        TEST(test_no_memory),
        TEST(test_two_processes),
    };

    return TEST_MAIN(lane_tests);
}
