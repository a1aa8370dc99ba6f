/* Low latency in Chromium, by the players that people use: hls.js and Shaka play low-latency HLS, Shaka and dash.js low-latency DASH.
 * How old the picture is, is read from the picture: the demo draws the time into it, as a row of blocks that survives compression.
 *
 * MATINEE_PLAY_SECONDS: how long each plays (20). */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {join} from 'node:path';
import {House, ROOT, percentile, picture, plays, watchThePicture} from './house.mjs';

const SECONDS = Number(process.env.MATINEE_PLAY_SECONDS ?? 20);
/* A player begins at the last keyframe, and plays a little faster until it is as near as it wants to be. */
const SETTLE_SECONDS = 15;
/* A player that found its distance on a machine that was busy just then may run dry once; a stream at fault does so each time. */
const TRIES = 3;
const LIMIT = {timeout: (TRIES * SECONDS + 90) * 1000};
const MODULES = join(ROOT, 'node_modules');
let house, event, video;

before(async () => {
    house = await House.open('--segment', '4', '--grace', '20');
    event = await house.event('As it happens');
    house.publish(event, {words: ['--size', '640x360', '--bitrate', '800k', '--zerolatency']});
    video = (await house.live(event)).video;
    await house.until(`/videos/${video}`, (v) => v.segments >= 2, 'two segments');
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

const PLAYERS = {
    'hls.js, HLS': {script: 'hls.js/dist/hls.min.js', start: (base) => {
        const hls = new window.Hls({lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.2});

        hls.loadSource(`${base}/low.m3u8`);
        hls.attachMedia(document.querySelector('video'));
        window.latency = () => `${hls.latency.toFixed(2)} s, wants ${hls.targetLatency.toFixed(2)} s`;
    }},
    'Shaka, HLS': {script: 'shaka-player/dist/shaka-player.compiled-es2021.js', start: (base) => window.startShaka(`${base}/low.m3u8`)},
    /* Over DASH it comes as near as 0.4 s, whatever the manifest advises, and runs dry there on a busy machine; it goes on by itself. */
    'Shaka, DASH': {stalls: 2, script: 'shaka-player/dist/shaka-player.compiled-es2021.js', start: (base) => window.startShaka(`${base}/low.mpd`)},
    'dash.js, DASH': {script: 'dashjs/dist/modern/umd/dash.all.min.js', start: (base) => {
        const player = window.dashjs.MediaPlayer().create();

        player.initialize(document.querySelector('video'), `${base}/low.mpd`, true);
        window.latency = () => player.getCurrentLiveLatency();
    }},
};

function defineShaka() {
    window.startShaka = async (url) => {
        const player = new window.shaka.Player();

        window.shaka.polyfill.installAll();
        await player.attach(document.querySelector('video'));
        player.configure({streaming: {lowLatencyMode: true, liveSync: {enabled: true}}});
        await player.load(url);
        window.latency = () => player.getStats().liveLatency;
    };
}

for (const [name, player] of Object.entries(PLAYERS)) {
    test(`${name}: ${SECONDS} s without a stall${player.stalls ? ' too many' : ''}, and the picture is young`, LIMIT, async (t) => {
        const context = await house.browser.newContext({bypassCSP: true});
        const page = await context.newPage();
        const troubles = [];

        page.on('pageerror', (e) => troubles.push(e.message));
        await page.goto(`${house.http}/healthz`);
        await page.setContent('<video muted autoplay playsinline width="640"></video>');
        await page.addScriptTag({path: join(MODULES, player.script)});
        await page.evaluate(defineShaka);
        await page.evaluate(player.start, `${house.http}/v/${video}`);
        await plays(page, SETTLE_SECONDS);
        await page.evaluate(watchThePicture);
        let seen = null;

        for (let tries = 0; tries < TRIES && (tries === 0 || seen.stalls > (player.stalls ?? 0)); tries++) {
            await page.evaluate(() => Object.assign(window.seen, {ages: [], stalls: 0}));
            await plays(page, SECONDS);
            seen = await page.evaluate(() => ({...window.seen, says: window.latency?.()}));
            t.diagnostic(`${name}: ${seen.stalls} stalls in ${SECONDS} s`);
        }
        const ages = seen.ages.toSorted((a, b) => a - b);
        const [p50, p95] = [percentile(ages, .5), percentile(ages, .95)];

        t.diagnostic(`${name}: glass to glass p50 ${p50} ms, p95 ${p95} ms, of ${ages.length} pictures; stalls ${seen.stalls}; the player says ${seen.says}`);
        assert.deepEqual(troubles, []);
        assert.ok(ages.length > SECONDS * 10, `${ages.length} pictures could be read`);
        assert.ok(seen.stalls <= (player.stalls ?? 0), `it ran dry ${seen.stalls} times`);
        assert.ok(p50 < (name.endsWith('HLS') ? 2000 : 3000), `the picture is ${p50} ms old`);
        await context.close();
    });
}

test('the watch page plays near the edge, and says how near', LIMIT, async (t) => {
    const page = await house.page(`/watch/${event.id}?protocol=low`);
    const asked = [];

    page.on('request', (r) => asked.push(new URL(r.url()).pathname.split('/').at(-1)));
    await plays(page, SETTLE_SECONDS);
    await page.evaluate(watchThePicture);
    await plays(page, 5);
    await page.mouse.move(400, 300);
    const said = Number.parseFloat(await page.locator('.player-latency').innerText());
    const ages = (await page.evaluate(() => window.seen.ages)).toSorted((a, b) => a - b);

    t.diagnostic(`the page says ${said} s; the picture is ${percentile(ages, .5)} ms old`);
    assert.ok(asked.some((name) => /^\d{6}\.\d+\.m4s$/.test(name)), 'it fetches parts');
    assert.ok(said > .2 && said < 4, `${said} s`);
    assert.ok(Math.abs(said * 1000 - percentile(ages, .5)) < 1200, 'what it says is what it shows');
    assert.deepEqual(page.troubles, []);
    await picture(page, 'watch-near');
    await page.context().close();
});

test('from near the edge one rewinds, comes back, and may have all qualities instead', LIMIT, async () => {
    const page = await house.page(`/watch/${event.id}`, {webrtc: false});

    await plays(page, 2);
    await page.getByRole('button', {name: 'From the start'}).click();
    await page.waitForFunction(() => document.querySelector('video').currentTime < 5);
    await plays(page, 2);
    await page.mouse.move(400, 300);
    await page.getByRole('button', {name: 'Go live'}).click();
    await page.locator('.live.edge').waitFor();
    await plays(page, 2);
    await page.keyboard.press('q');
    await page.getByRole('menuitem', {name: 'All qualities'}).click();
    await page.waitForFunction(() => document.querySelector('.player-latency').hidden && document.querySelector('.player').dataset.state === 'playing');
    await plays(page, 2);
    await page.context().close();
});
