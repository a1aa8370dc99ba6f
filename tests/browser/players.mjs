/* players.mjs - the players that people use, each on an empty page with one live video: what it shows is read from the demo's picture,
 * and what it sounds from the demo's beep, both of which belong to a moment of the wall clock.
 *
 * All clocks are of one machine, so a picture's age is glass to glass, and the distance of beep and picture is what a viewer has. */
import {join} from 'node:path';
import {ROOT, percentile, plays, watchThePicture} from './house.mjs';

const MODULES = join(ROOT, 'node_modules');
/* A player begins at the last keyframe, and plays a little faster until it is as near as it wants to be. */
const SETTLE_SECONDS = 15;
const SHAKA = 'shaka-player/dist/shaka-player.compiled-es2021.js';

/* p50_ms_max: what is promised of the picture's age, with room for a machine that is busy. skew_ms_max: how far sound and picture may be
 * apart. Over WebRTC the sound is heard here by way of a stream of its own, which adds some 60 ms to what a viewer hears. */
export const SKEW_MS_MAX = 80;
const WHEP_SKEW_MS_MAX = 120;

export const PLAYERS = {
    'hls.js, HLS': {p50_ms_max: 2000, script: 'hls.js/dist/hls.min.js', start: (base) => {
        const hls = new window.Hls({lowLatencyMode: true, liveSyncDuration: .8, liveMaxLatencyDuration: .9});

        hls.loadSource(`${base}/low.m3u8`);
        hls.attachMedia(document.querySelector('video'));
        window.latency = () => `${hls.latency.toFixed(2)} s, wants ${hls.targetLatency.toFixed(2)} s`;
    }},
    'Shaka, HLS': {p50_ms_max: 2000, script: SHAKA, start: (base) => window.startShaka(`${base}/low.m3u8`, {liveSync: {enabled: true}})},
    /* What it is to do near the edge the manifest says (ServiceDescription), and a liveSync of our own would silence that. Its own settings
     * for low latency it takes up after it has read the manifest once, which is too late for where the edge is. */
    'Shaka, DASH': {p50_ms_max: 2000, script: SHAKA, start: (base) => window.startShaka(`${base}/low.mpd`, {}, {dash: {autoCorrectDrift: false}})},
    'dash.js, DASH': {p50_ms_max: 2000, script: 'dashjs/dist/modern/umd/dash.all.min.js', start: (base) => {
        const player = window.dashjs.MediaPlayer().create();

        player.initialize(document.querySelector('video'), `${base}/low.mpd`, true);
        window.latency = () => player.getCurrentLiveLatency();
    }},
    'WHEP, UDP': {p50_ms_max: 500, skew_ms_max: WHEP_SKEW_MS_MAX, start: (base) => window.startWhep(`${base}/whep`, 'udp')},
    'WHEP, TCP': {p50_ms_max: 500, skew_ms_max: WHEP_SKEW_MS_MAX, start: (base) => window.startWhep(`${base}/whep`, 'tcp')},
};

/* Of pictures that are reordered Shaka Player has to be told that media lies where it says itself. */
export const REORDERED = {...PLAYERS['Shaka, HLS'],
    start: (base) => window.startShaka(`${base}/low.m3u8`, {liveSync: {enabled: true}}, {hls: {ignoreManifestTimestampsInSegmentsMode: true}})};

function defineStarts() {
    window.startShaka = async (url, streaming, manifest = {}) => {
        const player = new window.shaka.Player();

        window.shaka.polyfill.installAll();
        await player.attach(document.querySelector('video'));
        player.configure({streaming: {lowLatencyMode: true, ...streaming}, manifest});
        await player.load(url);
        window.player = player;
        window.latency = () => `${player.getStats().liveLatency} s, ${(player.seekRange().end - document.querySelector('video').currentTime).toFixed(2)} s behind its range`;
    };
    window.startWhep = async (url, way) => {
        const pc = window.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
        const stream = document.querySelector('video').srcObject = new MediaStream();

        pc.ontrack = (e) => stream.addTrack(e.track);
        for (const kind of ['video', 'audio'])
            pc.addTransceiver(kind, {direction: 'recvonly'});
        await pc.setLocalDescription(await pc.createOffer());
        const answer = await fetch(url, {method: 'POST', body: pc.localDescription.sdp, headers: {'Content-Type': 'application/sdp'}});
        const text = await answer.text();

        if (answer.status !== 201)
            throw new Error(`${answer.status} ${text}`);
        /* What Chromium itself believes of sound and picture, to compare. */
        window.ask = async () => {
            const all = [...(await pc.getStats()).values()].filter((s) => s.type === 'inbound-rtp');
            const at = (kind) => all.find((s) => s.kind === kind)?.estimatedPlayoutTimestamp;

            return `the sound is ${Math.round(at('video') - at('audio'))} ms behind the picture by its reports`;
        };
        await pc.setRemoteDescription({type: 'answer', sdp: text.split('\r\n')
            .filter((line) => !line.startsWith('a=candidate:') || line.includes(` ${way} `)).join('\r\n')});
    };
}

/* In the page: notes when each beep is heard, by performance.now(). The beep is fifty times as loud as the murmur around it. */
export async function listenToTheSound() {
    const video = document.querySelector('video');
    const context = new AudioContext({latencyHint: 'interactive'});
    const code = `registerProcessor('onsets', class extends AudioWorkletProcessor {
        constructor() { super(); this.quiet = 0; }
        process([input], [output]) {
            for (let i = 0; i < (input[0]?.length ?? 0); i++) {
                if (Math.abs(input[0][i]) < .1) {
                    this.quiet++;
                    continue;
                }
                if (this.quiet > sampleRate / 2)
                    this.port.postMessage(currentTime + i / sampleRate);
                this.quiet = 0;
            }
            input.forEach((channel, n) => output[n]?.set(channel));
            return true;
        }
    });`;

    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], {type: 'text/javascript'})));
    const node = new AudioWorkletNode(context, 'onsets');
    const source = video.srcObject ? context.createMediaStreamSource(video.srcObject) : context.createMediaElementSource(video);

    source.connect(node).connect(context.destination);
    window.heard = [];
    node.port.onmessage = ({data}) => {
        const {contextTime, performanceTime} = context.getOutputTimestamp();

        window.heard.push(performanceTime + (data - contextTime) * 1000);
    };
    await context.resume();
}

/* How much later (ms) each beep was heard than the picture of its full second was shown. `pictures`: [shown at, wall ms]. */
function skews(pictures, heard) {
    return heard.flatMap((at) => {
        const near = pictures.filter(([shown]) => Math.abs(shown - at) < 450);
        /* Of the pictures around, each tells when full seconds are shown: take the one that is nearest to one. */
        const marks = near.map(([shown, wall]) => [Math.min(wall % 1000, 1000 - wall % 1000), wall % 1000 < 500 ? shown - wall % 1000 : shown + 1000 - wall % 1000]);
        const best = marks.sort(([a], [b]) => a - b)[0];

        return best && best[0] < 100 ? [at - best[1]] : [];
    });
}

/* Opens an empty page in which `player` plays `url`. */
export async function blank(house, player, url) {
    const context = await house.browser.newContext({bypassCSP: true});
    const page = await context.newPage();

    page.troubles = [];
    page.on('pageerror', (e) => page.troubles.push(e.message));
    await page.addInitScript(() => {
        const abort = SourceBuffer.prototype.abort;

        window.anew = 0;
        SourceBuffer.prototype.abort = function () { window.anew++; abort.call(this); };
    });
    await page.goto(`${house.http}/healthz`);
    await page.setContent('<video autoplay playsinline width="640"></video>');
    if (player.script)
        await page.addScriptTag({path: join(MODULES, player.script)});
    await page.evaluate(defineStarts);
    await page.evaluate(player.start, url);
    return page;
}

/* The same for the video at `base`, which has come as near to the edge as it wants to be, and is looked at and listened to. */
export async function open(house, player, base) {
    const page = await blank(house, player, base);

    await plays(page, SETTLE_SECONDS);
    await page.evaluate(watchThePicture);
    await page.evaluate(listenToTheSound);
    await plays(page, 2); /* the sound goes another way now, and finds its place */
    return page;
}

/* What a page shows in so many seconds. */
export async function measure(page, seconds) {
    await page.evaluate(() => {
        Object.assign(window.seen, {ages: [], pictures: [], stalls: 0});
        window.heard.length = window.anew = 0;
    });
    await plays(page, seconds, (seconds + 60) * 1000);
    const {ages, pictures, stalls, heard, anew, says} = await page.evaluate(async () => ({...window.seen, heard: window.heard, anew: window.anew,
        says: String(await (window.ask ?? window.latency)?.() ?? '')}));
    const sorted = ages.toSorted((a, b) => a - b);
    const apart = skews(pictures, heard).sort((a, b) => a - b);

    return {pictures: ages.length, stalls, anew, says, beeps: apart.length, p50: percentile(sorted, .5), p90: percentile(sorted, .9), p99: percentile(sorted, .99),
        skew: Math.round(percentile(apart, .5)), skew_max: Math.round(Math.max(...apart.map(Math.abs)))};
}
