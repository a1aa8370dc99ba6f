/* Where the live edge is, told from what the server says now and then. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Edge} from '../../web/edge.js';

test('the edge moves on with the clock between two words of the server', () => {
    const edge = new Edge();

    edge.said(10, 100);
    assert.equal(edge.at(101.5), 11.5);
});

test('of several words the one that is least late counts, and the edge never goes back for a late one', () => {
    const edge = new Edge();

    edge.said(10, 103); /* three seconds late */
    edge.said(14, 104); /* just done */
    edge.said(14, 107);
    assert.equal(edge.at(107), 17);
});

test('an absence is no part of the video', () => {
    const edge = new Edge();

    edge.said(10, 100);
    edge.hold(102);
    edge.hold(103);
    assert.equal(edge.at(160), 12);
    edge.goOn(160);
    assert.equal(edge.at(161), 13);
});

test('what the server finished meanwhile counts while nothing comes', () => {
    const edge = new Edge();

    edge.said(10, 100);
    edge.hold(102);
    edge.said(11, 103);
    assert.equal(edge.at(104), 12);
    edge.said(12.5, 105);
    assert.equal(edge.at(106), 12.5);
});
