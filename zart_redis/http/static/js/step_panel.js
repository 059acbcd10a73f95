// One step: what it did, attempt by attempt, what it returned or raised, and the button that retries it.
import { html, useRef, useEffect } from './html.js';
import { api } from './api.js';
import { duration, ms, visible } from './format.js';
import { useStep } from './run_data.js';
import { isIdleKind, startOf } from './timeline.js';
import { Action } from './dialog.js';
import { Copy, ErrorBox, Failure, Payload, Status, Time } from './ui.js';

function Facts({ step }) {
  const started = startOf(step);
  const first = step.attempts.length ? ms(step.attempts[0].started_at) : null;
  const scheduled = ms(step.scheduled_at);
  return html`<dl class="facts">
    ${step.kind !== 'step' && html`<div><dt>Kind</dt><dd>${step.kind}</dd></div>`}
    ${step.declared_name !== step.name && html`<div><dt>Declared as</dt><dd class="mono">${visible(step.declared_name)}</dd></div>`}
    ${scheduled !== null && first !== null && html`<div><dt>In the queue</dt><dd>${duration(first - scheduled)}</dd></div>`}
    ${started !== null && html`<div><dt>Began</dt><dd><${Time} at=${new Date(started).toISOString()} full /></dd></div>`}
    ${step.finished_at && html`<div><dt>Ended</dt><dd><${Time} at=${step.finished_at} full /></dd></div>`}
    ${step.due_at && !step.finished_at && html`<div><dt>${isIdleKind(step.kind) ? 'Due' : 'Next attempt'}</dt><dd><${Time} at=${step.due_at} full /></dd></div>`}
    ${started !== null && step.finished_at && html`<div><dt>Took</dt><dd>${duration(ms(step.finished_at) - started)}</dd></div>`}
    ${step.put_off && html`<div><dt>Postponed</dt><dd class="error">${visible(step.put_off)}</dd></div>`}
  </dl>`;
}

function Attempt({ attempt, isLast, error }) {
  const length = duration(ms(attempt.finished_at) - ms(attempt.started_at));
  const failure = attempt.error || (isLast ? error : null);
  return html`<li>
    <div class="attempt"><b>Attempt ${attempt.number}</b> ${failure ? html`<span class="error">failed</span>` : 'ended'} after ${length}
      <span class="dim"> on ${visible(attempt.worker)}, <${Time} at=${attempt.started_at} /></span></div>
    ${failure && html`<${Failure} error=${failure} open=${isLast} />`}
  </li>`;
}

function Attempts({ step }) {
  const omitted = step.attempt_count - step.attempts.length;
  if (!step.attempts.length) return step.error ? html`<${Failure} error=${step.error} />` : null;
  return html`<ol class="attempts" aria-label="Attempts">
    ${omitted > 0 && html`<li class="dim">${omitted} earlier attempts are no longer kept</li>`}
    ${step.attempts.map((attempt, n) => html`<${Attempt} key=${attempt.number} attempt=${attempt}
      isLast=${n === step.attempts.length - 1} error=${step.error} />`)}
  </ol>`;
}

export function StepPanel({ id, run, step, previous, canRetry, onClose, onDone }) {
  const loaded = useStep(id, run.summary.run, step, previous);
  const heading = useRef(null);
  const shown = loaded.step || step;
  useEffect(() => heading.current.closest('aside').scrollTo(0, 0), [step.name]);
  const retry = async () => {
    await api.retryStep(id, step.name);
    return `Step ${step.name} runs again.`;
  };
  return html`<aside id="step-panel" class="panel" aria-labelledby="step-title">
    <header>
      <h2 id="step-title" tabindex="-1" ref=${heading} class="mono">${visible(step.name)}</h2>
      <${Status} status=${step.status} />
      <span class="spacer"></span>
      <button type="button" class="small" aria-label="Close the step" onClick=${onClose}>×</button>
    </header>
    ${canRetry && html`<div class="buttons start"><${Action} label="Retry step" title=${`Retry step ${step.name}`} act=${retry} onDone=${onDone}
      text="The execution resumes in the same run from this step. Its failure and its attempts are forgotten; all other results are kept." />
      </div>`}
    <${Facts} step=${shown} />
    <${Attempts} step=${shown} />
    <${ErrorBox} error=${loaded.error} />
    ${loaded.step && shown.finished_at && !shown.error && html`<${Payload} title=${isIdleKind(step.kind) ? 'Payload' : 'Result'} value=${shown.result} />`}
    ${!loaded.step && !loaded.error && html`<p class="dim">Loading payloads…</p>`}
    <p><${Copy} text=${step.name} what="the name" /> <span class="dim">the name</span></p>
  </aside>`;
}
