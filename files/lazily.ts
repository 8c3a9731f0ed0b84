// Lists that are asked for one item at a time: what is made of each of many files need never be there for all of them.

/** What `make` makes of each item, made when it is asked for. May be gone through more than once if `items` may. */
export function lazily<Item, Made>(items: Iterable<Item>, make: (item: Item) => Made): Iterable<Made> {
  return {
    *[Symbol.iterator]() {
      for (const item of items) yield make(item);
    },
  };
}
