/* Viewers' tokens: what is signed is read back, and whatever differs by a bit, a clock or a revocation is refused. */
#include "unit.h"

#include "access/access_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include "folder.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <pthread.h>

#define NOW_MS 1800000000000LL

struct stage {
    char *folder;
    struct db *db;
    struct tickets *tickets;
    struct ulid reservation, event;
};

static void tickets_reopen(struct stage *s)
{
    char why[256] = "";

    tickets_close(s->tickets);
    if (tickets_open(&s->tickets, s->db, why) != ERR_OK)
        fail_msg("%s", why);
}

static void stage_open(struct stage *s)
{
    char url[256], why[256];

    *s = (struct stage){.folder = folder_new(), .reservation = ulid_secret(), .event = ulid_new()};
    clock_test_set(1000000, NOW_MS);
    snprintf(url, sizeof url, "sqlite:%s/x.db", s->folder);
    assert_int_equal(db_open(&s->db, url, why), ERR_OK);
    tickets_reopen(s);
}

static void stage_close(struct stage *s)
{
    tickets_close(s->tickets);
    db_close(s->db);
    clock_test_off();
    folder_remove(s->folder);
}

static void issue(struct stage *s, char text[TICKET_TEXT_SIZE])
{
    struct ticket t;

    tickets_issue(s->tickets, s->reservation, s->event, ulid_secret(), clock_wall_ms(), &t, text);
}

static enum ticket_verdict check(struct stage *s, const char *text)
{
    return tickets_check(s->tickets, bytes_text(text), s->event, NULL);
}

static void what_is_signed_is_read_back(void **state)
{
    struct stage s;
    struct ticket is, said;
    char text[TICKET_TEXT_SIZE], again[TICKET_TEXT_SIZE];

    stage_open(&s);
    tickets_issue(s.tickets, s.reservation, s.event, ulid_secret(), clock_wall_ms(), &said, text);
    assert_int_equal(tickets_check(s.tickets, bytes_text(text), s.event, &is), TICKET_GOOD);
    assert_memory_equal(&is, &said, sizeof is);
    assert_true(ulid_equal(is.pass, s.reservation));
    assert_false(ulid_is_zero(is.session));
    assert_int_equal(is.issued_s, NOW_MS / 1000);
    assert_int_equal(is.expires_s - is.issued_s, TICKET_SECONDS);
    tickets_issue(s.tickets, s.reservation, s.event, is.session, clock_wall_ms(), &said, again);
    assert_true(ulid_equal(said.session, is.session)); /* the same screen */
    stage_close(&s);
}

/* The signature is HMAC-SHA-256 as others have it, over what stands before it. */
static void anybody_with_the_key_comes_to_the_same_signature(void **state)
{
    const uint8_t secret[TICKET_SECRET_SIZE] = "the secret of this test is long";
    const struct ticket t = {ulid_secret(), ulid_new(), ulid_secret(), 1800000000, 1800000600};
    struct ticket_key k;
    struct ticket said;
    char text[TICKET_TEXT_SIZE];
    uint8_t mac[EVP_MAX_MD_SIZE], encoded[64];
    unsigned size;

    ticket_key_init(&k, ulid_new(), secret, NOW_MS);
    ticket_write(&k, &t, text);
    for (int i = 0; i < 2; i++) { /* the context is used again */
        size_t signed_size = (size_t)(strrchr(text, '.') - text);

        assert_non_null(HMAC(EVP_sha256(), secret, sizeof secret, (uint8_t *)text, signed_size, mac, &size));
        assert_int_equal(size, 32);
        EVP_EncodeBlock(encoded, mac, (int)size);
        for (char *c = (char *)encoded; *c != '\0'; c++)
            *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
        assert_memory_equal(strrchr(text, '.') + 1, encoded, 43);
        assert_true(ticket_read(&k, 1, bytes_text(text), &said));
        assert_memory_equal(&said, &t, sizeof t);
    }
    ticket_key_free(&k);
}

static void one_changed_letter_is_refused(void **state)
{
    struct stage s;
    char text[TICKET_TEXT_SIZE];

    stage_open(&s);
    issue(&s, text);
    for (size_t i = 0; text[i] != '\0'; i++) {
        char was = text[i];

        for (const char *c = "AB-_.=+/z "; *c != '\0'; c++) {
            text[i] = *c;
            assert_int_equal(check(&s, text), *c == was ? TICKET_GOOD : TICKET_FOREIGN);
        }
        text[i] = was;
    }
    for (size_t size = strlen(text); size > 0; size--) { /* and one that is cut short */
        text[size - 1] = '\0';
        assert_int_equal(check(&s, text), TICKET_FOREIGN);
    }
    stage_close(&s);
}

/* A header of the caller's choosing over claims that somebody holds, signed as an attacker could: not at all, or by a wrong key. */
static void another_algorithm_is_refused(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"none\",\"typ\":\"JWT\"}",
                                          "{\"alg\":\"None\"}",
                                          "{\"alg\":\"RS256\",\"typ\":\"JWT\"}",
                                          "{\"alg\":\"HS512\",\"typ\":\"JWT\"}",
                                          "{}",
                                          ""};
    struct stage s;
    char text[TICKET_TEXT_SIZE], forged[2 * TICKET_TEXT_SIZE];
    uint8_t head[256];

    stage_open(&s);
    issue(&s, text);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const char *claims = strchr(text, '.'), *signature = strrchr(text, '.');

        EVP_EncodeBlock(head, (const uint8_t *)headers[i], (int)strlen(headers[i]));
        head[strcspn((char *)head, "=")] = '\0';
        snprintf(forged, sizeof forged, "%s%s", head, claims); /* its signature */
        assert_int_equal(check(&s, forged), TICKET_FOREIGN);
        snprintf(forged, sizeof forged, "%s%.*s.", head, (int)(signature - claims), claims); /* none */
        assert_int_equal(check(&s, forged), TICKET_FOREIGN);
    }
    stage_close(&s);
}

static void a_token_ends_is_for_one_event_and_is_not_from_tomorrow(void **state)
{
    struct stage s;
    char text[TICKET_TEXT_SIZE];

    stage_open(&s);
    issue(&s, text);
    assert_int_equal(tickets_check(s.tickets, bytes_text(text), ulid_new(), NULL), TICKET_OTHER);
    clock_test_set(1000000, NOW_MS + TICKET_SECONDS * 1000 - 1);
    assert_int_equal(check(&s, text), TICKET_GOOD);
    clock_test_set(1000000, NOW_MS + TICKET_SECONDS * 1000);
    assert_int_equal(check(&s, text), TICKET_EXPIRED);
    clock_test_set(1000000, NOW_MS - 60000);
    assert_int_equal(check(&s, text), TICKET_EARLY);
    stage_close(&s);
}

static void what_is_revoked_stays_so_over_a_restart_and_a_fresh_token_is_good(void **state)
{
    struct stage s;
    char text[TICKET_TEXT_SIZE], fresh[TICKET_TEXT_SIZE];

    stage_open(&s);
    issue(&s, text);
    assert_int_equal(tickets_revoke(s.tickets, s.reservation), ERR_OK);
    assert_int_equal(tickets_revoke(s.tickets, s.reservation), ERR_OK);
    assert_int_equal(check(&s, text), TICKET_REVOKED);
    tickets_reopen(&s);
    assert_int_equal(check(&s, text), TICKET_REVOKED);
    clock_test_set(3000000, NOW_MS + TICKETS_REVOKED_AHEAD_MS + 1000);
    issue(&s, fresh);
    assert_int_equal(check(&s, fresh), TICKET_GOOD);
    assert_int_equal(check(&s, text), TICKET_REVOKED);
    stage_close(&s);
}

/* Who asked while a ticket was being given back was told that it is good, and gets a token after its end. */
static void a_token_that_was_asked_for_before_the_end_ends_with_the_others(void **state)
{
    struct stage s;
    struct ticket t;
    char text[TICKET_TEXT_SIZE];

    stage_open(&s);
    clock_test_set(1000000, NOW_MS + 900);
    assert_int_equal(tickets_revoke(s.tickets, s.reservation), ERR_OK);
    clock_test_set(9000000, NOW_MS + 8000);
    for (int64_t asked_ms = NOW_MS + 800; asked_ms < NOW_MS + TICKETS_REVOKED_AHEAD_MS; asked_ms += 700) {
        tickets_issue(s.tickets, s.reservation, s.event, ulid_secret(), asked_ms, &t, text);
        assert_int_equal(check(&s, text), TICKET_REVOKED);
    }
    tickets_issue(s.tickets, s.reservation, s.event, ulid_secret(), NOW_MS + 5000, &t, text);
    assert_int_equal(check(&s, text), TICKET_GOOD);
    stage_close(&s);
}

static void keys_change_without_a_break(void **state)
{
    struct stage s;
    char old[TICKET_TEXT_SIZE], between[TICKET_TEXT_SIZE], later[TICKET_TEXT_SIZE];

    stage_open(&s);
    issue(&s, old);
    clock_test_set(1000000, NOW_MS + 1000);
    assert_int_equal(tickets_rotate(s.tickets), ERR_OK);
    issue(&s, between); /* others may not have read the new key: the old one signs */
    assert_memory_equal(old, between, strcspn(old, "."));
    assert_int_equal(check(&s, between), TICKET_GOOD);
    clock_test_set(1000000, NOW_MS + 10000);
    issue(&s, later);
    assert_memory_not_equal(old, later, strcspn(old, "."));
    assert_int_equal(check(&s, later), TICKET_GOOD);
    assert_int_equal(check(&s, old), TICKET_GOOD);
    tickets_reopen(&s);
    assert_int_equal(check(&s, later), TICKET_GOOD);
    assert_int_equal(check(&s, old), TICKET_GOOD);
    clock_test_set(1000000, NOW_MS + 1000000); /* all that the first key has signed has expired: it is gone */
    tickets_reopen(&s);
    assert_int_equal(check(&s, old), TICKET_FOREIGN);
    assert_int_equal(check(&s, later), TICKET_EXPIRED);
    stage_close(&s);
}

static bool count_row(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

static void old_keys_and_revocations_are_not_kept_for_ever(void **state)
{
    struct stage s;
    int64_t count = 0;

    stage_open(&s);
    for (int i = 1; i <= 40; i++) {
        clock_test_set(1000000, NOW_MS + i * 1000000LL);
        assert_int_equal(tickets_rotate(s.tickets), ERR_OK);
        assert_int_equal(tickets_revoke(s.tickets, ulid_secret()), ERR_OK);
    }
    assert_int_equal(db_read(s.db, "SELECT COUNT(*) FROM token_keys", NULL, 0, count_row, &count), ERR_OK);
    assert_in_range(count, 1, 3);
    assert_int_equal(db_read(s.db, "SELECT COUNT(*) FROM token_revocations", NULL, 0, count_row, &count),
                     ERR_OK);
    assert_int_equal(count, 1);
    stage_close(&s);
}

static void what_one_server_revokes_and_signs_the_other_knows(void **state)
{
    struct stage s;
    struct tickets *other;
    enum ticket_verdict v = TICKET_GOOD;
    char text[TICKET_TEXT_SIZE], why[256];

    stage_open(&s);
    clock_test_off(); /* the other's thread looks every two seconds */
    assert_int_equal(tickets_open(&other, s.db, why), ERR_OK);
    issue(&s, text);
    assert_int_equal(tickets_check(other, bytes_text(text), s.event, NULL), TICKET_GOOD);
    assert_int_equal(tickets_revoke(s.tickets, s.reservation), ERR_OK);
    for (int64_t until_ms = clock_mono_ms() + 10000; clock_mono_ms() < until_ms && v == TICKET_GOOD;
         v = tickets_check(other, bytes_text(text), s.event, NULL))
        poll(NULL, 0, 20);
    assert_int_equal(v, TICKET_REVOKED);
    tickets_close(other);
    stage_close(&s);
}

#define CHECKS 20000

struct doorman {
    struct stage *stage;
    char text[TICKET_TEXT_SIZE];
    long refused;
    pthread_t thread;
};

static void *check_for_ever(void *ctx)
{
    struct doorman *d = ctx;

    for (int i = 0; i < CHECKS; i++)
        d->refused += check(d->stage, d->text) != TICKET_GOOD;
    return NULL;
}

/* While keys change and others are revoked nobody who has a good token is refused. */
static void many_check_while_keys_change_and_others_are_revoked(void **state)
{
    struct doorman men[4];
    struct stage s;

    stage_open(&s);
    clock_test_off();
    for (size_t i = 0; i < 4; i++) {
        men[i] = (struct doorman){.stage = &s};
        issue(&s, men[i].text);
        assert_int_equal(pthread_create(&men[i].thread, NULL, check_for_ever, &men[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(tickets_rotate(s.tickets), ERR_OK);
        assert_int_equal(tickets_revoke(s.tickets, ulid_secret()), ERR_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(men[i].thread, NULL);
        assert_int_equal(men[i].refused, 0);
    }
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_signed_is_read_back),
        cmocka_unit_test(anybody_with_the_key_comes_to_the_same_signature),
        cmocka_unit_test(one_changed_letter_is_refused),
        cmocka_unit_test(another_algorithm_is_refused),
        cmocka_unit_test(a_token_ends_is_for_one_event_and_is_not_from_tomorrow),
        cmocka_unit_test(what_is_revoked_stays_so_over_a_restart_and_a_fresh_token_is_good),
        cmocka_unit_test(a_token_that_was_asked_for_before_the_end_ends_with_the_others),
        cmocka_unit_test(keys_change_without_a_break),
        cmocka_unit_test(old_keys_and_revocations_are_not_kept_for_ever),
        cmocka_unit_test(many_check_while_keys_change_and_others_are_revoked),
        cmocka_unit_test(what_one_server_revokes_and_signs_the_other_knows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
