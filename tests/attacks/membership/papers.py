"""The membership attacks transcribed from their papers, a scan and a model at a time, in plain Python but for matrices.

Written from the papers before the package was, and independent of it: nothing is shared but the names of the arrays.
``target`` is (query, scan), ``references`` (reference, query, scan), logit-scaled confidences in the true class;
``members`` is (reference, scan), whether a reference was trained on a scan.
"""

import math
import statistics

import numpy as np
from scipy.stats import multivariate_normal


def probability(z):
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))


def log_density(x, mean, deviation):
    return -math.log(deviation) - 0.5 * math.log(2.0 * math.pi) - 0.5 * ((x - mean) / deviation) ** 2


def split(references, members, query, scan):
    """Return the confidences of the references that were trained on a scan, and of the others."""
    inside = [model[query][scan] for model, trained in zip(references, members, strict=True) if trained[scan]]
    outside = [model[query][scan] for model, trained in zip(references, members, strict=True) if not trained[scan]]
    return inside, outside


def loss(target):
    """Yeom et al., arXiv:1709.01604: the smaller the loss, the more a member."""
    return [statistics.fmean(math.log(probability(query[scan])) for query in target) for scan in range(len(target[0]))]


def calibrated(target, references, members):
    """Watson et al., arXiv:2111.08440: the loss less what it is where the scan was not trained on."""
    scores = []
    for scan in range(len(target[0])):
        gains = []
        for query in range(len(target)):
            _, outside = split(references, members, query, scan)
            expected = statistics.fmean(math.log(probability(z)) for z in outside)
            gains.append(math.log(probability(target[query][scan])) - expected)
        scores.append(statistics.fmean(gains))
    return scores


def pooled_deviation(references, members, query, inside):
    """Return the root of the mean square of residuals about each scan's own mean, over all scans, in or out."""
    squares, degrees = 0.0, 0
    for scan in range(len(references[0][0])):
        values = split(references, members, query, scan)[0 if inside else 1]
        mean = statistics.fmean(values)
        squares += sum((z - mean) ** 2 for z in values)
        degrees += len(values) - 1
    return math.sqrt(squares / degrees)


def lira(target, references, members, *, online, pooled):
    """Carlini et al., arXiv:2112.03570, Algorithm 1, and its offline form 1 - Pr[Z > z] = Phi((z - mean) / sd)."""
    scores = []
    for scan in range(len(target[0])):
        values = []
        for query in range(len(target)):
            z = target[query][scan]
            inside, outside = split(references, members, query, scan)

            def deviation(observed, is_inside, query=query):
                if pooled:
                    return pooled_deviation(references, members, query, is_inside)
                return statistics.stdev(observed)

            out_mean, out_deviation = statistics.fmean(outside), deviation(outside, False)
            if online:
                in_mean, in_deviation = statistics.fmean(inside), deviation(inside, True)
                values.append(log_density(z, in_mean, in_deviation) - log_density(z, out_mean, out_deviation))
            else:
                values.append(0.5 * math.erfc(-(z - out_mean) / out_deviation / math.sqrt(2.0)))
        scores.append(statistics.fmean(values))
    return scores


def rmia(target, references, members, population, *, gamma, online, a):
    """Zarifzadeh et al., arXiv:2312.03262: the share of population scans that a scan's ratio dominates.

    ``population`` is the same triple (target, references, members) of the population's scans.
    """

    def ratio(of_target, of_references, trained_on, query, scan):
        inside, outside = split(of_references, trained_on, query, scan)
        if online:
            parts = [statistics.fmean(map(probability, values)) for values in (inside, outside) if values]
            marginal = statistics.fmean(parts)
        else:
            out = statistics.fmean(map(probability, outside))
            marginal = 0.5 * ((1.0 + a) * out + (1.0 - a))
        return probability(of_target[query][scan]) / marginal

    scores = []
    for scan in range(len(target[0])):
        shares = []
        for query in range(len(target)):
            own = ratio(target, references, members, query, scan)
            others = [ratio(*population, query, z) for z in range(len(population[0][0]))]
            shares.append(sum(own / other >= gamma for other in others) / len(others))
        scores.append(statistics.fmean(shares))
    return scores


def bavaria(target, references, members, *, online, student):
    """Brannvall et al., arXiv:2603.11799: LiRA with a normal-inverse-gamma prior fitted to all scans."""
    scores = []
    for scan in range(len(target[0])):
        values = []
        for query in range(len(target)):
            terms = []
            for side in (0, 1):
                everything = [
                    z for other in range(len(target[0])) for z in split(references, members, query, other)[side]
                ]
                mu0, var0 = statistics.fmean(everything), statistics.pvariance(everything)
                kappa0, alpha0 = 1.0, 2.0 if student else 1.0
                beta0 = var0 * (alpha0 - 1.0) if alpha0 > 1.0 else var0
                seen = split(references, members, query, scan)[side] if online or side == 1 else []
                n, mean = len(seen), statistics.fmean(seen) if seen else mu0
                spread = sum((z - mean) ** 2 for z in seen)
                kappa, alpha = kappa0 + n, alpha0 + n / 2.0
                beta = beta0 + spread / 2.0 + kappa0 * n * (mean - mu0) ** 2 / (2.0 * kappa)
                z = target[query][scan]
                if student:
                    degrees, location = 2.0 * alpha, (kappa0 * mu0 + n * mean) / kappa
                    scale = math.sqrt(beta * (kappa + 1.0) / (alpha * kappa))
                    constant = math.lgamma((degrees + 1.0) / 2.0) - math.lgamma(degrees / 2.0)
                    constant -= 0.5 * math.log(degrees * math.pi) + math.log(scale)
                    x = (z - location) / scale
                    terms.append(constant - (degrees + 1.0) / 2.0 * math.log1p(x * x / degrees))
                else:
                    variance = beta / (alpha - 1.0) if alpha > 1.0 else var0
                    terms.append(log_density(z, mean, math.sqrt(variance)))
            values.append(terms[0] - terms[1])
        scores.append(statistics.fmean(values))
    return scores


def lira_joint(target, references, members):
    """Return the log likelihood ratios of multivariate normals, online, with one covariance a side for all scans."""
    scans, queries = range(len(target[0])), range(len(target))
    densities = []
    for side in (0, 1):
        means = [[statistics.fmean(split(references, members, q, scan)[side]) for q in queries] for scan in scans]
        outer, degrees = np.zeros((len(target), len(target))), 0
        for scan in scans:
            columns = [split(references, members, q, scan)[side] for q in queries]
            for model in zip(*columns, strict=True):
                residual = np.subtract(model, means[scan])
                outer += np.outer(residual, residual)
            degrees += len(columns[0]) - 1
        normal = multivariate_normal(cov=outer / degrees)
        densities.append(
            [normal.logpdf(np.subtract([target[q][scan] for q in queries], means[scan])) for scan in scans]
        )
    return [inside - outside for inside, outside in zip(*densities, strict=True)]
