// Starts the engine on a file of noise, in a process of its own because the engine's complaints go to its stderr.
import { writeFileSync } from 'node:fs';
import { stateDirectory, supervisorPaths } from '../../client/state-directory.js';
import { Stop } from '../../domain/stop.js';
import { startEngine } from '../../workers/engine.js';
import { findTemporalBinary } from '../../workers/engine-binary.js';

const paths = supervisorPaths(stateDirectory(), 'embedded');
writeFileSync(paths.database, 'this is no database '.repeat(500));
const { path } = await findTemporalBinary({ onProgress: () => undefined });
const outcome = await startEngine({ paths, binary: path }).then(
  () => 'started',
  (error: unknown) => (error instanceof Stop ? error.code : String(error)),
);
process.send?.(outcome);
process.disconnect();
