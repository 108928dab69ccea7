/** Scores of a binary classifier on a labelled set. */
export interface Score {
  /** Share of right answers, threshold 0. */
  readonly accuracy: number
  /** Area under the ROC curve: the probability that a spam mail scores above a ham mail, ties count half. */
  readonly auc: number
}

/** @param margins logit of spam minus logit of ham, one for each mail. */
export function score(margins: readonly number[], labels: readonly string[], positive = 'spam'): Score {
  const right = margins.filter((margin, i) => margin > 0 === (labels[i] === positive)).length
  return { accuracy: right / margins.length, auc: areaUnderCurve(margins, labels, positive) }
}

/** The Mann-Whitney statistic, by mean ranks. */
function areaUnderCurve(margins: readonly number[], labels: readonly string[], positive: string): number {
  const order = margins.map((_, i) => i).sort((a, b) => margins[a]! - margins[b]!)
  let rankSum = 0
  for (let start = 0; start < order.length; ) {
    let end = start
    while (end < order.length && margins[order[end]!] === margins[order[start]!]) end++
    for (let i = start; i < end; i++) if (labels[order[i]!] === positive) rankSum += (start + end + 1) / 2
    start = end
  }
  const positives = labels.filter((label) => label === positive).length
  const negatives = labels.length - positives
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives)
}
