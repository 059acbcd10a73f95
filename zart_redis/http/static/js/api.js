// The public JSON API. Every failure is an ApiError with the code and the words of the problem document.
import { base } from './router.js';

const unauthenticated = new Set();

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// Calls the listener whenever the API asks for a login.
export function onUnauthenticated(listener) {
  unauthenticated.add(listener);
  return () => unauthenticated.delete(listener);
}

async function problemOf(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // Not from this API: a proxy, for instance.
  }
  const text = problem.detail || problem.title || response.statusText || `The server replied with status ${response.status}.`;
  return new ApiError(response.status, problem.code || `http_${response.status}`, text);
}

export async function request(method, path, { query, body, signal } = {}) {
  const text = query ? new URLSearchParams(query).toString() : '';
  const options = { method, signal, credentials: 'same-origin', headers: { Accept: 'application/json' } };
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(base + path + (text ? `?${text}` : ''), options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'unreachable', 'The server does not respond. The page keeps trying.');
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    if (response.status === 401 && path !== '/login') for (const listener of unauthenticated) listener();
    throw problem;
  }
  const content = response.status === 204 ? null : await response.text();
  return { status: response.status, location: response.headers.get('Location'), body: content ? JSON.parse(content) : null };
}

export async function get(path, query, signal) {
  return (await request('GET', path, { query, signal })).body;
}

export async function post(path, body = {}) {
  return (await request('POST', path, { body })).body;
}

let described = null;

// Whether the API has a route, and a parameter of it: older servers have fewer.
export async function supports(method, path, parameter) {
  described ??= get('/openapi.json');
  let description;
  try {
    description = await described;
  } catch {
    described = null;
    return false;
  }
  const operation = description.paths[path]?.[method.toLowerCase()];
  if (!operation || !parameter) return Boolean(operation);
  return (operation.parameters || []).some((one) => one.name === parameter);
}

// Whether the body of a route has a field.
export async function accepts(path, field) {
  if (!(await supports('POST', path))) return false;
  const { paths, components } = await described;
  const named = JSON.stringify(paths[path].post.requestBody || {}).match(/#\/components\/schemas\/([^"]+)/);
  return Boolean(named && components.schemas[named[1]]?.properties?.[field]);
}

// Calls `load` if the API has the route, else returns what there is without it.
async function ifSupported(path, load, otherwise) {
  return (await supports('GET', path)) ? load() : otherwise;
}

// The items of a collection, in an object by its name or alone.
export function items(body, name) {
  return Array.isArray(body) ? body : body[name];
}

const apiPath = (id) => `/api/v1/executions/${encodeURIComponent(id)}`;
const adminPath = (id) => `/admin/v1/executions/${encodeURIComponent(id)}`;

export const api = {
  executions: (query, signal) => get('/api/v1/executions', query, signal),
  execution: (id, signal) => get(apiPath(id), undefined, signal),
  detail: (id, query, signal) => get(`${apiPath(id)}/detail`, query, signal),
  runs: (id, signal) => ifSupported('/admin/v1/executions/{id}/runs', async () => items(await get(`${adminPath(id)}/runs`, undefined, signal), 'runs'), []),
  children: async (id, signal) => ((await supports('GET', '/api/v1/executions', 'parent'))
    ? get('/api/v1/executions', { parent: id, limit: 50 }, signal) : { executions: [], cursor: null }),
  stats: (signal) => get('/api/v1/stats', undefined, signal),
  queues: async (signal) => items(await get('/api/v1/queues', undefined, signal), 'queues'),
  workers: async (signal) => items(await get('/api/v1/workers', undefined, signal), 'workers'),
  recurring: (signal) => ifSupported('/admin/v1/recurring', async () => items(await get('/admin/v1/recurring', undefined, signal), 'recurring'), []),
  limits: (signal) => ifSupported('/admin/v1/limits', async () => items(await get('/admin/v1/limits', undefined, signal), 'limits'), []),
  pauseRules: (signal) => ifSupported('/admin/v1/pause-rules', async () => items(await get('/admin/v1/pause-rules', undefined, signal), 'pause_rules'), []),
  cancel: (id, body) => post(`${apiPath(id)}/cancel`, body),
  restart: (id, body) => post(`${adminPath(id)}/restart`, body),
  retryStep: (id, step) => post(`${adminPath(id)}/retry-step`, { step }),
  pause: (conditions) => post('/admin/v1/pause-rules', conditions),
  resume: async (conditions) => (await request('DELETE', '/admin/v1/pause-rules', { query: conditions })).body,
  recurringAction: (id, action) => post(`/admin/v1/recurring/${encodeURIComponent(id)}/${action}`),
  login: (token) => post('/login', { token }),
  logout: () => post('/logout'),
};
