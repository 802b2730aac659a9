// @kubernetes/client-node from where ./dev setup put it, pointed at the server of $KUBECONFIG.
import { pathToFileURL } from 'node:url';

const folder = process.env.FAIRLEAD_CLIENT_NODE;
export const k8s = await import(
    pathToFileURL(`${folder}/node_modules/@kubernetes/client-node/dist/index.js`));

export const config = new k8s.KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);

export const core = config.makeApiClient(k8s.CoreV1Api);
export const discovery = config.makeApiClient(k8s.DiscoveryV1Api);
