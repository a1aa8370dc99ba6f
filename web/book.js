/* book.js - one inventory's box office: choose, hold while a clock runs, confirm.
 *
 * Seats go grey while others take them (the feed of units). What this browser holds it remembers by the reservation's
 * id, and what it asked for by its Idempotency-Key, so that a reload or a lost answer takes nothing twice. */
import {ApiError, call} from '/assets/api.js';
import {$, every, h, icon, toast} from '/assets/dom.js';
import {clock, date, WORDS} from '/assets/format.js';
import {drawList, drawNights, drawSeats, left, stepper} from '/assets/hall.js';
import {linksOf} from '/assets/links.js';
import {countdown, nearest, nights, seatName} from '/assets/seats.js';

const place = $('#office');
const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const memory = `booking-${id}`;

let inventory = null;
let units = new Map(); /* key: unit, as the server last said */
const chosen = new Map(); /* key: quantity */
let arrival = null, rooms = 1;
let plan = null;
let mine = null; /* the reservation this browser has */
let waiting = null; /* its place in the line */
let asking = 0; /* holds asked for that are not answered: the feed may tell of our own before the answer does */
let ahead = 0; /* the server's clock less ours, ms */

/* --- what this browser remembers --- */

function remembered() {
    try {
        return JSON.parse(localStorage.getItem(memory)) ?? {};
    } catch {
        return {};
    }
}

function remember(more) {
    localStorage.setItem(memory, JSON.stringify({...remembered(), ...more}));
}

/* --- the server --- */

async function loadUnits() {
    const fresh = new Map();
    let after = null;

    do {
        const page = await call('GET', `/inventories/${id}/units?limit=500${after === null ? '' : `&after=${encodeURIComponent(after)}`}`);

        page.items.forEach((u) => fresh.set(u.key, u));
        after = page.items.length === 500 ? page.items.at(-1).key : null;
    } while (after !== null);
    return fresh;
}

function follow() {
    const feed = new EventSource(`/api/v1/inventories/${id}/units/live`);

    async function again() {
        try {
            const fresh = await loadUnits();

            fresh.forEach((unit, key) => take(unit, key));
            plan?.refresh();
            drawCounts();
        } catch { /* the next event or the reconnect asks again */ }
    }

    feed.addEventListener('ready', again);
    feed.addEventListener('reset', again);
    feed.addEventListener('unit', (e) => {
        const unit = JSON.parse(e.data);

        take(unit, unit.key);
        plan?.update(unit.key);
        drawCounts();
    });
}

/* Takes over how a unit is now; whoever had chosen it and was slower is told at once. */
function take(unit, key) {
    if ((units.get(key)?.version ?? 0) > unit.version)
        return;
    units.set(key, unit);
    const wanted = chosen.get(key);

    if (wanted === undefined || left(unit) >= wanted || mine || asking)
        return;
    lost([key]);
}

/* --- choosing --- */

function change() {
    plan?.refresh();
    drawDesk();
}

/* These were taken by somebody else: names them and offers the nearest. */
function lost(keys) {
    keys.forEach((key) => chosen.delete(key));
    change();
    const names = keys.map((k) => (inventory.kind === 'seats' ? seatName(k) : k)).join(', ');
    const offer = inventory.kind === 'seats' ? nearest(keys, [...chosen.keys()], [...units.values()].filter((u) => left(u) > 0).map((u) => u.key)) : [];
    const note = $('.lost');

    note.hidden = false;
    note.replaceChildren(icon('alert'), h('div', {}, h('b', {}, `Somebody was faster: ${names}`),
        offer.length ? h('p', {}, `Nearest that ${offer.length === 1 ? 'is' : 'are'} free: ${offer.map(seatName).join(', ')}. `,
            h('button', {class: 'button button-small', type: 'button', onclick: () => {
                offer.forEach((key) => chosen.set(key, 1));
                note.hidden = true;
                change();
            }}, `Take ${offer.length === 1 ? 'it' : 'them'} instead`)) : h('p', {}, inventory.kind === 'seats' ? 'No other seat is free now.' : 'Choose others, or fewer.')));
}

function toggleSeat(key) {
    if (mine)
        return;
    if (chosen.has(key))
        chosen.delete(key);
    else if (left(units.get(key)) > 0)
        chosen.set(key, 1);
    plan.update(key);
    drawDesk();
}

function setQuantity(key, n) {
    if (n > 0)
        chosen.set(key, n);
    else
        chosen.delete(key);
    drawDesk();
}

function pickNight(key) {
    const keys = [...units.keys()];
    const next = new Date(`${key}T00:00:00Z`);

    if (mine)
        return;
    next.setUTCDate(next.getUTCDate() + 1);
    const wanted = arrival !== null && key >= arrival ? nights(arrival, next.toISOString().slice(0, 10)) : [key];

    arrival = wanted.length === 1 ? key : null;
    chosen.clear();
    if (wanted.every((k) => keys.includes(k) && left(units.get(k)) >= rooms))
        wanted.forEach((k) => chosen.set(k, rooms));
    else
        toast('One of these nights is full.', true);
    change();
}

/* --- the three acts: hold, confirm, give back --- */

function inform(problem) {
    toast(problem.message, true);
}

/* Whether the same request may still be done, or be on its way: then its key is kept. */
function unsettled(problem) {
    const refused = problem.status >= 400 && problem.status < 500 && problem.status !== 429;

    return !refused || inFlight(problem); /* not reached, cut short, 503 … */
}

function inFlight(problem) {
    return problem.status === 409 && problem.problem?.title === 'in-flight';
}

/* The first call with this key, from before a reload or another tab, has an answer soon: it is ours too. */
async function askToHold(body, key) {
    for (let turn = 0; ; turn++) {
        try {
            return await call('POST', `/inventories/${id}/reservations`, {body, headers: {'Idempotency-Key': key}});
        } catch (problem) {
            if (!inFlight(problem) || turn === 10)
                throw problem;
        }
        await new Promise((done) => setTimeout(done, 500));
    }
}

/* The key is remembered before the call: if the answer is lost, the same request brings it. */
async function hold(customer, wish) {
    const body = {customer, ...wish};
    const before = remembered();
    const key = before.key && JSON.stringify(before.body) === JSON.stringify(body) && !before.answered ? before.key : crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

    remember({key, body, customer, answered: false});
    asking++;
    try {
        mine = await askToHold(body, key);
    } catch (problem) {
        if (!unsettled(problem))
            remember({answered: true});
        if (problem.status === 409 && problem.problem?.title === 'sold-out') {
            problem.problem.left.filter((u) => units.has(u.key)).forEach((u) => {
                const unit = units.get(u.key);

                units.set(u.key, {...unit, held: unit.capacity - unit.sold - u.left});
            });
            lost(problem.problem.left.map((u) => u.key).filter((k) => chosen.has(k)));
            return;
        }
        throw problem;
    } finally {
        asking--;
    }
    remember({answered: true, reservation: mine.id, place: null});
    $('.lost').hidden = true;
    chosen.clear();
    arrival = null;
    change();
}

async function confirm() {
    mine = await call('POST', `/reservations/${mine.id}/confirm`);
    drawDesk();
}

async function giveBack() {
    await call('DELETE', `/reservations/${mine.id}`);
    forget();
    toast('Given back');
}

function forget() {
    mine = null;
    waiting = null;
    remember({reservation: null, place: null});
    change();
}

async function join(customer, wish) {
    waiting = await call('POST', `/inventories/${id}/waitlist`, {body: {customer, ...wish}});
    remember({place: waiting.id, customer});
    await lookAtLine();
    drawDesk();
}

async function lookAtLine() {
    if (!waiting || mine)
        return;
    waiting = await call('GET', `/waitlist/${waiting.id}`);
    if (waiting.state === 'offered') {
        mine = await call('GET', `/reservations/${waiting.reservation}`);
        remember({reservation: mine.id, place: null});
        chosen.clear();
        toast('It is your turn: a place is held for you');
        change();
    } else if (waiting.state === 'left') {
        forget();
    }
}

/* A button that works once at a time; what goes wrong is said. */
function action(words, style, picture, work) {
    const button = h('button', {class: `button ${style}`, type: 'button', onclick: async () => {
        button.disabled = true;
        try {
            await work();
        } catch (problem) {
            if (problem.status === 409 && mine)
                mine = await call('GET', `/reservations/${mine.id}`).catch(() => mine);
            inform(problem);
            drawDesk();
        } finally {
            button.disabled = false;
        }
    }}, picture ? icon(picture) : null, words);

    return button;
}

/* --- the desk --- */

function summary(list) {
    if (inventory.kind === 'nights' && list.length)
        return [h('li', {}, h('span', {}, list.length === 1 ? '1 night' : `${list.length} nights`), h('b', {}, `${list[0].quantity} ${list[0].quantity === 1 ? 'room' : 'rooms'}`)),
            h('li', {}, h('span', {}, 'From'), h('b', {}, date(`${list[0].key}T12:00:00`))), h('li', {}, h('span', {}, 'Last night'), h('b', {}, date(`${list.at(-1).key}T12:00:00`)))];
    return list.map(({key, quantity}) => h('li', {}, h('span', {}, inventory.kind === 'pool' ? 'Places' : inventory.kind === 'seats' ? seatName(key) : key), quantity > 1 || inventory.kind === 'pool' ? h('b', {}, String(quantity)) : null));
}

function drawMine(desk) {
    const ends = Date.parse(mine.expiresAt) - ahead;
    const over = mine.state === 'held' && Date.now() >= ends;
    const state = over ? 'expired' : mine.state;

    if (state === 'held')
        desk.append(h('h2', {}, 'Held for you'), h('p', {class: 'countdown', role: 'timer', 'aria-label': 'Time left'}, countdown(ends, Date.now())),
            h('ul', {class: 'basket'}, summary(mine.units)), action('Confirm', 'button-main', 'check', confirm), action('Give back', 'button-plain', null, giveBack));
    else if (state === 'confirmed')
        desk.append(h('div', {class: 'admission'}, h('p', {class: 'admission-word'}, 'Admit'), h('h2', {}, inventory.name), h('ul', {class: 'basket'}, summary(mine.units)), h('p', {class: 'admission-name'}, mine.customer), h('p', {class: 'mono admission-id'}, mine.id)),
            h('p', {class: 'hint'}, 'Confirmed. This number is the key to your booking: keep it.'),
            ...(mine.ticket ? [h('a', {class: 'button button-main', href: mine.ticket.watchUrl}, icon('play'), 'Open the show')] : []), ...[linksOf(mine)].filter(Boolean), action('Book another', 'button-plain', 'plus', forget), action('Cancel the booking', 'button-plain', null, giveBack));
    else
        desk.append(h('h2', {}, state === 'expired' ? 'The time is up' : 'Cancelled'), h('p', {class: 'hint'}, state === 'expired' ? 'What was held for you is for others again. Choose anew.' : 'This booking was given back.'),
            action('Choose again', 'button-main', null, forget));
}

function wishOf() {
    if (inventory.kind === 'nights')
        return null;
    return {units: [...chosen].map(([key, quantity]) => ({key, quantity})).sort((a, b) => (a.key < b.key ? -1 : 1))};
}

function nightsWish() {
    const keys = [...chosen.keys()].sort();
    const last = new Date(`${keys.at(-1)}T00:00:00Z`);

    last.setUTCDate(last.getUTCDate() + 1);
    return {from: keys[0], to: last.toISOString().slice(0, 10), rooms};
}

function drawWaiting(desk) {
    desk.append(h('h2', {}, 'In the line'), h('p', {class: 'countdown'}, `${waiting.position}.`), h('p', {class: 'hint'}, 'When enough becomes free it is held for you, before anybody else. Leave this page open.'),
        action('Leave the line', 'button-plain', null, async () => {
            await call('DELETE', `/waitlist/${waiting.id}`);
            forget();
        }));
}

/* How many, for those who leave the choice to us, or get into the line. */
function drawAsk(desk, customer) {
    const free = [...units.values()].reduce((n, u) => n + Math.max(0, left(u)), 0);
    const pool = units.size === 1;
    let many = Math.min(2, pool ? [...units.values()][0].capacity : units.size);

    if (inventory.kind === 'nights' || inventory.kind === 'units' && free > 0 || pool && free > 0)
        return;
    desk.append(h('div', {class: 'ask'}, h('span', {class: 'label'}, free ? 'Or let us choose' : 'Sold out'), h('div', {class: 'ask-row'}, stepper('How many', many, pool ? [...units.values()][0].capacity : units.size, (n) => { many = n; }).element,
        free ? action('Best seats', '', null, () => hold(name(customer), {quantity: many})) : action('Get into the line', 'button-main', null, () => join(name(customer), {quantity: many})))));
}

/* The name that was typed; without one nothing is asked of the server. */
function name(field) {
    if (field.value.trim())
        return field.value.trim();
    field.focus();
    throw new ApiError(422, 'Whose name shall we put it under?');
}

function drawChoice(desk) {
    const list = [...chosen].map(([key, quantity]) => ({key, quantity})).sort((a, b) => (a.key < b.key ? -1 : 1));
    const customer = h('input', {id: 'customer', maxlength: 200, autocomplete: 'name', placeholder: 'Ada Lovelace', value: $('#customer')?.value ?? remembered().customer ?? ''});

    desk.append(...[h('h2', {}, 'Your booking'),
        list.length ? h('ul', {class: 'basket'}, summary(list)) : h('p', {class: 'hint'}, {seats: 'Choose your seats in the plan.', nights: 'Choose the night of arrival, then the last night.', pool: 'How many places?', units: 'Choose what you want.'}[inventory.kind]),
        inventory.kind === 'nights' ? h('div', {class: 'field'}, h('span', {class: 'label'}, 'Rooms'), stepper('Rooms', rooms, Math.max(...[...units.values()].map((u) => u.capacity)), (n) => {
            rooms = Math.max(1, n);
            chosen.clear();
            arrival = null;
            change();
        }).element) : null,
        h('div', {class: 'field'}, h('label', {for: 'customer'}, 'Name'), customer)].filter(Boolean));
    const button = action(`Hold for ${holdWords()}`, 'button-main', 'check', () => hold(name(customer), inventory.kind === 'nights' ? nightsWish() : wishOf()));

    button.disabled = !list.length;
    desk.append(button);
    drawAsk(desk, customer);
}

function holdWords() {
    const s = inventory.holdSeconds;

    return s % 60 ? `${s} s` : s === 60 ? '1 minute' : `${s / 60} minutes`;
}

function drawDesk() {
    const desk = $('.book-desk');
    const typing = document.activeElement?.id; /* 'customer', or a name for a link */

    if (!desk)
        return;
    const inside = h('div', {class: 'book-inside'});

    if (mine)
        drawMine(inside);
    else if (waiting)
        drawWaiting(inside);
    else
        drawChoice(inside);
    desk.replaceChildren(inside);
    if (typing)
        document.getElementById(typing)?.focus();
}

function drawCounts() {
    const all = [...units.values()];
    const capacity = all.reduce((n, u) => n + u.capacity, 0), free = all.reduce((n, u) => n + Math.max(0, left(u)), 0);
    const words = inventory.kind === 'nights' ? `${units.size} nights` : free ? `${free.toLocaleString(WORDS)} of ${capacity.toLocaleString(WORDS)} left` : 'Sold out';

    $('.counts').textContent = words;
}

function draw() {
    const common = {units, chosen, yours: (key) => (mine?.state === 'held' || mine?.state === 'confirmed') && mine.units.some((u) => u.key === key)};

    document.title = `${inventory.name} · matinee`;
    plan = inventory.kind === 'seats' ? drawSeats({...common, seats: inventory.seats, choose: toggleSeat})
        : inventory.kind === 'nights' ? drawNights({...common, pick: pickNight})
            : drawList({...common, quantity: setQuantity, single: inventory.kind === 'pool'});
    place.removeAttribute('aria-busy');
    place.replaceChildren(h('header', {class: 'office-head'}, h('h1', {}, inventory.name), h('p', {class: 'counts', 'aria-live': 'off'})),
        h('div', {class: 'office'}, h('section', {class: 'card plan', 'aria-label': 'What there is'}, plan.element),
            h('aside', {class: 'card book-desk', 'aria-label': 'Your booking'}), h('div', {class: 'lost', role: 'alert', hidden: true})));
    drawCounts();
    drawDesk();
    const scroll = $('.hall-scroll');

    if (scroll)
        scroll.scrollLeft = (scroll.scrollWidth - scroll.clientWidth) / 2;
}

/* The clock of a hold, each second; at its end the desk says so. */
function tick() {
    const timer = $('.countdown[role=timer]');

    if (!mine || mine.state !== 'held' || !timer)
        return;
    const ends = Date.parse(mine.expiresAt) - ahead;

    if (Date.now() >= ends)
        drawDesk();
    else
        timer.textContent = countdown(ends, Date.now());
    timer.classList.toggle('countdown-late', ends - Date.now() < 60000);
}

function fail(problem) {
    place.removeAttribute('aria-busy');
    place.replaceChildren(h('div', {class: 'message'}, h('img', {src: '/assets/ghostlight.svg', alt: '', width: 148, height: 192}),
        h('h1', {}, problem.status === 404 ? 'No box office at this address' : 'The box office is closed for a moment'),
        h('p', {}, problem.status === 404 ? 'The link may be old, or a letter may be missing.' : problem.message),
        h('div', {class: 'actions'}, h('button', {class: 'button button-main', type: 'button', onclick: () => location.reload()}, 'Try again'))));
}

async function open() {
    const before = remembered();
    const asked = Date.now();
    const now = await fetch('/api/v1/time').then((a) => a.text()).catch(() => null);

    ahead = now ? Date.parse(now) - (asked + Date.now()) / 2 : 0;
    inventory = await call('GET', `/inventories/${encodeURIComponent(id)}`);
    units = await loadUnits();
    if (before.reservation)
        mine = await call('GET', `/reservations/${before.reservation}`).catch(() => null);
    else if (before.place)
        waiting = await call('GET', `/waitlist/${before.place}`).catch(() => null);
    draw();
    follow();
    setInterval(tick, 250);
    every(2000, () => lookAtLine().catch(() => {}));
    if (before.key && before.answered === false && !mine) /* the answer was lost with the page: ask again for it */
        hold(before.customer, (({customer, ...wish}) => wish)(before.body)).catch(inform);
}

open().catch(fail);
