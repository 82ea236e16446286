/* SPDX-License-Identifier: MIT */
/* pool_reduce.c - pi, from the sum of 4 / (1 + x*x) at the middles of ten million steps,
   and how often each digit comes last in their numbers. */
#include <stdint.h>
#include <stdio.h>
#include <mp/mp.h>

#define STEPS 10000000

struct value {
    double sum;
    unsigned digits[10];
};

/* The items are the numbers from 0 to STEPS - 1. */
static int add_step(const void *arg, void *result, void *context)
{
    uint64_t step = *(const uint64_t *)arg;
    struct value *value = result;
    double x = ((double)step + 0.5) / STEPS;

    (void)context;
    value->sum += 4 / (1 + x * x);
    value->digits[step % 10]++;
    return 0;
}

static void add_value(void *result, const void *other, void *context)
{
    struct value *value = result;
    const struct value *more = other;

    (void)context;
    value->sum += more->sum;
    for (int i = 0; i < 10; i++)
        value->digits[i] += more->digits[i];
}

int main(void)
{
    struct value value = {.sum = 0};
    mp_pool *pool = NULL;

    int err = mp_pool_new(&pool, NULL);
    if (!err)
        err = mp_pool_reduce(pool, add_step, add_value, NULL, STEPS, 0, &value,
                             sizeof value, NULL);
    mp_pool_free(pool);
    if (err) {
        fprintf(stderr, "pool_reduce: %s\n", mp_strerror(err));
        return 1;
    }

    printf("%.10f\n", value.sum / STEPS);
    for (int i = 0; i < 10; i++)
        printf("%d: %u\n", i, value.digits[i]);
    return 0;
}
