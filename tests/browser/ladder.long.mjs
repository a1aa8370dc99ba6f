/* The ladder in Chromium: every rendition plays, and switching between them shows no gap and no jump. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, picture, playback, plays} from './house.mjs';

const LIMIT = {timeout: 180000};
let house, event, video;

before(async () => {
    house = await House.open('--segment', '2', '--grace', '20', '--ladder', '360p,240p');
    event = await house.event('Three qualities of one evening');
    house.publish(event);
    video = (await house.live(event)).video;
    await house.until(`/videos/${video}`, (v) => v.duration > 12 && v.renditions.filter((r) => r.height && r.state === 'live').length === 3,
        'three qualities', 90);
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

/* Chooses from the menu, and waits until frames of that height are shown. */
async function choose(page, name) {
    const height = Number.parseInt(name, 10);

    if (await page.getByRole('menu').isHidden())
        await page.keyboard.press('q');
    await page.getByRole('menuitemradio', {name: new RegExp(`^${name}`)}).click();
    await page.waitForFunction((wanted) => document.querySelector('video').videoHeight === wanted, height, {timeout: 60000});
}

/* Notes every jump of the picture's clock and every stall from now on. */
async function watchClock(page) {
    await page.evaluate(() => {
        const shown = document.querySelector('video');
        let last = null;

        window.seen = {frames: 0, jumps: []};
        const look = (now, {mediaTime}) => {
            if (last !== null && (mediaTime < last || mediaTime - last > .5))
                window.seen.jumps.push([last, mediaTime]);
            last = mediaTime;
            window.seen.frames++;
            shown.requestVideoFrameCallback(look);
        };
        shown.requestVideoFrameCallback(look);
    });
}

for (const protocol of ['dash', 'hls']) {
    test(`by ${protocol} a viewer goes down and up the ladder without a gap, a jump or an error`, LIMIT, async () => {
        const page = await house.page(`/watch/${event.id}?protocol=${protocol}`);

        await plays(page, 1);
        await page.evaluate(() => { document.querySelector('video').muted = true; });
        await watchClock(page);
        for (const name of ['240p', '360p', '720p', '240p']) {
            await choose(page, name);
            await plays(page, 2);
        }
        const seen = await page.evaluate(() => window.seen);
        const now = await playback(page);

        assert.ok(seen.frames > 100, `${seen.frames} frames`);
        assert.deepEqual(seen.jumps, [], 'the clock neither goes back nor leaves anything out');
        assert.equal(now.error, null);
        assert.ok(now.sound > 0);
        assert.deepEqual(page.troubles, []);
        await page.keyboard.press('q');
        await picture(page, `ladder-menu-${protocol}`);
        await page.context().close();
    });
}

test('the studio shows each quality and how far it has come', LIMIT, async () => {
    const page = await house.page(`/studio?event=${event.id}`, {token: true});
    const rows = page.locator('.ladder tr');

    await rows.nth(2).waitFor();
    assert.deepEqual((await rows.locator('th').allInnerTexts()).map((t) => t.split(',')[0]), ['720p', '360p', '240p']);
    assert.match(await rows.nth(2).innerText(), /With the show/i);
    await picture(page, 'studio-ladder', {fullPage: true});
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});
