// What requests take at a rate that the gateway should not feel, and at twice that:
// half of them GET, half POST with a body.
//
//   k6 run -e TARGET=https://gateway.example.com -e RATE=500 loadtest/k6/baseline.js
//
// -e STEADY=60 -e DOUBLE=30: seconds. lib.js has the rest.

import http from 'k6/http';
import execution from 'k6/execution';
import { RATE, TARGET, allGood, constant, inTime, judge, number, optionsOf, params } from './lib.js';

const [STEADY, DOUBLE] = [number('STEADY', 60), number('DOUBLE', 30)];
// Connections are opened in it; its times do not count.
const WARM = 2;

export const options = optionsOf(
  {
    warm: constant('one', RATE, 0, WARM),
    steady: constant('one', RATE, WARM, STEADY),
    double: constant('one', 2 * RATE, WARM + STEADY, DOUBLE),
  },
  {
    ...allGood('steady', RATE * STEADY), ...inTime('steady'),
    ...allGood('double', 2 * RATE * DOUBLE), ...inTime('double'),
  },
);

export function one() {
  const even = execution.scenario.iterationInTest % 2 === 0;
  judge(even ? http.get(`${TARGET}/load/7`, params()) : http.post(`${TARGET}/load/7`, BODY, params()));
}

const BODY = JSON.stringify({ item: 4711, note: 'x'.repeat(1000) });
