/* hall.js - the drawings one chooses from: the seats of a hall, a calendar of nights, a list of units.
 *
 * Each is {element, update(key), refresh()}; what is chosen is a Map of key to quantity that the page owns. */
import {h, icon} from '/assets/dom.js';
import {WORDS} from '/assets/format.js';
import {parseSeat, seatName} from '/assets/seats.js';

const SVG = 'http://www.w3.org/2000/svg';

function svg(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);

    for (const [name, value] of Object.entries(attributes))
        element.setAttribute(name, value);
    element.append(...children);
    return element;
}

export function left(unit) {
    return unit.capacity - unit.held - unit.sold;
}

/* --- seats --- */

const STEP = 26, SIZE = 20, MARGIN = 46, TOP = 74;

/* Rows bend a little around the stage. */
function bend(place, perRow) {
    const off = (place - (perRow - 1) / 2) / Math.max(perRow, 12);

    return -off * off * STEP * 3.2;
}

export function drawSeats({units, seats, chosen, yours, choose}) {
    const marks = new Map();
    const width = seats.perRow * STEP + 2 * MARGIN, dip = -bend(0, seats.perRow);
    const height = TOP + dip + seats.rows * STEP + 16;
    const picture = svg('svg', {viewBox: `0 0 ${width} ${height}`, class: 'hall', role: 'group', 'aria-label': 'Seats; the arrow keys move, the space bar chooses'});
    let active = null;

    picture.append(svg('path', {class: 'hall-stage', d: `M${width * .2} 34 Q${width / 2} 8 ${width * .8} 34 L${width * .77} 46 Q${width / 2} 22 ${width * .23} 46 Z`}),
        svg('text', {x: width / 2, y: 33, class: 'hall-word'}, 'STAGE'));

    function mark(key) {
        const unit = units.get(key), seat = marks.get(key);
        const state = chosen.has(key) || yours(key) ? 'chosen' : left(unit) > 0 ? 'free' : unit.sold ? 'sold' : 'held';

        if (seat.dataset.state === state)
            return;
        seat.dataset.state = state;
        seat.setAttribute('aria-checked', String(state === 'chosen'));
        seat.setAttribute('aria-disabled', String(state === 'sold' || state === 'held'));
        seat.setAttribute('aria-label', `${seatName(key)}, ${state === 'chosen' ? 'chosen' : state === 'free' ? 'free' : 'taken'}`);
    }

    function focus(key) {
        if (active)
            marks.get(active)?.setAttribute('tabindex', '-1');
        active = key;
        marks.get(key).setAttribute('tabindex', '0');
    }

    for (const key of units.keys()) {
        const {row, place} = parseSeat(key);
        const x = MARGIN + place * STEP + (STEP - SIZE) / 2, y = TOP + dip + row * STEP + bend(place, seats.perRow);
        const seat = svg('rect', {x, y, width: SIZE, height: SIZE, rx: 6, class: 'seat', role: 'checkbox', tabindex: '-1'});

        seat.dataset.key = key;
        seat.append(svg('title', {}, seatName(key)));
        marks.set(key, seat);
        picture.append(seat);
        mark(key);
        if (place === 0)
            for (const at of [MARGIN - 20, width - MARGIN + 20])
                picture.append(svg('text', {x: at, y: y + 15, class: 'hall-row'}, key.split('-')[0]));
    }
    focus(units.keys().next().value);
    /* A seat is never too small for a finger, nor larger than a hand. */
    picture.style.minWidth = `${Math.round(width * .72)}px`;
    picture.style.maxWidth = `${Math.round(width * 1.5)}px`;

    picture.addEventListener('click', (e) => {
        const key = e.target.closest('.seat')?.dataset.key;

        if (key) {
            focus(key);
            choose(key);
        }
    });
    picture.addEventListener('keydown', (e) => {
        const key = e.target.dataset?.key;
        const move = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[e.key];

        if (!key || (!move && e.key !== ' ' && e.key !== 'Enter'))
            return;
        e.preventDefault();
        if (!move) {
            choose(key);
            return;
        }
        const at = parseSeat(key);
        const next = [...marks.keys()].find((k) => {
            const other = parseSeat(k);

            return other.row === at.row + move[0] && other.place === at.place + move[1];
        });

        if (next) {
            focus(next);
            marks.get(next).focus();
        }
    });
    return {
        element: h('div', {class: 'hall-place'}, h('div', {class: 'hall-scroll'}, picture), h('ul', {class: 'legend'},
            [['free', 'Free'], ['chosen', 'Yours'], ['held', 'Taken']].map(([state, word]) => h('li', {class: `legend-${state}`}, word)))),
        update: mark,
        refresh: () => marks.forEach((_, key) => mark(key)),
    };
}

/* --- pools and lists --- */

export function stepper(label, value, most, change) {
    const field = h('input', {type: 'number', inputmode: 'numeric', min: 0, max: most, value, 'aria-label': label, onchange: () => set(Number(field.value))});
    const less = h('button', {class: 'button button-icon', type: 'button', 'aria-label': `Fewer: ${label}`, onclick: () => set(Number(field.value) - 1)}, '−');
    const more = h('button', {class: 'button button-icon', type: 'button', 'aria-label': `More: ${label}`, onclick: () => set(Number(field.value) + 1)}, icon('plus'));

    function set(wanted, quiet) {
        const whole = Math.max(0, Math.min(most, Math.floor(wanted) || 0));

        field.value = whole;
        less.disabled = whole <= 0;
        more.disabled = whole >= most;
        if (!quiet)
            change(whole);
    }

    set(value, true);
    return {element: h('div', {class: 'stepper'}, less, field, more), set: (v) => set(v, true), limit(now) {
        most = now;
        field.max = now;
        set(Number(field.value), true);
    }};
}

export function drawList({units, chosen, quantity, single}) {
    const rows = new Map();
    const list = h('ul', {class: 'units'});

    for (const [key, unit] of units) {
        const name = single ? 'Places' : key;
        const count = h('span', {class: 'units-left'});
        const step = stepper(name, chosen.get(key) ?? 0, left(unit), (n) => quantity(key, n));

        rows.set(key, {count, step});
        list.append(h('li', {}, h('span', {class: 'units-name'}, name, count), step.element));
    }

    function update(key) {
        const unit = units.get(key), {count, step} = rows.get(key);

        count.textContent = left(unit) > 0 ? `${left(unit).toLocaleString(WORDS)} of ${unit.capacity.toLocaleString(WORDS)} left` : 'sold out';
        step.limit(left(unit));
        step.set(chosen.get(key) ?? 0);
    }

    units.forEach((_, key) => update(key));
    return {element: list, update, refresh: () => units.forEach((_, key) => update(key))};
}

/* --- nights --- */

export function drawNights({units, chosen, pick}) {
    const days = new Map();
    const months = new Map();

    for (const key of units.keys()) {
        const month = key.slice(0, 7);

        if (!months.has(month)) {
            const first = new Date(`${month}-01T00:00:00Z`);
            const grid = h('div', {class: 'month-days'});

            for (let i = 0; i < (first.getUTCDay() + 6) % 7; i++)
                grid.append(h('span'));
            for (let day = 1; day < Number(key.slice(8)); day++)
                grid.append(h('span', {class: 'day-none'}, String(day)));
            months.set(month, {grid, name: first.toLocaleDateString(WORDS, {month: 'long', year: 'numeric', timeZone: 'UTC'})});
        }
        const day = h('button', {class: 'day', type: 'button', onclick: () => pick(key)}, h('b', {}, String(Number(key.slice(8)))), h('small'));

        days.set(key, day);
        months.get(month).grid.append(day);
    }

    function update(key) {
        const day = days.get(key), free = left(units.get(key));
        const when = new Date(`${key}T00:00:00Z`).toLocaleDateString(WORDS, {weekday: 'long', day: 'numeric', month: 'long', timeZone: 'UTC'});

        day.lastElementChild.textContent = free > 0 ? String(free) : '–';
        day.classList.toggle('day-full', free <= 0);
        day.setAttribute('aria-pressed', String(chosen.has(key)));
        day.setAttribute('aria-label', `${when}, ${free > 0 ? `${free} left` : 'full'}`);
    }

    units.forEach((_, key) => update(key));
    return {
        element: h('div', {class: 'months'}, [...months.values()].map(({grid, name}) => h('section', {class: 'month'}, h('h3', {}, name),
            h('div', {class: 'month-names', 'aria-hidden': 'true'}, [...'MTWTFSS'].map((d) => h('span', {}, d))), grid))),
        update,
        refresh: () => units.forEach((_, key) => update(key)),
    };
}
