/* SPDX-License-Identifier: MIT */
/*
 * pool_imap.c - results one by one, while later items are still being worked on.
 *
 *   imap             in the order of the items
 *   imap_unordered   in the order in which they are done
 *
 * And from an input without an end, of which only so much is made as is needed.
 */
#include "example.h"

static int square(const void *arg, void *result, void *context)
{
    const int *x = arg;

    (void)context;
    *(int *)result = *x * *x;
    return 0;
}

static void show_imap(mp_pool *pool)
{
    int numbers[10], y;
    mp_imap *squares;

    for (int i = 0; i < 10; i++)
        numbers[i] = i;
    check(mp_pool_imap(pool, square, numbers, 10, sizeof(int), sizeof(int), NULL,
                       &squares),
          "mp_pool_imap");
    printf("imap:");
    while (mp_imap_next(squares, &y, NULL, MP_FOREVER) == 0) /* for y in pool.imap(...): */
        printf(" %d", y);
    printf("\n");
    fflush(stdout);
    mp_imap_free(squares);
}

static int nap(const void *arg, void *result, void *context)
{
    const int *length = arg;

    (void)context;
    sleep_seconds(*length);
    *(int *)result = *length;
    return 0;
}

static void show_unordered(mp_pool *pool)
{
    const int lengths[] = {5, 3, 1};
    mp_imap *naps;
    int length;

    check(mp_pool_imap_unordered(pool, nap, lengths, 3, sizeof(int), sizeof(int), NULL,
                                 &naps),
          "mp_pool_imap_unordered");
    printf("imap_unordered:");
    while (mp_imap_next(naps, &length, NULL, MP_FOREVER) == 0)
        printf(" %d", length);
    printf("\n");
    fflush(stdout);
    mp_imap_free(naps);
}

/* All whole numbers from 2 on: a generator, which is asked when there is room. */
static int next_number(void *item, void *state)
{
    uint64_t *number = state;

    *(uint64_t *)item = (*number)++;
    return 0;
}

/* A number that is not prime fails: that does not end the imap. */
static int must_be_prime(const void *arg, void *result, void *context)
{
    uint64_t number = *(const uint64_t *)arg;

    (void)context;
    *(uint64_t *)result = number;
    for (uint64_t i = 2; i * i <= number; i++)
        if (number % i == 0)
            return mp_task_fail(EDOM, "%d divides it", (int)i);
    return 0;
}

static void show_source(mp_pool *pool)
{
    uint64_t first = 2, number;
    mp_imap *primes;

    check(mp_pool_imap(pool, must_be_prime, NULL, SIZE_MAX, sizeof(uint64_t),
                       sizeof(uint64_t),
                       MP_IMAP_OPTIONS(.source = next_number, .source_state = &first,
                                       .chunk_size = 10),
                       &primes),
          "mp_pool_imap");
    printf("the first ten primes:");
    for (int found = 0; found < 10;) {
        int err = mp_imap_next(primes, &number, NULL, MP_FOREVER);
        if (err == EDOM)
            continue;
        check(err, "mp_imap_next");
        printf(" %d", (int)number);
        found++;
    }
    printf("\n");
    mp_imap_free(primes); /* What nobody has begun is not run. */
}

int main(int argc, char **argv)
{
    mp_pool *pool;

    begin(argc, argv);
    check(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3)), "mp_pool_new");
    show_imap(pool);
    show_unordered(pool);
    show_source(pool);
    mp_pool_free(pool);
    return 0;
}
