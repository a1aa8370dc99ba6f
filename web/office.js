/* office.js - the studio's box office: makes inventories, watches what is held and sold, changes how they lock. */
import {$, copyText, h, icon, toast} from '/assets/dom.js';
import {ago, WORDS} from '/assets/format.js';

const LOCKINGS = [['adaptive', 'Adaptive', 'chooses by itself; right unless you know better'], ['combining', 'Combining', 'one writer for all: fastest when everybody comes at once'],
    ['optimistic', 'Optimistic', 'nobody waits: for many units and few buyers of each'], ['pessimistic', 'Pessimistic', 'locks first: one buyer after the other']];

const KINDS = {
    seats: ['Seats', [['rows', 'Rows', 10], ['perRow', 'Seats in a row', 20]], (v) => ({seats: v})],
    pool: ['Places', [['pool', 'How many', 200]], (v) => v],
    nights: ['Nights', [['from', 'First night', ''], ['to', 'Morning of leaving', ''], ['rooms', 'Rooms', 10]], (v) => ({nights: v})],
};

function number(n) {
    return n.toLocaleString(WORDS);
}

function field(id, label, input, hint) {
    return h('div', {class: 'field'}, h('label', {for: id}, label), input, hint ? h('p', {class: 'hint'}, hint) : null);
}

function lockingField(now) {
    return h('select', {id: 'locking'}, LOCKINGS.map(([value, name, why]) => h('option', {value, selected: value === now}, `${name}: ${why}`)));
}

export class Office {
    /* `studio`: {admin(method, path, body), dialog(…content), tabs()}; draws into `place`. */
    constructor(place, studio) {
        this.place = place;
        this.studio = studio;
        this.items = [];
        this.chosen = null;
        this.drawn = '';
    }

    async refresh() {
        this.items = (await this.studio.admin('GET', '/inventories?limit=500')).items;
        this.draw();
    }

    /* Asks what is to be sold. */
    showForm() {
        const name = h('input', {id: 'name', required: true, maxlength: 200, autocomplete: 'off', placeholder: 'Great hall, Saturday'});
        const hold = h('input', {id: 'hold', type: 'number', min: 1, max: 1440, value: 10, required: true});
        const kinds = h('div', {class: 'segments', role: 'radiogroup', 'aria-label': 'What is sold'});
        const fields = h('div', {class: 'form-row'});
        const locking = lockingField('adaptive');
        const wrong = h('p', {class: 'wrong', role: 'alert', hidden: true});
        const button = h('button', {class: 'button button-main'}, 'Open the box office');
        let kind = 'seats';

        function choose(next) {
            kind = next;
            kinds.querySelectorAll('input').forEach((i) => { i.checked = i.value === kind; });
            fields.replaceChildren(...KINDS[kind][1].map(([id, label, value]) => field(id, label, h('input', {id, name: id, required: true, value, ...(typeof value === 'number' ? {type: 'number', min: 1} : {type: 'date'})}))));
        }

        kinds.append(...Object.entries(KINDS).map(([value, [label]]) => h('label', {}, h('input', {type: 'radio', name: 'kind', value, onchange: () => choose(value)}), label)));
        choose(kind);
        const box = this.studio.dialog(h('h2', {}, 'A new box office'), h('form', {onsubmit: async (e) => {
            e.preventDefault();
            button.disabled = true;
            wrong.hidden = true;
            const values = Object.fromEntries([...fields.querySelectorAll('input')].map((i) => [i.name, i.type === 'number' ? Number(i.value) : i.value]));

            try {
                const made = await this.studio.admin('POST', '/inventories', {name: name.value.trim(), locking: locking.value, holdSeconds: Number(hold.value) * 60, ...KINDS[kind][2](values)});

                this.chosen = made.id;
                box.close();
                await this.refresh();
                toast('The box office is open');
            } catch (problem) {
                wrong.replaceChildren(icon('alert'), problem.message);
                wrong.hidden = false;
                button.disabled = false;
            }
        }}, field('name', 'Name', name), h('div', {class: 'field'}, h('span', {class: 'label'}, 'What is sold'), kinds), h('div', {class: 'field'}, fields),
        field('hold', 'Minutes a buyer has to confirm', hold), field('locking', 'Locking', locking), wrong,
        h('div', {class: 'dialog-actions'}, h('button', {class: 'button button-plain', type: 'button', onclick: () => box.close()}, 'Cancel'), button)));

        name.focus();
    }

    showChange(item) {
        const name = h('input', {id: 'name', required: true, maxlength: 200, value: item.name});
        const hold = h('input', {id: 'hold', type: 'number', min: 1, max: 86400, value: item.holdSeconds, required: true});
        const locking = lockingField(item.locking);
        const box = this.studio.dialog(h('h2', {}, 'Change the box office'), h('form', {onsubmit: async (e) => {
            e.preventDefault();
            try {
                await this.studio.admin('PATCH', `/inventories/${item.id}`, {name: name.value.trim(), holdSeconds: Number(hold.value), locking: locking.value});
                box.close();
                await this.refresh();
            } catch (problem) {
                toast(problem.message, true);
            }
        }}, field('name', 'Name', name), field('hold', 'Seconds a buyer has to confirm', hold), field('locking', 'Locking', locking, 'Takes effect at once, also while it sells.'),
        h('div', {class: 'dialog-actions'}, h('button', {class: 'button button-plain', type: 'button', onclick: () => box.close()}, 'Cancel'), h('button', {class: 'button button-main'}, 'Save'))));

        name.focus();
    }

    /* Who has booked, the newest first; narrowed by what is typed. */
    showReservations(item) {
        const field = h('input', {type: 'search', id: 'customer', 'aria-label': 'Customer', placeholder: 'A name', maxlength: 200, oninput: () => list().catch((problem) => toast(problem.message, true))});
        const rows = h('ul', {class: 'basket', 'aria-live': 'polite'});
        const box = this.studio.dialog(h('h2', {}, 'Who has booked'), field, rows,
            h('div', {class: 'dialog-actions'}, h('button', {class: 'button button-plain', type: 'button', onclick: () => box.close()}, 'Close')));
        const list = async () => {
            const asked = field.value.trim();
            const page = await this.studio.admin('GET', `/inventories/${item.id}/reservations?limit=100${asked ? `&customer=${encodeURIComponent(asked)}` : ''}`);

            if (asked !== field.value.trim())
                return; /* a later question is on its way */
            rows.replaceChildren(...page.items.map((r) => h('li', {}, h('span', {}, r.customer),
                h('span', {}, `${r.units.map((u) => (u.quantity > 1 ? `${u.quantity} × ${u.key}` : u.key)).join(' ')} · ${r.state}`))));
            if (!page.items.length)
                rows.append(h('li', {}, asked ? 'Nobody of this name.' : 'Nobody yet.'));
        };

        list().catch((problem) => toast(problem.message, true));
    }

    drawEmpty() {
        return h('div', {class: 'message'}, h('img', {src: '/assets/ghostlight.svg', alt: '', width: 148, height: 192}), h('h1', {}, 'Nothing for sale yet'),
            h('p', {}, 'Seats, places or nights: each box office gets a page where people choose, hold and confirm.'),
            h('div', {class: 'actions'}, h('button', {class: 'button button-main', type: 'button', onclick: () => this.showForm()}, icon('plus'), 'Open a box office')));
    }

    drawDesk(item) {
        const url = `${location.origin}/book/${item.id}`;
        const left = item.capacity - item.held - item.sold;
        const tile = (what, n, more) => h('div', {class: 'tile-number'}, h('span', {class: 'name'}, what), h('p', {}, h('b', {}, number(n)), more ? h('span', {}, more) : null));
        const share = (n) => Math.round(n / item.capacity * 1000) / 10;
        const bar = h('div', {class: 'sales', role: 'img', 'aria-label': `${share(item.sold)} percent sold, ${share(item.held)} percent held`}, h('i', {class: 'sales-sold'}), h('i', {class: 'sales-held'}));

        bar.children[0].style.width = `${share(item.sold)}%`;
        bar.children[1].style.width = `${share(item.held)}%`;
        return h('div', {class: 'desk'},
            h('header', {class: 'desk-head'}, h('div', {class: 'desk-title'}, h('p', {class: 'meta'}, h('span', {class: left ? 'badge badge-soon' : 'badge'}, left ? 'On sale' : 'Sold out'), `Opened ${ago(item.createdAt)}`), h('h1', {}, item.name)),
                h('div', {class: 'panel-actions'}, h('button', {class: 'button button-small', type: 'button', onclick: () => this.showReservations(item)}, 'Bookings'),
                    h('button', {class: 'button button-small', type: 'button', onclick: () => this.showChange(item)}, icon('pencil'), 'Change'),
                    h('button', {class: 'button button-small', type: 'button', onclick: () => copyText(url, 'Link')}, icon('link'), 'Copy link'),
                    h('a', {class: 'button button-small', href: `/book/${item.id}`, target: '_blank'}, icon('arrow'), 'Open page'))),
            h('section', {class: 'card panel'}, h('h2', {}, 'Sales'), h('div', {class: 'numbers'}, tile('Sold', item.sold, `${share(item.sold)} %`), tile('Held', item.held, 'being decided'), tile('Left', left, `of ${number(item.capacity)}`)), bar,
                h('dl', {class: 'facts'}, [['What is sold', KINDS[item.kind]?.[0] ?? 'Units'], ['Locking', LOCKINGS.find(([l]) => l === item.locking)[1]], ['A hold lasts', item.holdSeconds % 60 ? `${item.holdSeconds} s` : `${item.holdSeconds / 60} min`]]
                    .map(([what, value]) => h('div', {}, h('dt', {}, what), h('dd', {}, value))))));
    }

    draw() {
        const item = this.items.find((i) => i.id === this.chosen) ?? this.items[0];
        const now = JSON.stringify([this.items.map(({id, name}) => [id, name]), item]);

        if (now === this.drawn && $('.office-desk', this.place))
            return;
        this.drawn = now;
        this.chosen = item?.id ?? null;
        window.history.replaceState(null, '', `/studio?office=${this.chosen ?? ''}`);
        this.place.replaceChildren(h('div', {class: 'studio office-desk'},
            h('nav', {class: 'shows', 'aria-label': 'Your box offices'}, this.studio.tabs(), h('button', {class: 'button button-main', type: 'button', onclick: () => this.showForm()}, icon('plus'), 'New box office'),
                h('ul', {}, this.items.map((i) => h('li', {}, h('button', {class: 'show-item', type: 'button', 'aria-current': i.id === this.chosen ? 'true' : null, onclick: () => {
                    this.chosen = i.id;
                    this.draw();
                }}, h('span', {class: 'show-title'}, i.name), h('span', {class: 'badge'}, `${Math.round((i.sold + i.held) / i.capacity * 100)} %`)))))),
            item ? this.drawDesk(item) : this.drawEmpty()));
    }
}
