/* net/address.c - addresses as people write them. No name is looked up, so nothing here blocks. */
#include "net/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Sets *out by copying: its storage is no sockaddr_in to the compiler's rules about aliases. */
static bool parse_v4(const char *host, uint16_t port, struct address *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4.sin_addr) != 1)
        return false;
    memcpy(&out->socket, &v4, sizeof v4);
    out->size = sizeof v4;
    return true;
}

static bool parse_v6(const char *host, uint16_t port, struct address *out)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return false;
    memcpy(&out->socket, &v6, sizeof v6);
    out->size = sizeof v6;
    return true;
}

bool address_parse(const char *text, struct address *out)
{
    char host[ADDRESS_TEXT_SIZE];
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : 0;
    uint64_t port;

    memset(out, 0, sizeof *out);
    if (colon == NULL || size >= sizeof host || !bytes_to_u64(bytes_text(colon + 1), 65535, &port))
        return false;
    if (size == 0) /* an IPv6 socket takes both kinds; listen_start() knows what to do without */
        return parse_v6("::", (uint16_t)port, out);
    bool bracketed = size > 2 && text[0] == '[' && text[size - 1] == ']';

    if (bracketed) {
        text++;
        size -= 2;
    }
    memcpy(host, text, size);
    host[size] = '\0';
    return bracketed ? parse_v6(host, (uint16_t)port, out) : parse_v4(host, (uint16_t)port, out);
}

const char *address_text(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (a->socket.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->socket;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_SIZE, "%s:%u", host, ntohs(v4->sin_port));
    } else if (a->socket.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->socket;

        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_SIZE, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(text, ADDRESS_TEXT_SIZE, "%s", "unknown");
    }
    return text;
}

bool address_is_loopback(const struct address *a)
{
    if (a->socket.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->socket;

        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->socket;

    if (a->socket.ss_family != AF_INET6)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
}

struct bytes address_host(const struct address *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a->socket;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a->socket;

    if (a->socket.ss_family == AF_INET)
        return bytes_of(&v4->sin_addr, sizeof v4->sin_addr);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return bytes_of(v6->sin6_addr.s6_addr + 12, 4);
    return bytes_of(&v6->sin6_addr, 8);
}
