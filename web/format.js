/* format.js - numbers and times as a person says them. Pure. */

/* 4:05, 1:02:03. */
export function length(seconds) {
    const whole = Math.max(0, Math.floor(seconds || 0));
    const s = String(whole % 60).padStart(2, '0');
    const m = Math.floor(whole / 60) % 60;
    const hours = Math.floor(whole / 3600);

    return hours ? `${hours}:${String(m).padStart(2, '0')}:${s}` : `${m}:${s}`;
}

/* For screen readers: "1 hour 2 minutes 3 seconds". */
export function lengthInWords(seconds) {
    const whole = Math.max(0, Math.floor(seconds || 0));
    const parts = [[Math.floor(whole / 3600), 'hour'], [Math.floor(whole / 60) % 60, 'minute'], [whole % 60, 'second']];

    return parts.filter(([n], i) => n || i === 2).map(([n, word]) => `${n} ${word}${n === 1 ? '' : 's'}`).join(' ');
}

export function bitrate(bits) {
    if (bits >= 999500)
        return {number: (bits / 1e6).toFixed(bits >= 9.95e6 ? 0 : 1), unit: 'Mbit/s'};
    return {number: String(Math.round(bits / 1e3)), unit: 'kbit/s'};
}

const STEPS = [[60, 'second'], [3600, 'minute', 60], [86400, 'hour', 3600], [86400 * 14, 'day', 86400],
    [86400 * 60, 'week', 86400 * 7], [86400 * 730, 'month', 86400 * 30.44], [Infinity, 'year', 86400 * 365.25]];

/* "12 minutes ago", "in 3 days". */
export function ago(when, now = Date.now()) {
    const seconds = (new Date(when).getTime() - now) / 1000;
    const [, unit, size = 1] = STEPS.find(([below]) => Math.abs(seconds) < below);

    if (unit === 'second')
        return seconds > 0 ? 'in a moment' : 'just now';
    return new Intl.RelativeTimeFormat('en', {numeric: 'auto'}).format(Math.round(seconds / size), unit);
}

/* Our words are English; whose English, the browser says. */
export const WORDS = globalThis.navigator?.language?.startsWith('en') ? navigator.language : 'en-GB';

export function date(when) {
    const time = new Date(when);
    const year = time.getFullYear() === new Date().getFullYear() ? undefined : 'numeric';

    return time.toLocaleDateString(WORDS, {weekday: 'long', day: 'numeric', month: 'long', year});
}

export function clock(when) {
    return new Date(when).toLocaleTimeString(undefined, {hour: '2-digit', minute: '2-digit'});
}

/* What a quality of the menu is called. */
export function quality(track) {
    if (!track.height)
        return 'Sound only';
    const rate = Math.round(track.frameRate || 0);

    return `${Math.min(track.height, track.width || Infinity)}p${rate > 31 ? rate : ''}`;
}
