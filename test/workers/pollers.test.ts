// Two machines of one host name on one cluster: the one that comes second does not begin to poll. What another machine
// looks like to the server is made by polling as it would: with its identity, through the server's own API.
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openEngine } from '../../client/connection.js';
import type { EngineSession } from '../../client/connection.js';
import { machineId, otherMachines, thisMachine, workerIdentity } from '../../workers/pollers.js';
import type { Machine } from '../../workers/pollers.js';
import { jsonLines, PROGRAM, run, startCommand, startProgram } from '../cli/room.js';
import type { RunningCommand } from '../cli/room.js';
import { requires } from '../support/requires.js';
import { eventually, makeRoom } from './engine-room.js';
import type { EngineRoom } from './engine-room.js';

const HERE: Machine = { id: 'aaaaaaaaaaaa', boot: 'bbbbbbbbbbbb', bootedMillis: 1_000_000 };
const NOW = HERE.bootedMillis + 60_000;
const ELSEWHERE: Machine = { ...thisMachine(), id: 'cccccccccccc', boot: 'dddddddddddd' };

describe('whether a poller is of another machine', () => {
  const by = (machine: Partial<Machine>): string => workerIdentity('shared', 7, { ...HERE, ...machine });

  const other = { id: 'cccccccccccc', boot: 'dddddddddddd' };
  const [justNow, aMinuteAgo] = [NOW, NOW - 60_000];

  test.each([
    ['another worker of this machine is not', by({}), justNow, false],
    ['a container of this machine, which has no machine-id, is not', by({ id: 'none' }), justNow, false],
    ['one of another machine is', by(other), justNow, true],
    ['one that has waited for work for a minute is', by(other), aMinuteAgo, true],
    ['one that was silent for longer is gone', by(other), NOW - 90_001, false],
    ['this machine before it was started again is not', by({ boot: other.boot }), HERE.bootedMillis - 1, false],
    ['a clone of this machine, with its machine-id, is', by({ boot: other.boot }), HERE.bootedMillis + 1, true],
    ['one of another boot is, where neither has a machine-id', by({ ...other, id: 'none' }), aMinuteAgo, true],
    ['one that does not say what it is, is', 'somebody', justNow, true],
  ])('%s', (_what, identity, seenMillis, isOther) => {
    expect(otherMachines([{ identity, seenMillis }], HERE, NOW)).toHaveLength(isOther ? 1 : 0);
  });
});

test('the id of a machine is `none` for anything that is no readable one, such as a directory', () => {
  const { directory } = makeRoom();
  const file = join(directory, 'machine-id');
  for (const [content, id] of [
    ['0123456789abcdef0123456789abcdef\n', expect.stringMatching(/^[0-9a-f]{12}$/)],
    ['uninitialized\n', 'none'],
    ['', 'none'],
  ] as const) {
    writeFileSync(file, content);
    expect(machineId(file)).toEqual(id);
  }
  expect([directory, join(file, 'below'), join(directory, 'absent')].map(machineId)).toEqual(['none', 'none', 'none']);
});

describe.skipIf(requires('temporal'))('a worker that starts beside a cluster', () => {
  /** Polls as a worker of `machine` would, until the test ends. */
  async function poll(session: EngineSession, host: string, machine: Machine): Promise<void> {
    const name = `holdfast@${host}`;
    const identity = workerIdentity(host, 7, machine);
    const { namespace, client } = session;
    const polled = client.withDeadline(Date.now() + 60_000, () =>
      client.workflowService.pollActivityTaskQueue({ namespace, taskQueue: { name }, identity }),
    );
    const listed = eventually('it is listed', async () => (await identities(session, host)).includes(identity));
    await Promise.race([listed, polled]);
    // It ends with the engine
    polled.catch((error: unknown) => error);
  }

  async function identities(session: EngineSession, host: string): Promise<readonly string[]> {
    const { pollers } = await session.client.workflowService.describeTaskQueue({
      namespace: session.namespace,
      taskQueue: { name: `holdfast@${host}` },
      taskQueueType: 2,
    });
    return pollers.map(({ identity }) => identity ?? '');
  }

  /** An embedded engine in the part of the cluster, and the settings of a machine that uses it. */
  async function cluster(host: string): Promise<{ readonly session: EngineSession; readonly member: EngineRoom }> {
    const room = makeRoom();
    const session = await openEngine({ environment: room.environment });
    onTestFinished(() => session.close());
    return { session, member: makeRoom({ TEMPORAL_ADDRESS: session.address, HOLDFAST_HOST: host }) };
  }

  test('is host_ambiguous, 78, while a worker of another machine polls the queue of its host, and never polls it', async () => {
    const { session, member } = await cluster('shared');
    await poll(session, 'shared', ELSEWHERE);
    const before = await identities(session, 'shared');
    const ended = await run(member.environment, 'up', '--json');
    expect(ended.status).toBe(78);
    expect(jsonLines(ended).last).toMatchObject({
      type: 'error',
      code: 'host_ambiguous',
      message: expect.stringMatching(/ polls holdfast@shared, last seen \d+ s ago; if it has ended, /),
      details: { host: 'shared', pollers: before },
    });
    expect(await identities(session, 'shared')).toEqual(before);
    expect(member.pids()).toEqual([]);
  });

  test('polls beside another worker of the same machine', async () => {
    const { session, member } = await cluster('shared');
    await poll(session, 'shared', thisMachine());
    const up = startCommand(member.environment, 'up', '--json');
    await up.says(/"type":"ready"/);
    expect(await identities(session, 'shared')).toHaveLength(2);
    up.signal('SIGTERM');
    expect((await up.ended).status).toBe(0);
  });

  test.skipIf(requires('mount'))(
    'looks again once it polls: of two that start at the same moment, one is refused',
    async () => {
      const { session, member } = await cluster('shared');
      // Another machine, as far as a process can see: another boot
      const start = (machine: string): RunningCommand => {
        const directory = join(member.directory, machine);
        mkdirSync(directory, { mode: 0o700 });
        const environment = { ...member.environment, HOLDFAST_STATE_DIRECTORY: directory };
        const bootId = join(directory, 'boot-id');
        writeFileSync(bootId, `${randomUUID()}\n`);
        const become = `mount --bind '${bootId}' /proc/sys/kernel/random/boot_id && exec "$@"`;
        return startProgram(
          environment,
          'unshare',
          '--mount',
          'sh',
          '-c',
          become,
          'sh',
          process.execPath,
          PROGRAM,
          'up',
        );
      };
      const both = [start('first'), start('second')];
      const first = await Promise.race(both.map(({ ended }) => ended));
      expect(first).toMatchObject({ status: 78, stderr: expect.stringContaining('STOP host_ambiguous: ') });
      for (const up of both) up.signal('SIGTERM');
      await Promise.all(both.map(({ ended }) => ended));
      expect((await identities(session, 'shared')).length).toBeGreaterThan(0);
    },
  );
});
