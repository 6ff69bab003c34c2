import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import phantom
from f3ocus_jax.importance import lanczos
from f3ocus_jax.importance.lanczos import eigenpairs_of_matrix, largest_eigenvalue
from tests.helpers.oracles import kernel_with


def solve(matrix, tolerance=1e-5, max_iterations=32, accept=lanczos.RESIDUAL):
    return solve_in(matrix, tolerance, max_iterations, accept)[0]


def solve_in(matrix, tolerance, max_iterations, accept=lanczos.RESIDUAL):
    """The pair and the Krylov space."""
    start = jax.random.normal(jax.random.key(1), (len(matrix),))
    operator = jnp.asarray(matrix, jnp.float32)

    @jax.jit
    def run(operator, start):
        return largest_eigenvalue(
            lambda vector: operator @ vector,
            start,
            tolerance=tolerance,
            max_iterations=max_iterations,
            accept=accept,
        )

    return run(operator, start)


@pytest.mark.parametrize(
    "eigenvalues",
    [
        [5.0, 3.0, 2.0, 1.0, 0.5, 0.1],
        [4.0, 4.0, 4.0, 1.0],
        [7.0, 0.0, 0.0, 0.0],
        [2.5],
        [1e6, 9.9e5, 1e-3, 0.0],
        [1e-8, 1e-9, 0.0],
    ],
    ids=["spread", "repeated", "rank one", "one dimension", "large", "small"],
)
def test_value_and_vector_agree_with_eigvalsh(eigenvalues):
    matrix = kernel_with(eigenvalues)
    pair = solve(matrix)
    expected = np.linalg.eigvalsh(matrix)[-1]
    np.testing.assert_allclose(pair.value, expected, rtol=2e-6)
    image = matrix @ np.asarray(pair.vector, np.float64)
    np.testing.assert_allclose(image, expected * pair.vector, atol=3e-4 * expected)
    assert pair.residual <= 1e-5


def test_zero_operator_gives_zero_and_no_nan():
    pair = solve(np.zeros((5, 5)))
    assert pair.value == 0
    assert pair.residual == 0
    assert np.all(pair.vector == 0)


def test_residual_says_when_it_has_not_converged():
    matrix = kernel_with(list(np.linspace(1.0, 1.1, 50)))
    pair = solve(matrix, tolerance=1e-6, max_iterations=3)
    assert pair.iterations == 3
    assert pair.residual > 1e-6
    assert pair.value < np.linalg.eigvalsh(matrix)[-1]
    gaps = np.abs(np.linalg.eigvalsh(matrix) - float(pair.value))
    assert gaps.min() <= float(pair.residual * pair.value) + 1e-6


def test_the_default_cap_is_enough_where_many_eigenvalues_are_close_to_the_largest():
    close = [1.0, *np.linspace(0.99, 0.85, 40)]
    matrix = kernel_with([*close, *np.geomspace(0.84, 1e-4, 259)])
    default = phantom.get_config().importance.lntk
    pair = solve(matrix, default.tolerance, default.max_iterations)
    assert pair.residual <= default.tolerance
    assert pair.iterations > 32
    np.testing.assert_allclose(pair.value, 1.0, rtol=1e-6)


def test_the_space_gives_products_once_it_holds_all_vectors_and_projects_them_before():
    matrix = kernel_with(list(np.geomspace(1.0, 0.1, 20)))
    vector = np.random.default_rng(1).normal(size=20)
    whole = solve_in(matrix, tolerance=0.0, max_iterations=20)[1]
    np.testing.assert_allclose(whole.product(jnp.asarray(vector)), matrix @ vector, atol=1e-5)
    part = solve_in(matrix, tolerance=0.0, max_iterations=6)[1]
    basis = np.asarray(part.basis[:-1], np.float64)
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-5)
    projected = basis.T @ basis @ matrix @ basis.T @ basis @ vector
    np.testing.assert_allclose(part.product(jnp.asarray(vector)), projected, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 16, 17, 32, 33, 40])
def test_the_residual_is_that_of_the_vector(steps):
    """Whatever block of the small matrix is squared."""
    matrix = kernel_with(list(np.linspace(1.0, 0.5, 200)))
    pair = solve(matrix, tolerance=0.0, max_iterations=steps)
    vector = np.asarray(pair.vector, np.float64)
    distance = np.linalg.norm(matrix @ vector - float(pair.value) * vector)
    np.testing.assert_allclose(pair.residual * pair.value, distance, rtol=1e-2, atol=1e-6)
    assert pair.iterations == steps


def test_a_space_that_is_exhausted_gets_no_further_vectors():
    """Two eigenvalues beside 0 make a space of three; what rounding leaves is no direction."""
    pair, krylov = solve_in(kernel_with([3.0, 1.0, *[0.0] * 18]), tolerance=0.0, max_iterations=10)
    lengths = np.linalg.norm(krylov.basis, axis=1)
    np.testing.assert_allclose(lengths, [1.0] * 3 + [0.0] * 8, atol=1e-5)
    np.testing.assert_array_equal(krylov.off_diagonal_M[2:], 0)
    np.testing.assert_allclose(pair.value, 3.0, rtol=2e-6)


@pytest.mark.parametrize("coupling", [1e-2, 1e-4, 3e-6])
def test_a_start_nearly_orthogonal_to_the_top_eigenvector_still_finds_it(coupling):
    """A small next vector is a direction as long as it is larger than rounding."""
    diagonal = jnp.array([2.0, 1.0])
    pair, _ = largest_eigenvalue(
        lambda vector: diagonal * vector,
        jnp.array([coupling, 1.0]),
        tolerance=1e-7,
        max_iterations=2,
    )
    np.testing.assert_allclose(pair.value, 2.0, rtol=1e-5)


def test_eigenvectors_of_a_dense_matrix_belong_to_their_values():
    """Values of 0 and those beyond the matrix have no vector."""
    matrix_DD = np.float32(kernel_with([3.0, 2.0, 0.5]))
    matrix_DD = np.pad(matrix_DD, (0, 1))
    found = eigenpairs_of_matrix(jnp.asarray(matrix_DD), 6)
    np.testing.assert_allclose(found.value, [3.0, 2.0, 0.5, 0, 0, 0], atol=1e-6)
    lengths_M = np.linalg.norm(found.vector, axis=1)
    np.testing.assert_allclose(lengths_M[[0, 1, 2, 4, 5]], [1, 1, 1, 0, 0], atol=1e-6)
    images_MD = np.asarray(found.vector) @ matrix_DD
    expected_MD = found.value[:, None] * found.vector
    np.testing.assert_allclose(images_MD, expected_MD, atol=1e-5)


@pytest.mark.parametrize("second", [0.5, 0.8, 0.9])
def test_an_estimate_saves_products_and_is_no_less_than_the_error_of_a_lone_eigenvalue(second):
    """A spectrum without a second eigenvalue near the first: the Ritz gap is the true one."""
    values = np.concatenate([[1.0, second], second * 0.5 * 0.8 ** np.arange(40)])
    bound, estimate = (solve(kernel_with(values), 1e-4, accept=each) for each in lanczos.ACCEPTS)
    assert estimate.iterations < bound.iterations
    assert estimate.residual <= 1e-4
    assert 1 - estimate.value <= estimate.residual + 1e-6


def test_nothing_is_estimated_without_a_gap_that_is_known_or_from_a_large_residual():
    estimated = lanczos._estimated_error
    cases = {  # residual, gap, gap before
        (1e-3, 0.5, 0.5): 2e-6,
        (1e-3, 0.5, 0.46): 2e-6,
        (1e-3, 0.5, 0.44): 1e-3,
        (1e-3, 0.5, 0.0): 1e-3,
        (1e-3, 0.0, 0.0): 1e-3,
        (1e-3, 1e-4, 1e-4): 1e-3,
        (2e-2, 0.5, 0.5): 2e-2,
    }
    for inputs, expected in cases.items():
        np.testing.assert_allclose(estimated(*map(jnp.float32, inputs)), expected, rtol=1e-6)


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0], [3.0, 3.0, 3.0], [1.5]])
def test_an_estimate_is_right_where_the_space_is_exhausted(values):
    pair = solve(kernel_with(values), 1e-4, accept=lanczos.ESTIMATE)
    np.testing.assert_allclose(pair.value, values[0], rtol=1e-5)
    assert pair.residual <= 1e-4
