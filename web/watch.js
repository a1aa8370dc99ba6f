/* watch.js - one event's page: before, during and after the show. */
import {getEvent, getVideo} from '/assets/api.js';
import {$, copyText, every, h, icon} from '/assets/dom.js';
import {Comments} from '/assets/comments.js';
import {ago, clock, date, length} from '/assets/format.js';
import {Player} from '/assets/player.js';
import {refusal, takeFromLink} from '/assets/ticket.js';

const REFRESH_MS = 2500;
const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const query = new URLSearchParams(location.search);
const asked = query.get('protocol');
const protocol = ['webrtc', 'low', 'dash', 'hls'].includes(asked) ? asked : undefined;

let player = null;
let event = null;
let chosen = query.get('video'); /* one of the recordings, where it is not the newest */
let playing = null;              /* the video the player has */
let videos = new Map();          /* what is known of each */
let over = false;                /* it was played to its end */

/* --- the page, drawn once --- */

const house = $('#house');
const stage = h('div', {class: 'stage'});
const front = h('div', {class: 'front curtain', hidden: true}); /* the curtain before the stage */
const title = h('h1', {});
const meta = h('p', {class: 'meta'});
const actions = h('div', {class: 'watch-actions'});
const aside = h('aside', {'aria-label': 'Comments', hidden: true});
const recordings = h('section', {class: 'recordings', hidden: true, 'aria-label': 'Recordings'});
const elsewhere = h('div', {class: 'addresses'});
const help = h('details', {class: 'more'}, h('summary', {}, 'Keyboard and other players'),
    h('div', {class: 'more-inside'},
        h('dl', {class: 'keys'}, [['Space or K', 'Play or pause'], ['J and L', '10 seconds back or forward'], ['← and →', '5 seconds back or forward'],
            ['↑ and ↓', 'Volume'], ['M', 'Mute'], ['F', 'Full screen'], ['Q', 'Quality'], ['0 to 9', 'Jump to a tenth of the show'], ['End', 'Go live']]
            .map(([key, what]) => h('div', {}, h('dt', {}, key), h('dd', {}, what)))),
        elsewhere));

function drawHouse() {
    house.replaceChildren(
        h('div', {class: 'auditorium'}, h('div', {class: 'proscenium'}, stage, front), aside),
        h('div', {class: 'programme'},
            h('div', {class: 'programme-words'}, meta, title),
            actions),
        recordings, help);
    house.setAttribute('aria-busy', 'false');
}

/* Instead of everything: no such event, no ticket, no server. */
function drawMessage(heading, text, ...buttons) {
    playing = null;
    comments?.follow(null);
    player?.destroy();
    player = null;
    document.title = `${heading} · matinee`;
    house.replaceChildren(h('div', {class: 'message'},
        h('img', {src: '/assets/ghostlight.svg', alt: '', width: 148, height: 192}),
        h('h1', {}, heading), h('p', {}, text), h('div', {class: 'actions'}, buttons)));
    house.setAttribute('aria-busy', 'false');
}

/* --- what stands before the stage --- */

let countdown = 0;

function drawCountdown(place, start) {
    const left = Math.max(0, start - Date.now()) / 1000;
    const cells = [[Math.floor(left / 86400), 'days'], [Math.floor(left / 3600) % 24, 'hours'], [Math.floor(left / 60) % 60, 'minutes'],
        [Math.floor(left) % 60, 'seconds']];

    place.replaceChildren(...cells.slice(left < 86400 ? 1 : 0).map(([n, word]) =>
        h('div', {class: 'cell'}, h('b', {}, String(n).padStart(2, '0')), h('span', {}, word))));
}

function before() {
    const start = event.startsAt ? new Date(event.startsAt) : null;
    const future = start && start > Date.now();
    const cells = h('div', {class: 'countdown', role: 'timer', 'aria-live': 'off'});

    if (event.state === 'live')
        return [h('p', {class: 'over'}, 'On stage now'), h('h2', {}, 'The curtain is rising'), h('p', {}, 'The first picture arrives in a moment.'), dots()];
    if (future) {
        drawCountdown(cells, start);
        countdown = setInterval(() => (start > Date.now() ? drawCountdown(cells, start) : show()), 1000);
        return [h('p', {class: 'over'}, 'Doors open soon'), h('h2', {}, event.title), cells, h('p', {}, `${date(start)}, ${clock(start)}`)];
    }
    return [h('p', {class: 'over'}, start ? 'Any moment now' : 'Not on stage yet'), h('h2', {}, event.title),
        h('p', {}, start ? `It was to start at ${clock(start)}. The page begins by itself as soon as the stage is lit.`
            : 'The page begins by itself as soon as the stage is lit. No need to reload.'), dots()];
}

function dots() {
    return h('div', {class: 'bulbs', 'aria-hidden': 'true'}, [...'12345'].map(() => h('i')));
}

function after() {
    const again = h('button', {class: 'button button-main', type: 'button', onclick: () => {
        over = false;
        front.hidden = true;
        player.seekTo(player.range().start);
        player.play();
    }}, icon('replay'), 'Watch again');

    return playing ? [h('p', {class: 'over'}, 'The curtain has fallen'), h('h2', {}, event.title), again]
        : [h('p', {class: 'over'}, 'The curtain has fallen'), h('h2', {}, event.title), h('p', {}, 'There is no recording of this show.'),
            h('a', {class: 'button', href: '/'}, 'See what else is on')];
}

/* Draws the curtain with what `words()` says, once for each `key`. */
function drop(key, words) {
    if (front.dataset.key !== key) {
        clearInterval(countdown);
        front.dataset.key = key;
        front.replaceChildren(h('div', {class: 'front-words'}, words()));
    }
    front.hidden = false;
}

function lift() {
    clearInterval(countdown);
    delete front.dataset.key;
    front.hidden = true;
}

/* --- beside the stage --- */

function describe() {
    const live = event.state === 'live';
    const video = videos.get(playing);
    const start = event.startsAt ? new Date(event.startsAt) : null;
    const words = live && video?.createdAt ? `Started ${ago(video.createdAt)}`
        : event.state === 'scheduled' && start ? `${date(start)}, ${clock(start)}`
            : video?.createdAt ? `Played ${date(video.createdAt)} · ${length(video.duration)}` : '';
    const badge = live ? h('span', {class: 'badge badge-live'}, 'Live')
        : h('span', {class: event.state === 'scheduled' ? 'badge badge-soon' : 'badge'}, event.state === 'scheduled' ? 'Coming up' : 'Recording');

    title.textContent = event.title;
    document.title = `${live ? '● ' : ''}${event.title} · matinee`;
    meta.replaceChildren(badge, words);
}

function drawActions() {
    const live = videos.get(playing)?.state === 'live';
    const key = `${playing} ${live}`;

    if (actions.dataset.key === key)
        return;
    actions.dataset.key = key;
    actions.replaceChildren(...[
        live ? h('button', {class: 'button button-small', type: 'button', onclick: () => {
            player.seekTo(player.range().start);
            player.play();
        }}, icon('replay'), 'From the start') : null,
        playing && !live ? h('a', {class: 'button button-small', href: `/api/v1/videos/${playing}/download`, download: ''}, icon('download'), 'Download') : null,
        h('button', {class: 'button button-small', type: 'button', onclick: () => copyText(location.origin + location.pathname, 'Link')}, icon('link'), 'Copy link'),
    ].filter(Boolean));
    elsewhere.replaceChildren(...(playing ? [['HLS', 'master.m3u8'], ['DASH', 'manifest.mpd']].map(([name, file]) => {
        const url = `${location.origin}/v/${playing}/${file}`;

        return h('p', {}, h('b', {}, name), h('code', {}, url), h('button', {class: 'button button-plain button-small', type: 'button', 'aria-label': `Copy the ${name} address`, onclick: () => copyText(url, `${name} address`)}, icon('copy')));
    }) : [h('p', {class: 'hint'}, 'Addresses for other players appear here once the show is on.')]));
}

function drawRecordings() {
    const key = `${event.videos.join()} ${playing} ${event.state} ${videos.size}`;

    if (recordings.dataset.key === key)
        return;
    recordings.dataset.key = key;
    recordings.hidden = event.videos.length < 2;
    recordings.replaceChildren(h('h2', {}, 'All recordings of this show'),
        h('div', {class: 'recording-list'}, event.videos.map((video, at) => {
            const known = videos.get(video);
            const live = known?.state === 'live';

            return h('button', {class: 'recording', type: 'button', 'aria-pressed': String(video === playing), onclick: () => {
                chosen = at === 0 ? null : video;
                over = false;
                show();
                scrollTo({top: 0, behavior: 'smooth'});
            }}, h('b', {}, live ? 'Live now' : known?.createdAt ? `${date(known.createdAt)}, ${clock(known.createdAt)}` : `Recording ${event.videos.length - at}`),
            h('span', {}, live ? 'on stage' : known ? length(known.duration) : ''));
        })));
}

async function learnVideos() {
    await Promise.all(event.videos.map(async (video) => {
        const known = videos.get(video);

        if (!known || known.state === 'live')
            videos.set(video, await getVideo(video).catch(() => known));
    }));
}

let comments = null;

/* Those of the video on stage; where a picture is yet to come, of none. */
function drawComments() {
    comments ??= new Comments(aside, {event: event.id, inventory: event.inventory, picture: {
        position: () => player?.position() ?? null,
        edge: () => player?.edge() ?? 0,
        jump: (seconds) => player.jump(seconds),
        atEdge: () => player.atEdge(),
    }});
    comments.follow(playing);
}

/* --- the course of the show --- */

function start(video) {
    if (!player)
        player = new Player(stage, {calls: {
            ended: () => {
                over = true;
                show();
            },
            again: () => start(playing),
            state: () => quietStage(),
        }});
    playing = video;
    over = false;
    player.load(video, {protocol, live: event.state === 'live' && video === event.video,
        stillThere: () => event.state === 'live' && playing === video});
}

/* The picture stands still because the publisher is away, and not because of this viewer's network. */
function quietStage() {
    if (!player || !['playing', 'buffering', 'paused'].includes(stage.dataset.state))
        return;
    const away = event.state === 'live' && playing === event.video && event.health === null;

    if (away && stage.dataset.state === 'buffering')
        player.say('The stage has gone quiet', 'Your seat is kept. The show goes on here when it returns.');
    else
        player.say(null);
}

function show() {
    if (!house.contains(stage))
        drawHouse();
    const video = event.videos.includes(chosen) ? chosen : event.video;
    /* A new show of the same event begins only when its old recording is not being watched any more. */
    const wanted = event.state === 'live' || chosen || !playing ? video : playing;

    if (wanted && event.videos.includes(wanted) && (event.state !== 'scheduled' || chosen)) {
        if (wanted !== playing)
            start(wanted); /* it waits for the first picture by itself */
        if (over && !player.isLive())
            drop('after', after);
        else
            lift();
    } else {
        if (playing) {
            playing = null;
            player.unload();
        }
        if (event.state === 'ended')
            drop('after none', after);
        else
            drop(`before ${event.state} ${event.startsAt} ${event.startsAt && Date.parse(event.startsAt) > Date.now()} ${event.title}`, before);
    }
    describe();
    drawActions();
    drawRecordings();
    drawComments();
    quietStage();
}

async function refresh() {
    try {
        event = await getEvent(id);
    } catch (problem) {
        if (problem.status === 404 || problem.status === 400)
            drawMessage('No such show', 'It may have been taken off the programme, or a letter of the link is missing.', h('a', {class: 'button button-main', href: '/'}, 'See what is on'));
        else if (problem.status === 401 || problem.status === 403)
            drawMessage('This show needs a ticket', 'Open the link that came with your booking.', h('a', {class: 'button', href: '/'}, 'See what is on'));
        else if (!event)
            drawMessage('The house does not answer', `${problem.message} This page tries again by itself.`, h('button', {class: 'button', type: 'button', onclick: () => location.reload()}, icon('replay'), 'Try now'));
        return; /* else: the picture goes on, and so do we */
    }
    await learnVideos();
    if (await mayWatch())
        show();
}

/* Before there is a picture everybody may wait for it. */
async function mayWatch() {
    const video = event.videos.includes(chosen) ? chosen : event.video;
    const no = event.access === 'ticket' && video && event.state !== 'scheduled' ? await refusal(event.id, video) : null;

    if (no)
        drawMessage(no.heading, no.text,
            no.again ? h('button', {class: 'button button-main', type: 'button', onclick: () => no.again().then(refresh)}, icon('play'), 'Watch here') : null,
            no.needed && event.inventory ? h('a', {class: 'button button-main', href: `/book/${event.inventory}`}, 'Get a ticket') : null,
            h('a', {class: 'button', href: '/'}, 'See what is on'));
    return !no;
}

takeFromLink(id);
every(REFRESH_MS, refresh);
