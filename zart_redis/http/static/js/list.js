// The list of executions, what is wrong above it, and the page that teaches when there are none.
import { html, useMemo, useRef, useState } from './html.js';
import { Link, executionPath, navigate } from './router.js';
import { api } from './api.js';
import { duration, ms, plural, visible } from './format.js';
import { usePolling } from './hooks.js';
import { ErrorBox, Loading, Status, Tags, Time } from './ui.js';
import { Filters, StatusTabs, changed, filterOf, isEmpty } from './filters.js';
import { Bulk } from './bulk.js';

const PAGE = 50;
const MAX_CALLS = 20; // pages of a filter by tag or prefix may be short, or empty, with a cursor

async function loadPage(query, signal) {
  const asked = new URLSearchParams(query);
  asked.set('limit', PAGE);
  const rows = [];
  for (let call = 0; call < MAX_CALLS; call += 1) {
    const page = await api.executions(asked, signal);
    rows.push(...page.executions);
    if (!page.cursor || rows.length >= PAGE) return { rows, cursor: page.cursor };
    asked.set('cursor', page.cursor);
    asked.set('limit', PAGE - rows.length);
  }
  return { rows, cursor: asked.get('cursor') };
}

// The rows to show: while the pointer is over them, known ones change in place and no row moves.
function useSteadyRows(rows, key) {
  const [held, setHeld] = useState(false);
  const shown = useRef({ key: null, rows: [] });
  if (!held || shown.current.key !== key) {
    shown.current = { key, rows };
    return { rows, setHeld, news: 0 };
  }
  const fresh = new Map(rows.map((row) => [row.execution_id, row]));
  const known = new Set(shown.current.rows.map((row) => row.execution_id));
  const steady = shown.current.rows.map((row) => fresh.get(row.execution_id) || row);
  return { rows: steady, setHeld, news: rows.filter((row) => !known.has(row.execution_id)).length };
}

function took(row) {
  const began = ms(row.started_at) ?? ms(row.created_at);
  return row.finished_at ? duration(ms(row.finished_at) - began) : '';
}

// Why it failed, was cancelled or is not running, in a line.
function summary(row) {
  if (row.error) return `${row.error.type}: ${row.error.message}`;
  if (row.reason) return row.reason;
  if (row.waiting_for && row.waiting_for.length) return `waits for ${row.waiting_for.join(', ')}`;
  if (row.progress) return [row.progress.total ? `${row.progress.done} of ${row.progress.total}` : row.progress.done, row.progress.note].join(' ');
  return '';
}

function Row({ row }) {
  const words = summary(row);
  return html`<tr data-execution-id=${row.execution_id} class=${`row-${row.status}`}>
    <td><${Status} status=${row.status} /></td>
    <th scope="row"><${Link} to=${executionPath(row.execution_id)} class="mono">${visible(row.execution_id)}<//> <${Tags} tags=${row.tags} />
      ${words && html`<div class=${row.error ? 'reason error' : 'reason'}>${visible(words)}</div>`}</th>
    <td>${visible(row.task_name)}</td>
    <td>${visible(row.queue)}</td>
    <td><${Time} at=${row.created_at} /></td>
    <td class="number">${took(row)}</td>
  </tr>`;
}

function Teach() {
  return html`<section class="teach">
    <h2>No executions yet</h2>
    <p>An execution is one run of a handler, an ordinary <code>async def</code> whose steps are recorded in Redis. Declare one in a package <code>workers</code>:</p>
    <pre tabindex="0">${`import zart_redis as zart
from zart_redis import zart_durable, zart_step

@zart_step("charge-card", retry="exponential(3, 2s)")
async def charge_card(cents: int) -> str: ...

@zart_durable("checkout")
async def checkout(cents: int) -> str:
    charge = await charge_card(cents)
    await zart.sleep("settle", "10s")
    return charge`}</pre>
    <p>Run a worker, and start one:</p>
    <pre tabindex="0">${`zart-worker --queue default
zart start checkout --id order-17 --data 4200`}</pre>
    <p>It appears here by itself. Open it to see each step, its attempts and its errors, live.</p>
  </section>`;
}

// What needs someone: each with a link to where it is.
function Problems({ stats, queues, rules }) {
  if (!stats) return null;
  const found = [];
  const failed = stats.by_status.failed || 0;
  if (failed) found.push(html`<${Link} to="/" query="status=failed">${plural(failed, 'execution')} failed<//>`);
  if (stats.held) found.push(html`<${Link} to="/" query="status=waiting">${plural(stats.held, 'execution')} or steps held for other code<//>`);
  for (const queue of queues || []) {
    if (queue.depth && !queue.workers) found.push(html`<${Link} to="/queues">queue ${visible(queue.name)} has work and no worker<//>`);
  }
  if (rules && rules.length) found.push(html`<${Link} to="/queues">${plural(rules.length, 'pause rule')} in force<//>`);
  if (!found.length) return null;
  return html`<ul class="problems" aria-label="What needs attention">${found.map((item, n) => html`<li key=${n}>${item}</li>`)}</ul>`;
}

function Pager({ query, cursor, count }) {
  const next = new URLSearchParams(query);
  if (cursor) next.set('cursor', cursor);
  return html`<div class="pager">
    <span class="dim">${plural(count, 'execution')} on this page</span>
    ${query.get('cursor') && html`<button type="button" onClick=${() => navigate('/', changed(query, 'cursor', ''))}>First page</button>`}
    <button type="button" disabled=${!cursor} onClick=${() => { navigate('/', next); window.scrollTo(0, 0); }}>Next</button>
  </div>`;
}

const optional = (promise) => promise.catch(() => null); // it is only shown above the list

async function loadOverview(signal) {
  const [stats, queues, rules] = await Promise.all([api.stats(signal), api.queues(signal), api.pauseRules(signal)].map(optional));
  return { stats, queues, rules };
}

export function Executions({ query }) {
  const key = query.toString();
  const { data, error, loading, reload } = usePolling((signal) => loadPage(query, signal), key, 4000);
  const overview = usePolling(loadOverview, 'overview', 5000);
  const { stats, queues, rules } = overview.data || {};
  const { rows, setHeld, news } = useSteadyRows(data ? data.rows : [], data ? key : null);
  const filter = useMemo(() => filterOf(query), [key]);
  const none = data && !rows.length && !data.cursor;
  const nothingAtAll = none && isEmpty(filter) && !query.get('cursor');
  return html`<div class="title"><h1 tabindex="-1">Executions</h1>
      ${query.get('parent') && html`<span>children of <${Link} to=${executionPath(query.get('parent'))}>${visible(query.get('parent'))}<//></span>`}
      <${Bulk} filter=${filter} onDone=${reload} /></div>
    <${Problems} stats=${stats} queues=${queues} rules=${rules} />
    <${StatusTabs} query=${query} stats=${stats} />
    <${Filters} query=${query} stats=${stats} />
    <${ErrorBox} error=${error} />
    ${loading && html`<${Loading} />`}
    ${nothingAtAll && html`<${Teach} />`}
    ${none && !nothingAtAll && html`<p class="empty">No execution matches. <${Link} to="/">Clear filters<//></p>`}
    ${rows.length > 0 && html`<div class="scroll" onMouseEnter=${() => setHeld(true)} onMouseLeave=${() => setHeld(false)}>
      <table class="executions">
        <caption class="offscreen">Executions</caption>
        <thead><tr><th scope="col">Status</th><th scope="col">Execution</th><th scope="col">Task</th><th scope="col">Queue</th><th scope="col">Created</th><th scope="col" class="number">Took</th></tr></thead>
        <tbody>${rows.map((row) => html`<${Row} key=${row.execution_id} row=${row} />`)}</tbody>
      </table></div>`}
    ${news > 0 && html`<p class="news"><button type="button" class="small" onClick=${() => setHeld(false)}>Show ${plural(news, 'new execution')}</button></p>`}
    ${data && (rows.length > 0 || data.cursor) && html`<${Pager} query=${query} cursor=${data.cursor} count=${rows.length} />`}`;
}
