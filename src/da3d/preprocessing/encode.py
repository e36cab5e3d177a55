"""A mixed table -> a matrix of finite numbers."""

from collections.abc import Mapping
from typing import Any, Self, get_args
from warnings import warn

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.utils.validation import check_is_fitted

from da3d.errors import ParameterError, TableError
from da3d.preprocessing.frames import to_frame
from da3d.preprocessing.kinds import content_of
from da3d.preprocessing.layout import CHUNK_ROWS, Layout
from da3d.preprocessing.plans import CategoryPlan, NumberPlan, Scaling
from da3d.preprocessing.schema import HELD, Column, Schema, TableWarning


class TableEncoder(TransformerMixin, BaseEstimator):
    """Turn a table of numbers, booleans, categories and dates into a float32 matrix.

    What each kind of column becomes:

    - *number*: the value, scaled. Infinite values count as missing; missing ones become the median at fit.
    - *boolean*: 0 or 1; a missing value becomes the majority at fit.
    - *date*: sine and cosine of the time of day (if any fitted date had one) and of the weekday. Never the
      absolute time: every later row would be strange merely because time goes on. With ``scaling="minmax"``
      they lie in [0, 1], else in [-1, 1].
    - *category*: one 0/1 feature per category; the least frequent share ``<rare>``; missing is the category
      ``<missing>`` if it occurred at fit; what did not occur at fit is ``<unseen>``, 0 in every fitted row.
    - *gaps*: a number, boolean or date column that had missing values at fit gets a 0/1 feature that says
      where; those of all others are counted per row in one feature, 0 in every fitted row.

    Columns that never varied stay: it is evidence when they suddenly do. Columns without any finite value,
    with nested values, with complex numbers, or that name rows (more than 100 distinct texts, most of them
    once) are left out with a `TableWarning`.

    Parameters
    ----------
    max_categories
        At most this many categories of a column get a feature of their own, at least 1.
    scaling
        ``"standard"``: zero mean and unit variance at fit; ``"minmax"``: [0, 1] at fit.

    Attributes
    ----------
    schema_ : Schema
        The columns in use.
    feature_names_ : list of str
        The features' names, all different.
    feature_columns_ : ndarray of int, shape (features,)
        For each feature the index of its column in `schema_`; -1 for the count of unexpected gaps.
    ignored_columns_ : dict of str to str
        Why each column that is not in use was left out.
    n_features_in_ : int
        Columns of the fitted table, ignored ones included.
    feature_names_in_ : ndarray of str
        Their names.
    transformer_ : ColumnTransformer
        scikit-learn's part of the work: scaling and one-hot encoding of plain numbers.
    """

    def __init__(self, *, max_categories: int = 100, scaling: Scaling = "standard") -> None:
        self.max_categories = max_categories
        self.scaling: Scaling = scaling

    def fit(self, frame: Any, y: object = None) -> Self:
        """Learn columns, gaps, categories and scales.

        Parameters
        ----------
        frame
            Any table that `to_frame` takes, of shape (rows, columns).
        y
            Not used; here for scikit-learn.

        Returns
        -------
        TableEncoder
            This encoder.

        Raises
        ------
        ParameterError
            A parameter is out of its range.
        TableError
            The table is empty, or has no column that can be used.
        """
        self._check_parameters()
        frame = to_frame(frame)
        names = [str(name) for name in frame.columns]
        plans = {name: self._learn(frame[name]) for name in names}
        self.ignored_columns_ = {name: plan for name, plan in plans.items() if isinstance(plan, str)}
        self._report_ignored(len(names))
        used = {name: plan for name, plan in plans.items() if not isinstance(plan, str)}
        self.schema_ = Schema(tuple(Column(name, plan.kind) for name, plan in used.items()))
        self._layout = Layout(self.scaling)
        for plan in used.values():
            self._layout.add(plan)
        self.transformer_ = self._layout.fit_transformer(frame)
        self._describe(names)
        return self

    def transform(self, frame: Any) -> NDArray[np.float32]:
        """Return the features of each row.

        Parameters
        ----------
        frame
            Any table that `to_frame` takes, with the fitted columns in any order.

        Returns
        -------
        ndarray of float32, shape (rows, features)
            Finite, within ±1e6; a row's features depend on that row alone.

        Raises
        ------
        SchemaError
            A column is missing or of another kind than at fit.
        TableError
            The table is empty.
        """
        check_is_fitted(self)
        frame = self.schema_.align(to_frame(frame), ignored=self.ignored_columns_)
        out = np.empty((len(frame), len(self.feature_names_)), dtype=np.float32)
        for start in range(0, len(frame), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            out[rows] = self._layout.encode(frame.iloc[rows], self.transformer_)
        return out

    def inverse_transform(self, features: Any) -> pd.DataFrame:
        """Return the table that features stand for, as far as they can say.

        Parameters
        ----------
        features
            Numbers of shape (rows, features), such as a generator makes; `transform` need not give such ones.

        Returns
        -------
        pandas.DataFrame
            The columns of `schema_`. Numbers are on their own scale; a category is the likeliest one, or
            ``<rare>`` or ``<unseen>``; of a date there is weekday and time of day as text; None is missing.
        """
        check_is_fitted(self)
        values = self._layout.decode(np.asarray(features, dtype=np.float64), self.transformer_)
        return pd.DataFrame({name: pd.Series(values[name], dtype=object) for name in self.schema_.names})

    def counted_gaps(self, frame: Any) -> NDArray[np.bool_]:
        """Return where values are missing in columns that had none missing at fit.

        These make the one feature that belongs to no column (-1 in `feature_columns_`): it counts them.

        Parameters
        ----------
        frame
            As `transform` takes it.

        Returns
        -------
        ndarray of bool, shape (rows, columns of `schema_`)
            Never for a category, whose gaps have a feature of their own.
        """
        check_is_fitted(self)
        frame = self.schema_.align(to_frame(frame), ignored=self.ignored_columns_)
        gaps = self._layout.counted_gaps(frame)
        none = np.zeros(len(frame), dtype=bool)
        return np.column_stack([gaps.get(name, none) for name in self.schema_.names])

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the features' names."""
        check_is_fitted(self)
        return np.asarray(self.feature_names_, dtype=object)

    def state(self) -> tuple[dict[str, Any], ColumnTransformer]:
        """Return all that `from_state` needs: JSON, and a transformer made of scikit-learn's own classes."""
        check_is_fitted(self)
        learnt = {
            "max_categories": int(self.max_categories),
            "scaling": self.scaling,
            "columns": self.feature_names_in_.tolist(),
            "ignored": dict(self.ignored_columns_),
            "schema": self.schema_.to_json(),
            **self._layout.to_json(),
        }
        return learnt, self.transformer_

    @classmethod
    def from_state(cls, learnt: Mapping[str, Any], transformer: ColumnTransformer) -> "TableEncoder":
        """Return the encoder whose `state` this was.

        Raises
        ------
        TableError
            The state is incomplete or contradicts itself.
        """
        try:
            encoder = cls(max_categories=learnt["max_categories"], scaling=learnt["scaling"])
            encoder._check_parameters()
            encoder.ignored_columns_ = {str(name): str(why) for name, why in learnt["ignored"].items()}
            encoder.schema_ = Schema.from_json(learnt["schema"])
            encoder._layout = Layout.from_json(learnt, encoder.scaling)
            encoder.transformer_ = transformer
            encoder._describe([str(name) for name in learnt["columns"]])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TableError(f"a stored encoder is damaged ({error}): fit again") from error
        if encoder._layout.width != getattr(transformer, "n_features_in_", None):
            raise TableError("a stored encoder is damaged (its parts do not fit each other): fit again")
        return encoder

    def _check_parameters(self) -> None:
        most = self.max_categories
        if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1:
            raise ParameterError(f"max_categories is {most!r} but must be a whole number of at least 1")
        if self.scaling not in get_args(Scaling):
            raise ParameterError(f"scaling is {self.scaling!r} but must be 'standard' or 'minmax'")

    def _learn(self, series: "pd.Series[Any]") -> NumberPlan | CategoryPlan | str:
        held = content_of(series)
        if held == "category":
            return CategoryPlan.learn(series, self.max_categories)
        if held == "number" or held == "boolean" or held == "date":
            return NumberPlan.learn(series, held)
        return f"it holds {HELD[held]}"

    def _report_ignored(self, columns: int) -> None:
        said = "; ".join(f"'{name}': {why}" for name, why in self.ignored_columns_.items())
        if len(self.ignored_columns_) == columns:
            raise TableError(
                f"no column of the table can be used ({said}): at least one column of numbers, true/false "
                "values, dates or repeating categories is needed"
            )
        if said:
            warn(f"columns are left out - {said}", TableWarning, stacklevel=3)

    def _describe(self, names: list[str]) -> None:
        features = self._layout.features()
        place = {name: i for i, name in enumerate(self.schema_.names)}
        if place.keys() != set(self._layout.columns):
            raise TableError("a stored encoder is damaged (its parts do not fit each other): fit again")
        self.feature_names_ = [name for name, _ in features]
        self.feature_columns_ = np.array(
            [-1 if source is None else place[source] for _, source in features], dtype=np.int64
        )
        self.feature_names_in_ = np.asarray(names, dtype=object)
        self.n_features_in_ = len(names)
