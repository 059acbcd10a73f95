// One run, read in pages without payloads, and then only what may have changed since.
import { useEffect, useRef, useState } from './html.js';
import { api } from './api.js';
import { ms } from './format.js';

const FIRST_PAGE = 500;
const PAGE = 1000;
const SETTLED = 3000; // steps that ended this long before the newest one keep their place
const FINAL = ['completed', 'failed', 'cancelled'];

export const isFinal = (status) => FINAL.includes(status);

async function readAfter(id, run, last, limit, signal) {
  const query = { payloads: 'false', limit };
  if (run) query.run = run;
  if (last) query.steps_after = last;
  return api.detail(id, query, signal);
}

// The ended steps whose place no later one can take: those that need not be read again.
function settled(steps) {
  let newest = 0;
  for (const step of steps) newest = Math.max(newest, ms(step.finished_at) ?? 0);
  const end = steps.findIndex((step) => step.in_on_failure || !step.finished_at || ms(step.finished_at) > newest - SETTLED);
  return end < 0 ? steps : steps.slice(0, end);
}

// Reads the run, from behind the steps that are kept; `show` gets it page by page.
async function read(id, run, kept, signal, show) {
  let steps = kept;
  let limit = kept.length ? PAGE : FIRST_PAGE;
  for (;;) {
    const page = await readAfter(id, run, steps.length ? steps[steps.length - 1].name : null, limit, signal);
    steps = steps.concat(page.steps);
    show({ ...page, steps }, !page.has_more);
    if (!page.has_more || !page.steps.length) return;
    limit = PAGE;
  }
}

// The newest run (or the one of that number) and the record of the execution, live while it is not final.
export function useRun(id, number) {
  const [state, setState] = useState({ run: null, record: null, error: null, complete: false });
  const again = useRef(() => {});
  useEffect(() => {
    const abort = new AbortController();
    let timer;
    let run = null;
    let turn = 0;
    const update = (change) => !abort.signal.aborted && setState((before) => ({ ...before, ...change }));
    const once = async (whole, mine) => {
      const record = await api.execution(id, abort.signal);
      if (mine !== turn) return false;
      const isNewest = !number || number === record.run;
      const fits = run && run.summary.run === (number || record.run) && !isFinal(run.summary.status);
      const kept = !whole && fits ? settled(run.steps) : [];
      update({ record, error: null });
      const loading = !run || !fits;
      await read(id, number, kept, abort.signal, (next, complete) => {
        if (mine !== turn) return;
        if (complete) run = next;
        if (complete || loading) update({ run: next, complete });
      });
      return isNewest && !isFinal(record.status);
    };
    const follow = async (whole = false) => {
      clearTimeout(timer);
      const mine = ++turn;
      const began = performance.now();
      let live = true;
      try {
        live = await once(whole, mine);
      } catch (error) {
        if (abort.signal.aborted || mine !== turn) return;
        update({ error });
        run = null; // a step that was kept may be gone
        live = error.status === 0 || error.status >= 500 || error.status === 422;
      }
      if (abort.signal.aborted || mine !== turn) return;
      const took = performance.now() - began;
      const rest = live ? Math.max(1000, Math.min(took * 5, 20000)) : 10000; // a final one may be restarted elsewhere
      timer = setTimeout(function next() {
        if (document.hidden) timer = setTimeout(next, 500);
        else if (live) follow();
        else check();
      }, rest);
    };
    // A final run is read again only if something has changed it.
    const check = async () => {
      const mine = ++turn;
      try {
        const record = await api.execution(id, abort.signal);
        if (mine !== turn) return;
        if (run && record.run === run.summary.run && record.status === run.summary.status) {
          update({ record, error: null });
          timer = setTimeout(function next() { document.hidden ? (timer = setTimeout(next, 500)) : check(); }, 10000);
          return;
        }
      } catch (error) {
        if (abort.signal.aborted || mine !== turn) return;
        update({ error });
      }
      follow(true);
    };
    again.current = () => follow(true);
    follow(true);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [id, number]);
  return { ...state, reload: () => again.current() };
}

// One step with its payloads, read when it is looked at.
export function useStep(id, run, step, previous) {
  const [state, setState] = useState({ key: null, step: null, error: null });
  const key = `${run}\n${step.name}\n${step.in_on_failure}\n${step.status}\n${step.attempt_count}`;
  useEffect(() => {
    const abort = new AbortController();
    const query = { payloads: 'true', limit: 1, run };
    if (previous) query.steps_after = previous.name;
    const load = async () => {
      try {
        let page = await api.detail(id, query, abort.signal);
        if (page.steps[0]?.name !== step.name) page = await api.detail(id, { payloads: 'true', run }, abort.signal);
        const found = page.steps.find((one) => one.name === step.name && one.in_on_failure === step.in_on_failure);
        setState({ key, step: found || null, error: null });
      } catch (error) {
        if (!abort.signal.aborted) setState({ key, step: null, error });
      }
    };
    load();
    return () => abort.abort();
  }, [id, key]);
  return state.key === key ? state : { step: null, error: null };
}
