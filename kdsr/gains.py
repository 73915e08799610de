"""What a study's runs say: means, spreads, and whether an arm's gain can be told from chance."""

import math
import statistics

ENOUGH = 3  # seeds, for a ranking
LEVEL = 0.05  # of the paired t-test


def told(values, decimals):
    """'29.397 ± 0.023': mean and sample standard deviation, which one value has not."""
    spread = f' ± {statistics.stdev(values):{decimals.lstrip("+")}}' if len(values) > 1 else ''
    return f'{statistics.mean(values):{decimals}}{spread}'


def p_value(differences):
    """Two-sided p of a t-test of paired differences against 0; None with fewer than ENOUGH of them."""
    if len(differences) < ENOUGH:
        return None
    if len(set(differences)) == 1:  # no spread at all: the test has nothing to divide by
        return 1.0 if differences[0] == 0 else 0.0
    from scipy import stats

    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def paired(values, reference):
    """Differences {seed: value} - {seed: value} over the seeds that both have."""
    return [v - reference[seed] for seed, v in values.items() if seed in reference]


def before(a, b, columns):
    """Whether the runs `a`, {seed: {column: value}}, are below those of `b` beyond doubt, in all `columns`.

    That is: with 3 seeds or more in common, in every one of them, and in the mean by more than twice the pooled standard deviation.
    """
    seeds = [seed for seed in a if seed in b]
    if len(seeds) < ENOUGH:
        return False
    for column in columns:
        ours, theirs = ([runs[seed][column] for seed in seeds] for runs in (a, b))
        gaps = [y - x for x, y in zip(ours, theirs, strict=True)]
        pooled = math.sqrt((statistics.variance(ours) + statistics.variance(theirs)) / 2)
        if min(gaps) <= 0 or statistics.mean(gaps) <= 2 * pooled:
            return False
    return True


def tables(scores, metric, against, decimals):
    """Rows of two tables: mean ± standard deviation of each arm and set, and its mean gain over the arm `against`.

    Args:
      scores: {arm: {seed: {set: {metric: value}}}}, in the order of the rows. decimals: format, e.g. '.3f'.

    Gains are of equal seeds; 'n.s.' follows one that is not separable from 0, '?' one of too few seeds to tell.
    """
    shown, gains = [], []
    for arm, by_seed in scores.items():
        sets = dict.fromkeys(name for found in by_seed.values() for name in found)
        row, gain = ({'arm': arm, 'seeds': len(by_seed)} for _ in range(2))
        for name in sets:
            values = finite(by_seed, name, metric)
            if not values:
                continue
            row[name] = told(list(values.values()), decimals)
            differences = paired(values, finite(scores.get(against, {}), name, metric))
            if differences and arm != against:
                gain[name] = told(differences, '+' + decimals) + verdict(differences)
        shown.append(row)
        gains += [gain] if len(gain) > 2 else []
    return shown, gains


def finite(by_seed, name, metric):
    """{seed: value} of one metric on the set `name`, where there is a finite one."""
    found = {seed: sets[name].get(metric, math.inf) for seed, sets in by_seed.items() if name in sets}
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def verdict(differences):
    """' ?', ' n.s.' or ''."""
    p = p_value(differences)
    return ' ?' if p is None else ' n.s.' if p >= LEVEL else ''


def notes(gains):
    """What the marks of the rows `gains` mean, a sentence each."""
    cells = [str(v) for row in gains for v in row.values()]
    found = []
    if any(cell.endswith(' n.s.') for cell in cells):
        found.append(f'n.s.: not separable from no gain (paired t-test over seeds, p >= {LEVEL}, no correction for many arms)')
    if any(cell.endswith(' ?') for cell in cells):
        found.append(f'?: fewer than {ENOUGH} seeds in common with the reference, no ranking')
    return found


def equal_steps(costs, against, kind):
    """{arm: steps of each stage} with which all arms cost in all what the arm `against` does.

    Args:
      costs: {arm: rows of kdsr.budget}. kind: 'seconds' or 'flops'.
    """
    field = {'seconds': 'total_s', 'flops': 'total_gflop'}[kind]
    total = {arm: sum(row[field] for row in rows) for arm, rows in costs.items()}
    return {arm: [max(1, round(total[against] / total[arm] * row['steps'])) for row in rows] for arm, rows in costs.items()}
