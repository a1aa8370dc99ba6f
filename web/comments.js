/* comments.js - the comments beside a picture, in step with it: live, rewound and in replay.
 *
 * What is said is kept with the second of the video it was said at, in windows of 10 s that any cache may keep. The panel
 * shows what was said up to where the picture is; new comments come by the feed. */
import {call} from '/assets/api.js';
import {h, icon, toast} from '/assets/dom.js';
import {length} from '/assets/format.js';
import {Gathered, characters, newId, windowsAround} from '/assets/gathered.js';

const TICK_MS = 400;
const BACK_S = 120; /* so far back the panel reads by itself */
const SHOWN_MAX = 150;
const RULES_MS = 15000;
const AGAIN_MS = 3000;
const DATA_MAX = 2000;
const MINE_MS = 30000; /* so long one's own comment stands there although the picture has not come to it */

function storage(key, value) {
    try {
        if (value !== undefined)
            localStorage.setItem(key, value);
        return localStorage.getItem(key);
    } catch {
        return null; /* a browser that keeps nothing */
    }
}

/* The same colour for the same name, told apart on a dark ground. */
function hue(name) {
    return [...name].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 360, 7);
}

/* One comment; `tools` are buttons behind it. Text is text here, whatever it says. */
export function drawComment(comment, {jump, tools = []} = {}) {
    const author = h('bdi', {class: 'comment-author'}, comment.authorId);

    author.style.setProperty('--hue', hue(comment.authorId));
    return h('li', {class: 'comment', dataset: {id: comment.id}},
        h('p', {class: 'comment-head'},
            author,
            h('button', {class: 'comment-time', type: 'button', title: 'Go there', 'aria-label': `Go to ${length(comment.offset)}`, disabled: !jump, onclick: () => jump(comment.offset)}, length(comment.offset)),
            tools),
        h('p', {class: 'comment-text', dir: 'auto'}, comment.data));
}

/* Makes the list show `wanted`, moving nothing that stays: readers and screen readers keep their place. */
export function placeComments(list, wanted, draw) {
    const keep = new Set(wanted.map((c) => c.id));

    for (const node of [...list.children])
        if (!keep.has(node.dataset.id))
            node.remove();
    let at = list.firstElementChild;

    for (const comment of wanted) {
        if (at?.dataset.id === comment.id)
            at = at.nextElementSibling;
        else
            list.insertBefore(draw(comment), at);
    }
}

/* The feed of a video; gives back a function that ends it. */
export function followComments(video, {comment, deleted, missed, opened}) {
    let feed = null, timer = 0, ended = false;

    function open() {
        feed = new EventSource(`/api/v1/videos/${encodeURIComponent(video)}/comments/live`);
        feed.addEventListener('open', () => opened?.());
        feed.addEventListener('comment', (e) => comment(JSON.parse(e.data)));
        feed.addEventListener('deleted', (e) => deleted(JSON.parse(e.data).id));
        feed.addEventListener('gap', () => missed());
        feed.addEventListener('error', () => {
            if (feed.readyState !== EventSource.CLOSED || ended)
                return; /* the browser comes back by itself, and says where it was */
            timer = setTimeout(() => {
                open();
                missed();
            }, AGAIN_MS);
        });
    }
    open();
    return () => {
        ended = true;
        clearTimeout(timer);
        feed.close();
    };
}

export class Comments {
    /* `picture` has position(), edge(), jump(seconds) and atEdge(); `event` is the event's id. */
    constructor(root, {event, inventory, picture}) {
        this.root = root;
        this.event = event;
        this.inventory = inventory;
        this.picture = picture;
        this.video = null;
        this.rules = null;
        this.free_at = 0; /* slow mode: when one may speak again */
        this.#draw();
    }

    /* Shows those of this video from now on; null: of none. */
    follow(video) {
        if (this.video === video)
            return;
        this.stop();
        this.video = video;
        this.root.hidden = !video;
        if (!video)
            return;
        this.known = new Gathered();
        this.read = new Map(); /* windows: 'reading', 'read', or when an open one is to be read again */
        this.own = new Map(); /* id: until when it stands there anyway */
        this.list.replaceChildren();
        this.unfollow = followComments(video, {
            comment: (c) => this.known.add(c),
            deleted: (id) => this.known.remove(id),
            missed: () => this.read.clear(),
        });
        this.ticker = setInterval(() => this.#tick(), TICK_MS);
        this.#learnRules();
        this.rules_ticker = setInterval(() => document.hidden || this.#learnRules(), RULES_MS);
    }

    stop() {
        clearInterval(this.ticker);
        clearInterval(this.rules_ticker);
        this.unfollow?.();
        this.unfollow = null;
        this.video = null;
    }

    /* --- drawing --- */

    #draw() {
        this.list = h('ol', {class: 'comment-list', role: 'log', 'aria-label': 'Comments', tabindex: '0'});
        this.quiet = h('p', {class: 'comment-quiet'}, 'Nobody has said anything here yet.');
        this.newer = h('button', {class: 'comment-newer', type: 'button', hidden: true, onclick: () => this.#toEnd()}, 'Newer comments', icon('arrow'));
        this.name = h('input', {id: 'comment-name', maxlength: 64, required: true, autocomplete: 'nickname', placeholder: 'Your name', 'aria-label': 'Your name', value: storage('comment-name') ?? ''});
        this.text = h('textarea', {id: 'comment-text', rows: 2, required: true, placeholder: 'Say something', 'aria-label': 'Your comment', 'aria-describedby': 'comment-limits',
            oninput: () => this.#count(), onkeydown: (e) => {
                if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
                    e.preventDefault();
                    this.form.requestSubmit();
                }
                e.stopPropagation(); /* the player listens for letters */
            }});
        this.limits = h('p', {class: 'comment-limits', id: 'comment-limits', role: 'status'});
        this.button = h('button', {class: 'button button-main button-small'}, 'Send');
        this.form = h('form', {class: 'comment-form', novalidate: true, onsubmit: (e) => {
            e.preventDefault();
            this.#send();
        }}, this.name, this.text, h('div', {class: 'comment-row'}, this.limits, this.button));
        this.name.addEventListener('keydown', (e) => e.stopPropagation());
        this.door = h('div', {class: 'comment-door', hidden: true});
        this.root.classList.add('comments');
        this.root.replaceChildren(h('h2', {}, 'Comments'), h('div', {class: 'comment-scroll'}, this.list, this.quiet, this.newer), this.door, this.form);
        this.root.hidden = true;
    }

    #atEnd() {
        return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 48;
    }

    #toEnd() {
        this.list.scrollTop = this.list.scrollHeight;
        this.newer.hidden = true;
    }

    #tick() {
        const position = this.picture.position();
        const now = Date.now();

        if (document.hidden || position === null)
            return;
        windowsAround(position, BACK_S, this.picture.edge()).forEach((n) => this.#read(n));
        const said = this.known.said(position, {limit: SHOWN_MAX});
        const early = this.known.comments.filter((c) => c.offset > position && (this.own.get(c.id) ?? 0) > now);
        const follows = this.#atEnd();
        const before = this.list.lastElementChild?.dataset.id;

        placeComments(this.list, [...said, ...early], (c) => drawComment(c, {jump: (s) => this.picture.jump(s)}));
        this.quiet.hidden = this.list.childElementCount > 0;
        if (follows)
            this.#toEnd();
        else if (before !== this.list.lastElementChild?.dataset.id)
            this.newer.hidden = false;
        this.#wait();
    }

    /* --- reading --- */

    async #read(n) {
        const known = this.read.get(n);
        const {video, known: into, read} = this;

        if (known === 'read' || known === 'reading' || known > Date.now())
            return;
        read.set(n, 'reading');
        try {
            const window = await call('GET', `/videos/${encodeURIComponent(video)}/comments/windows/${n}`);

            window.comments.forEach((c) => into.add(c));
            /* Once is enough for a closed one, and for an open one once more: what came between its printing and the feed. */
            read.set(n, window.closed || known !== undefined ? 'read' : Date.now() + AGAIN_MS);
        } catch {
            read.set(n, Date.now() + AGAIN_MS);
        }
    }

    async #learnRules() {
        try {
            this.rules = await call('GET', `/events/${encodeURIComponent(this.event)}/comments`);
        } catch {
            return; /* as they were */
        }
        this.#drawDoor();
    }

    /* What stands before the box: that it is closed, or for whom it is open. */
    #drawDoor(refused = '') {
        const {open, audience} = this.rules ?? {open: true};
        const key = `${open} ${audience} ${refused}`;

        if (this.door.dataset.key === key)
            return;
        this.door.dataset.key = key;
        this.form.hidden = !open;
        this.door.hidden = open && (!audience || audience === 'everyone');
        if (!open)
            this.door.replaceChildren(h('p', {}, 'Comments are closed. What was said can be read.'));
        else if (audience === 'followers')
            this.door.replaceChildren(h('p', {}, 'Followers of this show may comment.'), h('button', {class: 'button button-small', type: 'button', onclick: () => this.#followShow()}, icon('plus'), 'Follow'));
        else if (audience === 'tickets')
            this.door.replaceChildren(h('p', {}, this.#ticket() ? 'You have a ticket: the floor is yours.' : 'Ticket holders may comment.'),
                this.#ticket() || !this.inventory ? '' : h('a', {class: 'button button-small', href: `/book/${this.inventory}`}, 'Get a ticket'));
    }

    /* The reservation that this browser made in the box office of the show. */
    #ticket() {
        try {
            return this.inventory ? JSON.parse(storage(`booking-${this.inventory}`))?.reservation ?? null : null;
        } catch {
            return null;
        }
    }

    async #followShow() {
        const authorId = this.name.value.trim();

        if (!authorId) {
            this.#say('Your name comes first.', true);
            this.name.focus();
            return;
        }
        try {
            await call('POST', `/events/${encodeURIComponent(this.event)}/followers`, {body: {authorId}});
            storage('comment-name', authorId);
            toast(this.rules.followedSeconds ? `You follow this show, and may comment in ${length(this.rules.followedSeconds)}` : 'You follow this show');
        } catch (problem) {
            this.#say(problem.message, true);
        }
    }

    /* --- sending --- */

    #say(text, bad = false) {
        this.limits.textContent = text;
        this.limits.classList.toggle('comment-bad', bad);
    }

    #count() {
        const left = DATA_MAX - characters(this.text.value);

        if (left < 0)
            this.#say(`${-left} characters too many`, true);
        else
            this.#say(left < 200 ? `${left} characters left` : '');
    }

    /* Slow mode: the button says when. */
    #wait() {
        const left = Math.ceil((this.free_at - Date.now()) / 1000);

        this.button.disabled = this.sending || left > 0;
        this.button.textContent = left > 0 ? `${left} s` : 'Send';
    }

    async #send() {
        const authorId = this.name.value.trim();
        const data = this.text.value.trim();

        if (this.button.disabled)
            return;
        if (!authorId || !data) {
            this.#say(authorId ? 'There is nothing to send yet.' : 'Your name comes first.', true);
            (authorId ? this.text : this.name).focus();
            return;
        }
        if (characters(data) > DATA_MAX) {
            this.#count();
            return;
        }
        const body = {id: newId(), authorId, data};
        const ticket = this.rules?.audience === 'tickets' ? this.#ticket() : null;

        if (ticket)
            body.ticket = ticket;
        if (!this.picture.atEdge())
            body.offset = Math.round(this.picture.position() * 1000) / 1000;
        this.sending = true;
        this.#wait();
        try {
            const said = await this.#post(body);

            storage('comment-name', authorId);
            this.text.value = '';
            this.#say(said.held ? 'Sent. The producer looks at links before they are shown.' : '');
            if (!said.held) {
                this.own.set(said.id, Date.now() + MINE_MS);
                this.known.add(said);
            }
            if (this.rules?.slowSeconds)
                this.free_at = Date.now() + this.rules.slowSeconds * 1000;
        } catch (problem) {
            if (problem.status === 429)
                this.free_at = Date.now() + (problem.retryAfter ?? 1) * 1000;
            this.#say(problem.message, true);
            if (problem.status === 403)
                this.#learnRules();
        }
        this.sending = false;
        this.#tick();
        this.#toEnd();
        this.text.focus();
    }

    /* The same id each time: whatever became of an earlier try, it is said once. */
    async #post(body) {
        for (let tries = 0; ; tries++) {
            try {
                return await call('POST', `/videos/${encodeURIComponent(this.video)}/comments`, {body});
            } catch (problem) {
                if (tries >= 4 || ![0, 503].includes(problem.status))
                    throw problem;
                this.#say('The server does not answer; trying again …', true);
                await new Promise((done) => setTimeout(done, (problem.retryAfter ?? 1) * 1000));
            }
        }
    }
}
