/* SPDX-License-Identifier: MIT */
/* test_barrier.c - stub */
#include "support/test.h"

#include <mp/mp.h>

static void test_nothing(void **state)
{
    (void)state;
}

int main(void)
{
    static const struct CMUnitTest barrier[] = {
        TEST(test_nothing),
    };

    return TEST_MAIN(barrier);
}
