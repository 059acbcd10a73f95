// The login: a token becomes a session cookie that scripts cannot read.
import { html, useEffect, useRef, useState } from './html.js';
import { api } from './api.js';
import { remember } from './hooks.js';
import { ErrorBox } from './ui.js';

export function Login({ onDone }) {
  const [state, setState] = useState({ busy: false, error: null });
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const send = async (event) => {
    event.preventDefault();
    const token = field.current.value.trim();
    if (!token || state.busy) return;
    setState({ busy: true, error: null });
    try {
      await api.login(token);
      remember('login', 'yes');
      onDone();
    } catch (error) {
      setState({ busy: false, error });
      field.current.select();
    }
  };
  return html`<main class="login">
    <h1 tabindex="-1">Log in</h1>
    <form onSubmit=${send}>
      <input type="text" name="username" autocomplete="username" value="zart" hidden readonly />
      <label>Token <input type="password" name="token" autocomplete="current-password" required ref=${field} /></label>
      <button type="submit" class="primary" aria-disabled=${state.busy}>Log in</button>
      <${ErrorBox} error=${state.error} />
    </form>
    <p class="dim">Make one where Redis is reachable:</p>
    <pre tabindex="0">zart token add me --scope read --scope payloads --scope operate</pre>
  </main>`;
}
