/* SPDX-License-Identifier: MIT */
/* test_digest.c - the digests and HMAC against published vectors, and against Python.
 */
#include "support/test.h"

#include <stdio.h>
#include <unistd.h>

#include "base/random.h"
#include "ipc/digest.h"

static const char *const names[] = {"md5", "sha256", "sha384", "sha3_256", "sha3_384"};

enum { NAMES = sizeof names / sizeof *names };

static const struct mp__digest *named(const char *name)
{
    const struct mp__digest *digest = mp__digest_find(name, strlen(name));

    assert_non_null(digest);
    return digest;
}

static void to_hex(const unsigned char *bytes, size_t size, char *hex)
{
    for (size_t i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

/* Hash `size` bytes in pieces of `piece`. */
static void hashed(const struct mp__digest *digest, const void *bytes, size_t size,
                   size_t piece, char *hex)
{
    const unsigned char *next = bytes;
    unsigned char out[MP__DIGEST_MAX];
    struct mp__hash hash;

    mp__hash_start(digest, &hash);
    for (size_t left = size; left;) {
        size_t now = left < piece ? left : piece;
        mp__hash_update(digest, &hash, next, now);
        next += now;
        left -= now;
    }
    mp__hash_finish(digest, &hash, out);
    for (size_t i = 0; i < sizeof hash; i++)
        assert_int_equal(((unsigned char *)&hash)[i], 0);
    to_hex(out, digest->size, hex);
}

/* RFC 1321, FIPS 180-4 and FIPS 202: the examples of the standards. */
static const struct {
    const char *name, *message, *digest;
} vectors[] = {
    {"md5", "", "d41d8cd98f00b204e9800998ecf8427e"},
    {"md5", "abc", "900150983cd24fb0d6963f7d28e17f72"},
    {"md5", "message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
    {"md5",
     "1234567890123456789012345678901234567890"
     "1234567890123456789012345678901234567890",
     "57edf4a22be3c955ac49da2e2107b67a"},
    {"sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"sha256", "abc",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"sha256", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"sha384", "",
     "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da"
     "274edebfe76f65fbd51ad2f14898b95b"},
    {"sha384", "abc",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
     "8086072ba1e7cc2358baeca134c825a7"},
    {"sha384",
     "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
     "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712"
     "fcc7c71a557e2db966c3e9fa91746039"},
    {"sha3_256", "",
     "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"},
    {"sha3_256", "abc",
     "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {"sha3_384", "",
     "0c63a75b845e4f7d01107d852e4c2485c51a50aaaa94fc61995e71bbee983a2a"
     "c3713831264adb47fb6bd1e058d5f004"},
    {"sha3_384", "abc",
     "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
     "98d88cea927ac7f539f1edf228376d25"},
};

static void test_vectors(void **state)
{
    char hex[2 * MP__DIGEST_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        size_t size = strlen(vectors[i].message);
        for (size_t piece = 1; piece <= size + 1; piece++) {
            hashed(named(vectors[i].name), vectors[i].message, size, piece, hex);
            assert_string_equal(hex, vectors[i].digest);
        }
    }
}

/* A million times the letter a, as in the standards' longer examples. */
static void test_a_million(void **state)
{
    static const char *const expected[NAMES] = {
        "7707d6ae4e027c70eea2a935c2296f21",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b"
        "07b8b3dc38ecc4ebae97ddd87f3d8985",
        "5c8875ae474a3634ba4fd55ec85bffd661f32aca75c6d699d0cdcb6c115891c1",
        "eee9e24d78c1855337983451df97c8ad9eedf256c6334f8e948d252d5e0e7684"
        "7aa0774ddb90a842190d2c558b4b8340"};
    char hex[2 * MP__DIGEST_MAX + 1], *letters = malloc(1000000);

    (void)state;
    assert_non_null(letters);
    memset(letters, 'a', 1000000);
    for (int i = 0; i < NAMES; i++) {
        hashed(named(names[i]), letters, 1000000, 777, hex);
        assert_string_equal(hex, expected[i]);
    }
    free(letters);
}

/* RFC 2202 (MD5) and RFC 4231 (SHA-2): keys shorter and longer than a block. */
static void test_hmac(void **state)
{
    unsigned char key[131], out[MP__DIGEST_MAX];
    char hex[2 * MP__DIGEST_MAX + 1];
    static const char longer[] =
        "Test Using Larger Than Block-Size Key - Hash Key First";

    (void)state;
    mp__hmac(named("md5"), "Jefe", 4, "what do ya want for nothing?", 28, out);
    to_hex(out, 16, hex);
    assert_string_equal(hex, "750c783e6ab0b503eaa86e310a5db738");
    mp__hmac(named("sha256"), "Jefe", 4, "what do ya want for nothing?", 28, out);
    to_hex(out, 32, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c7"
                             "5a003f089d2739839dec58b964ec3843");
    mp__hmac(named("sha384"), "Jefe", 4, "what do ya want for nothing?", 28, out);
    to_hex(out, 48, hex);
    assert_string_equal(hex, "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47"
                             "e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
    memset(key, 0xaa, sizeof key);
    mp__hmac(named("sha256"), key, sizeof key, longer, strlen(longer), out);
    to_hex(out, 32, hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f"
                             "8e0bc6213728c5140546040f0ee37f54");
    mp__hmac(named("sha384"), key, sizeof key, longer, strlen(longer), out);
    to_hex(out, 48, hex);
    assert_string_equal(hex, "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f"
                             "3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952");
    mp__hmac(named("sha256"), NULL, 0, NULL, 0, out); /* an empty key is a key */
    to_hex(out, 32, hex);
    assert_string_equal(hex, "b613679a0814d9ec772f95d778c35fc5"
                             "ff1697c493715653c6c712144292c5ad");
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < NAMES; i++) {
        assert_string_equal(named(names[i])->name, names[i]);
        assert_null(mp__digest_find(names[i], strlen(names[i]) - 1));
    }
    assert_null(mp__digest_find("sha256}", 7));
    assert_null(mp__digest_find("sha1", 4));
    assert_null(mp__digest_find("SHA256", 6));
    assert_null(mp__digest_find("", 0));
}

static void test_equal_and_wipe(void **state)
{
    unsigned char one[64], other[64];

    (void)state;
    memset(one, 7, sizeof one);
    memset(other, 7, sizeof other);
    assert_true(mp__equal(one, other, sizeof one));
    assert_true(mp__equal(one, NULL, 0));
    for (size_t bit = 0; bit < 8 * sizeof one; bit++) {
        other[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(mp__equal(one, other, sizeof one));
        other[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    mp__wipe(one, sizeof one - 1);
    for (size_t i = 0; i < sizeof one; i++)
        assert_int_equal(one[i], i < sizeof one - 1 ? 0 : 7);
}

enum { CASES = 400, LONGEST_MESSAGE = 700, LONGEST_KEY = 300 };

/* The case `number` for Python and for C alike: lengths that walk over all block sizes.
 */
static size_t message_size(int number)
{
    return (size_t)(number * 7 % LONGEST_MESSAGE);
}

static size_t key_size(int number)
{
    return (size_t)(number * 13 % LONGEST_KEY);
}

static const char script[] =
    "python3 -c '\n"
    "import hashlib, hmac\n"
    "for i in range(400):\n"
    "    m = bytes((j * j + i) % 251 for j in range(i * 7 % 700))\n"
    "    k = bytes((j * 3 + i) % 256 for j in range(i * 13 % 300))\n"
    "    for n in (\"md5\", \"sha256\", \"sha384\", \"sha3_256\", \"sha3_384\"):\n"
    "        print(hashlib.new(n, m).hexdigest(), hmac.new(k, m, n).hexdigest())\n'";

static void check_case(FILE *python, int number)
{
    unsigned char message[LONGEST_MESSAGE], key[LONGEST_KEY], out[MP__DIGEST_MAX];
    char hex[2 * MP__DIGEST_MAX + 1], hash[128], mac[128];

    for (size_t j = 0; j < message_size(number); j++)
        message[j] = (unsigned char)((j * j + (size_t)number) % 251);
    for (size_t j = 0; j < key_size(number); j++)
        key[j] = (unsigned char)(j * 3 + (size_t)number);
    for (int i = 0; i < NAMES; i++) {
        const struct mp__digest *digest = named(names[i]);
        assert_int_equal(fscanf(python, "%127s %127s", hash, mac), 2);
        hashed(digest, message, message_size(number), 1 + (size_t)number, hex);
        assert_string_equal(hex, hash);
        mp__hmac(digest, key, key_size(number), message, message_size(number), out);
        to_hex(out, digest->size, hex);
        assert_string_equal(hex, mac);
    }
}

static void test_against_python(void **state)
{
    (void)state;
    if (system(
            "python3 -c 'import hashlib; hashlib.new(\"sha3_384\")' >/dev/null 2>&1")) {
        print_message("There is no python3 here to compare digests with.\n");
        skip();
    }
    FILE *python = popen(script, "r");
    assert_non_null(python);
    for (int number = 0; number < CASES; number++)
        check_case(python, number);
    assert_int_equal(pclose(python), 0);
}

static int compare_nonces(const void *one, const void *other)
{
    return memcmp(one, other, 16);
}

enum { FORKS = 2000 };

struct fork_step {
    unsigned char *nonces;
    int number;
};

static int take_nonce(void *arg)
{
    struct fork_step *step = arg;

    return mp__random(step->nonces + 16 * (step->number + FORKS), 16);
}

/* A parent and its children never see the same random bytes. */
static void test_random_after_fork(void **state)
{
    (void)state;
    struct fork_step step = {shared_page(2 * FORKS * 16), 0};

    for (; step.number < FORKS; step.number++) {
        assert_int_equal(mp__random(step.nonces + 16 * step.number, 16), 0);
        assert_int_equal(child_run(take_nonce, &step), 0);
    }
    qsort(step.nonces, 2 * FORKS, 16, compare_nonces);
    for (int i = 1; i < 2 * FORKS; i++)
        assert_memory_not_equal(step.nonces + 16 * i, step.nonces + 16 * (i - 1), 16);
    shared_page_free(step.nonces, 2 * FORKS * 16);
}

static void test_random_sizes(void **state)
{
    unsigned char bytes[4096 + 1] = {0};
    size_t zeros = 0;

    (void)state;
    assert_int_equal(mp__random(bytes, 0), 0);
    assert_int_equal(bytes[0], 0);
    assert_int_equal(mp__random(bytes, 4096), 0);
    for (size_t i = 0; i < 4096; i++)
        zeros += !bytes[i];
    assert_in_range(zeros, 0, 64); /* 16 are to be expected */
    assert_int_equal(bytes[4096], 0);
}

int main(void)
{
    const struct CMUnitTest digest[] = {
        TEST(test_vectors),        TEST(test_a_million),
        TEST(test_hmac),           TEST(test_names),
        TEST(test_equal_and_wipe), TEST(test_against_python),
        TEST(test_random_sizes),   TEST(test_random_after_fork),
    };

    return TEST_MAIN(digest);
}
