"""Evaluation: one teacher-forced pass and one set of generations a stage feed every metric."""
