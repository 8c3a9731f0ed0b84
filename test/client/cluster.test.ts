// Temporal behind TLS, client certificates and an API key, set as every Temporal tool is: TEMPORAL_* (DESIGN "Engine").
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openEngine } from '../../client/connection.js';
import type { EngineSession } from '../../client/connection.js';
import { createHoldfast } from '../../client/protocols.js';
import type { Environment } from '../../client/state-directory.js';
import { requires } from '../support/requires.js';
import { stopOf, useEngine } from '../support/engine.js';
import { makeStore } from '../support/store.js';
import { makeCertificates, startFront } from './tls-front.js';
import type { Certificates, Front } from './tls-front.js';

describe.skipIf(requires('temporal', 'openssl'))('a cluster behind TLS, client certificates and an API key', () => {
  const behind = useEngine();
  let directory = '';
  let certificates: Certificates;
  let front: Front;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'holdfast-tls-'));
    certificates = makeCertificates(directory);
    front = await startFront(behind().session.address, certificates, 'right');
  });
  afterAll(() => {
    front.close();
    rmSync(directory, { recursive: true });
  });

  const settings = (): Environment => ({
    ...behind().environment,
    // The hosts' own: the embedded engine behind the gate has another worker
    HOLDFAST_STATE_DIRECTORY: join(directory, 'state'),
    HOLDFAST_HOST: 'another-host',
    TEMPORAL_ADDRESS: front.address,
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: certificates.authority,
    TEMPORAL_TLS_CLIENT_CERT_PATH: certificates.client.certificate,
    TEMPORAL_TLS_CLIENT_KEY_PATH: certificates.client.key,
    TEMPORAL_API_KEY: 'right',
  });
  const open = async (environment: Environment, startWorker: boolean): Promise<EngineSession> => {
    const session = await openEngine({ environment, startWorker });
    onTestFinished(() => session.close());
    return session;
  };

  test('carries a backup and its restore: the command and the worker both pass', { timeout: 120_000 }, async () => {
    const session = await open(settings(), true);
    expect(session.namespaceId).toBe(behind().session.namespaceId);
    const store = makeStore({ ...behind(), session, holdfast: createHoldfast(session) }, 'far');
    const before = front.calls();
    const { artefact } = await store.backup();
    expect(store.manifest(artefact).host).toBe('another-host');
    store.write('files/one', 'changed');
    await store.restore();
    expect(store.read('files/one')).toBe('one');
    expect(front.calls()).toBeGreaterThan(before + 20);
  });

  for (const [name, value] of [
    ['TEMPORAL_API_KEY', 'wrong'],
    ['TEMPORAL_API_KEY', undefined],
    ['TEMPORAL_TLS_SERVER_CA_CERT_PATH', undefined],
    ['TEMPORAL_TLS_CLIENT_CERT_PATH', undefined],
  ] as const) {
    test(`engine_unreachable: ${name} is ${value ?? 'absent'}`, { timeout: 60_000 }, async () => {
      const without = { ...settings(), [name]: value };
      if (name === 'TEMPORAL_TLS_CLIENT_CERT_PATH') delete without['TEMPORAL_TLS_CLIENT_KEY_PATH'];
      const stop = await stopOf(open(without, false));
      expect([stop.code, stop.details['address']]).toEqual(['engine_unreachable', front.address]);
    });
  }
});
