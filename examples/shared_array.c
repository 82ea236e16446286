/* SPDX-License-Identifier: MIT */
/*
 * shared_array.c - fills an array that belongs to a Python program.
 *
 *   python3 shared_array.py path/to/shared_array
 *
 * Python makes the array and starts this program with its name.  Nothing is copied or
 * sent: both have the same memory.  Python removes the name, also when it is killed.
 */
#include "example.h"

int main(int argc, char **argv)
{
    mp_shared_memory *memory;

    begin(argc, argv);
    if (argc < 2) {
        fprintf(stderr, "usage: python3 shared_array.py %s\n", argv[0]);
        return EXIT_FAILURE;
    }
    check(mp_shared_memory_attach(&memory, argv[1], NULL),
          "mp_shared_memory_attach"); /* memory = SharedMemory(name) */

    double *numbers = mp_shared_memory_buffer(memory);
    size_t count = mp_shared_memory_size(memory) / sizeof(*numbers);
    for (size_t i = 0; i < count; i++)
        numbers[i] = 1 / ((double)(i + 1) * (double)(i + 1));

    mp_shared_memory_free(memory); /* memory.close() */
    return 0;
}
