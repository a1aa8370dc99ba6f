/* api/api_int.h - calls and routes.
 *
 * A call is one request on its way through a route. `check` runs on the loop and reads what it needs of the
 * exchange; `run` makes the reply and, for a route that blocks, does so on a pool thread, where the exchange
 * must not be touched: the peer may have hung up meanwhile. */
#ifndef MATINEE_API_API_INT_H
#define MATINEE_API_API_INT_H

#include "api/api.h"
#include "base/rate.h"
#include "base/ulid.h"
#include "play/play.h"

#include <jansson.h>

#define CALL_PARAMETERS_MAX 3
#define CALL_FIELDS_MAX     10

struct call;

struct route {
    enum http_method method;
    const char *pattern; /* "/api/v1/events/{}": each {} takes one segment of the path */
    unsigned flags;
    bool (*check)(struct call *c); /* may be NULL; false: it has replied */
    void (*run)(struct call *c);
};

enum route_flags {
    ROUTE_ADMIN =
        1, /* wants the admin's token, or that of a role below, whose own the event of the path is */
    ROUTE_PRODUCER = 128,
    ROUTE_MODERATOR = 256,
    ROUTE_BOX_OFFICE = 512,
    ROUTE_EDGE = 4096,   /* edges ask it for viewers who play: not counted where the edge shows its key */
    ROUTE_NEW = 1024,    /* it makes something: there is no event yet whose own it would be */
    ROUTE_BLOCKS = 2,    /* runs on a pool thread */
    ROUTE_STORE = 64,    /* runs on a thread that may wait for the store */
    ROUTE_JSON = 4,      /* wants a JSON object as its body */
    ROUTE_OPEN = 8,      /* other origins' pages may read it */
    ROUTE_LATER = 32,    /* `run` hands the call on; whoever has its reply calls call_send_later() */
    ROUTE_RELAYS = 2048, /* where the video of parameter 0 is live on another server, this answers */
    ROUTE_STREAMS = 16,  /* takes its body piece by piece, and the call with it: `run` sees to call_send() */
};

struct api {
    struct api_options options;
    char *admin_token, *program;
    struct rate *per_author, *per_address; /* of comments */
    struct rate *offers;                   /* of WebRTC sessions, per address */
    struct rate *requests, *requests_token, *refused;
    struct http_handler handler;
    _Atomic bool draining;
    struct waiting_room *rooms; /* one a loop: edge.c */
    unsigned room_count;
    uint64_t started; /* of this run alone */
    _Atomic uint64_t answers;
};

/* A reply header; the value is the call's. */
struct field {
    const char *name;
    char *value;
};

struct call {
    struct api *api;
    struct http_exchange *x; /* NULL: the peer has hung up */
    const struct route *route;
    char *parameters[CALL_PARAMETERS_MAX]; /* of the path */
    char *origin;                          /* "http://host:port" as the client called us */
    bool is_admin, has_credentials;
    int64_t came_ms;       /* wall clock */
    struct address client; /* who calls, for counting */
    struct ulid staff;     /* whose API token it is, and */
    enum role role;        /* ROLE_NONE: nobody's */
    char *token;           /* a viewer's, from wherever it was given; NULL: none */
    json_t *body;          /* ROUTE_JSON */
    char *text;            /* the route's own, freed with the call */
    struct loop *loop;
    /* What checks read for runs: */
    struct ulid id, after;
    double offset;
    long limit;
    int64_t since;
    uint32_t number;
    const char *device;  /* NULL: not said */
    uint32_t height_max; /* of the device; 0: not said */
    char rendition[16];
    enum container container;
    struct video_view *view;
    /* The reply: */
    int status;
    const char *type;
    struct buffer *content;
    struct field fields[CALL_FIELDS_MAX];
    size_t field_count;
    void (*answer)(
        struct call *c); /* instead of the reply, on the loop: an answer that goes on; frees the call */
    size_t piece;        /* how far it has come */
};

/* --- call.c: replies --------------------------------------------------------------------------------- */

void call_field(struct call *c, const char *name, const char *format, ...) printf_like(3, 4);
void call_json(struct call *c, int status, json_t *document); /* takes over the reference */
void call_text(struct call *c, int status, const char *type,
               struct buffer *content); /* takes over the reference */
void call_empty(struct call *c, int status);

/* application/problem+json (RFC 9457): `slug` is the stable type, the detail says what to do. */
void call_problem(struct call *c, int status, const char *slug, const char *format, ...) printf_like(4, 5);
/* The same with members of its own; takes over the reference. */
void call_problem_with(struct call *c, int status, const char *slug, json_t *more, const char *format, ...)
    printf_like(5, 6);
/* The problem that an error of a room comes to, where nothing better is known. */
void call_error(struct call *c, enum err e, const char *what);

/* Sends the reply, unless the peer is gone, and frees the call. On its loop. */
void call_send(struct call *c);
/* The same from any thread. */
void call_send_later(struct call *c);
void call_free(struct call *c);

/* --- shared checks; each replies where it says no ---------------------------------------------------- */

bool call_id(struct call *c, const char *what); /* parameter 0 as an id into c->id; 404 where it is none */
bool call_page(struct call *c);                 /* limit and after; 400 */
bool call_limit(struct call *c);
/* The view of video c->id into c->view, from memory or, where the route blocks, loaded. 404 where there is none. */
bool call_view(struct call *c);
/* Whether this request may see the video c->view; otherwise replies 401 or 403. */
bool call_may_watch(struct call *c);

/* --- roles.c ------------------------------------------------------------------------------------------ */

/* Reads who calls. On the loop. */
void call_read_role(struct call *c);
/* Whether the route is for the caller; otherwise replies 401 or 403. */
bool call_check_role(struct call *c);
/* Whether the caller is an admin, or has one of `wanted` (enum role) for the event. */
bool call_is_staff(const struct call *c, unsigned wanted, struct ulid event);

/* --- limit.c, client.c -------------------------------------------------------------------------------- */

void limits_open(struct api *a);
void limits_close(struct api *a);
/* The peer, or whom trusted proxies say. */
void client_of(const struct proxies *p, const struct http_exchange *x, struct address *out);
/* Whether limits of addresses are for this caller. */
bool call_is_limited(const struct call *c);
/* Before a token is looked at: whether this address may try one more. False: it has replied 429. */
bool call_may_try(struct call *c);
/* Counts the call, and tells what is left. False: it has replied 429. */
bool call_within_limits(struct call *c);
/* 429, and when to try again. */
void reply_too_often(struct call *c, const char *slug, int64_t wait_ms, const char *what);

/* --- elsewhere.c: what another server has ---------------------------------------------------------------- */

/* Has the exchange answered by the server at `base`, whom its token is told. `shared`: the caller has let the viewer in; otherwise
 * that server does. */
void relay_exchange(struct api *a, struct http_exchange *x, const char *base,
                    const struct video_view *shared);

/* --- ice_servers.c ------------------------------------------------------------------------------------ */

/* Adds the Link field with the STUN and TURN servers that a WHEP client may use, and a password for these; nothing where
 * there are none. */
void ice_servers_tell(struct call *c);

/* --- door.c: viewers' tokens ---------------------------------------------------------------------------- */

struct refusal {
    int status;
    const char *slug, *detail;
};

/* The viewer's token of a request into token[TICKET_TEXT_SIZE]: a bearer's, one in the query, or the cookie that such a one has
 * set. False: there is none. *in_query: it stood there. One that is too long is "", which nobody has signed. */
bool door_token(const struct http_exchange *x, char token[TICKET_TEXT_SIZE], bool *in_query);
/* NULL where the token (NULL: none) opens the video; else why not. Any thread; quick. */
const struct refusal *door_refuses(struct api *a, const struct video_view *v, const char *token);
/* Keeps the token in cookies for the files and the calls of this video, whose own URLs never carry it. */
void door_set_cookie(struct http_exchange *x, struct ulid video, const char *token);
/* What lets one person in to an event: a confirmed reservation, or a link that its buyer gave away. */
struct pass {
    struct ulid id, event;
    bool is_link;
};

/* {token, expiresAt, eventId, watchUrl, renewSeconds} for a confirmed reservation; NULL where its inventory belongs to no event.
 * Where screens are counted the token opens nothing, and gets a screen; else it goes on with the session of the token that the caller
 * sent. Any thread; quick. */
json_t *door_ticket(struct call *c, const struct reservation_view *r);
/* The same for a screen that watches. NULL: it has replied why not. Blocks. */
json_t *door_screen(struct call *c, const struct pass *p);

/* By what somebody got in to c->view, for as long as they are there: once a cancellation, a takeover or the event's own rule have put
 * an end to that, they may not stay. Any thread; quick. */
struct stay;
struct stay *door_stay_new(struct call *c);
bool door_may_stay(const struct stay *s);
void door_stay_free(struct stay *s); /* accepts NULL */

/* Before a reservation of this version (BOOKING_ANY_VERSION: of any) is cancelled its tokens are refused. Blocks. */
must_check enum err door_close(struct api *a, struct ulid reservation, int64_t version);
/* The screen whose token the caller shows closes: it is one of the pass c->id. It replies. Blocks. */
void door_leave(struct call *c);

/* --- JSON bodies ------------------------------------------------------------------------------------- */

/* Refuses (422) members that are not among `allowed` (ended by NULL). */
bool body_only(struct call *c, const char *const *allowed);
/* The member as text of 1 to `codepoints_max` characters; *out NULL when absent; 422 where it is no such text. */
bool body_text(struct call *c, const char *name, size_t codepoints_max, const char **out);

/* --- the routes -------------------------------------------------------------------------------------- */

extern const struct route inventory_routes[], reservation_routes[], ticket_routes[], event_routes[],
    video_routes[], rendition_routes[], whep_routes[], upload_routes[], comment_routes[],
    comment_feed_routes[], comment_rule_routes[], token_routes[], comment_move_routes[],
    comment_post_routes[], admission_routes[], operation_routes[]; /* ended by a NULL pattern */

/* The comments of videos that were deleted go too, and with an event (may be NULL) its rules. Blocks. */
void comments_forget(struct api *a, const struct ulid *event, const struct ulid *videos, size_t count);

/* The pages and what they are made of. False: no such path. */
bool pages_answer(struct http_exchange *x);
/* A copy of one of their files; NULL where there is none. */
struct buffer *asset_content(const char *name);
/* /v/…: playlists, manifests, segments. */
void playback_answer(struct api *a, struct http_exchange *x);
/* The same for a request that has been here before, and waited. */
void playback_again(struct api *a, struct http_exchange *x);
/* The same, and it is known what is asked for: a piece of that segment of the view. */
void playback_piece(struct api *a, struct http_exchange *x, struct video_view *v, enum track track,
                    uint32_t segment, size_t at, size_t size);

/* edge.c: what a video that is live has beyond its finished segments. False: it is nothing of that kind, and not answered. */
bool edge_answer(struct api *a, struct http_exchange *x, const struct video_view *v, const char *file);
void edge_open(struct api *a);
void edge_close(struct api *a); /* after the loops have ended, or before anything was asked */

/* "public", or "private" for what only ticket holders may see: a shared cache must not hand it on. */
const char *cache_scope(const struct video_view *v);

/* --- keep.c: what caches are told ----------------------------------------------------------------------- */

/* Whether an edge asks that checks tickets itself (--edge-key). */
bool keep_is_edge(const struct api *a, const struct http_exchange *x);
/* Adds a number that no other answer has: whoever gets the same one twice got it from a cache. */
void keep_number(struct api *a, struct http_exchange *x);
/* Adds Cache-Control, the keys by which the video is purged, and the number. `stale`: the seconds of stale-while-revalidate, for
 * caches that serve a crowd. */
void keep_forever(struct api *a, struct http_exchange *x, const struct video_view *v);
void keep_for(struct api *a, struct http_exchange *x, const struct video_view *v, unsigned seconds,
              unsigned stale);

/* CORS for what any page may read (docs/api.md). */
void allow_origins(struct http_exchange *x);

#endif
