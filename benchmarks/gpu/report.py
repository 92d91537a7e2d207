"""The result of a run as Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.sections import shown


def markdown(document: dict[str, Any]) -> list[str]:
    """A heading, the facts of the machine, and one table a section."""
    facts = ", ".join(f"{key} {value}" for key, value in document["facts"].items())
    lines = [f"# GPU: {document['facts']['gpu']}, {document['date']}", "", f"`{document['command']}`", ""]
    lines += [f"{facts}; {document['seconds']:.0f} s in all. Random weights, generated audio; medians.", ""]
    for package, consequence in document["missing"].items():
        lines += [f"{package} is not installed: {consequence}.", ""]
    for section in document["sections"]:
        lines += [f"## {section['title']}", "", *table(section["rows"])]
        lines += [f"- {name}: {cell(problem)}" for name, problem in section["problems"].items()]
        lines += [""] if section["problems"] else []
        lines += [f"{section['seconds']:.0f} s of at most {section['budget']:.0f}.", ""]
    return lines[:-1]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A row for each measurement, with all columns that occur."""
    columns: list[str] = []
    for row in rows:
        columns += [column for column in row if column not in columns and row[column] is not None]
    if not columns:
        return []
    lines = ["| " + " | ".join(columns) + " |", "|" + "-|" * len(columns)]
    for row in rows:
        cells = [cell(row.get(column)) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def cell(value: Any) -> str:
    return "" if value is None else shown(value).replace("|", "\\|")
