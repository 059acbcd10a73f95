// Buttons that act: a dialog confirms, shows what failed, and gives the focus back; a notice shows the result.
import { html, useEffect, useLayoutEffect, useRef, useState } from './html.js';
import { ErrorBox } from './ui.js';

let counter = 0;

const FOCUSABLE = 'button:not(:disabled), input, textarea, select, a[href], summary, [tabindex="0"]';

// The focus moves in a circle within the dialog.
function holdFocus(event, dialog) {
  if (event.key !== 'Tab') return;
  const stops = [...dialog.querySelectorAll(FOCUSABLE)];
  const [first, last] = [stops[0], stops[stops.length - 1]];
  const leaves = !dialog.contains(document.activeElement) || document.activeElement === (event.shiftKey ? first : last);
  if (!leaves) return;
  event.preventDefault();
  (event.shiftKey ? last : first).focus();
}

function focusHeading() {
  document.querySelector('main h1')?.focus();
}

export function Dialog({ title, onClose, children }) {
  const element = useRef(null);
  const [id] = useState(() => `dialog-${++counter}`);
  useLayoutEffect(() => {
    const opener = document.activeElement;
    const dialog = element.current;
    dialog.showModal();
    const first = dialog.querySelector('[autofocus], input, textarea, button');
    if (first) first.focus();
    return () => {
      dialog.close();
      if (opener && opener.isConnected) opener.focus();
      else focusHeading();
    };
  }, []);
  const cancelled = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${element} role="dialog" aria-modal="true" aria-labelledby=${id} onCancel=${cancelled}
      onKeyDown=${(event) => holdFocus(event, element.current)}>
    <h2 id=${id}>${title}</h2>
    ${children}
  </dialog>`;
}

// A dialog with Confirm. `act` does it, and returns the notice to show; what it throws is shown in the dialog.
export function ConfirmDialog({ title, children, act, onClose, onDone, danger }) {
  const [state, setState] = useState({ busy: false, error: null });
  const send = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    setState({ busy: true, error: null });
    try {
      notify(await act(new FormData(event.target)));
      onClose();
      if (onDone) onDone();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${send}>
      ${children}
      <${ErrorBox} error=${state.error} />
      <div class="buttons">
        <button type="button" onClick=${onClose}>Close</button>
        <button type="submit" class=${danger ? 'danger' : 'primary'} autofocus aria-disabled=${state.busy}>Confirm</button>
      </div>
    </form>
  <//>`;
}

// A button whose dialog must be confirmed.
export function Action({ label, title, text, act, onDone, danger, children, describedby }) {
  const [open, setOpen] = useState(false);
  const button = useRef(null);
  useLayoutEffect(() => {
    const own = button.current;
    return () => own === document.activeElement && focusHeading(); // the button goes, with the focus
  }, []);
  return html`<button type="button" ref=${button} class=${danger ? 'danger-outline' : ''} aria-haspopup="dialog" aria-describedby=${describedby}
      onClick=${() => setOpen(true)}>${label}</button>
    ${open && html`<${ConfirmDialog} title=${title} act=${act} onDone=${onDone} danger=${danger} onClose=${() => setOpen(false)}>
      ${text && html`<p>${text}</p>`}${children}
    <//>`}`;
}

const listeners = new Set();

export function notify(text) {
  if (text) for (const listener of listeners) listener(text);
}

// The results of actions, read out by screen readers.
export function Notices() {
  const [notice, setNotice] = useState(null);
  useEffect(() => {
    const listener = (text) => setNotice({ text, key: Math.random() });
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  useEffect(() => {
    if (!notice) return undefined;
    const timer = setTimeout(() => setNotice(null), 8000);
    return () => clearTimeout(timer);
  }, [notice]);
  return html`<div class="notices" role="status" aria-live="polite">${notice && html`<p key=${notice.key}>${notice.text}
    <button type="button" class="small" aria-label="Dismiss" onClick=${() => setNotice(null)}>×</button></p>`}</div>`;
}
