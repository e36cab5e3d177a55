"""Simple detectors against scikit-learn, against values computed by hand, and what they refuse."""

import numpy as np
import pytest
from sklearn import decomposition, svm
from sklearn.covariance import MinCovDet
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from da3d.detectors import ECOD, KNN, LOF, MCD, PCA, BaggedNN, IsolationForest, Mahalanobis, OneClassSVM
from da3d.errors import ParameterError

RANDOM = np.random.default_rng(0)
MIX = RANDOM.normal(size=(4, 4))
ROWS = RANDOM.normal(size=(300, 4)) @ MIX
NEW = 2 * RANDOM.normal(size=(80, 4)) @ MIX


def standardised(rows):
    return (rows - ROWS.mean(0)) / ROWS.std(0)


class TestLOF:
    def test_scores_are_those_of_scikit_learn(self):
        theirs = LocalOutlierFactor(n_neighbors=7, novelty=True).fit(standardised(ROWS))
        ours = LOF(neighbors=7).fit(ROWS).anomaly_score(NEW)
        np.testing.assert_allclose(ours, -theirs.score_samples(standardised(NEW)), rtol=1e-9)

    def test_a_larger_table_is_sampled(self):
        table = np.tile(ROWS, (3, 1)) + np.arange(900)[:, None] * 1e-6
        first, second = (LOF(most_rows=250, random_state=seed).fit(table) for seed in (0, 1))
        assert first.rows_.shape == (250, 4)
        assert len(np.unique(first.rows_, axis=0)) == 250
        assert not np.array_equal(first.rows_, second.rows_)
        assert LOF(most_rows=900).fit(table).rows_.shape == (900, 4)

    def test_fewer_rows_than_neighbours(self):
        assert np.isfinite(LOF().fit(ROWS[:5]).anomaly_score(NEW)).all()


class TestOneClassSVM:
    @pytest.mark.parametrize(("nu", "gamma"), [(0.1, 0.2), (0.5, None)])
    def test_scores_are_those_of_scikit_learn_in_another_unit(self, nu, gamma):
        theirs = svm.OneClassSVM(nu=nu, gamma="scale" if gamma is None else gamma)
        theirs.random_state = 0  # so that it leaves NumPy's global generator alone
        theirs.fit(standardised(ROWS))
        detector = OneClassSVM(nu=nu, gamma=gamma).fit(ROWS)
        ours = detector.anomaly_score(NEW)
        density = detector.level_ * np.exp(-ours)  # the score is log(level / density)
        decisions = theirs.decision_function(standardised(NEW))
        np.testing.assert_allclose(density - detector.level_, decisions, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(ours > 0, decisions < 0)

    def test_far_rows_are_told_apart(self):
        detector = OneClassSVM().fit(ROWS)
        scores = detector.anomaly_score(np.array([[1e3], [1e4], [1e5]]) * np.ones(4))
        assert (np.diff(scores) > 1e3).all()

    def test_a_larger_table_is_sampled(self):
        assert len(OneClassSVM(nu=0.5, most_rows=100).fit(ROWS).vectors_) < 80
        assert len(OneClassSVM(nu=0.5).fit(ROWS).vectors_) >= 150


class TestMCD:
    def test_is_the_robust_distance_of_scikit_learn(self):
        table = np.concatenate([ROWS, np.full((45, 4), 30.0) + np.random.default_rng(1).normal(size=(45, 4))])
        scale = (table - table.mean(0)) / table.std(0)
        theirs = MinCovDet(support_fraction=0.75, random_state=0).fit(scale)
        theirs.covariance_, theirs.location_ = theirs.raw_covariance_, theirs.raw_location_
        distances = theirs.mahalanobis(scale)
        ours = MCD(support=0.75, ridge=1e-6).fit(table).anomaly_score(table)
        assert np.corrcoef(ours[:300], distances[:300])[0, 1] > 0.99
        assert ours[300:].min() > ours[:300].max()

    def test_outlying_rows_do_not_hide_themselves(self):
        table = np.concatenate([ROWS, np.full((60, 4), 12.0) @ np.diag([1, -1, 1, -1])])
        labels = np.repeat([0, 1], [300, 60])
        robust = MCD().fit(table).anomaly_score(table)
        assert roc_auc_score(labels, robust) == 1
        assert np.median(robust[300:]) > 5 * np.median(Mahalanobis().fit(table).anomaly_score(table)[300:])

    def test_all_rows_support_is_mahalanobis(self):
        ours = MCD(support=1.0, ridge=1e-3).fit(ROWS).anomaly_score(NEW)
        np.testing.assert_allclose(ours, Mahalanobis().fit(ROWS).anomaly_score(NEW), rtol=1e-2)

    def test_more_columns_than_rows_and_rare_flags(self):
        random = np.random.default_rng(1)
        wide = random.normal(size=(20, 50))
        assert np.isfinite(MCD().fit(wide).anomaly_score(wide)).all()
        flagged = np.c_[ROWS, random.random(300) < 0.05]
        assert np.isfinite(MCD().fit(flagged).anomaly_score(flagged)).all()


class TestPCA:
    def test_is_the_error_of_scikit_learns_reconstruction(self):
        projection = decomposition.PCA(n_components=0.7).fit(standardised(ROWS))
        z = standardised(NEW)
        copy = projection.inverse_transform(projection.transform(z))
        np.testing.assert_allclose(PCA(explained=0.7).fit(ROWS).anomaly_score(NEW), ((z - copy) ** 2).sum(1))

    def test_a_constant_column_is_not_the_only_minor_component(self):
        table = np.c_[ROWS, np.ones(300)]
        assert PCA(explained=0.99).fit(table).anomaly_score(table).max() > 0.01

    def test_one_column_is_compared_with_its_mean(self):
        ours = PCA().fit(ROWS[:, :1]).anomaly_score(NEW[:, :1])
        np.testing.assert_allclose(ours, standardised(NEW)[:, 0] ** 2)


class TestECOD:
    TABLE = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [4.0, 90.0]])  # skewed to the right by 90

    def test_by_hand(self):
        # Four learned rows and the row itself: tails are fifths. 4 has all below and itself twice above.
        detector = ECOD().fit(self.TABLE)
        scores = detector.anomaly_score([[4.0, 6.5], [10.0, 0.0]])
        by_hand = [np.log(5 / 2) + np.log(5 / 3), np.log(5) + np.log(5)]
        np.testing.assert_allclose(scores, by_hand)

    def test_algorithm_1_by_hand(self):
        detector = ECOD(tails="row").fit(self.TABLE)
        left = np.log(5 / 5) + np.log(5 / 1)
        right = np.log(5 / 1) + np.log(5 / 5)
        longer = np.log(5 / 1) + np.log(5 / 5)  # the first column is symmetric: the right tail counts
        np.testing.assert_allclose(detector.anomaly_score([[10.0, 0.0]]), max(left, right, longer))
        both_right = np.log(5 / 1) + np.log(5 / 2)
        np.testing.assert_allclose(detector.anomaly_score([[10.0, 90.0]]), both_right)

    def test_is_pyods_for_one_new_row_at_a_time(self):
        pyod = pytest.importorskip("pyod.models.ecod")
        theirs = pyod.ECOD()
        theirs.fit(ROWS)
        scores = [theirs.decision_function(row[None])[0] for row in NEW[:20]]
        np.testing.assert_allclose(ECOD().fit(ROWS).anomaly_score(NEW[:20]), scores)

    def test_scale_does_not_matter(self):
        moved = [1e12, 1e-12, 3, 1] * ROWS + [0, 1, 2, 3]
        ours = ECOD(tails="row").fit(moved).anomaly_score([1e12, 1e-12, 3, 1] * NEW + [0, 1, 2, 3])
        np.testing.assert_allclose(ours, ECOD(tails="row").fit(ROWS).anomaly_score(NEW))


@pytest.mark.parametrize(
    ("detector", "says"),
    [
        (KNN(neighbors=0), "neighbors is 0 but must be at least 1"),
        (BaggedNN(bags=0), "bags is 0"),
        (LOF(neighbors=0), "neighbors is 0"),
        (LOF(most_rows=1), "most_rows is 1 but must be at least 2"),
        (IsolationForest(trees=0), "trees is 0"),
        (OneClassSVM(nu=0.0), r"nu is 0\.0"),
        (OneClassSVM(gamma=-1.0), r"gamma is -1\.0"),
        (OneClassSVM(most_rows=1), "most_rows is 1"),
        (MCD(support=0.5), r"support is 0\.5"),
        (MCD(ridge=0.0), r"ridge is 0\.0"),
        (PCA(explained=1.0), r"explained is 1\.0"),
        (ECOD(tails="both"), "tails is 'both' but must be one of column, row"),
    ],
)
def test_bad_parameters(detector, says):
    with pytest.raises(ParameterError, match=says):
        detector.fit(ROWS)
