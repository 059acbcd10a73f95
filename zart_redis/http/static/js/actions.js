// What can be done to an execution.
import { html, useEffect, useState } from './html.js';
import { accepts, api } from './api.js';
import { usePolling } from './hooks.js';
import { isFinal } from './run_data.js';
import { Action } from './dialog.js';

const EDITABLE = 20000;

async function cancel(id, form) {
  const body = {};
  if (form.get('reason')) body.reason = form.get('reason');
  if (form.get('compensate')) body.compensate = true;
  const { cancelled } = await api.cancel(id, body);
  return cancelled ? `Cancelled ${id}.` : `${id} had ended before; nothing was cancelled.`;
}

async function restart(id, before, form) {
  const text = form.get('data');
  const body = text === null || text === before ? {} : { data: JSON.parse(text) };
  const result = await api.restart(id, body);
  return `Restarted ${id}${result && result.run ? ` as run ${result.run}` : ''}.`;
}

// Whether a rule holds this execution alone.
const isOf = (id) => (rule) => rule.execution_id === id && !rule.task_name && !rule.step_pattern && !rule.queue;

export function Actions({ id, record, onDone }) {
  const rules = usePolling((signal) => api.pauseRules(signal).catch(() => []), `rules ${id}`, 5000);
  const [compensates, setCompensates] = useState(false);
  useEffect(() => {
    accepts('/api/v1/executions/{id}/cancel', 'compensate').then(setCompensates);
  }, []);
  const paused = (rules.data || []).some(isOf(id));
  const input = JSON.stringify(record.input, null, 2);
  const pause = async () => {
    await api.pause({ execution_id: id });
    return `Paused ${id}: it stops before its next step.`;
  };
  const resume = async () => {
    await api.resume({ execution_id: id });
    return `Resumed ${id}.`;
  };
  const done = () => {
    rules.reload();
    onDone();
  };
  const live = !isFinal(record.status);
  return html`<div class="actions" role="group" aria-label="Actions">
    ${live && !paused && html`<${Action} key="pause" label="Pause" title="Pause this execution" act=${pause} onDone=${done}
      text="It stops before its next step. A running step may finish; nothing is lost." />`}
    ${paused && html`<${Action} key="resume" label="Resume" title="Resume this execution" act=${resume} onDone=${done}
      text="It continues where it was paused." />`}
    ${live && html`<${Action} key="cancel" label="Cancel" danger title="Cancel this execution" act=${(form) => cancel(id, form)} onDone=${done}
      text="Sleeps and waits end at once. A running step may finish, and no other step starts.">
      <label>Reason <input type="text" name="reason" maxlength="500" placeholder="for the history" /></label>
      ${compensates && html`<label class="check"><input type="checkbox" name="compensate" /> Run its on_failure to compensate</label>`}
    <//>`}
    <${Action} key="restart" label="Restart" danger=${live} title="Restart this execution" act=${(form) => restart(id, input, form)} onDone=${done}
      text=${`A new run begins from scratch${live ? ', and the live one is cancelled' : ''}. This run is kept as history.`}>
      ${input !== undefined && input.length <= EDITABLE && html`<label>Input <textarea name="data" rows="6" spellcheck=${false} class="mono">${input}</textarea></label>`}
    <//>
  </div>`;
}
