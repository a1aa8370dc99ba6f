/* The watch page chooses by itself: WebRTC at the live edge, low-latency HLS where that does not come or does not last, and wherever the
 * viewer goes back to. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, percentile, picture, playback, plays, watchThePicture} from './house.mjs';

const LIMIT = {timeout: 120000};
const WITHIN = {timeout: 30000};
let house, event, video, publisher;

before(async () => {
    house = await House.open('--webrtc', '127.0.0.1:0', '--segment', '2', '--grace', '20');
    event = await house.event('The late show');
    publisher = house.publish(event, {words: ['--size', '640x360', '--bitrate', '800k', '--zerolatency']});
    video = (await house.live(event)).video;
    await house.until(`/videos/${video}`, (v) => v.segments >= 2, 'two segments');
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

/* The watch page, in a browser that `init` has been at before. */
async function watch({init, query = '', webrtc, route} = {}) {
    const page = await house.page('/404', {webrtc});

    page.troubles.length = 0;
    page.asked = [];
    page.sessions = [];
    page.on('request', (r) => page.asked.push(new URL(r.url()).pathname.split('/').at(-1)));
    page.on('response', (r) => r.request().method() === 'POST' && r.url().endsWith('/whep') && page.sessions.push(r.headers().location));
    if (init)
        await page.addInitScript(init);
    if (route)
        await page.route(...route);
    await page.goto(`${house.http}/watch/${event.id}${query}`);
    return page;
}

/* Until it plays by WebRTC, or by anything else. */
async function playsBy(page, webrtc) {
    await page.waitForFunction((is) => {
        const element = document.querySelector('video');

        return document.querySelector('.player')?.dataset.state === 'playing' && element.readyState >= 3 && (element.srcObject !== null) === is;
    }, webrtc, WITHIN);
    await plays(page, 1);
}

/* What the page's menu says in the small print. */
async function way(page) {
    await page.keyboard.press('q');
    const words = await page.locator('.player-way').innerText();

    await page.keyboard.press('Escape');
    return words;
}

/* Where the page thinks the picture is, in seconds of the video: the seek bar tells. */
async function told(page) {
    return Number(await page.getByRole('slider', {name: 'Position in the show'}).getAttribute('aria-valuenow'));
}

function viewers() {
    return fetch(`${house.http}/metrics`, {headers: {Authorization: `Bearer ${house.token}`}}).then((a) => a.text())
        .then((text) => Number(/^matinee_webrtc_viewers (\d+)/m.exec(text)?.[1]));
}

/* Nothing that the server sends arrives: the browser is told of no way to it. */
function wall() {
    const Real = window.RTCPeerConnection;

    window.RTCPeerConnection = class extends Real {
        setRemoteDescription({type, sdp}) {
            return super.setRemoteDescription({type, sdp: sdp.replace(/a=candidate:.*\r\n/g, '')});
        }
    };
}

/* A browser that lets nothing sound before it is touched. */
function shy() {
    const real = HTMLMediaElement.prototype.play;
    let touched = false;

    addEventListener('pointerdown', () => { touched = true; }, true);

    HTMLMediaElement.prototype.play = function play() {
        return this.muted || touched ? real.call(this) : Promise.reject(new DOMException('no', 'NotAllowedError'));
    };
}

test('a live show plays by WebRTC by itself, and says how old its picture is, and leaves nothing behind', LIMIT, async (t) => {
    const page = await watch();

    await playsBy(page, true);
    await page.evaluate(watchThePicture);
    await plays(page, 5);
    await page.mouse.move(400, 300);
    await page.locator('.live.edge').waitFor();
    await page.locator('.player-latency').waitFor();
    const said = Number.parseFloat(await page.locator('.player-latency').innerText());
    const ages = (await page.evaluate(() => window.seen.ages)).toSorted((a, b) => a - b);
    const {duration} = await house.call('GET', `/videos/${video}`);
    const position = await told(page);

    t.diagnostic(`the page says ${said} s; the picture is ${percentile(ages, .5)} ms old; position ${position} of ${duration}`);
    assert.equal(await way(page), 'Plays by WebRTC');
    assert.ok(!page.asked.some((name) => /\.(m4s|m3u8|mpd)$/.test(name)), 'nothing else is fetched');
    assert.ok(percentile(ages, .5) < 800, `${percentile(ages, .5)} ms old`);
    assert.ok(Math.abs(said * 1000 - percentile(ages, .5)) < 250, 'what it says is what it shows');
    assert.ok(Math.abs(position - duration) < 4, 'the picture is at the live edge');
    assert.deepEqual(page.troubles, []);
    await picture(page, 'watch-webrtc');
    await page.goto(`${house.http}/`);
    const limit = Date.now() + 10000;

    while (await viewers() !== 0)
        assert.ok(Date.now() < limit, 'the session is ended, and does not time out');
    await page.context().close();
});

test('the first ten seconds of a show are seen, before there is a segment', LIMIT, async () => {
    const early = await house.event('Just begun');
    const publisher = house.publish(early, {words: ['--size', '320x180', '--gop', '20']});
    const page = await house.page(`/watch/${early.id}`);

    await playsBy(page, true);
    const {video: begun} = await house.live(early);

    assert.equal((await house.call('GET', `/videos/${begun}`)).segments, 0);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
    await publisher.stop();
});

test('behind a wall it plays low-latency HLS without a click', LIMIT, async () => {
    const page = await watch({init: wall});

    await playsBy(page, false);
    assert.equal(page.sessions.length, 1, 'WebRTC was tried');
    assert.equal(await way(page), 'Plays by low-latency HLS');
    assert.ok(page.asked.includes('low.m3u8'));
    await page.getByRole('button', {name: 'From the start'}).click();
    await page.waitForFunction(() => document.querySelector('video').currentTime < 5);
    await page.mouse.move(400, 300);
    await page.getByRole('button', {name: 'Go live'}).click();
    await page.locator('.live.edge').waitFor();
    await plays(page, 1);
    assert.equal(page.sessions.length, 1, 'and is not tried in vain again');
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('without WebRTC in the browser, and where HLS is asked for, none is tried', LIMIT, async () => {
    for (const [how, words] of [[{webrtc: false}, 'Plays by low-latency HLS'], [{query: '?protocol=hls'}, 'Plays by HLS']]) {
        const page = await watch(how);

        await playsBy(page, false);
        assert.equal(await way(page), words);
        assert.equal(page.sessions.length, 0);
        assert.deepEqual(page.troubles, []);
        await page.context().close();
    }
});

test('where the near edge breaks off, at once or later, the show goes on behind it', LIMIT, async () => {
    const gone = (route) => route.fulfill({status: 503, body: ''});
    const late = await watch({webrtc: false});

    await playsBy(late, false);
    const turned = late.waitForRequest(/manifest\.mpd/, WITHIN);

    await late.route(/\/v\/.*\.m3u8/, gone);
    await turned;
    await playsBy(late, false);
    assert.equal(await way(late), 'Plays by DASH');
    await late.context().close();

    const early = await watch({webrtc: false, route: [/\/v\/.*\.m3u8/, gone]});

    await playsBy(early, false);
    assert.equal(await way(early), 'Plays by DASH');
    await early.context().close();
});

test('where WebRTC alone is asked for and does not come, the page says so', LIMIT, async () => {
    const page = await watch({init: wall, query: '?protocol=webrtc'});

    await page.getByText('The picture did not come').waitFor(WITHIN);
    assert.ok(!page.asked.includes('low.m3u8'));
    await page.context().close();
});

test('a session that breaks off is followed by low-latency HLS without a click', LIMIT, async () => {
    const page = await watch();

    await playsBy(page, true);
    const broken = await fetch(new URL(page.sessions[0], house.http), {method: 'DELETE'});

    assert.equal(broken.status, 204);
    await playsBy(page, false);
    assert.equal(await way(page), 'Plays by low-latency HLS');
    await page.locator('.live.edge').waitFor();
    await page.context().close();
});

test('after a break WebRTC is tried again when somebody looks at the page anew', LIMIT, async () => {
    const page = await watch();

    await playsBy(page, true);
    assert.equal((await fetch(new URL(page.sessions[0], house.http), {method: 'DELETE'})).status, 204);
    await playsBy(page, false);
    await page.locator('.live.edge').waitFor();
    await plays(page, 4);
    assert.equal(page.sessions.length, 1, 'not at once');
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await playsBy(page, true);
    assert.equal(page.sessions.length, 2);
    assert.equal(await way(page), 'Plays by WebRTC');
    await page.context().close();
});

test('going back leaves WebRTC for old pictures, and Live returns to it', LIMIT, async () => {
    const page = await watch();

    await playsBy(page, true);
    await house.until(`/videos/${video}`, (v) => v.duration > 24, 'half a minute of show');
    await page.getByRole('button', {name: 'From the start'}).click();
    await playsBy(page, false);
    assert.ok((await playback(page)).time < 12, 'from the start');
    await page.evaluate(watchThePicture);
    await page.waitForFunction(() => window.seen.ages.at(-1) > 10000, null, WITHIN);
    assert.ok(await told(page) < 12, 'and the page knows');
    await page.mouse.move(400, 300);
    await page.getByRole('button', {name: 'Go live'}).click();
    await playsBy(page, true);
    await page.waitForFunction(() => window.seen.ages.at(-1) < 1500, null, WITHIN);
    await page.locator('.live.edge').waitFor();
    assert.equal(page.sessions.length, 2);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('ten seconds back, and a pause, go on from where the picture was', LIMIT, async () => {
    const page = await watch();

    await playsBy(page, true);
    const live = await told(page);

    await page.keyboard.press('j');
    await playsBy(page, false);
    const back = await told(page);

    assert.ok(back > live - 12 && back < live, `from ${live} to ${back}`);
    await page.keyboard.press('End');
    await playsBy(page, true);
    await page.keyboard.press('k');
    await page.waitForFunction(() => {
        const element = document.querySelector('video');

        return document.querySelector('.player').dataset.state === 'paused' && !element.srcObject && element.readyState >= 2;
    }, null, WITHIN);
    assert.equal((await playback(page)).paused, true);
    await page.keyboard.press('k');
    await playsBy(page, false);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('comments stand at the live edge while WebRTC plays, and a click on a time goes there', LIMIT, async () => {
    const page = await watch();
    const said = (data, offset) => house.call('POST', `/videos/${video}/comments`, {id: `c-${data}`, authorId: 'Ada', data, offset});

    await playsBy(page, true);
    await said('early', 3);
    await said('now');
    await page.locator('aside .comment-text', {hasText: 'early'}).waitFor(WITHIN);
    await page.locator('aside .comment-text', {hasText: 'now'}).waitFor(WITHIN);
    await page.locator('aside .comment', {hasText: 'early'}).getByRole('button').click();
    await playsBy(page, false);
    assert.ok((await playback(page)).time < 8, 'it plays from there');
    await page.locator('aside .comment-text', {hasText: 'now'}).waitFor({state: 'detached'});
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('the picture\'s own quality stays with WebRTC, all qualities leave it, and closest to live comes back', LIMIT, async () => {
    const page = await watch();

    await playsBy(page, true);
    await page.keyboard.press('q');
    await page.getByRole('menuitemradio', {name: /^360p/}).click();
    await page.keyboard.press('q');
    assert.deepEqual(await page.getByRole('menuitemradio').evaluateAll((all) => all.map((i) => i.getAttribute('aria-checked'))), ['false', 'true']);
    assert.equal(await page.locator('.player-way').innerText(), 'Plays by WebRTC');
    await page.getByRole('menuitem', {name: 'All qualities'}).click();
    await playsBy(page, false);
    assert.equal(await way(page), 'Plays by DASH');
    await page.keyboard.press('q');
    await page.getByRole('menuitem', {name: 'Closest to live'}).click();
    await playsBy(page, true);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('where the browser wants no sound untouched it plays muted, and a tap gives the sound', LIMIT, async () => {
    const page = await watch({init: shy});

    await playsBy(page, true);
    assert.equal(await page.evaluate(() => document.querySelector('video').muted), true);
    await page.getByRole('button', {name: 'Tap for sound'}).click();
    assert.equal(await page.evaluate(() => document.querySelector('video').muted), false);
    await playsBy(page, true);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('a publisher who goes away and comes back: the page says so, and it goes on', LIMIT, async () => {
    const page = await watch();

    await playsBy(page, true);
    publisher.child.kill('SIGKILL');
    await page.getByText('The stage has gone quiet').waitFor(WITHIN);
    publisher = house.publish(event, {words: ['--size', '640x360', '--bitrate', '800k', '--zerolatency']});
    await page.getByText('The stage has gone quiet').waitFor({state: 'hidden', ...WITHIN});
    await plays(page, 2);
    assert.equal((await house.call('GET', `/events/${event.id}`)).video, video);
    await page.context().close();
});

test('the end of the show drops the curtain, and one may watch it again', LIMIT, async () => {
    const page = await watch();

    await playsBy(page, true);
    await publisher.stop();
    await house.call('POST', `/events/${event.id}/end`);
    await page.getByText('The curtain has fallen').waitFor({timeout: 60000});
    await page.getByRole('button', {name: 'Watch again'}).click();
    await playsBy(page, false);
    assert.ok((await playback(page)).time < 10, 'from the start');
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});
