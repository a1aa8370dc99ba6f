/* direct.js - a live show as it happens: a WHEP session, where its live edge is, and whether it still comes.
 *
 * The session knows pictures and no show; the server knows the show and no viewer's line. Together they tell a stage that is quiet
 * from a line that is broken. */
import {clockAhead, getVideo} from '/assets/api.js';
import {Edge} from '/assets/edge.js';
import {Whep} from '/assets/whep.js';

const LOOK_MS = 500;
const ASK_MS = 2000;
/* The age of a picture is tenths of a second here, and a page that is just beginning answers itself late. */
const ASK_TIMES = 5;
/* Without a picture for so long, it stands still. */
const QUIET_MS = 1500;
/* The server's length may come to this much more after the last picture, for its word is late; more, and the show goes on without us. */
const MISSED_S = 2;

function seconds() {
    return performance.now() / 1000;
}

export class Direct {
    /* Resolves once pictures come; throws where they cannot. `calls`: stalled(is), lost() when it will not come again, ended() when the
     * show is over; after one of the last two, and after close(), none is called any more. */
    static async open(video, calls) {
        const known = await getVideo(video);

        if (!known.whep)
            throw new Error('this video is not live');
        return new Direct(video, await Whep.open(known.whep), known, calls);
    }

    constructor(video, session, known, calls) {
        this.video = video;
        this.session = session;
        this.ahead = null; /* the server's clock, of ours */
        clockAhead(ASK_TIMES).then((ms) => { this.ahead = ms; });
        this.calls = calls;
        this.renditions = known.renditions;
        this.line = new Edge();
        this.line.said(known.duration, seconds());
        this.frames = 0;
        this.came_at = performance.now();
        this.stalled_s = null; /* where the edge was when it stood still */
        this.latency_s = null;
        this.timers = [setInterval(() => this.#look(), LOOK_MS), setInterval(() => this.#ask(), ASK_MS)];
    }

    get stream() {
        return this.session.stream;
    }

    edge() {
        return this.line.at(seconds());
    }

    close() {
        this.timers.forEach(clearInterval);
        this.closed = true;
        this.session.close();
    }

    #over(call) {
        this.close();
        call?.();
    }

    async #look() {
        const {frames, state, shown_at_ms: shown} = await this.session.look();
        const quiet = performance.now() - this.came_at > QUIET_MS;

        if (this.closed)
            return;
        this.latency_s = shown && this.ahead !== null ? (Date.now() + this.ahead - shown) / 1000 : null;
        if (frames !== this.frames) {
            this.frames = frames;
            this.came_at = performance.now();
            this.#stall(false);
        } else if (state === 'failed' || state === 'closed' || (state === 'disconnected' && quiet)) {
            this.#over(this.calls.lost);
        } else if (quiet) {
            this.#stall(true);
        }
    }

    #stall(is) {
        if (is === (this.stalled_s !== null))
            return;
        if (is)
            this.line.hold(seconds());
        else
            this.line.goOn(seconds());
        this.stalled_s = is ? this.edge() : null;
        this.calls.stalled?.(is);
    }

    async #ask() {
        const known = await getVideo(this.video).catch(() => null); /* the next answer will do */

        if (this.closed || !known)
            return;
        if (known.state !== 'live') {
            this.session.url = null; /* it ended with the show */
            this.#over(this.calls.ended);
            return;
        }
        this.renditions = known.renditions;
        this.line.said(known.duration, seconds());
        if (this.stalled_s !== null && known.duration > this.stalled_s + MISSED_S)
            this.#over(this.calls.lost);
    }
}
