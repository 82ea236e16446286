/* SPDX-License-Identifier: MIT */
/*
 * test_listener_keys.c - what is left of a key in the memory of a process.
 *
 * The test knows its key only in two halves that must be put together.  So wherever the
 * key is found, or the blocks that HMAC makes of it, it was libmp that left it there.
 */
#include "support/door.h"

#include <sys/mman.h>
#include <sys/random.h>

enum { KEY_SIZE = 40, PIECE = 1 << 20 };

static struct {
    unsigned char one[KEY_SIZE];
    volatile unsigned char other[KEY_SIZE];
} halves;

static unsigned char piece[PIECE + KEY_SIZE];

/* Make the key whole, in a page of its own. */
static unsigned char *key_open(void)
{
    unsigned char *key = mmap(NULL, KEY_SIZE, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(key != MAP_FAILED);
    for (size_t i = 0; i < KEY_SIZE; i++)
        key[i] = halves.one[i] ^ halves.other[i];
    return key;
}

static void key_close(unsigned char *key)
{
    assert_int_equal(munmap(key, KEY_SIZE), 0);
}

static void new_key(void)
{
    assert_int_equal(getrandom(halves.one, KEY_SIZE, 0), KEY_SIZE);
    assert_int_equal(getrandom((void *)(uintptr_t)halves.other, KEY_SIZE, 0), KEY_SIZE);
}

/* Byte by byte, so that no register or stack ever has the key. */
static bool is_key(const unsigned char *memory, unsigned char pad)
{
    for (size_t i = 0; i < KEY_SIZE; i++)
        if ((memory[i] ^ halves.one[i]) != (halves.other[i] ^ pad))
            return false;
    return true;
}

static unsigned count_in_piece(size_t size)
{
    unsigned found = 0;

    for (size_t i = 0; i + KEY_SIZE <= size; i++)
        found +=
            is_key(piece + i, 0) || is_key(piece + i, 0x36) || is_key(piece + i, 0x5c);
    return found;
}

static unsigned count_between(int memory, off_t from, off_t end)
{
    unsigned found = 0;

    while (from + KEY_SIZE <= end) {
        size_t wanted = end - from < PIECE ? (size_t)(end - from) : PIECE;
        ssize_t got = pread(memory, piece, wanted, from);
        if (got < KEY_SIZE)
            break;
        found += count_in_piece((size_t)got);
        from += got - (got == PIECE ? KEY_SIZE - 1 : 0);
        if (got < PIECE)
            break;
    }
    /* A copy of what was found here would be found again. */
    memset(piece, 0, sizeof piece);
    return found;
}

/*
 * How often this process has the key in memory that can be written to, and how many of
 * those mappings would go into a core file.  Of shared memory only what is named is
 * looked at: the arena is reserved for gigabytes, and no key ever goes there.
 */
static unsigned count_keys(unsigned *in_core)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    unsigned long from, end;
    unsigned found = 0, here = 0;
    char line[512], modes[5];

    assert_non_null(maps);
    assert_true(memory >= 0);
    *in_core = 0;
    while (fgets(line, sizeof line, maps)) {
        if (strncmp(line, "VmFlags:", 8) == 0 && !strstr(line, " dd"))
            *in_core += here;
        if (sscanf(line, "%lx-%lx %4s", &from, &end, modes) != 3)
            continue;
        here = 0;
        if (modes[0] == 'r' && modes[1] == 'w' && modes[3] == 'p')
            here = count_between(memory, (off_t)from, (off_t)end);
        found += here;
    }
    fclose(maps);
    close(memory);
    return found;
}

static mp_listener *open_door(void)
{
    unsigned char *key = key_open();
    mp_listener *door;

    assert_int_equal(
        mp_listener_new(&door, NULL,
                        MP_LISTENER_OPTIONS(.authkey = key, .authkey_size = KEY_SIZE)),
        0);
    key_close(key);
    return door;
}

static int connect_with_key(const char *address, mp_connection **out)
{
    unsigned char *key = key_open();

    int err = mp_client(out, address,
                        MP_CLIENT_OPTIONS(.authkey = key, .authkey_size = KEY_SIZE,
                                          .timeout_ms = 20000));
    key_close(key);
    return err;
}

/* A client has nothing left of it while its connection is open. */
static int visit_door(void *arg)
{
    mp_listener *door = arg;
    char address[256];
    mp_connection *connection;
    unsigned in_core;

    snprintf(address, sizeof address, "%s", mp_listener_address(door));
    mp_listener_close(door); /* the copy that this child was forked with */
    if (count_keys(&in_core))
        return 100;
    int err = connect_with_key(address, &connection);
    if (err)
        return err;
    err = count_keys(&in_core) ? 101 : 0;
    mp_connection_free(connection);
    return err;
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    mp_connection *connection;
    unsigned in_core;

    new_key();
    assert_int_equal(count_keys(&in_core), 0);
    mp_listener *door = open_door();
    /* The one that it needs; this also shows that what is there is found. */
    assert_int_equal(count_keys(&in_core), 1);
#ifndef MP_PORTABLE
    assert_int_equal(in_core, 0);
#endif

    pid_t pid = child_start(visit_door, door);
    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    assert_int_equal(count_keys(&in_core), 1);
    assert_int_equal(child_wait(pid, 20000), 0);
    mp_connection_free(connection);

    assert_int_equal(mp_listener_close(door), 0);
    assert_int_equal(count_keys(&in_core), 0);
    mp_listener_free(door);
}

int main(void)
{
    static const struct CMUnitTest listener_keys[] = {
        TEST(test_nothing_is_left),
    };
    return TEST_MAIN(listener_keys);
}
