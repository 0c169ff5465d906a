/** A split and the names of its classes, by class id; empty when it was registered without. */
export interface NamedSplit {
  readonly split: string;
  readonly classNames: readonly string[];
}

/** The name of a class of a split; a split without names of its own has those of the first that has some. */
export function className(splits: readonly NamedSplit[], split: string, id: number): string {
  const own = splits.find((one) => one.split === split && one.classNames.length > 0);
  const names = (own ?? splits.find(({ classNames }) => classNames.length > 0))?.classNames;
  return names?.[id] || `class ${id}`;
}
