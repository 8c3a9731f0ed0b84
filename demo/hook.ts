// The hooks of the demo's application, as its store definition names them: `hook.js <name> <directory of the demo>`.
// detach: the writers are told to stop, and are waited for. attach: they start again, in processes that outlive the
// hook. verify: the application's own word on a restored store. Each may run more than once.
import { isDamaged, ownerIsAlive, startWriters, stopWriters } from './application.js';
import { houseAt } from './house.js';
import type { House } from './house.js';
import { proveRestored } from './restored-proof.js';

const hooks: Readonly<Record<string, (house: House) => string | Promise<string>>> = {
  detach: async (house) => `${await stopWriters(house)} writers stopped`,
  async attach(house) {
    // Not a failure: the protocol that an interrupted demo left behind must be able to end
    if (!ownerIsAlive(house)) return 'the demo is over: no writer is started';
    if (isDamaged(house)) return 'the store is damaged: no writer is started';
    await startWriters(house);
    return 'the writers run';
  },
  verify(house) {
    const { checksums } = proveRestored(house, process.env['HOLDFAST_OPERATION'] ?? 'by-hand');
    return `${checksums.files} checksums and the invariant hold`;
  },
};

const [name = '', directory] = process.argv.slice(2);
const hook = hooks[name];
if (hook === undefined || directory === undefined) throw new Error('usage: hook.js detach|attach|verify <directory>');
console.log(await hook(houseAt(directory)));
