/* api/api.h - the HTTP API and the pages: docs/api.md, as routes. Thin: each parses, calls a room, prints. */
#ifndef MATINEE_API_API_H
#define MATINEE_API_API_H

#include "access/access.h"
#include "booking/booking.h"
#include "comments/comments.h"
#include "db/db.h"
#include "http/http.h"
#include "ladder/ladder.h"
#include "live/live.h"
#include "relay/relay.h"
#include "store/store.h"
#include "webrtc/webrtc.h"

struct api;
struct proxies;

struct api_options {
    struct net *net;
    struct live *live;
    struct store *store;
    struct db *db;
    struct ladder *ladder;
    struct booking *booking;
    struct webrtc *webrtc;
    struct ice_servers *ice_servers; /* that WHEP viewers are told; NULL: none */
    struct tickets *tickets;
    struct staff *staff;
    struct comments *comments;
    struct relay *relay;
    /* A minute; 0: no limit. Comments of one author and of one address; calls of one address and with one token; wrong tokens of one
     * address. */
    struct api_limits {
        uint32_t author, address, requests, token, refused;
    } limits;
    bool limit_loopback;
    struct proxies *proxies; /* that are believed who calls */
    const char *admin_token;
    bool is_admin_shared; /* by all servers over the database */
    const char *edge_key; /* by which edges that check tickets themselves are known; NULL: there are none */
    const char *program;  /* our own executable, for the worker that draws thumbnails */
    unsigned rtmp_port;   /* for the URLs we print; with rtmps_port 0 where there is none */
    unsigned rtmps_port;
};

/* --- proxies, client.c --------------------------------------------------------------------------------------- */

/* "10.0.0.0/8,2001:db8::1" (NULL: none). ERR_BAD with a reason in `why`. */
must_check enum err proxies_new(struct proxies **out, const char *list, char why[256]);
void proxies_free(struct proxies *p); /* accepts NULL */

/* --- STUN and TURN servers for WebRTC viewers, ice_servers.c ----------------------------------------------- */

struct ice_servers;

struct ice_options {
    const char *list;            /* "turn:turn.example.net?transport=udp,stun:…" */
    const char *user, *password; /* for TURN; or else */
    const char *
        secret; /* by which each viewer gets a user and password for a time, as coturn's use-auth-secret takes them */
};

/* ERR_BAD with a reason in `why`: it cannot be told to anybody. */
must_check enum err ice_servers_new(struct ice_servers **out, const struct ice_options *options,
                                    char why[256]);
void ice_servers_free(struct ice_servers *s); /* accepts NULL */

/* Makes the handler for http_server_start(); freed after the server and the loops have ended. */
struct api *api_new(const struct api_options *options);
const struct http_handler *api_handler(struct api *a);
void api_free(struct api *a); /* accepts NULL */

/* From now on /readyz says 503, so that a balancer sends nobody here any more. */
void api_drain(struct api *a);

#endif
