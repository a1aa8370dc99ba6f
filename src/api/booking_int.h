/* api/booking_int.h - what the calls about inventories and those about reservations share. */
#ifndef MATINEE_API_BOOKING_INT_H
#define MATINEE_API_BOOKING_INT_H

#include "api/api_int.h"
#include "booking/booking.h"

/* A whole number of the body. False (422) where it is there and none, or not from `least` to `most`; *out stays as it is where it
 * is absent. */
bool body_number(struct call *c, const char *name, int64_t least, int64_t most, int64_t *out);

/* Makes the inventory that `body` describes, as POST /inventories does. False: it has replied. */
bool inventory_of_body(struct call *c, json_t *body, struct ulid *id);

/* Replies to a look into the box office that failed: what is busy or away is so for a while. */
void reply_unseen(struct call *c, enum err e, const char *what);

/* As a value of a query (RFC 3986 §2.1); the caller's. */
char *percent_encoded(const char *text);

json_t *reservation_json(const struct reservation_view *r);

/* reservation_list.c, for the table of routes. */
bool check_reservations(struct call *c);
void list_reservations(struct call *c);

/* Replies with an inventory and its ETag. */
void reply_inventory(struct call *c, int status, const struct inventory_view *v);

#endif
