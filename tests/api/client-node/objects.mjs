// Services and EndpointSlices through the typed clients: every verb, every patch, and what is refused. Ends with
// an assertion or with 0.
import assert from 'node:assert/strict';

import { config, core, discovery, k8s } from './client.mjs';

const namespace = 'default';

// What a refusal says: "409 AlreadyExists".
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
    return `${error.code} ${status.reason}`;
  }
  return 'accepted';
}

const as = (strategy) => k8s.setHeaderOptions('Content-Type', strategy);

async function services() {
  const body = {metadata: {name: 'web', labels: {app: 'web'}}, spec: {selector: {app: 'web'}, ports: [{port: 80}]}};
  const made = await core.createNamespacedService({namespace, body});
  assert.match(made.spec.clusterIP, /^10\.96\./);
  assert.ok(made.metadata.creationTimestamp instanceof Date);
  assert.equal(made.spec.ports[0].targetPort, 80);
  assert.equal(await refusal(core.createNamespacedService({namespace, body})), '409 AlreadyExists');
  const faulty = {metadata: {name: 'bad'}, spec: {ports: []}};
  assert.equal(await refusal(core.createNamespacedService({namespace, body: faulty})), '422 Invalid');

  const read = await core.readNamespacedService({namespace, name: 'web'});
  read.spec.sessionAffinity = 'ClientIP';
  const replaced = await core.replaceNamespacedService({namespace, name: 'web', body: read});
  assert.equal(replaced.spec.sessionAffinityConfig.clientIP.timeoutSeconds, 10800);
  assert.equal(await refusal(core.replaceNamespacedService({namespace, name: 'web', body: made})), '409 Conflict');

  const patch = (body, options) => core.patchNamespacedService({namespace, name: 'web', body}, options);
  let patched = await patch([{op: 'replace', path: '/spec/ports/0/targetPort', value: 'http'}]);
  assert.equal(patched.spec.ports[0].targetPort, 'http');
  patched = await patch({metadata: {labels: {app: null, tier: 'front'}}}, as(k8s.PatchStrategy.MergePatch));
  assert.deepEqual(patched.metadata.labels, {tier: 'front'});
  patched = await patch({spec: {ports: [{port: 443, name: 's'}, {port: 80, name: 'p'}]}},
                        as(k8s.PatchStrategy.StrategicMergePatch));
  assert.deepEqual(patched.spec.ports.map((port) => port.name).sort(), ['p', 's']);
  const status = await core.patchNamespacedServiceStatus(
      {namespace, name: 'web', body: {metadata: {annotations: {seen: 'yes'}}}}, as(k8s.PatchStrategy.MergePatch));
  assert.equal(status.metadata.annotations.seen, 'yes');

  const list = await core.listNamespacedService({namespace, labelSelector: 'tier=front'});
  assert.deepEqual(list.items.map((item) => item.metadata.name), ['web']);
  assert.ok(Number(list.metadata.resourceVersion) >= Number(status.metadata.resourceVersion));
  await core.deleteNamespacedService({namespace, name: 'web'});
  assert.equal(await refusal(core.readNamespacedService({namespace, name: 'web'})), '404 NotFound');
}

async function slices() {
  const body = {
    metadata: {generateName: 'web-', labels: {'kubernetes.io/service-name': 'web'}},
    addressType: 'IPv4',
    ports: [{name: '', port: 8080}],
    endpoints: [{addresses: ['10.0.0.7'], conditions: {ready: true}}],
  };
  const made = await discovery.createNamespacedEndpointSlice({namespace, body});
  const name = made.metadata.name;
  assert.match(name, /^web-[a-z0-9]{5}$/);
  assert.equal(made.ports[0].protocol, 'TCP');
  made.endpoints.push({addresses: ['10.0.0.8'], conditions: {ready: false}});
  const replaced = await discovery.replaceNamespacedEndpointSlice({namespace, name, body: made});
  assert.equal(replaced.endpoints.length, 2);
  assert.equal(replaced.metadata.generation, 2);
  await discovery.deleteNamespacedEndpointSlice({namespace, name});
  const left = await discovery.listNamespacedEndpointSlice({namespace, labelSelector: 'kubernetes.io/service-name=web'});
  assert.deepEqual(left.items, []);
}

// What applies manifests without knowing their kinds: it finds the path by discovery.
async function anyObjects() {
  const api = k8s.KubernetesObjectApi.makeApiClient(config);
  const object = {
    apiVersion: 'v1', kind: 'Service', metadata: {name: 'any', namespace}, spec: {ports: [{port: 80}]}};
  await api.create(object);
  object.spec.ports[0].targetPort = 'http';
  const patched = await api.patch(object);
  assert.deepEqual(patched.spec.ports.map((port) => port.targetPort), ['http']);
  assert.equal((await api.read(object)).metadata.uid, patched.metadata.uid);
  await api.delete(object);
  assert.equal(await refusal(api.read(object)), '404 NotFound');
}

await services();
await slices();
await anyObjects();
