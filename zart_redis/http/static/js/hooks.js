// What several views need: polling, a clock, and settings that the browser remembers.
import { useCallback, useEffect, useRef, useState } from './html.js';

// Calls `load(signal)` now, whenever `key` changes, and then every `interval` ms; not while the tab is hidden.
// Slow answers make it slower: it rests at least ten times as long as the last call took. A negative interval ends it.
export function usePolling(load, key, interval) {
  const [state, setState] = useState({ key: null, data: null, error: null });
  const latest = useRef(load);
  latest.current = load;
  const pace = useRef(interval);
  pace.current = interval;
  const again = useRef(() => {});
  useEffect(() => {
    const abort = new AbortController();
    let timer;
    let newest = 0;
    const run = async () => {
      clearTimeout(timer);
      const number = ++newest;
      const began = performance.now();
      try {
        const data = await latest.current(abort.signal);
        if (abort.signal.aborted || number !== newest) return;
        setState({ key, data, error: null });
      } catch (error) {
        if (abort.signal.aborted || number !== newest) return;
        setState((before) => ({ key, data: before.key === key ? before.data : null, error }));
      }
      const took = performance.now() - began;
      timer = setTimeout(next, Math.max(Math.abs(pace.current), Math.min(took * 10, 30000)));
    };
    const next = () => {
      if (!document.hidden && pace.current >= 0) run();
      else timer = setTimeout(next, 500);
    };
    again.current = run;
    run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key]);
  const reload = useCallback(() => again.current(), []);
  const current = state.key === key;
  return { data: current ? state.data : null, error: current ? state.error : null, loading: !current, reload };
}

// The time, renewed every `interval` ms.
export function useNow(interval = 1000) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setNow(Date.now()), interval);
    return () => clearInterval(timer);
  }, [interval]);
  return now;
}

export function remembered(name, fallback) {
  try {
    return localStorage.getItem(`zart-${name}`) ?? fallback;
  } catch {
    return fallback; // storage is turned off
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`zart-${name}`, value);
  } catch {
    // It is forgotten with the page.
  }
}

const settings = { zone: remembered('zone', 'local') };
const watchers = new Set();

export function setZone(zone) {
  settings.zone = zone;
  remember('zone', zone);
  for (const watcher of watchers) watcher(zone);
}

// Whether times are shown in UTC.
export function useUtc() {
  const [zone, change] = useState(settings.zone);
  useEffect(() => {
    watchers.add(change);
    return () => watchers.delete(change);
  }, []);
  return zone === 'utc';
}
