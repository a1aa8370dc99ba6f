/* The pure parts of the pages: numbers and times as words, advice, thumbnails' cues. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {advise} from '../../web/advice.js';
import {parseThumbnails} from '../../web/api.js';
import {ago, bitrate, length, lengthInWords, quality} from '../../web/format.js';

const NOW = Date.parse('2026-11-23T20:00:00Z');
const FINE = {publishing: true, since: '2026-11-23T19:00:00Z', heardAt: '2026-11-23T20:00:00Z', videoCodec: 'h264', audioCodec: 'aac',
    width: 1920, height: 1080, fps: 30, bitrate: 5e6, keyframeInterval: 2, gaps: 0, notes: []};

function titles(change) {
    return advise({...FINE, ...change}, NOW).map(({level, title, text}) => `${level}: ${title || text}`);
}

test('a good stream is told so, and only that', () => {
    assert.deepEqual(titles({}), ['good: All is well']);
});

test('nobody publishing needs no advice', () => {
    assert.deepEqual(advise(null, NOW), []);
});

test('seldom keyframes are named with their distance and what to set in OBS', () => {
    const [first] = advise({...FINE, keyframeInterval: 8.34}, NOW);

    assert.equal(first.level, 'warn');
    assert.equal(first.title, 'Keyframes every 8.3 s');
    assert.match(first.text, /2 s.*OBS, Settings → Output/);
    assert.deepEqual(titles({keyframeInterval: 21}), ['bad: Keyframes every 21 s']);
});

test('silence is said with its length, and nothing else matters then', () => {
    assert.deepEqual(titles({heardAt: '2026-11-23T19:59:56Z', keyframeInterval: 9}), ['bad: Nothing is arriving since 4 s']);
});

test('missing sound and missing picture are told apart', () => {
    assert.deepEqual(titles({audioCodec: 'none'}), ['warn: No sound is arriving']);
    assert.deepEqual(titles({height: 0, width: 0, videoCodec: 'none'}), ['bad: No picture is arriving']);
});

test('a note of the server is shown, but not beside our own words on the same thing', () => {
    assert.deepEqual(titles({notes: ['The disk is nearly full.']}), ['warn: The disk is nearly full.']);
    assert.deepEqual(titles({keyframeInterval: 6, notes: ['Keyframes are far apart, so viewers wait.']}), ['warn: Keyframes every 6.0 s']);
});

test('what is worst stands first', () => {
    assert.deepEqual(titles({gaps: 2, keyframeInterval: 12}), ['bad: Keyframes every 12 s', 'warn: 2 jumps in the time stamps']);
});

test('positions and lengths', () => {
    assert.deepEqual([0, 65, 3599.9, 3723, NaN].map(length), ['0:00', '1:05', '59:59', '1:02:03', '0:00']);
    assert.equal(lengthInWords(3661), '1 hour 1 minute 1 second');
    assert.equal(lengthInWords(0), '0 seconds');
});

test('bitrates', () => {
    assert.deepEqual(bitrate(257400), {number: '257', unit: 'kbit/s'});
    assert.deepEqual(bitrate(4.24e6), {number: '4.2', unit: 'Mbit/s'});
    assert.deepEqual(bitrate(999900), {number: '1.0', unit: 'Mbit/s'});
});

test('times from now', () => {
    assert.equal(ago(NOW - 12 * 60000, NOW), '12 minutes ago');
    assert.equal(ago(NOW + 3 * 86400000, NOW), 'in 3 days');
    assert.equal(ago(NOW - 5000, NOW), 'just now');
});

test('qualities are named by their shorter side', () => {
    assert.equal(quality({width: 1280, height: 720, frameRate: 30}), '720p');
    assert.equal(quality({width: 1080, height: 1920, frameRate: 60}), '1080p60');
    assert.equal(quality({}), 'Sound only');
});

test('the cues of preview pictures', () => {
    const text = 'WEBVTT\n\n00:00:00.000 --> 00:00:10.000\nthumbnails/0.jpg\n\n01:00:10.500 --> 01:00:20.000\nthumbnails/1.jpg\n';

    assert.deepEqual(parseThumbnails(text, 'http://h/api/v1/videos/X/thumbnails.vtt'), [
        {start: 0, end: 10, url: 'http://h/api/v1/videos/X/thumbnails/0.jpg'},
        {start: 3610.5, end: 3620, url: 'http://h/api/v1/videos/X/thumbnails/1.jpg'}]);
    assert.deepEqual(parseThumbnails('', 'http://h/'), []);
});
