/* A self-signed certificate in a folder of its own, for tests that speak TLS. */
#ifndef MATINEE_UNIT_NET_CERTIFICATE_H
#define MATINEE_UNIT_NET_CERTIFICATE_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char certificate_in[] = "/tmp/matinee-tls-XXXXXX";
static char cert_file[64], key_file[64];

static inline void write_pem(const char *file, X509 *cert, EVP_PKEY *key)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    assert_int_equal(cert ? PEM_write_X509(f, cert) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL),
                     1);
    fclose(f);
}

/* A self-signed certificate for localhost with this serial number. */
static inline void make_certificate(long serial)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_EXTENSION *alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    X509_add_ext(cert, alt, -1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    write_pem(cert_file, cert, NULL);
    write_pem(key_file, NULL, key);
    X509_EXTENSION_free(alt);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline int certificate_folder(void **state)
{
    if (mkdtemp(certificate_in) == NULL)
        return -1;
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", certificate_in);
    snprintf(key_file, sizeof key_file, "%s/key.pem", certificate_in);
    return 0;
}

static inline int certificate_folder_end(void **state)
{
    unlink(cert_file);
    unlink(key_file);
    return rmdir(certificate_in);
}

#endif
