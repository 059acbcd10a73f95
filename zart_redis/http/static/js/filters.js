// The filter of the list. It lives in the query of the address, by the names of the API.
import { html, useEffect, useState } from './html.js';
import { navigate, Link } from './router.js';

export const STATUSES = ['scheduled', 'running', 'waiting', 'completed', 'failed', 'cancelled'];
const SINGLE = ['status', 'task_name', 'queue', 'id_prefix', 'created_after', 'created_before', 'parent'];

// What selects executions, without what only orders and pages them.
export function filterOf(query) {
  const filter = {};
  for (const name of SINGLE) if (query.get(name)) filter[name] = query.get(name);
  const tags = query.getAll('tag').filter((tag) => tag.includes(':'));
  if (tags.length) filter.tags = Object.fromEntries(tags.map((tag) => [tag.slice(0, tag.indexOf(':')), tag.slice(tag.indexOf(':') + 1)]));
  return filter;
}

export const isEmpty = (filter) => Object.keys(filter).length === 0;

// The query with one field changed, from the first page.
export function changed(query, name, value) {
  const next = new URLSearchParams(query);
  next.delete('cursor');
  next.delete(name);
  for (const one of [value].flat()) if (one) next.append(name, one);
  return next;
}

const set = (query, name, value) => navigate('/', changed(query, name, value));

function Field({ query, name, label, placeholder, list }) {
  const current = query.get(name) || '';
  const [text, setText] = useState(current);
  useEffect(() => setText(current), [current]);
  const commit = () => text.trim() !== current && set(query, name, text.trim());
  return html`<label>${label}<input type="text" value=${text} placeholder=${placeholder} list=${list} spellcheck=${false}
    onInput=${(event) => setText(event.target.value)} onChange=${commit} onBlur=${commit}
    onKeyDown=${(event) => event.key === 'Enter' && commit()} /></label>`;
}

// The API takes moments with a zone; the field shows the reader's wall clock.
function Moment({ query, name, label }) {
  const current = query.get(name);
  let shown = '';
  if (current && !Number.isNaN(Date.parse(current))) {
    const date = new Date(current);
    shown = new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  }
  const commit = (event) => set(query, name, event.target.value && new Date(event.target.value).toISOString());
  return html`<label>${label}<input type="datetime-local" value=${shown} onChange=${commit} /></label>`;
}

function TagField({ query }) {
  const tags = query.getAll('tag');
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState(false);
  const add = (event) => {
    if (event.key !== 'Enter' && event.type !== 'change') return;
    const value = text.trim().replace('=', ':');
    if (!value) return;
    setWrong(!value.includes(':'));
    if (!value.includes(':')) return;
    setText('');
    if (!tags.includes(value)) set(query, 'tag', [...tags, value]);
  };
  return html`<label>Tag<input type="text" value=${text} placeholder="name:value" spellcheck=${false} aria-invalid=${wrong}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${add} onChange=${add} /></label>
    ${tags.map((tag) => html`<button type="button" class="small chip" key=${tag} aria-label=${`Remove tag ${tag}`}
      onClick=${() => set(query, 'tag', tags.filter((other) => other !== tag))}>${tag} ×</button>`)}`;
}

export function Filters({ query, stats }) {
  const tasks = stats ? Object.keys(stats.by_task).sort() : [];
  const queues = stats ? Object.keys(stats.queues).sort() : [];
  const empty = isEmpty(filterOf(query)) && !query.get('order');
  return html`<div class="filters" role="search" aria-label="Filter executions">
    <${Field} query=${query} name="task_name" label="Task" list="known-tasks" placeholder="all" />
    <datalist id="known-tasks">${tasks.map((task) => html`<option key=${task} value=${task} />`)}</datalist>
    <${Field} query=${query} name="queue" label="Queue" list="known-queues" placeholder="all" />
    <datalist id="known-queues">${queues.map((queue) => html`<option key=${queue} value=${queue} />`)}</datalist>
    <${Field} query=${query} name="id_prefix" label="Id begins with" placeholder="order-" />
    <${TagField} query=${query} />
    <${Moment} query=${query} name="created_after" label="Created after" />
    <${Moment} query=${query} name="created_before" label="before" />
    <label>Order<select value=${query.get('order') || 'newest'} onChange=${(event) => set(query, 'order', event.target.value)}>
      <option value="newest">newest first</option><option value="oldest">oldest first</option>
    </select></label>
    ${!empty && html`<${Link} to="/" class="clear">Clear filters<//>`}
  </div>`;
}

// One tab a status with its count, over all executions or those of the task.
export function StatusTabs({ query, stats }) {
  const task = query.get('task_name');
  const counts = !stats ? {} : task ? stats.by_task[task] || {} : stats.by_status;
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const current = query.get('status') || '';
  const counted = !['queue', 'id_prefix', 'tag', 'created_after', 'created_before', 'parent'].some((name) => query.get(name));
  return html`<nav class="tabs" aria-label="Status">
    ${['', ...STATUSES].map((status) => html`<${Link} key=${status} to="/" query=${changed(query, 'status', status)}
      class=${status === 'failed' && counts.failed ? 'is-failed' : ''} aria-current=${status === current ? 'true' : undefined}>
      ${status || 'all'}${stats && counted && html` <b>${(status ? counts[status] || 0 : total).toLocaleString('en')}</b>`}<//>`)}
  </nav>`;
}
