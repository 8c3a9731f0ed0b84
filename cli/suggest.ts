// What was meant by a name that nothing has: the closest one there is, for a person who mistyped it.
import { closestName } from '../domain/closest-name.js';
import { Stop } from '../domain/stop.js';

/** A STOP about a store that is not defined, or a vault that this host does not know, says which one comes closest. */
export function withSuggestion(stop: Stop): Stop {
  const { store, stores, vault = store, vaults = stores } = stop.details;
  if (stop.code !== 'definition_missing' || typeof vault !== 'string' || !Array.isArray(vaults)) return stop;
  const closest = closestName(
    vault,
    vaults.filter((name): name is string => typeof name === 'string'),
  );
  return closest === undefined ? stop : new Stop(stop.code, `${stop.message} (did you mean ${closest}?)`, stop.details);
}
