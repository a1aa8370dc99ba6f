/* comeback.js - when to try again what broke: after a while, ever more seldom, and when somebody looks at the page again.
 *
 * A line that was broken for a minute is mostly whole again afterwards, and a viewer should not have to find that out. One that stays broken
 * must not be asked all evening. */

const FIRST_MS = 60000;
const LONGEST_MS = 960000;
/* Who comes back to the page sooner than this after a break is about to see it broken again. */
const REST_MS = 3000;

export class Comeback {
    /* `attempt()` resolves to whether it worked, or to null when it could not be tried just now. */
    constructor(attempt) {
        this.attempt = attempt;
        this.wait_ms = FIRST_MS;
        this.timer = null;
        this.held_since = 0;
        this.seen = () => !document.hidden && this.timer !== null && Date.now() - this.broke_at > REST_MS && this.#try();
        document.addEventListener('visibilitychange', this.seen);
    }

    /* It works from now on. */
    holds() {
        this.cancel();
        this.held_since = Date.now();
    }

    /* It broke; what held for long is asked soon again. */
    broke() {
        if (this.held_since && Date.now() - this.held_since > FIRST_MS)
            this.wait_ms = FIRST_MS;
        this.held_since = 0;
        this.#later();
    }

    cancel() {
        clearTimeout(this.timer);
        this.timer = null;
    }

    close() {
        this.cancel();
        document.removeEventListener('visibilitychange', this.seen);
    }

    #later() {
        this.cancel();
        this.broke_at = Date.now();
        this.timer = setTimeout(() => this.#try(), this.wait_ms);
        this.wait_ms = Math.min(2 * this.wait_ms, LONGEST_MS);
    }

    async #try() {
        this.cancel();
        const wait_ms = this.wait_ms;
        const worked = await this.attempt();

        if (worked || this.timer !== null)
            return;
        if (worked === null)
            this.wait_ms = Math.max(FIRST_MS, wait_ms / 2); /* that was no attempt */
        this.#later();
    }
}
