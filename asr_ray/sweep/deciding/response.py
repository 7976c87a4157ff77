"""How the error rate of a locale answers to the mix: a small Bayesian regression per locale.

    log e = a + b z + c z^2 + sum over other groups (d_g x_g) + sum over keys (f_j u_j + g_j u_j^2) + noise

z is the log of the locale's own seconds in the weights against their mean over the runs, x_g the log share
of another group, likewise centred, and u_j where another searched key (a learning rate) lies in its range.

* b is a power law: error falls as (seconds read)^b, as in the scaling laws of speech (OWLS, arXiv 2502.10373)
  and of data mixtures (arXiv 2403.16952). c lets it level off. d is small by its prior: that the loss of a
  language family depends on its own share alone is found for text (arXiv 2410.12883); here it is measured.
* Priors are Gaussian, so that the posterior is exact for a given noise; the size of the noise is not known
  and is averaged over, by its marginal likelihood (Bishop, Pattern Recognition and Machine Learning, 3.3 and
  3.5). A dozen runs hold such a fit; maximum likelihood would have as many parameters as there are runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from asr_ray.errors import ConfigError
from asr_ray.evaluate.objective import RATE_FLOOR

Floats = npt.NDArray[np.float64]

_SHARE_FLOOR = 1e-3

# Standard deviations of the priors, in log error per log share: exponents of published laws of speech lie
# between 0.05 and 0.5, transfer between languages is an order below.
_OWN_MEAN, _OWN_SD = -0.25, 0.3
_CURVE_SD = 0.12
_OTHER_SD = 0.08
_KEY_SD = 0.6
_LEVEL_SD = 2.0

# Noise of one run in log error (seed and test set together): 3% give or take a factor of 2.5.
_NOISES = np.geomspace(0.002, 0.4, 40)
_NOISE_CENTRE, _NOISE_SPREAD = np.log(0.03), 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one run says.

    Attributes:
        shares: group -> share of seconds, of sum 1.
        seconds: locale -> its seconds of audio in the weights.
        rates: locale -> error rate as a fraction.
        keys: other searched key -> where its value lies in its range, 0 to 1; the same keys in all runs.
    """

    shares: Mapping[str, float]
    seconds: Mapping[str, float]
    rates: Mapping[str, float]
    keys: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a fit expects of the log error rate of one locale.

    Attributes:
        mean, sd: of log e, for the mean over many runs: the noise of a single one is not in it.
    """

    mean: Floats
    sd: Floats

    @property
    def rate(self) -> Floats:
        """The median rate."""
        return np.exp(self.mean)


@dataclass(frozen=True, kw_only=True)
class LocaleFit:
    """The fit of one locale: mean and covariance of its coefficients a, b, c, d..., f..., g....

    Attributes:
        group: that the locale belongs to.
        others: the other groups, in the order of their coefficients; `keys` likewise.
        centre_log_s: mean log seconds of the locale over the runs; `centre_log_shares` likewise.
        mean: [P]; covariance: [P, P], over the sizes of the noise as well.
        noise: expected size of the noise of one run.
        z_range: smallest and largest z of the runs; beyond it the fit guesses.
    """

    locale: str
    group: str
    others: tuple[str, ...]
    keys: tuple[str, ...]
    centre_log_s: float
    centre_log_shares: Mapping[str, float]
    mean: Floats
    covariance: Floats
    noise: float
    z_range: tuple[float, float]

    def features(self, *, seconds: Floats, shares: Mapping[str, Floats], keys: Mapping[str, float]) -> Floats:
        """Return [N, P] for [N] seconds of the locale and shares of the groups."""
        z = np.log(np.maximum(seconds, 1e-9)) - self.centre_log_s
        columns = [np.ones_like(z), z, z * z]
        columns += [_log_share(shares[name]) - self.centre_log_shares[name] for name in self.others]
        columns += [np.full_like(z, keys[key] - 0.5) for key in self.keys]
        columns += [np.full_like(z, (keys[key] - 0.5) ** 2) for key in self.keys]
        return np.column_stack(columns)

    def predict(
        self, *, seconds: Floats, shares: Mapping[str, Floats], keys: Mapping[str, float] | None = None
    ) -> Prediction:
        """Predict for [N] seconds of the locale and shares of the groups; keys not given are half-way."""
        rows = self.features(
            seconds=seconds, shares=shares, keys={**dict.fromkeys(self.keys, 0.5), **(keys or {})}
        )
        variance = np.einsum("np,pq,nq->n", rows, self.covariance, rows)
        return Prediction(mean=rows @ self.mean, sd=np.sqrt(np.maximum(variance, 0.0)))

    def draws(self, number: int, *, seed: int) -> Floats:
        """Return [number, P] coefficients drawn from the posterior."""
        rng = np.random.default_rng(seed)
        return rng.multivariate_normal(self.mean, self.covariance, size=number, method="cholesky")


def fit_locale(
    locale: str, observations: Sequence[Observation], *, groups: Mapping[str, Sequence[str]]
) -> LocaleFit:
    """Fit the error rate of one locale over some runs.

    Args:
        groups: name -> its locales; the groups of the shares. A locale that is in none has its own seconds
            as covariate, and all groups as others.

    Raises:
        ConfigError: fewer than three runs read and scored the locale.
    """
    used = sorted(
        (each for each in observations if each.seconds.get(locale, 0.0) > 0 and locale in each.rates),
        # The order of the runs shall not move the last bit of a sum.
        key=lambda each: (sorted(each.shares.items()), sorted(each.rates.items()), sorted(each.keys.items())),
    )
    if len(used) < 3:
        raise ConfigError(
            f"{len(used)} trials read and scored {locale}, a fit needs three", fix="run more trials"
        )
    group = next((name for name, tags in groups.items() if locale in tags), "")
    others = tuple(name for name in sorted(groups) if name != group)
    keys = tuple(sorted(used[0].keys))
    log_s = np.log([each.seconds[locale] for each in used])
    log_shares = {
        name: _log_share(np.array([each.shares.get(name, 0.0) for each in used])) for name in others
    }
    z = log_s - log_s.mean()
    u = np.array([[each.keys[key] - 0.5 for key in keys] for each in used]).reshape(len(used), len(keys))
    x = [log_shares[name] - log_shares[name].mean() for name in others]
    features = np.column_stack([np.ones_like(z), z, z * z, *x, u, u * u])
    logs = np.log(np.maximum([each.rates[locale] for each in used], RATE_FLOOR))
    level = float(logs.mean())
    sds = [_LEVEL_SD, _OWN_SD, _CURVE_SD, *[_OTHER_SD] * len(others), *[_KEY_SD] * (2 * len(keys))]
    prior_mean = np.zeros(len(sds))
    prior_mean[0], prior_mean[1] = level, _OWN_MEAN
    mean, covariance, noise = _posterior(features, logs, prior_mean=prior_mean, prior_sd=np.array(sds))
    return LocaleFit(
        locale=locale,
        group=group,
        others=others,
        keys=keys,
        centre_log_s=float(log_s.mean()),
        centre_log_shares={name: float(values.mean()) for name, values in log_shares.items()},
        mean=mean,
        covariance=covariance,
        noise=noise,
        z_range=(float(z.min()), float(z.max())),
    )


def _posterior(
    features: Floats, logs: Floats, *, prior_mean: Floats, prior_sd: Floats
) -> tuple[Floats, Floats, float]:
    """Return mean [P] and covariance [P, P] of the coefficients, and the expected size of the noise.

    Given the noise they are Gaussian; over it, a mixture, of which these are the first two moments: exact for
    the mean and the variance of any prediction, since it is linear in the coefficients.
    """
    precision = np.diag(prior_sd**-2.0)
    residual = logs - features @ prior_mean
    spread = (features * prior_sd**2) @ features.T
    evidence, means, covariances = [], [], []
    for noise in _NOISES:
        covariance = np.linalg.inv(precision + features.T @ features / noise**2)
        means.append(prior_mean + covariance @ features.T @ residual / noise**2)
        covariances.append((covariance + covariance.T) / 2)
        marginal = spread + noise**2 * np.eye(len(logs))
        _, log_determinant = np.linalg.slogdet(marginal)
        fit = residual @ np.linalg.solve(marginal, residual)
        prior = ((np.log(noise) - _NOISE_CENTRE) / _NOISE_SPREAD) ** 2
        evidence.append(-0.5 * (log_determinant + fit + prior))
    weights = np.exp(np.array(evidence) - max(evidence))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    apart = np.array(means) - mean
    inside = np.einsum("m,mpq->pq", weights, np.array(covariances))
    between = np.einsum("m,mp,mq->pq", weights, apart, apart)
    return mean, inside + between, float(_NOISES @ weights)


def _log_share(shares: Floats) -> Floats:
    found: Floats = np.log(np.maximum(shares, _SHARE_FLOOR))
    return found
