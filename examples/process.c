/* SPDX-License-Identifier: MIT */
/* process.c - start five processes, and let them print their numbers. */
#include "example.h"

static int process(void *arg) /* def process(num): */
{
    const int *num = arg;

    printf("Process: %d\n", *num); /* print('Process:', num) */
    return 0;
}

int main(int argc, char **argv)
{
    begin(argc, argv);

    for (int i = 0; i < 5; i++) { /* for i in range(5): */
        mp_process *p;
        int err = mp_process_new(&p, process, &i, NULL); /* p = Process(...) */
        check(err, "mp_process_new");
        check(mp_process_start(p), "mp_process_start"); /* p.start() */
        mp_process_free(p); /* The child runs on; only the handle is gone. */
    }
    return 0; /* The five are joined here, as at the end of a Python program. */
}
