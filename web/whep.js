/* whep.js - one WHEP session: asks for a live video by WebRTC, and tells how it fares.
 *
 * It knows nothing of pages, and never shows anything: whoever opened it shows `stream`, looks at it now and then, and closes it. */

/* From the offer to ICE and DTLS: longer means that something on the way lets no UDP and no TCP through. */
const CONNECT_MS = 3000;
/* From then to the first picture: it may wait for a keyframe, or for an encoder to begin. */
const PICTURE_MS = 5000;
const LOOK_MS = 100;
/* RTP's wall clock (NTP) begins in 1900. */
const NTP_MS = 2208988800000;

/* A Link field's STUN and TURN servers (RFC 9725 §4.6), as RTCPeerConnection takes them. */
export function iceServers(link) {
    const servers = [];

    for (const [, uri, words] of (link ?? '').matchAll(/<([^>]*)>([^<]*)/g)) {
        const said = Object.fromEntries([...words.matchAll(/;\s*([\w-]+)="?([^";,]*)"?/g)].map((m) => [m[1].toLowerCase(), m[2]]));

        if (said.rel !== 'ice-server' || !/^(stun|turn)s?:/.test(uri))
            continue;
        servers.push(said.username === undefined ? {urls: uri} : {urls: uri, username: said.username, credential: said.credential});
    }
    return servers;
}

export class Whep {
    static possible() {
        return 'RTCPeerConnection' in window;
    }

    /* A session whose pictures are being decoded. Throws an error with words when the server refuses, the way is blocked
     * or the browser cannot decode; nothing is left open then. Where no direct way is found and the server has named relays (TURN), it
     * is tried over these: most viewers never need one, and need not ask for them before they begin. */
    static async open(url) {
        const session = new Whep([]);

        try {
            await session.#connect(url);
            return session;
        } catch (problem) {
            session.close();
            if (!problem.blocked || session.relays.length === 0)
                throw problem;
        }
        return Whep.#over(session.relays, url);
    }

    static async #over(relays, url) {
        const session = new Whep(relays);

        try {
            await session.#connect(url);
            return session;
        } catch (problem) {
            session.close();
            throw problem;
        }
    }

    constructor(relays) {
        this.stream = new MediaStream();
        this.url = null;
        this.relays = []; /* those that the server names */
        this.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle', iceServers: relays});
        this.pc.ontrack = (e) => this.stream.addTrack(e.track);
        for (const kind of ['video', 'audio'])
            this.pc.addTransceiver(kind, {direction: 'recvonly'});
        this.leaving = () => this.#end();
        addEventListener('pagehide', this.leaving);
    }

    async #connect(url) {
        const limit = performance.now() + CONNECT_MS;

        await this.pc.setLocalDescription(await this.pc.createOffer());
        /* Only the server's candidates count, so ours need not be waited for. */
        const answer = await fetch(url, {method: 'POST', body: this.pc.localDescription.sdp,
            headers: {'Content-Type': 'application/sdp'}, signal: AbortSignal.timeout(CONNECT_MS)});
        const text = await answer.text();

        if (answer.status !== 201)
            throw new Error(`the server answered ${answer.status}`);
        this.url = new URL(answer.headers.get('Location'), answer.url).href;
        this.relays = iceServers(answer.headers.get('Link'));
        await this.pc.setRemoteDescription({type: 'answer', sdp: text});
        await this.#until(limit, () => this.pc.connectionState === 'connected', 'no connection came about')
            .catch((problem) => { throw Object.assign(problem, {blocked: true}); });
        await this.#until(performance.now() + PICTURE_MS, async () => (await this.look()).frames > 0, 'no picture came');
    }

    async #until(limit, good, otherwise) {
        while (!(await good())) {
            if (performance.now() > limit || ['failed', 'closed'].includes(this.pc.connectionState))
                throw new Error(otherwise);
            await new Promise((done) => setTimeout(done, LOOK_MS));
        }
    }

    /* How many pictures were decoded, how the connection is ("connected", "disconnected", "failed", …), and when what is shown now
     * came to the server by the server's clock, in ms; null where the browser does not know. */
    async look() {
        const all = this.pc.connectionState === 'closed' ? [] : [...(await this.pc.getStats()).values()];
        const picture = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
        const at = picture?.estimatedPlayoutTimestamp;

        return {frames: picture?.framesDecoded ?? 0, state: this.pc.connectionState, shown_at_ms: at ? at - NTP_MS : null};
    }

    close() {
        removeEventListener('pagehide', this.leaving);
        this.#end().finally(() => this.pc.close()); /* closing ends the session too, and there would be none to DELETE */
    }

    /* Tells the server, so that it does not send to nobody until the session times out. */
    async #end() {
        const url = this.url;

        this.url = null;
        if (url)
            await fetch(url, {method: 'DELETE', keepalive: true}).catch(() => {}); /* then it times out */
    }
}
