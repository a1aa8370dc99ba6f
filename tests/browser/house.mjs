/* house.mjs - a whole house for browser tests: `matinee serve` on free ports with a folder of its own, publishers,
 * and Chromium. Everything it starts is ended by close(), by process id. */
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync} from 'node:fs';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';
import {chromium} from 'playwright-core';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MATINEE = process.env.MATINEE ?? join(ROOT, 'build/matinee');
const PICTURES = join(ROOT, 'build/screenshots');

export const DESKTOP = {width: 1440, height: 900};
export const PHONE = {width: 390, height: 844};

function ended(child) {
    return child.exitCode !== null || child.signalCode !== null;
}

async function end(child, ms = 20000) {
    if (ended(child))
        return child.exitCode;
    const gone = once(child, 'exit');
    const limit = setTimeout(() => child.kill('SIGKILL'), ms);

    child.kill('SIGTERM');
    await gone;
    clearTimeout(limit);
    return child.exitCode;
}

export class House {
    /* `options`: more words for `matinee serve`. */
    static async open(...options) {
        const house = new House();

        house.folder = await mkdtemp(join(tmpdir(), 'matinee-browser-'));
        house.publishers = [];
        house.stderr = '';
        house.serve = spawn(MATINEE, ['serve', '--data', house.folder, '--http', '127.0.0.1:0', '--rtmp', '127.0.0.1:0',
            ...(options.includes('--ladder') ? [] : ['--ladder', 'none']), ...options],
            {stdio: ['ignore', 'pipe', 'pipe']});
        house.serve.stderr.on('data', (text) => { house.stderr += text; });
        const urls = {};

        for await (const line of createInterface({input: house.serve.stdout})) {
            const [kind, url] = line.split(' ');

            urls[kind] = url;
            if (line === 'ready')
                break;
        }
        assert.ok(urls.http && urls.rtmp, `serve did not get ready: ${house.stderr}`);
        house.serve.stdout.resume();
        house.http = urls.http;
        house.rtmp = urls.rtmp;
        house.token = (await readFile(join(house.folder, 'admin.token'), 'utf8')).trim();
        house.browser = await chromium.launch({executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic',
            '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--mute-audio',
            '--autoplay-policy=no-user-gesture-required']});
        return house;
    }

    async close() {
        await this.browser?.close();
        await Promise.all(this.publishers.map((p) => end(p)));
        const status = await end(this.serve);

        await rm(this.folder, {recursive: true, force: true});
        return status;
    }

    async call(method, path, body) {
        const answer = await fetch(`${this.http}/api/v1${path}`, {method, body: body && JSON.stringify(body),
            headers: {Authorization: `Bearer ${this.token}`, ...(body && {'Content-Type': 'application/json'})}});
        const text = await answer.text();

        assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
        return text && JSON.parse(text);
    }

    async event(title, more = {}) {
        return this.call('POST', '/events', {title, ...more});
    }

    /* Publishes the demo picture; ended by stop(), or by close(). */
    publish(event, {source = 'demo', words = []} = {}) {
        const child = spawn(MATINEE, ['publish', ...words, source, `${this.rtmp}/${event.streamKey}`], {stdio: 'ignore'});

        this.publishers.push(child);
        return {child, stop: () => end(child)};
    }

    /* Waits until `good(answer)` for what `GET path` answers, and returns the answer. */
    async until(path, good, what, seconds = 30) {
        const limit = Date.now() + seconds * 1000;
        let answer = null;

        while (Date.now() < limit) {
            answer = await this.call('GET', path).catch(() => null);
            if (answer && good(answer))
                return answer;
            await new Promise((done) => setTimeout(done, 200));
        }
        throw new Error(`${what} did not come within ${seconds} s; the last answer was ${JSON.stringify(answer)}`);
    }

    async live(event) {
        return this.until(`/events/${event.id}`, (e) => e.state === 'live' && e.video, 'the live video');
    }

    /* A page whose console errors and failed requests are collected in page.troubles. `webrtc: false`: in a browser that has none. */
    async page(path, {viewport = DESKTOP, phone = false, token = false, webrtc = true} = {}) {
        const context = await this.browser.newContext({viewport, hasTouch: phone, isMobile: phone, deviceScaleFactor: phone ? 2 : 1, locale: 'en-GB', timezoneId: 'Europe/Berlin'});
        const page = await context.newPage();

        page.troubles = [];
        page.on('pageerror', (e) => page.troubles.push(`error: ${e.message}`));
        page.on('console', (m) => m.type() === 'error' && page.troubles.push(`console: ${m.text()} ${m.location().url}`));
        page.on('request', (r) => !r.url().startsWith(this.http) && !/^(blob|data):/.test(r.url()) && page.troubles.push(`outside: ${r.url()}`));
        if (token)
            await page.addInitScript((t) => sessionStorage.setItem('admin-token', t), this.token);
        if (!webrtc)
            await page.addInitScript(() => { delete window.RTCPeerConnection; });
        await page.goto(this.http + path);
        return page;
    }
}

export async function picture(page, name, options = {}) {
    mkdirSync(PICTURES, {recursive: true});
    await page.screenshot({path: join(PICTURES, `${name}.png`), ...options});
}

/* What the video element of the page knows of itself. */
export function playback(page) {
    return page.evaluate(() => {
        const video = document.querySelector('video');
        const quality = video.getVideoPlaybackQuality();

        return {time: video.currentTime, duration: video.duration, paused: video.paused, ended: video.ended, error: video.error?.message ?? null,
            frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames, width: video.videoWidth, height: video.videoHeight,
            sound: video.webkitAudioDecodedByteCount};
    });
}

/* Until the picture has moved `seconds` further than it is now. */
export async function plays(page, seconds, ms = 60000) {
    await page.waitForFunction(() => document.querySelector('video')?.readyState >= 3, null, {timeout: ms});
    const from = (await playback(page)).time;

    await page.waitForFunction(([at, more]) => document.querySelector('video').currentTime >= at + more, [from, seconds], {timeout: ms});
}

/* In the page: looks at every picture, and says how old each was, and how often the player ran dry. */
export function watchThePicture() {
    const video = document.querySelector('video');
    const canvas = document.createElement('canvas');
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    const seen = {ages: [], pictures: [], stalls: 0, dry: []};
    const BLOCKS = 32;

    /* As cmd/demo_picture.c draws them: a white and a black block, 32 bits, a black and a white one. */
    const age = () => {
        const size = Math.floor(video.videoWidth / (BLOCKS + 4)) & ~1;
        const left = Math.floor((video.videoWidth - size * (BLOCKS + 4)) / 2) & ~1;
        const top = Math.floor(video.videoHeight * 3 / 90) & ~1;

        canvas.width = video.videoWidth;
        canvas.height = size;
        pen.drawImage(video, 0, top, video.videoWidth, size, 0, 0, video.videoWidth, size);
        const row = pen.getImageData(0, size / 2, video.videoWidth, 1).data;
        const lit = (i) => row[4 * (left + (i + 2) * size + size / 2)] > 128;

        if (!lit(-2) || lit(-1) || lit(BLOCKS) || !lit(BLOCKS + 1))
            return null;
        let then = 0;

        for (let i = 0; i < BLOCKS; i++)
            then = then * 2 + lit(i);
        return (Date.now() % 2 ** 32) - then;
    };
    /* WebRTC does not tell that it waits, so the pictures themselves must: none for half a second is a stall, too. */
    const QUIET_MS = 500;
    /* A decoder that begins anew says so, too, and nobody sees it. */
    const DRY_MS = 150;
    let last = 0, waiting = false;
    const look = (now, {expectedDisplayTime}) => {
        const ms = age();

        if (last > 0 && now - last > (waiting ? DRY_MS : QUIET_MS))
            seen.stalls++;
        last = now;
        waiting = false;
        if (ms !== null) {
            seen.ages.push(ms);
            seen.pictures.push([expectedDisplayTime, Date.now() - ms]);
        }
        video.requestVideoFrameCallback(look);
    };

    video.requestVideoFrameCallback(look);
    video.addEventListener('waiting', () => {
        const {buffered, currentTime} = video;

        seen.dry.push([currentTime, ...Array.from(buffered, (_, i) => [buffered.start(i), buffered.end(i)])]);
        waiting = true;
    });
    window.seen = seen;
}

export function percentile(sorted, part) {
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}
