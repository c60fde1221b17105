export { type BatchOptions, epochBatches } from './batches.ts';
export {
  type Dataset,
  type DatasetOptions,
  labelSet,
  loadDataset,
  loadSamples,
  loadSplit,
  type ReadText,
} from './dataset.ts';
export { DATA_FORMATS, parseRows, parseSamples } from './parse.ts';
export type { ColumnNames, Row, Sample } from './row.ts';
export { chooseShots } from './shots.ts';
export { type SplitIndices, stratifiedSplit } from './split.ts';
export {
  checkTemplate,
  renderSegments,
  renderTemplate,
  type TemplateValues,
  unescapeTemplate,
} from './template.ts';
