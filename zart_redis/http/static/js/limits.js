// The limits: how much of each is in use, and how much waits for it.
import { html } from './html.js';
import { api } from './api.js';
import { plural, visible } from './format.js';
import { usePolling } from './hooks.js';
import { ErrorBox, Loading } from './ui.js';

function LimitRow({ limit }) {
  const { held, waiting, concurrency } = limit;
  return html`<tr data-limit=${limit.name}>
    <th scope="row" class="mono">${visible(limit.name)}</th>
    <td class="mono">${limit.key === null ? html`<span class="dim">all</span>` : visible(limit.key)}</td>
    <td>${concurrency === null ? held : html`<meter min="0" max=${Math.max(concurrency, 1)} value=${Math.min(held, concurrency)}
      aria-label=${`${held} of ${concurrency} in use`}></meter> ${held}/${concurrency}`}</td>
    <td>${limit.rate ? visible(limit.rate) : ''}</td>
    <td class=${`number ${waiting && concurrency === 0 ? 'error' : ''}`}>${waiting.toLocaleString('en')}</td>
    <td>${concurrency === 0 && html`<span class="status is-waiting"><span aria-hidden="true">‖</span> stopped</span>`}</td>
  </tr>`;
}

export function Limits() {
  const { data, error, loading } = usePolling((signal) => api.limits(signal), 'limits', 3000);
  return html`<div class="title"><h1 tabindex="-1">Limits</h1>${data && html`<span class="dim">${plural(data.length, 'counter')}</span>`}</div>
    <${ErrorBox} error=${error} />${loading && html`<${Loading} />`}
    ${data && !data.length && html`<div class="empty">No limit is declared. For example:
      <pre tabindex="0">${`openai = zart.Limit("openai", concurrency=20, rate="500/1m")

@zart_step("ask", limits=[openai])
async def ask(question: str) -> str: ...`}</pre></div>`}
    ${data && data.length > 0 && html`<div class="scroll"><table>
      <caption class="offscreen">Limits</caption>
      <thead><tr><th scope="col">Limit</th><th scope="col">Key</th><th scope="col">In use</th><th scope="col">Rate</th><th scope="col" class="number">Waiting</th><th scope="col"><span class="offscreen">State</span></th></tr></thead>
      <tbody>${data.map((limit) => html`<${LimitRow} key=${`${limit.name} ${limit.key}`} limit=${limit} />`)}</tbody></table></div>`}`;
}
