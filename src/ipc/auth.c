/* SPDX-License-Identifier: MIT */
/* auth.c - the proof that both ends of a connection hold the same key. */
#include "ipc/auth.h"

#include <errno.h>
#include <string.h>

#include "base/random.h"

static const unsigned char challenge_word[] = "#CHALLENGE#";
static const unsigned char welcome[] = "#WELCOME#";
static const unsigned char failure[] = "#FAILURE#";

enum {
    CHALLENGE_WORD = sizeof(challenge_word) - 1,
    VERDICT = sizeof(welcome) - 1, /* or failure */
    LEGACY_CHALLENGE = 20,
    MARK = 16, /* bytes at the end of what a client delivers */
    UNMARKED = MP__AUTH_RANDOM - MARK
};

_Static_assert(sizeof(welcome) == sizeof(failure), "verdicts are equally long");
_Static_assert(CHALLENGE_WORD + MP__CHALLENGE_MAX == MP__AUTH_SENT_MAX, "the longest");

int mp__auth_terms_read(struct mp__auth_terms *terms, const void *key, size_t key_size,
                        const char *digest, int allow_legacy)
{
    terms->key = key;
    terms->key_size = key_size;
    terms->digest = digest ? mp__digest_find(digest, strlen(digest)) : &mp__sha256;
    terms->legacy = allow_legacy != 0;
    return !terms->digest || (!key && key_size) ? EINVAL : 0;
}

static void append(struct mp__auth_message *message, const void *bytes, size_t size)
{
    memcpy(message->bytes + message->size, bytes, size);
    message->size += size;
}

static void append_name(struct mp__auth_message *message, const struct mp__digest *digest)
{
    append(message, "{", 1);
    append(message, digest->name, strlen(digest->name));
    append(message, "}", 1);
}

/* The digest that a message begins with, in braces: `*name_size` bytes with them. */
static const struct mp__digest *named_digest(const unsigned char *message, size_t size,
                                             size_t *name_size)
{
    size_t most = size < MP__DIGEST_NAME_MAX + 2 ? size : MP__DIGEST_NAME_MAX + 2;
    const unsigned char *end = size ? memchr(message, '}', most) : NULL;

    if (!end || message[0] != '{')
        return NULL;
    *name_size = (size_t)(end - message) + 1;
    return mp__digest_find((const char *)message + 1, *name_size - 2);
}

/* The mark of clients that hold the key upon so many random bytes. */
static void make_mark(const struct mp__auth_terms *terms, const unsigned char *random,
                      unsigned char *mark)
{
    static const char purpose[] = "libmp: delivered by a client";
    unsigned char marked[sizeof(purpose) + UNMARKED], mac[MP__DIGEST_MAX];

    memcpy(marked, purpose, sizeof(purpose));
    memcpy(marked + sizeof(purpose), random, UNMARKED);
    mp__hmac(&mp__sha256, terms->key, terms->key_size, marked, sizeof(marked), mac);
    memcpy(mark, mac, MARK);
}

/* Whether a challenge, of which `random` follows after the name, is a client's. */
static bool is_marked(const struct mp__auth_terms *terms, const unsigned char *random,
                      size_t size)
{
    unsigned char mark[MARK];

    if (size != MP__AUTH_RANDOM)
        return false;
    make_mark(terms, random, mark);
    return mp__equal(mark, random + UNMARKED, MARK);
}

static int deliver(struct mp__auth *auth, struct mp__auth_message *send)
{
    unsigned char random[MP__AUTH_RANDOM];
    int err = mp__random(random, sizeof(random));
    if (err)
        return err;

    if (auth->role == MP__AUTH_CLIENT)
        make_mark(auth->terms, random, random + UNMARKED);
    append(send, challenge_word, CHALLENGE_WORD);
    append_name(send, auth->terms->digest);
    append(send, random, sizeof(random));
    auth->challenge_size = send->size - CHALLENGE_WORD;
    memcpy(auth->challenge, send->bytes + CHALLENGE_WORD, auth->challenge_size);
    auth->stage = MP__AUTH_ANSWER_DUE;
    return 0;
}

/* Whether the answer is what the key makes of what was delivered. */
static bool is_right(const struct mp__auth *auth, const unsigned char *answer, size_t size)
{
    const struct mp__auth_terms *terms = auth->terms;
    const struct mp__digest *digest = &mp__md5;
    unsigned char expected[MP__DIGEST_MAX];
    size_t name_size = 0;

    if (size != mp__md5.size || !terms->legacy) {
        digest = named_digest(answer, size, &name_size);
        if (digest != terms->digest)
            return false;
    }
    if (size - name_size != digest->size)
        return false;
    mp__hmac(digest, terms->key, terms->key_size, auth->challenge, auth->challenge_size,
             expected);
    bool right = mp__equal(expected, answer + name_size, digest->size);
    mp__wipe(expected, sizeof(expected));
    return right;
}

static int judge_answer(struct mp__auth *auth, const unsigned char *answer, size_t size,
                        struct mp__auth_message *send)
{
    if (!is_right(auth, answer, size)) {
        append(send, failure, VERDICT);
        return EACCES;
    }
    append(send, welcome, VERDICT);
    auth->stage = auth->role == MP__AUTH_LISTENER ? MP__AUTH_CHALLENGE_DUE : MP__AUTH_DONE;
    return 0;
}

static int answer_challenge(struct mp__auth *auth, const unsigned char *message,
                            size_t size, struct mp__auth_message *send)
{
    const struct mp__auth_terms *terms = auth->terms;
    const struct mp__digest *digest = &mp__md5;
    size_t name_size = 0;

    if (size < CHALLENGE_WORD + LEGACY_CHALLENGE ||
        memcmp(message, challenge_word, CHALLENGE_WORD))
        return EACCES;
    message += CHALLENGE_WORD;
    size -= CHALLENGE_WORD;
    if (size == auth->challenge_size && !memcmp(message, auth->challenge, size))
        return EACCES;
    if (size != LEGACY_CHALLENGE || !terms->legacy) {
        digest = named_digest(message, size, &name_size);
        if (!digest)
            return EACCES;
    }
    if (auth->role == MP__AUTH_CLIENT &&
        is_marked(terms, message + name_size, size - name_size))
        return EACCES;

    if (name_size)
        append_name(send, digest);
    mp__hmac(digest, terms->key, terms->key_size, message, size, send->bytes + send->size);
    send->size += digest->size;
    auth->stage = MP__AUTH_WELCOME_DUE;
    return 0;
}

static int take_verdict(struct mp__auth *auth, const unsigned char *message, size_t size,
                        struct mp__auth_message *send)
{
    if (size != VERDICT || memcmp(message, welcome, VERDICT))
        return EACCES;
    if (auth->role == MP__AUTH_CLIENT)
        return deliver(auth, send);
    auth->stage = MP__AUTH_DONE;
    return 0;
}

int mp__auth_start(struct mp__auth *auth, enum mp__auth_role role,
                   const struct mp__auth_terms *terms, struct mp__auth_message *send)
{
    memset(auth, 0, sizeof(*auth));
    auth->terms = terms;
    auth->role = role;
    auth->stage = MP__AUTH_CHALLENGE_DUE;
    send->size = 0;
    return role == MP__AUTH_LISTENER || role == MP__AUTH_DELIVER ? deliver(auth, send) : 0;
}

int mp__auth_take(struct mp__auth *auth, const void *message, size_t size,
                  struct mp__auth_message *send)
{
    int err = EACCES;

    send->size = 0;
    if (auth->stage == MP__AUTH_ANSWER_DUE)
        err = judge_answer(auth, message, size, send);
    else if (auth->stage == MP__AUTH_CHALLENGE_DUE)
        err = answer_challenge(auth, message, size, send);
    else if (auth->stage == MP__AUTH_WELCOME_DUE)
        err = take_verdict(auth, message, size, send);
    if (err)
        auth->stage = MP__AUTH_FAILED;
    return err;
}
