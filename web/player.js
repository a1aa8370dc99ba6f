/* player.js - what plays, where and by what: Shaka Player for recordings and for live with everything behind it, WebRTC at the edge.
 *
 * While WebRTC plays there is `direct`, and the picture is where the edge is. Shaka takes over wherever else the viewer wants to be:
 * from then until it plays, `going` is where to.
 * It knows one video at a time and nothing of events; who made it says by callbacks what to do when the
 * video ends or cannot be played. */
import {h, icon} from '/assets/dom.js';
import {bitrate, quality} from '/assets/format.js';
import {clockAhead, getThumbnails, getVideo} from '/assets/api.js';
import {Comeback} from '/assets/comeback.js';
import {Controls} from '/assets/controls.js';
import {Direct} from '/assets/direct.js';
import {Whep} from '/assets/whep.js';

/* So much of what is buffered stays when another quality is chosen, and the picture goes on meanwhile. */
const SWITCH_S = 4;
/* Closer than this to the live edge is live: a viewer cannot tell, and the edge moves in steps. */
const EDGE_S = 7;
const TICK_MS = 250;
const RETRY_MS = 2000;
const THUMBNAILS_MS = 10000;

const CONFIG = {
    streaming: {
        rebufferingGoal: 1,
        bufferingGoal: 30,
        bufferBehind: 60,
        returnToEndOfLiveWindowWhenOutside: true,
        retryParameters: {maxAttempts: 4, baseDelay: 500, backoffFactor: 1.6, timeout: 20000},
    },
    manifest: {
        retryParameters: {maxAttempts: 2, baseDelay: 500, timeout: 10000},
        /* Two segments behind the last one are enough: ours are on the server before a playlist names them. */
        hls: {liveSegmentsDelay: 2},
        disableThumbnails: true,
        disableText: true,
    },
    abr: {defaultBandwidthEstimate: 4e6},
};

/* Near the live edge there is the publisher's own quality only, for what is made of it comes later; a line that is too thin for it
 * is better served by the others. */
const ADDRESSES = {low: 'low.m3u8', dash: 'manifest.mpd', hls: 'master.m3u8'};
const NAMES = {webrtc: 'WebRTC', low: 'low-latency HLS', dash: 'DASH', hls: 'HLS'};
const DRY_TIMES = 3;
const DRY_WITHIN_MS = 45000;
const DRY_MS_MAX = 4000;
/* Who has gone back farther than this wants to see the past, and not to be hurried out of it. */
const CATCH_UP_S = 12;
const LATENCY_S_MAX = 60;
/* Who goes to a place nearer than this to the edge while WebRTC plays stays with it. */
const STAY_S = 1;
/* The end of a show is played so far, for the curtain falls where the picture ends. */
const LAST_S = .5;
/* A live HLS playlist does not say that it keeps everything; ours do. */
const WINDOW_S = 2 * 24 * 3600;

function configOf(name, catchUp) {
    /* Media says itself where it lies; where a playlist has it, which is by the millisecond and without the delay of reordered pictures, is no
     * reason to lay it elsewhere. */
    return {manifest: {availabilityWindowOverride: name === 'dash' ? NaN : WINDOW_S, hls: {ignoreManifestTimestampsInSegmentsMode: true}}, streaming: {lowLatencyMode: name === 'low', rebufferingGoal: name === 'low' ? .1 : CONFIG.streaming.rebufferingGoal,
        liveSync: {enabled: catchUp, maxPlaybackRate: 1.06, minPlaybackRate: .97}}};
}

/* Resolves when `video` has told that it knows its media: Shaka, which hears it too, has put the picture where it thinks best by then.
 * What the element says when asked (readyState) comes earlier. */
function metadataOf(video) {
    return new Promise((done) => video.addEventListener('loadedmetadata', () => setTimeout(done), {once: true}));
}

/* Whether there is something to show yet: WebRTC has it with the first picture, a playlist with the first segment. */
async function hasMedia(video, webrtc) {
    try {
        const {segments, whep} = await getVideo(video);

        return segments > 0 || Boolean(webrtc && whep);
    } catch {
        return false;
    }
}

export class Player {
    /* Draws itself into `root`. `calls`: ended(), failed(message), state(name) - all may be missing. */
    constructor(root, {compact = false, calls = {}} = {}) {
        this.root = root;
        this.compact = compact;
        this.calls = calls;
        this.cues = [];
        this.load_number = 0;
        this.video = h('video', {playsinline: true, preload: 'auto', tabindex: '-1'});
        this.controls = new Controls(this, root);
        this.#state('empty');
        this.#listen();
        this.shaka = null;
        this.direct = null;
        this.going = null;
        this.comeback = new Comeback(() => this.#return());
    }

    /* Plays a video; live: from the live edge, else from the start. Waits for its first segment for as long
     * as `stillThere()` is true. Resolves when it plays, was replaced or failed. */
    async load(video, {protocol, live, stillThere = () => false}) {
        const number = ++this.load_number;

        this.#close();
        this.comeback.cancel();
        this.going = null;
        this.waits = false;
        this.video_id = video;
        this.cues = [];
        this.cues_at = 0;
        this.#state('loading');
        this.say(null);
        window.shaka.polyfill.installAll();
        this.live_wanted = live;
        this.free = !protocol;
        this.pinned = null; /* the quality that the viewer chose */
        this.webrtc_wanted = live && !this.compact && Whep.possible() && (!protocol || protocol === 'webrtc');
        if (!await this.#rises(number, stillThere, this.webrtc_wanted))
            return;
        if (this.webrtc_wanted && await this.#toWebrtc(number))
            return;
        if (number !== this.load_number)
            return;
        /* Once is enough: who is behind such a wall stays behind it. */
        this.webrtc_wanted = false;
        if (protocol === 'webrtc')
            this.#fail({code: 'WebRTC'});
        else if (await this.#rises(number, stillThere, false))
            await this.#begin(protocol ? [protocol] : [...(live ? ['low'] : []), 'dash', 'hls'], number, live ? Infinity : 0);
    }

    /* Waits until there is something to show; false: it is not wanted any more. */
    async #rises(number, stillThere, webrtc) {
        while (stillThere() && !(await hasMedia(this.video_id, webrtc))) {
            this.say('The curtain is rising', 'The first picture arrives in a moment.');
            await new Promise((done) => setTimeout(done, RETRY_MS));
            if (number !== this.load_number)
                return false;
        }
        return number === this.load_number;
    }

    /* Shaka plays from this second of a live video on, Infinity being the edge; of another from its start, but for `last`: its end.
     * `then()` comes between. */
    async #begin(names, number, at, {last = false, then} = {}) {
        const problem = await this.#try(this.video_id, names, number);

        if (number !== this.load_number)
            return;
        const {going, waits} = this;

        this.going = null;
        this.say(null);
        if (problem) {
            this.#fail(problem);
            return;
        }
        then?.();
        this.#qualities();
        this.#thumbnails();
        const {start, end} = this.range();

        const to = going ?? at;

        if (last || (to === Infinity && !this.isLive())) /* whoever wanted the edge of what has ended meanwhile wants its end */
            this.video.currentTime = end - LAST_S;
        else if (this.isLive() || going !== null)
            this.video.currentTime = Math.min(end, start + to);
        if (waits)
            this.#state('paused');
        else
            await this.play(true);
    }

    /* --- WebRTC, and away from it --- */

    /* Plays by WebRTC as soon as its pictures come; what plays goes on until then. False: it cannot be had. */
    async #toWebrtc(number) {
        let direct;
        const ours = () => this.direct === direct;

        try {
            direct = await Direct.open(this.video_id, {
                stalled: (is) => ours() && this.root.dataset.state !== 'paused' && this.#state(is ? 'buffering' : 'playing'),
                lost: () => ours() && this.#lost(),
                ended: () => ours() && this.#leaveFor(Infinity, {names: ['dash', 'hls'], last: true}),
            });
        } catch {
            return false;
        }
        if (number !== this.load_number) {
            direct.close();
            return false;
        }
        await this.shaka?.detach();
        if (number !== this.load_number) {
            direct.close();
            return false;
        }
        this.direct = direct;
        this.comeback.holds();
        this.protocol = 'webrtc';
        this.video.srcObject = direct.stream;
        this.say(null);
        this.#qualities();
        this.#thumbnails();
        await this.play(true);
        return true;
    }

    #lost() {
        if (this.free) {
            this.#leaveFor(Infinity);
            this.comeback.broke();
        } else {
            this.#close();
            this.#fail({code: 'WebRTC'});
        }
    }

    /* To WebRTC again after it broke, if the viewer is where it would be: he sees nothing of it but a younger picture. */
    async #return() {
        if (!this.webrtc_wanted || this.direct || this.going !== null || this.pinned || !this.atEdge() || this.root.dataset.state !== 'playing')
            return null;
        this.returning = ++this.load_number;
        return this.#toWebrtc(this.returning);
    }

    /* Shaka takes over from WebRTC, at this second of the video. */
    async #leaveFor(seconds, {names = ['low', 'dash', 'hls'], waits = false, ...more} = {}) {
        const number = ++this.load_number;

        this.going_end = this.edge();
        this.going = seconds;
        this.waits = waits;
        this.pinned = null;
        this.#close();
        this.#state('buffering');
        await this.#begin(names, number, seconds, more);
    }

    #close() {
        if (!this.direct)
            return;
        this.direct.close();
        this.direct = null;
        this.video.srcObject = null;
    }

    async unload() {
        this.load_number++;
        this.#close();
        this.comeback.cancel();
        this.video_id = null;
        this.#state('empty');
        await this.shaka?.unload();
    }

    async destroy() {
        this.load_number++;
        this.video_id = null;
        this.#close();
        this.comeback.close();
        clearInterval(this.ticker);
        await this.shaka?.destroy();
        this.controls.close();
    }

    /* A message over the picture, or null to take it away. */
    say(title, text, more) {
        this.controls.say(title, text, more);
    }

    async play(first = false) {
        if (this.going !== null) {
            this.waits = false; /* there is nothing to play yet */
            return;
        }
        try {
            await this.video.play();
        } catch (problem) {
            /* Browsers let a page begin by itself only without sound; then the viewer is offered it. */
            if (problem.name !== 'NotAllowedError' || !first)
                return;
            this.video.muted = true;
            this.controls.offerSound();
            await this.video.play().catch(() => this.#state('paused'));
        }
    }

    toggle() {
        if (this.going !== null) {
            this.waits = !this.waits;
            return;
        }
        if (this.video.ended)
            this.seekTo(this.range().start);
        if (this.video.paused || this.video.ended)
            this.play();
        else
            this.video.pause();
    }

    range() {
        if (this.direct || this.going !== null)
            return {start: 0, end: this.direct ? this.direct.edge() : this.going_end};
        return this.shaka && this.video_id ? this.shaka.seekRange() : {start: 0, end: 0};
    }

    /* HLS says of a live show that keeps everything (EVENT) that it is in progress, DASH that it is live. */
    isLive() {
        return Boolean(this.direct || this.going !== null || this.shaka?.isLive() || this.shaka?.isInProgress());
    }

    isLoaded() {
        return Boolean(this.video_id);
    }

    isDirect() {
        return this.direct !== null;
    }

    /* Whether it plays what comes from the stage without a wait. */
    isNear() {
        return ['webrtc', 'low'].includes(this.protocol);
    }

    /* How far there is something to play at once, on the line of range(). */
    loadedTo() {
        const loaded = this.video.buffered;

        return this.direct || loaded.length === 0 ? 0 : loaded.end(loaded.length - 1);
    }

    /* Where the picture is or is about to be, on the line of range(). */
    now() {
        if (this.direct)
            return this.direct.edge();
        return this.going === null ? this.video.currentTime : Math.min(this.going, this.going_end);
    }

    /* Where in the video the picture is, in seconds; null while there is none. */
    position() {
        if (this.direct || this.going !== null)
            return this.now();
        return this.shaka && this.video_id && this.video.readyState > 0 ? Math.max(0, this.video.currentTime - this.range().start) : null;
    }

    /* How long the video is by now. */
    edge() {
        const {start, end} = this.range();

        return end - start;
    }

    jump(seconds) {
        this.seekTo(this.range().start + seconds);
        this.play();
    }

    /* Seconds behind the newest that can be played. */
    behind() {
        return Math.max(0, this.range().end - this.now());
    }

    atEdge() {
        return this.isLive() && this.behind() < EDGE_S;
    }

    seekTo(seconds) {
        const {start, end} = this.range();
        const to = Math.min(end, Math.max(start, seconds));

        this.#stayWithShaka();
        if (this.going !== null)
            this.going = to;
        else if (!this.direct)
            this.video.currentTime = to;
        else if (to < end - STAY_S)
            this.#leaveFor(to);
        this.#tick();
    }

    goLive() {
        if (this.direct)
            return;
        this.seekTo(this.range().end);
        this.play();
        if (!this.webrtc_wanted || this.pinned || this.going !== null || !this.isLive())
            return;
        this.returning = ++this.load_number;
        this.#toWebrtc(this.returning);
    }

    /* Whoever goes elsewhere while WebRTC is on its way does not want it any more. */
    #stayWithShaka() {
        if (this.returning === this.load_number)
            this.load_number++;
    }

    #state(name) {
        if (this.root.dataset.state === name)
            return;
        this.root.dataset.state = name;
        this.calls.state?.(name);
    }

    #fail(problem) {
        const Code = window.shaka.util.Error.Code;
        const words = {
            [Code.BAD_HTTP_STATUS]: problem.data?.[1] === 401 || problem.data?.[1] === 403
                ? 'This show is for ticket holders.' : 'The server does not have this recording (any more).',
            [Code.HTTP_ERROR]: 'The server cannot be reached.',
            WebRTC: 'WebRTC does not get through to this browser.',
            [Code.TIMEOUT]: 'The server did not answer in time.',
        }[problem.code] ?? (problem.category === window.shaka.util.Error.Category.MEDIA || problem.code === Code.CONTENT_UNSUPPORTED_BY_BROWSER
            ? 'This browser cannot play the format of this video.' : `The player gave up (error ${problem.code ?? problem.message}).`);

        this.#state('error');
        this.say('The picture did not come', words,
            h('button', {class: 'button button-small', type: 'button', onclick: () => this.calls.again?.()}, icon('replay'), 'Try again'));
        this.calls.failed?.(words, problem);
    }

    /* --- shaka --- */

    async #try(video, names, number) {
        try {
            if (!this.shaka) {
                this.shaka = new window.shaka.Player();
                this.shaka.configure(CONFIG);
                this.shaka.addEventListener('error', (e) => this.video_id && !this.direct && this.#broke(e.detail));
                this.shaka.addEventListener('buffering', (e) => this.#buffering(e.buffering));
                for (const name of ['trackschanged', 'adaptation', 'variantchanged'])
                    this.shaka.addEventListener(name, () => this.#qualities());
            }
            if (this.shaka.getMediaElement() !== this.video)
                await this.shaka.attach(this.video);
            const base = `/v/${encodeURIComponent(video)}/`;

            /* DASH before HLS: its timeline is explicit. HLS where DASH is refused for what it is. */
            for (const name of names) {
                try {
                    this.dry = [];
                    this.catches_up = name === 'low';
                    this.shaka.configure(configOf(name, this.catches_up));
                    this.shaka.configure('abr.enabled', true);
                    const metadata = metadataOf(this.video);

                    await this.shaka.load(base + ADDRESSES[name], Number.isFinite(this.going) ? this.going : null);
                    this.protocol = name;
                    if (name === 'low')
                        this.ahead = await clockAhead();
                    if (number === this.load_number)
                        await metadata;
                    break;
                } catch (problem) {
                    /* What cannot be had near the edge, where a show may just have ended, can be had behind it. */
                    const unreachable = problem.category === window.shaka.util.Error.Category.NETWORK && name !== 'low';
                    const hopeless = unreachable || number !== this.load_number;

                    if (hopeless || name === names.at(-1))
                        throw problem;
                }
            }
            return null;
        } catch (problem) {
            return problem;
        }
    }

    /* A player that runs dry again and again is too near to the edge for its line. What lasts longer is not the line's fault: then
     * nothing comes from the stage. */
    #ranDry(since) {
        const now = Date.now();

        if (now - since > DRY_MS_MAX)
            return;
        this.dry = [...this.dry.filter((at) => at > now - DRY_WITHIN_MS), now];
        if (this.protocol === 'low' && this.free && this.isLive() && this.dry.length >= DRY_TIMES)
            this.#near(false);
    }

    /* Nearer to the stage, or with all qualities. */
    #near(on) {
        this.load(this.video_id, {protocol: on ? undefined : 'dash', live: true}).then(() => { this.free = true; });
    }

    /* Behind the edge it may go on. */
    #broke(problem) {
        if (this.protocol === 'low' && this.free && this.going === null)
            this.#leaveFor(this.position() ?? Infinity, {names: ['dash', 'hls']});
        else
            this.#fail(problem);
    }

    #buffering(is) {
        if (!is && this.dry_since)
            this.#ranDry(this.dry_since);
        this.dry_since = is && this.root.dataset.state === 'playing' && !this.video.seeking ? Date.now() : 0;
        if (is && this.root.dataset.state === 'playing')
            this.#state('buffering');
        else if (!is && ['buffering', 'loading'].includes(this.root.dataset.state))
            this.#state(this.video.paused ? 'paused' : 'playing');
    }

    /* --- quality --- */

    #tracks() {
        const best = new Map(); /* one entry a height; of several the one with the highest bitrate */

        for (const track of this.shaka?.getVideoTracks() ?? []) {
            const name = quality(track);

            if (!best.has(name) || best.get(name).bandwidth < track.bandwidth)
                best.set(name, track);
        }
        return [...best.entries()].sort(([, a], [, b]) => (b.height || 0) - (a.height || 0));
    }

    #qualities() {
        if (this.video_id)
            this.controls.qualitiesChanged();
    }

    /* For the menu. */
    choices() {
        const tracks = this.direct ? this.#others() : this.#tracks();
        const active = tracks.find(([, track]) => track.active);
        const auto = this.direct ? !this.pinned : this.shaka.getConfiguration().abr.enabled;
        const nearest = this.isNear();
        const entries = [{label: 'Auto', detail: auto && active ? active[0] : '', checked: auto, work: () => this.#choose(null, null)}];

        for (const [name, track] of tracks) {
            const {number, unit} = bitrate(track.bandwidth);

            entries.push({label: name, detail: track.bandwidth ? `${number} ${unit}` : '', checked: Boolean(!auto && track.active),
                work: () => this.#choose(track, name)});
        }
        if (this.isLive() && this.free)
            entries.push({label: nearest ? 'All qualities' : 'Closest to live', work: () => this.#near(!nearest)});
        return {entries, note: `Plays by ${NAMES[this.protocol]}`};
    }

    /* What there is besides what WebRTC shows, which is the publisher's own picture or as much of it as browsers take. */
    #others() {
        const shown = this.video.videoHeight;
        const all = this.direct.renditions.filter((r) => r.height).map((r) => [quality(r), {...r, active: r.height === shown}]);

        return all.sort(([, a], [, b]) => b.height - a.height);
    }

    #choose(track, name) {
        this.#stayWithShaka();
        if (this.direct && track && !track.active) {
            this.#leaveFor(this.edge(), {names: ['dash', 'hls'], then: () => {
                const [, found] = this.#tracks().find(([other]) => other === name) ?? [];

                if (found)
                    this.#choose(found, name);
            }});
            return;
        }
        this.pinned = track ? name : null;
        if (!this.direct) {
            this.shaka.configure('abr.enabled', !track);
            if (track)
                this.shaka.selectVideoTrack(track, true, SWITCH_S);
        }
        this.#qualities();
    }

    /* --- previews --- */

    async #thumbnails() {
        const video = this.video_id;

        if (this.compact || Date.now() - this.cues_at < THUMBNAILS_MS)
            return;
        this.cues_at = Date.now();
        const cues = await getThumbnails(video);

        if (video === this.video_id)
            this.cues = cues;
    }

    /* The address of a small picture of this second, or null. */
    thumbnail(seconds) {
        if (this.isLive())
            this.#thumbnails();
        const at = seconds - this.range().start;

        return this.cues.findLast((cue) => cue.start <= at)?.url ?? null;
    }

    /* --- what happens to the picture --- */

    #listen() {
        const on = (names, work) => names.split(' ').forEach((name) => this.video.addEventListener(name, work));

        on('play playing', () => this.#state(!this.direct && this.shaka?.isBuffering() ? 'buffering' : 'playing'));
        on('pause', () => this.#paused());
        on('ended', () => {
            if (this.direct || !this.video.ended)
                return; /* a session's streams end with it, and the show goes on */
            this.#state('ended');
            this.calls.ended?.();
        });
        on('seeking', () => this.root.dataset.state === 'ended' && this.#state('paused'));
        on('timeupdate progress durationchange', () => this.#tick());
        this.ticker = setInterval(() => this.#tick(), TICK_MS);
    }

    #tick() {
        if (!this.video_id || ['loading', 'empty', 'error'].includes(this.root.dataset.state))
            return;
        this.#catchUp();
        this.controls.update();
    }

    /* Who watches near the edge is led back to it, and who went back is left there. */
    #catchUp() {
        if (this.protocol !== 'low' || this.catches_up === this.behind() < CATCH_UP_S)
            return;
        this.catches_up = !this.catches_up;
        this.shaka.configure(configOf('low', this.catches_up));
    }

    /* What WebRTC does not show at once is gone, so a pause is Shaka's. */
    #paused() {
        if (this.direct && this.video.paused && !this.video.ended)
            this.#leaveFor(this.edge(), {waits: true});
        else if (!this.video.ended && ['playing', 'buffering'].includes(this.root.dataset.state) && this.going === null)
            this.#state('paused');
    }

    /* How far the picture is behind the stage, in seconds, by the times that the playlist or the server's reports tell; null: they do not. */
    latencySeconds() {
        const shown = this.direct ? null : this.shaka?.getPlayheadTimeAsDate();
        const seconds = this.direct?.latency_s ?? (shown ? (Date.now() + (this.ahead ?? 0) - shown) / 1000 : -1);

        return seconds > 0 && seconds < LATENCY_S_MAX ? seconds : null;
    }
}
