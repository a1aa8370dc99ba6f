/* api/assets_int.h - the files of web/, built into the binary by tools/embed.py. */
#ifndef MATINEE_API_ASSETS_INT_H
#define MATINEE_API_ASSETS_INT_H

#include "base/bytes.h"

struct asset {
    const char *path; /* below web/, like "watch.html" */
    const char *type;
    const char *etag; /* with its quotes; of the content */
    struct bytes plain;
    struct bytes gzip; /* empty where it would not be smaller */
};

/* The file of that name, or NULL. */
const struct asset *asset_find(const char *path);

#endif
