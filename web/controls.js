/* controls.js - what is drawn over the picture, and the hands and keys that use it. It knows the Player it belongs to by what that
 * says of itself (range(), isLive(), atEdge(), ...) and tells it what is wanted (toggle(), seekTo(), goLive(), ...). */
import {h, icon, setIcon} from '/assets/dom.js';
import {length} from '/assets/format.js';
import {Menu} from '/assets/menu.js';
import {Seekbar} from '/assets/seekbar.js';

const IDLE_MS = 2800;
const SKIP_S = 10;

export class Controls {
    /* Draws itself and the player's video into `root`. */
    constructor(player, root) {
        this.player = player;
        this.video = player.video;
        this.root = root;
        this.compact = player.compact;
        this.stops = [];
        this.#draw();
        this.#listen();
        this.#recallVolume();
        this.#showVolume();
    }

    close() {
        clearTimeout(this.idle_timer);
        this.stops.forEach((stop) => stop());
        this.root.replaceChildren();
    }

    /* --- what the player has said --- */

    /* A message over the picture, or null to take it away; `more` stands below it. */
    say(title, text = '', more = '') {
        this.notice.hidden = !title;
        this.notice.replaceChildren(...(title ? [h('strong', {}, title), text ? h('span', {}, text) : '', more] : []));
    }

    /* The browser lets the page begin without sound only. */
    offerSound() {
        this.unmute.hidden = this.compact;
    }

    qualitiesChanged() {
        if (!this.compact)
            this.menu.draw();
    }

    flash(name) {
        setIcon(this.flash_sign.firstElementChild, name);
        this.flash_sign.classList.remove('on');
        void this.flash_sign.offsetWidth; /* lets the animation begin again */
        this.flash_sign.classList.add('on');
    }

    /* Shows where the picture is. */
    update() {
        const {player, video} = this;
        const {start, end} = player.range();
        const live = player.isLive();
        const edge = player.atEdge();
        const position = live && edge ? end : player.now();

        this.seekbar.update({start, end, position, live, loadedTo: player.loadedTo()});
        this.live_button.hidden = !live;
        this.live_button.classList.toggle('edge', edge);
        this.live_button.disabled = edge;
        this.live_button.textContent = edge ? 'Live' : 'Go live';
        this.#showLatency(edge);
        this.time.textContent = live ? (edge ? length(end - start) : `−${length(player.behind())}`)
            : `${length(position - start)} / ${length(end - start)}`;
        setIcon(this.play_button.firstElementChild, video.ended ? 'replay' : video.paused ? 'play' : 'pause');
        this.play_button.setAttribute('aria-label', video.ended ? 'Play again' : video.paused ? 'Play' : 'Pause');
    }

    #showLatency(edge) {
        const seconds = edge ? this.player.latencySeconds() : null;

        this.live_button.title = !edge ? 'Back to live' : seconds ? `Live, about ${Math.round(seconds)} s behind the stage` : 'Live';
        this.latency.hidden = seconds === null || !this.player.isNear();
        this.latency.textContent = seconds === null ? '' : `${seconds.toFixed(this.player.isDirect() ? 2 : 1)} s`;
    }

    /* --- drawing --- */

    #draw() {
        const {player} = this;
        const button = (name, label, work, key) => h('button', {
            class: 'control', type: 'button', 'aria-label': label, title: key ? `${label} (${key})` : label, onclick: work,
        }, icon(name));

        this.notice = h('div', {class: 'player-notice', role: 'status', hidden: true});
        this.unmute = h('button', {class: 'unmute', type: 'button', hidden: true, onclick: () => this.#sound()}, icon('muted'), 'Tap for sound');
        this.flash_sign = h('div', {class: 'player-flash', 'aria-hidden': 'true'}, icon('play'));
        this.seekbar = new Seekbar({seek: (s) => player.seekTo(s), picture: (s) => player.thumbnail(s)});
        this.play_button = button('play', 'Play', () => player.toggle(), 'Space');
        this.mute_button = button('volume', 'Mute', () => { this.video.muted = !this.video.muted; }, 'M');
        this.volume = h('input', {class: 'volume', type: 'range', min: '0', max: '1', step: '0.05', 'aria-label': 'Volume', oninput: () => this.#setVolume(Number(this.volume.value))});
        this.live_button = h('button', {class: 'live', type: 'button', hidden: true, onclick: () => player.goLive()}, 'Live');
        this.time = h('span', {class: 'player-time'});
        this.latency = h('span', {class: 'player-latency', title: 'How far the picture is behind the stage', hidden: true});
        this.menu = new Menu('Quality', button('settings', 'Quality', () => this.menu.toggle(), 'Q'), () => player.choices());
        this.full_button = button('fullscreen', 'Full screen', () => this.#fullscreen(), 'F');
        this.root.classList.add('player');
        this.root.classList.toggle('compact', this.compact);
        this.root.replaceChildren(this.video, h('div', {class: 'player-shade'}), h('div', {class: 'spinner', 'aria-hidden': 'true'}),
            this.flash_sign, this.notice, this.unmute,
            h('div', {class: 'player-controls'}, this.seekbar.element,
                h('div', {class: 'player-row'},
                    this.play_button,
                    this.compact ? null : [button('back', 'Back 10 seconds', () => this.#skip(-SKIP_S), 'J'),
                        button('forward', 'Forward 10 seconds', () => this.#skip(SKIP_S), 'L')],
                    h('div', {class: 'player-sound'}, this.mute_button, this.volume),
                    this.live_button, this.latency, this.time, h('span', {class: 'space'}),
                    this.compact ? null : this.menu.element,
                    this.full_button)));
    }

    /* --- listening --- */

    #listen() {
        const on = (target, names, work) => {
            for (const name of names.split(' ')) {
                target.addEventListener(name, work);
                this.stops.push(() => target.removeEventListener(name, work));
            }
        };

        on(this.video, 'play playing', () => this.#wake());
        on(this.video, 'volumechange', () => this.#showVolume());
        on(this.video, 'click', () => this.#tap());
        on(this.video, 'dblclick', () => this.#fullscreen());
        on(this.root, 'pointermove pointerdown focusin', () => this.#wake());
        on(this.root, 'pointerleave', () => this.root.classList.add('idle'));
        on(document, 'fullscreenchange', () => this.#showFullscreen());
        on(document, 'pointerdown', (e) => {
            if (this.menu.isOpen && !this.menu.element.contains(e.target))
                this.menu.open(false);
        });
        if (!this.compact)
            on(document, 'keydown', (e) => this.#key(e));
    }

    /* With a finger the first tap shows the controls; with a mouse a click is play or pause. */
    #tap() {
        if (matchMedia('(hover: none)').matches && this.was_idle) {
            this.was_idle = false;
            return;
        }
        this.player.toggle();
        this.flash(this.video.paused ? 'pause' : 'play');
    }

    #wake() {
        this.was_idle = this.root.classList.contains('idle');
        this.root.classList.remove('idle');
        clearTimeout(this.idle_timer);
        this.idle_timer = setTimeout(() => {
            if (!this.video.paused && !this.menu.isOpen && !this.seekbar.element.classList.contains('dragging'))
                this.root.classList.add('idle');
        }, IDLE_MS);
    }

    #skip(seconds) {
        this.player.seekTo(this.player.now() + seconds);
        this.flash(seconds < 0 ? 'back' : 'forward');
    }

    async #fullscreen() {
        try {
            if (document.fullscreenElement)
                await document.exitFullscreen();
            else if (this.root.requestFullscreen)
                await this.root.requestFullscreen();
            else
                this.video.webkitEnterFullscreen?.(); /* a phone that only knows it for videos */
        } catch {
            /* refused by the browser: the picture stays as it is */
        }
    }

    /* --- sound --- */

    #sound() {
        this.video.muted = false;
        if (this.video.volume === 0)
            this.video.volume = 1;
        this.unmute.hidden = true;
        this.player.play();
    }

    #setVolume(value) {
        this.video.volume = Math.min(1, Math.max(0, value));
        this.video.muted = this.video.volume === 0;
    }

    #recallVolume() {
        try {
            this.video.volume = Number(localStorage.getItem('volume') ?? 1);
        } catch {
            this.video.volume = 1;
        }
        if (this.compact)
            this.video.muted = true;
    }

    #showVolume() {
        const {muted, volume} = this.video;

        setIcon(this.mute_button.firstElementChild, muted || volume === 0 ? 'muted' : volume < .5 ? 'quiet' : 'volume');
        this.mute_button.setAttribute('aria-label', muted ? 'Unmute' : 'Mute');
        this.volume.value = String(muted ? 0 : volume);
        this.volume.style.setProperty('--value', `${(muted ? 0 : volume) * 100}%`);
        if (!muted)
            this.unmute.hidden = true;
        if (!muted && !this.compact) {
            try {
                localStorage.setItem('volume', String(volume));
            } catch {
                /* private browsing: it is not remembered */
            }
        }
    }

    #showFullscreen() {
        const full = document.fullscreenElement === this.root;

        setIcon(this.full_button.firstElementChild, full ? 'window' : 'fullscreen');
        this.full_button.setAttribute('aria-label', full ? 'Leave full screen' : 'Full screen');
    }

    /* --- keys --- */

    #key(event) {
        const at = event.target;

        if (event.ctrlKey || event.metaKey || event.altKey || !this.player.isLoaded() || document.querySelector('dialog[open]') ||
            at.matches?.('input:not([type=range]), textarea, select, [contenteditable]'))
            return;
        const onButton = at.matches?.('button, a, summary');
        const {player} = this;
        const {start, end} = player.range();
        const keys = {
            ' ': onButton ? null : () => player.toggle(),
            k: () => player.toggle(),
            j: () => this.#skip(-SKIP_S),
            l: () => this.#skip(SKIP_S),
            ArrowLeft: () => this.#skip(-5),
            ArrowRight: () => this.#skip(5),
            ArrowUp: () => this.#setVolume(this.video.volume + .1),
            ArrowDown: () => this.#setVolume(this.video.volume - .1),
            m: () => { this.video.muted = !this.video.muted; },
            f: () => this.#fullscreen(),
            q: () => this.menu.toggle(),
            Home: () => player.seekTo(start),
            End: () => (player.isLive() ? player.goLive() : player.seekTo(end)),
        };
        const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
        const work = keys[key] ?? (/^[0-9]$/.test(key) ? () => player.seekTo(start + (end - start) * Number(key) / 10) : null);

        if (!work || (at.matches?.('input[type=range], [role=slider]') && key.startsWith('Arrow')))
            return;
        event.preventDefault();
        this.#wake();
        work();
    }
}
