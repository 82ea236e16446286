/* SPDX-License-Identifier: MIT */
/* test_value.c - stub */
#include "support/test.h"

#include <mp/mp.h>

static void test_nothing(void **state)
{
    (void)state;
}

int main(void)
{
    static const struct CMUnitTest value[] = {
        TEST(test_nothing),
    };

    return TEST_MAIN(value);
}
