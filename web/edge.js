/* edge.js - where the live edge of a video is, where no playlist tells: from its length as the server says it now and then.
 *
 * The server counts what is finished, so its word is a little old, and how old differs: the youngest one holds until a younger comes.
 * All times are seconds; `now` is any clock that never goes back. */

export class Edge {
    constructor() {
        this.ahead = -Infinity; /* of the clock */
        this.held = null;
    }

    said(duration, now) {
        if (this.held === null)
            this.ahead = Math.max(this.ahead, duration - now);
        else
            this.held = Math.max(this.held, duration);
    }

    at(now) {
        return this.held ?? Math.max(0, now + this.ahead);
    }

    /* Nothing comes from the stage: an absence is no part of the video. */
    hold(now) {
        this.held ??= this.at(now);
    }

    goOn(now) {
        if (this.held !== null)
            this.ahead = this.held - now;
        this.held = null;
    }
}
