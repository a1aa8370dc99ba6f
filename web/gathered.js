/* gathered.js - the comments of one video that a page knows, in the order of their places. Pure. */

export const WINDOW_S = 10;

export class Gathered {
    constructor() {
        this.comments = []; /* by offset; of the same offset as they came */
        this.ids = new Set();
        this.gone = new Set(); /* deleted: a window that was fetched before must not bring one back */
    }

    /* How many comments belong at or before a position. */
    #upTo(position) {
        let low = 0, high = this.comments.length;

        while (low < high) {
            const middle = (low + high) >> 1;

            if (this.comments[middle].offset <= position)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    /* Whether it was new. */
    add(comment) {
        if (this.ids.has(comment.id) || this.gone.has(comment.id))
            return false;
        this.ids.add(comment.id);
        this.comments.splice(this.#upTo(comment.offset), 0, comment);
        return true;
    }

    remove(id) {
        this.gone.add(id);
        if (this.ids.delete(id))
            this.comments = this.comments.filter((c) => c.id !== id);
    }

    /* What has been said when the picture is at a position, not before `from`; and the newest `limit` of it. */
    said(position, {from = -Infinity, limit = Infinity} = {}) {
        const end = this.#upTo(position);
        const begin = Math.max(from === -Infinity ? 0 : this.#upTo(from - 1e-6), end - limit);

        return this.comments.slice(begin, end);
    }
}

/* The windows of 10 s that a page wants which stands at a position: so many seconds back, and the next, where the video is so long. */
export function windowsAround(position, back, edge) {
    const last = Math.min(Math.floor(Math.max(0, position) / WINDOW_S) + 1, Math.max(0, Math.ceil(edge / WINDOW_S) - 1));
    const first = Math.max(0, Math.floor((position - back) / WINDOW_S));

    return Array.from({length: Math.max(0, last - first + 1)}, (_, i) => first + i);
}

/* An id for something that is posted: 132 bits by chance, also where the page came over plain HTTP. */
export function newId() {
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

    return [...crypto.getRandomValues(new Uint8Array(22))].map((byte) => letters[byte & 63]).join('');
}

/* What the server counts as characters. */
export function characters(text) {
    return [...text.normalize('NFC')].length;
}
