// Hours of everything at once: reads, bodies of many sizes, limits that refuse, keys
// that nobody had before. Whoever runs it watches the gateway's memory beside
// (loadtest/scenarios does): what grows for ever shows in hours, not in seconds.
//
//   k6 run -e TARGET=https://gateway.example.com -e SOAK=14400 loadtest/k6/soak.js
//
// Refusals are by a limit `per-key` of 5/s and a burst of 5 on /load/limited, per x-client.

import http from 'k6/http';
import execution from 'k6/execution';
import { RATE, TARGET, allGood, checkRefusal, constant, inTime, judge, number, optionsOf, params } from './lib.js';

const SOAK = number('SOAK', 14400);

export const options = optionsOf(
  {
    reads: constant('reads', RATE / 2, 0, SOAK),
    bodies: constant('bodies', RATE / 4, 0, SOAK),
    keys: constant('keys', RATE / 4, 0, SOAK),
    refusals: constant('refusals', 20, 0, SOAK),
  },
  {
    ...allGood('reads', (RATE / 2) * SOAK), ...inTime('reads'),
    ...allGood('bodies', (RATE / 4) * SOAK), ...inTime('bodies'),
    // Each key is a new one: none has asked before.
    ...allGood('keys', (RATE / 4) * SOAK),
    'refused{scenario:keys}': ['count==0'],
    'refused{scenario:refusals}': ['count>0'],
    'good{scenario:refusals}': [`count>=${5 * SOAK}`, `count<=${5 * SOAK + 6}`],
  },
);

export function reads() {
  judge(http.get(`${TARGET}/load/${execution.scenario.iterationInTest}`, params()));
}

// From nothing to 64 KiB, and as much back.
export function bodies() {
  const size = (execution.scenario.iterationInTest * 7919) % 65536;
  judge(http.post(`${TARGET}/load/body`, LARGE.slice(0, size), params({ 'x-origin': `size=${size}` })));
}

export function keys() {
  judge(limited(`new-${execution.scenario.iterationInTest}`));
}

// Four times what the limit lets through, of one key.
export function refusals() {
  const answer = limited('always-the-same');
  if (!judge(answer) && answer.status === 429) {
    checkRefusal(answer, 'per-key', 5, 5);
  }
}

/** @param {string} client */
function limited(client) {
  return http.get(`${TARGET}/load/limited`, params({ 'x-client': client }));
}

const LARGE = 'x'.repeat(65536);
