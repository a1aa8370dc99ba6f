/* The other pages in Chromium: front page, studio, what is not there; on a desk and on a phone. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, PHONE, picture, plays} from './house.mjs';

const LIMIT = {timeout: 90000};
const SCRIPT = '<img src=x onerror="document.title=\'taken\'"><script>alert(1)</script>';
let house;

before(async () => { house = await House.open('--segment', '2', '--grace', '5'); }, LIMIT);
after(async () => { assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM'); }, LIMIT);

function fits(page) {
    return page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
}

test('an empty house says so and shows where to begin', LIMIT, async () => {
    const page = await house.page('/');

    await page.getByText('The stage is empty').waitFor();
    await picture(page, 'home-empty');
    assert.deepEqual(page.troubles, []);
    await page.getByRole('link', {name: 'Announce a show'}).click();
    await page.getByLabel('Admin token').waitFor();
    await page.context().close();
});

test('the stage door refuses a wrong token and opens for the right one', LIMIT, async () => {
    const page = await house.page('/studio');

    await picture(page, 'studio-door');
    await page.getByLabel('Admin token').fill('not-the-token');
    await page.keyboard.press('Enter');
    await page.getByText('This is not the admin token').waitFor();
    await page.getByLabel('Admin token').fill(house.token);
    await page.keyboard.press('Enter');
    await page.getByText('Your first show').waitFor();
    await page.reload();
    await page.getByText('Your first show').waitFor();
    assert.equal(page.url().includes(house.token), false);
    await page.context().close();
});

test('the studio makes a show, its key publishes, and the stream is watched over', LIMIT, async () => {
    const page = await house.page('/studio', {token: true});

    await page.getByRole('button', {name: 'Announce a show'}).click();
    await page.getByLabel('Title').fill('Open rehearsal');
    await page.getByRole('button', {name: 'Announce the show'}).click();
    await page.getByRole('heading', {name: 'Open rehearsal'}).waitFor();
    const key = await page.locator('#key').inputValue();

    assert.equal(await page.locator('#server').inputValue(), house.rtmp);
    assert.ok(key.length >= 20);
    assert.equal(await page.locator('#key').getAttribute('type'), 'password');
    await page.getByRole('button', {name: 'Show the stream key'}).click();
    assert.equal(await page.locator('#key').getAttribute('type'), 'text');
    await page.getByText('Waiting for your encoder').waitFor();

    const publisher = house.publish({streamKey: key});

    await page.locator('.numbers').getByText('1280×720').waitFor({timeout: 20000});
    await plays(page, 1);
    await page.getByText('All is well').waitFor({timeout: 20000});
    await picture(page, 'studio-live');
    assert.deepEqual(page.troubles, []);

    await page.getByRole('button', {name: 'End the show'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'End the show'}).click();
    await page.locator('.desk .badge', {hasText: 'Ended'}).waitFor();
    await publisher.stop();
    await page.context().close();
});

test('a key that this tab did not make is not shown; a new one replaces it', LIMIT, async () => {
    const event = await house.event('Matinée for two');
    const page = await house.page(`/studio?event=${event.id}`, {token: true});

    await page.getByText('A key is shown only when it is made').waitFor();
    await page.getByRole('button', {name: 'Make a new key'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'Make a new key'}).click();
    await page.locator('#key').waitFor();
    assert.notEqual(await page.locator('#key').inputValue(), event.streamKey);
    await page.context().close();
});

test('a show is renamed and deleted', LIMIT, async () => {
    const event = await house.event('Wrong title');
    const page = await house.page(`/studio?event=${event.id}`, {token: true});

    await page.getByRole('button', {name: 'Change'}).click();
    await page.getByLabel('Title').fill('Right title');
    await page.getByLabel('Starts at').fill('2031-05-04T19:30');
    await page.getByRole('button', {name: 'Save'}).click();
    await page.getByRole('heading', {name: 'Right title'}).waitFor();
    assert.equal((await house.call('GET', `/events/${event.id}`)).startsAt, '2031-05-04T17:30:00.000Z');
    await page.getByRole('button', {name: 'Delete'}).click();
    await page.getByRole('dialog').getByRole('button', {name: 'Delete for good'}).click();
    await page.getByText('The show is deleted').waitFor();
    assert.equal((await fetch(`${house.http}/api/v1/events/${event.id}`)).status, 404);
    await page.context().close();
});

test('what is live stands first, what is to come is counted down to', LIMIT, async () => {
    const live = await house.event('Live on stage');
    const soon = await house.event('Next week', {startsAt: new Date(Date.now() + 7 * 86400000).toISOString()});
    const publisher = house.publish(live);

    await house.live(live);
    const page = await house.page('/');

    await page.locator('.feature', {hasText: 'Live on stage'}).waitFor();
    await page.locator('.ticket', {hasText: 'Next week'}).waitFor();
    await page.locator('.tile', {hasText: 'Open rehearsal'}).locator('img.shown').waitFor();
    await picture(page, 'home');
    assert.deepEqual(page.troubles, []);
    await page.locator('.ticket', {hasText: 'Next week'}).click();
    await page.getByText('Doors open soon').waitFor();
    assert.equal(await page.locator('.cell').count(), 4);
    await picture(page, 'watch-soon');
    assert.equal(await page.evaluate(() => location.pathname), `/watch/${soon.id}`);
    await publisher.stop();
    await page.context().close();
});

test('a script in a title is a title', LIMIT, async () => {
    const event = await house.event(SCRIPT);

    for (const [path, place] of [['/', '.ticket h3'], [`/watch/${event.id}`, '.programme h1'], [`/studio?event=${event.id}`, '.desk h1']]) {
        const page = await house.page(path, {token: true});

        await page.locator(place, {hasText: SCRIPT}).waitFor();
        assert.equal(await page.locator('img[src=x]').count(), 0);
        assert.doesNotMatch(await page.title(), /^taken/);
        assert.deepEqual(page.troubles, []);
        await page.context().close();
    }
});

test('no page is wider than a phone, down to 360 pixels', LIMIT, async () => {
    const event = await house.event('A-title-without-any-place-to-break-it-that-goes-on-and-on-and-on-for-the-sake-of-this-test');

    for (const [name, path, awaited] of [['home', '/', '.ticket'], ['soon', `/watch/${event.id}`, '.front h2'],
        ['studio', `/studio?event=${event.id}`, '.desk h1'], ['door', '/studio', '#token'], ['404', '/nowhere', '.message']]) {
        const page = await house.page(path, {viewport: PHONE, phone: true, token: name !== 'door'});

        await page.locator(awaited).first().waitFor();
        assert.ok(await fits(page), `${name} at ${PHONE.width}`);
        await picture(page, `phone-${name}`, {fullPage: true});
        await page.setViewportSize({width: 360, height: 640});
        assert.ok(await fits(page), `${name} at 360`);
        await page.context().close();
    }
});

test('what is not there says so, in words and in its status', LIMIT, async () => {
    assert.equal((await fetch(`${house.http}/nowhere`)).status, 404);
    const page = await house.page('/nowhere');

    await page.getByText('No show at this address').waitFor();
    await picture(page, '404');
    await page.goto(`${house.http}/watch/01ARZ3NDEKTSV4RRFFQ69G5FAV`);
    await page.getByText('No such show').waitFor();
    await page.context().close();
});

test('a server that goes away is said, not hidden', LIMIT, async () => {
    const page = await house.page('/studio', {token: true});

    await page.locator('.desk').waitFor();
    await page.route('**/api/**', (route) => route.abort());
    await page.getByText('The server cannot be reached').waitFor();
    await page.unroute('**/api/**');
    await page.getByText('The server cannot be reached').waitFor({state: 'hidden'});
    await page.context().close();
});

test('assets are kept for ever by their hash, pages are asked for anew', LIMIT, async () => {
    const page = await fetch(`${house.http}/`);
    const text = await page.text();
    const assets = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map((m) => m[1]);

    assert.equal(page.headers.get('cache-control'), 'no-cache');
    assert.match(page.headers.get('content-security-policy'), /default-src 'self'/);
    assert.ok(assets.length >= 4);
    for (const path of assets) {
        assert.match(path, /\?v=[0-9a-f]{16}$/);
        const answer = await fetch(house.http + path);

        assert.equal(answer.status, 200);
        assert.equal(answer.headers.get('cache-control'), 'public, max-age=31536000, immutable');
        assert.equal(answer.headers.get('content-encoding') === 'gzip' || (await answer.arrayBuffer()).byteLength < 1200, true, path);
    }
});

test('the description of the API is served, and what it lists without a name is there', LIMIT, async () => {
    const description = await (await fetch(`${house.http}/api/v1/openapi.json`)).json();

    assert.equal(description.openapi, '3.1.0');
    for (const [path, calls] of Object.entries(description.paths)) {
        if (calls.get && !calls.get.security && !path.includes('{'))
            assert.equal((await fetch(house.http + path)).status, 200, path);
    }
});
