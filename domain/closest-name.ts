// What was meant by a name that nothing has: the closest one there is. Pure.

/** The one name nearest to `wanted`; undefined when several are as near, or none is near. */
export function closestName(wanted: string, names: readonly string[]): string | undefined {
  const near = names
    .map((name) => ({ name, distance: editDistance(wanted, name) }))
    .sort((left, right) => left.distance - right.distance);
  const [first, second] = near;
  if (
    first === undefined ||
    first.distance > Math.max(1, Math.floor(first.name.length * 0.4)) ||
    first.distance === second?.distance
  )
    return undefined;
  return first.name;
}

/** Insertions, deletions and replacements that make one word the other. */
function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [row, letter] of from.split('').entries()) {
    const current = [row + 1];
    for (const [index, other] of to.split('').entries()) {
      const replaced = (previous[index] ?? 0) + (letter === other ? 0 : 1);
      current.push(Math.min(replaced, (previous[index + 1] ?? 0) + 1, (current[index] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[to.length] ?? 0;
}
