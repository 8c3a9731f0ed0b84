// The steps of every protocol, in order: id, what it does, and the clauses it serves. The id is the step's summary
// in the Temporal UI, stands in the details of its STOPs, in docs/protocols/ and in test titles: one grep finds all.

export interface StepEntry {
  readonly id: string;
  /** Shown to people: an action. */
  readonly title: string;
  readonly clauses: readonly string[];
}

export const STEPS = {
  backup: [
    { id: 'backup.lock', title: 'take the lock of the store', clauses: ['F-18', 'T-2'] },
    { id: 'backup.plan', title: 'read the definition and look at every member', clauses: ['F-18', 'SM-2'] },
    { id: 'backup.quiesce', title: 'ask the application to hold still', clauses: ['F-18', 'L-4'] },
    {
      id: 'backup.snapshot',
      title: 'cut: every member at one instant, copied and hashed',
      clauses: ['SM-1', 'F-3', 'F-9'],
    },
    { id: 'backup.resume', title: 'let the application go on', clauses: ['F-18', 'L-8'] },
    { id: 'backup.validate', title: 'check the copies: integrity, tables, sequences', clauses: ['SM-2', 'SM-6'] },
    {
      id: 'backup.package',
      title: 'write the manifest and publish the artefact in one rename',
      clauses: ['F-18', 'SM-9'],
    },
    { id: 'backup.release', title: 'release the lock', clauses: ['F-18'] },
  ],
  request: [
    { id: 'request.plan', title: 'say what would be done and what would be lost at most', clauses: ['F-29', 'F-30'] },
    { id: 'request.approve', title: 'wait for the approval of exactly this plan', clauses: ['F-29'] },
    { id: 'request.execute', title: 'start the execution', clauses: ['T-1'] },
  ],
  restore: [
    { id: 'restore.lock', title: 'take the lock of the store', clauses: ['F-21', 'T-2'] },
    {
      id: 'restore.plan',
      title: 'plan again under the lock; no more may be lost than was approved',
      clauses: ['F-21', 'F-29'],
    },
    {
      id: 'restore.stage',
      title: 'check the manifest; copy and hash every file into staging',
      clauses: ['F-21', 'F-1', 'F-14'],
    },
    { id: 'restore.validate', title: 'check the staged databases', clauses: ['F-21', 'SM-5', 'SM-6'] },
    { id: 'restore.gates', title: 'compare platform, version and modules', clauses: ['F-21', 'SM-3', 'L-3'] },
    { id: 'restore.detach', title: 'ask the application to let go of the store', clauses: ['L-4'] },
    { id: 'restore.in-use', title: 'make sure that nobody uses the store', clauses: ['P-18'] },
    { id: 'restore.keep', title: 'back up the present state, where the definition asks for it', clauses: ['H-8'] },
    {
      id: 'restore.compare',
      title: 'compare with the live store: history, accepted rows, floor',
      clauses: ['SM-4', 'SM-5', 'SM-7'],
    },
    { id: 'restore.fence', title: 'raise the fence: no writes until validation passes', clauses: ['SM-8'] },
    { id: 'restore.carry-over', title: 'link the files outside the members into staging', clauses: ['P-15'] },
    {
      id: 'restore.exchange',
      title: 'journal, exchange the roots, begin a new epoch',
      clauses: ['F-21', 'SM-9', 'L-6'],
    },
    {
      id: 'restore.rebuild',
      title: 'let the application migrate and rebuild its caches',
      clauses: ['F-21', 'P-9', 'L-7'],
    },
    { id: 'restore.verify', title: 'check the live store against the manifest', clauses: ['SM-8', 'L-9'] },
    {
      id: 'restore.commit',
      title: 'commit: the rollback point is kept, the fence is lifted',
      clauses: ['SM-8', 'SM-9'],
    },
    { id: 'restore.attach', title: 'let the application start', clauses: ['L-8'] },
    { id: 'restore.release', title: 'release the lock', clauses: ['F-21'] },
  ],
  rollback: [
    { id: 'rollback.lock', title: 'take the lock of the store', clauses: ['H-13', 'T-2'] },
    {
      id: 'rollback.plan',
      title: 'plan again under the lock; no more may be lost than was approved',
      clauses: ['H-13'],
    },
    { id: 'rollback.detach', title: 'ask the application to let go of the store', clauses: ['H-13'] },
    { id: 'rollback.in-use', title: 'make sure that nobody uses the store', clauses: ['P-18'] },
    {
      id: 'rollback.compare',
      title: 'compare the rollback point with what was recorded, and with the floor',
      clauses: ['H-13', 'SM-4'],
    },
    { id: 'rollback.fence', title: 'raise the fence', clauses: ['SM-8'] },
    { id: 'rollback.exchange', title: 'journal, exchange the roots, begin a new epoch', clauses: ['H-13', 'SM-9'] },
    { id: 'rollback.verify', title: 'check that the former state is in place, whole', clauses: ['H-13'] },
    { id: 'rollback.commit', title: 'commit: the replaced state is kept, the fence is lifted', clauses: ['H-13'] },
    { id: 'rollback.attach', title: 'let the application start', clauses: ['H-13'] },
    { id: 'rollback.release', title: 'release the lock', clauses: ['H-13'] },
  ],
  scheduled: [
    {
      id: 'scheduled.start',
      title: 'start the protocol, or record that another operation is at work',
      clauses: ['T-6'],
    },
  ],
  verify: [
    { id: 'verify.bytes', title: 'check the manifest and hash every file', clauses: ['F-14', 'F-40'] },
    {
      id: 'verify.databases',
      title: 'check the integrity and the tables of every database',
      clauses: ['F-40', 'SM-6'],
    },
  ],
} as const satisfies Record<string, readonly StepEntry[]>;

export type Protocol = keyof typeof STEPS;
export type StepId = (typeof STEPS)[Protocol][number]['id'];

export function stepTitle(id: StepId): string {
  for (const steps of Object.values(STEPS)) {
    for (const step of steps) if (step.id === id) return step.title;
  }
  throw new Error(`defect: no step ${id}`);
}
