/* store/hdfs_checksum.c - the checksum that HDFS keeps of a file: the MD5 of the MD5s of its blocks' CRCs.
 *
 * A DataNode has a CRC-32C of each 512 bytes. The MD5 over those of one block is the block's; the MD5 over those of all blocks is the
 * file's, over an array that Java has doubled from 32 bytes until they fit and that is zero behind them (DFSClient's FileChecksumHelper
 * takes the array, not its content; changing that would have changed every checksum). */
#include "store/hdfs_int.h"

#include "base/crc32c.h"

#include <openssl/evp.h>
#include <stdlib.h>

#define MD5_BYTES       16
#define TOLD_BYTES      28 /* bytes each CRC is of, CRCs of each block, MD5 */
#define CRC_OF_MAX      1048576
#define CRCS_AT_ONCE    1024
#define ARRAY_BYTES_MIN 32
/* HDFS' own default is 1 MB; one that tells blocks of a byte would have us keep 16 bytes for each. */
#define BLOCK_BYTES_MIN 4096

/* The number that a hex digit stands for, or -1. */
static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(uint8_t out[TOLD_BYTES], const char *hex)
{
    if (strlen(hex) < (size_t)2 * TOLD_BYTES)
        return false;
    for (size_t i = 0; i < TOLD_BYTES; i++) {
        int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* The MD5 over the CRCs of a block. */
static void digest_block(EVP_MD_CTX *md, struct bytes block, size_t crc_of, uint8_t out[MD5_BYTES])
{
    uint8_t crcs[CRCS_AT_ONCE * 4];
    size_t count = 0;

    if (EVP_DigestInit_ex(md, EVP_md5(), NULL) != 1)
        abort(); /* for want of memory (base/mem.h) */
    while (block.size > 0) {
        struct bytes piece = bytes_head(block, crc_of);

        put_be32(crcs + 4 * count++, crc32c(0, piece));
        block = bytes_from(block, piece.size);
        if (count == CRCS_AT_ONCE || block.size == 0) {
            EVP_DigestUpdate(md, crcs, 4 * count);
            count = 0;
        }
    }
    EVP_DigestFinal_ex(md, out, NULL);
}

/* The MD5 over the blocks' MD5s and the zeros behind them. */
static void digest_file(struct bytes content, size_t crc_of, size_t block_bytes, uint8_t out[MD5_BYTES])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    struct builder blocks = {0};
    size_t size = ARRAY_BYTES_MIN;

    if (md == NULL)
        abort(); /* for want of memory */
    while (content.size > 0) {
        struct bytes block = bytes_head(content, block_bytes);

        digest_block(md, block, crc_of, builder_room(&blocks, MD5_BYTES));
        content = bytes_from(content, block.size);
    }
    while (size < builder_bytes(&blocks).size)
        size *= 2;
    size -= builder_bytes(&blocks).size;
    memset(builder_room(&blocks, size), 0, size);
    if (EVP_Digest(builder_bytes(&blocks).at, builder_bytes(&blocks).size, out, NULL, EVP_md5(), NULL) != 1)
        abort();
    builder_drop(&blocks);
    EVP_MD_CTX_free(md);
}

enum hdfs_match hdfs_checksum_match(struct bytes content, const char *algorithm, const char *hex)
{
    size_t length = strlen(algorithm);
    uint8_t told[TOLD_BYTES], ours[MD5_BYTES];
    struct cursor c = cursor_of(bytes_of(told, sizeof told));
    uint64_t crc_of, crcs_of_block;

    if (strncmp(algorithm, "MD5-of-", 7) != 0 || strcmp(algorithm + length - 6, "CRC32C") != 0 ||
        !read_hex(told, hex) || content.size == 0)
        return HDFS_UNKNOWN;
    crc_of = cursor_be32(&c);
    crcs_of_block = cursor_be64(&c);
    if (crc_of == 0 || crc_of > CRC_OF_MAX || crcs_of_block > STORE_OBJECT_BYTES_MAX ||
        (crcs_of_block > 0 && crc_of * crcs_of_block < BLOCK_BYTES_MIN))
        return HDFS_UNKNOWN;
    /* No number of CRCs: there is one block only. */
    digest_file(content, crc_of, crcs_of_block ? crc_of * crcs_of_block : content.size, ours);
    return memcmp(ours, told + TOLD_BYTES - MD5_BYTES, MD5_BYTES) == 0 ? HDFS_SAME : HDFS_OTHER;
}
