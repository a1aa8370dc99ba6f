/* links.js - the tickets of a group's booking that its buyer gives away: a name, and a link for each. */
import {call} from '/assets/api.js';
import {copyText, h, icon, toast} from '/assets/dom.js';

const panels = new Map(); /* reservation: its panel, which keeps what is being typed */

function drawLink(path, link, again) {
    return h('li', {}, h('span', {}, link.name), h('span', {class: 'link-actions'},
        h('button', {class: 'button button-small', type: 'button', 'aria-label': `Copy ${link.name}'s link`, onclick: () => copyText(link.watchUrl, 'Link')}, icon('copy'), 'Copy link'),
        h('button', {class: 'button button-small button-plain', type: 'button', 'aria-label': `Take ${link.name}'s link back`,
            onclick: () => call('DELETE', `${path}/${link.id}`).then(again).catch((problem) => toast(problem.message, true))}, 'Take back')));
}

/* The panel of a confirmed booking for `people`; nothing where it is one person's, or of no event. */
export function linksOf(reservation) {
    const people = reservation.units.reduce((n, u) => n + u.quantity, 0);
    const path = `/reservations/${reservation.id}/links`;

    if (!reservation.ticket || people < 2)
        return null;
    if (panels.has(reservation.id))
        return panels.get(reservation.id);
    const list = h('ul', {class: 'basket links'});
    const name = h('input', {id: 'link-name', type: 'text', maxlength: 64, required: true, autocomplete: 'off'});
    const left = h('p', {class: 'hint', role: 'status'});
    const form = h('form', {class: 'field', onsubmit: async (event) => {
        event.preventDefault();
        try {
            await call('POST', path, {body: {name: name.value.trim()}});
            name.value = '';
            await draw();
        } catch (problem) {
            toast(problem.message, true);
        }
    }}, h('label', {for: 'link-name'}, 'Give a ticket to'), name, h('button', {class: 'button button-small', type: 'submit'}, icon('plus'), 'Make a link'));
    const panel = h('section', {class: 'links-panel', 'aria-label': 'Tickets to give away'}, h('h3', {}, 'Tickets to give away'), left, list, form);

    async function draw() {
        const {items} = await call('GET', path);
        const free = people - 1 - items.length;

        list.replaceChildren(...items.map((link) => drawLink(path, link, draw)));
        left.textContent = free > 0 ? `One of ${people} is yours; ${free} to give away.` : `One of ${people} is yours; all others are given away.`;
        form.hidden = free <= 0;
    }

    panels.set(reservation.id, panel);
    draw().catch((problem) => { left.textContent = problem.message; });
    return panel;
}
