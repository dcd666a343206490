import assert from 'node:assert/strict';
import { test } from 'node:test';

import { failures, standing } from '../build/decide.js';
import { caption, label, line, price } from '../build/words.js';

const SESSION = {
  jobs: 3, cores_milli: 2500, memory_bytes: 3 * 2 ** 29, gpus: 0,
  price_micros_per_hour: null, currency: null, deadline: null, walltime_notice_s: 120, paused: null, failures: []
};
const QUIET = { session: SESSION, unreachable_s: null, idle_in_s: null, ends_in_s: null };
const NOON = new Date(2026, 4, 4, 12, 0);

function failure(id, text = 'Used 2 GiB of 1 GiB.') {
  return { id, kind: 'worker', name: `w-${id}`, cluster: 'calc', text, at: '2026-05-04T10:00:00Z' };
}

test('the label shows the price where there is one, else what is in use', () => {
  assert.equal(label(SESSION), '3 jobs · 2.5 cores');
  assert.equal(label({ ...SESSION, jobs: 1, cores_milli: 1000 }), '1 job · 1 core');
  assert.equal(label({ ...SESSION, price_micros_per_hour: 1_500_000, currency: 'EUR' }), '1.50 EUR per hour');
  assert.equal(label({ ...SESSION, price_micros_per_hour: 0, currency: 'EUR' }), '0.00 EUR per hour');
  assert.equal(caption(SESSION, false), 'You run 3 jobs: 2.5 cores, 1.5 GiB. Open My work.');
  assert.match(caption({ ...SESSION, gpus: 2 }, true), /2 GPUs\. This is how it was/);
});

test('prices are exact', () => {
  assert.equal(price(62_500, 'EUR'), '0.0625 EUR');
  assert.equal(price(1_234_000_000, null), '1,234.00');
});

test('an idle end is told five minutes before, not earlier', () => {
  assert.deepEqual(standing({ ...QUIET, idle_in_s: 301 }, NOON), []);
  const [notice] = standing({ ...QUIET, idle_in_s: 300 }, NOON);
  assert.equal(notice.action, 'keep');
  assert.match(notice.text, /stopped at .*05/);
});

test('the end of the walltime is told in time, once for each end, also while the service is away', () => {
  const limited = { ...SESSION, deadline: '2026-05-04T12:02:00Z' };
  assert.deepEqual(standing({ ...QUIET, session: limited, ends_in_s: 121 }, NOON), []);
  const [notice] = standing({ ...QUIET, session: limited, ends_in_s: 120 }, NOON);
  assert.match(notice.text, /ends at .*02.*: its walltime is over\. Save your work/);
  assert.equal(notice.action, null);
  const keys = standing({ ...QUIET, session: limited, ends_in_s: 60, unreachable_s: 20 }, NOON).map(n => n.key);
  assert.deepEqual(keys, [notice.key, 'unreachable']);
  const longer = { ...limited, deadline: '2026-05-04T14:00:00Z', walltime_notice_s: 7200 };
  const [later] = standing({ ...QUIET, session: longer, ends_in_s: 7200 }, NOON);
  assert.notEqual(later.key, notice.key);
});

test('the status bar shows when the walltime ends', () => {
  assert.equal(line(SESSION, null, NOON), '3 jobs · 2.5 cores');
  assert.match(line(SESSION, new Date(2026, 4, 4, 14, 5), NOON), /^3 jobs · 2\.5 cores · ends .*0?2:05|14:05/);
  assert.match(line(SESSION, new Date(2026, 4, 6, 14, 5), NOON), /6/);
});

test('a service that is away is told after a while, and hides what it would say', () => {
  assert.deepEqual(standing({ ...QUIET, unreachable_s: 14, idle_in_s: 10 }, NOON), []);
  assert.deepEqual(standing({ ...QUIET, unreachable_s: 15, idle_in_s: 10 }, NOON).map(n => n.key), ['unreachable']);
});

test('a pause is told with its sentence', () => {
  const [notice] = standing({ ...QUIET, session: { ...SESSION, paused: 'Back at three.' } }, NOON);
  assert.match(notice.text, /Back at three\./);
});

test('failures that are alike are one notice, known ones none', () => {
  const status = { ...QUIET, session: { ...SESSION, failures: [failure('1'), failure('2'), failure('3', 'Gone.')] } };
  assert.deepEqual(failures(status, new Set(['9'])).map(n => n.text), [
    '2 workers of the cluster calc ended: Used 2 GiB of 1 GiB.',
    'Worker w-3 of the cluster calc ended: Gone.'
  ]);
  assert.deepEqual(failures(status, new Set(['1', '2', '3'])), []);
  const named = { ...failure('4'), name: 'calc-4' };
  const [notice] = failures({ ...QUIET, session: { ...SESSION, failures: [named] } }, new Set());
  assert.equal(notice.text, 'Worker calc-4 ended: Used 2 GiB of 1 GiB.');
});
