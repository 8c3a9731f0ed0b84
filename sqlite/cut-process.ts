// The process of a cut: DESIGN "The cut", steps 0 to 3 and 5. It opens the store's databases through SQLite and nothing
// else, examines files by lstat and stat only, and exits when its last pin is dropped.
import { Stop, assert } from '../domain/stop.js';
import { serveParent } from './child.js';
import { copyMember } from './cut-copy.js';
import { lockTogether } from './cut-lock.js';
import { CutMember } from './cut-member.js';
import { PinWatch } from './cut-watch.js';
import type { CutEvent, CutRequest, DatabaseCopied, DatabasesCut } from './cut.js';

serveParent<CutRequest, CutEvent, DatabasesCut>(async (request, send) => {
  assert(request.databases.length > 0, 'a cut has at least one database');
  // Copies of private databases are private; SQLite gives live sidecars the mode of their database whatever this says.
  process.umask(0o077);
  const members: CutMember[] = [];
  try {
    for (const database of request.databases) {
      members.push(await CutMember.open(database, request.lockWrites, request.quiesceTimeoutMillis));
    }
    requireDistinct(members);
    return await cut(request, members, send);
  } finally {
    for (const member of members) member.close();
  }
});

/** Two names of one file would be locked against ourselves, and restored twice. */
function requireDistinct(members: readonly CutMember[]): void {
  const seen = new Map<string, string>();
  for (const { source, path } of members) {
    const other = seen.get(source.identity);
    if (other !== undefined) throw new Stop('path_unsafe', 'two databases of the cut are one file', { path, other });
    seen.set(source.identity, path);
  }
}

async function cut(
  request: CutRequest,
  members: readonly CutMember[],
  send: (event: CutEvent) => void,
): Promise<DatabasesCut> {
  for (const member of members) member.warm();
  const locked = await lockTogether(members, request.statAtCut, request.quiesceTimeoutMillis);
  const watch = new PinWatch(members, locked.pinnedAtNanos, request);
  // The writers of rollback-journal databases are waiting: those first.
  const inOrder = members.toSorted((a, b) => Number(a.isWal) - Number(b.isWal));
  send({ type: 'instant', instant: locked.instant, copyOrder: inOrder.map(({ path }) => path) });

  for (const member of members) if (member.isWal) member.closeWritable();
  const bytes = members.map(
    (member) => Number(member.connection.pragma('page_count', { simple: true })) * member.source.pageSizeBytes,
  );
  const bytesTotal = bytes.reduce((sum, size) => sum + size, 0);
  let bytesBefore = 0;
  let databasesDone = 0;
  let rollbackJournalPauseMillis = 0;
  const copied = new Map<CutMember, DatabaseCopied>();
  const report = throttled(REPORT_INTERVAL_MILLIS, (bytesNow: number) => {
    const bytesDone = bytesBefore + bytesNow;
    send({ type: 'progress', progress: { bytesDone, bytesTotal, databasesDone, databasesTotal: members.length } });
  });
  for (const member of inOrder) {
    const result = await copyMember(member, (bytesNow) => {
      watch.check();
      report(bytesNow);
    });
    member.close();
    watch.drop(member);
    if (!member.isWal && member.database.locking === 'sqlite') {
      rollbackJournalPauseMillis = Math.max(rollbackJournalPauseMillis, locked.millisSinceFirstLock());
    }
    send({ type: 'copied', copy: result });
    copied.set(member, result);
    bytesBefore += result.sizeBytes;
    databasesDone += 1;
  }
  const pinMillis = watch.elapsedMillis();
  report(0, true);
  const databases = members.flatMap((member) => copied.get(member) ?? []);
  assert(databases.length === members.length, 'every database was copied');
  return { ...locked.instant, pinMillis, rollbackJournalPauseMillis, databases };
}

const REPORT_INTERVAL_MILLIS = 250;

function throttled(intervalMillis: number, report: (bytes: number) => void): (bytes: number, now?: boolean) => void {
  let last = -Infinity;
  return (bytes, now = false) => {
    if (!now && performance.now() - last < intervalMillis) return;
    last = performance.now();
    report(bytes);
  };
}
