/* http/conditions.c - entity tags and byte ranges as requests write them. Pure. */
#include "http/http_int.h"

/* --- entity tags ------------------------------------------------------------------------------------------- */

static struct bytes without_weak(struct bytes etag, bool *weak)
{
    *weak = bytes_starts(etag, "W/");
    return *weak ? bytes_from(etag, 2) : etag;
}

/* Takes the next entity tag off the list; false at its end or where it is malformed. */
static bool next_etag(struct bytes *list, struct bytes *etag)
{
    while (list->size > 0 && (list->at[0] == ' ' || list->at[0] == '\t' || list->at[0] == ','))
        *list = bytes_from(*list, 1);
    size_t open = bytes_starts(*list, "W/") ? 2 : 0;

    if (list->size <= open || list->at[open] != '"')
        return false;
    long close = bytes_find(bytes_from(*list, open + 1), '"');

    if (close < 0)
        return false;
    *etag = bytes_head(*list, open + 1 + (size_t)close + 1);
    *list = bytes_from(*list, etag->size);
    return true;
}

bool etag_listed(struct bytes list, struct bytes etag, bool strong)
{
    bool weak, other_weak;
    struct bytes tag = without_weak(etag, &weak);

    if (bytes_is(list, "*"))
        return true;
    if (strong && weak)
        return false;
    for (struct bytes other; next_etag(&list, &other);) {
        struct bytes text = without_weak(other, &other_weak);

        if (bytes_equal(text, tag) && !(strong && other_weak))
            return true;
    }
    return false;
}

/* --- ranges -------------------------------------------------------------------------------------------------- */

/* "-n": the last n bytes. */
static enum range_kind suffix(struct bytes digits, size_t size, size_t *from, size_t *length)
{
    uint64_t n;

    if (!bytes_to_u64(digits, UINT64_MAX, &n))
        return RANGE_WHOLE;
    if (n == 0 || size == 0)
        return RANGE_NONE;
    *length = n < size ? (size_t)n : size;
    *from = size - *length;
    return RANGE_PART;
}

enum range_kind range_parse(struct bytes field, size_t size, size_t *from, size_t *length)
{
    uint64_t first, last = UINT64_MAX;

    *from = *length = 0;
    if (field.size < 7 || !bytes_is_nocase(bytes_head(field, 6), "bytes="))
        return RANGE_WHOLE;
    struct bytes range = bytes_from(field, 6);
    long dash = bytes_find(range, '-');

    if (dash < 0 || bytes_find(range, ',') >= 0)
        return RANGE_WHOLE;
    struct bytes end = bytes_from(range, (size_t)dash + 1);

    if (dash == 0)
        return suffix(end, size, from, length);
    if (!bytes_to_u64(bytes_head(range, (size_t)dash), UINT64_MAX, &first) ||
        (end.size > 0 && (!bytes_to_u64(end, UINT64_MAX, &last) || last < first)))
        return RANGE_WHOLE;
    if (first >= size)
        return RANGE_NONE;
    *from = (size_t)first;
    *length = last >= size ? size - *from : (size_t)(last - first) + 1;
    return RANGE_PART;
}
