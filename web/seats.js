/* seats.js - which seat is where, and which free ones are near another. Pure. */

/* 'AB-12' as {row: 27, place: 11}; rows count A, B … Z, AA. */
export function parseSeat(key) {
    const [letters, number] = key.split('-');

    return {row: [...letters].reduce((n, c) => n * 26 + c.charCodeAt(0) - 64, 0) - 1, place: Number(number) - 1};
}

export function seatName(key) {
    const [row, number] = key.split('-');

    return `row ${row}, seat ${number}`;
}

function distance(a, b) {
    return Math.abs(a.row - b.row) * 1.6 + Math.abs(a.place - b.place);
}

/* As many free seats as were lost, each as near as can be to the seats that remain, or else to the lost one. */
export function nearest(lost, kept, free) {
    const anchors = (kept.length ? kept : lost).map(parseSeat);
    const taken = new Set(kept);
    const found = [];

    for (let i = 0; i < lost.length; i++) {
        const from = [...anchors, ...found.map(parseSeat)];
        let best = null, least = Infinity;

        for (const key of free) {
            if (taken.has(key))
                continue;
            const far = Math.min(...from.map((a) => distance(a, parseSeat(key))));

            if (far < least)
                [best, least] = [key, far];
        }
        if (best === null)
            return [];
        taken.add(best);
        found.push(best);
    }
    return found;
}

/* Nights from `from` to the morning of `to`, as keys. */
export function nights(from, to) {
    const keys = [];

    for (const day = new Date(`${from}T00:00:00Z`); day.toISOString().slice(0, 10) < to; day.setUTCDate(day.getUTCDate() + 1))
        keys.push(day.toISOString().slice(0, 10));
    return keys;
}

/* 0:59, 12:00, 1:00:00: what is left until `when`. */
export function countdown(when, now) {
    const left = Math.max(0, Math.ceil((when - now) / 1000));
    const two = (n) => String(n).padStart(2, '0');
    const hours = Math.floor(left / 3600);

    return hours ? `${hours}:${two(Math.floor(left / 60) % 60)}:${two(left % 60)}` : `${Math.floor(left / 60)}:${two(left % 60)}`;
}
