"""The choice: against brute force, and the properties that a choice of patients must have."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_ext.select.coverage import cover, distances, find_outliers, reach_of

RNG = np.random.default_rng


def names(number):
    return [f"p{i:04d}" for i in range(number)]


def indices(picks):
    return [pick.index for pick in picks]


def served(distance, chosen, demand=1.0):
    """What a choice is worth, written out: each point counts by its distance to the nearest chosen one."""
    pairs = [distance[i, j] for i, j in itertools.combinations(range(len(distance)), 2)]
    reach, weight = np.median(pairs), np.broadcast_to(demand, len(distance))
    return sum(w * max(0.0, 1 - min(row[j] for j in chosen) / reach) for w, row in zip(weight, distance))


@given(st.integers(0, 10**6), st.integers(3, 40), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_distances_are_those_of_a_loop(seed, number, width):
    points = RNG(seed).normal(size=(number, width)) * 10.0 ** RNG(seed).integers(-3, 4)
    points[1] = points[0]
    found = distances(points)
    wanted = np.array([[np.linalg.norm(a - b) for b in points] for a in points])
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * wanted.max())
    assert found[0, 1] == found[1, 0] == 0
    assert (found == found.T).all()


@given(st.integers(0, 10**6), st.integers(4, 11), st.integers(1, 4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_first_is_the_best_and_all_keep_the_bound(seed, number, count, weighted):
    distance = distances(RNG(seed).normal(size=(number, 3)))
    demand = RNG(seed).uniform(0.1, 2, number) if weighted else np.ones(number)
    picks = indices(cover(distance, count, names(number), demand=demand))
    assert len(set(picks)) == count
    first = max(served(distance, [j], demand) for j in range(number))
    assert served(distance, picks[:1], demand) == pytest.approx(first, rel=1e-4)
    best = max(served(distance, chosen, demand) for chosen in itertools.combinations(range(number), count))
    assert served(distance, picks, demand) >= (1 - 1 / math.e) * best - 1e-6
    known = cover(distance, count, names(number), demand=demand)
    assert known[-1].coverage == pytest.approx(served(distance, picks, demand) / demand.sum(), rel=1e-4, abs=1e-6)


@given(st.integers(0, 10**6), st.integers(7, 30))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_list_does_not_matter(seed, number):
    points, order = RNG(seed).normal(size=(number, 4)).round(1), RNG(seed + 1).permutation(number)
    named = names(number)
    first = [named[i] for i in indices(cover(distances(points), 5, named, chosen=[2]))]
    shuffled = [named[i] for i in order]
    again = cover(distances(points[order]), 5, shuffled, chosen=[int(np.flatnonzero(order == 2)[0])])
    assert [shuffled[i] for i in indices(again)] == first


@given(st.integers(0, 10**6), st.integers(4, 20))
@settings(max_examples=40, deadline=None)
def test_a_copy_comes_when_nothing_else_is_left(seed, number):
    points = RNG(seed).normal(size=(number, 4))
    doubled = np.concatenate([points, points])
    picks = indices(cover(distances(doubled), number, names(2 * number)))
    assert sorted(i % number for i in picks) == list(range(number))
    labelled = indices(cover(distances(doubled), number - 1, names(2 * number), chosen=[0]))
    assert not {0, number} & set(labelled)


@pytest.mark.parametrize("seed", range(5))
def test_one_of_each_cluster(seed):
    """Clusters of unequal size, apart by twenty times their width."""
    rng, sizes = RNG(seed), [30, 12, 8, 5, 4]
    centres = 20 * np.eye(5)
    points = np.concatenate([c + rng.normal(size=(n, 5)) for c, n in zip(centres, sizes)])
    cluster = np.repeat(range(5), sizes)
    picks = indices(cover(distances(points), 5, names(len(points))))
    assert sorted(cluster[picks]) == list(range(5))
    assert cluster[picks[0]] == 0  # the typical one is of the largest


def test_a_single_point_far_away_does_not_come_early():
    """Three groups and a point at ten times their distance: what lies nearer to more points comes first."""
    groups = np.concatenate([RNG(c).normal(size=(8, 2)) + np.array([12 * c, 0]) for c in range(3)])
    points = np.concatenate([groups, [[12.0, 120.0]]])
    picks = indices(cover(distances(points), 4, names(25)))
    assert sorted(i // 8 for i in picks[:3]) == [0, 1, 2]


def test_reach_of_copies():
    assert reach_of(distances(np.array([[0.0], [1.0], [3.0]]))) == 2
    assert reach_of(distances(np.array([[0.0]] * 9 + [[4.0]]))) == 4
    assert reach_of(distances(np.zeros((4, 2)))) == reach_of(np.zeros((1, 1), np.float32)) == 1


def test_what_is_labelled_already_is_not_covered_again():
    points = np.concatenate([RNG(c).normal(size=(10, 2)) + np.array([30 * c, 0]) for c in range(3)])
    cluster = np.repeat(range(3), 10)
    distance = distances(points)
    assert set(cluster[indices(cover(distance, 2, names(30), chosen=[3]))]) == {1, 2}
    assert set(cluster[indices(cover(distance, 2, names(30), chosen=[13]))]) == {0, 2}
    before, after = (cover(distance, 3, names(30), chosen=chosen) for chosen in ([3], [3, 13]))
    assert indices(before) != indices(after)
    first = cover(distance, 1, names(30))[0]
    assert math.isnan(first.distance)
    assert cover(distance, 1, names(30), chosen=[3])[0].distance > 25


def test_demand_draws_the_choice_and_the_allowed_confine_it():
    points = np.array([[0.0], [1.0], [2.0], [50.0], [51.0], [52.0]])
    distance, named = distances(points), names(6)
    assert indices(cover(distance, 1, named, demand=[1, 1, 1, 9, 9, 9])) == [4]
    assert indices(cover(distance, 1, named, demand=[9, 9, 9, 1, 1, 1])) == [1]
    assert indices(cover(distance, 1, named, allowed=[0, 5], demand=[9, 9, 9, 1, 1, 1])) == [0]
    with pytest.raises(ValueError, match="3 points are to be chosen, 2 are allowed"):
        cover(distance, 3, named, allowed=[0, 5])


@pytest.mark.parametrize("seed", range(5))
def test_outliers_are_those_far_from_all(seed):
    points = RNG(seed).normal(size=(60, 8))
    assert find_outliers(distances(points)).sum() <= 1
    points[7], points[31] = 40.0, -25.0
    assert set(np.flatnonzero(find_outliers(distances(points)))) == {7, 31}
    assert not find_outliers(distances(points[:7])).any()


def test_a_small_group_is_none_of_outliers():
    points = np.concatenate([RNG(0).normal(size=(55, 3)), RNG(1).normal(size=(5, 3)) + 30])
    assert not find_outliers(distances(points))[55:].any()
    assert find_outliers(distances(points[:57]))[55:].all()


def test_two_thousand_patients():
    """In seconds, and without a second matrix of all pairs."""
    points = RNG(0).normal(size=(2000, 512))
    began = time.monotonic()
    picks = cover(distances(points), 50, names(2000))
    assert len({pick.index for pick in picks}) == 50
    assert (np.diff([pick.coverage for pick in picks]) >= 0).all()
    print(f"{time.monotonic() - began:.1f} s")
