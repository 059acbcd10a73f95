// The recurring executions: when they start next, what runs of them, and why they were skipped.
import { html } from './html.js';
import { api } from './api.js';
import { Link, executionPath } from './router.js';
import { duration, plural, visible } from './format.js';
import { usePolling } from './hooks.js';
import { Action } from './dialog.js';
import { ErrorBox, Loading, Time } from './ui.js';

const SHOWN = 5;

function RecurringRow({ record, number, onDone }) {
  const id = record.recurring_id;
  const act = (action, words) => async () => {
    const result = await api.recurringAction(id, action);
    if (action !== 'trigger') return words;
    const started = result && (result.execution_id ?? result.started);
    return started ? `Started ${started}.` : 'Skipped: one is live already.';
  };
  const describedby = `recurring-${number}`;
  return html`<tr data-recurring=${id}>
    <th scope="row" class="mono" id=${describedby}>${visible(id)}</th>
    <td>${record.paused ? html`<span class="status is-waiting"><span aria-hidden="true">‖</span> paused</span>` : html`<span class="status is-completed"><span aria-hidden="true">✓</span> active</span>`}
      ${record.last_skip_reason && html`<div class="reason">last skipped: ${visible(record.last_skip_reason)}</div>`}</td>
    <td><${Link} to="/" query=${new URLSearchParams({ task_name: record.handler })}>${visible(record.handler)}<//></td>
    <td>${record.cron ? html`<code>${visible(record.cron)}</code> <span class="dim">${visible(record.timezone)}</span>` : `every ${duration(record.every * 1000)}`}
      <div class="dim">overlap ${record.overlap}, catch up ${record.catch_up}</div></td>
    <td>${record.next_times.slice(0, 3).map((time) => html`<div key=${time}><${Time} at=${time} full /></div>`)}</td>
    <td>${record.live.slice(0, SHOWN).map((live) => html`<div key=${live}><${Link} to=${executionPath(live)} class="mono">${visible(live)}<//></div>`)}
      ${record.live.length > SHOWN && html`<div class="dim">and ${record.live.length - SHOWN} more</div>`}</td>
    <td class="act">
      ${record.paused
        ? html`<${Action} key="resume" label="Resume" title=${`Resume ${id}`} act=${act('resume', `Resumed ${id}.`)} onDone=${onDone} describedby=${describedby}
            text="It starts occurrences again from now on. What was due while it was paused is not started." />`
        : html`<${Action} key="pause" label="Pause" title=${`Pause ${id}`} act=${act('pause', `Paused ${id}.`)} onDone=${onDone} describedby=${describedby}
            text="It starts no occurrence until it is resumed. Live ones continue." />`}
      ${' '}<${Action} label="Trigger" title=${`Start an occurrence of ${id} now`} act=${act('trigger')} onDone=${onDone} describedby=${describedby}
        text="An occurrence starts now, in addition to the schedule, unless the overlap rule forbids it." />
    </td>
  </tr>`;
}

export function Recurring() {
  const { data, error, loading, reload } = usePolling((signal) => api.recurring(signal), 'recurring', 5000);
  return html`<div class="title"><h1 tabindex="-1">Recurring</h1>${data && html`<span class="dim">${plural(data.length, 'schedule')}</span>`}</div>
    <${ErrorBox} error=${error} />${loading && html`<${Loading} />`}
    ${data && !data.length && html`<div class="empty">Nothing is recurring. For example:
      <pre tabindex="0">zart recurring start nightly report --id-template "report-{time}" --cron "0 3 * * *" --timezone Europe/Berlin</pre></div>`}
    ${data && data.length > 0 && html`<div class="scroll"><table>
      <caption class="offscreen">Recurring executions</caption>
      <thead><tr><th scope="col">Id</th><th scope="col">State</th><th scope="col">Task</th><th scope="col">Schedule</th><th scope="col">Next</th><th scope="col">Live</th><th scope="col"><span class="offscreen">Action</span></th></tr></thead>
      <tbody>${data.map((record, n) => html`<${RecurringRow} key=${record.recurring_id} record=${record} number=${n} onDone=${reload} />`)}</tbody></table></div>`}`;
}
