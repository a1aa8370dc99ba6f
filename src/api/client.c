/* api/client.c - who calls, for counting: the peer, or behind a proxy that we were told to trust whom that says.
 *
 * A proxy adds the address of its own peer at the end of X-Forwarded-For; what stands before that came from outside, and may be invented. So
 * the list is read from its end, for as long as it names trusted proxies. */
#include "api/api_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

/* The first `bits` of an address; IPv4 as ::ffff:a.b.c.d. */
struct network {
    uint8_t address[16];
    unsigned bits;
};

struct proxies {
    struct network networks[PROXIES_MAX];
    size_t count;
};

/* --- addresses --------------------------------------------------------------------------------------- */

static const uint8_t v4_head[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Reads "192.0.2.1" or "2001:db8::1". */
static bool read_ip(struct bytes text, uint8_t out[16], bool *is_v4)
{
    char copy[INET6_ADDRSTRLEN];

    if (text.size == 0 || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.at, text.size);
    copy[text.size] = '\0';
    *is_v4 = inet_pton(AF_INET, copy, out + 12) == 1;
    if (*is_v4)
        memcpy(out, v4_head, sizeof v4_head);
    return *is_v4 || inet_pton(AF_INET6, copy, out) == 1;
}

/* An entry of X-Forwarded-For: an address, with a port or without. */
static bool read_entry(struct bytes text, uint8_t out[16])
{
    long colon = bytes_find(text, ':'), bracket = bytes_find(text, ']');
    bool is_v4;

    if (text.size > 0 && text.at[0] == '[' && bracket > 0)
        return read_ip(bytes_of(text.at + 1, (size_t)bracket - 1), out, &is_v4);
    if (colon > 0 && bytes_find(bytes_from(text, (size_t)colon + 1), ':') < 0)
        text = bytes_head(text, (size_t)colon);
    return read_ip(text, out, &is_v4);
}

static void ip_of(const struct address *a, uint8_t out[16])
{
    if (a->socket.ss_family == AF_INET6) {
        memcpy(out, &a->socket.v6.sin6_addr, 16);
    } else {
        memcpy(out, v4_head, sizeof v4_head);
        memcpy(out + 12, &a->socket.v4.sin_addr, 4);
    }
}

static void address_of(const uint8_t ip[16], struct address *out)
{
    *out = (struct address){.size = 0};
    if (memcmp(ip, v4_head, sizeof v4_head) == 0) {
        out->socket.v4.sin_family = AF_INET;
        memcpy(&out->socket.v4.sin_addr, ip + 12, 4);
        out->size = sizeof out->socket.v4;
    } else {
        out->socket.v6.sin6_family = AF_INET6;
        memcpy(&out->socket.v6.sin6_addr, ip, 16);
        out->size = sizeof out->socket.v6;
    }
}

/* --- proxies ----------------------------------------------------------------------------------------- */

static bool is_in(const struct network *n, const uint8_t ip[16])
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;

    return memcmp(n->address, ip, whole) == 0 &&
           (rest == 0 || ((n->address[whole] ^ ip[whole]) & (0xff << (8 - rest)) & 0xff) == 0);
}

static bool is_trusted(const struct proxies *p, const uint8_t ip[16])
{
    for (size_t i = 0; i < p->count; i++)
        if (is_in(&p->networks[i], ip))
            return true;
    return false;
}

/* "10.0.0.0/8", "2001:db8::/32", or one address. */
static bool read_network(struct bytes text, struct network *out)
{
    long slash = bytes_find(text, '/');
    uint64_t bits = 0;
    bool is_v4, has_bits = slash >= 0;

    if (!read_ip(has_bits ? bytes_head(text, (size_t)slash) : text, out->address, &is_v4) ||
        (has_bits && !bytes_to_u64(bytes_from(text, (size_t)slash + 1), is_v4 ? 32 : 128, &bits)))
        return false;
    out->bits = !has_bits ? 128 : (unsigned)bits + (is_v4 ? 96 : 0);
    return true;
}

enum err proxies_new(struct proxies **out, const char *list, char why[256])
{
    struct proxies *p = mem_new(sizeof *p);

    while (list != NULL && *list != '\0') {
        size_t size = strcspn(list, ",");

        if (p->count == PROXIES_MAX || !read_network(bytes_of(list, size), &p->networks[p->count])) {
            snprintf(
                why, 256,
                "--trusted-proxy wants up to %d addresses or networks like 10.0.0.0/8,2001:db8::1, not '%.60s'",
                PROXIES_MAX, list);
            free(p);
            *out = NULL;
            return ERR_BAD;
        }
        p->count++;
        list += size + (list[size] == ',');
    }
    *out = p;
    return ERR_OK;
}

void proxies_free(struct proxies *p)
{
    free(p);
}

/* --- clients ----------------------------------------------------------------------------------------- */

/* Takes the last entry off a list. */
static struct bytes take_last(struct bytes *list)
{
    size_t from = list->size;
    struct bytes entry;

    while (from > 0 && list->at[from - 1] != ',')
        from--;
    entry = bytes_from(*list, from);
    *list = bytes_head(*list, from > 0 ? from - 1 : 0);
    while (entry.size > 0 && (entry.at[0] == ' ' || entry.at[0] == '\t'))
        entry = bytes_from(entry, 1);
    while (entry.size > 0 && (entry.at[entry.size - 1] == ' ' || entry.at[entry.size - 1] == '\t'))
        entry.size--;
    return entry;
}

void client_of(const struct proxies *p, const struct http_exchange *x, struct address *out)
{
    struct bytes list = http_field_last(x, "X-Forwarded-For");
    uint8_t ip[16], before[16];

    *out = *http_peer(x);
    ip_of(out, ip);
    while (is_trusted(p, ip) && list.size > 0 && read_entry(take_last(&list), before)) {
        memcpy(ip, before, sizeof ip);
        address_of(ip, out);
    }
}
