/* advice.js - what a stream's numbers mean, in words a producer can act on. Pure: health in, advice out. */

const KEYFRAME_WARN_S = 4;
const KEYFRAME_BAD_S = 10;
const SILENT_S = 3;

/* Bits a second that look clean at this height and 30 frames a second, by H.264 at its usual settings. */
const ENOUGH = [[2160, 13e6], [1440, 8e6], [1080, 4e6], [720, 2e6], [480, 8e5], [0, 3e5]];

/* Below this share of it even slides and talking heads suffer; above it, still pictures are fine. */
const STARVED = .1;

function enoughFor(height, fps) {
    const [, bits] = ENOUGH.find(([least]) => height >= least);

    return bits * (fps > 40 ? 1.5 : 1);
}

function say(seconds) {
    return seconds >= 10 ? String(Math.round(seconds)) : seconds.toFixed(1);
}

/* What each advice is about, so that the server's own note on the same thing is not said twice. */
const TOPICS = {keyframes: /keyframe/i, sound: /no sound/i, picture: /no picture/i};

/* [{level: 'good' | 'warn' | 'bad', title, text}], the worst first. `now`: milliseconds since 1970. */
export function advise(health, now = Date.now()) {
    const found = [];
    const topics = new Set();
    const add = (level, title, text, topic) => {
        found.push({level, title, text});
        topics.add(topic);
    };

    if (!health || !health.publishing)
        return [];
    const quiet = health.heardAt ? (now - Date.parse(health.heardAt)) / 1000 : 0;
    const age = (now - Date.parse(health.since)) / 1000;
    const {keyframeInterval: keyframes, width, height, fps, bitrate} = health;

    if (quiet >= SILENT_S || (bitrate === 0 && age > 5)) {
        const since = quiet >= SILENT_S ? ` since ${Math.round(quiet)} s` : '';

        add('bad', `Nothing is arriving${since}`, 'The encoder is connected and silent. Look at its network, and at the dropped frames in its status bar.', 'quiet');
        return found;
    }
    if (keyframes > KEYFRAME_WARN_S)
        add(keyframes >= KEYFRAME_BAD_S ? 'bad' : 'warn', `Keyframes every ${say(keyframes)} s`,
            'Viewers wait that long for their first picture. Set the keyframe interval to 2 s: in OBS, Settings → Output → Streaming → Keyframe Interval.', 'keyframes');
    if (!height && age > 4)
        add('bad', 'No picture is arriving', 'Only sound reaches us. If that is not meant, look at the video source and the encoder.', 'picture');
    if (!known(health.audioCodec) && age > 4)
        add('warn', 'No sound is arriving', 'If that is not meant, look at the audio mixer of your encoder: is the track muted, or not part of the stream?', 'sound');
    if (height && bitrate > 0 && age > 12 && bitrate < enoughFor(height, fps) * STARVED)
        add('warn', `Low bitrate for ${Math.min(width, height)}p`,
            `The picture may look blocky in motion. Around ${(enoughFor(height, fps) / 1e6).toFixed(1)} Mbit/s suit this size; or send a smaller picture.`, 'bitrate');
    if (height && bitrate > 30e6)
        add('warn', 'Very high bitrate', 'Viewers who get your own quality need a connection faster than this. 6 to 12 Mbit/s are plenty for 1080p.', 'bitrate');
    if (height && fps > 0 && fps < 14 && age > 12)
        add('warn', `Only ${say(fps)} pictures a second`, 'The encoder cannot keep up, or the network drops frames. A faster preset or a smaller picture helps.', 'fps');
    if (health.gaps > 0)
        add('warn', health.gaps === 1 ? 'One jump in the time stamps' : `${health.gaps} jumps in the time stamps`,
            'They were mended, and viewers may have seen a short jump. They come from an encoder that is overloaded or was switched over.', 'gaps');
    for (const note of health.notes ?? [])
        if (![...topics].some((topic) => TOPICS[topic]?.test(note)))
            found.push({level: 'warn', title: '', text: note});
    found.sort((a, b) => (a.level === 'bad' ? 0 : 1) - (b.level === 'bad' ? 0 : 1));
    if (!found.length)
        found.push(age < 6 ? {level: 'good', title: 'The stream is here', text: 'Numbers settle in a few seconds.'}
            : {level: 'good', title: 'All is well', text: 'Picture, sound and keyframes arrive as they should.'});
    return found;
}

/* Whether a codec's name stands for one. */
export function known(codec) {
    return Boolean(codec) && codec !== 'none';
}
