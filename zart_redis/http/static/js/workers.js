// The live workers and what they run.
import { html } from './html.js';
import { api } from './api.js';
import { Link, executionPath } from './router.js';
import { duration, plural, visible } from './format.js';
import { usePolling } from './hooks.js';
import { ErrorBox, Loading } from './ui.js';

const SHOWN = 5;

// What a worker runs: "<id>" for a body, "<id> <step>" for a scheduled step; ids may hold spaces, so it is text.
function Runs({ worker }) {
  const shown = worker.running.slice(0, SHOWN);
  const more = worker.running_count - shown.length;
  return html`${shown.map((name) => html`<div key=${name} class="mono">${name.includes(' ') ? visible(name) : html`<${Link} to=${executionPath(name)}>${visible(name)}<//>`}</div>`)}
    ${more > 0 && html`<div class="dim">and ${more} more</div>`}`;
}

export function Workers() {
  const { data, error, loading } = usePolling((signal) => api.workers(signal), 'workers', 3000);
  return html`<div class="title"><h1 tabindex="-1">Workers</h1>${data && html`<span class="dim">${plural(data.length, 'live worker')}</span>`}</div>
    <${ErrorBox} error=${error} />${loading && html`<${Loading} />`}
    ${data && !data.length && html`<div class="problem" role="alert">No live worker: nothing runs. Start one: <code>zart-worker --queue default</code></div>`}
    ${data && data.length > 0 && html`<div class="scroll"><table>
      <caption class="offscreen">Workers</caption>
      <thead><tr><th scope="col">Worker</th><th scope="col">Host, pid</th><th scope="col">Queues</th><th scope="col">Busy</th><th scope="col" class="number">Heartbeat</th><th scope="col">Runs</th></tr></thead>
      <tbody>${data.map((worker) => html`<tr key=${worker.worker_id} data-worker=${worker.worker_id}>
        <th scope="row" class="mono">${visible(worker.worker_id)}</th>
        <td>${visible(worker.host)}, ${worker.pid}</td>
        <td>${worker.queues.map((queue) => html`<${Link} key=${queue} class="tag" to="/" query=${new URLSearchParams({ queue })}>${visible(queue)}<//>`)}</td>
        <td><meter min="0" max=${worker.concurrency} value=${worker.running_count} aria-label=${`${worker.running_count} of ${worker.concurrency} slots busy`}></meter> ${worker.running_count}/${worker.concurrency}</td>
        <td class=${`number ${worker.heartbeat_age_ms > worker.lease_ms ? 'error' : ''}`}>${duration(worker.heartbeat_age_ms)} ago</td>
        <td><${Runs} worker=${worker} /></td></tr>`)}</tbody></table></div>`}`;
}
