"""What a person reads of a run, made from nothing but the run's folder."""

from unlearn.record.layout import read_run
from unlearn.report.figures import draw_figures
from unlearn.report.front import hypervolume, pareto_front
from unlearn.report.gradient_facts import gradient_facts
from unlearn.report.headline import flat_summary
from unlearn.report.page import write_report
from unlearn.report.samples import side_by_side
from unlearn.report.terminal import print_summary

__all__ = [
    "draw_figures",
    "flat_summary",
    "gradient_facts",
    "hypervolume",
    "pareto_front",
    "print_summary",
    "read_run",
    "side_by_side",
    "write_report",
]
