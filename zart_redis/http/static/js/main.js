// The page: header, login, and the view that the path names.
import { html, render, useEffect, useState } from './html.js';
import { api, onUnauthenticated } from './api.js';
import { Link, useLocation } from './router.js';
import { remember, remembered, setZone, useUtc } from './hooks.js';
import { zoneName } from './format.js';
import { Notices, notify } from './dialog.js';
import { Login } from './login.js';
import { Executions } from './list.js';
import { Execution } from './execution.js';
import { Queues } from './queues.js';
import { Workers } from './workers.js';
import { Recurring } from './recurring.js';
import { Limits } from './limits.js';

const VIEWS = [
  ['/', 'Executions', Executions],
  ['/queues', 'Queues', Queues],
  ['/workers', 'Workers', Workers],
  ['/recurring', 'Recurring', Recurring],
  ['/limits', 'Limits', Limits],
];

const THEMES = ['auto', 'light', 'dark'];

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

function ThemeButton() {
  const [theme, setTheme] = useState(remembered('theme', 'auto'));
  const change = () => {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remember('theme', next);
    applyTheme(next);
    setTheme(next);
  };
  return html`<button type="button" class="small" onClick=${change} title="Light, dark, or as the system">Theme: ${theme}</button>`;
}

function ZoneButton() {
  const utc = useUtc();
  return html`<button type="button" class="small" onClick=${() => setZone(utc ? 'local' : 'utc')}
    title="The zone of the times: this computer's, or UTC">Times: ${zoneName(new Date(), utc)}</button>`;
}

function LogoutButton({ onDone }) {
  if (remembered('login', '') !== 'yes') return null;
  const logout = async () => {
    try {
      await api.logout();
    } catch (error) {
      notify(error.message);
      return;
    }
    remember('login', '');
    onDone();
  };
  return html`<button type="button" class="small" onClick=${logout}>Log out</button>`;
}

function Header({ path, onLogout }) {
  return html`<header class="top">
    <${Link} to="/" class="brand">zart<//>
    <nav aria-label="Views">${VIEWS.map(([to, title]) => {
      const current = to === path || (to === '/' && path.startsWith('/executions'));
      return html`<${Link} key=${to} to=${to} aria-current=${current ? 'page' : undefined}>${title}<//>`;
    })}</nav>
    <div class="settings"><${ZoneButton} /><${ThemeButton} /><${LogoutButton} onDone=${onLogout} /></div>
  </header>`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function View({ path, query }) {
  const known = VIEWS.find(([to]) => to === path);
  if (known) return html`<${known[2]} query=${query} />`;
  const match = /^\/executions\/([^/]+)\/?$/.exec(path);
  if (match) return html`<${Execution} key=${match[1]} id=${decoded(match[1])} query=${query} />`;
  return html`<h1 tabindex="-1">Not found</h1><p>There is no view at this address. <${Link} to="/">All executions<//></p>`;
}

function Page() {
  const { path, query } = useLocation();
  const [locked, setLocked] = useState(false);
  const [session, setSession] = useState(0);
  useEffect(() => onUnauthenticated(() => setLocked(true)), []);
  useEffect(() => {
    const name = VIEWS.find(([to]) => to === path)?.[1] || decoded(path.split('/')[2] || 'Not found');
    document.title = `${name} – zart`;
  }, [path]);
  const login = () => {
    setLocked(false);
    setSession((n) => n + 1);
  };
  if (locked) return html`<${Login} onDone=${login} />`;
  return html`<a class="skip" href="#content">Skip to the content</a>
    <${Header} path=${path} onLogout=${() => setLocked(true)} />
    <main id="content" key=${session}><${View} path=${path} query=${query} /></main>
    <${Notices} />`;
}

applyTheme(remembered('theme', 'auto'));
const root = document.getElementById('page');
root.textContent = '';
render(html`<${Page} />`, root);
