/* tests/unit/folder.h - a folder for one test, and its removal. */
#ifndef MATINEE_UNIT_FOLDER_H
#define MATINEE_UNIT_FOLDER_H

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline char *folder_new(void)
{
    static char path[64];
    char *made;

    snprintf(path, sizeof path, "/tmp/matinee-test-XXXXXX");
    made = mkdtemp(path);
    assert(made != NULL);
    return strdup(made);
}

static inline int folder_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

static inline void folder_remove(char *path)
{
    nftw(path, folder_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

#endif
