/* tests/fuzz/hdfs_checksum.c - what HDFS says of a file's checksum, as "ALGORITHM HEX": nothing it says makes two contents that differ in one
 * byte both the same. */
#include "fuzz.h"

#include "base/mem.h"
#include "store/hdfs_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t content[3000] = "a segment";
    char *text = mem_text(data, size), *space = strchr(text, ' ');
    const char *hex = "";

    if (space != NULL) {
        *space = '\0';
        hex = space + 1;
    }
    enum hdfs_match one = hdfs_checksum_match(bytes_of(content, sizeof content), text, hex), other;

    content[2047] ^= 1;
    other = hdfs_checksum_match(bytes_of(content, sizeof content), text, hex);
    content[2047] ^= 1;
    fuzz_check((one == HDFS_UNKNOWN) == (other == HDFS_UNKNOWN));
    fuzz_check(one != HDFS_SAME || other != HDFS_SAME);
    free(text);
    return 0;
}
