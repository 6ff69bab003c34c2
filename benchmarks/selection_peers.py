"""Solutions of the same problem by pymoo: NSGA-II with feasible rows, and with random keys."""

import numpy as np
from pymoo.algorithms.moo.cmopso import CMOPSO
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.optimize import minimize


class Selection(Problem):
    """Choices of layers, as flattened masks or as random keys whose largest values are chosen."""

    def __init__(self, scores_KL: np.ndarray, budgets_K: np.ndarray, *, keys: bool) -> None:
        super().__init__(n_var=scores_KL.size, n_obj=2, xl=0.0, xu=1.0)
        self.scores_KL, self.budgets_K, self.keys = scores_KL, budgets_K, keys

    def masks(self, solutions_PV: np.ndarray) -> np.ndarray:
        values_PKL = solutions_PV.reshape(-1, *self.scores_KL.shape)
        return largest(values_PKL, self.budgets_K) if self.keys else values_PKL.astype(bool)

    def _evaluate(self, x: np.ndarray, out: dict, *args: object, **kwargs: object) -> None:
        masks_PKL = self.masks(x)
        importance_P = np.einsum("pkl,kl->p", masks_PKL.astype(np.float32), self.scores_KL)
        out["F"] = np.stack([-importance_P, np.var(masks_PKL.sum(axis=1), axis=1)], axis=1)


class RowCrossover(Crossover):
    """Each child takes every client's row from either parent."""

    def __init__(self, clients: int) -> None:
        super().__init__(2, 2)
        self.clients = clients

    def _do(self, problem: Problem, X: np.ndarray, **kwargs: object) -> np.ndarray:
        rows = X.reshape(2, X.shape[1], self.clients, -1)
        swap = np.random.random(rows.shape[1:3]) < 0.5
        first = np.where(swap[..., None], rows[1], rows[0])
        second = np.where(swap[..., None], rows[0], rows[1])
        return np.stack([first, second]).reshape(X.shape)


class SwapMutation(Mutation):
    """Replaces a random chosen layer by a random other layer, for one or two clients."""

    def __init__(self, clients: int) -> None:
        super().__init__()
        self.clients = clients

    def _do(self, problem: Problem, X: np.ndarray, **kwargs: object) -> np.ndarray:
        masks = X.reshape(len(X), self.clients, -1).astype(bool)
        chosen = np.random.randint(0, self.clients, (len(X), 2))
        rows_P = np.arange(len(X))
        for client in chosen.T:
            rows = masks[rows_P, client]
            noise = np.random.random(rows.shape)
            gone = np.argmax(np.where(rows, noise, -1.0), axis=1)
            new = np.argmax(np.where(rows, -1.0, noise), axis=1)
            changes = ~rows.all(axis=1)
            masks[rows_P[changes], client[changes], gone[changes]] = False
            masks[rows_P[changes], client[changes], new[changes]] = True
        return masks.reshape(X.shape).astype(X.dtype)


def largest(values_KL: np.ndarray, budgets_K: np.ndarray) -> np.ndarray:
    """Chooses the `budget` largest values of every row."""
    ranks_KL = np.argsort(np.argsort(-values_KL, axis=-1), axis=-1)
    return ranks_KL < budgets_K[:, None]


def run(
    name: str,
    scores_KL: np.ndarray,
    budgets_K: np.ndarray,
    *,
    first_PKL: np.ndarray,
    generations: int,
    seed: int,
) -> np.ndarray:
    """Runs one of pymoo's algorithms.

    Args:
      name: "pymoo nsga2 rows", "pymoo nsga2 keys" or "pymoo cmopso keys".
      scores_KL: float importance of every layer for every client.
      budgets_K: int number of layers that every client trains.
      first_PKL: bool, the first generation.
      generations: Number of generations.
      seed: Seed of the random numbers.

    Returns:
      [N, 2], (importance, variance) of its front.
    """
    np.random.seed(seed)
    keys = name.endswith("keys")
    problem = Selection(scores_KL.astype(np.float32), budgets_K, keys=keys)
    # As keys: chosen layers are above one half, others are below.
    start_PKL = (first_PKL + np.random.random(first_PKL.shape)) / 2 if keys else first_PKL
    population = len(first_PKL)
    sampling = start_PKL.reshape(population, -1).astype(np.float64 if keys else np.float32)
    clients = len(scores_KL)
    if "cmopso" in name:
        algorithm = CMOPSO(pop_size=population, sampling=sampling)
    elif keys:
        algorithm = NSGA2(pop_size=population, sampling=sampling, eliminate_duplicates=False)
    else:
        algorithm = NSGA2(
            pop_size=population,
            sampling=sampling,
            crossover=RowCrossover(clients),
            mutation=SwapMutation(clients),
            eliminate_duplicates=False,
        )
    found = minimize(problem, algorithm, ("n_gen", generations), seed=seed)
    return np.atleast_2d(found.F) * np.array([-1.0, 1.0])
