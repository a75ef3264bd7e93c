"""Rows of a table, trained over folds, draws of the labelled patients and seeds, and compared case by case."""

from monai_ext.table.cases import CaseValues, read_cases, write_cases
from monai_ext.table.command import table
from monai_ext.table.layout import format_table
from monai_ext.table.record import Record
from monai_ext.table.row import Cell, Row, RunError

__all__ = ["CaseValues", "Cell", "Record", "Row", "RunError", "format_table", "read_cases", "table", "write_cases"]
