/* Comments in Chromium: in step with the picture, live and in replay; said once; taken away; never markup. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {Gathered, characters, newId, windowsAround} from '../../web/gathered.js';
import {House, PHONE, picture, plays} from './house.mjs';

const LIMIT = {timeout: 120000};
let house, event, publisher, video;

/* Posts as anybody may: without the producer's token, which nothing binds. */
async function say(authorId, data, more = {}) {
    const answer = await fetch(`${house.http}/api/v1/videos/${video}/comments`, {method: 'POST', headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({id: newId(), authorId, data, ...more})});

    return {status: answer.status, body: await answer.json()};
}

function texts(page) {
    return page.locator('aside .comment-text').allTextContents();
}

/* From now on notes at which second of the picture each comment came to stand there. */
async function watchFor(page) {
    await page.evaluate(() => {
        window.stood = {};
        new MutationObserver(() => document.querySelectorAll('aside .comment').forEach((node) => {
            window.stood[node.dataset.id] ??= document.querySelector('video').currentTime;
        })).observe(document.querySelector('aside'), {childList: true, subtree: true});
    });
}

before(async () => {
    house = await House.open('--segment', '2', '--grace', '20');
    event = await house.event('The moon over the harbour');
    publisher = house.publish(event);
    video = (await house.live(event)).video;
    await house.until(`/videos/${video}`, (v) => v.duration >= 4, 'the first segments');
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

test('comments are kept in the order of their places, and told up to one', () => {
    const known = new Gathered();

    for (const [id, offset] of [['b', 2], ['a', 1], ['c', 2], ['d', 9]])
        assert.ok(known.add({id, offset}));
    assert.ok(!known.add({id: 'c', offset: 2}), 'twice is once');
    assert.deepEqual(known.said(5).map((c) => c.id), ['a', 'b', 'c']);
    assert.deepEqual(known.said(9, {limit: 2}).map((c) => c.id), ['c', 'd']);
    known.remove('b');
    assert.ok(!known.add({id: 'b', offset: 2}), 'an old window does not bring it back');
    assert.deepEqual(known.said(5).map((c) => c.id), ['a', 'c']);
    assert.deepEqual(windowsAround(31, 20, 100), [1, 2, 3, 4]);
    assert.deepEqual(windowsAround(0, 20, 100), [0, 1]);
    assert.deepEqual(windowsAround(19, 20, 20), [0, 1], 'there is nothing past the edge');
    assert.equal(characters('e\u0301🎭'), 2);
    assert.match(newId(), /^[A-Za-z0-9_-]{22}$/);
});

test('what one viewer says another reads, at the same second, live and in replay', LIMIT, async () => {
    const speaker = await house.page(`/watch/${event.id}?protocol=low`);
    const reader = await house.page(`/watch/${event.id}?protocol=low`);

    await Promise.all([plays(speaker, 1), plays(reader, 1)]);
    await watchFor(reader);
    await speaker.getByLabel('Your name').fill('Ada');
    for (const words of ['Good evening from the balcony', 'And what a picture']) {
        await speaker.getByLabel('Your comment').fill(words);
        await speaker.getByLabel('Your comment').press('Enter');
        await speaker.locator('aside .comment-text', {hasText: words}).waitFor();
        await reader.locator('aside .comment-text', {hasText: words}).waitFor();
    }
    assert.deepEqual(await texts(reader), ['Good evening from the balcony', 'And what a picture']);
    const {items} = await house.call('GET', `/videos/${video}/comments`);
    const live = await reader.evaluate(() => window.stood);

    assert.equal(items.length, 2);
    assert.deepEqual([...speaker.troubles, ...reader.troubles], []);
    await picture(reader, 'comments-live');
    await speaker.context().close();
    await reader.context().close();

    publisher.stop();
    await house.call('POST', `/events/${event.id}/end`);
    const replay = await house.page(`/watch/${event.id}`);

    await plays(replay, 0.5);
    await watchFor(replay);
    await replay.evaluate((to) => { document.querySelector('video').currentTime = to; }, Math.max(0, items[0].offset - 3));
    await replay.locator('aside .comment').first().waitFor();
    await replay.locator('aside .comment-text', {hasText: 'And what a picture'}).waitFor();
    const again = await replay.evaluate(() => window.stood);

    for (const {id, offset} of items) {
        assert.ok(again[id] >= offset && again[id] < offset + 1.5, `in replay ${id} of ${offset} s stood there at ${again[id]} s`);
        assert.ok(live[id] >= offset, `live it never stood there before its place: ${offset} s, ${live[id]} s`);
    }
    assert.deepEqual(replay.troubles, []);
    await replay.context().close();
});

test('going back takes away what was not said yet, and a click on a time goes there', LIMIT, async () => {
    for (const [words, offset] of [['first', 0.5], ['second', 1.5]])
        assert.equal((await say('Grace', words, {offset})).status, 201);
    const page = await house.page(`/watch/${event.id}`);

    await plays(page, 2);
    await page.locator('aside .comment-text', {hasText: 'second'}).waitFor();
    await page.evaluate(() => {
        const element = document.querySelector('video');

        element.pause();
        element.currentTime = 1;
    });
    await page.locator('aside .comment-text', {hasText: 'second'}).waitFor({state: 'detached'});
    assert.deepEqual(await texts(page), ['first']);
    await page.evaluate(() => { document.querySelector('video').currentTime = 3; });
    await page.locator('aside .comment', {hasText: 'first'}).getByRole('button').click();
    await page.waitForFunction(() => document.querySelector('video').currentTime < 1.5);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('what is deleted goes from every page; a muted name and a closed house are told kindly', LIMIT, async () => {
    const {body: bad} = await say('Troll', 'rude words', {offset: 0.2});
    const page = await house.page(`/watch/${event.id}`);
    const desk = await house.page(`/studio?event=${event.id}`, {token: true});

    await plays(page, 0.5);
    await page.locator('aside .comment-text', {hasText: 'rude words'}).waitFor();
    await desk.getByRole('button', {name: 'Mute Troll'}).click();
    await desk.getByText('Troll is muted in this show').waitFor();
    await desk.getByRole('button', {name: 'Take away what Troll said'}).click();
    await page.locator('aside .comment-text', {hasText: 'rude words'}).waitFor({state: 'detached'});
    await desk.locator(`.moderation [data-id="${bad.id}"]`).waitFor({state: 'detached'});
    await page.getByLabel('Your name').fill('Troll');
    await page.getByLabel('Your comment').fill('me again');
    await page.getByRole('button', {name: 'Send'}).click();
    await page.getByText('has muted this author').waitFor();
    assert.equal(await page.getByLabel('Your comment').inputValue(), 'me again', 'what was typed is not lost');

    await desk.getByRole('button', {name: 'Rules'}).click();
    await desk.getByLabel('What has a link in it waits').check();
    await desk.getByLabel('Words that are not taken').fill('humbug');
    await picture(desk, 'comments-rules');
    await desk.getByRole('button', {name: 'Save'}).click();
    await desk.getByText('The rules are in force').waitFor();
    await page.getByLabel('Your name').fill('Scrooge');
    await page.getByLabel('Your comment').fill('Bah, humbug');
    await page.getByRole('button', {name: 'Send'}).click();
    await page.getByText('a word in').waitFor();
    await page.getByLabel('Your comment').fill('see https://example.com');
    await page.getByRole('button', {name: 'Send'}).click();
    await page.getByText('The producer looks at links').waitFor();
    await desk.locator('.moderation-held .comment-text', {hasText: 'example.com'}).waitFor();
    await picture(desk, 'comments-moderation', {fullPage: true});
    await desk.getByRole('button', {name: 'Show what Scrooge said'}).click();
    await page.evaluate(() => { const v = document.querySelector('video'); v.currentTime = v.duration - 0.1; });
    await page.locator('aside .comment-text', {hasText: 'example.com'}).waitFor();

    await house.call('PATCH', `/events/${event.id}/comments`, {open: false, links: 'allow', words: []});
    await page.getByLabel('Your name').fill('Late');
    await page.getByLabel('Your comment').fill('hello?');
    await page.getByRole('button', {name: 'Send'}).click();
    await page.getByText('Comments are closed').first().waitFor();
    await house.call('PATCH', `/events/${event.id}/comments`, {open: true});
    assert.deepEqual(desk.troubles, []);
    assert.deepEqual(page.troubles.filter((t) => !/status of (403|422)/.test(t)), []);
    await page.context().close();
    await desk.context().close();
});

/* Shapes that have run somewhere: tags, handlers, half tags, other encodings of <, addresses, templates. */
const BAIT = ['<script>BAIT</script>', '<img src=x onerror=BAIT>', '<svg onload=BAIT>', '<svg/onload=BAIT//', '"><img src=x onerror=BAIT>', '\'><svg onload=BAIT>',
    '<iframe srcdoc="<script>parent.BAIT</script>">', '<iframe src="javascript:parent.BAIT">', '<a href="javascript:BAIT">x</a>', '<body onload=BAIT>', '<details open ontoggle=BAIT>',
    '<video><source onerror=BAIT>', '<input autofocus onfocus=BAIT>', '<math><mtext></mtext><script>BAIT</script></math>', '<style>@import "javascript:BAIT"</style>',
    '<link rel=stylesheet href="javascript:BAIT">', '<object data="javascript:BAIT">', '<embed src="javascript:BAIT">', '<form><button formaction="javascript:BAIT">x', '<marquee onstart=BAIT>',
    '</script><script>BAIT</script>', '<!--><script>BAIT</script>-->', '<![CDATA[<script>BAIT</script>]]>', '&lt;script&gt;BAIT&lt;/script&gt;', '\\u003cscript\\u003eBAIT\\u003c/script\\u003e',
    '%3Cscript%3EBAIT%3C/script%3E', '${BAIT}', '{{constructor.constructor("BAIT")()}}', '`-BAIT-`', ');BAIT;//'];
const WRAPS = [(b) => b, (b) => b.toUpperCase().replace('WINDOW.RUN=1', 'window.run=1'), (b) => `x${b}x`, (b) => b.replaceAll(' ', '\n'), (b) => `${b}${b}`];

test('a hundred and fifty baits are text, for readers and on the producer\'s desk', LIMIT, async () => {
    const baits = BAIT.flatMap((b) => WRAPS.map((wrap) => wrap(b.replaceAll('BAIT', 'window.run=1'))));

    assert.equal(baits.length, 150);
    for (const bait of baits) {
        const name = bait.replace(/\s+/g, ' ').slice(0, 64).trim();
        const {status, body} = await say(name, bait, {offset: 0.3});

        assert.equal(status, 201, JSON.stringify(body));
    }
    const page = await house.page(`/watch/${event.id}`);
    const desk = await house.page(`/studio?event=${event.id}`, {token: true});

    await plays(page, 1);
    await page.waitForFunction(() => document.querySelectorAll('aside .comment').length >= 100);
    await desk.waitForFunction(() => document.querySelectorAll('.moderation .comment').length >= 150);
    for (const one of [page, desk]) {
        const shown = await one.locator('.comment-text').allTextContents();

        assert.ok(baits.filter((b) => shown.includes(b)).length >= 100, 'they stand there, letter by letter');
        assert.equal(await one.evaluate(() => window.run), undefined, 'and nothing ran');
        assert.equal(await one.locator('.comment-text *, .comment-author *').count(), 0, 'no element came of them');
        assert.deepEqual(one.troubles, []);
        await one.context().close();
    }
});

test('on a phone the comments stand below the picture, and the page is no wider than the phone', LIMIT, async () => {
    const page = await house.page(`/watch/${event.id}`, {viewport: PHONE, phone: true});

    await plays(page, 1);
    await page.locator('aside .comment').first().waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    const [stage, aside] = await Promise.all([page.locator('.stage').boundingBox(), page.locator('aside').boundingBox()]);

    assert.ok(aside.y >= stage.y + stage.height);
    await picture(page, 'comments-phone', {fullPage: true});
    await page.context().close();
});
