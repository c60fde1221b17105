import type { Dataset } from './dataset.ts';
import type { Sample } from './row.ts';

/** What is worth knowing of a part of the data before anything is trained. */
export interface PartSummary {
  readonly rows: number;
  /** Rows of every class, in the order of the dataset's labels. */
  readonly classes: readonly number[];
  /** Rows whose texts an earlier row of the part has. */
  readonly duplicates: number;
  /** Those of them whose label is not that of the first such row. */
  readonly contradictions: number;
  /** Rows whose texts stand in the training part as well; 0 for that part itself. */
  readonly alsoInTrain: number;
}

/** The parts of a dataset, summed up. */
export interface DataSummary {
  readonly train: PartSummary;
  readonly valid: PartSummary;
  readonly test: PartSummary | undefined;
}

/** Rows of every class, in the order of `labels`; labels beyond them are not counted. */
export function classCounts(
  rows: readonly { readonly label: string }[],
  labels: readonly string[],
): number[] {
  const places = new Map(labels.map((label, i) => [label, i]));
  const counts = new Array<number>(labels.length).fill(0);
  for (const { label } of rows) {
    const at = places.get(label);
    if (at !== undefined) counts[at]++;
  }
  return counts;
}

const textsOf = ({ text, textPair }: Sample) => JSON.stringify([text, textPair]);

/** Class balance of every part, and rows that stand there more than once. */
export function summarizeData({ labels, train, valid, test }: Dataset): DataSummary {
  const trained = new Map<string, string>();
  const summary = (rows: readonly Sample[], own: Map<string, string>): PartSummary => {
    let [duplicates, contradictions, alsoInTrain] = [0, 0, 0];
    for (const row of rows) {
      const texts = textsOf(row);
      const first = own.get(texts);
      if (first === undefined) own.set(texts, row.label);
      else {
        duplicates++;
        if (first !== row.label) contradictions++;
      }
      if (own !== trained && trained.has(texts)) alsoInTrain++;
    }
    const classes = classCounts(rows, labels);
    return { rows: rows.length, classes, duplicates, contradictions, alsoInTrain };
  };
  return {
    train: summary(train, trained),
    valid: summary(valid, new Map()),
    test: test && summary(test, new Map()),
  };
}
