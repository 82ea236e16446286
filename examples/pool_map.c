/* SPDX-License-Identifier: MIT */
/* pool_map.c - the squares of ten numbers, computed by three processes. */
#include <stdio.h>
#include <mp/mp.h>

static int square(const void *arg, void *result, void *context)
{
    const int *x = arg;
    int *y = result;

    (void)context;
    *y = *x * *x;
    return 0;
}

int main(void)
{
    int numbers[10], squares[10];
    mp_pool *pool = NULL;

    for (int i = 0; i < 10; i++)
        numbers[i] = i;

    int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3));
    if (!err)
        err = mp_pool_map(pool, square, numbers, 10, sizeof(int), squares, sizeof(int),
                          NULL);
    mp_pool_free(pool);
    if (err) {
        fprintf(stderr, "pool_map: %s\n", mp_strerror(err));
        return 1;
    }

    for (int i = 0; i < 10; i++)
        printf("%s%d", i == 0 ? "[" : ", ", squares[i]);
    printf("]\n");
    return 0;
}
