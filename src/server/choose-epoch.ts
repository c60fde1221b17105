import type { TrainedModel } from './training-job.ts';

/**
 * Those that lie within one standard error of the best on the validation rows: by accuracy, or
 * without classes by loss (the rule of Breiman et al. 1984, section 3.4.3). The last of them is
 * taken: between epochs that the rows cannot tell apart, the one at the lower learning rate.
 */
export function asGoodAsBest(models: readonly TrainedModel[]): TrainedModel[] {
  const score = ({ validAccuracy, validLoss }: TrainedModel) => validAccuracy ?? -validLoss;
  const best = models.reduce((a, b) => (score(b) > score(a) ? b : a));
  return models.filter((model) => score(model) >= score(best) - best.validError);
}
