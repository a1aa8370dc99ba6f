/* base/list.h - an intrusive doubly linked list: an object's state is the list it is on.
 *
 * A `struct list` is a head when it stands alone and a link when it stands in an object. A link that is on
 * no list points to itself, so that removing twice is harmless. */
#ifndef MATINEE_BASE_LIST_H
#define MATINEE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *previous;
};

#define container_of(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Walks a list; the body may remove `at`. */
#define list_each(head, at, after)                                                                           \
    for (struct list *at = (head)->next, *after = at->next; at != (head); at = after, after = at->next)

static inline void list_init(struct list *l)
{
    l->next = l->previous = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_remove(struct list *link)
{
    link->next->previous = link->previous;
    link->previous->next = link->next;
    list_init(link);
}

static inline void list_push(struct list *head, struct list *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

/* Takes the first link off, or returns NULL. */
static inline struct list *list_pop(struct list *head)
{
    struct list *first = head->next;

    if (first == head)
        return NULL;
    list_remove(first);
    return first;
}

/* Moves everything from `from` to the empty list `to`. */
static inline void list_move(struct list *to, struct list *from)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->previous = to;
    to->previous->next = to;
    list_init(from);
}

#endif
