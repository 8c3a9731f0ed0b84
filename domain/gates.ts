// Gates: what a backup must agree with before it may replace the live store (SM-3, F-21 steps 4 and 5, L-3). Pure.
import type { StoreDefinition } from './definition.js';
import type { Manifest } from './manifest.js';
import { Stop } from './stop.js';

export interface Installed {
  readonly installed: { readonly version: string; readonly modules: readonly string[] } | null;
  readonly os: string;
  readonly endianness: string;
}

/** @throws Stop platform_differs, version_refused, modules_refused */
export function assertGates(
  gates: StoreDefinition['gates'],
  manifest: Pick<Manifest, 'platform' | 'application'>,
  present: Installed,
): void {
  const { platform, application } = manifest;
  if (platform.os !== present.os || platform.endianness !== present.endianness) {
    throw new Stop('platform_differs', `the backup is of ${platform.os} ${platform.endianness}`, {
      backup: platform,
      os: present.os,
      endianness: present.endianness,
    });
  }
  if (gates.version !== 'off') {
    const backup = application?.version;
    const installed = present.installed?.version;
    if (backup === undefined || installed === undefined || !versionPasses(gates.version, backup, installed)) {
      throw new Stop(
        'version_refused',
        `gate version ${gates.version}: the backup is of ${backup ?? 'no version'}, installed is ${installed ?? 'no version'}`,
        { gate: gates.version, backup: backup ?? null, installed: installed ?? null },
      );
    }
  }
  if (gates.modules !== 'off') {
    const backup = [...(application?.modules ?? [])].sort();
    const installed = [...(present.installed?.modules ?? [])].sort();
    const missing = backup.filter((module) => !installed.includes(module));
    const extra = installed.filter((module) => !backup.includes(module));
    if (missing.length > 0 || (gates.modules === 'exact' && extra.length > 0)) {
      throw new Stop(
        'modules_refused',
        `gate modules ${gates.modules}: missing ${missing.join(', ') || 'none'}, extra ${extra.join(', ') || 'none'}`,
        { gate: gates.modules, backup, installed },
      );
    }
  }
}

function versionPasses(gate: 'exact' | 'same-major' | 'not-newer', backup: string, installed: string): boolean {
  if (gate === 'exact') return backup === installed;
  const [left, right] = [numbersOf(backup), numbersOf(installed)];
  if (left === null || right === null) return false;
  if (gate === 'same-major') return left[0] === right[0];
  return compareNumbers(left, right) <= 0;
}

/** `1.2.3` as numbers; null for what has no order here: a gate that can't compare refuses. */
function numbersOf(version: string): readonly number[] | null {
  const match = /^v?(\d+(?:\.\d+)*)$/.exec(version);
  return match?.[1] === undefined ? null : match[1].split('.').map(Number);
}

function compareNumbers(left: readonly number[], right: readonly number[]): number {
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
