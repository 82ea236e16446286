/* SPDX-License-Identifier: MIT */
/* test_map_huge.c - maps of more items than other tests have time for. */
#include "support/test.h"

#include <stdint.h>

#include <mp/mp.h>

static mp_pool *new_pool(void)
{
    mp_pool *pool;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    return pool;
}

static int scramble(const void *arg, void *result, void *context)
{
    (void)context;
    *(uint8_t *)result = (uint8_t)(*(const uint8_t *)arg * 7u + 3u);
    return 0;
}

/* Each byte of the arena's array to the byte of another, at its own place. */
static void test_hundred_million_items(void **state)
{
    (void)state;
    enum { ITEMS = SANITIZED ? 10000000 : 100000000 };
    mp_pool *pool = new_pool();
    uint8_t *items = mp_shared_alloc(ITEMS), *results = mp_shared_alloc(ITEMS);
    size_t wrong = 0;

    assert_non_null(items);
    assert_non_null(results);
    for (size_t i = 0; i < ITEMS; i++)
        items[i] = (uint8_t)(i % 251);
    assert_int_equal(mp_pool_map(pool, scramble, items, ITEMS, 1, results, 1, NULL), 0);
    for (size_t i = 0; i < ITEMS; i++)
        wrong += results[i] != (uint8_t)(i % 251 * 7 + 3);
    assert_int_equal(wrong, 0);
    mp_shared_free(items);
    mp_shared_free(results);
    mp_pool_free(pool);
}

/* Of numbers; the sum modulo 2^64. */
struct tally {
    uint64_t count, sum, parity;
};

static int count_item(const void *arg, void *result, void *context)
{
    const uint64_t *number = arg;
    struct tally *tally = result;

    (void)context;
    tally->count++;
    tally->sum += *number;
    tally->parity ^= *number;
    return 0;
}

static void add_tally(void *result, const void *other, void *context)
{
    struct tally *tally = result;
    const struct tally *more = other;

    (void)context;
    tally->count += more->count;
    tally->sum += more->sum;
    tally->parity ^= more->parity;
}

/* No number is lost or taken twice where numbers need more than 32 bits. */
static void test_beyond_32_bits(void **state)
{
    (void)state;
    if (SANITIZED || SIZE_MAX == UINT32_MAX)
        skip();
    const uint64_t items = UINT64_C(1) << 32 | 4095;
    struct tally whole = {0};
    mp_pool *pool = new_pool();

    assert_int_equal(mp_pool_reduce(pool, count_item, add_tally, NULL, (size_t)items, 0,
                                    &whole, sizeof whole, NULL),
                     0);
    /* With `items` of the form 4 n + 3. */
    assert_true(whole.count == items);
    assert_true(whole.sum == items * ((items - 1) / 2));
    assert_true(whole.parity == items);
    mp_pool_free(pool);
}

int main(void)
{
    static const struct CMUnitTest map_huge_tests[] = {
        TEST(test_hundred_million_items),
        TEST(test_beyond_32_bits),
    };
    return TEST_MAIN(map_huge_tests);
}
