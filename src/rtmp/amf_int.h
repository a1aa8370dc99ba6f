/* rtmp/amf_int.h - AMF0 (Adobe, amf0-file-format-specification): what RTMP commands and metadata are made of.
 *
 * Reading is pure: a value points into the message. Objects are kept as the bytes of their members and looked
 * into by name, so nothing is built from what a peer sends. AMF3 values are refused; the AMF3 command messages
 * (types 15 and 17) that real peers send carry AMF0 behind one zero byte. */
#ifndef MATINEE_RTMP_AMF_INT_H
#define MATINEE_RTMP_AMF_INT_H

#include "base/buffer.h"

/* The type markers of §2.1. */
enum amf_kind {
    AMF_NUMBER = 0,
    AMF_BOOLEAN = 1,
    AMF_STRING = 2,
    AMF_OBJECT = 3,
    AMF_NULL = 5,
    AMF_UNDEFINED = 6,
    AMF_REFERENCE = 7,
    AMF_ECMA_ARRAY = 8,
    AMF_OBJECT_END = 9,
    AMF_STRICT_ARRAY = 10,
    AMF_DATE = 11,
    AMF_LONG_STRING = 12,
    AMF_UNSUPPORTED = 13,
    AMF_XML = 15,
    AMF_TYPED_OBJECT = 16
};

struct amf_value {
    enum amf_kind kind;
    double number;        /* numbers, dates; booleans as 0 or 1 */
    struct bytes text;    /* strings of both lengths, and XML */
    struct bytes members; /* objects and arrays: what stands between their head and their end */
};

/* Reads one value. Returns the bytes it took, PARSE_MORE when `in` ends too early (nothing is taken), or
 * PARSE_BAD with a reason in *why: an unknown marker, AMF_DEPTH_MAX or AMF_MEMBERS_MAX passed. */
must_check long amf_read(struct amf_value *out, struct bytes in, const char **why);

/* Finds a member of an object or an ECMA array. False when there is none of that name; *out is then zero. */
bool amf_member(const struct amf_value *object, const char *name, struct amf_value *out);

void amf_put_number(struct builder *b, double number);
void amf_put_boolean(struct builder *b, bool truth);
void amf_put_string(struct builder *b, const char *text); /* cut at 65535 bytes */
void amf_put_null(struct builder *b);
void amf_put_object(struct builder *b); /* until amf_put_object_end(), names and values follow in turn */
void amf_put_name(struct builder *b, const char *name);
void amf_put_object_end(struct builder *b);

#endif
