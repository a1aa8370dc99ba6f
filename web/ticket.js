/* ticket.js - the ticket that this browser has for an event: taken from the link, kept fresh, and shown at the door of its videos.
 *
 * Media URLs never carry it. Asking for a file once with ?token= sets cookies for the paths of that video, and players need to know
 * nothing. The link has it behind the #, which is sent to nobody. This browser is one screen: its token names it, and a fresh one is for
 * the same, whatever network it comes from. */
import {call} from '/assets/api.js';

const LOOK_MS = 2500;
const AGAIN_MS = 5000; /* a full house is not asked more often, nor is a place that was just given believed to be gone */

function memory(event) {
    return `ticket-${event}`;
}

/* The id of a link that somebody gave us; such a ticket is asked for by it. */
function memoryOfLink(event) {
    return `link-${event}`;
}

function claims(token) {
    try {
        return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    } catch {
        return null;
    }
}

function forget(event) {
    localStorage.removeItem(memory(event));
    localStorage.removeItem(memoryOfLink(event));
}

/* What the link of a booking brings: kept for this event, and taken out of the address. Where it is the ticket we have, our own token
 * stays: it names this screen. */
export function takeFromLink(event) {
    const given = new URLSearchParams(location.hash.slice(1));
    const token = given.get('ticket');
    const link = given.get('link');

    if (!token && !link)
        return;
    const ours = claims(localStorage.getItem(memory(event)) ?? '')?.sub;

    if (link && link !== ours) {
        forget(event);
        localStorage.setItem(memoryOfLink(event), link);
    } else if (token && claims(token) && claims(token).sub !== ours) {
        forget(event);
        localStorage.setItem(memory(event), token);
    }
    history.replaceState(null, '', location.pathname + location.search);
}

const shown = new Map(); /* video: {event, since, due}: the event whose ticket opened it, and when to ask again */
const over = new Set(); /* events whose ticket has ended */
const lost = new Map(); /* event: {type, detail, due}: what the server said of other screens */

/* A fresh token for this screen, or for a new one where there is no `token`. Null: there is none for us. */
async function renew(event, token) {
    try {
        const fresh = await call('POST', pathOf(event), {token});

        lost.delete(event);
        localStorage.setItem(memory(event), fresh.token);
        return fresh;
    } catch (problem) {
        const type = problem.problem?.type?.split('/').pop();

        if (type === 'taken-over' || type === 'screens-full')
            lost.set(event, {type, detail: problem.message, due: Date.now() + AGAIN_MS});
        else if (problem.status === 404 || problem.status === 409) {
            forget(event);
            over.add(event);
        } else if (token) {
            return {token, renewSeconds: 10}; /* the server is away: what we have may still be good */
        }
        return null;
    }
}

function has(event) {
    return localStorage.getItem(memory(event)) || localStorage.getItem(memoryOfLink(event));
}

async function showAtTheDoor(event, video, token = localStorage.getItem(memory(event))) {
    const fresh = has(event) && await renew(event, token);
    const answer = fresh && await fetch(`/v/${video}/master.m3u8?token=${encodeURIComponent(fresh.token)}`, {method: 'HEAD'}).catch(() => ({status: 0}));

    if (answer && answer.status !== 403) {
        watchHere(event);
        shown.set(video, {event, since: Date.now(), due: Date.now() + 1000 * fresh.renewSeconds});
    } else {
        shown.delete(video);
    }
}

/* Also while the page is hidden and only heard. */
setInterval(() => shown.forEach((place, video) => {
    if (alone.has(place.event))
        lookForOthers(place.event);
    if (place.due > Date.now())
        return;
    place.due = Infinity; /* one at a time */
    showAtTheDoor(place.event, video);
}), LOOK_MS);

/* Whether another page of this browser, which is the same screen, watches too. Where that cannot be known (no locks without https), nobody
 * says goodbye, and the place is free when nobody has asked for a fresh token for a while. */
const alone = new Map();

function lockOf(event) {
    return `screen-${event}`;
}

async function lookForOthers(event) {
    const all = await navigator.locks.query();

    alone.set(event, all.held.filter((l) => l.name === lockOf(event)).length === 1);
}

function watchHere(event) {
    if (!navigator.locks || alone.has(event))
        return;
    alone.set(event, false);
    navigator.locks.request(lockOf(event), {mode: 'shared'}, () => new Promise(() => {})); /* as long as this page is there */
}

function pathOf(event) {
    const link = localStorage.getItem(memoryOfLink(event));

    return link ? `/links/${link}/token` : `/reservations/${claims(localStorage.getItem(memory(event))).sub}/token`;
}

/* The place is free at once for another screen. */
addEventListener('pagehide', () => new Set([...shown.values()].map((place) => place.event)).forEach((event) => {
    const token = localStorage.getItem(memory(event));

    if (alone.get(event) && token)
        fetch(`/api/v1${pathOf(event)}`, {method: 'DELETE', keepalive: true, headers: {Authorization: `Bearer ${token}`}}).catch(() => {});
}));

/* Who comes back to a page that the browser has kept asks for a place again. */
addEventListener('pageshow', (shownAgain) => shownAgain.persisted && shown.forEach((place) => {
    place.due = 0;
}));

/* A player that is refused shows by that that our place may be gone. */
if (window.PerformanceObserver?.supportedEntryTypes.includes('resource'))
    new PerformanceObserver((list) => list.getEntries().filter((e) => e.responseStatus === 403).forEach((e) => {
        const video = new URL(e.name).pathname.split('/')[2];
        const place = shown.get(video);

        if (place)
            place.due = Math.min(place.due, place.since + AGAIN_MS);
    })).observe({type: 'resource'});

/* Whether this browser may watch: null, or what to tell its viewer: {needed, heading, text, again}; `again` (where there is one) asks for
 * a place on this screen in the other's stead. Asks once, and then sees to it. */
export async function refusal(event, video) {
    const before = lost.get(event);

    if (!shown.has(video) && (!before || before.type === 'screens-full' && before.due <= Date.now()))
        await showAtTheDoor(event, video);
    if (shown.has(video))
        return null;
    const why = lost.get(event);

    if (why)
        return {heading: why.type === 'taken-over' ? 'You watch on another screen' : 'This ticket is in use',
            text: why.type === 'taken-over' ? 'This ticket is being watched on another screen now. If that is not you, come back here.' : `${why.detail} This page tries again by itself.`,
            again: why.type === 'taken-over' ? () => showAtTheDoor(event, video, null) : null};
    return over.has(event) || has(event)
        ? {needed: true, heading: 'This ticket has ended', text: 'The booking was cancelled, or it was for another show.'}
        : {needed: true, heading: 'This show needs a ticket', text: 'Open the link that came with your booking, in this browser.'};
}
