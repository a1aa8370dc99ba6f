/* tests/unit/rtmp/rtmp_sink.c - an RTMP server that takes everything and keeps nothing, to try real publishers on:
 *
 *     rtmp_sink [PORT]        prints its URL, then a line per second; ends on a line (or the end) of its input */
#include "echo_live.h"

#include "rtmp/rtmp.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct rtmp_server *server = NULL;
    struct net *net = NULL;
    struct address at;
    char text[ADDRESS_TEXT_SIZE], where[64];
    struct pollfd input = {.fd = 0, .events = POLLIN};

    snprintf(where, sizeof where, "127.0.0.1:%s", argc > 1 ? argv[1] : "0");
    if (!address_parse(where, &at) || net_start(&net, 1, 1) != ERR_OK ||
        rtmp_server_start(&server, net, &at, NULL, NULL) != ERR_OK) {
        fprintf(stderr, "rtmp_sink: cannot listen on %s\n", where);
        return 1;
    }
    printf("rtmp://%s/live\n", address_text(&at, text));
    do {
        printf("granted %d refused %d clean %d lost %d configs %d samples %d data %d bytes %lld %s\n",
               atomic_load(&echo.granted), atomic_load(&echo.refused), atomic_load(&echo.unpublished_clean),
               atomic_load(&echo.unpublished_lost), atomic_load(&echo.configs), atomic_load(&echo.samples),
               atomic_load(&echo.data), atomic_load(&echo.bytes), echo.configs_seen);
        fflush(stdout);
    } while (poll(&input, 1, 1000) == 0);
    rtmp_server_stop(server);
    net_stop(net);
    return 0;
}
