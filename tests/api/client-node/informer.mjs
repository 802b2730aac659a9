// An informer of the Services in default that says each thing it hears as one line. After an error it waits for
// SIGUSR2 before it goes on, where a program would wait for some seconds.
import { writeSync } from 'node:fs';

import { config, core, k8s } from './client.mjs';

const say = (line) => writeSync(1, `${line}\n`);
const namespace = 'default';
let lists = 0;
const list = () => {
  say(`list ${++lists}`);
  return core.listNamespacedService({namespace});
};
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/services`, list);
for (const verb of ['add', 'update', 'delete']) {
  informer.on(verb, (service) => say(`${verb} ${service.metadata.name} ${service.metadata.labels?.step ?? ''}`));
}
informer.on('error', (error) => say(`error ${error.message}`));
process.on('SIGUSR2', () => informer.start());
process.on('SIGTERM', () => process.exit(0));
await informer.start();
setInterval(() => {}, 1 << 30);  // alive while there is no connection
