/* dom.js - elements without markup: text from people only ever becomes a text node. */

/* h('a', {href: '/', class: 'brand', onclick: f, dataset: {id}}, 'text', child, null, [more]) */
export function h(tag, attributes, ...children) {
    const element = document.createElement(tag);

    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === undefined || value === null || value === false)
            continue;
        if (name.startsWith('on'))
            element.addEventListener(name.slice(2), value);
        else if (name === 'dataset')
            Object.assign(element.dataset, value);
        else
            element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
    return element;
}

const SVG = 'http://www.w3.org/2000/svg';

/* A picture of icons.svg; it says nothing to a screen reader, so the button around it must. */
export function icon(name) {
    const svg = document.createElementNS(SVG, 'svg');
    const use = document.createElementNS(SVG, 'use');

    svg.setAttribute('class', 'icon');
    svg.setAttribute('aria-hidden', 'true');
    use.setAttribute('href', '/assets/icons.svg#' + name);
    svg.append(use);
    return svg;
}

/* Changes the picture of an icon() in place. */
export function setIcon(svg, name) {
    const href = '/assets/icons.svg#' + name;
    const use = svg.firstElementChild;

    if (use.getAttribute('href') !== href)
        use.setAttribute('href', href);
}

export function $(selector, root = document) {
    return root.querySelector(selector);
}

let toastTimer = 0;

/* One sentence at the bottom that goes away by itself. */
export function toast(text, bad = false) {
    $('.toast')?.remove();
    clearTimeout(toastTimer);
    const element = h('div', {class: bad ? 'toast toast-bad' : 'toast', role: bad ? 'alert' : 'status'},
        icon(bad ? 'alert' : 'check'), text);

    document.body.append(element);
    toastTimer = setTimeout(() => element.remove(), bad ? 7000 : 2600);
}

/* Puts text on the clipboard, also where the page came over plain HTTP and there is no clipboard API. */
export async function copyText(text, what) {
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        const field = h('textarea', {class: 'quiet-text', readonly: true, 'aria-hidden': 'true'});

        field.value = text;
        (document.querySelector('dialog[open]') ?? document.body).append(field);
        field.select();
        const done = document.execCommand('copy');

        field.remove();
        if (!done) {
            toast('The browser does not let this page copy; select the text yourself.', true);
            return;
        }
    }
    toast(`${what} copied`);
}

/* Calls `work` every `ms` while the page is seen, and at once when it is seen again. Returns a stop function. */
export function every(ms, work) {
    let timer = 0, stopped = false, running = false;

    async function turn() {
        clearTimeout(timer);
        if (stopped || running)
            return;
        running = true;
        try {
            if (!document.hidden)
                await work();
        } finally {
            running = false;
            if (!stopped)
                timer = setTimeout(turn, ms);
        }
    }

    function seen() {
        if (!document.hidden)
            turn();
    }

    document.addEventListener('visibilitychange', seen);
    turn();
    return () => {
        stopped = true;
        clearTimeout(timer);
        document.removeEventListener('visibilitychange', seen);
    };
}
