// A client in a process of its own, to be killed: opens the engine, says what it found, and holds on.
import { openEngine } from '../../client/connection.js';

const session = await openEngine();
process.send?.(session.supervisor() ?? {});
setInterval(() => undefined, 60_000);
