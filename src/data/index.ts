export { type BatchOptions, epochBatches } from './batches.ts';
export {
  type Dataset,
  type DatasetOptions,
  type ListFiles,
  labelSet,
  loadDataset,
  loadSamples,
  loadSplit,
  type ReadText,
} from './dataset.ts';
export {
  type ClassificationScores,
  type ClassScore,
  type ConfusionCell,
  classificationScores,
  classScores,
  confusionCells,
  pearson,
  type RegressionScores,
  ranks,
  regressionScores,
} from './metrics.ts';
export { DATA_FORMATS, parseRows, parseSamples } from './parse.ts';
export type { ColumnNames, LmShape, Row, Sample, Turn } from './row.ts';
export { chooseShots } from './shots.ts';
export { type SplitIndices, stratifiedSplit } from './split.ts';
export { classCounts, type DataSummary, type PartSummary, summarizeData } from './summary.ts';
export {
  type LabelTask,
  numberOf,
  standardized,
  type Target,
  type Task,
  targetOf,
  taskOf,
} from './task.ts';
export {
  checkTemplate,
  renderSegments,
  renderTemplate,
  type TemplateValues,
  unescapeTemplate,
} from './template.ts';
