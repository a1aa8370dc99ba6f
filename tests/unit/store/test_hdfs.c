/* The pure parts of the HDFS store: addresses, checksums, what answers mean. */
#include "unit.h"

#include "folder.h"
#include "store/hdfs_int.h"

#include <stdio.h>
#include <stdlib.h>

/* --- checksums: what a DataNode of Hadoop 3.4.2 said of these bytes ------------------------------------ */

static struct buffer *content_of(size_t size)
{
    struct buffer *b = buffer_new(size);

    for (size_t i = 0; i < size; i++)
        b->data[i] = (uint8_t)(i * 7 + (i >> 8) * 3);
    b->size = size;
    return b;
}

static const struct {
    size_t size;
    const char *algorithm, *hex;
} hadoops[] = {
    {1, "MD5-of-0MD5-of-512CRC32C", "000002000000000000000000dc236201841049096ad31b6213203a9000000000"},
    {512, "MD5-of-0MD5-of-512CRC32C", "000002000000000000000000b2f0ee46c5b07e7d21159128256cf1ab00000000"},
    {513, "MD5-of-0MD5-of-512CRC32C", "000002000000000000000000186d53bda81920c93356507f9ef0bee000000000"},
    {100000, "MD5-of-0MD5-of-512CRC32C", "000002000000000000000000c3570117adf1851d916e47e3c2f1afd900000000"},
    {1048576, "MD5-of-0MD5-of-512CRC32C", "000002000000000000000000502adedd681e46b4397a65ff085d1f4000000000"},
    {1048577, "MD5-of-2048MD5-of-512CRC32C",
     "000002000000000000000800b8db0eed782611c49dcf216a4769d1f400000000"},
    {2500000, "MD5-of-2048MD5-of-512CRC32C",
     "00000200000000000000080019d31fbaea556df62076a3a5fad9890000000000"},
    {3500000, "MD5-of-2048MD5-of-512CRC32C",
     "000002000000000000000800c6db5e6d9eacf21c29a0aac2163e8ba600000000"},
};

static void checksums_are_those_of_hadoop(void **state)
{
    for (size_t i = 0; i < sizeof hadoops / sizeof *hadoops; i++) {
        struct buffer *b = content_of(hadoops[i].size);

        assert_int_equal(hdfs_checksum_match(buffer_bytes(b), hadoops[i].algorithm, hadoops[i].hex),
                         HDFS_SAME);
        buffer_unref(b);
    }
}

static void one_wrong_byte_anywhere_is_another_content(void **state)
{
    for (size_t i = 0; i < sizeof hadoops / sizeof *hadoops; i++) {
        struct buffer *b = content_of(hadoops[i].size);
        size_t places[] = {0, b->size / 2, b->size - 1};

        for (size_t p = 0; p < 3; p++) {
            b->data[places[p]] ^= 0x10;
            assert_int_equal(hdfs_checksum_match(buffer_bytes(b), hadoops[i].algorithm, hadoops[i].hex),
                             HDFS_OTHER);
            b->data[places[p]] ^= 0x10;
        }
        assert_int_equal(hdfs_checksum_match(bytes_head(buffer_bytes(b), b->size - 1), hadoops[i].algorithm,
                                             hadoops[i].hex),
                         b->size > 1 ? HDFS_OTHER : HDFS_UNKNOWN);
        buffer_unref(b);
    }
}

static void a_checksum_of_another_kind_says_nothing(void **state)
{
    const char *good = hadoops[0].hex;
    const struct {
        const char *algorithm, *hex;
    } others[] = {{"COMPOSITE-CRC32C", "00000000"},
                  {"MD5-of-0MD5-of-512CRC32", good},
                  {"MD5-of-", good},
                  {"CRC32C", good},
                  {"", ""},
                  {"MD5-of-0MD5-of-512CRC32C", ""},
                  {"MD5-of-0MD5-of-512CRC32C", "000002000000000000000000dc23620184104909"},
                  {"MD5-of-0MD5-of-512CRC32C", "zz0002000000000000000000dc236201841049096ad31b6213203a90"},
                  {"MD5-of-0MD5-of-0CRC32C", "000000000000000000000000dc236201841049096ad31b6213203a90"},
                  {"MD5-of-9MD5-of-512CRC32C", "00000200ffffffffffffffffdc236201841049096ad31b6213203a90"},
                  {"MD5-of-1MD5-of-1CRC32C", "000000010000000000000001dc236201841049096ad31b6213203a90"},
                  {"MD5-of-0MD5-of-9CRC32C", "ffffffff0000000000000000dc236201841049096ad31b6213203a90"}};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(hdfs_checksum_match(bytes_text("x"), others[i].algorithm, others[i].hex),
                         HDFS_UNKNOWN);
    assert_int_equal(hdfs_checksum_match(bytes_text(""), hadoops[0].algorithm, good), HDFS_UNKNOWN);
}

/* --- addresses ------------------------------------------------------------------------------------------ */

static void assert_place(const char *url, bool secure, const char *host, const char *prefix, const char *user)
{
    struct hdfs_place p;
    char why[256] = "";

    assert_int_equal(hdfs_place_parse(&p, url, why), ERR_OK);
    assert_int_equal(p.secure, secure);
    assert_string_equal(p.hosts[0], host);
    assert_string_equal(p.prefix, prefix);
    assert_string_equal(p.user, user);
    hdfs_place_drop(&p);
}

static void addresses_say_where_the_folder_is_and_who_we_are(void **state)
{
    assert_place("hdfs://nn:9870/a/b/?user=me", false, "nn:9870", "a/b", "me");
    assert_place("hdfs://nn?user=me", false, "nn:9870", "", "me");
    assert_place("webhdfs://10.0.0.1:14000/x?user=me&replication=2", false, "10.0.0.1:14000", "x", "me");
    assert_place("swebhdfs://nn/x?user=me&ca=/etc/ca.pem", true, "nn:9871", "x", "me");
    assert_place("hdfs://[::1]:50070/x?user=m.e-1", false, "[::1]:50070", "x", "m.e-1");
    setenv("HADOOP_USER_NAME", "of-the-environment", 1);
    assert_place("hdfs://nn/x", false, "nn:9870", "x", "of-the-environment");
    unsetenv("HADOOP_USER_NAME");
}

static void several_namenodes_are_taken_in_order(void **state)
{
    struct hdfs_place p;
    char why[256];

    assert_int_equal(hdfs_place_parse(&p, "hdfs://one:1,two,three:3/x?user=me", why), ERR_OK);
    assert_int_equal(p.host_count, 3);
    assert_string_equal(p.hosts[1], "two:9870");
    assert_string_equal(p.hosts[2], "three:3");
    hdfs_place_drop(&p);
}

static void wrong_addresses_are_refused_with_a_reason(void **state)
{
    const char *wrong[] = {"hdfs://",
                           "hdfs:///x?user=a",
                           "hdfs://nn:0/x?user=a",
                           "hdfs://nn:65536/x?user=a",
                           "hdfs://nn:/x?user=a",
                           "hdfs://:9870/x?user=a",
                           "hdfs://nn,/x?user=a",
                           "hdfs://a,b,c,d,e,f/x?user=a",
                           "hdfs://me@nn/x?user=a",
                           "hdfs://nn\\evil/x?user=a",
                           "hdfs://[::1/x?user=a",
                           "hdfs://nn/../x?user=a",
                           "hdfs://nn/a//b?user=a",
                           "hdfs://nn/.put?user=a",
                           "hdfs://nn/a%2fb?user=a",
                           "hdfs://nn/x?user=",
                           "hdfs://nn/x?user=a&user=b",
                           "hdfs://nn/x?user=a%26op%3DDELETE",
                           "hdfs://nn/x?user=a%0d%0ab",
                           "hdfs://nn/x?user=a&token=/f",
                           "hdfs://nn/x?user=a&replication=0",
                           "hdfs://nn/x?user=a&replication=513",
                           "hdfs://nn/x?user=a&replication=1%26op=x",
                           "hdfs://nn/x?colour=red"};
    struct hdfs_place p;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char why[256] = "";

        assert_int_equal(hdfs_place_parse(&p, wrong[i], why), ERR_BAD);
        assert_true(strlen(why) > 20);
        hdfs_place_drop(&p);
    }
}

static void a_token_is_one_word_in_a_file(void **state)
{
    char *dir = folder_new(), path[128], token[HDFS_TOKEN_SIZE], why[256] = "";
    const struct {
        const char *text, *token; /* NULL: refused */
    } files[] = {{"IgAHbWF0-_aW5l\n", "IgAHbWF0-_aW5l"},
                 {"abc\r\n", "abc"},
                 {"", NULL},
                 {"a b\n", NULL},
                 {"a&op=DELETE\n", NULL},
                 {"a%41\n", NULL}};

    snprintf(path, sizeof path, "%s/token", dir);
    assert_int_equal(hdfs_token_read(token, path, why), ERR_DENIED);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *f = fopen(path, "w");

        assert_non_null(f);
        fputs(files[i].text, f);
        fclose(f);
        assert_int_equal(hdfs_token_read(token, path, why), files[i].token ? ERR_OK : ERR_DENIED);
        if (files[i].token != NULL)
            assert_string_equal(token, files[i].token);
    }
    folder_remove(dir);
}

/* --- what answers mean ---------------------------------------------------------------------------------- */

static void assert_verdict(long status, const char *exception, enum hdfs_verdict verdict)
{
    struct hdfs_answer a = {.web.status = status};

    snprintf(a.exception, sizeof a.exception, "%s", exception);
    assert_int_equal(hdfs_judge(&a), verdict);
}

static void answers_are_judged_by_their_exception(void **state)
{
    assert_verdict(200, "", HDFS_GOOD);
    assert_verdict(201, "", HDFS_GOOD);
    assert_verdict(404, "FileNotFoundException", HDFS_MISSING);
    assert_verdict(404, "", HDFS_REFUSED); /* no WebHDFS there */
    assert_verdict(403, "AccessControlException", HDFS_REFUSED);
    assert_verdict(500, "AccessControlException", HDFS_REFUSED); /* HttpFS */
    assert_verdict(400, "IllegalArgumentException", HDFS_REFUSED);
    assert_verdict(403, "StandbyException", HDFS_AGAIN);
    assert_verdict(403, "SafeModeException", HDFS_AGAIN);
    assert_verdict(403, "IOException", HDFS_AGAIN); /* no DataNode */
    assert_verdict(403, "RetriableException", HDFS_AGAIN);
    assert_verdict(403, "DSQuotaExceededException", HDFS_FULL);
    assert_verdict(403, "InvalidToken", HDFS_TOKEN);
    assert_verdict(401, "", HDFS_TOKEN);
    assert_verdict(503, "", HDFS_AGAIN);
    assert_verdict(502, "", HDFS_AGAIN);
    assert_verdict(403, "", HDFS_REFUSED); /* a proxy's */
    assert_verdict(307, "", HDFS_REFUSED); /* to nowhere, or twice */
    assert_int_equal(
        hdfs_judge(&(struct hdfs_answer){.web = {.transport = CURLE_PARTIAL_FILE, .status = 200}}),
        HDFS_AGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_are_those_of_hadoop),
        cmocka_unit_test(one_wrong_byte_anywhere_is_another_content),
        cmocka_unit_test(a_checksum_of_another_kind_says_nothing),
        cmocka_unit_test(addresses_say_where_the_folder_is_and_who_we_are),
        cmocka_unit_test(several_namenodes_are_taken_in_order),
        cmocka_unit_test(wrong_addresses_are_refused_with_a_reason),
        cmocka_unit_test(a_token_is_one_word_in_a_file),
        cmocka_unit_test(answers_are_judged_by_their_exception),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
