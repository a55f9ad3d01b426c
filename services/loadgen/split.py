"""Whether requests were shared as the weights ask, or differ from it by more than chance explains."""

import math

FALSE_ALARM = 1e-6
"""How often, at most, a split that is as it should be is taken for another: once in a million runs and routes.

The ingress takes the routes in turn, request by request, whichever connection a request comes in by, so that it is
never off by more than a few requests; Linkerd draws a route for each request. The second one's is the greater
deviation, a binomial distribution, so that is what is expected here.
"""


def is_unlikely(taken: int, of: int, weight: float) -> bool:
    """Whether a route with this part of the weight (0 to 1) hardly ever takes so many, or so few, of some requests.

    By Chernoff's bound on a binomial distribution's tails, P <= exp(-n D), D being the Kullback-Leibler divergence
    of the measured share from the expected one. Each of the two tails may have half of `FALSE_ALARM`.
    """
    if not of:
        return False
    if weight in (0, 1):
        return taken != of * weight
    share = taken / of
    return of * (_part(share, weight) + _part(1 - share, 1 - weight)) > math.log(2 / FALSE_ALARM)


def _part(measured: float, expected: float) -> float:
    return measured * math.log(measured / expected) if measured else 0.0
