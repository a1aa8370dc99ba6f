/* WebRTC in Chromium: the picture over UDP and over TCP, sound, reports, and the end. */
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {House, plays} from './house.mjs';

const LIMIT = {timeout: 120000};
let house, event, url;

before(async () => {
    house = await House.open('--webrtc', '127.0.0.1:0', '--segment', '2');
    event = await house.event('Late show');
    house.publish(event, {words: ['--fps', '30', '--bitrate', '1000k']});
    url = `/v/${(await house.live(event)).video}/whep`;
}, LIMIT);

after(async () => {
    assert.equal(await house?.close(), 0, 'serve ends well on SIGTERM');
}, LIMIT);

/* Plays `path` in the page, over `way` ("udp" or "tcp") alone, and leaves window.pc and the session's URL. */
function watch(page, path, way) {
    return page.evaluate(async ([where, protocol]) => {
        const pc = window.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
        const video = document.body.appendChild(document.createElement('video'));
        const stream = video.srcObject = new MediaStream();

        video.autoplay = video.muted = true;
        pc.ontrack = (e) => stream.addTrack(e.track);
        pc.addTransceiver('video', {direction: 'recvonly'});
        pc.addTransceiver('audio', {direction: 'recvonly'});
        await pc.setLocalDescription(await pc.createOffer());
        const began = performance.now();
        const answer = await fetch(where, {method: 'POST', body: pc.localDescription.sdp, headers: {'Content-Type': 'application/sdp'}});
        const text = await answer.text();

        if (answer.status !== 201)
            throw new Error(`${answer.status} ${text}`);
        await pc.setRemoteDescription({type: 'answer', sdp: text.split('\r\n')
            .filter((l) => !l.startsWith('a=candidate:') || l.includes(` ${protocol} `)).join('\r\n')});
        await new Promise((shown) => video.requestVideoFrameCallback(shown));
        window.session = answer.headers.get('Location');
        return Math.round(performance.now() - began);
    }, [path, way]);
}

/* What has come so far, and by which way. */
function received(page) {
    return page.evaluate(async () => {
        const all = [...(await window.pc.getStats()).values()];
        const of = (kind) => all.find((s) => s.type === 'inbound-rtp' && s.kind === kind) ?? {};
        const pair = all.find((s) => s.type === 'candidate-pair' && s.nominated) ?? {};
        const peer = all.find((s) => s.id === pair.remoteCandidateId) ?? {};
        const transport = all.find((s) => s.type === 'transport') ?? {};

        return {frames: of('video').framesDecoded ?? 0, dropped: of('video').framesDropped ?? 0, freezes: of('video').freezeCount ?? 0,
            lost: of('video').packetsLost ?? 0, nacks: of('video').nackCount ?? 0, plis: of('video').pliCount ?? 0,
            delay: of('video').jitterBufferDelay / of('video').jitterBufferEmittedCount, sounds: of('audio').totalSamplesReceived ?? 0,
            silent: of('audio').concealedSamples ?? 0, energy: of('audio').totalAudioEnergy ?? 0, protocol: peer.protocol,
            cipher: transport.srtpCipher, state: window.pc.connectionState};
    });
}

for (const way of ['udp', 'tcp']) {
    test(`Chromium plays it over ${way} within a second, and nothing is lost`, LIMIT, async () => {
        const page = await house.page('/');
        const ms = await watch(page, url, way);
        const before = await received(page);

        await plays(page, 6);
        const now = await received(page);

        console.log(`# ${way}: first picture after ${ms} ms; ${JSON.stringify(now)}`);
        assert.equal(now.protocol, way);
        assert.equal(now.cipher, 'SRTP_AEAD_AES_128_GCM');
        assert.ok(now.frames - before.frames > 150, `${now.frames - before.frames} frames in 6 s`);
        assert.equal(now.lost, 0);
        assert.equal(now.plis, 0);
        assert.ok(ms < 2000, `the first picture came after ${ms} ms`);
        assert.deepEqual(page.troubles, []);
        await page.context().close();
    });
}

test('the ICE servers of a Link field are taken as RTCPeerConnection wants them', LIMIT, async () => {
    const page = await house.page('/');
    const servers = await page.evaluate(async () => {
        const {iceServers} = await import('/assets/whep.js');
        const got = iceServers('<turn:t.example.net?transport=udp>; rel="ice-server"; username="17:viewer"; credential="a+b/c="; credential-type="password", '
            + '<stun:s.example.net>; rel="ice-server", </v/1>; rel="next", <https://x.example/>; rel="ice-server"');

        new RTCPeerConnection({iceServers: got}).close(); /* it throws at what it cannot take */
        return [got, iceServers(null)];
    });

    assert.deepEqual(servers, [[{urls: 'turn:t.example.net?transport=udp', username: '17:viewer', credential: 'a+b/c='}, {urls: 'stun:s.example.net'}], []]);
    await page.context().close();
});

test('DELETE ends the session, and the browser is told', LIMIT, async () => {
    const page = await house.page('/');

    await watch(page, url, 'udp');
    assert.equal(await page.evaluate(async () => (await fetch(window.session, {method: 'DELETE'})).status), 204);
    assert.equal(await page.evaluate(async () => (await fetch(window.session, {method: 'DELETE'})).status), 404);
    await page.waitForFunction(() => window.pc.connectionState !== 'connected', null, {timeout: 30000});
    await page.context().close();
});
