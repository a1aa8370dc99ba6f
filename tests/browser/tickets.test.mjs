/* Book, confirm, watch: a ticketed show in Chromium, from the box office to the picture, and the door after a cancellation. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, picture, plays} from './house.mjs';

const LIMIT = {timeout: 120000};
let house, event;

before(async () => { house = await House.open(); }, LIMIT);
after(async () => { assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM'); }, LIMIT);

test('who books and confirms watches the show, and nobody else', LIMIT, async () => {
    event = await house.event('Opening night', {access: 'ticket', inventory: {name: 'Opening night', seats: {rows: 4, perRow: 6}}});
    house.publish(event);
    await house.live(event);
    const stranger = await house.page(`/watch/${event.id}`);

    await stranger.getByText('This show needs a ticket').waitFor();
    await picture(stranger, 'ticket-needed');
    await stranger.getByRole('link', {name: 'Get a ticket'}).click();
    await stranger.locator('.seat[data-key="B-3"]').click();
    await stranger.getByLabel('Name', {exact: true}).fill('Ada Lovelace');
    await stranger.getByRole('button', {name: /Hold for/}).click();
    await stranger.getByRole('button', {name: 'Confirm'}).click();
    await stranger.locator('.admission').waitFor();
    await picture(stranger, 'ticket-confirmed');
    await stranger.getByRole('link', {name: 'Open the show'}).click();
    await plays(stranger, 2);
    assert.equal(new URL(stranger.url()).hash, '', 'the token does not stay in the address');
    await stranger.reload(); /* this browser has its ticket */
    await plays(stranger, 2);
    await picture(stranger, 'ticket-watch');
    const other = await house.page(`/watch/${event.id}`);

    await other.getByText('This show needs a ticket').waitFor();
});

test('a booking that is cancelled closes the door', LIMIT, async () => {
    const held = await (await fetch(`${house.http}/api/v1/inventories/${event.inventory}/reservations`, {method: 'POST', body: JSON.stringify({customer: 'Bo', quantity: 1}),
        headers: {'Content-Type': 'application/json', 'Idempotency-Key': 'bo'}})).json();
    const {ticket} = await house.call('POST', `/reservations/${held.id}/confirm`);
    const page = await house.page(ticket.watchUrl.slice(house.http.length));

    await plays(page, 2);
    await house.call('DELETE', `/reservations/${held.id}`);
    await page.reload();
    await page.getByText('This ticket has ended').waitFor();
});
