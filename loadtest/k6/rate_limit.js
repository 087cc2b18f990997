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
import { check, sleep } from 'k6';
import execution from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';

const TARGET = __ENV.TARGET || 'http://127.0.0.1:8080/orders';
const NAME = __ENV.NAME || 'orders';
const HEADERS = JSON.parse(__ENV.HEADERS || '{}');
const [RATE, BURST] = [number('RATE', 100), number('BURST', 20)];
const [STEADY, OVERLOAD] = [number('STEADY', 20), number('OVERLOAD', 15)];
const [BELOW, VOLLEY, ABOVE] = [RATE / 2, BURST + 5, (RATE * 3) / 2];
// All that can pass under overload: the burst, and the rate for as long as it takes.
const ADMITTED = BURST + RATE * OVERLOAD;
const PAUSE = 2;

const admitted = new Counter('admitted');
const refused = new Counter('refused');
const strange = new Counter('strange');
// How many of a volley passed, less the burst and what came back while it was on its way.
const volleyPassed = new Trend('volley_passed');
const volleyExcess = new Trend('volley_excess');

export const options = {
  // The volley is one request on each of so many connections.
  batch: VOLLEY,
  batchPerHost: VOLLEY,
  insecureSkipTLSVerify: __ENV.INSECURE === '1',
  scenarios: {
    steady: constant(BELOW, 0, STEADY, 'one'),
    volley: {
      executor: 'per-vu-iterations', exec: 'volley', vus: 1, iterations: 1, startTime: `${STEADY}s`, maxDuration: '20s',
    },
    overload: constant(ABOVE, STEADY + 2 * PAUSE + 3, OVERLOAD, 'one'),
    // Whoever was refused and waits a second is admitted.
    after: constant(BELOW, STEADY + 2 * PAUSE + 3 + OVERLOAD + 1, 2, 'one'),
  },
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    strange: ['count==0'],
    'admitted{scenario:steady}': [`count>=${BELOW * STEADY}`],
    'refused{scenario:steady}': ['count==0'],
    volley_passed: [`min>=${BURST}`],
    volley_excess: ['max<=0'],
    'admitted{scenario:overload}': [`count>=${ADMITTED * 0.99}`, `count<=${ADMITTED * 1.01 + 1}`],
    'refused{scenario:overload}': [`count>=${ABOVE * OVERLOAD - ADMITTED * 1.01 - 1}`],
    'iterations{scenario:overload}': [`count>=${ABOVE * OVERLOAD}`, `count<=${ABOVE * OVERLOAD + 1}`],
    'refused{scenario:after}': ['count==0'],
    'admitted{scenario:after}': [`count>=${BELOW * 2}`],
  },
};

// One request at the scenario's rate.
export function one() {
  judge(http.post(TARGET, BODY, params()));
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

  answers.forEach(judge);
  const passed = answers.filter((answer) => answer.status === 200).length;
  volleyPassed.add(passed);
  volleyExcess.add(passed - BURST - cameBack);
}

function judge(answer) {
  if (answer.status === 200) {
    admitted.add(1);
  } else if (answer.status === 429) {
    refused.add(1);
    check(answer, REFUSAL);
  } else {
    strange.add(1);
    console.error(`${execution.scenario.name}: ${answer.status} ${answer.error}`);
  }
}

// What a client must be told (RFC 9110, RFC 9457, draft-ietf-httpapi-ratelimit-headers-10).
const REFUSAL = {
  'Retry-After is a second or more': (a) => /^[1-9]\d*$/.test(a.headers['Retry-After'] || ''),
  'RateLimit names the limit and has nothing left': (a) => {
    const told = /^"([^"]+)";r=(\d+);t=(\d+)$/.exec(a.headers['Ratelimit'] || '');
    return told !== null && told[1] === NAME && told[2] === '0' && Number(told[3]) >= 1;
  },
  'RateLimit-Policy tells the burst and its window': (a) =>
    (a.headers['Ratelimit-Policy'] || '').includes(`"${NAME}";q=${BURST};w=${Math.max(1, Math.ceil(BURST / RATE))}`),
  'the body is a problem': (a) =>
    /^application\/problem\+json/.test(a.headers['Content-Type'] || '') && JSON.parse(a.body).status === 429,
};

function constant(rate, start, seconds, exec) {
  return {
    executor: 'constant-arrival-rate', exec, rate, timeUnit: '1s', startTime: `${start}s`, duration: `${seconds}s`,
    preAllocatedVUs: 50, maxVUs: 200, gracefulStop: '10s',
  };
}

function params() {
  return { headers: { 'Content-Type': 'application/json', ...HEADERS } };
}

function number(name, otherwise) {
  return Number(__ENV[name] || otherwise);
}

const BODY = '{"item":4711,"count":1}';
