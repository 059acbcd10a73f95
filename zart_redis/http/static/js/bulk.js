// One action on all executions that the filter selects: counted first, confirmed, then followed to its end.
import { html, useEffect, useState } from './html.js';
import { request, supports } from './api.js';
import { base } from './router.js';
import { plural, visible } from './format.js';
import { isEmpty } from './filters.js';
import { isFinal } from './run_data.js';
import { Dialog } from './dialog.js';
import { ErrorBox, Loading } from './ui.js';

// Each with the statuses that it is for, if not all.
const ACTIONS = [
  ['cancel', 'Cancel all', 'The live ones of them end now. Running steps may finish; nothing else starts.', ['scheduled', 'running', 'waiting']],
  ['restart', 'Restart all', 'Each begins a new run with its input. The earlier runs are kept as history.', null],
  ['retry', 'Retry all failed', 'Each of them that has failed resumes from the step that failed.', ['failed']],
];
const KNOWN = ['status', 'task_name', 'queue', 'id_prefix', 'created_after', 'created_before', 'tags'];

function possibleActions(filter) {
  if (isEmpty(filter) || !Object.keys(filter).every((name) => KNOWN.includes(name))) return [];
  return ACTIONS.filter(([, , , statuses]) => !filter.status || !statuses || statuses.includes(filter.status));
}

// What the server is asked for: `retry` takes only what has failed.
const narrowed = (filter, action) => (action === 'retry' ? { ...filter, status: 'failed' } : filter);

const describe = (filter) => Object.entries(filter).map(([name, value]) =>
  `${name} ${typeof value === 'object' ? Object.entries(value).map((pair) => pair.join(':')).join(', ') : value}`).join('; ');

// The path of an address that the server gave, without its origin and the prefix.
function pathOf(address) {
  const path = new URL(address, location.href).pathname;
  return path.startsWith(base) ? path.slice(base.length) : path;
}

function useBatch(filter, action) {
  const [state, setState] = useState({ phase: 'counting' });
  const fail = (error) => setState((before) => ({ ...before, error }));
  useEffect(() => {
    request('POST', '/admin/v1/batches', { body: { filter, action, dry_run: true } }).then(
      (answer) => setState({ phase: 'counted', count: answer.body.count }), fail);
  }, []);
  useEffect(() => {
    if (state.phase !== 'running') return undefined;
    const timer = setInterval(async () => {
      try {
        const { body } = await request('GET', state.path);
        const ended = isFinal(body.status);
        setState((before) => ({ ...before, phase: ended ? 'ended' : 'running', progress: body, error: null }));
      } catch (error) {
        fail(error);
      }
    }, 700);
    return () => clearInterval(timer);
  }, [state.phase]);
  const begin = async () => {
    try {
      const answer = await request('POST', '/admin/v1/batches', { body: { filter, action, dry_run: false } });
      setState((before) => ({ ...before, phase: 'running', path: pathOf(answer.location), error: null }));
    } catch (error) {
      fail(error);
    }
  };
  const stop = () => request('POST', `${state.path}/stop`, { body: {} }).catch(fail);
  return { state, begin, stop };
}

function Progress({ state, stop }) {
  const { done = 0, failed = {}, total } = state.progress || {};
  const wrong = Object.keys(failed).length;
  return html`<div aria-live="polite">
      <progress max=${total || state.count || 1} value=${done + wrong} aria-label="Progress"></progress>
      <p>${done.toLocaleString('en')} of ${(total ?? state.count ?? 0).toLocaleString('en')} done${wrong > 0 && `, ${wrong} could not be changed`}${state.phase === 'ended' && `: ${state.progress.status}`}</p>
    </div>
    ${wrong > 0 && html`<ul class="failed-ids">${Object.entries(failed).slice(0, 20).map(([id, why]) =>
      html`<li key=${id}><code>${visible(id)}</code> ${visible(why)}</li>`)}</ul>`}
    ${state.phase === 'running' && html`<button type="button" onClick=${stop}>Stop</button>`}`;
}

function BatchDialog({ filter, action, label, text, onClose }) {
  const { state, begin, stop } = useBatch(filter, action);
  return html`<${Dialog} title=${`${label}: ${describe(filter)}`} onClose=${onClose}>
    <p>${text}</p>
    <${ErrorBox} error=${state.error} />
    ${state.phase === 'counting' && !state.error && html`<${Loading} />`}
    ${state.phase === 'counted' && html`<p class="count"><strong>${plural(state.count, 'execution')}</strong> ${state.count === 1 ? 'matches' : 'match'} the filter.</p>`}
    ${(state.phase === 'running' || state.phase === 'ended') && html`<${Progress} state=${state} stop=${stop} />`}
    <div class="buttons">
      <button type="button" onClick=${onClose}>Close</button>
      ${state.phase === 'counted' && state.count > 0 && html`<button type="button" class="danger" onClick=${begin}>Confirm</button>`}
    </div>
  <//>`;
}

export function Bulk({ filter, onDone }) {
  const [chosen, choose] = useState(null);
  const [possible, setPossible] = useState(false);
  useEffect(() => {
    supports('POST', '/admin/v1/batches').then(setPossible);
  }, []);
  const actions = possible ? possibleActions(filter) : [];
  if (!actions.length) return null;
  const close = () => {
    choose(null);
    onDone();
  };
  return html`<div class="bulk" role="group" aria-label="All that match the filter">
    ${actions.map(([action, label]) => html`<button type="button" key=${action} aria-haspopup="dialog"
      onClick=${() => choose(action)}>${label}</button>`)}
    ${actions.map(([action, label, text]) => chosen === action && html`<${BatchDialog} key=${action} filter=${narrowed(filter, action)} action=${action}
      label=${label} text=${text} onClose=${close} />`)}
  </div>`;
}
