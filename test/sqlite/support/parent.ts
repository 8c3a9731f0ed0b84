// A parent to be killed: it starts a cut of the database it is given, which waits for a lock.
import { takeCut } from '../../../sqlite/cut.js';
import { QUIET, cutRequest } from './actors.js';

await takeCut(cutRequest(process.argv.slice(2)), QUIET);
