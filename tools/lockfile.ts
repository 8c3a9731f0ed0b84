// `npm run lockfile`: completes package-lock.json. A package such as a linter names one binary package a platform as an
// optional dependency. npm writes down only those that the registry in use offers, and then `npm ci` refuses the
// lockfile because of the others, on every machine. What is missing is written from what its parent asks for, with the
// platform that its name says, so that npm leaves it out everywhere else. Run it after a dependency has changed.
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

export interface LockedPackage {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
  readonly [field: string]: unknown;
}

export type LockedPackages = Readonly<Record<string, LockedPackage>>;

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64'];
/** Suffixes that are an ABI, after the processor. */
const LIBRARIES: Readonly<Record<string, string | null>> = {
  gnu: 'glibc',
  gnueabihf: 'glibc',
  musl: 'musl',
  musleabihf: 'musl',
  eabi: null,
  msvc: null,
};

/** The entries that the lockfile lacks: each optional dependency of a locked package that has none, by its path. */
export function missingEntries(packages: LockedPackages): LockedPackages {
  const missing: Record<string, LockedPackage> = {};
  for (const [parentPath, parent] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      if (isLocked(packages, parentPath, name)) continue;
      missing[`node_modules/${name}`] = {
        version,
        ...platformOf(name),
        ...(parent.dev === true ? { dev: true } : {}),
        optional: true,
      };
    }
  }
  return missing;
}

/** Node's resolution: in the package's own node_modules, then outwards. */
function isLocked(packages: LockedPackages, parentPath: string, name: string): boolean {
  for (let folder = parentPath; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1))) {
    if (Object.hasOwn(packages, `${folder === '' ? '' : `${folder}/`}node_modules/${name}`)) return true;
    if (folder === '') return false;
  }
}

/** Platform by a name such as `@scope/binding-linux-arm64-gnu`. Throws where the name says none: never guessed. */
export function platformOf(name: string): Pick<LockedPackage, 'os' | 'cpu' | 'libc'> {
  const parts = (name.split('/').at(-1) ?? '').split('-');
  const system = parts.find((part) => SYSTEMS.includes(part));
  const processor = parts.find((part) => PROCESSORS.includes(part));
  if (system === undefined || processor === undefined) throw new Error(`the name of ${name} does not say its platform`);
  const library = LIBRARIES[parts.at(-1) ?? ''];
  return { os: [system], cpu: [processor], ...(typeof library === 'string' ? { libc: [library] } : {}) };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const lockfile = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: LockedPackages };
  const missing = missingEntries(lockfile.packages);
  // As npm sorts them
  const entries = Object.entries({ ...lockfile.packages, ...missing }).sort(([a], [b]) => a.localeCompare(b, 'en'));
  lockfile.packages = Object.fromEntries(entries);
  writeFileSync('package-lock.json', `${JSON.stringify(lockfile, null, 2)}\n`);
  console.log(`${Object.keys(missing).length} entries added`);
}
