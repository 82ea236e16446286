/* SPDX-License-Identifier: MIT */
/* address.c - addresses as text. */
#include "ipc/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { HOST_MAX = 255, PORT_MAX = 65535 };

int mp__address_of_path(const char *path, struct mp__address *address)
{
    size_t length = strlen(path);

    if (!length)
        return EINVAL;
    if (length > MP__PATH_MAX)
        return ENAMETOOLONG;
    memset(address, 0, sizeof(*address));
    address->of.path.sun_family = AF_UNIX;
    memcpy(address->of.path.sun_path, path, length);
    address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return 0;
}

bool mp__address_is_path(const struct mp__address *address)
{
    return address->of.any.sa_family == AF_UNIX;
}

/* Digits alone: what strtol takes besides them is no port. */
static int read_port(const char *text, in_port_t *port)
{
    unsigned number = 0;

    if (!*text)
        return EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return EINVAL;
        number = number * 10 + (unsigned)(*text - '0');
        if (number > PORT_MAX)
            return EINVAL;
    }
    *port = htons((in_port_t)number);
    return 0;
}

/* Take "host:port" apart; a host in brackets has colons of its own. */
static int split(const char *text, char *host, in_port_t *port, int *family)
{
    const char *colon = strrchr(text, ':');
    bool bracketed = *text == '[';

    if (!colon)
        return EINVAL;
    size_t length = (size_t)(colon - text);
    if (bracketed) {
        if (length < 3 || colon[-1] != ']')
            return EINVAL;
        text++;
        length -= 2;
    }
    if (length > HOST_MAX || (!bracketed && memchr(text, ':', length)))
        return EINVAL;
    memcpy(host, text, length);
    host[length] = 0;
    *family = bracketed ? AF_INET6 : AF_INET;
    return read_port(colon + 1, port);
}

static void add_ip4(struct mp__address *list, size_t *count, struct in_addr host,
                    in_port_t port)
{
    struct mp__address *address = &list[(*count)++];

    memset(address, 0, sizeof(*address));
    address->size = sizeof(address->of.ip4);
    address->of.ip4.sin_family = AF_INET;
    address->of.ip4.sin_addr = host;
    address->of.ip4.sin_port = port;
}

static int error_of_lookup(int failure)
{
    switch (failure) {
    case EAI_AGAIN:
        return EAGAIN;
    case EAI_MEMORY:
        return ENOMEM;
    case EAI_SYSTEM:
        return errno ? errno : EIO;
    default:
        return EADDRNOTAVAIL;
    }
}

static int look_up(const char *host, int family, int flags, in_port_t port,
                   struct mp__address *list, size_t *count)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM,
                             .ai_flags = flags}, *found;
    int failure = getaddrinfo(host, NULL, &hints, &found);
    if (failure)
        return error_of_lookup(failure);

    for (struct addrinfo *next = found; next && *count < MP__ADDRESSES_MAX;
         next = next->ai_next) {
        if (next->ai_family == AF_INET) {
            struct sockaddr_in address;
            memcpy(&address, next->ai_addr, sizeof(address));
            add_ip4(list, count, address.sin_addr, port);
        } else if (next->ai_family == AF_INET6) {
            struct mp__address *address = &list[(*count)++];
            memset(address, 0, sizeof(*address));
            address->size = sizeof(address->of.ip6);
            memcpy(&address->of.ip6, next->ai_addr, sizeof(address->of.ip6));
            address->of.ip6.sin6_port = port;
        }
    }
    freeaddrinfo(found);
    return *count ? 0 : EADDRNOTAVAIL;
}

static int parse_host(const char *text, struct mp__address *list, size_t *count)
{
    char host[HOST_MAX + 1];
    struct in_addr numeric = {.s_addr = htonl(INADDR_ANY)};
    in_port_t port;
    int family, err = split(text, host, &port, &family);
    if (err)
        return err;

    if (family == AF_INET6)
        return look_up(host, AF_INET6, AI_NUMERICHOST, port, list, count) ? EINVAL : 0;
    /* Python's ("localhost", port) is of IPv4, and needs nobody to look it up. */
    if (!strcmp(host, "localhost"))
        numeric.s_addr = htonl(INADDR_LOOPBACK);
    else if (*host && inet_pton(AF_INET, host, &numeric) != 1) {
        err = look_up(host, AF_INET, 0, port, list, count);
        return err == EADDRNOTAVAIL ? look_up(host, AF_INET6, 0, port, list, count) : err;
    }
    add_ip4(list, count, numeric, port);
    return 0;
}

int mp__address_parse(const char *text, struct mp__address *list, size_t *count)
{
    static const char prefix[] = "unix:";
    size_t length = sizeof(prefix) - 1, found = 0;
    int err;

    if (!strncmp(text, prefix, length)) {
        err = mp__address_of_path(text + length, list);
        found = 1;
    } else if (*text == '/') {
        err = mp__address_of_path(text, list);
        found = 1;
    } else {
        err = parse_host(text, list, &found);
    }
    if (!err)
        *count = found;
    return err;
}

/* What the system tells need not end in a zero byte. */
static void format_path(const struct mp__address *address, char *text)
{
    size_t before = offsetof(struct sockaddr_un, sun_path);
    size_t length = address->size > before ? address->size - before : 0;

    if (length > MP__PATH_MAX)
        length = MP__PATH_MAX;
    snprintf(text, MP__ADDRESS_TEXT, "%s%.*s",
             length && *address->of.path.sun_path && *address->of.path.sun_path != '/'
                 ? "unix:"
                 : "",
             (int)length, address->of.path.sun_path);
}

void mp__address_format(const struct mp__address *address, char text[MP__ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
    bool is_ip6 = address->of.any.sa_family == AF_INET6;
    in_port_t port = is_ip6 ? address->of.ip6.sin6_port : address->of.ip4.sin_port;

    *text = 0;
    if (address->size < sizeof(sa_family_t))
        return;
    if (mp__address_is_path(address)) {
        format_path(address, text);
        return;
    }
    /* getnameinfo tells the interface of a link-local address as well. */
    if (getnameinfo(&address->of.any, address->size, host, sizeof(host), NULL, 0,
                    NI_NUMERICHOST))
        return;
    snprintf(text, MP__ADDRESS_TEXT, is_ip6 ? "[%s]:%u" : "%s:%u", host,
             (unsigned)ntohs(port));
}
