// docker-compose.yml: accepted by docker-compose, pinned, no default password, nothing open to the network.
// Containers themselves are not started here.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { requires } from '../support/requires.js';

const run = promisify(execFile);

interface Service {
  readonly image: string;
  readonly restart: string;
  readonly ports?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: unknown;
}

const REQUIRED = {
  POSTGRES_PASSWORD: 'chosen-by-the-test',
  HOLDFAST_HOST: 'host',
  HOLDFAST_DATA: '/srv',
  HOLDFAST_BACKUPS: '/var/backups/holdfast',
};

function config(environment: Readonly<Record<string, string>>): Promise<{ stdout: string }> {
  return run('docker-compose', ['--file', 'docker-compose.yml', 'config'], {
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', ...environment },
  });
}

describe.skipIf(requires('docker-compose'))('docker-compose.yml, as docker-compose reads it', () => {
  test('is accepted, and every service is there', async () => {
    const { services } = parse((await config(REQUIRED)).stdout) as { services: Record<string, Service> };
    expect(Object.keys(services).sort()).toEqual(
      ['postgresql', 'temporal', 'temporal-namespace', 'temporal-schema', 'temporal-ui', 'worker'].sort(),
    );
  });

  for (const name of Object.keys(REQUIRED)) {
    test(`is refused without ${name}`, async () => {
      const others = Object.fromEntries(Object.entries(REQUIRED).filter(([other]) => other !== name));
      await expect(config(others)).rejects.toThrow(new RegExp(`set ${name} to`));
    });
  }

  test('gives the chosen password to every service that has one, and nothing else', async () => {
    const { services } = parse((await config(REQUIRED)).stdout) as { services: Record<string, Service> };
    const secrets = Object.values(services).flatMap(({ environment }) =>
      Object.entries(environment ?? {}).filter(([key]) => /PASSWORD|PWD|SECRET|TOKEN/.test(key)),
    );
    expect(secrets.length).toBeGreaterThan(2);
    expect(secrets.filter(([, value]) => value !== REQUIRED.POSTGRES_PASSWORD)).toEqual([]);
  });
});

describe('docker-compose.yml, as it is written', () => {
  const { services } = parse(readFileSync('docker-compose.yml', 'utf8')) as { services: Record<string, Service> };

  test('pins every image to a full version', () => {
    const images = Object.values(services).map(({ image }) => image);
    expect(images.filter((image) => !/:\d+\.\d+(?:\.\d+)?(?:-[a-z]+)?$/.test(image))).toEqual([]);
  });

  test('binds every port to loopback', () => {
    const ports = Object.values(services).flatMap((service) => service.ports ?? []);
    expect(ports.length).toBeGreaterThan(0);
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  });

  test('checks the health of everything that keeps running', () => {
    const running = Object.entries(services).filter(([, { restart }]) => restart === 'unless-stopped');
    expect(running.length).toBe(4);
    expect(running.filter(([, { healthcheck }]) => healthcheck === undefined).map(([name]) => name)).toEqual([]);
  });

  test('runs the version of this project', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(services['worker']?.image).toBe(`holdfast:${version}`);
  });
});
