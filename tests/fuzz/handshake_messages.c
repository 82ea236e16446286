/* SPDX-License-Identifier: MIT */
/*
 * handshake_messages.c - several sides, and an attacker who holds no key and carries
 * all messages: who may give any of them to anybody, changed as it likes, or make up
 * its own.
 *
 * Whatever the attacker does: a side that had something proved to it finds that done
 * only if another one that holds its key has answered its very challenge, and nobody
 * does that for a client who is one itself.
 */
#include <errno.h>

#include "handshake.h"

#define SIDES_MAX    4
#define MESSAGES_MAX 32
#define OPS_MAX      40

struct message {
    size_t size;
    unsigned char bytes[MP__AUTH_LIMIT];
};

struct side {
    struct mp__auth_terms terms;
    struct mp__auth auth;
    struct message challenge; /* that it delivered */
    struct message answered;  /* the challenge that it answered */
};

static struct side sides[SIDES_MAX];
static size_t side_count;
static struct message messages[MESSAGES_MAX]; /* what the sides have sent */
static size_t message_count;

static const char challenge_word[] = "#CHALLENGE#";

static bool is_over(const struct side *side)
{
    return side->auth.stage == MP__AUTH_DONE || side->auth.stage == MP__AUTH_FAILED;
}

static bool are_equal(const struct message *one, const struct message *other)
{
    return one->size == other->size && !memcmp(one->bytes, other->bytes, one->size);
}

/* Keep what a side has just sent. */
static void keep(struct side *side, const struct mp__auth_message *sent)
{
    struct message message = {.size = sent->size};

    MUST(sent->size <= MP__AUTH_SENT_MAX);
    if (!sent->size)
        return;
    memcpy(message.bytes, sent->bytes, sent->size);
    if (message_count < MESSAGES_MAX)
        messages[message_count++] = message;
    if (message.size > sizeof challenge_word &&
        !memcmp(message.bytes, challenge_word, sizeof challenge_word - 1))
        side->challenge = message;
}

static void begin(struct side *side, struct input *input)
{
    struct mp__auth_message sent;

    memset(side, 0, sizeof *side);
    side->terms = take_terms(input);
    enum mp__auth_role role = (enum mp__auth_role)take_below(input, 4);
    MUST(!mp__auth_start(&side->auth, role, &side->terms, &sent));
    keep(side, &sent);
}

static bool was_answered_for(const struct side *side)
{
    for (size_t i = 0; i < side_count; i++) {
        const struct side *who = &sides[i];

        if (who != side && have_same_key(&who->terms, &side->terms) &&
            are_equal(&who->answered, &side->challenge) &&
            !(who->auth.role == MP__AUTH_CLIENT && side->auth.role == MP__AUTH_CLIENT))
            return true;
    }
    return false;
}

static void give(struct side *side, const struct message *message)
{
    enum mp__auth_stage before = side->auth.stage;
    struct mp__auth_message sent = {.size = SIZE_MAX};

    /* A copy that is not longer than the message. */
    unsigned char *bytes = malloc(message->size ? message->size : 1);
    MUST(bytes);
    memcpy(bytes, message->bytes, message->size);
    int err = mp__auth_take(&side->auth, bytes, message->size, &sent);
    free(bytes);

    MUST(err == 0 || err == EACCES);
    MUST(!err == (side->auth.stage != MP__AUTH_FAILED));
    if (!err && before == MP__AUTH_CHALLENGE_DUE)
        side->answered = *message;
    keep(side, &sent);
    if (side->auth.stage == MP__AUTH_DONE && side->auth.role != MP__AUTH_ANSWER)
        MUST(side->challenge.size && was_answered_for(side));
}

/* --- the attacker ----------------------------------------------------------------- */

static void append(struct message *message, const void *bytes, size_t size)
{
    size_t room = sizeof message->bytes - message->size;

    size = size < room ? size : room;
    memcpy(message->bytes + message->size, bytes, size);
    message->size += size;
}

static struct message take_message(struct input *input)
{
    static const char *const words[] = {"#WELCOME#", "#FAILURE#", challenge_word,
                                        "{md5}",     "{sha256}",  "{sha384}"};
    struct message message = {0};
    unsigned what = take_byte(input);
    const struct message *old = &messages[(what >> 3) % MESSAGES_MAX];
    struct input bytes;

    switch (what % 8) {
    default: /* as it was */
        return *old;
    case 1: /* but for one byte */
        message = *old;
        message.bytes[take_byte(input) % sizeof message.bytes] ^=
            (unsigned char)take_byte(input);
        return message;
    case 2: /* shorter, or with what is left of an older one */
        message = *old;
        message.size = take_byte(input);
        return message;
    case 3: /* a word */
        append(&message, words[(what >> 3) % 6], strlen(words[(what >> 3) % 6]));
        return message;
    case 4: /* other bytes in front of the end of an old one */
        bytes = take_bytes(input, take_byte(input));
        append(&message, bytes.at, bytes.left);
        size_t from = take_byte(input) % (old->size + 1);
        append(&message, old->bytes + from, old->size - from);
        return message;
    case 5: /* a word in front of them */
        append(&message, challenge_word, sizeof challenge_word - 1);
        bytes = take_bytes(input, take_byte(input));
        append(&message, bytes.at, bytes.left);
        return message;
    }
}

void fuzz_messages(struct input *input)
{
    memset(messages, 0, sizeof messages);
    message_count = 0;
    side_count = 2 + take_below(input, SIDES_MAX - 1);
    for (size_t i = 0; i < side_count; i++)
        begin(&sides[i], input);
    for (int i = 0; i < OPS_MAX && input->left; i++) {
        struct side *to = &sides[take_byte(input) % side_count];
        struct message message = take_message(input);
        if (!is_over(to))
            give(to, &message);
    }
}
