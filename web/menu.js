/* menu.js - a menu over the picture: a button that opens it, its entries by mouse, finger and arrow keys.
 *
 * It knows nothing of what can be chosen: `entries()` says that anew each time it is drawn. */
import {$, h, icon} from '/assets/dom.js';

export class Menu {
    /* `button` opens it. `entries()`: [{label, detail, checked, work}], where `checked` undefined is a command and no choice. */
    constructor(name, button, entries) {
        this.button = button;
        this.entries = entries;
        this.list = h('div', {class: 'player-menu', role: 'menu', 'aria-label': name, hidden: true, onkeydown: (e) => this.#key(e)});
        this.element = h('div', {class: 'player-menu-place'}, this.list, button);
        this.name = name;
        button.setAttribute('aria-haspopup', 'menu');
        button.setAttribute('aria-expanded', 'false');
    }

    get isOpen() {
        return !this.list.hidden;
    }

    draw() {
        const {entries, note} = this.entries();

        this.list.replaceChildren(h('p', {'aria-hidden': 'true'}, this.name), ...entries.map((entry) => this.#entry(entry)),
            h('p', {class: 'player-way'}, note));
    }

    #entry({label, detail = '', checked, work}) {
        const choice = checked !== undefined;

        return h('button', {type: 'button', role: choice ? 'menuitemradio' : 'menuitem', ...(choice && {'aria-checked': String(checked)}), onclick: () => {
            work();
            this.open(false);
        }}, h('span', {class: 'tick'}, checked ? icon('check') : null), h('span', {}, label), choice ? h('span', {class: 'detail'}, detail) : null);
    }

    open(is) {
        if (is)
            this.draw();
        this.list.hidden = !is;
        this.button.setAttribute('aria-expanded', String(is));
        if (is)
            ($('[aria-checked="true"]', this.list) ?? $('button', this.list))?.focus();
        else if (this.list.contains(document.activeElement) || document.activeElement === document.body)
            this.button.focus({preventScroll: true});
    }

    toggle() {
        this.open(!this.isOpen);
    }

    #key(event) {
        const items = [...this.list.querySelectorAll('button')];
        const at = items.indexOf(document.activeElement);
        const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1}[event.key];

        if (event.key === 'Escape') {
            this.open(false);
            this.button.focus();
        } else if (to !== undefined) {
            items[(to + items.length) % items.length].focus();
        } else {
            return;
        }
        event.preventDefault();
        event.stopPropagation();
    }
}
