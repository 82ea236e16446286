/* SPDX-License-Identifier: MIT */
/* address_text.c - any text as an address, and any address as text. */
#include <errno.h>
#include <netdb.h>

#include "handshake.h"
#include "ipc/address.h"

#define TEXT_MAX     512
#define PATH_LONGEST (sizeof((struct sockaddr_un *)0)->sun_path - 1)

/* Names are looked up nowhere: that they have so many addresses, of any kind, is made
 * up. */
static struct {
    unsigned count, kinds;
    struct addrinfo found[16];
    union {
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
        struct sockaddr any;
    } addresses[16];
} lookup;

int __real_getaddrinfo(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **found);
void __real_freeaddrinfo(struct addrinfo *found);
void __wrap_freeaddrinfo(struct addrinfo *found);

int __wrap_getaddrinfo(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **found)
{
    if (hints->ai_flags & AI_NUMERICHOST)
        return __real_getaddrinfo(host, service, hints, found);
    MUST(strlen(host) <= 255);
    if (!lookup.count)
        return lookup.kinds & 1 ? EAI_NONAME : EAI_AGAIN;
    memset(lookup.addresses, 0, sizeof lookup.addresses);
    for (unsigned i = 0; i < lookup.count; i++) {
        struct addrinfo *next = &lookup.found[i];
        int family = lookup.kinds >> i % 8 & 1 ? AF_INET6 : AF_INET;

        next->ai_family = lookup.addresses[i].any.sa_family = (sa_family_t)family;
        next->ai_addr = &lookup.addresses[i].any;
        next->ai_next = i + 1 < lookup.count ? next + 1 : NULL;
    }
    *found = lookup.found;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *found)
{
    if (found != lookup.found)
        __real_freeaddrinfo(found);
}

/* An address that the text tells is told by a text that tells the same address. */
static void there_and_back(const struct mp__address *address)
{
    struct mp__address list[MP__ADDRESSES_MAX];
    char text[MP__ADDRESS_TEXT], again[MP__ADDRESS_TEXT];
    size_t count = 0;

    memset(text, 'x', sizeof text);
    mp__address_format(address, text);
    MUST(memchr(text, 0, sizeof text));
    MUST(!mp__address_parse(text, list, &count) && count == 1);
    MUST(list[0].size == address->size);
    mp__address_format(&list[0], again);
    MUST(!strcmp(text, again));
}

static bool is_documented(int err)
{
    return err == EINVAL || err == ENAMETOOLONG || err == EADDRNOTAVAIL ||
           err == EAGAIN;
}

/* What the system tells of a peer, of any length that it may have. */
static void format_any(struct input *input)
{
    struct mp__address address = {0};
    char text[MP__ADDRESS_TEXT];

    address.size = (socklen_t)take_size(input, sizeof address.of);
    struct input bytes = take_bytes(input, sizeof address.of);
    memcpy(&address.of, bytes.at, bytes.left);
    mp__address_format(&address, text);
    MUST(memchr(text, 0, sizeof text));
}

void fuzz_address(struct input *input)
{
    struct mp__address list[MP__ADDRESSES_MAX];
    size_t count = 4711;

    lookup.count = take_below(input, 17);
    lookup.kinds = take_byte(input);
    if (lookup.count == 16) {
        format_any(input);
        return;
    }
    struct input bytes = take_bytes(input, TEXT_MAX);
    char *text = malloc(bytes.left + 1);
    MUST(text);
    memcpy(text, bytes.at, bytes.left);
    text[bytes.left] = 0;

    int err = mp__address_parse(text, list, &count);
    MUST(err == 0 || is_documented(err));
    if (*text == '/')
        MUST(err == (strlen(text) <= PATH_LONGEST ? 0 : ENAMETOOLONG));
    MUST(err ? count == 4711 : count >= 1 && count <= MP__ADDRESSES_MAX);
    for (size_t i = 0; !err && i < count; i++)
        there_and_back(&list[i]);
    free(text);
}
