// Small parts that every view uses.
import { html, useState } from './html.js';
import { absolute, bytes, json, relative, visible } from './format.js';
import { useNow, useUtc } from './hooks.js';

const SYMBOLS = {
  completed: '✓', failed: '✕', 'timed out': '✕', running: '▶', waiting: '‖', scheduled: '…', cancelled: '–', retrying: '↻', buffered: '+',
};

export const statusClass = (status) => `is-${status.replace(' ', '-')}`;

export function Status({ status }) {
  return html`<span class=${`status ${statusClass(status)}`}><span aria-hidden="true">${SYMBOLS[status] || '?'}</span> ${status}</span>`;
}

// A moment, relative to now; the wall clock with its zone is the tooltip, or shown with `full`.
export function Time({ at, full = false }) {
  const utc = useUtc();
  const now = useNow(1000);
  if (!at) return html`<span class="dim">–</span>`;
  const moment = Date.parse(at);
  const exact = absolute(moment, utc, { millis: full && moment % 1000 !== 0 });
  const near = relative(moment, now);
  return html`<time datetime=${at} title=${full ? near : exact}>${full ? html`${exact} <span class="dim">(${near})</span>` : near}</time>`;
}

export function ErrorBox({ error }) {
  if (!error) return null;
  const hint = error.code === 'forbidden' ? ' Log in with a token that has the scope for it.' : '';
  return html`<p class="problem" role="alert"><strong>${error.code || 'error'}</strong> ${visible(error.message)}${hint}</p>`;
}

export function Loading() {
  return html`<p class="dim loading" role="status">Loading…</p>`;
}

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // The browser refused; the other way may work.
    }
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'offscreen';
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

export function Copy({ text, what = '' }) {
  const [state, setState] = useState('Copy');
  const click = async (event) => {
    const button = event.currentTarget;
    setState((await copy(typeof text === 'function' ? text() : text)) ? 'Copied' : 'Not copied');
    button.focus();
    setTimeout(() => setState('Copy'), 1500);
  };
  return html`<button type="button" class="small" aria-live="polite" title=${what ? `Copy ${what}` : undefined} onClick=${click}>${state}</button>`;
}

const SHOWN = 4000;

// A value as JSON, the first part of it if it is long. Null is shown as a value, undefined as "not recorded".
export function Payload({ title, value }) {
  const [all, setAll] = useState(false);
  if (value === undefined) return null;
  const text = json(value);
  const cut = !all && text.length > SHOWN;
  const size = new Blob([text]).size;
  return html`<section class="payload">
    <header><h3>${title}</h3><span class="dim">${bytes(size)}</span><${Copy} text=${() => JSON.stringify(value, null, 2)} what=${title} /></header>
    <pre tabindex="0" aria-label=${title}>${cut ? `${text.slice(0, SHOWN)}…` : text}</pre>
    ${cut && html`<button type="button" class="small" onClick=${() => setAll(true)}>Show all ${bytes(size)}</button>`}
  </section>`;
}

// An error as it was raised: its type, its message, and its traceback.
export function Failure({ error, title, open = true }) {
  return html`<section class="failure">
    <header><h3>${title && html`${title}: `}<code>${visible(error.type)}</code></h3><${Copy} text=${error.traceback || `${error.type}: ${error.message}`} what="the error" /></header>
    <p class="message">${visible(error.message)}</p>
    ${error.traceback && html`<details open=${open}><summary>Traceback</summary><pre tabindex="0" aria-label="Traceback">${visible(error.traceback)}</pre></details>`}
  </section>`;
}

export function Tags({ tags }) {
  const entries = Object.entries(tags || {});
  return entries.map(([name, value]) => html`<span class="tag" key=${name}>${visible(name)}=${visible(value)}</span>`);
}
