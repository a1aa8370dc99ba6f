/* The players that people use, one after the other on one live stream, for a long while each: how old the picture is, how often it
 * stands still, and how far sound and picture are apart. By hand, on a machine that does nothing else:
 *
 *     node tests/soak/players.mjs [--seconds 120] [--only "Shaka, DASH"]
 *
 * Exit status 1 when a player stands still, or sound and picture are mostly farther apart than they may be. */
import {parseArgs} from 'node:util';
import {House} from '../browser/house.mjs';
import {PLAYERS, SKEW_MS_MAX, measure, open} from '../browser/players.mjs';

const {values} = parseArgs({options: {seconds: {type: 'string', default: '120'}, only: {type: 'string'}}});
const names = Object.keys(PLAYERS).filter((name) => !values.only || name === values.only);
const house = await House.open('--segment', '4', '--webrtc', '127.0.0.1:0');
const event = await house.event('A long evening');
let bad = 0;

try {
    house.publish(event, {words: ['--size', '640x360', '--bitrate', '800k', '--zerolatency']});
    const {video} = await house.live(event);

    await house.until(`/videos/${video}`, (v) => v.segments >= 2, 'two segments');
    console.log('| player | stalls | p50, p90, p99 ms | sound after picture: p50, worst ms | beeps | pictures |\n| --- | --- | --- | --- | --- | --- |');
    for (const name of names) {
        const page = await open(house, PLAYERS[name], `${house.http}/v/${video}`);
        const m = await measure(page, Number(values.seconds));

        console.log(`| ${name} | ${m.stalls} | ${m.p50}, ${m.p90}, ${m.p99} | ${m.skew}, ${m.skew_max} | ${m.beeps} | ${m.pictures} |`);
        if (m.says)
            console.error(`${name} says ${m.says}`);
        bad += m.stalls > 0 || !(Math.abs(m.skew) <= (PLAYERS[name].skew_ms_max ?? SKEW_MS_MAX));
        await page.context().close();
    }
} finally {
    await house.close();
}
process.exitCode = bad > 0 ? 1 : 0;
