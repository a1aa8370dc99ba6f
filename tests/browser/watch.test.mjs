/* Watching in Chromium: live by DASH and HLS, back and to the edge again, a pause of the publisher, the end. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, PHONE, picture, playback, plays} from './house.mjs';

const LIMIT = {timeout: 120000};
let house, event, publisher, video;

before(async () => {
    house = await House.open('--segment', '2', '--grace', '20');
    event = await house.event('An evening with the Kestrel Quartet');
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

test('who comes too early sees the curtain, and the show begins without a reload', LIMIT, async () => {
    const page = await house.page(`/watch/${event.id}`);

    await page.getByText('Not on stage yet').waitFor();
    publisher = house.publish(event);
    video = (await house.live(event)).video;
    await plays(page, 1);
    assert.ok(await page.locator('.front').isHidden(), 'the curtain is up');
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

for (const protocol of ['dash', 'hls']) {
    test(`a live show plays by ${protocol}, with picture and sound`, LIMIT, async () => {
        const page = await house.page(`/watch/${event.id}?protocol=${protocol}`);
        const kinds = [];

        page.on('request', (r) => kinds.push(r.url().split('.').at(-1)));
        await plays(page, 5);
        const now = await playback(page);

        assert.equal(now.error, null);
        assert.ok(now.frames > 100, `${now.frames} frames`);
        assert.ok(now.sound > 0, 'sound was decoded');
        assert.ok(now.height > 0);
        assert.equal(kinds.includes(protocol === 'hls' ? 'm3u8' : 'mpd'), true);
        assert.equal(kinds.includes(protocol === 'hls' ? 'mpd' : 'm3u8'), false);
        assert.deepEqual(page.troubles, []);
        await page.mouse.move(400, 300);
        await page.locator('.live.edge').waitFor();
        await picture(page, `watch-live-${protocol}`);
        await page.context().close();
    });

    test(`by ${protocol} one rewinds to the start and comes back to the live edge`, LIMIT, async () => {
        const page = await house.page(`/watch/${event.id}?protocol=${protocol}`);

        await house.until(`/videos/${video}`, (v) => v.duration > 24, 'half a minute of show', 60);
        await plays(page, 1);
        await page.getByRole('button', {name: 'From the start'}).click();
        await page.waitForFunction(() => document.querySelector('video').currentTime < 5);
        await plays(page, 2);
        assert.ok((await playback(page)).time < 12, 'it plays from the start');
        await page.mouse.move(400, 300);
        const bar = page.getByRole('slider', {name: 'Position in the show'});
        const box = await bar.boundingBox();

        await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
        await page.locator('.seek-preview').waitFor();
        await page.waitForFunction(() => document.querySelector('.seek-preview img')?.naturalWidth > 0);
        await picture(page, `watch-rewound-${protocol}`);
        await page.getByRole('button', {name: 'Go live'}).click();
        await page.locator('.live.edge').waitFor();
        await plays(page, 2);
        assert.ok((await playback(page)).time > 12, 'it is at the live edge');
        assert.deepEqual(page.troubles, []);
        await page.context().close();
    });
}

test('the quality menu lists Auto and the picture\'s height, by keyboard too', LIMIT, async () => {
    const page = await house.page(`/watch/${event.id}?protocol=low`);

    await plays(page, 1);
    await page.keyboard.press('q');
    const items = page.getByRole('menuitemradio');

    assert.match((await items.allInnerTexts()).join(' | '), /^Auto[^|]*\| \d+p/);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    assert.equal(await page.getByRole('menu').isVisible(), false);
    await page.keyboard.press('q');
    assert.deepEqual(await items.evaluateAll((all) => all.map((i) => i.getAttribute('aria-checked'))), ['false', 'true']);
    await plays(page, 1);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('keys: pause, mute, back', LIMIT, async () => {
    const page = await house.page(`/watch/${event.id}?protocol=low`);

    await plays(page, 1);
    await page.keyboard.press('k');
    assert.equal((await playback(page)).paused, true);
    const at = (await playback(page)).time;

    await page.keyboard.press('j');
    await page.waitForFunction((t) => document.querySelector('video').currentTime < t - 5, at);
    await page.keyboard.press('m');
    assert.equal(await page.evaluate(() => document.querySelector('video').muted), true);
    await page.keyboard.press('Space');
    await plays(page, 1);
    await page.context().close();
});

test('on a phone it plays, and the page is no wider than the phone', LIMIT, async () => {
    const page = await house.page(`/watch/${event.id}`, {viewport: PHONE, phone: true});

    await plays(page, 2);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), PHONE.width);
    await page.touchscreen.tap(200, 160);
    await picture(page, 'phone-watch');
    await page.context().close();
});

for (const protocol of ['dash', 'hls']) {
    test(`a publisher goes away and comes back: by ${protocol} viewers are told, and the show goes on in the same video`, LIMIT, async () => {
        const page = await house.page(`/watch/${event.id}?protocol=${protocol}`);

        await plays(page, 1);
        publisher.child.kill('SIGKILL');
        await house.until(`/events/${event.id}`, (e) => e.health === null, 'the absence');
        await page.getByText('The stage has gone quiet').waitFor({timeout: 30000});
        const at = (await playback(page)).time;

        publisher = house.publish(event);
        await page.waitForFunction((t) => document.querySelector('video').currentTime > t + 3, at, {timeout: 60000});
        await page.getByText('The stage has gone quiet').waitFor({state: 'hidden'});
        assert.equal((await house.call('GET', `/events/${event.id}`)).video, video);
        assert.equal((await playback(page)).error, null);
        await page.context().close();
    });
}

/* In the page: from now on the video element knows its media before Shaka has loaded, and tells so only afterwards, as happens where
 * the machine is slow. */
function tellLate() {
    const {load} = window.shaka.Player.prototype;
    let knows, loaded;
    const known = new Promise((done) => { knows = done; });
    const done = new Promise((resolve) => { loaded = resolve; });

    document.addEventListener('loadedmetadata', (told) => {
        if (!told.isTrusted)
            return;
        told.stopImmediatePropagation();
        knows();
        done.then(() => setTimeout(() => told.target.dispatchEvent(new Event('loadedmetadata'))));
    }, true);
    window.shaka.Player.prototype.load = async function(...words) {
        await load.apply(this, words);
        await known;
        loaded();
    };
}

test('the end of a show: who watches sees the curtain fall and may watch again', LIMIT, async () => {
    const [page, slow] = await Promise.all([house.page(`/watch/${event.id}`), house.page(`/watch/${event.id}`)]);

    await Promise.all([plays(page, 1), plays(slow, 1)]);
    await slow.evaluate(tellLate);
    await publisher.stop();
    await house.call('POST', `/events/${event.id}/end`);
    await Promise.all([page, slow].map((who) => who.getByText('The curtain has fallen').waitFor({timeout: 30000}).catch(async (problem) => {
        throw new Error(`${problem.message}; the ${who === slow ? 'slow ' : ''}page: ${JSON.stringify(await playback(who))}, ${await who.locator('.player').innerText()}`);
    })));
    assert.deepEqual(slow.troubles, []);
    await slow.context().close();
    await picture(page, 'watch-after');
    await page.getByRole('button', {name: 'Watch again'}).click();
    await plays(page, 1);
    assert.ok((await playback(page)).time < 10, 'from the start');
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

for (const protocol of ['dash', 'hls']) {
    test(`an ended video plays from 0 by ${protocol}, and to its end`, LIMIT, async () => {
        const page = await house.page(`/watch/${event.id}?protocol=${protocol}`);
        const {duration} = await house.call('GET', `/videos/${video}`);

        await page.waitForFunction(() => document.querySelector('video')?.readyState >= 2, null, {timeout: 30000});
        assert.ok((await playback(page)).time < 3);
        await plays(page, 2);
        assert.ok(Math.abs((await playback(page)).duration - duration) < .5, 'the length is that of the API');
        await picture(page, `watch-ended-${protocol}`);
        await page.evaluate((t) => { document.querySelector('video').currentTime = t; }, duration - 4);
        await page.waitForFunction(() => document.querySelector('video').ended, null, {timeout: 30000});
        assert.equal((await playback(page)).error, null);
        assert.deepEqual(page.troubles, []);
        await page.context().close();
    });
}

test('the download is a whole MP4', LIMIT, async () => {
    const page = await house.page(`/watch/${event.id}`);
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', {name: 'Download'}).click()]);

    assert.equal(await download.failure(), null);
    assert.match(download.suggestedFilename(), /\.mp4$/);
    await page.context().close();
});
