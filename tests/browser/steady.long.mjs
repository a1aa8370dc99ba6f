/* Made renditions a few chunks behind the stage: players go down and up the ladder without standing still, and leave a rendition that does
 * not keep up before it runs out. */
import assert from 'node:assert/strict';
import {readFile, readdir} from 'node:fs/promises';
import {after, before, test} from 'node:test';
import {House, percentile, playback, plays, watchThePicture} from './house.mjs';
import {PLAYERS, blank} from './players.mjs';

const LIMIT = {timeout: 240000};
/* Four chunks of two seconds, and the way. */
const AGE_MS_MAX = 10000;
let house, event, video, base;

before(async () => {
    house = await House.open('--segment', '4', '--grace', '20', '--ladder', '180p', '--workers', '1');
    event = await house.event('In two qualities');
    house.publish(event, {words: ['--size', '640x360', '--bitrate', '800k', '--zerolatency']});
    video = (await house.live(event)).video;
    base = `${house.http}/v/${video}`;
    await listed(true);
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

/* Until the made rendition is in the master, with parts, or is not. */
async function listed(is) {
    for (;;) {
        const text = await (await fetch(`${base}/master.m3u8`)).text().catch(() => '');
        const list = text.includes('180p/') ? await (await fetch(`${base}/180p/playlist.m3u8`)).text() : '';

        if (is ? list.includes('#EXT-X-PART:') : text.startsWith('#EXTM3U') && !list)
            return;
        await new Promise((done) => setTimeout(done, 200));
    }
}

/* The processes that encode for the server. */
async function encoders() {
    const found = [];

    for (const task of await readdir(`/proc/${house.serve.pid}/task`))
        for (const child of (await readFile(`/proc/${house.serve.pid}/task/${task}/children`, 'utf8').catch(() => '')).split(' ').filter(Boolean))
            if ((await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '')).includes('encode-chunk'))
                found.push(Number(child));
    return found;
}

/* Each begins with the made rendition: `heights()` tells what is shown, `choose(height)` asks for it. */
const SCRIPTS = {
    'hls.js': {script: PLAYERS['hls.js, HLS'].script, start: (url) => {
        const hls = window.hls = new window.Hls({lowLatencyMode: true});
        const level = (height) => hls.levels.findIndex((l) => l.height === height);

        window.choose = (height) => { hls.loadLevel = height ? level(height) : -1; };
        hls.on(window.Hls.Events.MANIFEST_PARSED, () => { hls.startLevel = hls.loadLevel = level(180); });
        hls.loadSource(url);
        hls.attachMedia(document.querySelector('video'));
    }},
    Shaka: {script: PLAYERS['Shaka, HLS'].script, start: async (url) => {
        const player = window.player = new window.shaka.Player();

        window.shaka.polyfill.installAll();
        await player.attach(document.querySelector('video'));
        window.choose = (height) => {
            player.configure('abr.enabled', !height);
            if (height)
                player.selectVariantTrack(player.getVariantTracks().find((t) => t.height === height));
        };
        player.configure({streaming: {lowLatencyMode: true}, abr: {enabled: false, defaultBandwidthEstimate: 1}});
        await player.load(url);
        window.choose(180);
    }},
};

function shows(page, height) {
    return page.waitForFunction((h) => document.querySelector('video').videoHeight === h, height, {timeout: 40000});
}

for (const [name, player] of Object.entries(SCRIPTS)) {
    test(`${name} goes up and down the ladder without standing still, seconds behind the stage`, LIMIT, async (t) => {
        await listed(true);
        const page = await blank(house, player, `${base}/master.m3u8`);

        await shows(page, 180);
        await plays(page, 3);
        await page.evaluate(watchThePicture);
        for (const height of [360, 180]) {
            await page.evaluate((h) => window.choose(h), height);
            await shows(page, height);
            await plays(page, 6);
        }
        const seen = await page.evaluate(() => window.seen);
        const ages = seen.ages.toSorted((a, b) => a - b);

        t.diagnostic(`${name}: ${seen.stalls} stalls ${JSON.stringify(seen.dry)}, p50 ${percentile(ages, .5)} ms, p99 ${percentile(ages, .99)} ms`);
        assert.deepEqual(page.troubles, []);
        assert.equal(seen.stalls, 0);
        assert.ok(percentile(ages, .5) < AGE_MS_MAX, `${percentile(ages, .5)} ms`);
        await page.context().close();
    });
}

test('a player leaves a rendition that is not made any more before it runs out', LIMIT, async (t) => {
    await listed(true);
    const page = await blank(house, SCRIPTS['hls.js'], `${base}/master.m3u8`);

    await shows(page, 180);
    await plays(page, 3);
    await page.evaluate(() => window.choose(0));
    await page.evaluate(watchThePicture);
    const stopped = new Set();

    try {
        while (stopped.size === 0)
            for (const pid of await encoders()) {
                process.kill(pid, 'SIGSTOP');
                stopped.add(pid);
            }
        await shows(page, 360);
        await plays(page, 5);
        await listed(false);
    } finally {
        for (const pid of stopped)
            process.kill(pid, 'SIGCONT');
    }
    const {stalls} = await page.evaluate(() => window.seen);

    t.diagnostic(`${stalls} stalls`);
    assert.equal(stalls, 0);
    assert.equal((await playback(page)).error, null);
    await page.context().close();
});
