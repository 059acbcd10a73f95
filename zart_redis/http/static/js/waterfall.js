// The steps of a run over time, as plain SVG. Only the rows that are in view are drawn.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from './html.js';
import { absolute, duration, ms, relative, visible } from './format.js';
import { useUtc } from './hooks.js';
import { statusClass } from './ui.js';
import { placeOf, rangeOf, rowsOf, stretchesOf, ticksOf } from './timeline.js';

const ROW = 30;
const BAR = 14;
const SPARE = 6; // rows drawn above and below the view
const MIN_BAR = 3;

function useSize(element) {
  const [size, setSize] = useState({ width: 900, height: 500 });
  useLayoutEffect(() => {
    const read = () => setSize({ width: element.current.clientWidth, height: element.current.clientHeight });
    const observer = new ResizeObserver(read);
    observer.observe(element.current);
    read();
    return () => observer.disconnect();
  }, []);
  return size;
}

// What a bar says in words, for the tooltip and for screen readers.
function describe(row, now, utc) {
  const { step } = row;
  const parts = [`${step.name}, ${step.kind === 'step' ? '' : `${step.kind}, `}${step.status}`];
  if (!row.estimated || step.finished_at) parts.push(duration(row.to - row.from));
  if (step.attempt_count > 1) parts.push(`${step.attempt_count} attempts`);
  const queued = row.segments.find((segment) => segment.kind === 'queue');
  if (queued) parts.push(`${duration(queued.to - queued.from)} in the queue`);
  if (step.due_at && row.live) parts.push(`due ${absolute(ms(step.due_at), utc)} (${relative(ms(step.due_at), now)})`);
  if (step.error) parts.push(`${step.error.type}: ${step.error.message}`);
  return visible(parts.join(', '));
}

// What is written next to a bar.
function note(row, now) {
  const { step } = row;
  if (step.error) return { text: `${step.error.type}: ${step.error.message}`, kind: 'error' };
  if (step.due_at && row.live) return { text: `until ${relative(ms(step.due_at), now)}`.replace('until in', 'due in'), kind: '' };
  if (!row.live && !step.finished_at) return { text: 'not finished', kind: '' };
  if (step.put_off) return { text: step.put_off, kind: 'error' };
  const retries = step.attempt_count > 1 ? ` · ${step.attempt_count} attempts` : '';
  return { text: (row.estimated && !step.finished_at ? '' : duration(row.to - row.from)) + retries, kind: '' };
}

function Segment({ segment, x, top }) {
  const from = x(segment.from);
  const width = Math.max(x(segment.to) - from, MIN_BAR);
  const thin = segment.kind === 'queue' || segment.kind === 'gap';
  return html`<rect class=${`segment seg-${segment.kind}`} x=${from} width=${width} rx=${thin ? 1 : 3}
    y=${top + (thin ? ROW / 2 - 2 : (ROW - BAR) / 2)} height=${thin ? 4 : BAR} />`;
}

const LETTER = 7; // pixels, about

// Where the note has room: behind the bar, before it, or on it if it fills the chart. What does not fit is cut.
function placeNote(text, begin, end, width) {
  const after = width - end - 12;
  const before = begin - 12;
  if (after < 80 && before < 80) return { place: 'inside', shown: cut(text, end - begin - 18) };
  const place = after >= text.length * LETTER || after >= before ? 'after' : 'before';
  return { place, shown: cut(text, place === 'after' ? after : before) };
}

function cut(text, pixels) {
  const count = Math.max(Math.floor(pixels / LETTER), 4);
  return text.length <= count ? text : `${text.slice(0, count - 1)}…`;
}

function Bar({ row, top, x, width, selected, onSelect, now, utc }) {
  const end = Math.max(x(row.to), x(row.from) + MIN_BAR);
  const words = note(row, now);
  const text = visible(words.text).replace(/\s+/g, ' ');
  const begin = x(row.from);
  const { place, shown } = placeNote(text, begin, end, width);
  return html`<g class=${`bar ${statusClass(row.step.status)} ${row.estimated ? 'estimated' : ''} ${selected ? 'selected' : ''}`}
      data-step=${row.step.name} data-status=${row.step.status} onClick=${onSelect}>
    <title>${describe(row, now, utc)}</title>
    <rect class="hit" x="0" y=${top} width=${width} height=${ROW} />
    ${row.segments.map((segment, n) => html`<${Segment} key=${n} segment=${segment} x=${x} top=${top} />`)}
    <text class=${`note ${words.kind} ${place}`} x=${{ after: end + 7, before: begin - 7, inside: begin + 9 }[place]} y=${top + ROW / 2 + 4}
      text-anchor=${place === 'before' ? 'end' : 'start'}>${shown}</text>
  </g>`;
}

function Axis({ stretches, origin, x, width }) {
  const ticks = ticksOf(stretches, origin, 90 / Math.max(width, 200));
  return html`<svg class="axis" width=${width} height="24" aria-hidden="true">
    ${ticks.map((tick) => html`<g key=${tick.at}><line x1=${tick.x * width} x2=${tick.x * width} y1="18" y2="24" />
      ${tick.x * width < width - 60 && html`<text x=${tick.x * width + 3} y="14">${tick.at ? `+${duration(tick.at)}` : '0'}</text>`}</g>`)}
    ${stretches.filter((one) => one.folded).map((one) => html`<text key=${one.from} class="fold-mark" text-anchor="middle"
      x=${((one.x0 + one.x1) / 2) * width} y="14">⋯<title>${duration(one.to - one.from)} idle</title></text>`)}
  </svg>`;
}

function Backdrop({ stretches, origin, width, height }) {
  const ticks = ticksOf(stretches, origin, 90 / Math.max(width, 200));
  return html`<g aria-hidden="true" class="backdrop">
    ${ticks.map((tick) => html`<line key=${tick.at} x1=${tick.x * width} x2=${tick.x * width} y1="0" y2=${height} />`)}
    ${stretches.filter((one) => one.folded).map((one) => html`<rect key=${one.from} class="fold" x=${one.x0 * width} y="0"
      width=${(one.x1 - one.x0) * width} height=${height}><title>${duration(one.to - one.from)} idle, folded</title></rect>`)}
  </g>`;
}

function NameRow({ row, index, top, selected, focusable, onSelect }) {
  const { step } = row;
  return html`<button type="button" class=${`name ${statusClass(step.status)} ${selected ? 'selected' : ''}`} style=${{ top: `${top}px` }}
      data-row=${index} tabindex=${focusable ? 0 : -1} aria-expanded=${selected} aria-controls="step-panel" onClick=${onSelect} title=${visible(step.name)}>
    <span class="dot" aria-hidden="true"></span><span class="text">${visible(step.name)}</span>
    ${step.kind !== 'step' && html`<span class="kind">${step.kind}</span>`}${step.in_on_failure && html`<span class="kind">on failure</span>`}
    <span class="offscreen">, ${step.status}</span>
  </button>`;
}

// Up and down move between the rows; a row that is out of view is brought into view first.
function useRowKeys(scroller, count, focused, setFocused) {
  const wanted = useRef(null);
  useEffect(() => {
    if (wanted.current === null) return;
    const button = scroller.current.querySelector(`[data-row="${wanted.current}"]`);
    if (button) {
      button.focus({ preventScroll: true });
      wanted.current = null;
    }
  });
  return (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -count, End: count };
    if (!(event.key in moves) || !event.target.closest('.name')) return;
    event.preventDefault();
    const next = Math.min(Math.max(focused + moves[event.key], 0), count - 1);
    const { scrollTop, clientHeight } = scroller.current;
    if (next * ROW < scrollTop) scroller.current.scrollTop = next * ROW;
    if ((next + 1) * ROW > scrollTop + clientHeight) scroller.current.scrollTop = (next + 1) * ROW - clientHeight;
    wanted.current = next;
    setFocused(next);
  };
}

export function Waterfall({ run, filter, fold, selected, onSelect, now }) {
  const utc = useUtc();
  const scroller = useRef(null);
  const chart = useRef(null);
  const size = useSize(scroller);
  const { width } = useSize(chart);
  const [scroll, setScroll] = useState(0);
  const [focused, setFocused] = useState(0);
  const live = !run.summary.finished_at;
  const drawn = useMemo(() => {
    const all = rowsOf(run, now);
    const range = rangeOf(run, all, now);
    return { rows: filter ? all.filter((row) => filter(row.step)) : all, range, stretches: stretchesOf(run, all, range, fold) };
  }, [run, filter, fold, live ? now : 0]);
  const { rows, range, stretches } = drawn;
  const view = Math.min(scroll, Math.max(rows.length * ROW - size.height, 0)); // there may be fewer rows than before
  const first = Math.max(Math.floor(view / ROW) - SPARE, 0);
  const last = Math.min(Math.ceil((view + size.height) / ROW) + SPARE, rows.length);
  const inner = Math.max(width - 16, 50);
  const x = (at) => placeOf(stretches, at) * inner;
  const onKeyDown = useRowKeys(scroller, rows.length, Math.min(focused, rows.length - 1), setFocused);
  const stop = Math.min(Math.max(focused, first), last - 1);
  const height = (last - first) * ROW;
  return html`<div class="waterfall">
    <div class="head"><span class="dim">${rows.length.toLocaleString('en')} of ${run.steps.length.toLocaleString('en')} calls · ${duration(range.to - range.from)}</span>
      <${Axis} stretches=${stretches} origin=${range.from} width=${inner} /></div>
    <div class="rows" ref=${scroller} onScroll=${(event) => setScroll(event.currentTarget.scrollTop)} onKeyDown=${onKeyDown} role="group" aria-label="Steps over time">
      <div class="space" style=${{ height: `${rows.length * ROW}px` }}>
        <div class="names">${rows.slice(first, last).map((row, n) => html`<${NameRow} key=${`${row.step.in_on_failure} ${row.step.name}`} row=${row} index=${first + n}
          top=${(first + n) * ROW} selected=${selected === row.step.name} focusable=${first + n === stop}
          onSelect=${() => { setFocused(first + n); onSelect(row.step.name); }} />`)}</div>
        <div class="chart" ref=${chart}>
          <svg width=${inner} height=${height} style=${{ top: `${first * ROW}px` }}>
            <${Backdrop} stretches=${stretches} origin=${range.from} width=${inner} height=${height} />
            ${rows.slice(first, last).map((row, n) => html`<${Bar} key=${`${row.step.in_on_failure} ${row.step.name}`} row=${row} top=${n * ROW} x=${x} width=${inner}
              selected=${selected === row.step.name} now=${now} utc=${utc} onSelect=${() => onSelect(row.step.name)} />`)}
          </svg>
        </div>
      </div>
    </div>
  </div>`;
}
