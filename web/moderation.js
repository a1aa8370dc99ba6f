/* moderation.js - the producer's view of what is said: take away, mute, let links through, and the rules of the house. */
import {call} from '/assets/api.js';
import {h, icon, toast} from '/assets/dom.js';
import {drawComment, followComments, placeComments} from '/assets/comments.js';

const SHOWN_MAX = 200;
const HELD_MS = 4000;
const PAGE = 500;
const PAGES_MAX = 10;

const AUDIENCES = [['everyone', 'Everybody'], ['followers', 'Followers of the show'], ['tickets', 'Ticket holders']];

export class Moderation {
    /* `admin(method, path, body)` makes a producer's call, `dialog(…)` opens one. */
    constructor({admin, dialog}) {
        this.admin = admin;
        this.dialog = dialog;
        this.list = h('ol', {class: 'comment-list', role: 'log', 'aria-label': 'Newest comments', tabindex: '0'});
        this.quiet = h('p', {class: 'comment-quiet'}, 'Nobody has said anything yet.');
        this.held = h('ol', {class: 'comment-list', 'aria-label': 'Comments that wait'});
        this.waiting = h('div', {class: 'moderation-held', hidden: true}, h('h3', {}, 'Waiting for you: they have a link in them'), this.held);
        this.element = h('section', {class: 'card panel moderation', hidden: true},
            h('div', {class: 'moderation-head'}, h('h2', {}, 'Comments'),
                h('button', {class: 'button button-small', type: 'button', onclick: () => this.#showRules()}, icon('settings'), 'Rules')),
            this.waiting, this.list, this.quiet);
    }

    /* Watches over the comments of an event's video; null: of none. */
    follow(event) {
        const video = event?.video ?? null;

        this.event = event;
        this.element.hidden = !video;
        if (this.video === video)
            return;
        this.stop();
        this.video = video;
        if (!video)
            return;
        this.comments = new Map(); /* as they came */
        this.gone = new Set();
        this.unfollow = followComments(video, {
            comment: (c) => this.#add(c),
            deleted: (id) => this.#remove(id),
            opened: () => this.#readNewest(video),
            missed: () => this.#readNewest(video),
        });
        this.held_ticker = setInterval(() => document.hidden || this.#readHeld(), HELD_MS);
        this.#draw();
        this.#readHeld();
    }

    stop() {
        clearInterval(this.held_ticker);
        this.unfollow?.();
        this.unfollow = null;
        this.video = null;
    }

    #add(comment) {
        if (this.gone.has(comment.id))
            return;
        this.comments.set(comment.id, comment);
        if (this.comments.size > SHOWN_MAX)
            this.comments.delete(this.comments.keys().next().value);
        this.#draw();
    }

    #remove(id) {
        this.gone.add(id);
        this.comments.delete(id);
        this.#draw();
    }

    /* Those of the last windows; older ones are where the picture is, on the show's page. */
    async #readNewest(video) {
        try {
            const {duration} = await call('GET', `/videos/${video}`);
            let from = Math.max(0, Math.floor(duration) - 600), items;

            /* By position: in a loud show the newest are pages away. What comes twice has the same id. */
            for (let page = 0; page < PAGES_MAX && (!items || items.length === PAGE); page++) {
                ({items} = await call('GET', `/videos/${video}/comments?from=${from}&limit=${PAGE}`));
                if (this.video === video)
                    items.slice(-SHOWN_MAX).forEach((c) => this.#add(c));
                from = items.at(-1)?.offset ?? from;
            }
        } catch {
            return; /* the feed goes on, and its next opening reads again */
        }
    }

    async #readHeld() {
        const {video} = this;

        try {
            const {items} = await this.admin('GET', `/videos/${video}/comments?state=held`);

            if (this.video !== video)
                return;
            this.waiting.hidden = items.length === 0;
            placeComments(this.held, items, (c) => drawComment(c, {tools: [
                this.#tool('check', `Show what ${c.authorId} said`, async () => {
                    await this.admin('POST', `/videos/${this.video}/comments/${c.id}/approve`);
                    await this.#readHeld();
                }),
                this.#tool('trash', `Take away what ${c.authorId} said`, () => this.#takeAway(c)),
            ]}));
        } catch {
            return; /* the next turn tries again */
        }
    }

    #tool(name, label, work) {
        const button = h('button', {class: 'comment-tool', type: 'button', 'aria-label': label, title: label, onclick: async () => {
            button.disabled = true;
            try {
                await work();
            } catch (problem) {
                toast(problem.message, true);
            }
            button.disabled = false;
        }}, icon(name));

        return button;
    }

    async #takeAway(comment) {
        await this.admin('DELETE', `/videos/${this.video}/comments/${comment.id}`);
        this.#remove(comment.id);
        await this.#readHeld();
    }

    #draw() {
        const follows = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 48;

        placeComments(this.list, [...this.comments.values()], (c) => drawComment(c, {tools: [
            this.#tool('muted', `Mute ${c.authorId}`, async () => {
                await this.admin('POST', `/events/${this.event.id}/comments/muted`, {authorId: c.authorId});
                toast(`${c.authorId} is muted in this show`);
            }),
            this.#tool('trash', `Take away what ${c.authorId} said`, () => this.#takeAway(c)),
        ]}));
        this.quiet.hidden = this.comments.size > 0;
        if (follows)
            this.list.scrollTop = this.list.scrollHeight;
    }

    /* --- the rules --- */

    async #showRules() {
        const path = `/events/${this.event.id}/comments`;
        let rules, muted;

        try {
            [rules, {items: muted}] = await Promise.all([this.admin('GET', path), this.admin('GET', `${path}/muted`)]);
        } catch (problem) {
            toast(problem.message, true);
            return;
        }
        const open = h('input', {id: 'rules-open', type: 'checkbox', checked: rules.open});
        const hold = h('input', {id: 'rules-hold', type: 'checkbox', checked: rules.links === 'hold'});
        const slow = h('input', {id: 'rules-slow', type: 'number', min: 0, max: 3600, required: true, value: rules.slowSeconds});
        const audience = h('select', {id: 'rules-audience'}, AUDIENCES.map(([value, words]) => h('option', {value, selected: value === rules.audience}, words)));
        const followed = h('input', {id: 'rules-followed', type: 'number', min: 0, max: 2592000, required: true, value: rules.followedSeconds});
        const words = h('textarea', {id: 'rules-words', rows: 4}, rules.words.join('\n'));
        const wrong = h('p', {class: 'wrong', role: 'alert', hidden: true});
        const field = (label, input, hint) => h('div', {class: 'field'}, h('label', {for: input.id}, label), input, hint ? h('p', {class: 'hint'}, hint) : null);
        const followedField = field('Seconds one must have followed', followed);
        const list = h('ul', {class: 'rules-muted'}, muted.map(({authorId}) => {
            const row = h('li', {}, h('button', {type: 'button', 'aria-label': `Let ${authorId} speak again`, onclick: async () => {
                try {
                    await this.admin('DELETE', `${path}/muted?authorId=${encodeURIComponent(authorId)}`);
                    row.remove();
                } catch (problem) {
                    toast(problem.message, true);
                }
            }}, h('bdi', {}, authorId), icon('close')));

            return row;
        }));
        const form = h('form', {onsubmit: async (e) => {
            e.preventDefault();
            try {
                await this.admin('PATCH', path, {open: open.checked, links: hold.checked ? 'hold' : 'allow', slowSeconds: Number(slow.value), audience: audience.value,
                    followedSeconds: Number(followed.value), words: words.value.split('\n').map((w) => w.trim()).filter(Boolean)});
                box.close();
                toast('The rules are in force');
            } catch (problem) {
                wrong.replaceChildren(icon('alert'), problem.message);
                wrong.hidden = false;
            }
        }},
        h('label', {class: 'check'}, open, 'Viewers may comment'),
        h('label', {class: 'check'}, hold, 'What has a link in it waits until I have seen it'),
        field('Who may comment', audience), followedField,
        field('Seconds between two comments of one viewer', slow, '0: as they come.'),
        field('Words that are not taken', words, 'One a line.'),
        muted.length ? h('div', {class: 'field'}, h('span', {class: 'label'}, 'Muted'), list) : null,
        wrong,
        h('div', {class: 'dialog-actions'}, h('button', {class: 'button button-plain', type: 'button', onclick: () => box.close()}, 'Cancel'), h('button', {class: 'button button-main'}, 'Save')));
        const show = () => { followedField.hidden = audience.value !== 'followers'; };
        const box = this.dialog(h('h2', {}, 'Rules for comments'), form);

        audience.addEventListener('change', show);
        show();
    }
}
