/* Low latency in Chromium, by the players that people use: hls.js and Shaka play low-latency HLS, Shaka and dash.js low-latency DASH.
 * How old the picture is, is read from the picture, and where the sound is, from its beep (players.mjs).
 *
 * MATINEE_PLAY_SECONDS: how long each plays (20). */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, percentile, picture, plays, watchThePicture} from './house.mjs';
import {PLAYERS, REORDERED, SKEW_MS_MAX, measure, open} from './players.mjs';

const SECONDS = Number(process.env.MATINEE_PLAY_SECONDS ?? 20);
const SETTLE_SECONDS = 15;
/* A player that found its distance on a machine that was busy just then may run dry once; a stream at fault shows it each time. */
const TRIES = 3;
const LIMIT = {timeout: (TRIES * SECONDS + 90) * 1000};
let house, event, video;

before(async () => {
    house = await House.open('--segment', '4', '--grace', '20', '--webrtc', '127.0.0.1:0');
    event = await house.event('As it happens');
    house.publish(event, {words: ['--size', '640x360', '--bitrate', '800k', '--zerolatency']});
    video = (await house.live(event)).video;
    await house.until(`/videos/${video}`, (v) => v.segments >= 2, 'two segments');
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

for (const [name, player] of Object.entries(PLAYERS)) {
    test(`${name}: ${SECONDS} s without a stall, the picture is young, and the sound is with it`, LIMIT, async (t) => {
        const page = await open(house, player, `${house.http}/v/${video}`);
        const apart = player.skew_ms_max ?? SKEW_MS_MAX;
        let seen;

        for (let tries = 0; tries < TRIES && (tries === 0 || seen.stalls > 0); tries++) {
            seen = await measure(page, SECONDS);
            t.diagnostic(`${name}: ${JSON.stringify(seen)}`);
        }
        assert.deepEqual(page.troubles, []);
        assert.ok(seen.pictures > SECONDS * 10, `${seen.pictures} pictures could be read`);
        assert.equal(seen.stalls, 0, 'it never ran dry');
        assert.equal(seen.anew, 0, 'nothing made a player begin a decoder anew');
        assert.ok(seen.p50 < player.p50_ms_max, `the picture is ${seen.p50} ms old`);
        assert.ok(seen.beeps >= SECONDS / 2, `${seen.beeps} beeps were heard`);
        assert.ok(Math.abs(seen.skew) <= apart, `the sound comes ${seen.skew} ms after its picture`);
        await page.context().close();
    });
}

test('pictures that are reordered are shown with their sound', LIMIT, async (t) => {
    const reordered = await house.event('There and back');
    const {stop} = house.publish(reordered, {words: ['--size', '640x360', '--bitrate', '800k', '--bframes', '2']});
    const {video: its} = await house.live(reordered);

    await house.until(`/videos/${its}`, (v) => v.segments >= 2, 'two segments');
    const page = await open(house, REORDERED, `${house.http}/v/${its}`);
    const seen = await measure(page, SECONDS);

    t.diagnostic(JSON.stringify(seen));
    assert.ok(seen.beeps >= SECONDS / 2, `${seen.beeps} beeps were heard`);
    assert.equal(seen.anew, 0, 'nothing made it begin a decoder anew');
    assert.ok(Math.abs(seen.skew) <= SKEW_MS_MAX, `the sound comes ${seen.skew} ms after its picture`);
    await page.context().close();
    await stop();
});

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
