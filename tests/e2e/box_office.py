"""The box office from outside: clients that book and write down every call, and a checker that proves from that history and the
final rows that nothing was sold twice, lost or made up.

A call has a moment it was invoked and, unless its answer never came, one it was answered; what it did happened in between. So
of every reservation two stretches are known for each of its units:

- the certain one, from its answer until somebody may have asked to end it, or its hold ended: these must never add up to
  more than the capacity. Where they do not, taking every success at its latest and every end at its earliest moment is an
  order of all of them that respects real time, so for successes this is the whole truth and not a sample of it;
- the possible one, from its call until its end was answered: where somebody was told `sold-out`, these must reach so high,
  at some moment of that call.
"""
import asyncio
import collections
import contextlib
import datetime
import json
import random
import time
import urllib.parse


def now():
    return time.time_ns() // 1000  # microseconds; the server's wall clock, since it is this machine's


def instant(text):
    return int(datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp() * 1000) * 1000


class Lost(Exception):
    """The connection broke before the answer was whole."""


class Connection:
    """One HTTP/1.1 connection, kept open, one call at a time."""

    def __init__(self, where):
        self.where = where
        self.writer = None

    async def call(self, method, path, body=None, headers=(), timeout=10):
        text = b'' if body is None else json.dumps(body).encode()
        head = [f'{method} {path} HTTP/1.1', 'Host: box', f'Content-Length: {len(text)}', *headers]
        if body is not None:
            head.append('Content-Type: application/json')
        try:
            return await asyncio.wait_for(self.exchange('\r\n'.join(head).encode() + b'\r\n\r\n' + text), timeout)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.IncompleteReadError) as e:
            self.close()
            raise Lost(repr(e))

    async def exchange(self, request):
        if self.writer is None:
            url = urllib.parse.urlsplit(self.where())
            self.reader, self.writer = await asyncio.open_connection(url.hostname, url.port)
        self.writer.write(request)
        head = (await self.reader.readuntil(b'\r\n\r\n')).decode()
        status = int(head.split(' ', 2)[1])
        fields = {k.lower(): v for k, v in (line.split(': ', 1) for line in head.split('\r\n')[1:] if ': ' in line)}
        content = await self.reader.readexactly(int(fields.get('content-length', 0)))
        return status, fields, json.loads(content) if content else None

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.writer = None


class Call:
    """What one client did, and what it was told."""

    def __init__(self, kind, **what):
        self.kind = kind
        self.what = what
        self.invoked = now()
        self.answered = self.status = self.answer = None

    def tell(self, status, answer):
        self.answered, self.status, self.answer = now(), status, answer


class Crowd:
    """Clients that reserve, confirm, change, cancel and repeat themselves, until so many calls are made."""

    def __init__(self, where, inventory, units, clients, calls, seed, at_most=3, hurry=10, keen=False):
        """`keen`: they keep what they get."""
        self.where, self.inventory, self.units, self.keen = where, inventory, units, keen
        self.clients, self.left, self.at_most, self.hurry = clients, calls, at_most, hurry
        self.random = random.Random(seed)
        self.calls = []
        self.keys = []  # (key, body) that were used, for repeating
        self.stop = False
        self.lost = 0
        self.answered = asyncio.Event()

    def wanted(self, chance):
        chosen = chance.sample(self.units, min(len(self.units), chance.randint(1, self.at_most)))
        return [{'key': key, 'quantity': 1} for key in chosen]

    async def ask(self, connection, call, method, path, body=None, headers=()):
        self.calls.append(call)
        try:
            status, _, answer = await connection.call(method, path, body, headers, self.hurry)
        except Lost:
            self.lost += 1
            assert self.lost < 5000, 'the box office is gone and does not come back'
            return None
        call.tell(status, answer)
        self.answered.set()
        self.answered.clear()
        return status

    async def news(self, seconds=0.1):
        """Until somebody is answered; or a while, if nobody is."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.answered.wait(), seconds)

    async def reserve(self, connection, chance, number):
        if self.keys and chance.random() < 0.2:
            key, body = chance.choice(self.keys)
        else:
            key, body = f'{number}-{chance.getrandbits(60)}', {'customer': f'client {number}', 'units': self.wanted(chance)}
            self.keys.append((key, body))
        for _ in range(40):  # the same key until there is an answer: that is what it is for
            call = Call('reserve', key=key, units=body['units'])
            status = await self.ask(connection, call, 'POST', f'/api/v1/inventories/{self.inventory}/reservations', body,
                                    [f'Idempotency-Key: {key}'])
            if status == 201:
                return call.answer
            if status is not None and status != 503 and not (status == 409 and call.answer['title'] == 'in-flight'):
                return None
            await self.news()
        return None

    async def act(self, connection, chance, mine):
        held = chance.choice(mine)
        path, kind = f"/api/v1/reservations/{held['id']}", chance.choice(['confirm', 'confirm', 'cancel', 'change', 'look'])
        if kind == 'confirm':
            await self.ask(connection, Call('confirm', id=held['id']), 'POST', path + '/confirm')
        elif kind == 'cancel':
            mine.remove(held)
            await self.ask(connection, Call('cancel', id=held['id']), 'DELETE', path)
        elif kind == 'look':
            await self.ask(connection, Call('look', id=held['id']), 'GET', path)
        else:
            units = self.wanted(chance)
            call = Call('change', id=held['id'], units=units)
            if await self.ask(connection, call, 'PATCH', path, {'units': units}, [f'If-Match: "{held["version"]}"']) == 200:
                held['version'] = call.answer['version']

    async def client(self, number):
        chance, connection, mine = random.Random(self.random.getrandbits(60)), Connection(self.where), []
        while self.left > 0 and not self.stop:
            self.left -= 1
            if mine and chance.random() < 0.4:
                await self.act(connection, chance, mine)
                continue
            held = await self.reserve(connection, chance, number)
            if held is not None and self.keen:
                await self.ask(connection, Call('confirm', id=held['id']), 'POST', f"/api/v1/reservations/{held['id']}/confirm")
            elif held is not None:
                mine.append(dict(held))
        connection.close()

    async def run(self, *besides):
        """The crowd, and what happens meanwhile: coroutines that end by themselves."""
        meanwhile = [asyncio.ensure_future(b) for b in besides]
        await asyncio.gather(*(self.client(i) for i in range(self.clients)))
        self.stop = True
        await asyncio.gather(*meanwhile)


# --- the checker --------------------------------------------------------------------------------------


class Broken(AssertionError):
    """The history cannot have come from a box office that works."""


def demand(truth, *words):
    if not truth:
        raise Broken(' '.join(map(str, words)))


def quantities(units):
    return {u['key']: u['quantity'] for u in units}


FOREVER = 1 << 62


class Life:
    """What is known of one reservation: stretches of (units, certain from, certain to, possible from, possible to)."""

    def __init__(self, row):
        self.row = row
        self.born = (FOREVER, FOREVER)  # (first asked for, first answered)
        self.changes, self.ends, self.confirms = [], [], []


class Checker:
    """`rows`: {'units': [{key, capacity, held, sold}], 'reservations': [{id, key, customer, state, expires, units, first}]}, units as
    {key: quantity}, expires in microseconds. `timely`: the server's clock was this machine's all the time."""

    def __init__(self, calls, rows, timely=True):
        self.calls, self.rows, self.timely = calls, rows, timely
        self.capacity = {u['key']: u['capacity'] for u in rows['units']}
        self.by_id = {r['id']: r for r in rows['reservations']}
        self.by_key = {r['key']: r for r in rows['reservations'] if r['key']}

    def check(self):
        self.check_rows()
        self.check_keys()
        self.check_reservations()
        self.check_reasons()
        self.live()
        self.check_capacity()
        self.check_refusals()
        return {'calls': len(self.calls), 'unknown': sum(c.status is None for c in self.calls),
                'reservations': len(self.by_id), 'refused': sum(self.sold_out(c) for c in self.calls)}

    def check_rows(self):
        """The counters are what the reservations add up to, and within the capacity."""
        held, sold = collections.Counter(), collections.Counter()
        for r in self.rows['reservations']:
            for key, quantity in r['units'].items():
                held[key] += quantity * (r['state'] == 'held')
                sold[key] += quantity * (r['state'] == 'confirmed')
        for u in self.rows['units']:
            demand((u['held'], u['sold']) == (held[u['key']], sold[u['key']]), 'unit', u, 'but its reservations add up to',
                   held[u['key']], sold[u['key']])
            demand(u['held'] + u['sold'] <= u['capacity'], 'unit is sold beyond its capacity:', u)

    def check_keys(self):
        """One effect and one answer for each key."""
        keys = collections.Counter(r['key'] for r in self.rows['reservations'] if r['key'])
        demand(all(n == 1 for n in keys.values()), 'a key has several reservations:', keys.most_common(1))
        told = {}
        for c in self.calls:
            if c.kind == 'reserve' and c.status == 201:
                first = told.setdefault(c.what['key'], c.answer)
                demand(first == c.answer, 'a key was answered twice, differently:', first, c.answer)

    def check_reservations(self):
        """Whatever was answered is there, as it was answered."""
        for c in self.calls:
            if c.kind != 'reserve' or c.status != 201:
                continue
            row = self.by_id.get(c.answer['id'])
            demand(row is not None, 'an answered reservation is lost:', c.answer)
            demand(row['key'] == c.what['key'], 'a reservation has another key:', c.answer, row)
            demand(row['first'] == quantities(c.answer['units']) == quantities(c.what['units']),
                   'a reservation is not what was asked for:', c.answer, row)
        for c in self.calls:
            if c.kind in ('confirm', 'cancel', 'change') and c.status in (200, 204):
                demand(c.what['id'] in self.by_id, 'a reservation that was changed is lost:', c.what)
            if c.kind == 'cancel' and c.status == 204:
                demand(self.by_id[c.what['id']]['state'] in ('cancelled', 'expired'), 'a cancelled reservation is back:', c.what)
            if c.kind == 'confirm' and c.status == 200:
                demand(self.by_id[c.what['id']]['state'] in ('confirmed', 'cancelled'), 'a confirmed one is not:', c.what)

    def check_reasons(self):
        """Nothing is there that nobody can have asked for, and no hold is refused within its time."""
        asked = collections.defaultdict(list)
        for c in self.calls:
            asked[c.kind, c.what['key'] if c.kind == 'reserve' else c.what['id']].append(c)
        for r in self.rows['reservations']:
            for kind, name, reason in (('reserve', r['key'], True), ('cancel', r['id'], r['state'] == 'cancelled'),
                                       ('confirm', r['id'], r['state'] == 'confirmed')):
                demand(not reason or not name or any(c.status in (200, 201, 204, 503, None) for c in asked[kind, name]),
                       'nobody who asked for it was told other than no:', kind, r)
            for c in asked['confirm', r['id']] if self.timely else ():
                demand(c.status != 409 or c.answered >= r['expires'] or any(e.invoked <= c.answered for e in asked['cancel', r['id']]),
                       'a hold was refused before its end:', r)

    def live(self):
        self.lives = {r['id']: Life(r) for r in self.rows['reservations']}
        for c in self.calls:
            if c.kind == 'reserve':
                row = self.by_key.get(c.what['key'])
                if row is None:
                    continue
                life = self.lives[row['id']]
                answered = c.answered if c.status == 201 else FOREVER
                life.born = (min(life.born[0], c.invoked), min(life.born[1], answered))
            elif c.kind in ('cancel', 'confirm', 'change') and c.what['id'] in self.lives:
                life, end = self.lives[c.what['id']], c.answered if c.status is not None else FOREVER
                if c.kind == 'cancel' and (c.status in (204, None)):
                    life.ends.append((c.invoked, end))
                elif c.kind == 'confirm' and c.status in (200, None):
                    life.confirms.append((c.invoked, end, c.status))
                elif c.kind == 'change' and c.status in (200, None):
                    life.changes.append((c.invoked, end, c.status, quantities(c.what['units'])))
        for life in self.lives.values():
            self.check_time(life)

    def check_time(self, life):
        """A hold ends at its time: nobody is told otherwise before or after."""
        if not self.timely:
            return
        for invoked, answered, status in life.confirms:
            first = min(i for i, _, _ in life.confirms)
            demand(status != 200 or first < life.row['expires'], 'confirmed after the hold had ended:', life.row)
        demand(life.row['state'] != 'expired' or not any(s == 200 for _, _, s in life.confirms), 'confirmed and expired:', life.row)

    def stretches(self, life):
        """(units, certain from, to, possible from, to), one for each set of units it had."""
        ends, row = life.ends, life.row
        over = (FOREVER, FOREVER)
        if row['state'] == 'cancelled':
            over = (min(i for i, _ in ends), min(a for _, a in ends)) if ends else (0, FOREVER)
        elif row['state'] == 'expired' and not self.timely:
            over = (0, FOREVER)
        elif row['state'] != 'confirmed' and self.timely:
            over = (row['expires'], row['expires'])
        changes = sorted(c for c in life.changes)
        had, born = row['first'], life.born
        if not changes:
            yield had, born[1], over[0], born[0], over[1]
            return
        # With changes under way: certain only what every set has in common.
        sets = [had, *(c[3] for c in changes)]
        common = {key: min(s.get(key, 0) for s in sets) for key in had if all(key in s for s in sets)}
        yield common, born[1], over[0], FOREVER, FOREVER
        first, sure = changes[0], [c for c in changes if c[2] == 200]
        yield had, born[1], min(first[0], over[0]), born[0], min([c[1] for c in sure], default=FOREVER)
        for c in changes:
            yield c[3], FOREVER, FOREVER, c[0], over[1]
        if len(changes) == len(sure) and row['units'] == changes[-1][3]:
            yield row['units'], changes[-1][1], over[0], FOREVER, FOREVER

    def check_capacity(self):
        steps = collections.defaultdict(list)
        for life in self.lives.values():
            for i, (units, certain, until, _, _) in enumerate(self.stretches(life)):
                if certain >= until:
                    continue
                for key, quantity in units.items():
                    # `common` overlaps the others: of one reservation the larger counts, which is the other where both hold
                    steps[key].append((certain, quantity, life.row['id']))
                    steps[key].append((until, -quantity, life.row['id']))
        for key, list_ in steps.items():
            held = collections.defaultdict(list)
            total = 0
            for moment, quantity, id_ in sorted(list_, key=lambda s: (s[0], s[1])):
                before = max(held[id_], default=0)
                if quantity > 0:
                    held[id_].append(quantity)
                else:
                    held[id_].remove(-quantity)
                total += max(held[id_], default=0) - before
                demand(total <= self.capacity[key], 'unit', key, 'was sold', total, 'times of', self.capacity[key], 'at', moment,
                       [h for h in held.items() if h[1]])

    @staticmethod
    def sold_out(call):
        return call.status == 409 and call.answer['title'] == 'sold-out'

    def check_refusals(self):
        possible = collections.defaultdict(list)
        for life in self.lives.values():
            for units, _, _, begin, end in self.stretches(life):
                if begin < end:
                    for key, quantity in units.items():
                        possible[key].append((begin, end, quantity))
        for c in self.calls:
            if not self.sold_out(c):
                continue
            wanted = quantities(c.what['units'])
            demand(c.answer['left'], 'a refusal names no unit:', c.answer)
            for short in c.answer['left']:
                key = short['key']
                demand(short['left'] < wanted[key], 'refused though there was enough:', c.answer, wanted)
                moments = [c.invoked, *(b for b, e, _ in possible[key] if c.invoked <= b <= c.answered)]
                most = max(sum(q for b, e, q in possible[key] if b <= m < max(e, b + 1) and e >= c.invoked) for m in moments)
                demand(most + wanted[key] > self.capacity[key], 'refused', wanted, 'though', key, 'cannot have been sold out:', most,
                       'of', self.capacity[key])


# --- rows -----------------------------------------------------------------------------------------------


def parsed(text):
    return {key: int(quantity) for key, quantity in (line.split('\t') for line in text.splitlines())}


def rows_of(query, inventory):
    """The final rows; `query(sql)` gives lists of columns."""
    return {
        'units': [{'key': k, 'capacity': int(c), 'held': int(h), 'sold': int(s)} for k, c, h, s in query(
            f"SELECT ukey, capacity, held, sold FROM units WHERE inventory_id = '{inventory}'")],
        'reservations': [
            {'id': i, 'key': k, 'customer': c, 'state': s, 'expires': int(e) * 1000, 'units': parsed(u), 'first': parsed(f or u)}
            for i, k, c, s, e, u, f in query(
                'SELECT id, ikey, customer, state, expires_at, units, first_units FROM reservations'
                f" WHERE inventory_id = '{inventory}'")]}
