/* tests/fuzz/s3_xml.c - S3's XML: paths and texts are whole strings within their limits, and the same bytes say the same twice. */
#include "fuzz.h"

#include "store/s3_int.h"

static void count(void *ctx, const char *path, const char *text)
{
    size_t *sum = ctx;

    fuzz_check(strlen(path) < S3_XML_PATH_SIZE && path[0] != '\0');
    fuzz_check(strlen(text) < S3_XML_TEXT_SIZE);
    *sum = *sum * 31 + strlen(path) + strlen(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t first = 0, second = 0;
    enum err e = s3_xml_read(bytes_of(data, size), count, &first);

    fuzz_check(s3_xml_read(bytes_of(data, size), count, &second) == e && first == second);
    return 0;
}
