/* seekbar.js - a seek bar over a range that may grow while one drags it: live with everything behind it. */
import {h} from '/assets/dom.js';
import {length, lengthInWords} from '/assets/format.js';

const KEY_STEP_S = 5;
const PAGE_STEP_S = 60;

export class Seekbar {
    /* `seek(seconds)` is called once a place is chosen; `picture(seconds)` gives a preview's URL or null. */
    constructor({seek, picture}) {
        this.seek = seek;
        this.picture = picture;
        this.range = {start: 0, end: 0};
        this.position = 0;
        this.dragged = null;

        this.image = h('img', {alt: '', onerror: () => { this.image.hidden = true; }});
        this.time = h('span', {});
        this.preview = h('div', {class: 'seek-preview', hidden: true}, this.image, this.time);
        this.loaded = h('div', {class: 'seek-loaded'});
        this.played = h('div', {class: 'seek-played'});
        this.knob = h('div', {class: 'seek-knob'});
        this.element = h('div', {
            class: 'seek', role: 'slider', tabindex: '0', 'aria-label': 'Position in the show', 'aria-valuemin': '0',
            onpointerdown: (e) => this.#down(e), onpointermove: (e) => this.#move(e), onpointerup: (e) => this.#up(e),
            onpointercancel: () => this.#stop(), onpointerleave: () => { this.preview.hidden = this.dragged === null; },
            onkeydown: (e) => this.#key(e),
        }, h('div', {class: 'seek-track'}, this.loaded, this.played), this.knob, this.preview);
    }

    /* Shows where things stand; live: positions are told as distance from the live edge. */
    update({start, end, position, loadedTo, live}) {
        this.range = {start, end};
        this.live = live;
        this.position = this.dragged ?? position;
        const played = this.#share(this.position);

        this.played.style.width = `${played * 100}%`;
        this.knob.style.left = `${played * 100}%`;
        this.loaded.style.width = `${this.#share(loadedTo) * 100}%`;
        this.element.setAttribute('aria-valuemax', String(Math.round(end - start)));
        this.element.setAttribute('aria-valuenow', String(Math.round(this.position - start)));
        this.element.setAttribute('aria-valuetext', live && end - this.position < 1 ? 'Live'
            : `${lengthInWords(this.position - start)} of ${lengthInWords(end - start)}`);
    }

    #share(seconds) {
        const {start, end} = this.range;

        return end > start ? Math.min(1, Math.max(0, (seconds - start) / (end - start))) : 0;
    }

    #secondsAt(event) {
        const box = this.element.getBoundingClientRect();
        const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));

        return this.range.start + share * (this.range.end - this.range.start);
    }

    #show(event) {
        const seconds = this.#secondsAt(event);
        const box = this.element.getBoundingClientRect();
        const url = this.picture(seconds);

        this.time.textContent = this.live ? `−${length(this.range.end - seconds)}` : length(seconds - this.range.start);
        this.image.hidden = !url;
        if (url && this.image.src !== url)
            this.image.src = url;
        this.preview.hidden = false;
        const half = this.preview.offsetWidth / 2;
        const left = Math.min(box.width - half, Math.max(half, event.clientX - box.left));

        this.preview.style.left = `${left}px`;
        return seconds;
    }

    #down(event) {
        if (event.button !== 0)
            return;
        this.element.setPointerCapture(event.pointerId);
        this.dragged = this.#show(event);
        this.element.classList.add('dragging');
        this.update({...this.range, position: this.dragged, loadedTo: 0, live: this.live});
    }

    #move(event) {
        const seconds = this.#show(event);

        if (this.dragged === null)
            return;
        this.dragged = seconds;
        this.update({...this.range, position: seconds, loadedTo: 0, live: this.live});
    }

    #up(event) {
        if (this.dragged === null)
            return;
        const seconds = this.dragged;

        this.#stop();
        if (event.pointerType !== 'mouse')
            this.preview.hidden = true;
        this.seek(seconds);
    }

    #stop() {
        this.dragged = null;
        this.element.classList.remove('dragging');
    }

    #key(event) {
        const steps = {ArrowLeft: -KEY_STEP_S, ArrowDown: -KEY_STEP_S, ArrowRight: KEY_STEP_S, ArrowUp: KEY_STEP_S,
            PageDown: -PAGE_STEP_S, PageUp: PAGE_STEP_S, Home: -Infinity, End: Infinity};
        const step = steps[event.key];

        if (step === undefined || event.ctrlKey || event.metaKey || event.altKey)
            return;
        event.preventDefault();
        event.stopPropagation();
        this.seek(Math.min(this.range.end, Math.max(this.range.start, this.position + step)));
    }
}
