// Reloads and upgrades under load: no request may fail, be refused or be cut, and none
// may take longer than the others.
//
//   k6 run -e TARGET=https://gateway.example.com loadtest/k6/changes.js
//
// Events: `reload` has another configuration served, `upgrade` another process; both
// return when it answers. -e QUIET=10 (seconds before the first) -e RELOADS=20
// -e UPGRADES=4 -e CHANGING=60 (seconds in which all of them have to be done).

import http from 'k6/http';
import { sleep } from 'k6';
import execution from 'k6/execution';
import { Counter } from 'k6/metrics';
import { RATE, TARGET, allGood, constant, event, inTime, judge, number, once, optionsOf, params } from './lib.js';

const [QUIET, CHANGING] = [number('QUIET', 10), number('CHANGING', 60)];
const [RELOADS, UPGRADES] = [number('RELOADS', 20), number('UPGRADES', 4)];

const changes = new Counter('changes');

export const options = optionsOf(
  {
    quiet: constant('one', RATE, 0, QUIET),
    changing: constant('one', RATE, QUIET, CHANGING),
    // Half a second under way each: there are always some in the middle.
    slow: constant('slow', Math.ceil(RATE / 10), QUIET, CHANGING),
    change: once('change', QUIET),
  },
  {
    ...allGood('quiet', RATE * QUIET), ...inTime('quiet'),
    ...allGood('changing', RATE * CHANGING), ...inTime('changing'),
    ...allGood('slow', Math.ceil(RATE / 10) * CHANGING),
    changes: [`count>=${RELOADS + UPGRADES}`],
  },
);

export function one() {
  // Go's client sends a GET again whose connection was closed before an answer, a POST never.
  const even = execution.scenario.iterationInTest % 2 === 0;
  judge(even ? http.get(`${TARGET}/load/7`, params()) : http.post(`${TARGET}/load/7`, '{"item":7}', params()));
}

export function slow() {
  judge(http.post(`${TARGET}/load/slow`, '{"item":7}', params({ 'x-origin': 'delay=500ms' })));
}

// The upgrades spread evenly among the reloads.
export function change() {
  const every = Math.ceil((RELOADS + 1) / (UPGRADES + 1));
  let upgraded = 0;
  for (let nth = 1; nth <= RELOADS || upgraded < UPGRADES; nth++) {
    if (nth <= RELOADS) {
      changeOnce('reload');
    }
    if (nth % every === 0 && upgraded < UPGRADES) {
      changeOnce('upgrade');
      upgraded++;
    }
  }
}

/** @param {string} name */
function changeOnce(name) {
  event(name);
  changes.add(1);
  sleep(0.2);
}
