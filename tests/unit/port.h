/* tests/unit/port.h - a port for a server of the test's own. */
#ifndef MATINEE_UNIT_PORT_H
#define MATINEE_UNIT_PORT_H

#include "base/random.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* One of loopback that nobody has. It is below those that the kernel hands out by itself, so that no connection takes it before its server
 * does, or while that is down. */
static inline int port_free(void)
{
    for (;;) {
        int port = 10000 + (int)(random_u64() % 22768), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bool is_free = bind(fd, (struct sockaddr *)&at, sizeof at) == 0;

        close(fd);
        if (is_free)
            return port;
    }
}

#endif
