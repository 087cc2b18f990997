// The gateway's own zone dies in the middle of the load and comes back: nobody notices,
// the other zones take over, and the own zone gets its traffic back.
//
//   k6 run -e TARGET=https://gateway.example.com -e HOME_ZONE=use1-az1 loadtest/k6/zone_failover.js
//
// Answers must say their zone in a member `zone` of a JSON body, as the echo of
// target/debug/origin does. Events: `kill` ends all that answers in the zone HOME_ZONE, with
// connections open; `revive` starts it again. -e BEFORE= -e LOST= -e ELSEWHERE=
// -e RETURNING= -e BACK=: seconds. LOST is how long the gateway may go on trying the dead
// zone, RETURNING how long until it trusts it wholly (health checks, hold_down, slow_start).

import http from 'k6/http';
import { Counter } from 'k6/metrics';
import { RATE, TARGET, allGood, constant, event, inTime, judge, number, once, optionsOf, params } from './lib.js';

const HOME = __ENV.HOME_ZONE || 'use1-az1';
const [BEFORE, LOST, ELSEWHERE] = [number('BEFORE', 10), number('LOST', 5), number('ELSEWHERE', 10)];
const [RETURNING, BACK] = [number('RETURNING', 30), number('BACK', 10)];
const KILL = BEFORE;
const REVIVE = BEFORE + LOST + ELSEWHERE;

const home = new Counter('served_at_home');
const away = new Counter('served_elsewhere');

export const options = optionsOf(
  {
    before: constant('one', RATE, 0, BEFORE),
    lost: constant('one', RATE, KILL, LOST),
    elsewhere: constant('one', RATE, KILL + LOST, ELSEWHERE),
    returning: constant('one', RATE, REVIVE, RETURNING),
    back: constant('one', RATE, REVIVE + RETURNING, BACK),
    // Not at the very instant at which a phase begins: the first of it is served as before.
    kill: once('kill', KILL + 0.3),
    revive: once('revive', REVIVE + 0.3),
  },
  {
    ...allGood('before', RATE * BEFORE), ...inTime('before'),
    'served_at_home{scenario:before}': [`count>=${RATE * BEFORE}`],
    // What no retry may cost: an answer.
    ...allGood('lost', RATE * LOST),
    'served_elsewhere{scenario:lost}': ['count>0'],
    ...allGood('elsewhere', RATE * ELSEWHERE), ...inTime('elsewhere'),
    'served_at_home{scenario:elsewhere}': ['count==0'],
    ...allGood('returning', RATE * RETURNING),
    ...allGood('back', RATE * BACK), ...inTime('back'),
    'served_elsewhere{scenario:back}': ['count==0'],
  },
);

export function one() {
  const answer = http.get(`${TARGET}/load/zone`, params());
  if (judge(answer)) {
    (answer.json('zone') === HOME ? home : away).add(1);
  }
}

export function kill() {
  event('kill');
}

export function revive() {
  event('revive');
}
