// What the scripts share: the target, rates, counts of answers, and the events.
//
//   -e TARGET=https://gateway.example.com   whom to ask (default http://127.0.0.1:8080)
//   -e HEADERS='{"x-api-key":"..."}'        fields of every request
//   -e INSECURE=1                           any certificate will do
//   -e RATE=100 -e P95=50 -e P99=100        requests a second; milliseconds that may be taken
//   -e EVENTS=http://127.0.0.1:9000         who does what is to happen (loadtest/scenarios does);
//                                           without it the script says what to do by hand
//
// Each answer counts once: in `good` (200), `refused` (429) or `strange` (all others,
// and none at all). Whoever runs the script holds the gateway's own account against them.

import http from 'k6/http';
import { check, fail } from 'k6';
import execution from 'k6/execution';
import { Counter } from 'k6/metrics';

export const TARGET = (__ENV.TARGET || 'http://127.0.0.1:8080').replace(/\/$/, '');
export const RATE = number('RATE', 100);

const good = new Counter('good');
const refused = new Counter('refused');
const strange = new Counter('strange');

/** A number of the command line.
 * @param {string} name
 * @param {number} otherwise
 */
export function number(name, otherwise) {
  return Number(__ENV[name] || otherwise);
}

/** So many requests a second, from a second on, for so many seconds.
 * @param {string} exec
 * @param {number} rate
 * @param {number} start
 * @param {number} seconds
 * @returns {import('k6/options').ConstantArrivalRateScenario}
 */
export function constant(exec, rate, start, seconds) {
  return {
    executor: 'constant-arrival-rate', exec, rate, timeUnit: '1s', startTime: `${start}s`, duration: `${seconds}s`,
    // Half a second for each: what is still not answered by then is a finding.
    preAllocatedVUs: Math.max(20, Math.ceil(rate / 2)), maxVUs: 4 * Math.max(20, Math.ceil(rate / 2)), gracefulStop: '10s',
  };
}

/** Something that happens once.
 * @param {string} exec
 * @param {number} start
 * @returns {import('k6/options').PerVUIterationsScenario}
 */
export function once(exec, start) {
  return { executor: 'per-vu-iterations', exec, vus: 1, iterations: 1, startTime: `${start}s`, maxDuration: '60s' };
}

/** All options: scenarios, and what must hold of them beside `strange`, `checks` and dropped iterations.
 * @param {Record<string, import('k6/options').Scenario>} scenarios
 * @param {Record<string, string[]>} thresholds
 * @returns {import('k6/options').Options}
 */
export function optionsOf(scenarios, thresholds) {
  return {
    scenarios,
    thresholds: { checks: ['rate==1'], dropped_iterations: ['count==0'], strange: ['count==0'], ...thresholds },
    insecureSkipTLSVerify: __ENV.INSECURE === '1',
    summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  };
}

/** How long a scenario's requests may take.
 * @param {string} scenario
 */
export function inTime(scenario) {
  return { [`http_req_duration{scenario:${scenario}}`]: [`p(95)<${number('P95', 50)}`, `p(99)<${number('P99', 100)}`] };
}

/** Each of a scenario's requests is answered, and well.
 * @param {string} scenario
 * @param {number} requests
 */
export function allGood(scenario, requests) {
  return { [`good{scenario:${scenario}}`]: [`count>=${requests}`], [`strange{scenario:${scenario}}`]: ['count==0'] };
}

/** Fields of every request, and these. One name for all of them: k6 would keep a series for each address.
 * @param {Record<string, string>} [more]
 */
export function params(more) {
  return { headers: { 'Content-Type': 'application/json', ...JSON.parse(__ENV.HEADERS || '{}'), ...more }, tags: { name: TARGET } };
}

/** Counts an answer; whether it is a good one.
 * @param {import('k6/http').Response} answer
 */
export function judge(answer) {
  const count = answer.status === 200 ? good : answer.status === 429 ? refused : strange;
  count.add(1);
  if (count === strange) {
    console.error(`${execution.scenario.name}: ${answer.status} ${answer.error}`);
  }
  return count === good;
}

/** What a client must be told that a limit refuses (RFC 9110, RFC 9457, draft-ietf-httpapi-ratelimit-headers-10).
 * @param {import('k6/http').Response} answer
 * @param {string} name
 * @param {number} rate
 * @param {number} burst
 */
export function checkRefusal(answer, name, rate, burst) {
  const window = Math.max(1, Math.ceil(burst / rate));
  check(answer, {
    'Retry-After is a second or more': (a) => /^[1-9]\d*$/.test(a.headers['Retry-After'] || ''),
    'RateLimit names the limit and has nothing left': (a) => {
      const told = /^"([^"]+)";r=(\d+);t=(\d+)$/.exec(a.headers['Ratelimit'] || '');
      return told !== null && told[1] === name && told[2] === '0' && Number(told[3]) >= 1;
    },
    'RateLimit-Policy tells the burst and its window': (a) =>
      (a.headers['Ratelimit-Policy'] || '').includes(`"${name}";q=${burst};w=${window}`),
    'the body is a problem': (a) =>
      /^application\/problem\+json/.test(a.headers['Content-Type'] || '') && JSON.parse(String(a.body)).status === 429,
  });
}

/** Has something done, and returns once it is.
 * @param {string} name
 */
export function event(name) {
  if (!__ENV.EVENTS) {
    console.warn(`now, by hand: ${name}`);
    return;
  }
  // k6 counts it among http_reqs, but not in good, refused and strange.
  const done = http.post(`${__ENV.EVENTS}/${name}`, null, { timeout: '60s', tags: { event: name } });
  if (!check(done, { 'what was to happen happened': (a) => a.status === 200 })) {
    fail(`${name}: ${done.status} ${done.body}`);
  }
}
