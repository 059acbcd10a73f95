// Paths and queries of the page, by the History API. All paths are relative to the prefix of the server.
import { html, useEffect, useState } from './html.js';

export const base = document.querySelector('meta[name="zart-base"]').content;

const listeners = new Set();

function changed() {
  for (const listener of listeners) listener();
}

window.addEventListener('popstate', changed);

// The current path without the prefix, and the query.
export function here() {
  const path = location.pathname.slice(base.length) || '/';
  return { path, query: new URLSearchParams(location.search) };
}

export function href(path, query) {
  const text = query ? query.toString() : '';
  return base + path + (text ? `?${text}` : '');
}

export function navigate(path, query, { replace = false } = {}) {
  const target = href(path, query);
  if (target === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', target);
  changed();
}

export function useLocation() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listener = () => redraw((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return here();
}

// A link that does not reload the page; with a modifier key the browser does what it always does.
export function Link({ to, query, children, ...rest }) {
  const follow = (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to, query);
    window.scrollTo(0, 0);
  };
  return html`<a href=${href(to, query)} onClick=${follow} ...${rest}>${children}</a>`;
}

export const executionPath = (id) => `/executions/${encodeURIComponent(id)}`;
