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

async function bought(house, event, customer, quantity = 1) {
    const held = await (await fetch(`${house.http}/api/v1/inventories/${event.inventory}/reservations`, {method: 'POST', body: JSON.stringify({customer, quantity}),
        headers: {'Content-Type': 'application/json', 'Idempotency-Key': customer}})).json();

    return house.call('POST', `/reservations/${held.id}/confirm`);
}

test('one ticket, one screen: another takes over, and the first may come back', LIMIT, async () => {
    await house.call('PATCH', `/events/${event.id}`, {screens: 1});
    const {ticket} = await bought(house, event, 'Cy');
    const link = ticket.watchUrl.slice(house.http.length);
    const sofa = await house.page(link);

    await plays(sofa, 2);
    await sofa.reload(); /* the same screen */
    await plays(sofa, 2);
    const train = await house.page(link);

    await plays(train, 2);
    await sofa.getByText('You watch on another screen').waitFor({timeout: 30000});
    await picture(sofa, 'ticket-taken-over');
    await sofa.getByRole('button', {name: 'Watch here'}).click();
    await plays(sofa, 2);
    await train.getByText('You watch on another screen').waitFor({timeout: 30000});
});

test('where further screens are refused the page says so', LIMIT, async () => {
    await house.call('PATCH', `/events/${event.id}`, {newScreen: 'refuse'});
    const {ticket} = await bought(house, event, 'Di');
    const link = ticket.watchUrl.slice(house.http.length);
    const sofa = await house.page(link);

    await plays(sofa, 2);
    const train = await house.page(link);

    await train.getByText('This ticket is in use').waitFor();
    await picture(train, 'ticket-in-use');
    await sofa.reload();
    await plays(sofa, 6); /* long enough to see that no other page of this browser watches */
    await sofa.goto('about:blank');
    const began = Date.now();

    await plays(train, 2);
    assert.ok(Date.now() - began < 30000, 'a page that says goodbye leaves its place at once');
});

test('who books for two gives the other ticket away in the page', LIMIT, async () => {
    const group = await bought(house, event, 'Gil', 2);
    const page = await house.page('/');

    await page.evaluate(([inventory, reservation]) => localStorage.setItem(`booking-${inventory}`, JSON.stringify({reservation, answered: true})), [event.inventory, group.id]);
    await page.goto(`${house.http}/book/${event.inventory}`);
    await page.getByText('One of 2 is yours; 1 to give away.').waitFor();
    await page.getByLabel('Give a ticket to').fill('Hal');
    await page.getByRole('button', {name: 'Make a link'}).click();
    await page.getByText('all others are given away').waitFor();
    await picture(page, 'ticket-links');
    const [{id, watchUrl}] = (await house.call('GET', `/reservations/${group.id}/links`)).items;

    await plays(await house.page(watchUrl.slice(house.http.length)), 2);
    await page.getByRole('button', {name: "Take Hal's link back"}).click();
    await page.getByText('1 to give away').waitFor();
    assert.equal((await fetch(`${house.http}/api/v1/links/${id}/token`, {method: 'POST'})).status, 404);
});

test('a link of a group ticket opens the show, and nothing but the show', LIMIT, async () => {
    const group = await bought(house, event, 'Ed', 2);
    const given = await house.call('POST', `/reservations/${group.id}/links`, {name: 'Flo'});
    const page = await house.page(given.watchUrl.slice(house.http.length));

    await plays(page, 2);
    assert.equal(new URL(page.url()).hash, '');
    assert.ok(!JSON.stringify(await page.evaluate(() => ({...localStorage}))).includes(group.id), 'the booking is not known there');
    await page.reload();
    await plays(page, 2);
    await house.call('DELETE', `/reservations/${group.id}/links/${given.id}`);
    await page.getByText('This ticket has ended').waitFor({timeout: 30000});
});
