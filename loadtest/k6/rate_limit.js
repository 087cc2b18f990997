// Three phases against a limit of 100/s with a burst of 20 on POST /orders: half
// the rate, a volley after a pause, and one and a half times the rate. What must
// hold is in `thresholds`; k6 exits with 99 when one of them does not.
//
//   k6 run loadtest/k6/rate_limit.js
//   k6 run -e TARGET=https://gateway.example.com/orders -e NAME=orders loadtest/k6/rate_limit.js
//
// A limit other than 100/s and 20: -e RATE= and -e BURST=. A limit per client or
// per header: -e HEADERS='{"x-api-key":"..."}'. Shorter: -e STEADY=5 -e OVERLOAD=5
// (seconds). Nothing else may use up the limit meanwhile, and one gateway must be
// asked, not several behind a balancer, unless the limit is theirs together.

import http from 'k6/http';
import { sleep } from 'k6';
import { Trend } from 'k6/metrics';
import { checkRefusal, constant, judge, number, optionsOf, params } from './lib.js';

const TARGET = __ENV.TARGET || 'http://127.0.0.1:8080/orders';
const NAME = __ENV.NAME || 'orders';
const [RATE, BURST] = [number('RATE', 100), number('BURST', 20)];
const [STEADY, OVERLOAD] = [number('STEADY', 20), number('OVERLOAD', 15)];
const [BELOW, VOLLEY, ABOVE] = [RATE / 2, BURST + 5, (RATE * 3) / 2];
// All that can pass under overload: the burst, and the rate for as long as it takes.
const ADMITTED = BURST + RATE * OVERLOAD;
const PAUSE = 2;

// How many of a volley passed, less the burst and what came back while it was on its way.
const volleyPassed = new Trend('volley_passed');
const volleyExcess = new Trend('volley_excess');

export const options = {
  // The volley is one request on each of so many connections.
  batch: VOLLEY,
  batchPerHost: VOLLEY,
  ...optionsOf(
    {
      steady: constant('one', BELOW, 0, STEADY),
      volley: {
        executor: 'per-vu-iterations', exec: 'volley', vus: 1, iterations: 1, startTime: `${STEADY}s`, maxDuration: '20s',
      },
      overload: constant('one', ABOVE, STEADY + 2 * PAUSE + 3, OVERLOAD),
      // Whoever was refused and waits a second is admitted.
      after: constant('one', BELOW, STEADY + 2 * PAUSE + 3 + OVERLOAD + 1, 2),
    },
    {
      'good{scenario:steady}': [`count>=${BELOW * STEADY}`],
      'refused{scenario:steady}': ['count==0'],
      volley_passed: [`min>=${BURST}`],
      volley_excess: ['max<=0'],
      'good{scenario:overload}': [`count>=${ADMITTED * 0.99}`, `count<=${ADMITTED * 1.01 + 1}`],
      'refused{scenario:overload}': [`count>=${ABOVE * OVERLOAD - ADMITTED * 1.01 - 1}`],
      'iterations{scenario:overload}': [`count>=${ABOVE * OVERLOAD}`, `count<=${ABOVE * OVERLOAD + 1}`],
      'refused{scenario:after}': ['count==0'],
      'good{scenario:after}': [`count>=${BELOW * 2}`],
    },
  ),
};

// One request at the scenario's rate.
export function one() {
  judged(http.post(TARGET, BODY, params()));
}

// Connections are opened by GET, which the limit does not count; then a pause, in
// which the whole burst comes back; then all at once.
export function volley() {
  const each = Array.from({ length: VOLLEY });
  sleep(PAUSE);
  http.batch(each.map(() => ['GET', TARGET, null, params()]));
  sleep(PAUSE);

  const began = Date.now();
  const answers = http.batch(each.map(() => ['POST', TARGET, BODY, params()]));
  const cameBack = Math.ceil(((Date.now() - began) / 1000) * RATE) + 1;

  answers.forEach(judged);
  const passed = answers.filter((answer) => answer.status === 200).length;
  volleyPassed.add(passed);
  volleyExcess.add(passed - BURST - cameBack);
}

/** @param {import('k6/http').Response} answer */
function judged(answer) {
  if (!judge(answer) && answer.status === 429) {
    checkRefusal(answer, NAME, RATE, BURST);
  }
}

const BODY = '{"item":4711,"count":1}';
