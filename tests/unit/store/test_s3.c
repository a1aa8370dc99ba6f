/* The pure parts of the S3 store: addresses, signatures, what S3 says. */
#include "unit.h"

#include "base/random.h"
#include "folder.h"
#include "store/s3_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- signatures: AWS's own examples ------------------------------------------------------------------ */

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct s3_credentials s3_example = {.key = "AKIAIOSFODNN7EXAMPLE",
                                                 .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
static const struct s3_credentials suite = {.key = "AKIDEXAMPLE",
                                            .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};

static void assert_s3_signature(const struct s3_message *m, const char *signature)
{
    char out[S3_AUTHORIZATION_SIZE];

    s3_sign(out, m, &s3_example, "us-east-1", "s3", "20130524T000000Z");
    assert_string_equal(strrchr(out, '=') + 1, signature);
}

/* "Examples: Signature Calculations" of the S3 API Reference. */
static void s3_examples_are_signed_as_aws_signs_them(void **state)
{
    struct s3_pair get[] = {{"x-amz-date", "20130524T000000Z"},
                            {"x-amz-content-sha256", EMPTY_HASH},
                            {"range", "bytes=0-9"},
                            {"host", "examplebucket.s3.amazonaws.com"}};
    const char *hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    struct s3_pair put[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                            {"host", "examplebucket.s3.amazonaws.com"},
                            {"x-amz-content-sha256", hash},
                            {"x-amz-date", "20130524T000000Z"},
                            {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    struct s3_pair plain[] = {{"host", "examplebucket.s3.amazonaws.com"},
                              {"x-amz-content-sha256", EMPTY_HASH},
                              {"x-amz-date", "20130524T000000Z"}};
    struct s3_pair lifecycle[] = {{"lifecycle", ""}}, list[] = {{"prefix", "J"}, {"max-keys", "2"}};
    char text[S3_HASH_SIZE];

    assert_string_equal(s3_sha256(bytes_text("Welcome to Amazon S3."), text), hash);
    assert_s3_signature(&(struct s3_message){"GET", "/test.txt", NULL, 0, get, 4, EMPTY_HASH},
                        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    assert_s3_signature(&(struct s3_message){"PUT", "/test$file.text", NULL, 0, put, 5, hash},
                        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    assert_s3_signature(&(struct s3_message){"GET", "/", lifecycle, 1, plain, 3, EMPTY_HASH},
                        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    assert_s3_signature(&(struct s3_message){"GET", "/", list, 2, plain, 3, EMPTY_HASH},
                        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void assert_suite_signature(const struct s3_message *m, const char *signature)
{
    char out[S3_AUTHORIZATION_SIZE];

    s3_sign(out, m, &suite, "us-east-1", "service", "20150830T123600Z");
    assert_string_equal(strrchr(out, '=') + 1, signature);
}

/* aws-sig-v4-test-suite: get-vanilla, get-vanilla-query-order-key-case, post-vanilla. */
static void the_test_suite_of_aws_is_signed_as_aws_signs_it(void **state)
{
    struct s3_pair headers[] = {{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}};
    struct s3_pair parameters[] = {{"Param2", "value2"}, {"Param1", "value1"}};

    assert_suite_signature(&(struct s3_message){"GET", "/", NULL, 0, headers, 2, EMPTY_HASH},
                           "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    assert_suite_signature(&(struct s3_message){"GET", "/", parameters, 2, headers, 2, EMPTY_HASH},
                           "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
    assert_suite_signature(&(struct s3_message){"POST", "/", NULL, 0, headers, 2, EMPTY_HASH},
                           "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

/* --- addresses --------------------------------------------------------------------------------------- */

static void assert_place(const char *url, const char *scheme, const char *host, const char *prefix,
                         bool path_style)
{
    struct s3_place p;
    char why[256];

    assert_int_equal(s3_place_parse(&p, url, why), ERR_OK);
    assert_string_equal(p.scheme, scheme);
    assert_string_equal(p.host, host);
    assert_string_equal(p.prefix, prefix);
    assert_int_equal(p.path_style, path_style);
    s3_place_drop(&p);
}

static void addresses_say_where_the_bucket_is(void **state)
{
    assert_place("s3://shows", "https", "shows.s3.us-east-1.amazonaws.com", "", false);
    assert_place("s3://shows/a/b/?region=eu-central-1", "https", "shows.s3.eu-central-1.amazonaws.com", "a/b",
                 false);
    assert_place("s3://my.shows?region=eu-west-1", "https", "s3.eu-west-1.amazonaws.com", "", true);
    assert_place("s3://shows/p?endpoint=http://127.0.0.1:9000", "http", "127.0.0.1:9000", "p", true);
    assert_place("s3://shows?endpoint=http%3A%2F%2Fs3.local:80/&style=host", "http", "shows.s3.local", "",
                 false);
    assert_place("s3://shows?endpoint=https://s3.local:443&style=path&sse=aws:kms&sse-key=k", "https",
                 "s3.local", "", true);
}

static void wrong_addresses_are_refused_with_a_reason(void **state)
{
    const char *wrong[] = {"s3://",
                           "s3://UPPER/x",
                           "s3://ab",
                           "s3://-bucket",
                           "s3://a..b",
                           "s3://bucket/../x",
                           "s3://bucket/a//b",
                           "s3://bucket/.hidden",
                           "s3://bucket?endpoint=ftp://x",
                           "s3://bucket?endpoint=http://",
                           "s3://bucket?endpoint=http://user@host",
                           "s3://bucket?endpoint=http://host/path",
                           "s3://bucket?style=both",
                           "s3://bucket?region=",
                           "s3://bucket?region=a%0d%0ab",
                           "s3://bucket?region=a/b",
                           "s3://bucket?region=a&region=b",
                           "s3://bucket?colour=red",
                           "s3://bucket?sse=none",
                           "s3://bucket?region"};
    struct s3_place p;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char why[256] = "";

        assert_int_equal(s3_place_parse(&p, wrong[i], why), ERR_BAD);
        assert_true(strlen(why) > 20);
        s3_place_drop(&p);
    }
}

/* Names as peers might make them up: none that the store lets through leaves its prefix. */
static void five_hundred_traversal_strings_never_leave_their_prefix(void **state)
{
    static const char *const pieces[] = {"..",    ".",        "/",    "\\",   "%2e",      "%2e%2e", "%2f",
                                         "..%2f", "//",       "....", "..;/", "\xc0\xae", "a",      "v",
                                         "\n",    "\r\n",     " ",    "~",    "?",        "#",      "*",
                                         "C:",    "\xc2\xa0", "?x=",  "..\\", "_",        "-"};
    const uint64_t seed = 20261126;
    size_t refused = 0;

    random_seed_for_test(seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 500; i++) {
        char name[128];
        size_t size = 0;

        for (uint64_t parts = 2 + random_u64() % 6; parts > 0; parts--)
            size += (size_t)snprintf(name + size, sizeof name - size, "%s",
                                     pieces[random_u64() % (sizeof pieces / sizeof *pieces)]);
        if (!store_name_is_good(name)) {
            refused++;
            continue;
        }
        assert_int_equal(strspn(name, "av_-./"), strlen(name));
        assert_null(strstr(name, "/."));
        assert_null(strstr(name, "//"));
        assert_true(name[0] != '.' && name[0] != '/' && name[strlen(name) - 1] != '/');
    }
    random_seed_for_test(0);
    assert_true(refused > 400 && refused < 500);
}

/* --- what S3 says ------------------------------------------------------------------------------------ */

static void note(void *ctx, const char *path, const char *text)
{
    struct builder *b = ctx;

    builder_printf(b, "%s=%s;", path, text);
}

static void lists_and_errors_are_read(void **state)
{
    struct builder b = {0};

    assert_int_equal(
        s3_xml_read(bytes_text("<?xml version=\"1.0\"?><s:L xmlns:s=\"urn:x\"><Contents><Key>a/b</Key><Size>5"
                               "</Size></Contents> <Contents><Key>c&amp;d</Key></Contents><T/></s:L>"),
                    note, &b),
        ERR_OK);
    assert_true(bytes_is(builder_bytes(&b), "L/Contents/Key=a/b;L/Contents/Size=5;L/Contents/Key=c&d;L/T=;"));
    builder_drop(&b);
}

static void what_is_not_xml_or_would_explode_is_refused(void **state)
{
    char deep[1501], wide[8192];
    struct builder b = {0};

    for (size_t i = 0; i < sizeof deep - 1; i++)
        deep[i] = "<a>"[i % 3];
    deep[sizeof deep - 1] = '\0';
    memset(wide, 'x', sizeof wide);
    memcpy(wide, "<a>", 3);
    memcpy(wide + sizeof wide - 5, "</a>", 5); /* with its NUL */

    const char *bad[] = {"",           "hello",      "<a>",
                         "<a></b>",    "<a/><b/>",   "{\"a\":1}",
                         deep,         wide,         "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
                         "<a>&x;</a>", "<a>\x01</a>"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(s3_xml_read(bytes_text(bad[i]), note, &b), ERR_BAD);
        builder_drop(&b);
    }
}

static void assert_verdict(long status, const char *code, enum s3_verdict verdict)
{
    struct s3_answer a = {.web.status = status};

    snprintf(a.code, sizeof a.code, "%s", code);
    assert_int_equal(s3_judge(&a), verdict);
}

static void answers_are_judged_by_the_rules(void **state)
{
    assert_verdict(200, "", S3_GOOD);
    assert_verdict(204, "", S3_GOOD);
    assert_verdict(200, "InternalError", S3_AGAIN); /* CompleteMultipartUpload */
    assert_verdict(500, "InternalError", S3_AGAIN);
    assert_verdict(503, "SlowDown", S3_AGAIN);
    assert_verdict(503, "", S3_AGAIN);
    assert_verdict(429, "", S3_AGAIN);
    assert_verdict(400, "RequestTimeout", S3_AGAIN);
    assert_verdict(400, "BadDigest", S3_AGAIN);
    assert_verdict(403, "RequestTimeTooSkewed", S3_CLOCK);
    assert_verdict(400, "ExpiredToken", S3_CREDENTIALS);
    assert_verdict(403, "InvalidAccessKeyId", S3_CREDENTIALS);
    assert_verdict(403, "AccessDenied", S3_REFUSED);
    assert_verdict(403, "SignatureDoesNotMatch", S3_REFUSED);
    assert_verdict(404, "NoSuchKey", S3_MISSING);
    assert_verdict(404, "", S3_MISSING);
    assert_verdict(404, "NoSuchBucket", S3_NO_BUCKET);
    assert_verdict(301, "PermanentRedirect", S3_REFUSED);
    assert_int_equal(s3_judge(&(struct s3_answer){.web = {.transport = CURLE_PARTIAL_FILE, .status = 200}}),
                     S3_AGAIN);
}

static void a_tag_that_is_an_md5_has_to_fit(void **state)
{
    const char *md5 = "5d41402abc4b2a76b9719d911017c592";

    assert_true(s3_tag_fits(&(struct s3_answer){.tag = "5D41402abc4b2a76b9719d911017c592"}, md5));
    assert_false(s3_tag_fits(&(struct s3_answer){.tag = "5d41402abc4b2a76b9719d911017c593"}, md5));
    assert_false(s3_tag_fits(&(struct s3_answer){.tag = ""}, md5));
    assert_true(s3_tag_fits(&(struct s3_answer){.tag = "an opaque thing"}, md5));
    assert_true(s3_tag_fits(
        &(struct s3_answer){.tag = "00000000000000000000000000000000", .encryption = "aws:kms"}, md5));
    assert_false(s3_tag_fits(
        &(struct s3_answer){.tag = "00000000000000000000000000000000", .encryption = "AES256"}, md5));
}

/* --- credentials ------------------------------------------------------------------------------------- */

static void credentials_are_read_from_aws_own_file(void **state)
{
    char *dir = folder_new(), path[128], why[256], long_token[1500];
    struct s3_credentials c;
    FILE *file;

    memset(long_token, 't', sizeof long_token - 1);
    long_token[sizeof long_token - 1] = '\0';
    snprintf(path, sizeof path, "%s/credentials", dir);
    assert_int_equal(s3_credentials_read(&c, path, NULL, why), ERR_DENIED);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(
        file,
        "# ours\n[default]\naws_access_key_id = AK\naws_secret_access_key=se/cr+et=\n\n[temporary]\n"
        "aws_access_key_id=AT\r\naws_secret_access_key=ST\r\naws_session_token = %s\nregion=x\n[half]\naws_access_key_id=A\n",
        long_token);
    fclose(file);
    unsetenv("AWS_PROFILE");
    assert_int_equal(s3_credentials_read(&c, path, NULL, why), ERR_OK);
    assert_string_equal(c.key, "AK");
    assert_string_equal(c.secret, "se/cr+et=");
    assert_string_equal(c.token, "");
    assert_int_equal(s3_credentials_read(&c, path, "temporary", why), ERR_OK);
    assert_string_equal(c.key, "AT");
    assert_string_equal(c.token, long_token);
    assert_int_equal(s3_credentials_read(&c, path, "half", why), ERR_DENIED);
    assert_int_equal(s3_credentials_read(&c, path, "nobody", why), ERR_DENIED);
    folder_remove(dir);
}

static void credentials_of_the_environment_come_first(void **state)
{
    struct s3_credentials c;
    char why[256];

    setenv("AWS_ACCESS_KEY_ID", "AE", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "SE", 1);
    setenv("AWS_SESSION_TOKEN", "TE", 1);
    assert_int_equal(s3_credentials_read(&c, NULL, NULL, why), ERR_OK);
    assert_string_equal(c.key, "AE");
    assert_string_equal(c.token, "TE");
    setenv("AWS_SESSION_TOKEN", "a\r\nx-evil: 1", 1);
    assert_int_equal(s3_credentials_read(&c, NULL, NULL, why), ERR_DENIED);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    unsetenv("AWS_SESSION_TOKEN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s3_examples_are_signed_as_aws_signs_them),
        cmocka_unit_test(the_test_suite_of_aws_is_signed_as_aws_signs_it),
        cmocka_unit_test(addresses_say_where_the_bucket_is),
        cmocka_unit_test(wrong_addresses_are_refused_with_a_reason),
        cmocka_unit_test(five_hundred_traversal_strings_never_leave_their_prefix),
        cmocka_unit_test(lists_and_errors_are_read),
        cmocka_unit_test(what_is_not_xml_or_would_explode_is_refused),
        cmocka_unit_test(answers_are_judged_by_the_rules),
        cmocka_unit_test(a_tag_that_is_an_md5_has_to_fit),
        cmocka_unit_test(credentials_are_read_from_aws_own_file),
        cmocka_unit_test(credentials_of_the_environment_come_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
