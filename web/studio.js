/* studio.js - the producer's side: announce a show, connect the encoder, watch over the stream. */
import {advise, known} from '/assets/advice.js';
import {call, getEvent, getVideo, listEvents} from '/assets/api.js';
import {$, copyText, every, h, icon, toast} from '/assets/dom.js';
import {ago, bitrate, clock, date, length} from '/assets/format.js';
import {Moderation} from '/assets/moderation.js';
import {Office} from '/assets/office.js';
import {Player} from '/assets/player.js';

const REFRESH_MS = 2000;
const HISTORY = 60; /* measurements of the bitrate's line */

const place = $('#studio');
let token = sessionStorage.getItem('admin-token');
let events = [];
let chosen = new URLSearchParams(location.search).get('event');
let stopRefresh = null;
let player = null;
let previewed = null;
const history = new Map(); /* event id: bitrates */
const videos = new Map(); /* video id: what the server last said of it */
const office = new Office(place, {admin, dialog, tabs: drawTabs});
const moderation = new Moderation({admin, dialog});
let inOffice = new URLSearchParams(location.search).has('office');

office.chosen = new URLSearchParams(location.search).get('office');

/* --- the door --- */

function drawDoor(why) {
    stopRefresh?.();
    stopRefresh = null;
    closePreview();
    moderation.follow(null);
    token = null;
    sessionStorage.removeItem('admin-token');
    const field = h('input', {id: 'token', type: 'password', autocomplete: 'current-password', required: true, spellcheck: 'false', autocapitalize: 'off', 'aria-describedby': 'token-hint token-wrong'});
    const wrong = h('p', {class: 'wrong', id: 'token-wrong', role: 'alert', hidden: !why}, icon('alert'), why ?? '');
    const button = h('button', {class: 'button button-main'}, 'Open the studio');

    place.replaceChildren(h('form', {class: 'door card', onsubmit: async (e) => {
        e.preventDefault();
        button.disabled = true;
        wrong.hidden = true;
        try {
            await enter(field.value.trim());
        } catch (problem) {
            wrong.replaceChildren(icon('alert'), problem.status === 401 || problem.status === 403 ? 'This is not the admin token. Copy the whole line of the file.' : problem.message);
            wrong.hidden = false;
            button.disabled = false;
            field.select();
        }
    }},
    h('img', {src: '/assets/favicon.svg', alt: '', width: 56, height: 56}),
    h('h1', {}, 'Stage door'),
    h('p', {}, 'The studio is for those who run the show.'),
    h('div', {class: 'field'}, h('label', {for: 'token'}, 'Admin token'), field,
        h('p', {class: 'hint', id: 'token-hint'}, 'It is in the file ', h('code', {}, 'admin.token'), ' of the server’s data folder; the server prints where when it starts. This tab remembers it until it is closed.'),
        wrong),
    button));
    field.focus();
}

/* Throws where the token is not the admin's. An event without a title is never made: 422 means we may come in. */
async function enter(candidate) {
    try {
        await call('POST', '/events', {token: candidate, body: {}});
    } catch (problem) {
        if (problem.status !== 422)
            throw problem;
    }
    token = candidate;
    sessionStorage.setItem('admin-token', token);
    open();
}

/* A call of the producer's; a token that was taken back leads to the door. */
async function admin(method, path, body) {
    try {
        return await call(method, path, {token, body});
    } catch (problem) {
        if (problem.status === 401)
            drawDoor('The token is not valid any more.');
        throw problem;
    }
}

function inform(problem) {
    toast(problem.message, true);
}

/* --- dialogs --- */

function dialog(...content) {
    const element = h('dialog', {class: 'dialog', onclose: () => element.remove(), onclick: (e) => e.target === element && element.close()},
        h('div', {class: 'dialog-inside'}, content));

    document.body.append(element);
    element.showModal();
    return element;
}

/* Asks before something that cannot be undone; `work` is done while the dialog stands. */
function confirm(heading, text, label, work) {
    const button = h('button', {class: 'button button-danger', type: 'button', onclick: async () => {
        button.disabled = true;
        try {
            await work();
            box.close();
        } catch (problem) {
            button.disabled = false;
            inform(problem);
        }
    }}, label);
    const box = dialog(h('h2', {}, heading), h('p', {}, text),
        h('div', {class: 'dialog-actions'}, h('button', {class: 'button button-plain', type: 'button', autofocus: true, onclick: () => box.close()}, 'Cancel'), button));
}

/* "2026-11-23T19:30" of this place's clock, as the field wants it. */
function localTime(when) {
    const time = new Date(when);

    return new Date(time - time.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

/* One form for a new show and for changing one. */
function showForm(event) {
    const title = h('input', {id: 'title', required: true, maxlength: 200, autocomplete: 'off', placeholder: 'An evening with …', value: event?.title ?? ''});
    const start = h('input', {id: 'start', type: 'datetime-local', value: event?.startsAt ? localTime(event.startsAt) : ''});
    const wrong = h('p', {class: 'wrong', role: 'alert', hidden: true});
    const button = h('button', {class: 'button button-main'}, event ? 'Save' : 'Announce the show');
    const form = h('form', {onsubmit: async (e) => {
        e.preventDefault();
        button.disabled = true;
        const startsAt = start.value ? new Date(start.value).toISOString() : null;

        try {
            if (event) {
                await admin('PATCH', `/events/${event.id}`, {title: title.value.trim(), startsAt});
            } else {
                const made = await admin('POST', '/events', {title: title.value.trim(), ...(startsAt && {startsAt})});

                keepKey(made);
                chosen = made.id;
            }
            box.close();
            await refresh();
            if (!event)
                toast('The show is announced');
        } catch (problem) {
            wrong.replaceChildren(icon('alert'), problem.message);
            wrong.hidden = false;
            button.disabled = false;
        }
    }},
    h('div', {class: 'field'}, h('label', {for: 'title'}, 'Title'), title),
    h('div', {class: 'field'}, h('label', {for: 'start'}, 'Starts at ', h('span', {class: 'optional'}, 'optional')), start,
        h('p', {class: 'hint'}, 'Visitors see a countdown. You can go live at any time.')),
    wrong,
    h('div', {class: 'dialog-actions'}, h('button', {class: 'button button-plain', type: 'button', onclick: () => box.close()}, 'Cancel'), button));
    const box = dialog(h('h2', {}, event ? 'Change the show' : 'A new show'), form);

    title.focus();
}

/* --- keys: the server shows one when it is made, this tab keeps it until it is closed --- */

function keepKey(event) {
    if (event.streamKey)
        sessionStorage.setItem(`key-${event.id}`, event.streamKey);
}

function keptKey(id) {
    return sessionStorage.getItem(`key-${id}`);
}

function rotate(event) {
    confirm('Make a new stream key?', 'The old one stops working at once: whoever publishes with it is cut off.', 'Make a new key', async () => {
        keepKey(await admin('POST', `/events/${event.id}/stream-key`));
        drawn = '';
        draw();
        toast('A new key is ready');
    });
}

/* --- the list --- */

const ORDER = {live: 0, scheduled: 1, ended: 2};
const STATES = {live: ['badge badge-live', 'Live'], scheduled: ['badge badge-soon', 'Coming up'], ended: ['badge', 'Ended']};

function badge(event) {
    const [style, word] = STATES[event.state];

    return h('span', {class: style}, word);
}

/* The stage and the box office are two desks of one studio. */
function drawTabs() {
    const tab = (words, here) => h('button', {type: 'button', role: 'tab', 'aria-selected': String(inOffice === here), onclick: () => {
        inOffice = here;
        office.drawn = drawn = '';
        open();
    }}, words);

    return h('div', {class: 'segments', role: 'tablist', 'aria-label': 'Desks'}, tab('Shows', false), tab('Box office', true));
}

function drawList() {
    return h('nav', {class: 'shows', 'aria-label': 'Your shows'}, drawTabs(),
        h('button', {class: 'button button-main', type: 'button', onclick: () => showForm()}, icon('plus'), 'New show'),
        h('ul', {}, events.map((event) => h('li', {}, h('button', {class: 'show-item', type: 'button', 'aria-current': event.id === chosen ? 'true' : null, onclick: () => {
            chosen = event.id;
            draw();
            if (matchMedia('(max-width: 900px)').matches)
                $('.desk')?.scrollIntoView({behavior: 'smooth'});
        }}, h('span', {class: 'show-title'}, event.title), badge(event))))));
}

/* --- one show --- */

function secret(label, value, id, note) {
    const field = h('input', {id, readonly: true, type: note === 'secret' ? 'password' : 'text', class: 'mono', autocomplete: 'off', spellcheck: 'false', value});
    const eye = note !== 'secret' ? null : h('button', {class: 'button button-icon', type: 'button', 'aria-label': `Show the ${label.toLowerCase()}`, 'aria-pressed': 'false', onclick: () => {
        const hidden = field.type === 'password';

        field.type = hidden ? 'text' : 'password';
        eye.setAttribute('aria-pressed', String(hidden));
        eye.replaceChildren(icon(hidden ? 'eye-off' : 'eye'));
    }}, icon('eye'));

    return h('div', {class: 'field'}, h('label', {for: id}, label),
        h('div', {class: 'copy-field'}, field, eye,
            h('button', {class: 'button button-icon', type: 'button', 'aria-label': `Copy the ${label.toLowerCase()}`, title: 'Copy', onclick: () => copyText(value, label)}, icon('copy'))));
}

function connect(event) {
    const key = keptKey(event.id);

    return h('section', {class: 'card panel'}, h('h2', {}, 'Connect your encoder'),
        h('p', {class: 'hint'}, 'In OBS: Settings → Stream → Service “Custom…”.'),
        secret('Server', event.publishUrl, 'server'),
        key ? secret('Stream key', key, 'key', 'secret')
            : h('div', {class: 'field'}, h('span', {class: 'label'}, 'Stream key'), h('p', {class: 'no-key'}, 'A key is shown only when it is made, and this tab did not make it.')),
        h('div', {class: 'panel-actions'}, h('button', {class: 'button button-small', type: 'button', onclick: () => rotate(event)}, icon('key'), key ? 'New key' : 'Make a new key')),
        h('details', {}, h('summary', {}, 'Settings we recommend'),
            h('dl', {class: 'facts'}, [['Encoder', 'x264, NVENC, QuickSync or VideoToolbox; H.264'], ['Rate control', 'CBR, 4000 to 6000 kbit/s for 1080p'], ['Keyframe interval', '2 s'], ['Audio', 'AAC, 128 to 192 kbit/s, 48 kHz']]
                .map(([what, value]) => h('div', {}, h('dt', {}, what), h('dd', {}, value))))));
}

function danger(event) {
    return h('section', {class: 'card panel'}, h('h2', {}, 'Close the house'),
        h('div', {class: 'panel-actions'},
            event.state === 'live' ? h('button', {class: 'button button-danger', type: 'button', onclick: () => confirm('End the show?', 'The stream is cut off and the recording is closed. Publishing again begins a new recording.', 'End the show', async () => {
                await admin('POST', `/events/${event.id}/end`);
                await refresh();
                toast('The curtain has fallen');
            })}, icon('stop'), 'End the show') : null,
            h('button', {class: 'button button-danger', type: 'button', onclick: () => confirm('Delete the show?', `“${event.title}” and all its recordings are removed for good.`, 'Delete for good', async () => {
                await admin('DELETE', `/events/${event.id}`);
                sessionStorage.removeItem(`key-${event.id}`);
                chosen = null;
                await refresh();
                toast('The show is deleted');
            })}, icon('trash'), 'Delete')));
}

function tile(name, value, unit, extra) {
    return h('div', {class: 'tile-number'}, h('span', {class: 'name'}, name), h('p', {}, h('b', {}, value), unit ? h('span', {}, unit) : null), extra);
}

const SVG = 'http://www.w3.org/2000/svg';

function sparkline(values) {
    const svg = document.createElementNS(SVG, 'svg');
    const line = document.createElementNS(SVG, 'polyline');
    const most = Math.max(...values, 1) * 1.15;

    svg.setAttribute('viewBox', `0 0 ${HISTORY - 1} 30`);
    svg.setAttribute('preserveAspectRatio', 'none');
    svg.setAttribute('class', 'sparkline');
    svg.setAttribute('aria-hidden', 'true');
    if (values.length > 2)
        line.setAttribute('points', values.map((v, i) => `${(i / (values.length - 1) * (HISTORY - 1)).toFixed(1)},${(30 - v / most * 30).toFixed(1)}`).join(' '));
    svg.append(line);
    return svg;
}

const CODECS = {h264: 'H.264', hevc: 'HEVC', av1: 'AV1', aac: 'AAC', opus: 'Opus'};

function codecName(codec) {
    return known(codec) ? CODECS[codec] ?? codec : 'none';
}

const ICONS = {good: 'check', warn: 'alert', bad: 'alert', wait: 'info'};

/* What to tell of a stream: [{level, title, text}]. */
function adviceOf(event) {
    if (event.health?.publishing)
        return advise(event.health);
    if (event.state === 'live')
        return [{level: 'bad', title: 'The encoder is gone', text: 'Viewers keep their seats for a while. Start the stream again with the same key and the show goes on in the same recording.'}];
    return [{level: 'wait', title: 'Waiting for your encoder', text: 'Enter server and key in OBS and press “Start Streaming”. The picture appears here within seconds.'}];
}

function drawNumbers({health, id}) {
    const rate = bitrate(health.bitrate);

    return h('div', {class: 'numbers'},
        tile('Bitrate', rate.number, rate.unit, sparkline(history.get(id) ?? [])),
        tile('Picture', health.height ? `${health.width}×${health.height}` : 'none', health.height ? codecName(health.videoCodec) : ''),
        tile('Frames', health.fps ? String(Math.round(health.fps)) : '–', 'a second'),
        tile('Keyframes', health.keyframeInterval ? `${health.keyframeInterval.toFixed(1)}` : '–', 's apart'),
        tile('Sound', codecName(health.audioCodec)),
        tile('On air', length((Date.now() - Date.parse(health.since)) / 1000), health.gaps ? `${health.gaps} mended` : ''));
}

/* The numbers change at each turn; the words only when they say something else, for those who are read to. */
function drawHealth(event) {
    const advice = adviceOf(event);
    const place = $('.advice-place');
    const key = JSON.stringify(advice);

    $('.numbers-place').replaceChildren(event.health?.publishing ? drawNumbers(event) : '');
    if (place.dataset.key === key)
        return;
    place.dataset.key = key;
    place.replaceChildren(...advice.map(({level, title, text}) => h('div', {class: `advice advice-${level}`}, icon(ICONS[level]),
        h('div', {}, title ? h('b', {}, title) : null, h('p', {}, text)))));
}

/* --- the ladder --- */

const RUNGS = {making: ['badge badge-soon', 'Being made'], live: ['badge badge-live', 'With the show'], ready: ['badge', 'Whole']};

/* What a rendition's lag comes to, in words. */
function behind(rendition) {
    if (rendition.gaps)
        return `${rendition.gaps} left out: ${rendition.reason}`;
    if (rendition.state === 'ready')
        return '';
    return rendition.lag < 1 ? 'up to the edge' : `${length(rendition.lag)} behind`;
}

/* One row a quality; the publisher's own first. */
function drawLadder(video) {
    const place = $('.ladder-place');
    const renditions = (video?.renditions ?? []).filter((r) => r.height);

    place.hidden = renditions.length < 2;
    $('tbody', place).replaceChildren(...renditions.map((r) => {
        const [style, word] = RUNGS[r.state];
        const {number, unit} = bitrate(r.bandwidth);

        return h('tr', {},
            h('th', {scope: 'row'}, r.name === 'source' ? `${Math.min(r.width, r.height)}p, as you send it` : r.name),
            h('td', {class: 'size'}, `${r.width}×${r.height}`),
            h('td', {class: 'rate'}, r.bandwidth ? `${number} ${unit}` : ''),
            h('td', {class: 'state'}, h('span', {class: style}, word), h('span', {class: 'behind'}, r.name === 'source' ? '' : behind(r))));
    }));
}

/* --- the preview --- */

function closePreview() {
    player?.destroy();
    player = null;
    previewed = null;
}

function preview(event, stage) {
    const live = event.state === 'live';

    if (!event.video || event.state === 'scheduled') {
        closePreview();
        stage.className = 'stage curtain';
        stage.replaceChildren(h('p', {class: 'stage-words'}, live ? 'The curtain is rising' : 'Nothing on stage yet'));
        return;
    }
    const key = `${event.video} ${live}`;

    if (previewed === key && stage.contains(player?.video))
        return;
    closePreview();
    previewed = key;
    stage.className = 'stage';
    player = new Player(stage, {compact: true, calls: {again: () => {
        previewed = null;
        draw();
    }}});
    if (live) {
        player.load(event.video, {live, stillThere: () => previewed === key});
    } else {
        stage.replaceChildren(h('a', {class: 'stage-words button', href: `/watch/${event.id}`}, icon('play'), 'Watch the recording'));
        stage.className = 'stage curtain';
    }
}

/* --- drawing --- */

let drawn = '';

function drawEmpty() {
    closePreview();
    place.replaceChildren(h('div', {class: 'message'},
        h('img', {src: '/assets/ghostlight.svg', alt: '', width: 148, height: 192}),
        h('h1', {}, 'Your first show'), h('p', {}, 'Give it a title, and you get an address for your encoder and a page for your audience.'),
        h('div', {class: 'actions'}, h('button', {class: 'button button-main', type: 'button', onclick: () => showForm()}, icon('plus'), 'Announce a show')), drawTabs()));
}

/* What stays while the show does; numbers and picture are brought up to date apart from it. */
function drawDesk(event) {
    const url = `${location.origin}/watch/${event.id}`;
    const when = event.startsAt ? `${date(event.startsAt)}, ${clock(event.startsAt)}` : event.createdAt ? `Announced ${ago(event.createdAt)}` : '';

    place.replaceChildren(h('div', {class: 'studio'}, drawList(), h('div', {class: 'desk'},
        h('header', {class: 'desk-head'},
            h('div', {class: 'desk-title'}, h('p', {class: 'meta'}, badge(event), when), h('h1', {}, event.title)),
            h('div', {class: 'panel-actions'},
                h('button', {class: 'button button-small', type: 'button', onclick: () => showForm(event)}, icon('pencil'), 'Change'),
                h('button', {class: 'button button-small', type: 'button', onclick: () => copyText(url, 'Link')}, icon('link'), 'Copy link'),
                h('a', {class: 'button button-small', href: `/watch/${event.id}`, target: '_blank'}, icon('arrow'), 'Open page'))),
        h('div', {class: 'desk-columns'},
            h('div', {class: 'column'}, h('div', {class: 'stage'}), h('section', {class: 'card panel health'}, h('h2', {}, 'Stream'), h('div', {class: 'numbers-place'}), h('div', {class: 'advice-place', role: 'status'})),
                h('section', {class: 'card panel ladder-place', hidden: true}, h('h2', {}, 'Qualities'), h('table', {class: 'ladder'}, h('tbody')))),
            h('div', {class: 'column'}, connect(event), moderation.element, danger(event))))));
}

function draw() {
    if (!events.length) {
        drawn = '';
        drawEmpty();
        return;
    }
    const event = events.find((e) => e.id === chosen) ?? events[0];

    chosen = event.id;
    window.history.replaceState(null, '', `/studio?event=${event.id}`);
    /* Whatever is typed, opened or focused in the desk must outlive a refresh of the numbers. */
    const now = JSON.stringify([chosen, events.map(({id, title, state, startsAt, publishUrl}) => [id, title, state, startsAt, publishUrl]), event.videos]);

    if (now !== drawn || !$('.desk'))
        drawDesk(event);
    drawn = now;
    preview(event, $('.stage', place));
    drawHealth(event);
    drawLadder(event.video ? videos.get(event.video) : null);
    moderation.follow(event);
}

function remember(event) {
    const values = history.get(event.id) ?? [];

    if (event.health?.publishing)
        values.push(event.health.bitrate);
    history.set(event.id, values.slice(-HISTORY));
}

async function lookAtVideo(event) {
    if (event?.video)
        videos.set(event.video, await getVideo(event.video));
}

let turns = 0;

async function refresh() {
    /* The one on the desk each time; the list, which changes seldom, every fourth. */
    try {
        if (inOffice) {
            closePreview();
            moderation.follow(null);
            await office.refresh();
            $('.offline')?.remove();
            return;
        }
        if (turns++ % 4 === 0 || !chosen || !events.some((e) => e.id === chosen)) {
            events = await listEvents();
        } else {
            const fresh = await getEvent(chosen);

            events = events.map((e) => (e.id === fresh.id ? fresh : e));
        }
        events.sort((a, b) => ORDER[a.state] - ORDER[b.state] || (a.id < b.id ? 1 : -1));
        events.forEach(remember);
        await lookAtVideo(events.find((e) => e.id === chosen) ?? events[0]);
        $('.offline')?.remove();
    } catch (problem) {
        if (problem.status === 404) {
            chosen = null; /* deleted elsewhere */
            events = [];
            turns = 0;
            return;
        }
        if (!$('.offline'))
            place.prepend(h('p', {class: 'offline', role: 'alert'}, icon('alert'), `${problem.message} Trying again …`));
        return;
    }
    if (token)
        draw();
}

function open() {
    turns = 0;
    drawn = '';
    place.replaceChildren(h('div', {class: 'studio', 'aria-busy': 'true'}, h('div', {class: 'shows'}, h('div', {class: 'skeleton block-small'}), h('div', {class: 'skeleton block-small'})), h('div', {class: 'skeleton block'})));
    stopRefresh?.();
    stopRefresh = every(REFRESH_MS, refresh);
}

/* A remembered token is believed; a call that is refused leads back to the door. */
if (token)
    open();
else
    drawDoor();
