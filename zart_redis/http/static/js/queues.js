// The queues: what waits in them, who works on them, and the rules that pause.
import { html } from './html.js';
import { api } from './api.js';
import { Link } from './router.js';
import { duration, plural, visible } from './format.js';
import { usePolling } from './hooks.js';
import { Action } from './dialog.js';
import { ErrorBox, Loading, Time } from './ui.js';

const load = async (signal) => {
  const [queues, rules] = await Promise.all([api.queues(signal), api.pauseRules(signal)]);
  return { queues, rules };
};

function QueueRow({ queue, number, onDone }) {
  const unserved = queue.depth > 0 && !queue.workers;
  const name = html`<${Link} to="/" query=${new URLSearchParams({ queue: queue.name })} id=${`queue-${number}`}>${visible(queue.name)}<//>`;
  const pause = async () => {
    await api.pause({ queue: queue.name });
    return `Paused queue ${queue.name}.`;
  };
  const resume = async () => {
    await api.resume({ queue: queue.name });
    return `Resumed queue ${queue.name}.`;
  };
  return html`<tr data-queue=${queue.name}>
    <th scope="row">${name}</th>
    <td>${queue.paused ? html`<span class="status is-waiting"><span aria-hidden="true">‖</span> paused</span>`
      : unserved ? html`<span class="status is-failed"><span aria-hidden="true">✕</span> no worker</span>`
        : html`<span class="status is-completed"><span aria-hidden="true">✓</span> ${queue.workers ? 'served' : 'idle'}</span>`}</td>
    <td class="number">${queue.depth.toLocaleString('en')}</td>
    <td class="number">${queue.held.toLocaleString('en')}</td>
    <td class="number">${queue.oldest_seconds === null ? '' : duration(queue.oldest_seconds * 1000)}</td>
    <td class="number">${queue.workers}</td>
    <td class="act">${queue.paused
      ? html`<${Action} key="resume" label="Resume" title=${`Resume queue ${queue.name}`} act=${resume} onDone=${onDone} describedby=${`queue-${number}`}
          text="What it held continues where it was." />`
      : html`<${Action} key="pause" label="Pause" title=${`Pause queue ${queue.name}`} act=${pause} onDone=${onDone} describedby=${`queue-${number}`}
          text="Its executions are held before their next step. Running steps may finish; nothing is lost." />`}</td>
  </tr>`;
}

function Rules({ rules, onDone }) {
  if (!rules.length) return null;
  const remove = (rule) => async () => {
    const conditions = {};
    for (const name of ['execution_id', 'task_name', 'step_pattern', 'queue']) if (rule[name]) conditions[name] = rule[name];
    await api.resume(conditions);
    return 'The rule is removed.';
  };
  const all = html`<span class="dim">all</span>`;
  return html`<section><h2>Pause rules</h2><div class="scroll"><table>
    <thead><tr><th scope="col">Execution</th><th scope="col">Task</th><th scope="col">Steps</th><th scope="col">Queue</th><th scope="col">Since</th><th scope="col"><span class="offscreen">Action</span></th></tr></thead>
    <tbody>${rules.map((rule) => html`<tr key=${rule.rule_id}>
      ${['execution_id', 'task_name', 'step_pattern', 'queue'].map((name) => html`<td key=${name}>${rule[name] ? visible(rule[name]) : all}</td>`)}
      <td><${Time} at=${rule.created_at} /></td>
      <td class="act"><${Action} label="Remove" title="Remove this pause rule" text="What it held continues." act=${remove(rule)} onDone=${onDone} /></td>
    </tr>`)}</tbody></table></div></section>`;
}

export function Queues() {
  const { data, error, loading, reload } = usePolling(load, 'queues', 3000);
  return html`<div class="title"><h1 tabindex="-1">Queues</h1>${data && html`<span class="dim">${plural(data.queues.length, 'queue')}</span>`}</div>
    <${ErrorBox} error=${error} />${loading && html`<${Loading} />`}
    ${data && (data.queues.length ? html`<div class="scroll"><table>
      <caption class="offscreen">Queues</caption>
      <thead><tr><th scope="col">Queue</th><th scope="col">State</th><th scope="col" class="number">Queued</th><th scope="col" class="number">Held by workers</th><th scope="col" class="number">Oldest</th><th scope="col" class="number">Workers</th><th scope="col"><span class="offscreen">Action</span></th></tr></thead>
      <tbody>${data.queues.map((queue, n) => html`<${QueueRow} key=${queue.name} queue=${queue} number=${n} onDone=${reload} />`)}</tbody></table></div>`
      : html`<p class="empty">No queue holds work, and no worker takes work. Start one: <code>zart-worker --queue default</code></p>`)}
    ${data && html`<${Rules} rules=${data.rules} onDone=${reload} />`}`;
}
