export { type BatchOptions, epochBatches } from './batches.ts';
export {
  type Dataset,
  type DatasetOptions,
  labelSet,
  loadDataset,
  loadSamples,
  type ReadText,
} from './dataset.ts';
export { parseRows, parseSamples, type Row, type Sample } from './jsonl.ts';
export { chooseShots } from './shots.ts';
export { type SplitIndices, stratifiedSplit } from './split.ts';
export {
  checkTemplate,
  renderTemplate,
  type TemplateValues,
  unescapeTemplate,
} from './template.ts';
