/* db/db_int.h - between the engine and the schema. */
#ifndef MATINEE_DB_DB_INT_H
#define MATINEE_DB_DB_INT_H

#include "db/db.h"

/* Brings the tables from whatever version they have to the newest, each step in one transaction. A
 * database of a newer matinee is refused. */
enum err schema_update(struct db *d, char why[256]);

#endif
