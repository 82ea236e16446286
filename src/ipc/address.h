/* SPDX-License-Identifier: MIT */
/*
 * address.h - addresses as text: "host:port", "[IPv6]:port", "/path", "unix:path".
 */
#ifndef MP_IPC_ADDRESS_H
#define MP_IPC_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct mp__address {
    socklen_t size;
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
        struct sockaddr_un path;
    } of;
};

enum {
    MP__ADDRESSES_MAX = 8, /* of one host */
    MP__PATH_MAX = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1,
    MP__ADDRESS_TEXT = 256
};

/*
 * Read a text into `list`, which has room for MP__ADDRESSES_MAX: a host may have several
 * addresses, those of IPv4 come first.  Names other than "localhost" are looked up, and
 * that may take as long as the system lets it.
 *
 *   EINVAL          it is no address
 *   ENAMETOOLONG    the path does not fit into an address
 *   EADDRNOTAVAIL   there is no such host
 *   EAGAIN          the host can't be looked up just now
 */
int mp__address_parse(const char *text, struct mp__address *list, size_t *count);

/* The address of a path: ENAMETOOLONG, or EINVAL if it is empty. */
int mp__address_of_path(const char *path, struct mp__address *address);

bool mp__address_is_path(const struct mp__address *address);

/* The way back; "" for a Unix socket without a path. */
void mp__address_format(const struct mp__address *address, char text[MP__ADDRESS_TEXT]);

#endif
