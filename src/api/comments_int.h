/* api/comments_int.h - what the files about comments share. */
#ifndef MATINEE_API_COMMENTS_INT_H
#define MATINEE_API_COMMENTS_INT_H

#include "api/api_int.h"

/* No position is beyond the longest recording by much; what is larger is no position. */
#define SECONDS_MAX 1e10

/* Replies to a look at comments that failed: what is busy or away is so for a while. */
void reply_comments_away(struct call *c);

/* The text of the body's member `name` in NFC, to be given to free(). False (422) where it is missing or may not be said. */
bool body_comment_text(struct call *c, const char *name, enum comment_text kind, char **out);

/* Counts one for the caller's address. False: it has replied 429. On the loop. */
bool within_address_limit(struct call *c);
/* The same for an author. */
bool within_author_limit(struct call *c, const char *author);

#endif
