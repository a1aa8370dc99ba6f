/* api.js - the calls of /api/v1, and their refusals as errors with words. */

export class ApiError extends Error {
    constructor(status, detail, problem = null, retryAfter = null) {
        super(detail);
        this.retryAfter = retryAfter; /* seconds, where the server said when to come back */
        this.status = status; /* 0: the server was not reached */
        this.problem = problem; /* the whole document (RFC 9457), where there was one */
    }
}

async function refusal(answer) {
    try {
        const problem = await answer.json();

        return new ApiError(answer.status, problem.detail || problem.title || answer.statusText, problem, Number(answer.headers.get('Retry-After')) || null);
    } catch {
        return new ApiError(answer.status, `The server answered ${answer.status} ${answer.statusText}`.trim() + '.');
    }
}

export async function call(method, path, {body, token, signal, headers: more} = {}) {
    const headers = {...more};
    let answer;

    if (body !== undefined)
        headers['Content-Type'] = 'application/json';
    if (token)
        headers.Authorization = `Bearer ${token}`;
    try {
        answer = await fetch(`/api/v1${path}`, {method, headers, signal,
            body: body === undefined ? undefined : JSON.stringify(body)});
    } catch (problem) {
        if (problem.name === 'AbortError')
            throw problem;
        throw new ApiError(0, 'The server cannot be reached. Is it running, and are you online?');
    }
    if (!answer.ok)
        throw await refusal(answer);
    return answer.status === 204 ? null : answer.json();
}

/* Every event, newest first, over all pages of the list. */
export async function listEvents() {
    const items = [];
    let after = '';

    do {
        const page = await call('GET', `/events?limit=500${after && `&after=${after}`}`);

        items.push(...page.items);
        after = page.items.length === 500 ? page.items.at(-1).id : '';
    } while (after);
    return items;
}

export function getEvent(id) {
    return call('GET', `/events/${encodeURIComponent(id)}`);
}

export function getVideo(id) {
    return call('GET', `/videos/${encodeURIComponent(id)}`);
}

/* "00:01:02.500" or "01:02.500", in seconds. */
function vttSeconds(text) {
    return text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
}

/* The cues of a WebVTT file of pictures: [{start, end, url}], in order. */
export function parseThumbnails(text, base) {
    const cues = [];
    const lines = text.split(/\r?\n/);

    for (let i = 0; i + 1 < lines.length; i++) {
        const times = /^((?:\d+:)?\d\d:\d\d\.\d{3}) --> ((?:\d+:)?\d\d:\d\d\.\d{3})/.exec(lines[i]);

        if (times && lines[i + 1])
            cues.push({start: vttSeconds(times[1]), end: vttSeconds(times[2]), url: new URL(lines[i + 1], base).href});
    }
    return cues;
}

/* The preview pictures of a video; none while there are none. */
export async function getThumbnails(id) {
    try {
        const answer = await fetch(`/api/v1/videos/${encodeURIComponent(id)}/thumbnails.vtt`);

        return answer.ok ? parseThumbnails(await answer.text(), answer.url) : [];
    } catch {
        return [];
    }
}

/* How much the server's clock is ahead of ours, in ms: half of the way is each way's, so of several `times` the shortest way is believed. */
export async function clockAhead(times = 1) {
    let shortest = Infinity;
    let ahead = 0;

    for (let i = 0; i < times; i++) {
        const began = Date.now();
        const text = await fetch('/api/v1/time').then((a) => a.text()).catch(() => null);
        const took = Date.now() - began;

        if (text && took < shortest) {
            shortest = took;
            ahead = new Date(text) - (began + took / 2);
        }
    }
    return ahead;
}
