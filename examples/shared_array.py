# SPDX-License-Identifier: MIT
#
# shared_array.py - a million numbers, which shared_array.c works out.
import math
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory

COUNT = 1000000

memory = SharedMemory(create=True, size=8 * COUNT)
try:
    subprocess.run([sys.argv[1], memory.name], check=True)
    with memory.buf.cast('d') as numbers:
        print('first:', numbers[0], numbers[1], numbers[3])
        print('pi is about %.5f' % math.sqrt(6 * sum(numbers[:COUNT])))
finally:
    memory.close()
    memory.unlink()
