// One execution: what it does or why it does not, its steps over time, and what can be done about it.
import { html, useCallback, useMemo } from './html.js';
import { api } from './api.js';
import { Link, executionPath, navigate } from './router.js';
import { duration, ms, visible, waitText } from './format.js';
import { useNow, usePolling } from './hooks.js';
import { isFinal, useRun } from './run_data.js';
import { hasFailed } from './timeline.js';
import { Copy, ErrorBox, Failure, Loading, Payload, Status, Tags, Time } from './ui.js';
import { Actions } from './actions.js';
import { StepPanel } from './step_panel.js';
import { Waterfall } from './waterfall.js';

function Waits({ record }) {
  if (isFinal(record.status) || !record.waits.length) return null;
  return html`<ul class="waits" aria-label="Waits for">${record.waits.map((wait, n) => html`<li key=${n} class=${wait.kind === 'held' ? 'error' : ''}>
    ${wait.kind === 'held' ? '' : 'Waits for '}<strong>${waitText(wait)}</strong>
    ${wait.due_at && html`, ${wait.kind === 'held' ? 'next try' : 'due'} <${Time} at=${wait.due_at} full />`}
    ${wait.place && html`, number ${wait.place} in line`}</li>`)}</ul>`;
}

function ProgressBar({ progress }) {
  if (!progress) return null;
  const { done, total, note } = progress;
  return html`<div class="progress">
    <progress max=${total || undefined} value=${total ? Math.min(done, total) : undefined} aria-label="Progress"></progress>
    <span>${done.toLocaleString('en')}${total ? ` of ${total.toLocaleString('en')} (${Math.floor((100 * done) / total)}%)` : ''} ${visible(note)}</span>
  </div>`;
}

function Fact({ name, children }) {
  return html`<div><dt>${name}</dt><dd>${children}</dd></div>`;
}

function Facts({ record, summary }) {
  const began = summary.started_at;
  return html`<dl class="facts">
    <${Fact} name="Task">${visible(record.task_name)}${record.version ? ` (version ${record.version})` : ''}<//>
    <${Fact} name="Queue">${visible(record.queue)}<//>
    <${Fact} name="Created"><${Time} at=${summary.created_at} full /><//>
    ${began && html`<${Fact} name="Began after">${duration(ms(began) - ms(summary.created_at))} in the queue<//>`}
    ${summary.finished_at && html`<${Fact} name="Ended"><${Time} at=${summary.finished_at} full /><//>
      <${Fact} name="Took">${duration(ms(summary.finished_at) - (ms(began) ?? ms(summary.created_at)))}<//>`}
    <${Fact} name="Run, attempt">${summary.run}, ${summary.attempt}<//>
    <${Fact} name="Begun by">${summary.trigger.replace(/_/g, ' ')}${summary.triggered_by ? `, ${visible(summary.triggered_by)}` : ''}<//>
    ${record.reason && html`<${Fact} name="Reason">${visible(record.reason)}<//>`}
    ${Object.keys(record.tags || {}).length > 0 && html`<${Fact} name="Tags"><${Tags} tags=${record.tags} /><//>`}
  </dl>`;
}

function RunPicker({ id, newest, current }) {
  const { data } = usePolling((signal) => (newest < 2 ? [] : api.runs(id, signal)), `runs ${id} ${newest}`, -1);
  if (newest < 2) return null;
  const choose = (event) => {
    const number = Number(event.target.value);
    navigate(executionPath(id), number === newest ? undefined : `run=${number}`);
  };
  const runs = data && data.length ? data : [{ run: current }];
  return html`<label class="picker">Run <select value=${String(current)} onChange=${choose}>
    ${[...runs].reverse().map((one) => html`<option key=${one.run} value=${String(one.run)}>${one.run}${one.status ? `: ${one.status}` : ''}${one.run === newest ? ' (newest)' : ''}</option>`)}
  </select></label>`;
}

function Children({ id }) {
  const { data } = usePolling((signal) => api.children(id, signal), `children ${id}`, 5000);
  if (!data || !data.executions.length) return null;
  return html`<section><h2>Children</h2><div class="scroll"><table class="executions">
    <thead><tr><th scope="col">Status</th><th scope="col">Execution</th><th scope="col">Task</th><th scope="col">Created</th></tr></thead>
    <tbody>${data.executions.map((row) => html`<tr key=${row.execution_id} data-execution-id=${row.execution_id}>
      <td><${Status} status=${row.status} /></td>
      <th scope="row"><${Link} to=${executionPath(row.execution_id)} class="mono">${visible(row.execution_id)}<//></th>
      <td>${visible(row.task_name)}</td><td><${Time} at=${row.created_at} /></td></tr>`)}</tbody></table></div>
    ${data.cursor && html`<p><${Link} to="/" query=${new URLSearchParams({ parent: id })}>All children<//></p>`}</section>`;
}

function Toggle({ id, query, name, label, disabled }) {
  const on = query.get(name) === '1';
  const click = () => {
    const next = new URLSearchParams(query);
    if (on) next.delete(name);
    else next.set(name, '1');
    navigate(executionPath(id), next, { replace: true });
  };
  return html`<button type="button" class="toggle" aria-pressed=${on} disabled=${disabled} onClick=${click}>${label}</button>`;
}

// Which step is shown next to the chart: the chosen one, else the one that failed the run.
function shownStep(query, run) {
  const name = query.get('step');
  if (name) return run.steps.findIndex((step) => step.name === name);
  if (query.has('step') || run.summary.status !== 'failed') return -1;
  let found = -1;
  run.steps.forEach((step, n) => {
    if (step.status === 'failed' && !step.in_on_failure) found = n;
  });
  return found;
}

function Steps({ id, run, query, isNewest, onDone }) {
  const live = !isFinal(run.summary.status);
  const now = useNow(live ? 1000 : 60000);
  const index = useMemo(() => shownStep(query, run), [query.get('step'), query.has('step'), run]);
  const step = index < 0 ? null : run.steps[index];
  const select = useCallback((name) => {
    const next = new URLSearchParams(location.search);
    next.set('step', name);
    navigate(executionPath(id), next, { replace: true });
  }, [id]);
  const failures = useMemo(() => run.steps.filter(hasFailed).length, [run]);
  return html`<section aria-label="Steps">
    <div class="toolbar"><h2>Steps</h2>
      <${Toggle} id=${id} query=${query} name="failed" label="Failed only" />
      <${Toggle} id=${id} query=${query} name="fold" label="Fold idle time" />
      <span class="dim">${failures ? `${failures.toLocaleString('en')} failed` : ''}</span>
      <span class="legend" aria-hidden="true"><i class="seg-queue"></i>queued <i class="seg-attempt"></i>ran <i class="seg-failed"></i>failed attempt <i class="seg-idle"></i>asleep or waiting</span></div>
    ${run.steps.length === 0 ? html`<p class="empty">${live ? 'No step has been recorded yet.' : 'This run has recorded no steps.'}</p>`
      : html`<div class=${`split ${step ? 'open' : ''}`}>
        <${Waterfall} run=${run} now=${now} filter=${query.get('failed') === '1' ? hasFailed : null} fold=${query.get('fold') === '1'}
          selected=${step && step.name} onSelect=${select} />
        ${step && html`<${StepPanel} id=${id} run=${run} step=${step} previous=${run.steps[index - 1]} onClose=${() => select('')}
          canRetry=${isNewest && run.summary.status === 'failed' && step.status === 'failed'} onDone=${onDone} />`}
      </div>`}
  </section>`;
}

function BodyAttempts({ run }) {
  if (!run.attempts.length) return null;
  return html`<section><h2>Failed attempts of the body</h2>${run.attempts.map((attempt) => html`<div key=${attempt.number}>
    <p>Attempt ${attempt.number} on ${visible(attempt.worker)}, <${Time} at=${attempt.finished_at} /></p>
    ${attempt.error && html`<${Failure} error=${attempt.error} open=${false} />`}</div>`)}</section>`;
}

export function Execution({ id, query }) {
  const number = Number(query.get('run')) || null;
  const { run, record, error, complete, reload } = useRun(id, number);
  const title = html`<h1 tabindex="-1" class="mono">${visible(id)}</h1>`;
  if (!run || !record) {
    return html`<div class="title">${title}</div>${error ? html`<${ErrorBox} error=${error} /><p><${Link} to="/">All executions<//></p>` : html`<${Loading} />`}`;
  }
  const isNewest = run.summary.run === record.run;
  const { status } = run.summary;
  return html`<div class="title">${title}<${Copy} text=${id} what="the id" /><${Status} status=${status} />
      <${RunPicker} id=${id} newest=${record.run} current=${run.summary.run} />
      <span class="spacer"></span>${isNewest && html`<${Actions} id=${id} record=${record} onDone=${reload} />`}</div>
    <${ErrorBox} error=${error} />
    ${isNewest && html`<${Waits} record=${record} /><${ProgressBar} progress=${record.progress} />`}
    ${run.summary.error && html`<div class="banner"><${Failure} error=${run.summary.error} title="The execution failed" open=${false} /></div>`}
    <${Facts} record=${record} summary=${run.summary} />
    ${!complete && html`<p class="dim" role="status">Loading more steps: ${run.steps.length.toLocaleString('en')} so far</p>`}
    <${Steps} id=${id} run=${run} query=${query} isNewest=${isNewest} onDone=${reload} />
    <${BodyAttempts} run=${run} />
    ${isNewest && html`<section class="payloads"><${Payload} title="Input" value=${record.input} />
      ${status === 'completed' && html`<${Payload} title="Output" value=${record.output} />`}</section>`}
    <${Children} id=${id} />`;
}
