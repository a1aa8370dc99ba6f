/* The pure parts of the box office window. */
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {countdown, nearest, nights, parseSeat, seatName} from '../../web/seats.js';

test('seats are read as rows and places', () => {
    assert.deepEqual(parseSeat('A-1'), {row: 0, place: 0});
    assert.deepEqual(parseSeat('Z-9'), {row: 25, place: 8});
    assert.deepEqual(parseSeat('AB-12'), {row: 27, place: 11});
    assert.equal(seatName('AB-12'), 'row AB, seat 12');
});

test('the nearest seat is beside those that remain, else beside the one that was lost', () => {
    const free = ['A-1', 'A-7', 'B-3', 'C-5'];

    assert.deepEqual(nearest(['A-4'], ['A-8'], free), ['A-7']);
    assert.deepEqual(nearest(['B-4'], [], free), ['B-3']);
    assert.deepEqual(nearest(['A-1', 'A-2'], [], ['A-9', 'B-1', 'B-2']), ['B-1', 'B-2']);
    assert.deepEqual(nearest(['A-1', 'A-2'], [], ['A-9']), [], 'one for two is no offer');
});

test('nights go over the ends of months', () => {
    assert.deepEqual(nights('2028-02-28', '2028-03-02'), ['2028-02-28', '2028-02-29', '2028-03-01']);
    assert.deepEqual(nights('2028-02-28', '2028-02-28'), []);
});

test('a countdown never shows less than is left', () => {
    assert.equal(countdown(10000, 0), '0:10');
    assert.equal(countdown(59001, 0), '1:00');
    assert.equal(countdown(3600000, 0), '1:00:00');
    assert.equal(countdown(0, 5), '0:00');
});
