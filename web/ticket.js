/* ticket.js - the ticket that this browser has for an event: taken from the link, kept fresh, and shown at the door of its videos.
 *
 * Media URLs never carry it. Asking for a file once with ?token= sets cookies for the paths of that video, and players need to know
 * nothing. The link has it behind the #, which is sent to nobody. */
import {call} from '/assets/api.js';

const SHOW_AGAIN_MS = 240000; /* a token is good for ten minutes, a cookie for as long */

function memory(event) {
    return `ticket-${event}`;
}

function claims(token) {
    try {
        return JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));
    } catch {
        return null;
    }
}

/* What the link of a booking brings: kept for this event, and taken out of the address. */
export function takeFromLink(event) {
    const token = new URLSearchParams(location.hash.slice(1)).get('ticket');

    if (!token)
        return;
    if (claims(token))
        localStorage.setItem(memory(event), token);
    history.replaceState(null, '', location.pathname + location.search);
}

const shown = new Map(); /* video: the event whose ticket opened it */
const over = new Set(); /* events whose ticket has ended */

/* A fresh token for the same screen; null where the reservation is no ticket any more. */
async function renew(event, token) {
    try {
        const fresh = await call('POST', `/reservations/${claims(token).sub}/token`, {token});

        localStorage.setItem(memory(event), fresh.token);
        return fresh.token;
    } catch (problem) {
        if (problem.status !== 404 && problem.status !== 409)
            return token; /* the server is away: what we have may still be good */
        localStorage.removeItem(memory(event));
        over.add(event);
        return null;
    }
}

async function showAtTheDoor(event, video) {
    const kept = localStorage.getItem(memory(event));
    const token = kept && await renew(event, kept);
    const answer = token && await fetch(`/v/${video}/master.m3u8?token=${encodeURIComponent(token)}`, {method: 'HEAD'}).catch(() => ({status: 0}));

    if (answer && answer.status !== 403)
        shown.set(video, event);
    else
        shown.delete(video);
}

/* Also while the page is hidden and only heard. */
setInterval(() => shown.forEach((event, video) => showAtTheDoor(event, video)), SHOW_AGAIN_MS);

/* Whether this browser may watch: 'open', 'needed' (it has no ticket) or 'ended' (it had one). Asks once, and then sees to it. */
export async function admitted(event, video) {
    if (!shown.has(video))
        await showAtTheDoor(event, video);
    return shown.has(video) ? 'open' : over.has(event) || localStorage.getItem(memory(event)) ? 'ended' : 'needed';
}
