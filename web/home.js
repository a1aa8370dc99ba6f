/* home.js - what is on: live first, then what is to come, then what was. */
import {getThumbnails, getVideo, listEvents} from '/assets/api.js';
import {$, every, h, icon} from '/assets/dom.js';
import {ago, clock, date, length, WORDS} from '/assets/format.js';

const REFRESH_MS = 8000;
const place = $('#shows');
let shown = '';

/* --- pictures, fetched when they come into view --- */

const pictures = new Map(); /* video id: what is known of it */

async function knowVideo(id, live) {
    const known = pictures.get(id);

    if (known && (!live || Date.now() - known.at < 20000))
        return known;
    const [cues, video] = await Promise.all([getThumbnails(id), getVideo(id).catch(() => null)]);
    /* Of a show that runs, what was on a moment ago; of a past one, something from the middle. */
    const cue = live ? cues.at(-1) : cues[Math.floor(cues.length / 2)];
    const found = {at: Date.now(), url: cue?.url, seconds: video?.duration, since: video?.createdAt};

    pictures.set(id, found);
    return found;
}

async function fillPicture(element) {
    const {video, live} = element.dataset;
    const known = await knowVideo(video, live === 'true');

    if (known.url && !element.querySelector('img')) {
        const image = h('img', {alt: '', src: known.url, onload: () => image.classList.add('shown'), onerror: () => image.remove()});

        element.prepend(image);
    }
    if (known.seconds && live !== 'true')
        element.append(h('span', {class: 'length'}, length(known.seconds)));
    const since = element.closest('.show')?.querySelector('[data-since]');

    if (since && known.since)
        since.textContent = live === 'true' ? `Started ${ago(known.since)}` : `Played ${ago(known.since)}`;
}

const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
        if (!entry.isIntersecting)
            continue;
        seen.unobserve(entry.target);
        fillPicture(entry.target);
    }
}, {rootMargin: '200px'});

function picture(event, live) {
    const element = h('div', {class: 'picture curtain', dataset: {video: event.video ?? '', live: String(live)}},
        live ? h('span', {class: 'badge badge-live corner'}, 'Live') : null,
        h('span', {class: 'picture-play'}, icon('play')));

    if (event.video)
        seen.observe(element);
    return element;
}

/* --- shows --- */

function watchUrl(event) {
    return `/watch/${encodeURIComponent(event.id)}`;
}

function feature(event) {
    return h('a', {class: 'feature show', href: watchUrl(event)},
        picture(event, true),
        h('div', {class: 'feature-words'},
            h('p', {class: 'over'}, 'Now on stage'),
            h('h1', {}, event.title),
            h('p', {class: 'since', 'data-since': ''}, 'Live right now'),
            h('span', {class: 'button button-main'}, icon('play'), 'Watch live')));
}

function card(event, live) {
    return h('a', {class: 'tile show', href: watchUrl(event)},
        picture(event, live),
        h('h3', {}, event.title),
        h('p', {class: 'since', 'data-since': ''}, live ? 'Live right now' : 'Recording'));
}

function ticket(event) {
    const start = event.startsAt ? new Date(event.startsAt) : null;
    const late = start && start < Date.now();

    return h('a', {class: 'ticket', href: watchUrl(event)},
        h('div', {class: 'counterfoil'},
            start ? [h('span', {}, start.toLocaleDateString(WORDS, {month: 'short'})), h('b', {}, String(start.getDate()))]
                : [h('span', {}, 'Date'), h('b', {}, '?')]),
        h('div', {class: 'ticket-words'},
            h('h3', {}, event.title),
            h('p', {}, start ? `${date(start)}, ${clock(start)}` : 'The date is not set yet'),
            start ? h('p', {class: 'soon'}, late ? 'Any moment now' : ago(start)) : null));
}

function section(title, name, items) {
    return items.length ? h('section', {class: 'row'}, h('h2', {}, title), h('div', {class: name}, items)) : null;
}

function empty() {
    return h('div', {class: 'message'},
        h('img', {src: '/assets/ghostlight.svg', alt: '', width: 148, height: 192}),
        h('h1', {}, 'The stage is empty'),
        h('p', {}, 'Only the ghost light is on. Shows appear here as soon as they are announced.'),
        h('div', {class: 'actions'}, h('a', {class: 'button button-main', href: '/studio'}, icon('plus'), 'Announce a show')));
}

function trouble(problem) {
    return h('div', {class: 'message', role: 'alert'},
        h('img', {src: '/assets/ghostlight.svg', alt: '', width: 148, height: 192}),
        h('h1', {}, 'The house does not answer'),
        h('p', {}, problem.message),
        h('p', {}, 'This page tries again by itself.'),
        h('div', {class: 'actions'}, h('button', {class: 'button', onclick: () => location.reload()}, icon('replay'), 'Try now')));
}

function byStart(a, b) {
    return (a.startsAt ? Date.parse(a.startsAt) : Infinity) - (b.startsAt ? Date.parse(b.startsAt) : Infinity);
}

function render(events) {
    const live = events.filter((e) => e.state === 'live');
    const soon = events.filter((e) => e.state === 'scheduled').sort(byStart);
    const past = events.filter((e) => e.state === 'ended');
    const [first, ...others] = live;

    document.title = live.length ? `● ${first.title} · matinee` : 'matinee';
    if (!events.length) {
        place.replaceChildren(empty());
        return;
    }
    place.replaceChildren(...[
        first ? feature(first) : h('div', {class: 'welcome'},
            h('h1', {}, 'Straight from the stage'),
            h('p', {}, soon.length ? 'The next show is on its way. Take a seat.' : 'Nothing is on right now. These shows you can watch again.')),
        section('Also on stage', 'tiles', others.map((e) => card(e, true))),
        section('Coming up', 'tickets', soon.map(ticket)),
        section('Watch again', 'tiles', past.map((e) => card(e, false))),
    ].filter(Boolean));
}

every(REFRESH_MS, async () => {
    try {
        const events = await listEvents();
        /* Only what a visitor sees may redraw the page under the pointer. */
        const now = JSON.stringify(events.map(({id, title, state, startsAt, video}) => [id, title, state, startsAt, video]));

        if (now !== shown)
            render(events);
        shown = now;
    } catch (problem) {
        if (!shown || shown === 'trouble') {
            place.replaceChildren(trouble(problem));
            shown = 'trouble';
        }
    }
    place.setAttribute('aria-busy', 'false');
});
