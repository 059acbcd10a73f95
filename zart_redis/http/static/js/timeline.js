// From the steps of a run to rows of segments, and from moments to places. Pure: it draws nothing.
import { ms } from './format.js';

const IDLE_KINDS = ['sleep', 'event', 'message', 'timer'];
const FAILED = ['failed', 'timed out', 'retrying'];

export const isIdleKind = (kind) => IDLE_KINDS.includes(kind);
export const hasFailed = (step) => FAILED.includes(step.status);

// The segments of a step: queue, attempt, failed, gap (between attempts), idle (a sleep or a wait), live.
function segmentsOf(step, now, floor) {
  const segments = [];
  const scheduled = ms(step.scheduled_at);
  const finished = ms(step.finished_at);
  if (isIdleKind(step.kind) || step.status === 'buffered') {
    const end = finished ?? now;
    return [{ kind: 'idle', from: Math.min(ms(step.started_at) ?? floor, end), to: end }];
  }
  let last = scheduled;
  for (const attempt of step.attempts) {
    const from = ms(attempt.started_at);
    if (last !== null && from > last) segments.push({ kind: last === scheduled ? 'queue' : 'gap', from: last, to: from });
    last = ms(attempt.finished_at);
    segments.push({ kind: attempt.error ? 'failed' : 'attempt', from, to: last });
  }
  if (finished === null && step.status !== 'cancelled') {
    const kind = step.status === 'retrying' ? 'gap' : step.attempts.length || step.started_at ? 'live' : 'queue';
    segments.push({ kind, from: last ?? ms(step.started_at) ?? floor, to: now });
  }
  if (!segments.length) {
    const at = finished ?? ms(step.started_at) ?? floor;
    segments.push({ kind: 'attempt', from: at, to: at });
  }
  return segments;
}

// When it was begun, if the run says so.
export const startOf = (step) => ms(step.scheduled_at) ?? ms(step.started_at) ?? (step.attempts.length ? ms(step.attempts[0].started_at) : null);

// One row a step, in the order in which they began. A beginning that is not recorded is taken to be the latest end before it.
export function rowsOf(run, now) {
  const begin = ms(run.summary.started_at) ?? ms(run.summary.created_at);
  const ended = ms(run.summary.finished_at); // what is not finished then ended with the run
  if (ended !== null) now = ended;
  const rows = [];
  let latest = begin; // ended steps come in the order in which they finished
  run.steps.forEach((step, index) => {
    const known = startOf(step);
    const end = ms(step.finished_at);
    const floor = end === null ? latest : Math.min(latest, end);
    const segments = segmentsOf(step, now, floor);
    rows.push({
      step, index, segments, estimated: known === null,
      from: segments[0].from, to: segments[segments.length - 1].to, live: end === null && ended === null && step.status !== 'cancelled',
    });
    if (end !== null && !step.in_on_failure) latest = Math.max(latest, end);
  });
  rows.sort((a, b) => a.from - b.from || a.index - b.index);
  return rows;
}

// The first and the last moment of the chart.
export function rangeOf(run, rows, now) {
  let from = ms(run.summary.created_at);
  let to = ms(run.summary.finished_at) ?? now;
  for (const attempt of run.attempts) from = Math.min(from, ms(attempt.started_at));
  for (const row of rows) {
    from = Math.min(from, row.from);
    to = Math.max(to, row.to);
  }
  return { from, to: Math.max(to, from + 1) };
}

// When something worked or was in a queue, as intervals that do not touch.
function busyIntervals(run, rows) {
  const found = [];
  const created = ms(run.summary.created_at);
  found.push([created, ms(run.summary.started_at) ?? created]);
  for (const attempt of run.attempts) found.push([ms(attempt.started_at), ms(attempt.finished_at)]);
  for (const row of rows) {
    for (const segment of row.segments) {
      if (segment.kind === 'idle' || segment.kind === 'gap') found.push([segment.from, segment.from], [segment.to, segment.to]);
      else found.push([segment.from, segment.to]);
    }
  }
  found.sort((a, b) => a[0] - b[0]);
  const merged = [];
  for (const [from, to] of found) {
    const last = merged[merged.length - 1];
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return withoutSmallGaps(merged);
}

// Only the longest gaps are worth a fold; a run of many short steps has thousands.
function withoutSmallGaps(intervals) {
  if (intervals.length <= MOST_GAPS) return intervals;
  const gaps = new Float64Array(intervals.length - 1);
  for (let n = 0; n < gaps.length; n += 1) gaps[n] = intervals[n + 1][0] - intervals[n][1];
  const least = gaps.slice().sort()[gaps.length - MOST_GAPS];
  const kept = [intervals[0]];
  for (let n = 1; n < intervals.length; n += 1) {
    if (gaps[n - 1] > least) kept.push(intervals[n]);
    else kept[kept.length - 1] = [kept[kept.length - 1][0], intervals[n][1]];
  }
  return kept;
}

const MOST_GAPS = 200;
const FOLDED = 0.035; // the width of a folded stretch, as a part of all
const MOST_FOLDED = 0.4; // of all folded stretches

// The stretches of the chart with their places between 0 and 1. Folded ones are narrow, however long they are.
export function stretchesOf(run, rows, range, fold) {
  if (!fold) return [{ from: range.from, to: range.to, x0: 0, x1: 1, folded: false }];
  const stretches = [];
  const add = (from, to, idle) => to > from && stretches.push({ from, to, idle });
  let last = range.from;
  for (const [from, to] of busyIntervals(run, rows)) {
    add(last, Math.min(from, range.to), true);
    add(Math.max(from, last), Math.min(to, range.to), false);
    last = Math.max(last, Math.min(to, range.to));
  }
  add(last, range.to, true);
  const busy = stretches.reduce((sum, one) => sum + (one.idle ? 0 : one.to - one.from), 0) || 1;
  const longest = busy * FOLDED;
  const isFolded = (one) => one.idle && one.to - one.from > longest;
  const folded = stretches.filter(isFolded).length;
  const width = folded ? Math.min(FOLDED, MOST_FOLDED / folded) : 0;
  const rest = stretches.reduce((sum, one) => sum + (isFolded(one) ? 0 : one.to - one.from), 0) || 1;
  const unit = (1 - width * folded) / rest;
  let x = 0;
  return stretches.map((one) => {
    const x0 = x;
    x += isFolded(one) ? width : (one.to - one.from) * unit;
    return { from: one.from, to: one.to, x0, x1: x, folded: isFolded(one) };
  });
}

// The place of a moment between 0 and 1.
export function placeOf(stretches, at) {
  let low = 0;
  let high = stretches.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (stretches[middle].from <= at) low = middle;
    else high = middle - 1;
  }
  const { from, to, x0, x1 } = stretches[low];
  return x0 + (x1 - x0) * Math.min(Math.max((at - from) / (to - from), 0), 1);
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1800000,
  3600000, 7200000, 21600000, 43200000, 86400000, 172800000, 604800000, 2592000000];

// Where to write the time since the beginning: about one mark each `apart` of the width.
export function ticksOf(stretches, origin, apart) {
  const open = stretches.filter((one) => !one.folded && one.to > one.from);
  if (!open.length) return [];
  const widest = open.reduce((a, b) => (b.x1 - b.x0 > a.x1 - a.x0 ? b : a));
  const scale = (widest.to - widest.from) / (widest.x1 - widest.x0);
  const step = STEPS.find((one) => one >= scale * apart) ?? STEPS[STEPS.length - 1];
  const ticks = [];
  for (const one of open) {
    for (let at = Math.ceil((one.from - origin) / step) * step; at + origin <= one.to; at += step) {
      const x = placeOf(stretches, at + origin);
      if (!ticks.length || x - ticks[ticks.length - 1].x >= apart * 0.6) ticks.push({ at, x });
    }
  }
  return ticks;
}
