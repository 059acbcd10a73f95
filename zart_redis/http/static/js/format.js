// Times, lengths and values as people read them. Nothing here touches the page.

const UNITS = [['d', 86400000], ['h', 3600000], ['m', 60000], ['s', 1000]];

// A length in its two largest units: 250ms, 1.24s, 3m 12s, 2d 4h.
export function duration(ms) {
  if (ms < 0) ms = 0;
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 59950) return `${(ms / 1000).toFixed(ms < 9995 ? 2 : 1).replace(/\.?0+$/, '')}s`;
  const parts = [];
  let rest = Math.round(ms / 1000) * 1000;
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count || parts.length) parts.push(`${count}${unit}`);
    if (parts.length === 2) break;
  }
  return parts.filter((part) => !part.startsWith('0')).join(' ');
}

export function relative(time, now) {
  const distance = time - now;
  if (Math.abs(distance) < 1000) return 'now';
  const length = duration(Math.max(Math.floor(Math.abs(distance) / 1000), 1) * 1000).split(' ')[0];
  return distance < 0 ? `${length} ago` : `in ${length}`;
}

export const ms = (text) => (text === null || text === undefined ? null : Date.parse(text));

const pad = (number, width = 2) => String(number).padStart(width, '0');

// The wall clock in the zone of the reader or in UTC, always with the zone.
export function absolute(time, utc, { millis = false } = {}) {
  const date = new Date(time);
  const read = (name) => date[`get${utc ? 'UTC' : ''}${name}`]();
  const day = `${read('FullYear')}-${pad(read('Month') + 1)}-${pad(read('Date'))}`;
  const clock = `${pad(read('Hours'))}:${pad(read('Minutes'))}:${pad(read('Seconds'))}`;
  return `${day} ${clock}${millis ? `.${pad(read('Milliseconds'), 3)}` : ''} ${zoneName(date, utc)}`;
}

export function zoneName(date, utc) {
  if (utc) return 'UTC';
  const parts = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(date);
  return parts.find((part) => part.type === 'timeZoneName').value;
}

// Control characters, and those that change the direction of text, as escapes.
export function visible(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) =>
    `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export function json(value) {
  return visible(JSON.stringify(value, null, 2));
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  return count < 1048576 ? `${(count / 1024).toFixed(1)} KB` : `${(count / 1048576).toFixed(1)} MB`;
}

export function plural(count, noun) {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}

const WAIT_WORDS = {
  held: (name) => `held: ${name}`,
  retry: (name) => (name ? `retry of step ${name}` : 'retry of the execution'),
  delay: () => 'delayed start',
  task: (name) => `a worker that knows task ${name}`,
  version: (name) => `a worker for version ${name}`,
  pause: (name) => `the end of pause rule ${name}`,
  'unawaited steps': () => 'scheduled steps that were not waited for',
  quarantine: (name) => `a quarantine process, since its worker died: ${name}`,
};

export function waitText(wait) {
  const words = WAIT_WORDS[wait.kind];
  return visible(words ? words(wait.name) : `${wait.kind} ${wait.name}`);
}
