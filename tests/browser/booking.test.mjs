/* The box office window in Chromium: seats, pools and nights; holding, a reload, confirming; two who want one seat. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, PHONE, picture} from './house.mjs';

const LIMIT = {timeout: 90000};
let house;

before(async () => { house = await House.open(); }, LIMIT);
after(async () => { assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM'); }, LIMIT);

function make(name, what) {
    return house.call('POST', '/inventories', {name, ...what});
}

async function reserve(inventory, wish, key = `k${Math.random()}`) {
    const answer = await fetch(`${house.http}/api/v1/inventories/${inventory.id}/reservations`, {method: 'POST', body: JSON.stringify({customer: 'Somebody', ...wish}),
        headers: {'Content-Type': 'application/json', 'Idempotency-Key': key}});

    assert.equal(answer.status, 201);
    return answer.json();
}

function seat(page, key) {
    return page.locator(`.seat[data-key="${key}"]`);
}

function state(page, key, wanted) {
    return page.waitForFunction(([k, s]) => document.querySelector(`.seat[data-key="${k}"]`)?.dataset.state === s, [key, wanted]);
}

test('seats are chosen, held over a reload, and confirmed', LIMIT, async () => {
    const hall = await make('The Cherry Orchard', {seats: {rows: 12, perRow: 22}});

    for (let i = 0; i < 6; i++)
        await reserve(hall, {quantity: 7});
    const page = await house.page(`/book/${hall.id}`);

    await page.getByRole('heading', {name: 'The Cherry Orchard'}).waitFor();
    await page.getByText('222 of 264 left').waitFor();
    await seat(page, 'L-10').click();
    await seat(page, 'L-11').click();
    await state(page, 'L-11', 'chosen');
    await seat(page, 'L-11').focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press(' ');
    await state(page, 'L-12', 'chosen');
    await page.getByLabel('Name', {exact: true}).fill('Ada Lovelace');
    await picture(page, 'book-seats');
    await page.getByRole('button', {name: 'Hold for 10 minutes'}).click();
    await page.getByText('Held for you').waitFor();
    await page.locator('.countdown', {hasText: /^(10:00|9:5\d)$/}).waitFor();
    await page.reload();
    await page.getByText('Held for you').waitFor();
    await page.locator('.basket', {hasText: 'row L, seat 12'}).waitFor();
    await picture(page, 'book-held');
    await page.getByRole('button', {name: 'Confirm'}).click();
    await page.locator('.admission').waitFor();
    await picture(page, 'book-confirmed');
    const seen = await house.call('GET', `/inventories/${hall.id}`);

    assert.equal(seen.sold, 3);
    await page.getByRole('button', {name: 'Cancel the booking'}).click();
    await page.getByText('Given back').waitFor();
    await state(page, 'L-10', 'free');
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('of two who want one seat the slower is told at once, and offered the nearest', LIMIT, async () => {
    const hall = await make('Two for one', {seats: {rows: 3, perRow: 8}});
    const one = await house.page(`/book/${hall.id}`), two = await house.page(`/book/${hall.id}`);

    for (const page of [one, two]) {
        await seat(page, 'B-4').click();
        await page.getByLabel('Name', {exact: true}).fill('Somebody');
    }
    await one.getByRole('button', {name: 'Hold for'}).click();
    await one.getByText('Held for you').waitFor();
    await two.getByText('Somebody was faster: row B, seat 4').waitFor();
    await state(two, 'B-4', 'held');
    await picture(two, 'book-slower');
    await two.getByRole('button', {name: 'Take it instead'}).click();
    await two.getByRole('button', {name: 'Hold for'}).click();
    await two.getByText('Held for you').waitFor();
    assert.deepEqual(one.troubles, []);
    await one.context().close();
    await two.context().close();
});

test('a press at the same moment books once, and its loser is told by the answer', LIMIT, async () => {
    const hall = await make('At once', {seats: {rows: 2, perRow: 6}});
    const page = await house.page(`/book/${hall.id}`);

    await page.route('**/units/live', (route) => route.abort()); /* the feed is late */
    await page.reload();
    await seat(page, 'A-2').click();
    await page.getByLabel('Name', {exact: true}).fill('Late');
    await reserve(hall, {units: [{key: 'A-2', quantity: 1}]});
    await page.getByRole('button', {name: 'Hold for'}).dblclick();
    await page.getByText('Somebody was faster: row A, seat 2').waitFor();
    assert.equal((await house.call('GET', `/inventories/${hall.id}`)).held, 1);
    await page.context().close();
});

test('a lost answer is asked for again after a reload, and takes nothing twice', LIMIT, async () => {
    const pool = await make('Standing room', {pool: 300});
    const page = await house.page(`/book/${pool.id}`);

    await page.getByLabel('More: Places').click();
    await page.getByLabel('More: Places').click();
    await page.getByLabel('Name', {exact: true}).fill('Grace');
    await page.route('**/reservations', async (route) => {
        await route.fetch(); /* it arrives, and its answer does not */
        await route.abort();
    });
    await page.getByRole('button', {name: 'Hold for'}).click();
    await page.getByText('cannot be reached').waitFor();
    await page.unroute('**/reservations');
    await page.reload();
    await page.getByText('Held for you').waitFor();
    assert.equal((await house.call('GET', `/inventories/${pool.id}`)).held, 2);
    await page.context().close();
});

test('after "try again" and "still running" the same press books once', LIMIT, async () => {
    const pool = await make('In doubt', {pool: 300});
    const page = await house.page(`/book/${pool.id}`);
    const answers = [503, 409];

    await page.getByLabel('More: Places').click();
    await page.getByLabel('Name', {exact: true}).fill('Grace');
    await page.route('**/reservations', async (route) => {
        const status = answers.shift();
        const answer = await route.fetch(); /* done it is, each time */

        await (status ? route.fulfill({status, contentType: 'application/problem+json', body: JSON.stringify({title: status === 409 ? 'in-flight' : 'busy', detail: 'Try again.'})})
            : route.fulfill({response: answer}));
    });
    await page.getByRole('button', {name: 'Hold for'}).click();
    await page.getByText('Try again.').waitFor();
    await page.getByRole('button', {name: 'Hold for'}).click();
    await page.getByText('Held for you').waitFor();
    assert.equal((await house.call('GET', `/inventories/${pool.id}`)).held, 1);
    await page.context().close();
});

test('nights are chosen in a calendar', LIMIT, async () => {
    const hotel = await make('The inn next door', {nights: {from: '2027-06-10', to: '2027-07-20', rooms: 4}});

    await reserve(hotel, {from: '2027-06-19', to: '2027-06-21', rooms: 4});
    const page = await house.page(`/book/${hotel.id}`);

    await page.getByRole('button', {name: /Saturday,? 12 June, 4 left/}).click();
    await page.getByRole('button', {name: /Tuesday,? 15 June/}).click();
    await page.getByText('4 nights').waitFor();
    await page.getByLabel('Name', {exact: true}).fill('Hercule');
    await picture(page, 'book-nights');
    await page.getByRole('button', {name: 'Hold for'}).click();
    await page.getByText('Held for you').waitFor();
    await page.getByRole('button', {name: /12 June, 3 left/}).waitFor();
    await page.context().close();
});

test('who comes too late gets into the line, and then their turn', LIMIT, async () => {
    const pool = await make('Sold out', {pool: 3});
    const all = await reserve(pool, {quantity: 3});
    const page = await house.page(`/book/${pool.id}`, {viewport: PHONE, phone: true});

    await page.getByText('Sold out').first().waitFor();
    await page.getByLabel('Name', {exact: true}).fill('Last');
    await page.getByRole('button', {name: 'Get into the line'}).click();
    await page.getByText('In the line').waitFor();
    await picture(page, 'book-line-phone');
    const answer = await fetch(`${house.http}/api/v1/reservations/${all.id}`, {method: 'DELETE'});

    assert.equal(answer.status, 204);
    await page.getByText('Held for you').waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await page.context().close();
});

test('a hold whose time is up says so', LIMIT, async () => {
    const pool = await make('Be quick', {pool: 3, holdSeconds: 2});
    const page = await house.page(`/book/${pool.id}`);

    await page.getByLabel('More: Places').click();
    await page.getByLabel('Name', {exact: true}).fill('Slow');
    await page.getByRole('button', {name: 'Hold for 2 s'}).click();
    await page.getByText('The time is up').waitFor();
    await page.getByText('3 of 3 left').first().waitFor();
    await page.getByRole('button', {name: 'Choose again'}).click();
    await page.getByText('Your booking').waitFor();
    await page.context().close();
});

test('five thousand seats are drawn, and fit a phone', LIMIT, async () => {
    const arena = await make('Arena', {seats: {rows: 50, perRow: 100}});
    const page = await house.page(`/book/${arena.id}`);

    await page.waitForFunction(() => document.querySelectorAll('.seat').length === 5000);
    await picture(page, 'book-arena');
    await page.getByRole('button', {name: 'Best seats'}).waitFor();
    await page.getByLabel('Name', {exact: true}).fill('Group');
    await page.getByRole('button', {name: 'Best seats'}).click();
    await page.getByText('Held for you').waitFor();
    await page.locator('.basket', {hasText: 'row A, seat 50'}).waitFor();
    const phone = await house.page(`/book/${arena.id}`, {viewport: PHONE, phone: true});

    await phone.waitForFunction(() => document.querySelectorAll('.seat').length === 5000);
    assert.ok(await phone.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await picture(phone, 'book-arena-phone');
    await phone.context().close();
    await page.context().close();
});

test('the studio opens a box office and shows its sales', LIMIT, async () => {
    const page = await house.page('/studio?office=', {token: true});

    await page.getByRole('tab', {name: 'Box office'}).waitFor();
    await page.getByRole('button', {name: 'New box office'}).click();
    await page.getByLabel('Name', {exact: true}).fill('Great hall, Saturday');
    await page.getByLabel('Rows').fill('15');
    await page.getByLabel('Seats in a row').fill('24');
    await picture(page, 'studio-office-form');
    await page.getByRole('button', {name: 'Open the box office'}).click();
    await page.getByRole('heading', {name: 'Great hall, Saturday'}).waitFor();
    const {items} = await house.call('GET', '/inventories?limit=1');

    for (let i = 0; i < 30; i++) {
        const r = await reserve(items[0], {quantity: 6});

        if (i % 3)
            await fetch(`${house.http}/api/v1/reservations/${r.id}/confirm`, {method: 'POST'});
    }
    await page.locator('.tile-number', {hasText: 'Sold'}).getByText('120').waitFor();
    await picture(page, 'studio-office');
    const {customer} = await reserve(items[0], {quantity: 1, customer: 'Ada Lovelace'});

    await page.getByRole('button', {name: 'Bookings'}).click();
    await page.locator('dialog li').nth(30).waitFor();
    await page.getByLabel('Customer').fill(customer.slice(1, 6).toUpperCase());
    await page.locator('dialog li:only-child', {hasText: customer}).getByText('held').waitFor();
    await picture(page, 'studio-bookings');
    await page.getByRole('button', {name: 'Close'}).click();
    await page.getByRole('button', {name: 'Change'}).click();
    await page.getByLabel('Locking').selectOption('combining');
    await page.getByRole('button', {name: 'Save'}).click();
    await page.locator('.facts', {hasText: 'Combining'}).waitFor();
    await page.getByRole('tab', {name: 'Shows'}).click();
    await page.getByText('Your first show').waitFor();
    assert.deepEqual(page.troubles, []);
    await page.context().close();
});

test('an unknown box office says so', LIMIT, async () => {
    const page = await house.page('/book/00000000000000000000000000');

    await page.getByText('No box office at this address').waitFor();
    await page.context().close();
});
