"""The user's own table: CSV or Parquet, one column of it the label."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import param

from bnnlab import limits
from bnnlab.tasks import splitting, userfile
from bnnlab.tasks.base import FileRefused, Split, Task

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t"}


class Table(Task):
    """A table with a row for each sample and a column that says its class.

    Columns of numbers are standardized with the training part's mean and deviation; of other
    columns, each value is a number of its own, 1 where it is taken and 0 elsewhere. The classes are
    the label's values in their order. 70 % of the rows of each class train, 15 % validate and 15 %
    test, always the same rows.

    What the table holds is found out by reading it, once for as long as it stays as it is.
    """

    key = "table"
    title = "Table"
    description = "Your own table, CSV or Parquet, with a column that says the class of each row."
    order = 20

    path = param.String(
        default="",
        constant=True,
        doc="The table: .csv, .tsv or .parquet, with a name for each column.",
    )
    label = param.String(default="label", constant=True, doc="The column that says the class.")

    @property
    def shape(self) -> tuple[int, ...]:
        """As many numbers as there are columns of numbers and values of other columns."""
        return (self._columns().inputs,)

    @property
    def classes(self) -> int:
        """How many values the label takes."""
        return len(self._columns().classes)

    def about(self):
        """What its columns and its classes are."""
        file = self._file()
        columns, table = _describe(file, self.label), _read(file)
        train = splitting.stratified(np.searchsorted(columns.classes, _values(table[self.label])))[
            0
        ]
        described = []
        for name, values in columns.values.items():
            if values is not None:
                described.append({"name": name, "values": [str(value) for value in values]})
                continue
            centre, unit = _centre_and_unit(table[name].to_numpy(np.float64), train)
            described.append({"name": name, "centre": float(centre), "unit": float(unit)})
        classes = [str(value) for value in columns.classes]
        return {
            "task": self.key, "classes": classes, "columns": described, "label": self.label,
        }  # fmt: skip

    def fetch(self, progress=None):
        """See that the table is there and can be used."""
        self._columns()

    def load(self):
        """Return the rows that train, validate and test."""
        file = self._file()
        columns = _describe(file, self.label)
        table = _read(file)
        y = np.searchsorted(columns.classes, _values(table[self.label]))
        parts = splitting.stratified(y)
        x = np.empty((len(table), columns.inputs), np.float32)
        place = 0
        for name, values in columns.values.items():
            if values is None:
                x[:, place] = _standardized(table[name].to_numpy(np.float64), parts[0])
                if not np.isfinite(x[:, place]).all():
                    raise FileRefused(f"{file.path}: column {name!r} holds immense numbers")
                place += 1
            else:
                x[:, place : place + len(values)] = 0
                taken = np.searchsorted(values, _values(table[name]))
                x[np.arange(len(table)), place + taken] = 1
                place += len(values)
        return Split(*(array[part] for part in parts for array in (x, y)))

    def _file(self) -> userfile.UserFile:
        example = "table:path=flowers.csv,label=species"
        return userfile.look(self.path, example=example, most=limits.TABLE_BYTES)

    def _columns(self) -> "_Columns":
        return _describe(self._file(), self.label)


class _Columns(NamedTuple):
    """What a table holds: each column's values in their order, or None for numbers."""

    classes: np.ndarray
    values: dict[str, np.ndarray | None]

    @property
    def inputs(self) -> int:
        return sum(1 if values is None else len(values) for values in self.values.values())


@lru_cache(maxsize=4)
def _describe(file: userfile.UserFile, label: str) -> _Columns:
    table = _read(file)
    if label not in table:
        raise FileRefused(f"{file.path} has no column {label!r}; it has {_listed(table)}")
    if len(table.columns) < 2:
        raise FileRefused(f"{file.path} has no column but {label!r}; are they separated by commas?")
    missing = table.isna()
    rows = int(missing.any(axis=1).sum())
    if rows:
        name = missing.any().idxmax()
        raise FileRefused(
            f"{file.path} misses values in {rows:,} of {len(table):,} rows, first in column "
            f"{name!r}; fill them in or leave these rows out"
        )
    values = {}
    for name in table.columns.drop(label):
        values[name] = None if _is_number(table[name]) else np.unique(_values(table[name]))
        if values[name] is None:
            _check_finite(file, table, name)
        elif len(values[name]) > limits.CATEGORIES:
            raise FileRefused(
                f"{file.path}: column {name!r} has {len(values[name]):,} different values that are "
                f"no numbers; {limits.CATEGORIES} are allowed; leave it out"
            )
    columns = _Columns(_classes(file, table, label), values)
    size = 4 * len(table) * columns.inputs
    if columns.inputs > limits.INPUTS or size > limits.ARRAYS_BYTES:
        raise FileRefused(
            f"{file.path} makes {len(table):,} samples of {columns.inputs:,} numbers; "
            f"{limits.INPUTS:,} numbers and {limits.ARRAYS_BYTES:,} bytes in all are allowed"
        )
    return columns


def _classes(file: userfile.UserFile, table: "pd.DataFrame", label: str) -> np.ndarray:
    classes, counts = np.unique(_values(table[label]), return_counts=True)
    if not 2 <= len(classes) <= limits.CLASSES:
        raise FileRefused(
            f"{file.path}: {label!r} takes {len(classes):,} different values; a class is learnt, "
            f"of 2 to {limits.CLASSES:,}"
        )
    rare = int(counts.argmin())
    if counts[rare] < splitting.LEAST:
        raise FileRefused(
            f"{file.path}: {label!r} is {classes[rare]!s} in {counts[rare]} rows; each class needs "
            f"at least {splitting.LEAST}"
        )
    return classes


def _listed(table: "pd.DataFrame") -> str:
    names = [repr(name) for name in table.columns[:10]]
    more = len(table.columns) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _is_number(column: Any) -> bool:
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

    numeric = is_numeric_dtype(column) or is_bool_dtype(column)
    return numeric and not is_complex_dtype(column)


def _values(column: Any) -> np.ndarray:
    """A column's values as what can be put in order: numbers, or else words."""
    return column.to_numpy() if _is_number(column) else column.astype(str).to_numpy(object)


def _check_finite(file: userfile.UserFile, table: "pd.DataFrame", name: str) -> None:
    numbers = table[name].to_numpy(np.float64)
    # Beyond this, a sum of squares overflows.
    if not (np.abs(numbers) < 1e100).all():
        raise FileRefused(f"{file.path}: column {name!r} holds infinite or immense numbers")


def _standardized(numbers: np.ndarray, train: np.ndarray) -> np.ndarray:
    centre, unit = _centre_and_unit(numbers, train)
    with np.errstate(over="ignore"):  # infinite, and refused
        return ((numbers - centre) / unit).astype(np.float32)


def _centre_and_unit(numbers: np.ndarray, train: np.ndarray) -> tuple[Any, Any]:
    known = numbers[train]
    return known.mean(), known.std() if np.ptp(known) > 0 else 1.0


def _read(file: userfile.UserFile) -> "pd.DataFrame":
    kind = file.path.suffix.lower()
    try:
        if kind in SEPARATORS:
            table = _read_csv(file, SEPARATORS[kind])
        elif kind == ".parquet":
            table = _read_parquet(file)
        else:
            raise FileRefused(f"{file.path} is no .csv, .tsv or .parquet file")
    except (OSError, OverflowError) as error:
        raise FileRefused(f"{file.path} cannot be read: {error}") from None
    _check_rows(file, len(table))
    table.columns = table.columns.map(str)
    if not table.columns.is_unique:
        raise FileRefused(f"{file.path} has two columns of the same name: {_listed(table)}")
    return table


def _check_rows(file: userfile.UserFile, rows: int) -> None:
    if not 0 < rows <= limits.ROWS:
        raise FileRefused(f"{file.path} has {rows:,} rows; 1 to {limits.ROWS:,} are allowed")


def _read_csv(file: userfile.UserFile, separator: str) -> "pd.DataFrame":
    import pandas as pd  # loaded when it is needed: trainers start faster

    try:
        # Opened here: pandas would take a name for an address, and unpack what looks packed.
        with file.path.open("rb") as source:
            table = pd.read_csv(source, sep=separator, nrows=limits.ROWS + 1, low_memory=False)
    except ValueError as error:
        raise FileRefused(f"{file.path} is no such table: {error}") from None
    if not table.index.equals(pd.RangeIndex(len(table))):
        raise FileRefused(f"{file.path} has more values in a row than names of columns")
    return table


def _read_parquet(file: userfile.UserFile) -> "pd.DataFrame":
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise FileRefused(
            f"{file.path} takes pyarrow to read, which is not installed; "
            "pip install 'bnnlab[parquet]', or write the table as CSV"
        ) from None
    try:
        with ParquetFile(file.path) as source:
            _check_rows(file, source.metadata.num_rows)  # before anything is unpacked
            cells = source.metadata.num_rows * source.metadata.num_columns
            if 4 * cells > limits.ARRAYS_BYTES:
                raise FileRefused(f"{file.path} has {cells:,} cells, more than are allowed")
            # What pandas wrote about its own columns is left alone: it need not be true.
            table = source.read().to_pandas(ignore_metadata=True)
    except FileRefused:
        raise
    except (ArrowException, ValueError) as error:
        raise FileRefused(f"{file.path} is no such table: {error}") from None
    return table[[name for name in table if not str(name).startswith("__index_level_")]]
